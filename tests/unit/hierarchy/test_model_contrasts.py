"""Differences between models, at layers that other people choose, tested over people."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradbrain.config.model_factors import Contrast, ModelFacts, Pair
from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.best_layer_scores import (
    at_best_layer,
    at_best_layer_without,
    best_layer_scores,
)
from gradbrain.hierarchy.contrast_tables import factor_table, pair_table
from gradbrain.hierarchy.model_contrasts import (
    comparable,
    compare_models,
    jackknife_mean,
    two_sided,
)
from gradbrain.hierarchy.reliability import Reliability
from gradbrain.hierarchy.statistics import crossed_mean
from gradbrain.vocabulary.artefacts import columns_of

SETTINGS = StatisticsSettings()
MODELS = ("a0", "a1", "a2", "b0", "b1", "b2")
CONTRAST = Contrast(
    "objective: a - b",
    "objective",
    "a",
    "b",
    tuple(Pair((f"a{n}",), (f"b{n}",)) for n in range(3)),
)


def scores(effects, n=6, *, role="activation", variant="raw", seed=0, roi=""):
    """One value per person and model: a person's own, an effect of the model, some noise."""
    random = np.random.default_rng(seed)
    own = random.standard_normal(n)
    table = pd.DataFrame(
        [
            {
                "dataset": "people",
                "modality": "fmri",
                "axis": "roi",
                "model": model,
                "signal": role,
                "role": role,
                "rule": "backprop",
                "objective": "",
                "variant": variant,
                "subject": f"s{person:02d}",
                "roi": roi,
                "best_layer": "others",
                "value": own[person] + effect + 0.02 * random.standard_normal(),
            }
            for model, effect in effects.items()
            for person in range(n)
        ]
    )
    return with_choices_that_stay(table)


def with_choices_that_stay(table):
    """Nobody's choice changes who the others' layers are: the jackknife is that of the mean."""
    n = table["subject"].nunique()
    place = table["subject"].map(sorted(table["subject"].unique()).index)
    without = [
        np.where(np.arange(n) == own, np.nan, value)
        for own, value in zip(place, table["value"], strict=True)
    ]
    return table.assign(without=without)


def compared(table, contrasts=(CONTRAST,), **more):
    facts = [ModelFacts(name, "net", parameters=10.0) for name in MODELS]
    return compare_models({"encoding": table}, contrasts, facts, SETTINGS, study="test", **more)


def effects(*values):
    return dict(zip(MODELS, values, strict=True))


def test_a_score_is_read_at_the_layer_that_the_others_choose():
    cube = np.array([[9.0, 1.0], [2.0, 3.0], [0.0, 4.0]])[..., None]
    # The first would choose layer 0 for itself; the others, on average, choose layer 1.
    assert at_best_layer(cube)[:, 0] == pytest.approx([1.0, 2.0, 0.0])
    assert at_best_layer(cube[:1])[:, 0] == pytest.approx([9.0])
    cube[1:, 1] = np.nan
    assert np.isnan(at_best_layer(cube)[1:]).sum() == 0
    cube[1:] = np.nan
    assert np.isnan(at_best_layer(cube)[0, 0])


def test_regions_have_rows_of_their_own_and_a_mean():
    rows = [
        {"subject": s, "layer_index": k, "roi": roi, "time": np.nan, "value": value}
        for s in ("s1", "s2", "s3")
        for roi, layers in (("V1", (0.3, 0.1)), ("IT", (0.2, 0.4)))
        for k, value in enumerate(layers)
    ]
    about = {"dataset": "d", "modality": "fmri", "axis": "roi", "model": "m", "signal": "x"}
    about |= {"role": "activation", "rule": "r", "objective": "", "variant": "raw"}
    found = best_layer_scores(pd.DataFrame(rows).assign(**about))
    values = found[found["subject"] == "s1"].set_index("roi")["value"]
    assert values.to_dict() == pytest.approx({"IT": 0.4, "V1": 0.3, "": 0.35})


