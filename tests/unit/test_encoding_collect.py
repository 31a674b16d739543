"""Gathering of encoding results: scores of a model, and its maps."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from collect_maps import main as write_maps
from trees.unique_variance import unique_content

from gradbrain.encoding.collect import CollectError, collect_scores
from gradbrain.encoding.maps import collect_maps
from gradbrain.store import open_store, open_tree, write_store, write_table, write_tree
from gradbrain.vocabulary.artefacts import columns_of

LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])


ROIS = ("V1", "V2", "V3", "V4", "LO")
TIMES = np.round(np.arange(-0.08, 0.81, 0.04), 3)
# Role, rule and objective.
IDENTITIES = {
    "activation": ("activation", "activation", ""),
    "all_activations": ("baseline", "", ""),
    "gabor": ("nuisance", "activation", ""),
    "gradient_dino": ("learning", "backprop", "dino"),
    "gradient_feature_norm": ("control", "backprop", "feature_norm"),
}
SIGNALS = ("activation", "gradient_dino", "gradient_feature_norm")
ROWS = [
    *((name, measure) for name in IDENTITIES for measure in ("r", "r2")),
    *((name, "unique_r2") for name in SIGNALS[1:]),
]


def retinotopic(signal, measure, depth):
    return 0.5 - 0.2 * np.abs(DEPTHS - depth)


def flat(signal, measure, depth):
    return np.full(23, depth)


def write_fit(path, layer, subject, truth, coords, units, seed, noise, **attrs):
    """Write an encoding store; ``truth(signal, measure, depth)`` gives the score of every unit."""
    random = np.random.default_rng([seed, LAYERS.index(layer)])
    depth = float(DEPTHS[LAYERS.index(layer)])
    n_targets = len(next(iter(coords.values())))
    score = np.array([truth(*row, depth) for row in ROWS])
    score = score + noise * random.standard_normal(score.shape)
    targets = np.repeat(score, n_targets // len(units), axis=1)
    n_fits, n_rows = 1, len(ROWS)
    draws = np.zeros((2, *score.shape))
    labels = list(zip(*(IDENTITIES[name] for name, _ in ROWS), strict=True))
    of_targets = {
        name: (("fit", "target"), np.zeros((n_fits, n_targets)))
        for name in ("penalty_log10", "band_weight", "effective_dof")
    }
    store = xr.Dataset(
        {
            "score": (("score_row", "target"), targets),
            "unit_score": (("score_row", "unit"), score),
            "boot": (("draw", "score_row", "unit"), draws),
            "null": (("draw", "score_row", "unit"), draws),
            "unit_band_weight": (("fit", "unit"), np.zeros((n_fits, len(units)))),
            **of_targets,
        },
        coords={
            "signal": ("score_row", [name for name, _ in ROWS]),
            **dict(zip(("role", "rule", "objective"),
                       (("score_row", list(values)) for values in labels), strict=True)),
            "measure": ("score_row", [measure for _, measure in ROWS]),
            "row_fit": ("score_row", np.zeros(n_rows, dtype=int)),
            "edge_share": ("score_row", np.zeros(n_rows)),
            "fit": ("fit", ["activation"]),
            "unit": ("unit", list(units)),
            "reliable": ("target", np.ones(n_targets, dtype=bool)),
            **{name: ("target", values) for name, values in coords.items()},
        },
        attrs={"study": "test", "model": "net", "layer": layer, "depth": depth,
               "subject": subject, "rotation_invariant": False, "onset_source": ""} | attrs,
    )  # fmt: skip
    write_store(path, store, kind="encoding")
    return path


@pytest.fixture
def make_subject_stores(tmp_path):
    """Write the stores of all layers of a subject; return their paths."""

    def make(subject="brain-s1", layers=LAYERS, *, truth, noise=0.004, seed=0, per_roi=4,
             space="fsaverage5"):  # fmt: skip
        roi = np.repeat(ROIS, per_roi)
        place = np.arange(len(roi))
        coords = {
            "roi": roi,
            "hemisphere": np.where(place % 2, "R", "L"),
            "vertex": place,
            **dict.fromkeys("xyz", place * 1.0),
        }
        about = {"dataset": "brain", "modality": "fmri", "axis": "roi", "sensors": "voxels",
                 "space": space}  # fmt: skip
        return [
            write_fit(tmp_path / layer / f"{subject}.zarr", layer, subject, truth, coords, ROIS,
                      seed, noise, **about)
            for layer in layers
        ]  # fmt: skip

    return make


@pytest.fixture
def make_timed_stores(tmp_path):
    """The same of sensors at times; data sets differ in what a sensor is."""

    def make(subject="meg-s1", *, truth=flat, sensors=("A", "B"), times=TIMES, dataset="meg",
             modality="meg", space="sensors", noise=0.0):  # fmt: skip
        coords = {
            "time": np.repeat(times, len(sensors)),
            "sensor": np.tile(sensors, len(times)),
            "sensor_x": np.tile(np.linspace(-1, 1, len(sensors)), len(times)),
            "sensor_y": np.zeros(len(times) * len(sensors)),
        }
        about = {"dataset": dataset, "modality": modality, "axis": "time", "space": space,
                 "sensors": "sensors" if space == "sensors" else "contacts"}  # fmt: skip
        return [
            write_fit(tmp_path / layer / f"{dataset}-{subject}.zarr", layer, subject, truth, coords,
                      [str(time) for time in times], 0, noise, **about)
            for layer in LAYERS
        ]  # fmt: skip

    return make


def score_table(layer, subject, **changes):
    facts = dict.fromkeys(columns_of("fit_scores"), 0.0) | {
        "study": "test",
        "dataset": "brain",
        "subject": subject,
        "modality": "fmri",
        "model": "net",
        "layer": layer,
        "depth": 0.1 * int(layer.split(".")[1]),
        "signal": "activation",
        "role": "activation",
        "rule": "activation",
        "objective": "",
        "measure": "r",
        "axis": "roi",
        "time": np.nan,
    }
    return pd.DataFrame([facts | {"roi": roi} | changes for roi in ("V1", "V2")])


@pytest.fixture
def tables(tmp_path):
    def write(*frames):
        paths = []
        for index, frame in enumerate(frames):
            paths.append(tmp_path / f"{index}.parquet")
            write_table(paths[-1], frame, kind="fit_scores")
        return paths

    return write


def test_scores_are_joined_and_layers_counted_by_depth(tables):
    frames = [
        score_table(layer, subject)
        for subject in ("s2", "s1")
        for layer in ("blocks.10", "blocks.2", "blocks.9")
    ]
    scores = collect_scores(tables(*frames))
    assert list(scores.columns) == list(columns_of("scores"))
    unknown = ["intersubject_r", "intersubject_r2", "reliability", "unique_reliability"]
    assert scores[unknown].isna().all(axis=None)
    assert len(scores) == 12
    order = scores.drop_duplicates("layer").set_index("layer")["layer_index"].to_dict()
    assert order == {"blocks.2": 0, "blocks.9": 1, "blocks.10": 2}
    assert list(scores["subject"].unique()) == ["s1", "s2"]
    pd.testing.assert_frame_equal(scores, collect_scores(tables(*frames[::-1])))


def reliabilities_of(stimuli, **layers):
    """A table of reliabilities; ``blocks_1=(whole, unique)`` names a layer."""
    facts = dict.fromkeys(columns_of("reliability"), "") | {"model": "net", "stimuli": stimuli}
    facts |= {"signal": "gradient_dino", "role": "learning"}
    return pd.DataFrame(
        [
            facts | {"layer": layer.replace("_", ".")}
            | {"reliability": whole, "unique_reliability": unique}
            for layer, (whole, unique) in layers.items()
        ],
        columns=list(columns_of("reliability")),
    )  # fmt: skip


def test_reliabilities_stand_next_to_the_scores_of_their_signal_layer_and_images(tables, tmp_path):
    dino = {"signal": "gradient_dino", "role": "learning"}
    frames = [
        score_table(layer, subject, **identity)
        for layer in ("blocks.1", "blocks.2")
        for subject in ("s1", "s2")
        for identity in ({}, dino, {"signal": "gradient_dino", "role": "baseline"})
    ]
    paths = []
    for stimuli, first in (("own", 0.4), ("others", 0.8)):
        paths.append(tmp_path / f"{stimuli}.parquet")
        table = reliabilities_of(stimuli, blocks_1=(first, 0.1), blocks_2=(np.nan, np.nan))
        write_table(paths[-1], table, kind="reliability")
    scores = collect_scores(
        tables(*frames), reliability=paths, stimuli={"s1": "own", "s2": "others"}
    )
    assert len(scores) == len(frames) * 2
    measured = scores[(scores["role"] == "learning") & (scores["layer"] == "blocks.1")]
    assert dict(zip(measured["subject"], measured["reliability"], strict=True)) == {
        "s1": 0.4,
        "s2": 0.8,
    }
    assert set(measured["unique_reliability"]) == {0.1}
    others = scores.drop(measured.index)
    assert others[["reliability", "unique_reliability"]].isna().all(axis=None)


def test_scores_of_layers_or_images_that_were_not_measured_are_refused(tables, tmp_path):
    frame = score_table("blocks.1", "s1", signal="gradient_dino", role="learning")
    path = tmp_path / "own.parquet"
    for layer, stimuli in (("blocks_2", "own"), ("blocks_1", "others")):
        write_table(path, reliabilities_of(stimuli, **{layer: (0.9, 0.9)}), kind="reliability")
        with pytest.raises(CollectError, match=r"'gradient_dino'.*'blocks\.1'.*'s1'.*'own'"):
            collect_scores(tables(frame), reliability=[path], stimuli={"s1": "own"})


def ceilings_of(**rows):
    """A table of ceilings; ``s1_V1=(r, r2)`` names a subject and a region."""
    facts = dict.fromkeys(columns_of("ceilings"), 0) | {"dataset": "brain", "time": np.nan}
    return pd.DataFrame(
        [
            facts | dict(zip(("subject", "roi"), name.split("_"), strict=True))
            | {"measure": measure, "value": value}
            for name, values in rows.items()
            for measure, value in zip(("intersubject_r", "intersubject_r2"), values, strict=True)
        ],
        columns=list(columns_of("ceilings")),
    )  # fmt: skip


def test_ceilings_between_subjects_stand_next_to_the_scores_of_their_unit(tables, tmp_path):
    frames = [
        score_table(layer, subject)
        for layer in ("blocks.1", "blocks.2")
        for subject in ("s1", "s2")
    ]
    timed = score_table("blocks.1", "s1", dataset="meg", roi="", modality="meg", axis="time")
    timed["time"] = (0.1, 0.2)
    again = timed.assign(layer="blocks.2", depth=0.2)
    given = [tmp_path / "brain-ceilings.parquet", tmp_path / "meg-ceilings.parquet"]
    write_table(given[0], ceilings_of(s1_V1=(0.5, 0.25), s2_V1=(0.4, 0.16)), kind="ceilings")
    of_times = ceilings_of(s1_=(0.3, 0.09)).assign(dataset="meg", time=0.2)
    write_table(given[1], of_times, kind="ceilings")
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
    write_table(empty, ceilings_of(), kind="ceilings")
    scores = collect_scores(tables(score_table("blocks.1", "s1")), [empty])
    assert scores["intersubject_r"].isna().all()


@pytest.fixture
def with_unique(make_subject_stores, make_timed_stores, tables, tmp_path):
    """Score tables of two subjects, one along time, and stores of their unique variance."""
    random = np.random.default_rng(0)
    stores = [*make_subject_stores(truth=retinotopic, noise=0.1), *make_timed_stores(noise=0.1)]
    fits = []
    for path in stores:
        fit = open_store(path, kind="encoding").load()
        fit["null"] = fit["null"] + random.standard_normal(fit["null"].shape)
        if fit.attrs["axis"] == "time":
            fit = fit.assign_coords(unit_time=("unit", fit["unit"].values.astype(float)))
        about = dict.fromkeys(("signal_set", "stimuli", "features_digest", "responses_digest"), "")
        fits.append(fit.assign_attrs(about))
    tables_of, unique = [], []
    for own in (fits[: len(LAYERS)], fits[len(LAYERS) :]):
        tables_of += [fit_score_table(fit) for fit in own]
        unique.append(tmp_path / f"{own[0].attrs['subject']}.zarr")
        write_store(unique[-1], unique_content(own), kind="unique")
    return tables(*tables_of), unique, fits


def fit_score_table(fit):
    """Rows of r of an encoding store."""
    along = fit.attrs["axis"] == "time"
    rows = []
    for name, (role, rule, objective) in IDENTITIES.items():
        about = {"signal": name, "role": role, "rule": rule, "objective": objective}
        table = score_table(fit.attrs["layer"], fit.attrs["subject"], **about)
        units = fit["unit"].values
        table = table.iloc[np.zeros(len(units), dtype=int)].assign(
            dataset=fit.attrs["dataset"],
            axis=fit.attrs["axis"],
            roi="" if along else units,
            time=units.astype(float) if along else np.nan,
            edge_share=0.25,
        )
        rows.append(table)
    return pd.concat(rows)


def test_unique_variance_stands_among_the_measures_of_a_signal(with_unique):
    paths, unique, fits = with_unique
    scores = collect_scores(paths, unique=unique)
    plain = collect_scores(paths)
    pd.testing.assert_frame_equal(scores[scores["measure"] == "r"].reset_index(drop=True), plain)
    found = scores[scores["measure"] == "unique_variance"]
    assert set(found["signal"]) == {"gradient_dino", "gradient_feature_norm"}
    n_units = len(ROIS) + len(TIMES)
    assert len(found) == 2 * len(LAYERS) * n_units == len(scores) - len(plain)
    assert found[["boot_low", "boot_high", "edge_share", "band_weight"]].isna().all(axis=None)
    for fit in fits:
        row = ROWS.index(("gradient_dino", "unique_r2"))
        own = found[
            (found["dataset"] == fit.attrs["dataset"])
            & (found["layer"] == fit.attrs["layer"])
            & (found["signal"] == "gradient_dino")
        ]
        units = own["roi"] if fit.attrs["axis"] == "roi" else own["time"].map(str)
        of_unit = fit.assign_coords(unit=fit["unit"].astype(str)).isel(score_row=row)
        of_unit = of_unit.sel(unit=list(units))
        np.testing.assert_allclose(own["value"], of_unit["unit_score"])
        np.testing.assert_allclose(own["null_high"], of_unit["null"].quantile(0.95, "draw"))


def test_unique_variance_of_other_people_layers_or_units_is_refused(with_unique, tmp_path):
    paths, unique, _ = with_unique
    with pytest.raises(CollectError, match=r"meg-s1\.zarr: is of dataset 'meg', of which no score"):
        collect_scores(paths[: len(LAYERS)], unique=unique)
    few = open_store(unique[0], kind="unique").load()
    write_store(tmp_path / "few.zarr", few.isel(unit=slice(1, None)), kind="unique")
    expected = r"few\.zarr: holds no row of signal 'gradient_dino', layer 'blocks.0', at V1"
    with pytest.raises(CollectError, match=expected):
        collect_scores(paths, unique=[tmp_path / "few.zarr"])
    with pytest.raises(CollectError, match=r"brain-s1\.zarr: alone holds a row of .* 'blocks.0'"):
        collect_scores(paths[1 : len(LAYERS)], unique=unique[:1])
    with pytest.raises(CollectError, match="same score twice"):
        collect_scores(paths, unique=[unique[0], unique[0]])


def test_scores_that_do_not_belong_together_are_refused(tables):
    one = score_table("blocks.1", "s1")
    with pytest.raises(CollectError, match="same score twice"):
        collect_scores(tables(one, one))
    # What alone has the name of something else is no second score of it.
    baseline = score_table("blocks.1", "s1", signal="all_activations", role="baseline")
    namesake = score_table("blocks.1", "s1", signal="all_activations", role="learning")
    assert len(collect_scores(tables(baseline, namesake))) == 4
    with pytest.raises(CollectError, match="several models"):
        collect_scores(tables(one, score_table("blocks.1", "s1", model="other")))
    with pytest.raises(CollectError, match=r"brain, s2: lacks layer\(s\) \['blocks.1'\]"):
        collect_scores(tables(one, score_table("blocks.2", "s1"), score_table("blocks.2", "s2")))
    with pytest.raises(CollectError, match="no score table"):
        collect_scores([])


def test_maps_average_subjects_and_find_the_best_layer(make_subject_stores, tmp_path):
    paths = make_subject_stores(truth=retinotopic, noise=0.02, seed=1)
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, noise=0.02, seed=2)
    write_tree(tmp_path / "maps.zarr", collect_maps(paths[::-1]), kind="maps")
    tree = open_tree(tmp_path / "maps.zarr", kind="maps")
    assert list(tree.children) == ["brain"]
    assert tree.attrs["model"] == "net" and tree.attrs["study"] == "test"
    np.testing.assert_array_equal(tree["depth"], DEPTHS)
    maps = tree["brain"].to_dataset()
    assert maps["score"].dims == ("layer", "signal", "measure", "target")
    assert list(maps["layer"].values) == list(LAYERS)
    np.testing.assert_array_equal(maps["n_subjects"], 2)
    ordered = maps.sortby("vertex")
    found = ordered["score"].sel(layer="blocks.2", signal="activation", measure="r")
    stores = [open_store(path, kind="encoding") for path in paths if "blocks.2" in str(path)]
    expected = np.mean([store["score"].values[0] for store in stores], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    best = ordered["best_layer"].sel(signal="activation", measure="r")
    np.testing.assert_allclose(best, np.repeat(DEPTHS, 4), rtol=1e-6)
    np.testing.assert_array_equal(ordered["roi"].values[:4], "V1")
    missing = maps["score"].sel(signal="activation", measure="unique_r2")
    assert np.isnan(missing).all()
    assert {"x", "hemisphere", "vertex"} <= set(maps.coords)
    assert maps.attrs == {
        "dataset": "brain", "modality": "fmri", "axis": "roi", "space": "fsaverage5",
        "sensors": "voxels", "rotation_invariant": False, "onset_source": "", "n_subjects": 2,
    }  # fmt: skip


def test_maps_say_who_their_signals_are_and_leave_out_what_they_are_held_against(
    make_subject_stores,
):
    maps = collect_maps(make_subject_stores(truth=retinotopic))["brain"].to_dataset()
    who = zip(*(maps[name].values for name in ("signal", "role", "rule", "objective")), strict=True)
    expected = [(name, *IDENTITIES[name]) for name in SIGNALS]
    assert [tuple(map(str, labels)) for labels in who] == expected
    assert list(maps["measure"].values) == ["r", "unique_r2"]


def test_targets_that_some_subjects_lack_are_averaged_over_the_others(make_subject_stores):
    paths = make_subject_stores(truth=retinotopic, noise=0.0)
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, noise=0.0, per_roi=3)
    maps = collect_maps(paths)["brain"].to_dataset().sortby("vertex")
    # 20 vertices of the first subject, 15 of which the second has as well.
    np.testing.assert_array_equal(maps["n_subjects"], [2] * 15 + [1] * 5)
    score = maps["score"].sel(layer="blocks.4", signal="activation", measure="r")
    truth = retinotopic("activation", "r", 1.0)
    np.testing.assert_allclose(score[15:], np.repeat(truth, 4)[15:], rtol=1e-6)
    np.testing.assert_allclose(score[0], truth[0], rtol=1e-6)


def test_targets_in_subjects_own_space_stay_apart(make_subject_stores):
    paths = make_subject_stores(truth=retinotopic, space="native")
    paths += make_subject_stores(subject="brain-s2", truth=retinotopic, space="native")
    maps = collect_maps(paths)["brain"]
    assert maps.sizes["target"] == 40
    np.testing.assert_array_equal(maps["n_subjects"], 1)
    assert set(maps["subject"].values) == {"brain-s1", "brain-s2"}


def test_maps_along_time_are_of_times_and_sensors(make_subject_stores, make_timed_stores):
    tree = collect_maps(make_timed_stores() + make_subject_stores(truth=retinotopic))
    assert list(tree.children) == ["brain", "meg"]
    maps = tree["meg"].to_dataset()
    assert maps["score"].dims == ("layer", "signal", "measure", "time", "sensor")
    assert maps["best_layer"].dims == ("signal", "measure", "time", "sensor")
    np.testing.assert_array_equal(maps["time"], TIMES)
    assert list(maps["sensor"].values) == ["A", "B"]
    np.testing.assert_array_equal(maps["sensor_x"], [-1, 1])
    assert maps["sensor_y"].dims == ("sensor",)
    best = maps["best_layer"].sel(signal="activation", measure="r")
    np.testing.assert_array_equal(best, 1.0)
    assert (maps.attrs["modality"], maps.attrs["axis"]) == ("meg", "time")
    assert "subject" not in maps.coords


def test_sensors_and_times_that_a_subject_lacks_are_averaged_over_the_others_or_missing(
    make_timed_stores, tmp_path
):
    def by_subject(level):
        return lambda signal, measure, depth: np.full(3, level)

    paths = make_timed_stores("meg-s1", truth=by_subject(0.2), times=TIMES[:3])
    paths += make_timed_stores("meg-s2", truth=by_subject(0.4), times=TIMES[1:4],
                               sensors=("B", "C"))  # fmt: skip
    write_tree(tmp_path / "maps.zarr", collect_maps(paths), kind="maps")
    maps = open_tree(tmp_path / "maps.zarr", kind="maps", verify=True)["meg"].to_dataset()
    score = maps["score"].sel(layer="blocks.1", signal="gradient_dino", measure="unique_r2")
    expected = [
        [0.2, 0.2, np.nan],
        [0.2, 0.3, 0.4],
        [0.2, 0.3, 0.4],
        [np.nan, 0.4, 0.4],
    ]
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    counts = [[1, 1, 0], [1, 2, 1], [1, 2, 1], [0, 1, 1]]
    np.testing.assert_array_equal(maps["n_subjects"], counts)
    best = maps["best_layer"].sel(signal="gradient_dino", measure="unique_r2")
    np.testing.assert_array_equal(np.isnan(best), np.isnan(expected))
    assert maps.attrs["n_subjects"] == 2


def test_implanted_contacts_are_told_apart_by_their_subject_and_electrodes_are_not(
    make_timed_stores,
):
    """By the space alone: a modality of any name may be of either kind."""

    def both(**about):
        return collect_maps(make_timed_stores("s1", **about) + make_timed_stores("s2", **about))

    own = both(dataset="ieeg", modality="intracranial", space="contacts")["ieeg"].to_dataset()
    assert own["score"].dims == ("layer", "signal", "measure", "time", "sensor")
    assert list(own["sensor"].values) == ["A", "B", "A", "B"]
    assert list(own["subject"].values) == ["s1", "s1", "s2", "s2"]
    np.testing.assert_array_equal(own["n_subjects"], 1)
    assert own.attrs["sensors"] == "contacts"
    shared = both(dataset="eeg", modality="eeg")["eeg"].to_dataset()
    assert list(shared["sensor"].values) == ["A", "B"]
    np.testing.assert_array_equal(shared["n_subjects"], 2)


def test_command_writes_the_maps_of_the_fits_of_a_folder(make_subject_stores, tmp_path):
    make_subject_stores(truth=retinotopic)
    output = tmp_path / "maps.zarr"
    write_maps(["--fits", str(tmp_path), "--layers", *LAYERS, "--subjects", "brain-s1",
                "--output", str(output)])  # fmt: skip
    assert list(open_tree(output, kind="maps", verify=True).children) == ["brain"]


def test_maps_refuse_what_does_not_belong_together(make_subject_stores):
    good = make_subject_stores(truth=retinotopic)
    with pytest.raises(CollectError, match="already given by another store"):
        collect_maps([*good, good[0]])
    other = make_subject_stores(truth=retinotopic, subject="brain-s2", layers=LAYERS[:2])
    with pytest.raises(CollectError, match="brain-s2: lacks layer"):
        collect_maps([*good, *other])
    with pytest.raises(CollectError, match="no encoding store"):
        collect_maps([])
