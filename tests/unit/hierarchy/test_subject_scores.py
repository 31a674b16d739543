import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from trees.unique_variance import (
    CROSS_VARIANCE,
    DOSE_VARIANCE,
    EXPLAINABLE,
    EXPLAINED,
    HELD,
    write_unique,
)

from gradbrain.config.schema import SignalEntry, SignalSet, StatisticsSettings
from gradbrain.hierarchy.correlation import correlation_with
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.peak_units import mean_at_units, peak_units
from gradbrain.hierarchy.spatial import regions_above_chance
from gradbrain.hierarchy.subject_scores import fits_by_subject, read_subjects
from gradbrain.hierarchy.summaries import log_controls, summarise
from gradbrain.store import open_store, write_store
from gradbrain.vocabulary.artefacts import columns_of

LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
TIMES = np.round(np.arange(-0.08, 0.81, 0.04), 3)
SETTINGS = StatisticsSettings()


def retinotopic(signal, measure, depth):
    """Region k is best predicted by layer k; gradients by the layer opposite."""
    if measure == "unique_r2":
        return np.full(5, 0.05 if signal == "gradient_dino" else 0.01)
    centre = DEPTHS if signal == "activation" else DEPTHS[::-1]
    return 0.5 - 0.2 * np.abs(centre - depth)


def latencies(signal, measure, depth):
    """Layer k's activation peaks at 80 + 200 k ms, its gradient at 600 − 200 k ms."""
    centre = 0.08 + 0.2 * depth if signal == "activation" else 0.6 - 0.2 * depth
    return 0.4 * np.exp(-(((TIMES - centre) / 0.06) ** 2))


@pytest.fixture
def statistics_of(read_scores):
    """Read the statistics of a subject; a twin stands for the others, so that peaks are known."""

    def read(paths, settings=SETTINGS):
        (subject,) = read_scores(paths)
        return summarise(subject, settings, peers=[subject]).table

    return read


def value(table, statistic, signal, variant="raw", **where):
    rows = table[
        (table["statistic"] == statistic)
        & (table["signal"] == signal)
        & (table["variant"] == variant)
    ]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1
    return rows["value"].iloc[0]


def test_planted_spatial_order_is_recovered(make_subject_stores, statistics_of):
    table = statistics_of(make_subject_stores(truth=retinotopic, noise=0.0))
    assert tuple(table.columns) == columns_of("hierarchy")
    for roi, depth in zip(("V1", "V2", "V3", "V4", "LO"), DEPTHS, strict=True):
        found = value(table, "best_layer_depth", "activation", roi=roi, best_layer="argmax")
        assert found == pytest.approx(depth)
    expected = np.corrcoef([0, 12, 20, 33, 45], DEPTHS)[0, 1]
    for method in ("argmax", "centre_of_mass"):
        found = value(table, "spatial_r", "activation", best_layer=method)
        assert found > 0.9
        assert value(table, "spatial_r", "gradient_dino", best_layer=method) < -0.9
    assert value(table, "spatial_r", "activation", best_layer="argmax") == pytest.approx(expected)


def test_means_and_contrasts_are_plain_arithmetic(make_subject_stores, statistics_of):
    table = statistics_of(make_subject_stores(truth=retinotopic, noise=0.0))
    scores = np.array([retinotopic("activation", "r", depth) for depth in DEPTHS])
    assert value(table, "score_mean", "activation") == pytest.approx(scores.mean())
    assert value(table, "high_minus_early", "activation") == pytest.approx(
        scores[:, 3:].mean() - scores[:, :2].mean()
    )
    assert value(table, "score_mean", "gradient_dino", "unique") == pytest.approx(0.05)
    for control in ("gradient_feature_norm", "gradient_fixed_cotangent", "gradient_shuffled_dino"):
        difference = value(table, "control_difference", "gradient_dino", "unique", control=control)
        assert difference == pytest.approx(0.04)
    units = dict(zip(table["statistic"], table["unit"], strict=True))
    assert units["spatial_r"] == "r" and units["best_layer_depth"] == "depth"