def test_along_time_layer_and_time_are_chosen_together_after_onset():
    rows = [
        {"subject": s, "layer_index": k, "roi": "", "time": time, "value": value}
        for s in ("s1", "s2")
        for k, own in enumerate(((0.9, 0.1, 0.2), (0.0, 0.3, 0.1)))
        for time, value in zip((-0.1, 0.1, 0.2), own, strict=True)
    ]
    about = {"dataset": "d", "modality": "meg", "axis": "time", "model": "m", "signal": "x"}
    about |= {"role": "activation", "rule": "r", "objective": "", "variant": "raw"}
    found = best_layer_scores(pd.DataFrame(rows).assign(**about))
    assert found["value"].tolist() == pytest.approx([0.3, 0.3])
    assert set(found["best_layer"]) == {"others"}


def test_a_difference_between_models_is_found_however_people_differ():
    table = compared(scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2)))
    assert tuple(table.columns) == columns_of("model_contrasts")
    (row,) = table.to_dict("records")
    assert row["estimate"] == pytest.approx(0.1, abs=0.02)
    assert row["p"] == pytest.approx(2 / 64) and row["p_min"] == pytest.approx(2 / 64)
    assert row["ci_low"] < row["estimate"] < row["ci_high"]
    assert (row["n_pairs"], row["n"], row["inference"]) == (3, 6, "population")
    assert row["p_over_models"] < 0.05
    assert row["mean_a"] - row["mean_b"] == pytest.approx(row["estimate"])


def test_the_interval_is_students_over_people_and_that_of_models_the_crossed_one():
    table = scores(effects(0.3, 0.1, 0.5, 0.2, 0.2, 0.2))
    (row,) = compared(table).to_dict("records")
    wide = table.pivot(index="subject", columns="model", values="value").to_numpy()
    differences = wide[:, :3] - wide[:, 3:]
    low, high = stats.t.interval(
        0.95, 5, differences.mean(), stats.sem(differences.mean(axis=1), ddof=1)
    )
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    crossed = crossed_mean(differences)
    assert (row["models_low"], row["models_high"]) == pytest.approx((crossed.low, crossed.high))
    # One pair of three: people have it, models in general do not.
    assert row["p"] < 0.05 < row["p_over_models"]


def test_the_jackknife_of_a_mean_is_students_and_choices_that_move_widen_it():
    random = np.random.default_rng(3)
    scores_of_layers = random.standard_normal((8, 5, 1))
    moving = at_best_layer(scores_of_layers)
    left_out = np.nanmean(at_best_layer_without(scores_of_layers)[..., 0], axis=1)[:, None]
    found = jackknife_mean(moving, left_out)
    fixed = scores_of_layers[:, 0]
    still = jackknife_mean(fixed, (fixed.sum() - fixed) / 7)
    p = stats.ttest_1samp(fixed[:, 0], 0).pvalue
    assert two_sided(still.test) == pytest.approx(p)
    plain = stats.t.interval(0.95, 7, moving.mean(), stats.sem(moving[:, 0]))
    assert found.high - found.low > plain[1] - plain[0]


def test_initialisations_are_averaged_before_people_are_tested():
    contrast = Contrast("training", "training", "a", "b", (Pair(("a0",), ("b0", "b1", "b2")),))
    table = scores(effects(0.3, 9.0, 9.0, 0.1, 0.2, 0.6))
    (row,) = compared(table, (contrast,)).to_dict("records")
    assert row["estimate"] == pytest.approx(0.0, abs=0.02)
    assert (row["n_pairs"], row["n_models_a"], row["n_models_b"]) == (1, 1, 3)
    assert np.isnan(row["p_over_models"])


def test_fewer_people_than_are_a_sample_are_described_with_the_reason():
    (row,) = compared(scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2), n=5)).to_dict("records")
    assert row["estimate"] == pytest.approx(0.1, abs=0.03)
    assert (row["reason"], row["inference"]) == ("few_people", "these_subjects")
    assert np.isnan([row["p"], row["q"], row["ci_low"], row["p_over_models"]]).all()


