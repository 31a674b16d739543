import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.stats import false_discovery_control
from trees.claim_rows import (
    EXPLAINABLE,
    N_DRAWS,
    PLACES,
    SETTINGS,
    rows,
    shares,
    statistics,
)

from gradbrain.config.schema import ReliabilitySettings, StatisticsSettings
from gradbrain.hierarchy.claims import judge, verdict
from gradbrain.hierarchy.claims_summary import summary_page
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.order import PLACES_OF
from gradbrain.hierarchy.predictions import BY_NAME, PREDICTIONS
from gradbrain.hierarchy.reliability import Reliability, read_reliabilities
from gradbrain.hierarchy.statistics import (
    image_permutation_test,
    sign_flip_at_peaks,
    strictest,
)
from gradbrain.store import write_table
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.reasons import REASONS

THRESHOLDS = ReliabilitySettings()


def judged(*tables, settings=SETTINGS):
    return judge(statistics(*tables), settings, study="test")


def of_each(table, values):
    """A column with the same array in each row."""
    return pd.Series([values] * len(table), index=table.index)


def learning_table(unique=0.05, lag=100.0, n=6):
    """A signal with a unique part `unique` whose peak lags by `lag` ms, raw and unique."""
    spread = 1 + 0.01 * np.arange(n)
    return pd.concat(
        [
            rows("score_at_peak", 0.3 * spread),
            rows("score_at_peak", unique * spread, variant="unique"),
            shares("unique_variance", unique * spread),
            rows("peak_lag_ms", lag * spread, unit="ms"),
            rows("peak_lag_ms", lag * spread, variant="unique", unit="ms"),
        ],
        ignore_index=True,
    )


def claim(claims, prediction, variant="unique", **where):
    found = claims[(claims["prediction"] == prediction) & (claims["variant"] == variant)]
    for column, wanted in where.items():
        found = found[found[column] == wanted]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize(
    ("name", "variant", "q", "q_opposite", "open_", "expected"),
    [
        ("P1", "raw", 0.01, 1.0, False, "supported"),
        ("P1", "raw", 0.05, 1.0, False, "supported"),
        ("P1", "raw", 0.051, 0.2, False, "undetermined"),
        ("P2", "raw", 1.0, 0.01, False, "contradicted"),
        ("P1", "raw", np.nan, np.nan, False, "undetermined"),
        ("P3", "raw", 0.01, 1.0, True, "descriptive"),
        ("P4", "raw", 0.01, 1.0, True, "descriptive"),
        ("P5", "raw", 1.0, 0.01, True, "descriptive"),
        ("C2", "raw", 0.01, 1.0, True, "descriptive"),
        ("P2", "unique", 0.01, 1.0, False, "undetermined"),
        ("P2", "unique", 0.01, 1.0, True, "supported"),
        ("P3", "unique", 0.01, 1.0, False, "undetermined"),
        ("P3", "unique", 0.01, 1.0, True, "supported"),
        ("P4", "unique", 1.0, 0.01, True, "contradicted"),
        ("P5", "unique", 0.3, 0.8, True, "undetermined"),
        ("C1", "unique", 0.01, 1.0, False, "supported"),
        ("C1", "unique", 1.0, 0.01, False, "contradicted"),
        ("C2", "unique", 0.01, 1.0, False, "undetermined"),
        ("C2", "unique", 0.01, 1.0, True, "supported"),
        ("A1", "raw", 0.01, 1.0, False, "supported"),
    ],
)
def test_verdicts(name, variant, q, q_opposite, open_, expected):
    assert verdict(BY_NAME[name], variant, q, q_opposite, 0.05, open_=open_) == expected


def test_every_prediction_of_the_design_is_stated_once_with_its_direction():
    assert [p.name for p in PREDICTIONS] == ["A1", "P1", "P2", "P3", "P4", "P5", "C1", "C2"]
    assert {p.name for p in PREDICTIONS if p.direction == "less"} == {"P4"}
    assert {p.name for p in PREDICTIONS if "raw" in p.descriptive} == {"P3", "P4", "P5", "C2"}
    assert {p.name for p in PREDICTIONS if p.margin} == {"C1", "C2"}


def test_a_unique_part_above_the_margin_opens_the_gate():
    claims = judged(learning_table(unique=0.05))
    assert tuple(claims.columns) == columns_of("claims")
    assert claim(claims, "C1")["verdict"] == "supported"
    assert claim(claims, "C1")["p"] == claim(claims, "C1")["p_min"] == 1 / 64
    assert claim(claims, "C1")["reference"] == 0.05
    assert claim(claims, "C1")["estimate"] == pytest.approx(0.05125 / EXPLAINABLE)
    assert claim(claims, "P3")["verdict"] == "supported"
    assert claim(claims, "P3", "raw")["verdict"] == "descriptive"
    assert claim(claims, "P1")["verdict"] == "supported"