def test_regions_without_distances_are_contrasted(make_subject_stores, statistics_of):
    table = statistics_of(make_subject_stores(truth=retinotopic, noise=0.0, roi_distance={}))
    assert "spatial_r" not in set(table["statistic"])
    found = value(table, "spatial_difference", "activation", best_layer="argmax")
    assert found == pytest.approx(0.9 - 0.3)


def test_without_named_poles_the_ends_of_the_order_are_contrasted(
    make_subject_stores, statistics_of
):
    paths = make_subject_stores(
        truth=retinotopic, noise=0.0, roi_distance={}, early_rois=[], high_rois=[]
    )
    found = value(statistics_of(paths), "spatial_difference", "activation", best_layer="argmax")
    assert found == pytest.approx(0.8)


def test_planted_latencies_are_recovered(make_subject_stores, statistics_of):
    table = statistics_of(make_subject_stores(truth=latencies, modality="meg", noise=1e-4))
    for layer, depth in zip(LAYERS, DEPTHS, strict=True):
        assert value(table, "peak_time", "activation", layer=layer) == pytest.approx(
            0.08 + 0.2 * depth, abs=0.02
        )
    assert value(table, "temporal_r", "activation") > 0.98
    assert value(table, "temporal_r", "gradient_dino") < -0.98
    assert value(table, "temporal_r", "gradient_dino", "unique") < -0.98
    lag = np.mean(1000 * ((0.6 - 0.2 * DEPTHS) - (0.08 + 0.2 * DEPTHS)))
    assert value(table, "peak_lag_ms", "gradient_dino", "unique") == pytest.approx(lag, abs=5)
    assert set(table.loc[table["statistic"] == "peak_lag_ms", "unit"]) == {"ms"}


def test_times_before_onset_do_not_enter_the_mean(make_subject_stores, statistics_of):
    def early(signal, measure, depth):
        return np.where(TIMES <= 0, 9.0, 0.25)

    table = statistics_of(make_subject_stores(truth=early, modality="meg", noise=0.0))
    assert value(table, "score_mean", "activation") == pytest.approx(0.25)


def test_times_count_from_image_onset(make_subject_stores, statistics_of):
    table = statistics_of(
        make_subject_stores(truth=latencies, modality="meg", noise=1e-4, onset_s=0.04)
    )
    assert value(table, "peak_time", "activation", layer="blocks.2") == pytest.approx(
        0.08 + 0.2 * 0.6 - 0.04, abs=0.02
    )


def test_unreliable_targets_have_no_say_in_the_best_layer_of_a_region(
    make_subject_stores, statistics_of
):
    reliable = np.arange(20) != 0
    table = statistics_of(
        make_subject_stores(truth=retinotopic, noise=0.0, target_coords={"reliable": reliable})
    )
    rows = table[(table["statistic"] == "best_layer_depth") & (table["signal"] == "activation")]
    rows = rows[rows["best_layer"] == "argmax"].set_index("roi")
    assert list(rows["n"]) == [3, 4, 4, 4, 4]
    assert rows.loc["V1", "value"] == pytest.approx(0.2)


def test_layers_at_chance_have_no_peak_and_no_order(make_subject_stores, statistics_of):
    def silent(signal, measure, depth):
        if signal == "gradient_dino" and depth > 0.5:
            return np.full(len(TIMES), -0.5)
        return latencies(signal, measure, depth)

    table = statistics_of(make_subject_stores(truth=silent, modality="meg"))
    peaks = table[(table["statistic"] == "peak_time") & (table["signal"] == "gradient_dino")]
    peaks = peaks[peaks["variant"] == "raw"]
    np.testing.assert_array_equal(peaks["value"].isna(), [False, False, True, True, True])
    assert np.isnan(value(table, "temporal_r", "gradient_dino"))
    # Nor a lag: two of five layers are not the model.
    assert np.isnan(value(table, "peak_lag_ms", "gradient_dino"))


