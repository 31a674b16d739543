"""Reliability end to end: what depends on chance is measured, and judged only where it repeats."""

from __future__ import annotations

import pytest

from gradbrain.store import read_table

SIGNALS = """
signals:
  two_views:
    role: learning
    rule: backprop
    objective: dino
    options: {views: {n_views: 2}}
signal_sets:
  uncertain:
    signals: [activation, two_views, gradient_entropy, gradient_feature_norm]
    pooling: {kind: mean}
  certain:
    signals: [activation, gradient_cross_entropy, gradient_feature_norm]
    pooling: {kind: mean}
"""


@pytest.fixture(scope="module")
def study(fresh_checkout):
    """A study of few jobs, and its config by signal set."""
    checkout = fresh_checkout("reliability")
    (checkout.folder / "mine").mkdir()
    (checkout.folder / "mine" / "signals.yaml").write_text(SIGNALS)
    text = (checkout.folder / "tests/workflow/tiny/study.yaml").read_text()
    text = text.replace("registries: [", "registries: [mine, ").replace("  - name: tiny_fmri\n", "")
    model = "  - name: tiny_a\n    layers: [blocks.1, blocks.5]\n"
    assert model in text
    configs = {}
    for name in ("uncertain", "certain"):
        own = text.replace(model, "").replace("study: tiny", f"study: {name}")
        configs[name] = f"mine/{name}.yaml"
        (checkout.folder / configs[name]).write_text(
            own.replace("signal_set: tiny", f"signal_set: {name}")
        )
    return checkout, configs


def test_a_signal_of_two_views_of_an_untrained_network_gets_no_verdict(study):
    checkout, configs = study
    checkout.snakemake("--configfile", configs["uncertain"], "--", "claims")
    results = checkout.folder / "results" / "uncertain"
    scores = read_table(results / "scores" / "tiny_b.parquet", kind="scores")
    measured = scores[scores["signal"] == "two_views"]
    assert measured["reliability"].between(0, 0.9).all()
    assert measured["unique_reliability"].between(-0.2, 0.9).all()
    others = scores[scores["signal"] != "two_views"]
    assert others[["reliability", "unique_reliability"]].isna().all(axis=None)
    claims = read_table(results / "claims.csv", kind="claims")
    own = claims[claims["signal"] == "two_views"]
    assert set(own["prediction"]) == {"P1", "P3", "P4", "C1", "C2"}
    assert set(own["reason"]) == {"unreliable_signal"}
    assert set(own["verdict"]) == {"undetermined", "descriptive"} and own["q"].isna().all()
    certain = claims[claims["signal"] == "gradient_entropy"]
    assert "unreliable_signal" not in set(certain["reason"])
    assert certain.loc[certain["prediction"] == "P1", "q"].notna().any()


def test_without_chance_nothing_is_drawn_again(study):
    checkout, configs = study
    _, jobs = checkout.dry_run(configs["certain"])
    assert "measure_reliability" not in jobs and jobs["fit_encoding"] == 2
    _, uncertain = checkout.dry_run(configs["uncertain"], "--forceall")
    assert uncertain["measure_reliability"] == 1
    # The figure of reliabilities is drawn where there are any.
    assert uncertain["plot_figure"] == jobs["plot_figure"] + 1