def test_a_unique_part_below_the_margin_closes_it():
    claims = judged(learning_table(unique=0.005))
    assert claim(claims, "C1")["verdict"] == "contradicted"
    for name in ("P1", "P3"):
        row = claim(claims, name)
        assert row["verdict"] == "undetermined"
        assert np.isnan(row["q"]) and row["p"] == 1 / 64
        assert row["reason"] == "not_c1"
    assert claim(claims, "P1", "raw")["verdict"] == "supported"


def test_a_prediction_in_the_wrong_direction_is_contradicted():
    claims = judged(learning_table(lag=-50.0))
    row = claim(claims, "P3")
    assert row["verdict"] == "contradicted"
    assert row["p"] == 1.0 and row["q_opposite"] == 1 / 64


def test_p4_asks_for_a_falling_latency():
    falling = rows("temporal_r", [-0.9, -0.8, -0.7, -0.9, -0.8, -0.6], variant="unique")
    claims = judged(learning_table(), falling)
    assert claim(claims, "P4")["direction"] == "less"
    assert claim(claims, "P4")["verdict"] == "supported"


def test_c2_takes_the_best_control_and_the_margin():
    def against(control, difference):
        values = difference + 0.001 * np.arange(6)
        return shares("control_difference", values, control=control)

    strong = [learning_table(), against("norm", 0.04), against("fixed", 0.2)]
    row = claim(judged(*strong), "C2")
    assert (row["control"], row["verdict"]) == ("norm", "supported")
    assert row["estimate"] == pytest.approx(0.0425 / EXPLAINABLE)
    near = [learning_table(), against("norm", 0.004), against("fixed", 0.2)]
    row = claim(judged(*near), "C2")
    assert (row["control"], row["verdict"]) == ("norm", "contradicted")


def test_a_signal_without_controls_leaves_c2_undetermined():
    row = claim(judged(learning_table()), "C2")
    assert row["verdict"] == "undetermined" and row["n"] == 0 and np.isnan(row["p"])
    assert row["reason"] == "no_control"


def test_a_rule_without_an_objective_has_no_error_that_a_control_could_lack():
    table = learning_table()
    table["objective"] = ""
    row = claim(judged(table), "C2")
    assert (row["verdict"], row["reason"]) == ("undetermined", "no_error")
    # A control that it has is asked for all the same.
    values = 0.04 + 0.001 * np.arange(6)
    held = shares("control_difference", values, control="activity")
    held["objective"] = ""
    row = claim(judged(table, held), "C2")
    assert (row["control"], row["verdict"]) == ("activity", "supported")


def test_a_statistic_that_is_not_there_is_no_missing_control():
    """The unique part of P2 is asked for along regions, and nobody measured it."""
    regions = rows("score_at_peak", [0.3] * 6, modality="fmri")
    claims = judged(regions, rows("high_minus_early", [0.1] * 6, modality="fmri"))
    assert claim(claims, "P2")["reason"] == "no_statistic"
    assert claim(claims, "C1")["reason"] == "no_statistic"
    assert claim(claims, "C2")["reason"] == "no_control"
    assert claim(claims, "C2", "raw")["verdict"] == "descriptive"
    assert claim(claims, "P2", "raw")["reason"] == ""


def test_a_statistic_without_a_null_says_so():
    table = rows("score_at_peak", [0.1, 0.2, 0.3])
    table["null"] = of_each(table, np.full(N_DRAWS, np.nan))
    row = claim(judged(table), "P1", "raw")
    assert (row["reason"], row["verdict"]) == ("no_null", "undetermined")
    assert np.isfinite(row["estimate"]) and np.isnan(row["p"])


def test_every_row_without_a_test_has_a_code_of_the_vocabulary_and_no_other():
    lonely = rows("temporal_r", [0.5, np.nan], signal="activation", role="activation")
    claims = judged(learning_table(unique=0.005), lonely)
    assert set(claims["reason"]) <= {"", *REASONS}
    assert (claims["reason"] != "")[claims["p"].isna()].all()
    assert (claims["q"].notna() == (claims["reason"] == "")).all()


def test_an_order_of_too_few_places_is_not_judged_though_people_agree():
    table = statistics(rows("temporal_r", [0.9] * 6, signal="activation", role="activation"))
    few = ~table.table["layer"].isin(PLACES[3:])
    claims = judge(table.of(table.table[few]), SETTINGS, study="test")
    row = claim(claims, "A1", "raw")
    assert (row["verdict"], row["reason"]) == ("undetermined", "few_places")
    # Three places have six orders, and people cannot make it less.
    assert row["p"] == row["p_min"] == pytest.approx(1 / 6, abs=0.01)
    assert np.isnan(row["q"])