def test_draws_are_the_statistic_of_each_draw(make_subject_stores, read_scores):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.1))
    found = summarise(subject, SETTINGS, peers=[])
    table = found.table
    row = table[(table["statistic"] == "high_minus_early") & (table["signal"] == "activation")]
    boot = subject.boot["activation", "r"]
    expected = boot[:, :, 3:].mean(axis=(1, 2)) - boot[:, :, :2].mean(axis=(1, 2))
    np.testing.assert_allclose(found.boot[row.index[0]], expected)
    assert found.null.shape == found.boot.shape == (len(table), len(boot))
    spatial = table[(table["statistic"] == "spatial_r") & (table["signal"] == "activation")]
    null = subject.null["activation", "r"]
    best = np.where(null.max(axis=1) > 0, DEPTHS[null.argmax(axis=1)], np.nan)
    passed = regions_above_chance(subject.unit_score["activation", "r"], null)
    best[:, ~passed] = np.nan
    mm = np.array([0, 12, 20, 33, 45])
    np.testing.assert_allclose(
        found.null[spatial.index[0]], correlation_with(mm, best), atol=1e-12, equal_nan=True
    )


def test_the_order_of_stores_does_not_matter(make_subject_stores, statistics_of):
    paths = make_subject_stores(truth=retinotopic)
    pd.testing.assert_frame_equal(statistics_of(paths), statistics_of(paths[::-1]))


def test_a_missing_layer_is_an_error_that_names_it(make_subject_stores, signal_set):
    paths = make_subject_stores(truth=retinotopic)
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, layers=LAYERS[:3])
    with pytest.raises(HierarchyError, match=r"brain-s2: lacks layer\(s\) \['blocks.3', 'block"):
        read_subjects(paths, signal_set)


def test_stores_that_do_not_belong_together_are_refused(make_subject_stores, tmp_path, signal_set):
    good = make_subject_stores(truth=retinotopic)
    with pytest.raises(HierarchyError, match="no encoding store"):
        read_subjects([], signal_set)
    with pytest.raises(HierarchyError, match="given twice"):
        read_subjects([*good, good[0]], signal_set)
    other = make_subject_stores(truth=retinotopic, model="other", subject="brain-s2")
    with pytest.raises(HierarchyError, match=r"several models were given: \['net', 'other'\]"):
        read_subjects([*good, *other], signal_set)


def test_layers_with_other_draws_or_signals_are_refused(
    make_subject_stores, make_encoding_store, read_scores, signal_set
):
    good = make_subject_stores(truth=retinotopic)
    facts = {"truth": retinotopic, "layer": "blocks.4"}
    make_encoding_store(good[-1], n_draws=7, **facts)
    with pytest.raises(HierarchyError, match=r"same encoding\.n_draws"):
        read_subjects(good, signal_set)
    make_encoding_store(good[-1], rows=[("activation", "activation", "r")], **facts)
    with pytest.raises(HierarchyError, match="its signals are not those of the signal set"):
        read_subjects(good, signal_set)
    (order,) = read_scores(good[:-1])
    identities = [(name, signal.role) for name, signal in order.signals.items()]
    rows = [(name, role, m) for name, role in identities for m in ("r", "r2", "unique_r2")]
    make_encoding_store(good[-1], rows=rows, **facts)
    with pytest.raises(HierarchyError, match=r"its signals are not those of .*another layer"):
        read_subjects(good, signal_set, write_unique(good[:-1]))


def test_subjects_with_other_draws_are_refused(make_subject_stores, signal_set):
    paths = make_subject_stores(truth=retinotopic)
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, n_draws=7)
    with pytest.raises(HierarchyError, match=r"holds 7 draws, .* 100; fit all .*n_draws"):
        read_subjects(paths, signal_set)


def test_a_store_without_the_scores_that_are_read_is_refused(
    make_encoding_store, tmp_path, signal_set
):
    few = signal_set.model_copy(update={"signals": signal_set.signals[:2]})
    rows = [("activation", "activation", "r"), ("gradient_dino", "learning", "unique_r2")]
    path = make_encoding_store(
        tmp_path / "a.zarr", truth=retinotopic, layer="blocks.0", rows=rows, signal_set=few
    )
    with pytest.raises(
        HierarchyError, match=r"lacks the score row\(s\) \[\('gradient_dino', 'r'\)"
    ):
        read_subjects([path], few, write_unique([path]))


