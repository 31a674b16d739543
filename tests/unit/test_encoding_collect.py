"""Gathering of encoding results; the stores are those that the hierarchy tests use."""

import numpy as np
import pandas as pd
import pytest

from gradbrain.encoding.collect import CollectError, collect_maps, collect_scores
from gradbrain.store import open_store, write_store, write_table
from gradbrain.store.columns import CEILING_COLUMNS, JOINED_SCORE_COLUMNS, SCORE_COLUMNS

LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])


def retinotopic(signal, measure, depth):
    return 0.5 - 0.2 * np.abs(DEPTHS - depth)


def flat(signal, measure, depth):
    return np.full(23, depth)


def score_table(layer, subject, **changes):
    facts = dict.fromkeys(SCORE_COLUMNS, 0.0) | {
        "study": "test",
        "dataset": "brain",
        "subject": subject,
        "modality": "fmri",
        "model": "net",
        "layer": layer,
        "depth": 0.1 * int(layer.split(".")[1]),
        "signal": "activation",
        "role": "activation",
        "measure": "r",
        "unit_kind": "roi",
        "time": np.nan,
    }
    return pd.DataFrame([facts | {"roi": roi} | changes for roi in ("V1", "V2")])


@pytest.fixture
def tables(tmp_path):
    def write(*frames):
        paths = []
        for index, frame in enumerate(frames):
            paths.append(tmp_path / f"{index}.parquet")
            write_table(paths[-1], frame)
        return paths

    return write


def test_scores_are_joined_and_layers_counted_by_depth(tables):
    frames = [
        score_table(layer, subject)
        for subject in ("s2", "s1")
        for layer in ("blocks.10", "blocks.2", "blocks.9")
    ]
    scores = collect_scores(tables(*frames))
    assert list(scores.columns) == list(JOINED_SCORE_COLUMNS)
    assert scores[["intersubject_r", "intersubject_r2"]].isna().all(axis=None)
    assert len(scores) == 12
    order = scores.drop_duplicates("layer").set_index("layer")["layer_index"].to_dict()
    assert order == {"blocks.2": 0, "blocks.9": 1, "blocks.10": 2}
    assert list(scores["subject"].unique()) == ["s1", "s2"]
    pd.testing.assert_frame_equal(scores, collect_scores(tables(*frames[::-1])))


def ceilings_of(**rows):
    """A table of ceilings; ``s1_V1=(r, r2)`` names a subject and a region."""
    facts = dict.fromkeys(CEILING_COLUMNS, 0) | {"dataset": "brain", "time": np.nan}
    return pd.DataFrame(
        [
            facts | dict(zip(("subject", "roi"), name.split("_"), strict=True))
            | {"measure": measure, "value": value}
            for name, values in rows.items()
            for measure, value in zip(("intersubject_r", "intersubject_r2"), values, strict=True)
        ],
        columns=list(CEILING_COLUMNS),
    )  # fmt: skip


def test_ceilings_between_subjects_stand_next_to_the_scores_of_their_unit(tables, tmp_path):
    frames = [
        score_table(layer, subject)
        for layer in ("blocks.1", "blocks.2")
        for subject in ("s1", "s2")
    ]
    timed = score_table("blocks.1", "s1", dataset="meg", roi="", modality="meg", unit_kind="time")
    timed["time"] = (0.1, 0.2)
    again = timed.assign(layer="blocks.2", depth=0.2)
    given = [tmp_path / "brain-ceilings.parquet", tmp_path / "meg-ceilings.parquet"]
    write_table(given[0], ceilings_of(s1_V1=(0.5, 0.25), s2_V1=(0.4, 0.16)))
    of_times = ceilings_of(s1_=(0.3, 0.09)).assign(dataset="meg", time=0.2)
    write_table(given[1], of_times)
    scores = collect_scores(tables(*frames, timed, again), given)
    assert len(scores) == 12
    found = scores.set_index(["dataset", "subject", "layer", "roi", "time"])["intersubject_r"]
    for layer in ("blocks.1", "blocks.2"):
        assert found["brain", "s1", layer, "V1"].item() == 0.5
        assert found["brain", "s2", layer, "V1"].item() == 0.4
        assert np.isnan(found["brain", "s2", layer, "V2"].item())
        assert found["meg", "s1", layer, "", 0.2] == 0.3
        assert np.isnan(found["meg", "s1", layer, "", 0.1])
    assert scores["intersubject_r2"].dropna().isin([0.25, 0.16, 0.09]).all()


def test_an_empty_table_of_ceilings_leaves_the_scores_without_any(tables, tmp_path):
    empty = tmp_path / "ceilings.parquet"
    write_table(empty, ceilings_of())
    scores = collect_scores(tables(score_table("blocks.1", "s1")), [empty])
    assert scores["intersubject_r"].isna().all()