def test_an_order_is_of_no_account_where_arbitrary_maps_have_it_as_well():
    """Everybody shows the same map, and it is no better ordered than many."""
    table = statistics(rows("temporal_r", [0.3] * 6, signal="activation", role="activation"))
    places = table.table["statistic"] == PLACES_OF["temporal_r"][0]
    arbitrary = dict(zip(PLACES, [2.0, 0.0, 3.0, 1.0, 5.0, 4.0], strict=True))
    table.table.loc[places, "value"] = table.table.loc[places, "layer"].map(arbitrary)
    row = claim(judge(table, SETTINGS, study="test"), "A1", "raw")
    assert row["verdict"] == "undetermined" and row["reason"] == ""
    assert row["p"] > 0.05 > row["p_min"]


def test_without_latencies_there_is_no_order_and_the_row_says_why():
    claims = judged(rows("temporal_r", [np.nan] * 6, signal="activation", role="activation"))
    row = claim(claims, "A1", "raw")
    assert (row["n"], row["n_subjects"], row["reason"]) == (0, 6, "no_latency")
    assert row["verdict"] == "undetermined" and np.isnan(row["p"])


@pytest.mark.parametrize(("n_groups", "note"), [(19, "few_groups"), (20, "")])
def test_an_interval_says_that_it_rests_on_few_groups(n_groups, note):
    table = rows("score_at_peak", np.linspace(0.1, 0.2, 6))
    claims = judged(table.assign(n_groups=[100] * 5 + [n_groups]))
    row = claim(claims, "P1", "raw")
    assert (row["n_groups"], row["interval_note"]) == (n_groups, note)
    page = summary_page(claims, SETTINGS, study="test")
    assert ("few groups of images" in page) == bool(note)


def test_a_claim_over_cortex_says_what_part_of_it_was_recorded():
    part = "visual cortex only"
    table = pd.concat(
        [
            rows("score_at_peak", [0.3] * 6, modality="fmri"),
            rows("high_minus_early", [0.1] * 6, modality="fmri"),
            rows("spatial_r", [0.5] * 6, modality="fmri", variant="unique", best_layer="argmax"),
        ],
        ignore_index=True,
    )
    assert (judged(table)["coverage"] == "").all()
    covered = judged(table.assign(coverage=part))
    found = covered.set_index(["prediction", "variant"])
    for prediction in ("P1", "P5", "C1"):
        assert (found.loc[prediction, "coverage"] == part).all()
    # The contrast of early and higher visual cortex needs no more than these.
    assert (found.loc["P2", "coverage"] == "").all()
    page = summary_page(covered, SETTINGS, study="test")
    assert f"P1, P5, C1: speaks of the part of cortex that was recorded: {part}." in page
    # What else there is to say of a row is said apart.
    assert found.loc[("P5", "unique"), "reason"] == "not_c1"
    assert tuple(covered.columns) == columns_of("claims")


def test_without_a_ceiling_nothing_is_called_too_small():
    """What activations explain stands in for it: a share of that can be found, and not missed."""
    for unique, verdict_of_c1 in ((0.05, "supported"), (0.005, "undetermined")):
        table = learning_table(unique=unique)
        row = claim(judged(table.assign(explainable=np.nan)), "C1")
        assert (row["verdict"], row["explainable_source"]) == (verdict_of_c1, "explained")
        assert row["explainable"] == pytest.approx(0.3)
        assert row["reason"] == ("" if verdict_of_c1 == "supported" else "no_ceiling")
        assert row["estimate"] == pytest.approx(1.025 * unique / 0.3)
        assert np.isnan(row["p_opposite"]) and np.isnan(row["upper_share"])
    assert claim(judged(learning_table(unique=0.005)), "C1")["verdict"] == "contradicted"


@pytest.mark.parametrize("unique", [0.05, 0.005])
def test_ceilings_that_may_be_zero_leave_no_verdict(unique):
    table = learning_table(unique=unique)
    wide = table["subject"].map(dict(zip(sorted(set(table["subject"])), RAGGED, strict=True)))
    table["explainable"] = wide.where(table["explainable"].notna())
    row = claim(judged(table), "C1")
    assert (row["verdict"], row["reason"]) == ("undetermined", "no_ceiling")
    assert row["explainable_source"] == "ceiling"
    assert row["explainable"] == pytest.approx(np.mean(RAGGED))
    assert np.isnan(row[["p", "p_opposite", "q"]].astype(float)).all()


RAGGED = (1.2, -0.9, 0.8, -0.7, 1.1, -0.2)