def test_a_signal_that_does_not_repeat_itself_is_not_tested():
    table = scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2), role="learning")
    poor = {("people", "b1", "learning"): Reliability("learning", 0.5, 0.5)}
    (row,) = compared(table, reliabilities=poor).to_dict("records")
    assert row["reason"] == "unreliable_signal" and np.isnan(row["p"])
    good = {("people", "b1", "learning"): Reliability("learning", 0.95, 0.95)}
    (row,) = compared(table, reliabilities=good).to_dict("records")
    assert row["reason"] == "" and row["p"] < 0.05


def test_unique_parts_are_described():
    table = scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2), role="learning", variant="unique")
    (row,) = compared(table).to_dict("records")
    assert row["reason"] == "fit_of_activations" and np.isnan(row["p"])
    assert row["estimate"] == pytest.approx(0.1, abs=0.02)


def test_people_who_lack_a_model_are_left_out_and_a_pair_that_nobody_has_too():
    table = scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2), n=8)
    table.loc[(table["model"] == "b1") & (table["subject"] == "s00"), "value"] = np.nan
    table.loc[table["model"] == "a2", "value"] = np.nan
    table = with_choices_that_stay(table)
    (row,) = compared(table).to_dict("records")
    assert (row["n_pairs"], row["n"], row["n_subjects"]) == (2, 7, 8)
    without = table[table["model"] != "a2"]
    (row,) = compared(without).to_dict("records")
    assert row["n_pairs"] == 2


def test_a_signal_that_no_pair_has_scores_of_has_no_row_and_others_have_theirs():
    # Such as one that is the same for all images in an untrained network.
    constant = scores(effects(*[0.3] * 6), n=8, role="learning").assign(value=np.nan)
    table = pd.concat([scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2), n=8), constant])
    table = with_choices_that_stay(table)
    (row,) = compared(table).to_dict("records")
    assert (row["role"], row["n_pairs"], row["n"]) == ("activation", 3, 8)


def test_q_is_over_the_contrasts_of_a_kind_and_regions_are_a_family_of_their_own():
    pairs = [Contrast(f"{n}", "named", "a", "b", (pair,)) for n, pair in enumerate(CONTRAST.pairs)]
    everywhere = scores(effects(0.3, 0.2, 0.2, 0.2, 0.2, 0.2), n=8)
    region = scores(effects(0.3, 0.3, 0.3, 0.2, 0.2, 0.2), n=8, roi="V1")
    found = compared(pd.concat([everywhere, region]), pairs)
    over_all = found[found["roi"] == ""]
    assert over_all["q"].to_numpy() == pytest.approx(
        stats.false_discovery_control(over_all["p"].to_numpy())
    )
    assert found.loc[found["roi"] == "V1", "q"].to_numpy() == pytest.approx([2 / 256] * 3)


def test_controls_and_unique_parts_of_activations_are_not_compared():
    rows = pd.DataFrame(
        {
            "role": ["activation", "activation", "learning", "learning", "control", "baseline"],
            "measure": ["r", "unique_variance", "r", "unique_variance", "r", "r"],
            "value": 0.1,
        }
    )
    kept = comparable(rows, "encoding")
    assert kept[["role", "variant"]].to_numpy().tolist() == [
        ["activation", "raw"],
        ["learning", "raw"],
        ["learning", "unique"],
    ]


def test_tables_say_who_is_compared_with_whom_and_what_sets_them_apart():
    facts = [ModelFacts("a0", "net", step=5), ModelFacts("b0", "net"), ModelFacts("c", "net")]
    contrast = Contrast("x", "objective", "a", "b", (Pair(("a0",), ("b0",)),))
    factors = factor_table(facts, [contrast]).set_index("model")
    assert factors["n_contrasts"].to_dict() == {"a0": 1, "b0": 1, "c": 0}
    assert factors.loc["a0", "step"] == 5 and factors["step"].isna().sum() == 2
    pairs = pair_table([contrast])
    assert pairs[["side", "level", "model"]].to_numpy().tolist() == [
        ["a", "a", "a0"],
        ["b", "b", "b0"],
    ]
