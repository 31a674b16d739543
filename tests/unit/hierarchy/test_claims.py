import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.claims import judge, verdict
from gradbrain.hierarchy.claims_summary import summary_page
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.predictions import BY_NAME, PREDICTIONS
from gradbrain.hierarchy.statistics import (
    image_permutation_test,
    sign_flip_at_peaks,
    strictest,
)
from gradbrain.store.columns import CLAIM_COLUMNS

SETTINGS = StatisticsSettings(n_boot=200)


def rows(statistic, values, *, signal="gradient_dino", variant="raw", modality="meg", **labels):
    """Rows of a hierarchy table: one per subject, image draws without noise."""
    role = {"activation": "activation", "gradient_dino": "learning"}.get(signal, "learning")
    facts = {
        "study": "test",
        "dataset": "brain",
        "modality": modality,
        "coverage": "",
        "model": "net",
        "signal": signal,
        "role": role,
        "variant": variant,
        "statistic": statistic,
        "unit": "R2" if variant == "unique" else "r",
        "n": 5,
        "layer": "",
        "roi": "",
        "best_layer": "",
        "control": "",
        "null": [0.00001 * k for k in range(-99, 100)],
        "map": [],
        "map_units": [],
    }
    return pd.DataFrame(
        [
            facts
            | {
                "subject": f"s{k:02d}",
                "value": value,
                "value_at_units": value,
                "boot": [value] * 3,
            }
            | labels
            for k, value in enumerate(values)
        ]
    )


