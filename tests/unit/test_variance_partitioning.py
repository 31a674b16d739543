"""A study without fits of signals together with activations: jobs, figures, cost and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.schema import EncodingSettings
from gradbrain.config.study import load_study
from gradbrain.plan.cost_rates import Rates
from gradbrain.plan.fit_costs import FitSize, fit_disk_gib, fit_seconds, rows_tried
from gradbrain.plan.job_counts import job_counts
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
BAND = {"name": "image_statistics", "model": "image_statistics"}
# A fit of NSD: 10,000 images, 40,000 targets, 22 layers of 1,024 features, a signal and three
# controls.
NSD = FitSize(10_000, 40_000, 20, 1024, 22 * 1024, 4, nuisance=(1024,))


def plan_of(*, partitioned=True, **changes):
    config = yaml.safe_load((ROOT / "tests/workflow/tiny/study.yaml").read_text())
    config["registries"] = [str(ROOT / "tests/workflow/tiny")]
    encoding = {"variance_partitioning": partitioned, "baseline_components": 8, "nuisance": [BAND]}
    config["encoding"] = {**config["encoding"], **encoding}
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values}
    return Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)


def test_activations_are_not_reduced_and_bands_are_read_by_unique_parts_alone():
    whole, alone = plan_of(), plan_of(partitioned=False)
    subject = alone.subjects[0]
    assert whole.baseline("tiny_a", subject) and not alone.baseline("tiny_a", subject)
    assert whole.nuisance_of_fit(subject) == alone.nuisance_features(subject) != []
    assert alone.nuisance_of_fit(subject) == []
    before, after = job_counts(whole), job_counts(alone)
    assert before.pop("reduce_activations") == len(whole.models) * len(whole.subjects)
    # The figure of parts is not drawn.
    assert before.pop("plot_figure") == after.pop("plot_figure") + 1
    assert before == after
    assert set(whole.figures) - set(alone.figures) == {"variance_parts"}


def test_a_figure_of_those_fits_is_refused_by_name():
    figures = {"names": ["variance_parts"]}
    assert list(plan_of(figures=figures).figures) == ["variance_parts"]
    with pytest.raises(GradbrainError, match="figure 'variance_parts' shows fits of signals toge"):
        plan_of(partitioned=False, figures=figures).figures  # noqa: B018


def test_second_opinions_are_refused_without_the_fits_that_they_compare():
    plan_of(rsa={"encoding": True})
    with pytest.raises(GradbrainError, match=r"rsa\.encoding compares .* set one of them"):
        plan_of(partitioned=False, rsa={"encoding": True})


def test_the_estimate_counts_single_bands_alone():
    settings = EncodingSettings(baseline_components=1000, n_simplex_draws=20)
    alone = settings.model_copy(update={"variance_partitioning": False})
    assert rows_tried(NSD, alone, paired=False) == {1024: 5}
    rates = Rates()
    ratio = fit_seconds(NSD, settings, rates) / fit_seconds(NSD, alone, rates, paired=False)
    assert 8 < ratio < 25
    assert fit_disk_gib(NSD, alone) < 0.5 * fit_disk_gib(NSD, settings)