def test_scores_that_do_not_belong_together_are_refused(tables):
    one = score_table("blocks.1", "s1")
    with pytest.raises(CollectError, match="same score twice"):
        collect_scores(tables(one, one))
    with pytest.raises(CollectError, match="several models"):
        collect_scores(tables(one, score_table("blocks.1", "s1", model="other")))
    with pytest.raises(CollectError, match=r"brain, s2: lacks layer\(s\) \['blocks.1'\]"):
        collect_scores(tables(one, score_table("blocks.2", "s1"), score_table("blocks.2", "s2")))
    with pytest.raises(CollectError, match="no score table"):
        collect_scores([])


def test_maps_average_subjects_and_find_the_best_layer(make_subject_stores, tmp_path):
    paths = make_subject_stores(truth=retinotopic, noise=0.02, seed=1)
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, noise=0.02, seed=2)
    maps = collect_maps(paths[::-1])
    write_store(tmp_path / "maps.zarr", maps, kind="maps")
    maps = open_store(tmp_path / "maps.zarr", kind="maps")
    assert maps["score_brain"].dims == ("layer", "map_signal", "map_measure", "target_brain")
    assert list(maps["layer"].values) == list(LAYERS)
    np.testing.assert_array_equal(maps["n_subjects_brain"], 2)
    ordered = maps.sortby("vertex_brain")
    found = ordered["score_brain"].sel(layer="blocks.2", map_signal="activation", map_measure="r")
    stores = [open_store(path, kind="encoding") for path in paths if "blocks.2" in str(path)]
    expected = np.mean([store["score"].values[0] for store in stores], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    best = ordered["best_layer_brain"].sel(map_signal="activation", map_measure="r")
    np.testing.assert_allclose(best, np.repeat(DEPTHS, 4), rtol=1e-6)
    np.testing.assert_array_equal(ordered["roi_brain"].values[:4], "V1")
    missing = maps["score_brain"].sel(map_signal="activation", map_measure="unique_r2")
    assert np.isnan(missing).all()
    assert maps.attrs["spaces"] == {"brain": "fsaverage5"}
    assert {"x_brain", "hemisphere_brain", "vertex_brain"} <= set(maps.coords)


def test_targets_that_some_subjects_lack_are_averaged_over_the_others(
    make_subject_stores, make_encoding_store
):
    paths = make_subject_stores(truth=retinotopic, noise=0.0)
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, noise=0.0, per_roi=3)
    maps = collect_maps(paths).sortby("vertex_brain")
    # 20 vertices of the first subject, 15 of which the second has as well.
    np.testing.assert_array_equal(maps["n_subjects_brain"], [2] * 15 + [1] * 5)
    score = maps["score_brain"].sel(layer="blocks.4", map_signal="activation", map_measure="r")
    truth = retinotopic("activation", "r", 1.0)
    np.testing.assert_allclose(score[15:], np.repeat(truth, 4)[15:], rtol=1e-6)
    np.testing.assert_allclose(score[0], truth[0], rtol=1e-6)


def test_targets_in_subjects_own_space_stay_apart(make_subject_stores):
    paths = make_subject_stores(truth=retinotopic, space="native")
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, space="native")
    maps = collect_maps(paths)
    assert maps.sizes["target_brain"] == 40
    np.testing.assert_array_equal(maps["n_subjects_brain"], 1)
    assert set(maps["subject_brain"].values) == {"brain-s1", "brain-s2"}


def test_maps_of_meg_are_of_sensors_and_times(make_subject_stores):
    paths = make_subject_stores(truth=flat, modality="meg", dataset="meg", noise=0.0)
    paths += make_subject_stores(truth=retinotopic)
    maps = collect_maps(paths)
    assert maps.sizes["target_meg"] == 46
    assert {"time_meg", "sensor_meg", "sensor_x_meg", "sensor_y_meg"} <= set(maps.coords)
    best = maps["best_layer_meg"].sel(map_signal="activation", map_measure="r")
    np.testing.assert_array_equal(best, 1.0)
    assert maps.attrs["datasets"]["meg"]["modality"] == "meg"


def test_maps_refuse_what_does_not_belong_together(make_subject_stores):
    good = make_subject_stores(truth=retinotopic)
    with pytest.raises(CollectError, match="already given by another store"):
        collect_maps([*good, good[0]])
    other = make_subject_stores(truth=retinotopic, subject="brain-s2", layers=LAYERS[:2])
    with pytest.raises(CollectError, match="brain-s2: lacks layer"):
        collect_maps([*good, *other])
    with pytest.raises(CollectError, match="no encoding store"):
        collect_maps([])
