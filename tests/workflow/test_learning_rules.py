"""The smallest form of the study of learning rules, from images to claims."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import write_rule_table

from gradbrain.store import open_features, open_tree, read_table

STUDY = "tests/workflow/learning_rules/study.yaml"
TESTBED = "tests/workflow/learning_rules/testbed.yaml"
FILE = "tests/workflow/learning_rules/models.yaml"
MODELS = ("few_kolen_pollack", "few_targets")
pytestmark = pytest.mark.slow


def test_every_learning_rule_reaches_the_claims(checkout):
    figures = [f"results/few_rules/figures/{name}.csv" for name in ("rule_ranking", "rule_pairs")]
    code, jobs = checkout.attempt(STUDY, "claims", "report", *figures)
    assert code == 0
    # No signal is fitted together with activations: the figure of that is left out, and no other is
    # empty for it.
    scores = read_table(checkout.folder / "results/few_rules/scores/tiny_a.parquet", kind="scores")
    assert {"r", "r2", "unique_variance"} <= set(scores["measure"])
    assert not {"joint_r2", "full_r2", "unique_r2"} & set(scores["measure"])
    drawn = {path.stem for path in (checkout.folder / "results/few_rules/figures").glob("*.pdf")}
    assert {"rule_ranking", "encoding_over_time", "sensor_topography"} <= drawn
    assert "variance_parts" not in drawn
    # Models of four rules are fitted, each by a job of its own; all signals come from one pass.
    assert (jobs["fit_feedback"], jobs["extract_features_tiny_a_few_rules"]) == (4, 1)
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
    # A line for each rule: seeds of random feedback are averaged, a rule and its control are not.
    table = write_rule_table.cosine_table([store.path for store in stores]).splitlines()[2:]
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table}
    assert len(rows) == len(table)
    assert {"`hebbian`", "`hebbian`, as `activity_unit_length`"} <= set(rows)
    assert [name for name, line in rows.items() if "±" in line] == ["`feedback_alignment`"]
    claims = read_table(results / "few_rules/claims.csv", kind="claims")
    learning = {signal.name for signal in stores[0].signals if signal.role == "learning"}
    assert set(claims["signal"]) - {"activation"} == learning and len(learning) == 12
    ranking, pairs = (pd.read_csv(checkout.folder / path) for path in figures)
    assert set(ranking[ranking["role"] == "learning"]["signal"]) == learning
    # Hebb's rule is the activity at unit length: it has no control, but is one of others. What
    # claims and means over people say of the same features is the same.
    own = claims[(claims["signal"] == "hebbian") & (claims["prediction"] == "C2")]
    assert set(own.loc[own["variant"] == "unique", "reason"]) == {"no_error"}
    for criterion in ("predictivity", "unique part"):
        rows = ranking[ranking["criterion"] == criterion].set_index("signal")["estimate"]
        np.testing.assert_allclose(rows["hebbian"], rows["activity_unit_length"], atol=1e-4)
    against = claims[(claims["prediction"] == "C2") & (claims["variant"] == "unique")]
    assert set(against[against["control"].fillna("") == ""]["signal"]) == {"hebbian"}
    # Places are asked of data along regions, and this one is along time.
    assert {"lateness", "order"} <= set(ranking["criterion"])
    assert "co-location" not in set(ranking["criterion"])
    compared = {"gradient_cross_entropy", "error_cross_entropy", "hebbian"}
    assert jobs["measure_rule_pairs"] == pairs["n"].iloc[0]
    assert set(pairs["signal"]) == set(pairs["other"]) == compared
    assert len(pairs) == 6 and np.isfinite(pairs["share"]).all()
    # Random directions repeat themselves badly; what is random feedback is part of the signal.
    reliability = read_table(results / "few_rules/reliability/tiny_a/tiny.parquet")
    assert set(reliability["signal"]) == {"few_perturbations"}


def assert_rules_are_judged_on_networks_of_their_own(results):
    """Every rule has its claims on every network, and the ranking says which rule trained it."""
    claims = read_table(results / "claims.csv", kind="claims")
    judged = claims[(claims["role"] == "learning") & claims["prediction"].isin(["C1", "C2"])]
    rules = {"gradient_reconstruction", "teaching_signal", "reconstruction_target"}
    rules.add("reconstruction_difference")
    assert set(judged["model"]) == set(MODELS)
    for _, own in judged[judged["variant"] == "unique"].groupby(["prediction", "model"]):
        assert set(own["signal"]) == rules and np.isfinite(own["estimate"]).all()
    against = judged[(judged["prediction"] == "C2") & (judged["variant"] == "unique")]
    assert not {"no_control", "no_error"} & set(against["reason"])
    ranking = pd.read_csv(results / "figures/rule_ranking.csv")
    trained = dict(zip(ranking["model"], ranking["trained_by"], strict=True))
    learnt = ("kolen_pollack", "difference_target_propagation")
    assert trained == dict(zip(MODELS, learnt, strict=True))
    assert set(ranking[ranking["role"] == "learning"]["signal"]) == rules
    # Of each network the table pairs every rule with the one that trained it.
    lines = write_rule_table.pairing_table(results / "figures/rule_ranking.csv").splitlines()
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head[1:] == ["`difference_target_propagation`", "`kolen_pollack`"]
    bold = [row[0] for row in rows[1:] if all(cell.startswith("**") for cell in row[1:])]
    assert bold == ["`teaching_signal`"] and len(rows) == 1 + len(rules)


def test_networks_that_the_study_trains_are_models_like_any_other(checkout):
    figures = [
        f"results/few_testbed/figures/{name}.png"
        for name in ("training_angles", "rule_alikeness", "rule_ranking")
    ]
    code, jobs = checkout.attempt(TESTBED, "claims", *figures)
    assert code == 0
    assert (jobs["train_testbed"], jobs["compare_signals"], jobs["plot_figure"]) == (2, 2, 3)
    trained = checkout.folder / "results/trained"
    rows = {name: read_table(trained / f"{name}.parquet", kind="training") for name in MODELS}
    assert set(rows["few_kolen_pollack"]["step"]) == {0, 6, 12}
    assert set(rows["few_targets"]["correction"]) == {"corrected", "uncorrected"}
    store = open_features(
        checkout.folder / "results/features/few_targets/encoder.0/few_testbed/tiny.zarr"
    )
    cosine = store.cosine_with_backprop(store.signal("teaching_signal"))
    assert np.isfinite(cosine).all() and np.ptp(cosine) > 0
    assert_rules_are_judged_on_networks_of_their_own(checkout.folder / "results/few_testbed")
    # All is there, and a word about a model is no reason to train it again.
    assert not checkout.dry_run(TESTBED, "features", *figures)[1]
    checkout.edit(FILE, "    input_size: 32\n", "    input_size: 32\n    label: my network\n")
    assert "train_testbed" not in checkout.dry_run(TESTBED, "features", *figures)[1]
    before = open_tree(trained / "few_targets.zarr", kind="trained_network").attrs["digest"]
    # What was lost is trained again, and is the same.
    shutil.rmtree(trained / "few_targets.zarr")
    code, jobs = checkout.attempt(TESTBED, "results/trained/few_targets.zarr")
    assert (code, jobs) == (0, {"train_testbed": 1})
    after = open_tree(trained / "few_targets.zarr", kind="trained_network").attrs["digest"]
    assert after == before
