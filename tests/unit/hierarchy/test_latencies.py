"""Latencies of a group: read off averages over all people but one."""

from dataclasses import replace

import numpy as np
import pytest

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.latencies import latencies
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.hierarchy.temporal import (
    exceeds_null,
    jackknifed,
    peak_lag,
    peak_time,
    temporal_correlation,
)

FRACTION = StatisticsSettings().peak_fraction
KEY = ("activation", "r")
NAMES = ("s1", "s2", "s3", "s4", "s5", "s6")


def rising(times, depths):
    """Layers peak one after the other, 100 ms and more after onset."""
    return np.exp(-np.square((times - 0.1 - 0.3 * depths[:, None]) / 0.1) / 2)


@pytest.fixture
def group(make_subject_stores, read_scores):
    """Six people in whom nothing can be told from noise alone, and times as units."""

    def flat(signal, measure, depth):
        return np.zeros(23)

    (one,) = read_scores(make_subject_stores(truth=flat, modality="meg", noise=0.0))
    random = np.random.default_rng(4)

    def noise(*shape):
        return 0.3 * random.standard_normal((*shape, len(one.layers), len(one.units)))

    people = []
    for name in NAMES:
        scores = {key: noise() for key in one.unit_score}
        for key in scores:
            scores[key] = scores[key] + 0.5 * rising(one.unit_time, one.depths)
        draws = {key: noise(60) for key in one.boot}
        boot = {key: scores[key] + 0.1 * draws[key] for key in draws}
        people.append(replace(one, subject=name, unit_score=scores, boot=boot, null=draws))
    return people


def test_peaks_of_averages_exist_where_people_alone_have_none(group):
    alone = [exceeds_null(one.unit_score[KEY], one.null[KEY], one.unit_time).all() for one in group]
    assert not any(alone)
    found = latencies(group, FRACTION)
    peaks = np.array([found[name, "activation", "raw"].peaks.observed for name in NAMES])
    assert np.isfinite(peaks).all()
    planted = 0.1 + 0.3 * group[0].depths
    # Two steps of time: an average over six still has noise.
    np.testing.assert_allclose(peaks.mean(axis=0), planted, atol=0.081)


def test_what_each_has_is_the_jackknife_of_averages_without_each(group):
    found = latencies(group, FRACTION)
    first = group[0]

    def averaged(key, without):
        scores = [one.unit_score[key] for one in group if one.subject != without]
        return peak_time(np.mean(scores, axis=0), first.unit_time, FRACTION)

    activation = np.array([averaged(KEY, name) for name in NAMES])
    signal = np.array([averaged(("gradient_dino", "r"), name) for name in NAMES])
    orders = jackknifed(temporal_correlation(activation, first.depths))
    lags = jackknifed(1000 * peak_lag(signal, activation))
    for place, name in enumerate(NAMES):
        own = found[name, "activation", "raw"]
        assert own.order.observed == pytest.approx(orders[place])
        assert own.lag is None and own.n_layers == len(first.layers)
        other = found[name, "gradient_dino", "raw"]
        assert other.lag.observed == pytest.approx(lags[place])
        assert other.lag.boot.shape == other.order.null.shape == (60,)


def test_a_draw_is_of_the_same_images_in_all(group):
    """The average of resampled scores is that of one draw, and not of several."""
    found = latencies(group, FRACTION)
    boots = np.array([one.boot[KEY][7] for one in group])
    others = (boots.sum(axis=0) - boots) / 5
    peaks = np.array([peak_time(other, group[0].unit_time, FRACTION) for other in others])
    expected = jackknifed(peaks)
    for place, name in enumerate(NAMES):
        np.testing.assert_allclose(found[name, "activation", "raw"].peaks.boot[7], expected[place])


def test_times_that_somebody_lacks_have_no_part(group):
    short = group[-1]
    kept = slice(0, -3)
    cut = {
        kind: {key: values[..., kept] for key, values in getattr(short, kind).items()}
        for kind in ("unit_score", "boot", "null")
    }
    cut_off = replace(short, units=short.units[kept], unit_time=short.unit_time[kept], **cut)
    late = group[0].unit_time[-3:]
    for one in group[:-1]:
        one.unit_score[KEY][:, -1] = 9.0
    found = latencies([*group[:-1], cut_off], FRACTION)
    peaks = np.mean([found[name, "activation", "raw"].peaks.observed for name in NAMES], axis=0)
    assert (peaks < late[0]).all()


def test_layers_at_chance_on_average_have_no_latency_in_anybody(group):
    for one in group:
        one.unit_score[KEY][2:] = -0.5
    found = latencies(group, FRACTION)
    for name in NAMES:
        own = found[name, "activation", "raw"]
        np.testing.assert_array_equal(np.isnan(own.peaks.observed), [False, False, *[True] * 3])
        assert np.isnan(own.order.observed) and own.n_layers == 2
        assert np.isnan(found[name, "gradient_dino", "raw"].lag.observed)


def test_a_lone_subject_has_its_own_latencies(group):
    strong = replace(group[0], unit_score={k: 9 * v for k, v in group[0].unit_score.items()})
    own = latencies([strong], FRACTION)[strong.subject, "activation", "raw"]
    expected = peak_time(strong.unit_score[KEY], strong.unit_time, FRACTION)
    np.testing.assert_array_equal(own.peaks.observed, expected)


def test_the_table_has_both_peaks_of_a_person_and_the_maps_behind_those_of_the_group(group):
    found = summarise_all(group, StatisticsSettings())
    table = found.table
    own = table[(table["signal"] == "activation") & (table["subject"] == "s3")]
    assert own.loc[own["statistic"] == "peak_time", "value"].isna().any()
    of_group = own[own["statistic"] == "peak_time_jackknifed"]
    assert of_group["value"].notna().all() and set(of_group.index) <= set(found.maps)
    assert not set(own.index[own["statistic"] == "peak_time"]) & set(found.maps)


def test_unique_parts_are_compared_with_the_square_of_the_activations_r(group):
    """A held-out R² may be negative in layers whose r is far above chance."""
    for one in group:
        one.unit_score["activation", "r2"] = np.full_like(one.unit_score[KEY], -0.1)
    found = latencies(group, FRACTION)
    scores = np.array([one.unit_score[KEY] for one in group])
    squares = scores * np.abs(scores)
    others = (squares.sum(axis=0) - squares) / 5
    before = peak_time(others, group[0].unit_time, FRACTION)
    values = np.array([one.unit_score["gradient_dino", "unique_variance"] for one in group])
    after = peak_time((values.sum(axis=0) - values) / 5, group[0].unit_time, FRACTION)
    lags = jackknifed(1000 * peak_lag(after, before))
    for place, name in enumerate(NAMES):
        assert found[name, "gradient_dino", "unique"].lag.observed == pytest.approx(lags[place])