def test_unique_variance_that_is_missing_or_given_twice_is_refused(make_subject_stores, signal_set):
    paths = make_subject_stores(truth=retinotopic)
    with pytest.raises(HierarchyError, match=r"no store of unique variance .* brain, brain-s1;"):
        read_subjects(paths, signal_set)
    (unique,) = write_unique(paths)
    with pytest.raises(HierarchyError, match=r"unique variance of subject 'brain-s1', as"):
        read_subjects(paths, signal_set, [unique, unique])


def test_unique_variance_of_other_stores_is_refused_by_name(make_subject_stores, signal_set):
    paths = make_subject_stores(truth=retinotopic)
    for change, text in (
        ({"study": "other"}, "its study is 'other', that of .*blocks.0.* 'test'"),
        ({"model": "other"}, "its model is 'other'"),
        ({"signal_set": "other"}, "its signal_set is 'other'"),
        ({"stimuli": "others"}, "its stimuli is 'others'"),
        ({"responses_digest": "other"}, "its responses_digest is 'other'"),
        ({"features_digests": {"blocks.0": "other"}}, "other features of layer 'blocks.0'"),
    ):
        unique = write_unique(paths, **change)
        with pytest.raises(HierarchyError, match=text) as error:
            read_subjects(paths, signal_set, unique)
        assert f"To make it again: rm -r {unique[0]}" in str(error.value)
    few = write_unique(paths[:-1])
    with pytest.raises(HierarchyError, match=r"of layer 'blocks.4' than .* or without them"):
        read_subjects(paths, signal_set, few)


def test_unique_variance_without_a_signal_or_with_other_draws_is_refused(
    make_subject_stores, signal_set
):
    paths = make_subject_stores(truth=retinotopic)
    (path,) = write_unique(paths)
    whole = open_store(path, kind="unique").load()
    whole.attrs.pop("digest")
    write_store(path, whole.drop_sel(signal="gradient_fixed_cotangent"), kind="unique")
    with pytest.raises(HierarchyError, match=r"lacks the signal\(s\) \['gradient_fixed_cotangent'"):
        read_subjects(paths, signal_set, [path])
    write_store(path, whole.drop_sel(unit="V4"), kind="unique")
    with pytest.raises(HierarchyError, match=r"lacks the unit\(s\) \['V4'\]"):
        read_subjects(paths, signal_set, [path])
    write_store(path, whole.isel(draw=slice(7)), kind="unique")
    with pytest.raises(HierarchyError, match=r"holds 7 draws, .* 100; .*same encoding\.n_draws"):
        read_subjects(paths, signal_set, [path])


def test_the_order_within_a_store_of_unique_variance_does_not_matter(
    make_subject_stores, signal_set
):
    paths = make_subject_stores(truth=retinotopic)
    (path,) = write_unique(paths)
    (expected,) = read_subjects(paths, signal_set, [path])
    whole = open_store(path, kind="unique").load()
    whole.attrs.pop("digest")
    turned = whole.isel(
        {name: slice(None, None, -1) for name in ("layer", "signal", "unit", "kernel")}
    )
    write_store(path, turned, kind="unique")
    (found,) = read_subjects(paths, signal_set, [path])
    for name in ("component", "null", "moments"):
        for key, values in getattr(expected.unique, name).items():
            np.testing.assert_array_equal(getattr(found.unique, name)[key], values)


def test_a_signal_set_without_activation_is_refused(make_encoding_store, tmp_path):
    signal = SignalEntry(name="g", role="learning", rule="backprop", objective="dino")
    path = make_encoding_store(tmp_path / "a.zarr", truth=retinotopic, layer="blocks.0")
    with pytest.raises(HierarchyError, match=r"set 'mine'.*expected one activation"):
        read_subjects([path], SignalSet(name="mine", signals=(signal,)))


def test_each_signal_is_held_against_its_own_controls_whatever_they_are_called(
    make_subject_stores, statistics_of, signal_set
):
    table = statistics_of(make_subject_stores(truth=retinotopic, noise=0.0))
    against = table[table["statistic"] == "control_difference"]
    assert set(against["signal"]) == {"gradient_dino"}
    for _, rows in against.groupby("variant"):
        assert tuple(rows["control"]) == signal_set.controls_of("gradient_dino")