@pytest.mark.parametrize(("n", "inference"), [(7, "population"), (6, "these_subjects")])
def test_one_person_without_a_ceiling_is_left_out_and_moves_nobody_to_another_unit(n, inference):
    table = learning_table(n=n)
    known = claim(judged(table), "C1")
    lacking = table["explainable"].where(table["subject"] != "s00")
    row = claim(judged(table.assign(explainable=lacking)), "C1")
    assert (row["n"], row["n_subjects"], row["inference"]) == (n - 1, n, inference)
    assert row["explainable_source"] == "ceiling_of_some"
    assert row["explainable"] == pytest.approx(EXPLAINABLE)
    of_others = 0.05 * (1 + 0.01 * np.arange(1, n)).mean() / EXPLAINABLE
    assert row["estimate"] == pytest.approx(of_others)
    assert row["estimate"] == pytest.approx(known["estimate"], rel=0.01)
    # A share that is too small can still be said to be, as of the others alone.
    small = learning_table(unique=0.005, n=n)
    row = claim(judged(small.assign(explainable=lacking)), "C1")
    assert row["verdict"] == "contradicted" and np.isfinite(row["upper_share"])


def test_of_one_person_alone_who_has_a_ceiling_nothing_is_said():
    table = learning_table()
    row = claim(
        judged(table.assign(explainable=table["explainable"].where(table["subject"] == "s00"))),
        "C1",
    )
    assert (row["verdict"], row["reason"], row["n"]) == ("undetermined", "too_few", 1)
    assert np.isnan(row["estimate"]) and np.isnan(row["p"])


def test_ceilings_of_which_the_mean_is_not_above_zero_give_no_share():
    table = learning_table()
    table["explainable"] = table["explainable"].where(table["explainable"].isna(), -0.1)
    row = claim(judged(table), "C1")
    assert (row["verdict"], row["reason"]) == ("undetermined", "no_ceiling")
    assert np.isnan(row["estimate"]) and np.isnan(row["p"])


def test_a_share_that_could_neither_be_found_nor_ruled_out_says_so():
    unclear = learning_table(unique=0.02).assign(absent_p=0.6, upper_share=0.3)
    row = claim(judged(unclear), "C1")
    assert (row["verdict"], row["reason"]) == ("undetermined", "no_power")
    assert row["lower_share"] <= row["reference"] <= row["upper_share"] == 0.3
    assert row["p"] > 0.05
    assert 0.05 < row["detectable_share"] < 0.15
    page = summary_page(judged(unclear), SETTINGS, study="test")
    assert REASONS["no_power"].sentence in page


def test_a_margin_that_is_asked_for_moves_the_verdict():
    table = learning_table(unique=0.05)
    assert claim(judged(table), "C1")["verdict"] == "supported"
    stricter = SETTINGS.model_copy(update={"smallest_unique_share": 0.2})
    row = claim(judged(table, settings=stricter), "C1")
    assert (row["verdict"], row["reference"]) == ("undetermined", 0.2)


def test_what_shared_images_predict_by_chance_supports_nothing():
    """All subjects agree, and permuted images do as well: signs alone would call it found."""
    table = rows("score_at_peak", np.full(6, 0.05) + 0.001 * np.arange(6))
    table["null"] = of_each(table, np.linspace(-0.1, 0.1, N_DRAWS))
    row = claim(judged(table), "P1", "raw")
    assert row["verdict"] == "undetermined"
    assert row["p"] == pytest.approx(0.25, abs=0.02)
    # The null hypothesis of an order is no absence of prediction: permuted images say nothing.
    order = rows("temporal_r", np.full(6, 0.05), signal="activation", role="activation")
    order["null"] = of_each(order, np.linspace(-0.1, 0.1, N_DRAWS))
    assert claim(judged(order), "A1", "raw")["p"] == 1 / 64


def test_the_choice_of_places_is_made_anew_under_every_flip():
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(6, 4, 30))
    table = rows("score_at_peak", np.zeros(6), n=4)
    table["null"] = of_each(table, np.linspace(-1e-6, 1e-6, N_DRAWS))
    units = [f"{unit:02d}" for unit in range(30)]
    table["map"] = [
        xr.DataArray(one, dims=("layer", "unit"), coords={"layer": list("abcd"), "unit": units})
        for one in maps
    ]
    chosen = [
        maps[k][np.arange(4), np.delete(maps, k, axis=0).mean(axis=0).argmax(axis=1)].mean()
        for k in range(6)
    ]
    table["value"] = table["value_at_units"] = chosen
    row = claim(judged(table), "P1", "raw")
    expected = strictest(
        [sign_flip_at_peaks(maps), image_permutation_test(np.mean(chosen), np.zeros(199))]
    )
    assert row["p"] == expected.p