def learning_table(unique=0.05, lag=100.0, n=6):
    """A signal with a unique part `unique` whose peak lags by `lag` ms, raw and unique."""
    spread = 1 + 0.01 * np.arange(n)
    return pd.concat(
        [
            rows("score_at_peak", 0.3 * spread),
            rows("score_at_peak", unique * spread, variant="unique"),
            rows("beyond_reweighting", unique * spread, variant="unique"),
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
    claims = judge([learning_table(unique=0.05)], SETTINGS, study="test")
    assert list(claims.columns) == list(CLAIM_COLUMNS)
    assert claim(claims, "C1")["verdict"] == "supported"
    assert claim(claims, "C1")["p"] == claim(claims, "C1")["p_min"] == 1 / 64
    assert claim(claims, "C1")["reference"] == 0.01
    assert claim(claims, "P3")["verdict"] == "supported"
    assert claim(claims, "P3", "raw")["verdict"] == "descriptive"
    assert claim(claims, "P1")["verdict"] == "supported"


def test_a_unique_part_below_the_margin_closes_it():
    claims = judge([learning_table(unique=0.005)], SETTINGS, study="test")
    assert claim(claims, "C1")["verdict"] == "contradicted"
    for name in ("P1", "P3"):
        row = claim(claims, name)
        assert row["verdict"] == "undetermined"
        assert np.isnan(row["q"]) and row["p"] == 1 / 64
        assert "C1 is not supported" in row["note"]
    assert claim(claims, "P1", "raw")["verdict"] == "supported"


def test_a_prediction_in_the_wrong_direction_is_contradicted():
    claims = judge([learning_table(lag=-50.0)], SETTINGS, study="test")
    row = claim(claims, "P3")
    assert row["verdict"] == "contradicted"
    assert row["p"] == 1.0 and row["q_opposite"] == 1 / 64


def test_p4_asks_for_a_falling_latency():
    falling = rows("temporal_r", [-0.9, -0.8, -0.7, -0.9, -0.8, -0.6], variant="unique")
    claims = judge([pd.concat([learning_table(), falling])], SETTINGS, study="test")
    assert claim(claims, "P4")["direction"] == "less"
    assert claim(claims, "P4")["verdict"] == "supported"


def test_c2_takes_the_best_control_and_the_margin():
    def against(control, difference):
        values = difference + 0.001 * np.arange(6)
        return rows("control_difference", values, variant="unique", control=control)

    strong = [learning_table(), against("norm", 0.02), against("fixed", 0.2)]
    row = claim(judge([pd.concat(strong)], SETTINGS, study="test"), "C2")
    assert (row["control"], row["verdict"]) == ("norm", "supported")
    assert row["estimate"] == pytest.approx(0.0225)
    near = [learning_table(), against("norm", 0.004), against("fixed", 0.2)]
    row = claim(judge([pd.concat(near)], SETTINGS, study="test"), "C2")
    assert (row["control"], row["verdict"]) == ("norm", "contradicted")


def test_a_signal_without_controls_leaves_c2_undetermined():
    row = claim(judge([learning_table()], SETTINGS, study="test"), "C2")
    assert row["verdict"] == "undetermined" and row["n"] == 0 and np.isnan(row["p"])
    assert "no control" in row["note"]


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
    whole = judge([table], SETTINGS, study="test").set_index(["prediction", "variant"])["note"]
    assert not whole.str.contains("part of cortex").any()
    covered = judge([table.assign(coverage=part)], SETTINGS, study="test")
    notes = covered.set_index(["prediction", "variant"])["note"]
    for prediction in ("P1", "P5", "C1"):
        assert notes[prediction].str.contains(part).all()
    # The contrast of early and higher visual cortex needs no more than these.
    assert not notes["P2"].str.contains(part).any()
    page = summary_page(covered, SETTINGS, study="test")
    assert f"P1, P5, C1: speaks of the part of cortex that was recorded: {part}." in page
    # What else there is to say of a row is kept.
    assert "C1 is not supported" in notes["P5", "unique"]
    assert list(covered.columns) == list(CLAIM_COLUMNS)


def test_the_unique_part_must_exceed_another_weighting_of_the_layers():
    """A function of activations gains what weighting its layer up is worth, and no more."""
    table = learning_table(unique=0.05)
    again = table["statistic"] == "beyond_reweighting"
    table.loc[again, ["value", "value_at_units"]] = 0.002
    claims = judge([table], SETTINGS, study="test")
    assert claim(claims, "C1")["estimate"] == pytest.approx(0.002)
    assert claim(claims, "C1")["verdict"] == "contradicted"
    assert claim(claims, "P3")["verdict"] == "undetermined"


def test_what_shared_images_predict_by_chance_supports_nothing():
    """All subjects agree, and permuted images do as well: signs alone would call it found."""
    table = rows("score_at_peak", np.full(6, 0.05) + 0.001 * np.arange(6))
    table["null"] = [list(np.linspace(-0.1, 0.1, 199))] * 6
    row = claim(judge([table], SETTINGS, study="test"), "P1", "raw")
    assert row["verdict"] == "undetermined"
    assert row["p"] == pytest.approx(0.25, abs=0.02)
    # The null hypothesis of an order is no absence of prediction: signs alone decide.
    order = rows("temporal_r", np.full(6, 0.05), signal="activation", role="activation")
    order["null"] = [list(np.linspace(-0.1, 0.1, 199))] * 6
    assert claim(judge([order], SETTINGS, study="test"), "A1", "raw")["p"] == 1 / 64


def test_the_choice_of_places_is_made_anew_under_every_flip():
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(6, 4, 30))
    table = rows("score_at_peak", np.zeros(6), n=4)
    table["null"] = [list(np.linspace(-1e-6, 1e-6, 199))] * 6
    table["map"] = [list(one.ravel()) for one in maps]
    table["map_units"] = [[f"{unit:02d}" for unit in range(30)]] * 6
    chosen = [
        maps[k][np.arange(4), np.delete(maps, k, axis=0).mean(axis=0).argmax(axis=1)].mean()
        for k in range(6)
    ]
    table["value"] = table["value_at_units"] = chosen
    row = claim(judge([table], SETTINGS, study="test"), "P1", "raw")
    expected = strictest(
        [sign_flip_at_peaks(maps), image_permutation_test(np.mean(chosen), np.zeros(199))]
    )
    assert row["p"] == expected.p


def test_c2_asks_for_more_than_every_control_and_not_than_the_one_with_the_smallest_mean():
    steady = rows("control_difference", np.full(6, 0.02), variant="unique", control="steady")
    values = [0.2, 0.2, 0.2, 0.2, -0.2, -0.2]
    unsteady = rows("control_difference", values, variant="unique", control="unsteady")
    table = pd.concat([learning_table(), steady, unsteady])
    row = claim(judge([table], SETTINGS, study="test"), "C2")
    assert (row["control"], row["verdict"]) == ("steady", "undetermined")
    assert row["p"] > 0.1


def test_a_lag_of_few_subjects_is_tested_by_resampled_images():
    """Permuted images peak anywhere, which is no null for when two signals peak."""
    table = learning_table(n=4)
    lag = table["statistic"] == "peak_lag_ms"
    table["boot"] = [
        list(np.linspace(20, 180, 199)) if flag else boot
        for flag, boot in zip(lag, table["boot"], strict=True)
    ]
    row = claim(judge([table], SETTINGS, study="test"), "P3")
    assert (row["inference"], row["verdict"]) == ("these_subjects", "supported")
    assert row["p"] == row["p_min"] == 1 / 200


def test_fewer_subjects_are_judged_by_image_permutation():
    table = learning_table(n=4)
    row = claim(judge([table], SETTINGS, study="test"), "P1", "raw")
    assert (row["inference"], row["n"]) == ("these_subjects", 4)
    assert row["p"] == row["p_min"] == 1 / 200
    assert row["verdict"] == "supported"
    enough = StatisticsSettings(n_boot=200, min_subjects=4)
    row = claim(judge([table], enough, study="test"), "P1", "raw")
    assert (row["inference"], row["p_min"]) == ("population", 1 / 16)


def test_undefined_subjects_are_dropped_and_counted():
    values = [0.5, 0.6, 0.7, 0.5, 0.8, np.nan, 0.5, 0.9]
    table = rows("temporal_r", values, signal="activation", role="activation")
    row = claim(judge([table], SETTINGS, study="test"), "A1", "raw")
    assert row["n"] == 7
    assert row["p"] == 1 / 128
    assert row["estimate"] == pytest.approx(np.nanmean(values))
    lonely = rows("temporal_r", [0.5, np.nan], signal="activation", role="activation")
    # A data set of six stays a sample of people, whoever is undefined in it.
    five = rows("temporal_r", [*values[:5], np.nan], signal="activation", role="activation")
    assert claim(judge([five], SETTINGS, study="test"), "A1", "raw")["inference"] == "population"
    row = claim(judge([lonely], SETTINGS, study="test"), "A1", "raw")
    assert row["verdict"] == "undetermined" and np.isnan(row["p"]) and row["n"] == 1
    assert "fewer than two subjects" in row["note"]


def test_the_primary_best_layer_decides():
    table = pd.concat(
        [
            rows("spatial_r", np.full(6, 0.5), signal="activation", modality="fmri",
                 role="activation", best_layer="argmax"),
            rows("spatial_r", np.full(6, 0.7), signal="activation", modality="fmri",
                 role="activation", best_layer="centre_of_mass"),
        ]
    )  # fmt: skip
    assert claim(judge([table], SETTINGS, study="test"), "A1", "raw")["estimate"] == pytest.approx(
        0.5
    )
    other = StatisticsSettings(n_boot=200, best_layer="centre_of_mass")
    assert claim(judge([table], other, study="test"), "A1", "raw").estimate == pytest.approx(0.7)


def test_intervals_of_best_layers_are_centred_where_the_estimate_is():
    table = rows("spatial_r", np.full(6, 0.5), signal="activation", modality="fmri",
                 role="activation", best_layer="argmax")  # fmt: skip
    table["value_at_units"] = 0.8
    table["boot"] = [[0.7, 0.8, 0.9]] * 6
    row = claim(judge([table], SETTINGS, study="test"), "A1", "raw")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.4, 0.6))