def test_stores_whose_signals_are_not_those_of_the_set_are_refused(make_subject_stores, signal_set):
    paths = make_subject_stores(truth=retinotopic)
    activation, learning, *controls = signal_set.signals
    for change, named in (
        ({"rule": "feedback"}, "gradient_dino: learning, feedback, dino"),
        ({"objective": "entropy"}, "gradient_dino: learning, backprop, entropy"),
        ({"name": "gradient_other"}, "gradient_other: learning, backprop, dino"),
    ):
        other = signal_set.model_copy(
            update={"signals": (activation, learning.model_copy(update=change), *controls)}
        )
        with pytest.raises(HierarchyError) as error:
            read_subjects(paths, other)
        assert "only the store has [gradient_dino: learning, backprop, dino]" in str(error.value)
        assert f"only the set has [{named}" in str(error.value)
        assert "signal set 'test'" in str(error.value)


def test_signals_with_few_controls_are_warned_of_with_what_controls_there_are(
    make_subject_stores, read_scores, caplog
):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic))
    caplog.set_level(logging.INFO)
    log_controls(subject.signals)
    (record,) = caplog.records
    assert record.levelname == "INFO" and "held against 3 controls" in record.message
    assert "gradient_feature_norm (backprop, feature_norm)" in record.message
    dino = subject.signals["gradient_dino"]
    for controls, text in (
        ((), "holds no control of it"),
        (("gradient_feature_norm",), "a single control, gradient_feature_norm (backprop, feature"),
    ):
        caplog.clear()
        log_controls(subject.signals | {"gradient_dino": replace(dino, controls=controls)})
        (record,) = caplog.records
        assert record.levelname == "WARNING" and text in record.message


def test_a_modality_of_ones_own_is_read_by_its_axis(make_subject_stores, statistics_of):
    facts = {"truth": latencies, "noise": 1e-4}
    meg = statistics_of(make_subject_stores(modality="meg", **facts))
    own = statistics_of(make_subject_stores(modality="my_sensors", axis="time", **facts))
    assert set(own["modality"]) == {"my_sensors"} and set(own["axis"]) == {"time"}
    pd.testing.assert_frame_equal(own.assign(modality="meg"), meg)


def scores_of(subject):
    return subject.unit_score["activation", "r"]


def test_a_layer_is_scored_where_the_other_subjects_peak_and_not_where_it_peaks_itself(
    make_subject_stores, read_scores
):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.0))
    key = ("activation", "r")
    turned = replace(subject, unit_score={key: subject.unit_score[key][:, ::-1]})
    places = peak_units(subject, [turned], scores_of)
    np.testing.assert_array_equal(places, [4, 3, 2, 1, 0])
    expected = np.mean([subject.unit_score[key][k, 4 - k] for k in range(5)])
    assert mean_at_units(subject.unit_score[key], places) == pytest.approx(expected)


def test_a_score_that_one_peer_lacks_is_left_out_for_that_peer_alone(
    make_subject_stores, read_scores
):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.0))
    key = ("activation", "r")

    def peer(*missing, unit=slice(None)):
        scores = subject.unit_score[key].copy()
        scores[missing, unit] = np.nan
        return replace(subject, unit_score={key: scores})

    # Layer k is best at unit k: of the first peer's gap there the second one knows.
    gap = peer(2, unit=2)
    for peers in ([gap, subject], [subject, gap]):
        np.testing.assert_array_equal(peak_units(subject, peers, scores_of), np.arange(5))
    # Alone, it chooses the best unit that it has; the score of the subject itself is read there.
    assert peak_units(subject, [gap], scores_of)[2] in (1, 3)
    # A layer of which no peer has any score has no unit, and the mean over layers is not known.
    nowhere = peak_units(subject, [peer(2), peer(2)], scores_of)
    np.testing.assert_array_equal(nowhere, [0, 1, -1, 3, 4])
    assert np.isnan(mean_at_units(subject.unit_score[key], nowhere))


