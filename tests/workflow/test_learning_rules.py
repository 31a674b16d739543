"""The smallest form of the study of learning rules, from images to claims."""

from __future__ import annotations

import numpy as np
import pytest

from gradbrain.store import open_features, open_tree, read_table

STUDY = "tests/workflow/learning_rules/study.yaml"
pytestmark = pytest.mark.slow


def test_every_learning_rule_reaches_the_claims(checkout):
    code, jobs = checkout.attempt(STUDY, "claims")
    assert code == 0
    # Models of three rules are fitted, each by a job of its own; all signals come from one pass.
    assert (jobs["fit_feedback"], jobs["extract_features_tiny_a_few_rules"]) == (3, 1)
    results = checkout.folder / "results"
    stores = [
        open_features(results / f"features/tiny_a/{layer}/few_rules/tiny.zarr")
        for layer in ("blocks.1", "blocks.5")
    ]
    for store in stores:
        for signal in store.signals:
            cosine = store.cosine_with_backprop(signal)
            compared = signal.role != "activation" and signal.rule != "backprop"
            assert np.isfinite(cosine).any() == compared, signal
            assert np.nanmax(np.abs(cosine), initial=0) <= 1 + 1e-5
            assert np.ptp(store.directions(signal)) > 0, signal
        # Inverted residuals end in no nonlinearity.
        same = store.cosine_with_backprop(store.signal("error_cross_entropy"))
        np.testing.assert_allclose(same, 1, atol=1e-5)
        tree = open_tree(store.path, kind="features").to_dataset(inherit=False)
        solved = np.isfinite(tree["residual"].values).all(0)
        rules = [store.signals[place].rule for place in np.flatnonzero(solved)]
        assert rules == ["gauss_newton_target", "predictive_coding_inference"]
    claims = read_table(results / "few_rules/claims.csv", kind="claims")
    learning = {signal.name for signal in stores[0].signals if signal.role == "learning"}
    assert set(claims["signal"]) - {"activation"} == learning and len(learning) == 11
    # Random directions repeat themselves badly; what is random feedback is part of the signal.
    reliability = read_table(results / "few_rules/reliability/tiny_a/tiny.parquet")
    assert set(reliability["signal"]) == {"few_perturbations"}