def test_c2_asks_for_more_than_every_control_and_not_than_the_one_with_the_smallest_mean():
    steady = shares("control_difference", np.full(6, 0.05), control="steady")
    values = [0.2, 0.2, 0.2, 0.2, -0.2, -0.2]
    unsteady = shares("control_difference", values, control="unsteady")
    table = pd.concat([learning_table(), steady, unsteady])
    row = claim(judged(table), "C2")
    assert (row["control"], row["verdict"]) == ("steady", "undetermined")
    assert row["p"] > 0.1
    # Nor does the bound speak of the control that is exceeded.
    assert row["lower_share"] <= row["reference"]
    alone = claim(judged(learning_table(), steady), "C2")
    assert alone["p"] <= 0.05 and alone["lower_share"] > alone["reference"]


@pytest.mark.parametrize(
    ("values", "explainable", "reason"),
    [
        (np.full(6, np.nan), EXPLAINABLE, "undefined"),
        # A control that exceeds the signal, where no ceiling is above zero on average.
        (np.full(6, -0.01), -0.01, "no_ceiling"),
        (np.full(6, 0.2), pd.Series((1.2, -0.9, 0.8, -0.7, 1.1, -0.2)), "no_ceiling"),
    ],
)
def test_c2_has_no_verdict_where_one_of_its_controls_is_not_tested(values, explainable, reason):
    tested = shares("control_difference", 0.05 + 0.001 * np.arange(6), control="tested")
    untested = shares("control_difference", values, control="untested")
    untested["explainable"] = explainable
    row = claim(judged(learning_table(), tested, untested), "C2")
    assert (row["control"], row["verdict"], row["reason"]) == ("untested", "undetermined", reason)
    assert np.isnan(row[["p", "p_opposite"]].astype(float)).all()


def test_a_lag_of_few_subjects_is_tested_by_resampled_images():
    """Permuted images peak anywhere, which is no null for when two signals peak."""
    table = learning_table(n=4)
    lag = table["statistic"] == "peak_lag_ms"
    table["boot"] = [
        np.linspace(60, 140, N_DRAWS) if flag else boot
        for flag, boot in zip(lag, table["boot"], strict=True)
    ]
    row = claim(judged(table), "P3")
    assert (row["inference"], row["verdict"]) == ("these_subjects", "supported")
    assert row["p"] == row["p_min"] == 1 / 200


def test_a_lag_that_people_agree_on_must_stand_on_resampled_images_as_well():
    """People who share their images share by chance when these peak."""
    table = learning_table(n=6)
    lag = table["statistic"] == "peak_lag_ms"
    table["boot"] = [
        np.linspace(-60, 240, N_DRAWS) if flag else boot
        for flag, boot in zip(lag, table["boot"], strict=True)
    ]
    row = claim(judged(table), "P3")
    assert (row["inference"], row["verdict"]) == ("population", "undetermined")
    assert row["p"] == pytest.approx(0.25, abs=0.05)


def test_fewer_subjects_are_judged_by_image_permutation():
    table = learning_table(n=4)
    row = claim(judged(table), "P1", "raw")
    assert (row["inference"], row["n"]) == ("these_subjects", 4)
    assert row["p"] == row["p_min"] == 1 / 200
    assert row["verdict"] == "supported"
    enough = StatisticsSettings(min_subjects=4)
    row = claim(judged(table, settings=enough), "P1", "raw")
    assert (row["inference"], row["p_min"]) == ("population", 1 / 16)


def test_undefined_subjects_are_dropped_and_counted():
    values = [0.5, 0.6, 0.7, 0.5, 0.8, np.nan, 0.5, 0.9]
    table = rows("temporal_r", values, signal="activation", role="activation")
    row = claim(judged(table), "A1", "raw")
    assert row["n"] == 7
    assert row["p"] == 1 / 128
    assert row["estimate"] == pytest.approx(np.nanmean(values))
    lonely = rows("temporal_r", [0.5, np.nan], signal="activation", role="activation")
    row = claim(judged(lonely), "A1", "raw")
    assert row["verdict"] == "undetermined" and np.isnan(row["p"]) and row["n"] == 1
    assert row["reason"] == "too_few"