def test_families_are_the_judged_rows_of_a_prediction_and_variant_in_a_data_set():
    random = np.random.default_rng(0)
    tables = []
    for model, unique in (("a", 0.05), ("b", 0.06), ("c", 0.001)):
        table = learning_table(unique=unique)
        lag = table["statistic"] == "peak_lag_ms"
        table.loc[lag, "value"] = random.normal(40, 60, lag.sum())
        table["model"] = model
        tables.append(table)
    claims = judge(tables, SETTINGS, study="test")
    raw = claims[(claims["prediction"] == "P3") & (claims["variant"] == "raw")]
    np.testing.assert_allclose(raw["q"], false_discovery_control(raw["p"]))
    unique = claims[(claims["prediction"] == "P3") & (claims["variant"] == "unique")]
    judged = unique["model"] != "c"
    np.testing.assert_allclose(
        unique.loc[judged, "q"], false_discovery_control(unique.loc[judged, "p"])
    )
    assert unique.loc[~judged, "q"].isna().all()
    # Another data set leaves them as they are.
    more = [table.assign(dataset="other") for table in tables]
    both = judge([*tables, *more], SETTINGS, study="test")
    own = both[both["dataset"] == "brain"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, claims)


def test_claims_do_not_depend_on_the_order_of_tables():
    tables = [learning_table().assign(model=model) for model in "ba"]
    forward = judge(tables, SETTINGS, study="test")
    pd.testing.assert_frame_equal(forward, judge(tables[::-1], SETTINGS, study="test"))
    assert list(forward["model"].unique()) == ["a", "b"]


def test_tables_of_another_study_or_given_twice_are_refused():
    table = learning_table()
    with pytest.raises(HierarchyError, match=r"studies \['test'\], expected 'other'"):
        judge([table], SETTINGS, study="other")
    with pytest.raises(HierarchyError, match="same statistic twice"):
        judge([table, table], SETTINGS, study="test")
    with pytest.raises(HierarchyError, match="no hierarchy table"):
        judge([], SETTINGS, study="test")
    with pytest.raises(HierarchyError, match="no statistic that any prediction reads"):
        judge([rows("x", [1.0], role="control")], SETTINGS, study="test")


def test_unequal_draws_are_refused():
    table = rows("score_at_peak", [0.1, 0.2, 0.3])
    table["boot"] = [[0.1], [0.1] * 3, [0.1] * 3]
    with pytest.raises(HierarchyError, match=r"\[1, 3\] draws each"):
        judge([table], SETTINGS, study="test")


def test_the_summary_has_a_table_per_data_set_and_model():
    claims = judge([learning_table().assign(model=m) for m in "ab"], SETTINGS, study="test")
    page = summary_page(claims, SETTINGS, study="test")
    assert page.startswith("# Claims of the study test\n")
    assert page.count("## brain × ") == 2
    assert "Each cell gives" in page
    assert page.count("| P3 | gradient_dino | **descriptive** 102 ms") == 2
    assert "**supported** 0.0512 R2" in page
    assert page.endswith("|\n")