def test_a_draw_without_a_unit_leaves_the_others_as_they_are():
    scores = np.arange(12.0).reshape(2, 2, 3)
    found = mean_at_units(scores, np.array([[0, -1], [1, 2]]))
    np.testing.assert_array_equal(found, [np.nan, (7 + 11) / 2])


def test_pure_noise_at_the_peaks_of_others_is_zero_on_average(make_subject_stores, read_scores):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.0))
    rng = np.random.default_rng(0)
    key = ("activation", "r")
    means, maxima = [], []
    for _ in range(300):
        noisy = [replace(subject, unit_score={key: rng.standard_normal((5, 5))}) for _ in range(6)]
        places = peak_units(noisy[0], noisy[1:], scores_of)
        means.append(mean_at_units(noisy[0].unit_score[key], places))
        maxima.append(noisy[0].unit_score[key].max(axis=1).mean())
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(300)
    assert np.mean(maxima) > 1  # what a subject's own maximum would have claimed


def test_each_permutation_of_images_chooses_its_own_places(make_subject_stores, read_scores):
    """Chance that subjects share through their images must be in the null as in the choice."""
    paths = [make_subject_stores(f"s{k}", truth=retinotopic, noise=0.1, seed=9) for k in (1, 2)]
    first, second = read_scores([path for own in paths for path in own])
    found = summarise(first, SETTINGS, peers=[second])
    table = found.table
    row = table[(table["statistic"] == "score_at_peak") & (table["signal"] == "activation")]
    shared = first.null["activation", "r"]
    np.testing.assert_array_equal(shared, second.null["activation", "r"])
    np.testing.assert_allclose(found.null[row.index[0]], shared.max(axis=2).mean(axis=1))
    behind = found.maps[row.index[0]]
    np.testing.assert_array_equal(behind, scores_of(first))
    assert tuple(behind["layer"].values) == LAYERS and tuple(behind["unit"].values) == first.units


def test_a_difference_from_a_control_is_taken_layer_by_layer(make_subject_stores, read_scores):
    """The best layer of a control is no control of another layer's signal."""
    paths = [make_subject_stores(f"s{k}", truth=controlled, noise=0.01, seed=k) for k in range(3)]
    subjects = read_scores([path for own in paths for path in own])
    found = summarise(subjects[0], SETTINGS, peers=subjects[1:])
    table = found.table[
        (found.table["statistic"] == "control_difference")
        & (found.table["control"] == "gradient_feature_norm")
    ]
    for variant, measure in (("raw", "r"), ("unique", "unique_variance")):
        (row,) = table.index[table["variant"] == variant]
        scores = subjects[0].unit_score
        difference = scores["gradient_dino", measure] - scores["gradient_feature_norm", measure]
        np.testing.assert_array_equal(found.maps[row], difference)
        # Higher by .04 in every layer; less than the best layer of the control in all but one.
        assert table["value"][row] == pytest.approx(0.04, abs=0.02)


def controlled(signal, measure, depth):
    """Scores grow from layer to layer, and a learning signal exceeds its controls by little."""
    return np.full(5, 0.2 * depth + (0.04 if signal == "gradient_dino" else 0.0))


def test_a_signal_exceeds_itself_by_nothing(make_subject_stores, read_scores):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.1))
    name = "gradient_dino"
    against_itself = replace(subject.signals[name], controls=(name,))
    subject = replace(subject, signals=subject.signals | {name: against_itself})
    found = summarise(subject, SETTINGS, peers=[])
    rows = found.table[found.table["statistic"] == "control_difference_at_own_peak"]
    assert set(rows["variant"]) == {"raw", "unique"}
    assert (rows["value"] == 0.0).all()
    for row in rows.index:
        assert not found.maps[row].values.any()
        assert not found.null[row].any() and not found.boot[row].any()


