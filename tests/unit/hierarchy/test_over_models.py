"""Claims over models: people and models are both a sample."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from trees.claim_rows import SETTINGS, rows, shares, statistics

from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.claims_summary import summary_page
from gradbrain.hierarchy.over_models import over_models
from gradbrain.hierarchy.statistics import crossed_mean
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.reasons import UNRELIABLE_SIGNAL

MODELS = ("net_a", "net_b", "net_c", "net_d")


def of_models(effects, statistic="score_at_peak", make=rows, **labels):
    """Values of six people per model about the effect of that model."""
    people = 0.01 * np.arange(-3, 3)
    return pd.concat(
        [
            make(statistic, effect + people, **(labels | {"model": model}))
            for model, effect in zip(MODELS, effects, strict=False)
        ]
    )


def over(*tables, untrained=()):
    found = statistics(*tables)
    claims = judge(found, SETTINGS, study="test", untrained=untrained)
    return over_models(found, claims, SETTINGS, untrained=untrained)


def row(table, prediction, variant="raw"):
    (found,) = table[(table["prediction"] == prediction) & (table["variant"] == variant)].to_dict(
        "records"
    )
    return found


def test_the_crossed_mean_adds_the_variances_of_people_and_of_models():
    values = np.array([[1.0, 2.0, 4.0], [0.0, 3.0, 5.0], [2.0, 2.0, 3.0], [1.0, 1.0, 6.0]])
    found = crossed_mean(values)
    variance = np.var(values.mean(axis=1), ddof=1) / 4 + np.var(values.mean(axis=0), ddof=1) / 3
    half = stats.t.ppf(0.975, 2) * np.sqrt(variance)
    assert found.estimate == pytest.approx(2.5)
    assert (found.low, found.high) == (pytest.approx(2.5 - half), pytest.approx(2.5 + half))
    assert found.test.p == pytest.approx(stats.t.sf(2.5 / np.sqrt(variance), 2))
    assert found.test.p + found.test.p_opposite == pytest.approx(1.0)


def test_what_all_models_show_holds_over_models():
    table = over(of_models((0.30, 0.31, 0.29, 0.30)))
    assert tuple(table.columns) == columns_of("claims_over_models")
    found = row(table, "P1")
    assert (found["n_models"], found["n_subjects"]) == (4, 6)
    assert found["models"] == ", ".join(MODELS)
    assert found["p"] < 0.001 and found["q"] == found["p"]
    assert found["ci_low"] < found["estimate"] < found["ci_high"]


def test_what_one_model_shows_is_nothing_of_models_though_every_person_has_it():
    """Flips of people alone would find it in each of them."""
    found = row(over(of_models((0.8, 0.02, -0.02, 0.01))), "P1")
    assert found["estimate"] > 0.15
    assert found["p"] > 0.1


def test_fewer_than_three_trained_models_have_no_row():
    three = of_models((0.3, 0.31, 0.29))
    assert len(over(three)) > 0
    assert over(three, untrained=["net_b"]).empty
    assert over(of_models((0.3, 0.3))).empty


def test_models_whose_signal_does_not_repeat_itself_are_left_out():
    found = statistics(of_models((0.3, 0.31, 0.29, 0.3)))
    claims = judge(found, SETTINGS, study="test")
    claims.loc[claims["model"] == "net_b", "reason"] = UNRELIABLE_SIGNAL.code
    table = over_models(found, claims, SETTINGS)
    assert row(table, "P1")["models"] == "net_a, net_c, net_d"


def test_people_who_lack_it_in_one_model_are_left_out():
    table = of_models((0.3, 0.31, 0.29, 0.3)).reset_index(drop=True)
    table.loc[(table["model"] == "net_c") & (table["subject"] == "s02"), "value"] = np.nan
    found = row(over(table), "P1")
    assert (found["n_models"], found["n_subjects"]) == (4, 5)


def test_a_share_must_exceed_the_margin_in_people_and_models():
    large = of_models((0.05, 0.051, 0.049, 0.05), "unique_variance", make=shares)
    found = row(over(large), "C1", "unique")
    assert (found["reference"], found["unit"]) == (0.05, "share of the explainable")
    assert found["p"] < 0.05
    small = of_models((0.001, 0.0011, 0.0009, 0.001), "unique_variance", make=shares)
    found = row(over(small), "C1", "unique")
    assert found["p"] > 0.5 and found["ci_high"] > found["estimate"]


def test_of_several_controls_the_one_that_is_exceeded_least_counts():
    beyond = [
        of_models((0.3, 0.3, 0.29, 0.31), "control_difference", control="noise"),
        of_models((0.2, -0.2, 0.1, -0.1), "control_difference", control="norm"),
    ]
    found = row(over(*beyond), "C2")
    assert found["control"] == "norm" and found["p"] > 0.1


def test_an_order_must_exceed_arbitrary_maps_in_half_of_the_models():
    order = of_models((0.9, 0.91, 0.89, 0.9), "temporal_r", signal="activation", role="activation")
    found = statistics(order)
    claims = judge(found, SETTINGS, study="test")
    assert row(over_models(found, claims, SETTINGS), "A1")["p"] < 0.05
    places = found.table["statistic"] == "peak_time_jackknifed"
    few = found.of(found.table[~places | found.table["layer"].isin(["place0", "place1", "place2"])])
    assert row(over_models(few, claims, SETTINGS), "A1")["p"] >= 2 / 6 - 0.02


def test_the_page_shows_the_rows_over_models_where_there_are_any():
    found = statistics(of_models((0.30, 0.31, 0.29, 0.30)))
    claims = judge(found, SETTINGS, study="test")
    table = over_models(found, claims, SETTINGS)
    page = summary_page(claims, SETTINGS, study="test", over_models=table)
    assert "## Over models" in page and "6 × 4" in page
    page = summary_page(claims, SETTINGS, study="test", over_models=table.iloc[:0])
    assert "## Over models" not in page


def test_the_page_of_many_models_counts_verdicts_and_has_no_table_for_each():
    names = [f"net_{number:02d}" for number in range(30)]
    people = 0.01 * np.arange(-3, 3)
    found = statistics(*(rows("score_at_peak", 0.3 + people, model=name) for name in names))
    claims = judge(found, SETTINGS, study="test")
    page = summary_page(
        claims, SETTINGS, study="test", over_models=over_models(found, claims, SETTINGS)
    )
    assert "The study has 30 models" in page and "## Over models" in page
    assert "net_07" not in page
    assert page.count("\n") < 60
    (line,) = (line for line in page.splitlines() if line.startswith("| P1 | gradient_dino | raw"))
    assert line == "| P1 | gradient_dino | raw | 30 | 0 | 0 | 0 | 0.295 | 0.295 to 0.295 |"