def test_of_a_larger_data_set_those_who_have_a_statistic_speak_for_themselves():
    """Two of fifteen people are no population, and are tested no less strictly for that."""
    values = [0.5, 0.6, *[np.nan] * 13]
    table = rows("high_minus_early_normalised", values, modality="fmri")
    row = claim(judged(table), "P2", "raw")
    assert (row["n"], row["n_subjects"], row["inference"]) == (2, 15, "these_subjects")
    # Both their signs and permuted images are asked.
    assert row["p"] == row["p_min"] == 1 / 4
    page = summary_page(judged(table), SETTINGS, study="test")
    assert "n = 2 of 15, these subjects" in page
    whole = claim(judged(rows("high_minus_early", [0.5] * 15, modality="fmri")), "P2", "raw")
    assert (whole["n"], whole["n_subjects"], whole["inference"]) == (15, 15, "population")


def test_one_subject_is_tested_within_itself():
    table = pd.concat(
        [
            rows("score_at_own_peak", [0.3]),
            rows("score_at_own_peak", [0.05], variant="unique"),
            shares("unique_variance_at_own_peak", [0.05]),
            shares("control_difference_at_own_peak", [0.04], control="norm"),
            rows("peak_lag_ms", [80.0], variant="unique", unit="ms"),
            rows("temporal_r", [np.nan], variant="unique"),
        ]
    )
    claims = judged(table)
    for name in ("P1", "C1", "C2", "P3"):
        row = claim(claims, name)
        assert (row["n"], row["inference"], row["reason"]) == (1, "these_subjects", "")
        assert row["verdict"] == "supported" and row["ci_low"] <= row["estimate"] <= row["ci_high"]
    assert claim(claims, "P4")["reason"] == "no_latency"
    page = summary_page(claims, SETTINGS, study="test")
    assert "One subject (brain): nobody else says where a layer is to be scored" in page
    assert "One subject" not in summary_page(judged(learning_table()), SETTINGS, study="test")


def test_a_useless_signal_of_one_subject_is_not_supported_for_being_a_maximum():
    """The subject's own maximum is above zero, and so is that of permuted images."""
    table = rows("score_at_own_peak", [0.02])
    table["null"] = of_each(table, np.linspace(0.0, 0.04, N_DRAWS))
    assert claim(judged(table), "P1", "raw")["verdict"] == "undetermined"


def test_untrained_models_are_controls_for_what_is_said_of_pretrained_ones():
    order = rows("temporal_r", [0.5] * 6, signal="activation", role="activation")
    weak = order.assign(model="random", value=0.05, value_at_units=0.05)
    weak["null"] = of_each(weak, np.linspace(-0.2, 0.2, N_DRAWS))
    table = statistics(order, weak, learning_table(), learning_table().assign(model="random"))
    claims = judge(table, SETTINGS, study="test", untrained=["random"])
    control = claim(claims, "A1", "raw", model="random")
    assert (control["verdict"], control["reason"]) == ("descriptive", "untrained")
    assert np.isfinite(control["p"]) and np.isnan(control["q"])
    # Its p is no part of the family.
    trained = claim(claims, "A1", "raw", model="net")
    assert (trained["verdict"], trained["q"]) == ("supported", trained["p"])
    # What is asked of any network is asked of it as well.
    assert claim(claims, "P1", "raw", model="random")["reason"] == ""


def test_the_page_counts_and_names_the_verdicts_of_the_table():
    claims = judged(learning_table(unique=0.005), rows("temporal_r", [0.4] * 6))
    page = summary_page(claims, SETTINGS, study="test")
    for name in ("supported", "contradicted", "undetermined", "descriptive"):
        count = int((claims["verdict"] == name).sum())
        assert page.count(f"**{name}**") == count
        assert f"{count} {name}" in page.partition("## Predictions")[0]


def test_the_primary_best_layer_decides():
    table = pd.concat(
        [
            rows("spatial_r", np.full(6, 0.5), signal="activation", modality="fmri",
                 role="activation", best_layer="argmax"),
            rows("spatial_r", np.full(6, 0.7), signal="activation", modality="fmri",
                 role="activation", best_layer="centre_of_mass"),
        ]
    )  # fmt: skip
    assert claim(judged(table), "A1", "raw")["estimate"] == pytest.approx(0.5)
    other = StatisticsSettings(best_layer="centre_of_mass")
    assert claim(judged(table, settings=other), "A1", "raw").estimate == pytest.approx(0.7)


def test_intervals_of_best_layers_are_centred_where_the_estimate_is():
    table = rows("spatial_r", np.full(6, 0.5), signal="activation", modality="fmri",
                 role="activation", best_layer="argmax")  # fmt: skip
    table["value_at_units"] = 0.8
    draws = np.resize([0.7, 0.8, 0.9], N_DRAWS)
    table["boot"] = of_each(table, draws)
    row = claim(judged(table), "A1", "raw")
    # People agree; 100 groups in five folds.
    half = stats.t.ppf(0.975, 5) * draws.std(ddof=1) * np.sqrt(100 / 95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.5 - half, 0.5 + half))


