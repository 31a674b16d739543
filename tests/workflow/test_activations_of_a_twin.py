"""A study of which one model gives all signals and another one activations alone, to the report."""

from __future__ import annotations

import pytest
import yaml

from gradbrain.store import read_table

STUDY = "tests/workflow/tiny/study.yaml"
PLACE = "results/activations_of_a_twin"


@pytest.fixture(scope="module")
def run(fresh_checkout):
    """The checkout, what was printed, and the jobs of each rule."""
    checkout = fresh_checkout("activations_of_a_twin")
    config = yaml.safe_load((checkout.folder / STUDY).read_text())
    config |= {
        "study": "activations_of_a_twin",
        "datasets": [{"name": "tiny_fmri"}],
        "figures": {"names": ["encoding_by_region", "control_comparison", "signal_reliability"]},
        "models": [
            {"name": "tiny_a", "layers": ["blocks.1", "blocks.5"]},
            {"name": "tiny_b", "layers": ["blocks.3"], "signal_set": "tiny_planted"},
        ],
    }
    (checkout.folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return checkout, *checkout.dry_run("mine.yaml"), checkout.attempt("mine.yaml")


def test_what_a_model_gives_no_signals_for_is_no_job(run):
    _, _, planned, (status, made) = run
    assert status == 0 and made == planned
    # Two people, and of tiny_a alone.
    assert planned["measure_unique"] == 2
    assert planned["measure_reliability"] == 2
    assert planned["fit_encoding"] == 2 * 3


def test_tables_have_the_signals_that_each_model_gave(run):
    checkout, *_ = run
    scores = {
        model: read_table(checkout.folder / PLACE / "scores" / f"{model}.parquet", kind="scores")
        for model in ("tiny_a", "tiny_b")
    }
    signals = {model: set(table["signal"]) for model, table in scores.items()}
    assert {"activation", "gradient_dino", "gradient_shuffled_dino"} <= signals["tiny_a"]
    assert signals["tiny_b"] == {"activation", "all_activations"}
    measures = {model: set(table["measure"]) for model, table in scores.items()}
    assert {"joint_r", "full_r", "unique_r2"} <= measures["tiny_a"]
    assert measures["tiny_b"] == {"r", "r2", "r_normalised", "r2_normalised"}


def test_claims_are_made_of_what_there_is(run):
    checkout, *_ = run
    claims = read_table(checkout.folder / PLACE / "claims.csv", kind="claims")
    own = claims[claims["model"] == "tiny_b"]
    assert set(own["prediction"]) == {"A1"}
    assert {"A1", "P1", "C1", "C2"} <= set(claims[claims["model"] == "tiny_a"]["prediction"])


def test_the_report_and_its_figures_are_drawn(run):
    checkout, *_ = run
    folder = checkout.folder / PLACE
    assert "tiny_b" in (folder / "report.html").read_text(encoding="utf-8")
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == {"encoding_by_region", "control_comparison", "signal_reliability"}


def test_the_rerun_has_nothing_to_do(run):
    checkout, *_ = run
    told, planned = checkout.dry_run("mine.yaml")
    assert planned == {} and "Nothing to be done" in told