def test_unique_variance_comes_with_what_is_known_of_brains_that_hold_it(
    make_subject_stores, read_scores
):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.0))
    found = summarise(subject, SETTINGS, peers=[subject])
    table = found.table.reset_index().set_index(["statistic", "signal", "control"])
    row = table.loc[("unique_variance", "gradient_dino", "")]
    assert (row["value"], row["unit"]) == (pytest.approx(0.05), "share")
    assert (row["explainable"], row["explained"]) == (EXPLAINABLE, EXPLAINED)
    assert (row["held_scaled"], row["held_flat"]) == (HELD["scaled"], HELD["flat"])
    for kernel in HELD:
        assert row[f"cross_variance_{kernel}"] == pytest.approx(CROSS_VARIANCE)
        assert row[f"dose_variance_{kernel}"] == pytest.approx(DOSE_VARIANCE)
    expected = found.expected[row["index"]]
    assert expected.dims == ("kernel", "layer", "unit")
    np.testing.assert_allclose(expected.sel(kernel="flat"), EXPLAINABLE * HELD["flat"])
    # Controls are estimated, but nobody asks what they could have been.
    control = table.loc[("unique_variance", "gradient_feature_norm", "")]
    assert control["value"] == pytest.approx(0.01)
    assert np.isnan(control[["held_scaled", "held_flat"]].astype(float)).all()


def test_what_activations_explain_stands_in_where_there_is_no_ceiling(
    make_subject_stores, read_scores
):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.0), explainable=np.nan)
    found = summarise(subject, SETTINGS, peers=[subject])
    rows = found.table[found.table["statistic"] == "unique_variance"]
    rows = rows[rows["signal"] == "gradient_dino"]
    assert rows["explainable"].isna().all()
    expected = found.expected[rows.index[0]]
    np.testing.assert_allclose(expected.sel(kernel="scaled"), EXPLAINED)


def test_without_other_subjects_a_layer_is_scored_at_its_own_peak(make_subject_stores, read_scores):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, noise=0.01))
    found = summarise(subject, SETTINGS, peers=[])
    assert "score_at_peak" not in set(found.table["statistic"])
    own = found.table[
        (found.table["statistic"] == "score_at_own_peak") & (found.table["signal"] == "activation")
    ]
    (row,) = own.index
    scores, null = subject.unit_score["activation", "r"], subject.null["activation", "r"]
    assert own["value"][row] == pytest.approx(scores.max(axis=-1).mean())
    # Permuted images choose as well: a maximum is compared with maxima.
    np.testing.assert_allclose(found.null[row], null.max(axis=-1).mean(axis=-1))
    # Resampled images are read where the layers were scored.
    best, layers = scores.argmax(axis=-1), np.arange(len(scores))
    boot = subject.boot["activation", "r"][:, layers, best]
    np.testing.assert_allclose(found.boot[row], boot.mean(axis=-1))
    differences = {"unique_variance_at_own_peak", "control_difference_at_own_peak"}
    assert differences <= set(found.table["statistic"])


@pytest.mark.parametrize(
    "poles",
    [
        {"early_rois": ["V1"], "high_rois": ["V1"]},
        {"early_rois": ["V1", "LO"], "high_rois": ["LO"]},
        # What is named stands against the end of the order, which is the same region here.
        {"early_rois": ["LO"], "high_rois": []},
    ],
)
def test_no_region_is_contrasted_with_itself(make_subject_stores, read_scores, poles):
    (subject,) = read_scores(make_subject_stores(truth=retinotopic, roi_distance={}, **poles))
    assert not subject.has_poles
    statistics = set(summarise(subject, SETTINGS, peers=[]).table["statistic"])
    assert not {name for name in statistics if name.startswith(("high_minus", "spatial_"))}
    assert "best_layer_depth" in statistics


def test_people_who_lack_images_that_others_have_are_told(make_subject_stores, signal_set, caplog):
    def read(*people):
        fits = [(path, open_store(path, kind="encoding")) for paths in people for path in paths]
        return fits_by_subject(fits, signal_set)

    first = make_subject_stores(truth=retinotopic)
    second = make_subject_stores(subject="brain-s2", truth=retinotopic)
    assert len(read(first, second)) == 2 and caplog.messages == []
    fewer = make_subject_stores(subject="brain-s3", truth=retinotopic, n_images=97)
    read(first, fewer)
    (told,) = caplog.messages
    assert "images of pictures (brain-s3: 97; brain-s1: 100)" in told
    assert "`images: shared`" in told