def test_families_are_the_judged_rows_of_a_prediction_variant_and_rule_in_a_data_set():
    random = np.random.default_rng(0)
    tables = []
    for model, unique in (("a", 0.05), ("b", 0.06), ("c", 0.001)):
        table = learning_table(unique=unique)
        lag = table["statistic"] == "peak_lag_ms"
        table.loc[lag, "value"] = random.normal(40, 60, lag.sum())
        table["model"] = model
        tables.append(table)
    claims = judged(*tables)
    raw = claims[(claims["prediction"] == "P3") & (claims["variant"] == "raw")]
    np.testing.assert_allclose(raw["q"], false_discovery_control(raw["p"]))
    unique = claims[(claims["prediction"] == "P3") & (claims["variant"] == "unique")]
    is_open = unique["model"] != "c"
    np.testing.assert_allclose(
        unique.loc[is_open, "q"], false_discovery_control(unique.loc[is_open, "p"])
    )
    assert unique.loc[~is_open, "q"].isna().all()
    # Another data set leaves them as they are.
    more = [table.assign(dataset="other") for table in tables]
    both = judged(*tables, *more)
    own = both[both["dataset"] == "brain"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, claims)
    # So does another rule.
    more = [
        table.assign(rule="feedback", signal="feedback_dino", value=table["value"] - 0.05)
        for table in tables
    ]
    both = judged(*tables, *more)
    own = both[both["rule"] == "backprop"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, claims)
    raw = both[(both["prediction"] == "P1") & (both["variant"] == "raw")]
    for _, family in raw.groupby("rule"):
        np.testing.assert_allclose(family["q"], false_discovery_control(family["p"]))


def test_controls_that_tie_are_shown_in_the_order_of_the_signal_set():
    """A control's name decides nothing."""
    for names in (("norm", "fixed"), ("fixed", "norm")):
        table = [learning_table()]
        table += [shares("control_difference", np.full(6, 0.04), control=name) for name in names]
        assert claim(judged(*table), "C2")["control"] == names[0]


def test_claims_say_what_their_signal_is():
    claims = judged(learning_table().assign(modality="eeg"))
    about = claims[["modality", "axis", "role", "rule", "objective"]].drop_duplicates()
    assert about.to_numpy().tolist() == [["eeg", "time", "learning", "backprop", "dino"]]
    # Along time, whatever the modality is called.
    assert set(claims["prediction"]) == {"P1", "P3", "P4", "C1", "C2"}


def test_claims_do_not_depend_on_the_order_of_tables():
    tables = [learning_table().assign(model=model) for model in "ba"]
    forward = judged(*tables)
    pd.testing.assert_frame_equal(forward, judged(*tables[::-1]))
    assert list(forward["model"].unique()) == ["a", "b"]


def test_tables_of_another_study_or_given_twice_are_refused():
    table = learning_table()
    with pytest.raises(HierarchyError, match=r"studies \['test'\], expected 'other'"):
        judge(statistics(table), SETTINGS, study="other")
    with pytest.raises(HierarchyError, match="same statistic twice"):
        judged(table, table)
    with pytest.raises(HierarchyError, match="no statistic that any prediction reads"):
        judged(rows("x", [1.0], role="control"))


def test_the_summary_has_a_table_per_data_set_and_model():
    claims = judged(*(learning_table().assign(model=m) for m in "ab"))
    page = summary_page(claims, SETTINGS, study="test")
    assert page.startswith("# Claims of the study test\n")
    assert page.count("## brain × ") == 2
    assert "Each cell gives" in page
    assert page.count("| P3 | gradient_dino | **descriptive** 102 ms") == 2
    assert "**supported** 0.0512 share" in page
    assert "**undetermined** (the signal set holds no control of this signal)" in page
    # What a share is of, and how small a one could have been found, stands below the tables.
    assert "0.4 of the responses' variance" in page


# --- reliability -----------------------------------------------------------------------------


def with_controls(**facts):
    """A signal with a unique part, and what it adds to two controls."""
    pairs = [
        shares("control_difference", [0.05] * 6, control=control, **facts)
        for control in ("fixed", "shuffled")
    ]
    return pd.concat([learning_table(), *pairs], ignore_index=True)


def judged_with(table, settings=THRESHOLDS, **reliabilities):
    """Claims, given (whole, unique) of some signals."""
    found = {
        ("brain", "net", name): Reliability(name, *values) for name, values in reliabilities.items()
    }
    return judge(
        statistics(table), SETTINGS, study="test", reliabilities=found, thresholds=settings
    )


def test_a_signal_that_does_not_repeat_itself_gets_no_verdict():
    claims = judged_with(with_controls(), gradient_dino=(0.36, 0.2))
    assert set(claims["reason"]) == {"unreliable_signal"}
    descriptive = (claims["variant"] == "raw") & claims["prediction"].isin(["P3", "P4", "C2"])
    assert set(claims.loc[descriptive, "verdict"]) == {"descriptive"}
    assert set(claims.loc[~descriptive, "verdict"]) == {"undetermined"}
    # Tests are shown; families are of judged rows.
    assert claims["q"].isna().all()
    assert claims.loc[claims["n"] > 0, "p"].notna().all()
    assert set(claims["reliability"]) == {0.36} and set(claims["unique_reliability"]) == {0.2}
    assert set(claims["least_reliable"]) == {"gradient_dino"}
    assert set(claims["reliability_threshold"]) == {0.9}


def test_a_reliable_signal_and_one_without_randomness_are_judged_alike():
    table = with_controls()
    expected = judged(table)
    assert claim(expected, "C2")["verdict"] == "supported"
    columns = ["verdict", "reason", "q", "q_opposite"]
    found = judged_with(table, gradient_dino=(0.9, 0.1), shuffled=(0.95, 0.2))
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    assert expected["reliability"].isna().all() and set(expected["least_reliable"]) == {""}


def test_a_control_that_does_not_repeat_itself_leaves_c2_alone_without_verdict():
    claims = judged_with(with_controls(), gradient_dino=(0.95, 0.9), shuffled=(0.5, 0.4))
    row = claim(claims, "C2")
    assert (row["verdict"], row["reason"]) == ("undetermined", "unreliable_signal")
    assert (row["least_reliable"], row["reliability"]) == ("shuffled", 0.5)
    others = claims[claims["prediction"] != "C2"]
    assert set(others["reason"]) == {"", "no_statistic"}
    assert set(others["least_reliable"]) == {"gradient_dino"}
    assert claim(claims, "P3")["verdict"] == "supported"


def test_unique_parts_have_a_threshold_of_their_own_where_one_is_asked_for():
    strict = THRESHOLDS.model_copy(update={"unique_threshold": 0.5})
    reliabilities = {"gradient_dino": (0.95, 0.3)}
    assert claim(judged_with(with_controls(), **reliabilities), "C1")["verdict"] == "supported"
    claims = judged_with(with_controls(), strict, **reliabilities)
    unique = claims["variant"] == "unique"
    assert set(claims.loc[unique, "reason"]) == {"unreliable_signal"}
    assert claim(claims, "P1", "raw")["verdict"] == "supported"


def test_an_unreliable_signal_takes_no_part_in_a_family():
    weak = rows("score_at_peak", [0.3, 0.3, 0.3, 0.3, 0.3, -0.1], signal="other")
    table = pd.concat([learning_table(), weak], ignore_index=True)
    alone = claim(judged(learning_table()), "P1", "raw")["q"]
    assert claim(judged(table), "P1", "raw", signal="gradient_dino")["q"] == 2 * alone
    claims = judged_with(table, other=(0.4, np.nan))
    assert claim(claims, "P1", "raw", signal="gradient_dino")["q"] == alone
    assert claim(claims, "P1", "raw", signal="other")["reason"] == "unreliable_signal"


def test_the_reliability_of_a_signal_is_the_median_over_layers_of_the_mean_over_subjects(tmp_path):
    facts = dict.fromkeys(columns_of("scores"), 0) | {"dataset": "brain", "model": "net"}
    values = {
        # Subjects saw images of their own; layer c does not vary.
        ("a", "s1"): (0.9, 0.5), ("a", "s2"): (0.7, 0.3),
        ("b", "s1"): (0.6, 0.2), ("b", "s2"): (0.6, 0.2),
        ("c", "s1"): (np.nan, np.nan), ("c", "s2"): (np.nan, np.nan),
        ("d", "s1"): (0.98, 0.9), ("d", "s2"): (0.98, 0.9),
    }  # fmt: skip
    table = pd.DataFrame(
        [
            facts | {"layer": layer, "subject": subject, "signal": signal, "measure": measure}
            | {"reliability": whole * known, "unique_reliability": unique * known}
            for (layer, subject), (whole, unique) in values.items()
            for signal, known in (("dino", 1.0), ("norm", np.nan))
            for measure in ("r", "r2")
        ]
    )[list(columns_of("scores"))]  # fmt: skip
    path = tmp_path / "net.parquet"
    write_table(path, table, kind="scores")
    found = read_reliabilities([path])
    assert set(found) == {("brain", "net", "dino")}
    assert found["brain", "net", "dino"].whole == pytest.approx(0.8)
    assert found["brain", "net", "dino"].unique == pytest.approx(0.4)
    assert read_reliabilities([]) == {}
