"""Ceilings between subjects: what they are, who takes part, and what is refused."""

import numpy as np
import pytest
import xarray as xr
from compute_ceilings import main
from sklearn.linear_model import LinearRegression

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding import intersubject
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.intersubject import intersubject_ceilings
from gradbrain.encoding.splits import grouped_folds
from gradbrain.store import open_store, read_table, write_store
from gradbrain.vocabulary.artefacts import columns_of

N_IMAGES, N_PEOPLE = 60, 4
IMAGE_IDS = np.array([f"image-{number:02d}" for number in range(N_IMAGES)])
GROUPS = np.array([f"photograph-{number % 20:02d}" for number in range(N_IMAGES)])
SETTINGS = EncodingSettings(n_folds=5, seed=3)
TIMES = np.array([-0.1, 0.1, 0.2])
ROIS = ("V1", "IT")


def attributes(subject, **attrs):
    return {
        "dataset": "made",
        "subject": subject,
        "modality": "meg",
        "axis": "time",
        "sensors": "sensors",
        "space": "sensors",
        "rotation_invariant": False,
        "roi_order": [],
        "early_rois": [],
        "high_rois": [],
        "onset_s": 0.0,
        **attrs,
    }


def write_meg(path, values, order=None, images=slice(None), **attrs):
    order = np.arange(N_IMAGES)[images] if order is None else order
    sensors = [f"MEG{number}" for number in range(values.shape[2])]
    dataset = xr.Dataset(
        {"response": (("image", "time", "sensor"), values[order].astype(np.float32))},
        coords={
            "image_id": ("image", IMAGE_IDS[order]),
            "group": ("image", GROUPS[order]),
            "n_repeats": ("image", np.ones(len(order), dtype=int)),
            "time": ("time", TIMES),
            "sensor": ("sensor", attrs.pop("sensors", sensors)),
        },
        attrs=attributes(path.stem, **attrs),
    )
    write_store(path, dataset, kind="responses")
    return path


def write_fmri(path, values, vertices, roi, ceiling=None, **attrs):
    n_targets = len(vertices)
    position = np.array(attrs.pop("position", [np.nan] * n_targets), dtype=float)
    ceiling = np.full(n_targets, 0.5) if ceiling is None else ceiling
    dataset = xr.Dataset(
        {
            "response": (("image", "target"), values[:, vertices].astype(np.float32)),
            "noise_ceiling": ("target", ceiling.astype(np.float32), {"missing_allowed": True}),
        },
        coords={
            "image_id": ("image", IMAGE_IDS),
            "group": ("image", GROUPS),
            "n_repeats": ("image", np.ones(N_IMAGES, dtype=int)),
            "roi": ("target", np.array(roi)),
            "hemisphere": ("target", np.array(["left"] * n_targets)),
            "vertex": ("target", np.array(vertices)),
            **dict.fromkeys("xyz", ("target", position, {"missing_allowed": True})),
        },
        attrs=attributes(
            path.stem,
            **{"modality": "fmri", "axis": "roi", "space": "fsaverage5", "roi_order": list(ROIS)}
            | attrs,
        ),
    )
    write_store(path, dataset, kind="responses")
    return path


@pytest.fixture
def recordings():
    """People share a signal, the later the more, and differ in noise, scale and offset."""
    generator = np.random.default_rng(7)
    shared = generator.standard_normal((N_IMAGES, 3, 5)) * np.array([0.0, 1.0, 2.0])[:, None]
    noise = generator.standard_normal((N_PEOPLE, N_IMAGES, 3, 5))
    scale = np.array([1.0, 1e-12, 300.0, 5.0])[:, None, None, None]
    return scale * (shared + noise + np.array([0.0, 3.0, -2.0, 10.0])[:, None, None, None])


@pytest.fixture
def people(tmp_path, recordings):
    generator = np.random.default_rng(8)
    return [
        write_meg(tmp_path / f"s{number}.zarr", values, generator.permutation(N_IMAGES))
        for number, values in enumerate(recordings)
    ]


def expected(own, others):
    """Scores of one subject, image by image and fold by fold."""
    folds = grouped_folds(GROUPS, SETTINGS.n_folds, SETTINGS.seed)
    own, others = own.astype(np.float32).astype(float), others.astype(np.float32).astype(float)
    r, r2 = np.zeros(own.shape[1:]), np.zeros(own.shape[1:])
    for fold in range(SETTINGS.n_folds):
        train, test = folds != fold, folds == fold
        scaled = [(y - y[train].mean(axis=0)) / y[train].std(axis=0) for y in others]
        average = np.mean(scaled, axis=0)
        for target in np.ndindex(*own.shape[1:]):
            x, y = average[(slice(None), *target)], own[(slice(None), *target)]
            fit = LinearRegression().fit(x[train, None], y[train])
            predicted = fit.predict(x[test, None])
            error = np.sum((y[test] - predicted) ** 2)
            total = np.sum((y[test] - y[train].mean()) ** 2)
            r2[target] += (1 - error / total) / SETTINGS.n_folds
            r[target] += np.corrcoef(predicted, y[test])[0, 1] / SETTINGS.n_folds
    return {"intersubject_r": r, "intersubject_r2": r2}


def by_measure(table, subject):
    own = table[table["subject"] == subject]
    return {name: rows["value"].to_numpy() for name, rows in own.groupby("measure")}


def test_scores_are_those_of_a_regression_on_the_average_of_the_others(people, recordings):
    table = intersubject_ceilings(people, SETTINGS, study="test")
    assert list(table.columns) == list(columns_of("ceilings"))
    assert len(table) == N_PEOPLE * 2 * len(TIMES)
    for number in range(N_PEOPLE):
        wanted = expected(recordings[number], np.delete(recordings, number, axis=0))
        found = by_measure(table, f"s{number}")
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values.mean(axis=1), rtol=1e-9, atol=1e-12)
    assert set(table["n_targets"]) == {5}
    assert set(table["n_other_subjects"]) == {N_PEOPLE - 1}
    assert set(table["axis"]) == {"time"}
    np.testing.assert_array_equal(table["time"].unique(), TIMES)


def test_a_target_of_opposite_sign_in_the_others_is_predicted_as_well(tmp_path, recordings):
    same, turned = (
        [
            write_meg(tmp_path / name / "s0.zarr", recordings[0]),
            write_meg(tmp_path / name / "s1.zarr", sign * recordings[1]),
        ]
        for name, sign in (("same", 1.0), ("turned", -1.0))
    )
    found = [intersubject_ceilings(paths, SETTINGS, study="test") for paths in (same, turned)]
    np.testing.assert_allclose(found[0]["value"], found[1]["value"], rtol=1e-9)
    late = found[0][(found[0]["time"] == TIMES[-1]) & (found[0]["measure"] == "intersubject_r")]
    assert (late["value"] > 0.5).all()


def test_a_sensor_that_is_dead_in_one_fold_is_scored_in_the_others(tmp_path, recordings):
    folds = grouped_folds(GROUPS, SETTINGS.n_folds, SETTINGS.seed)
    dead = recordings.copy()
    # At its training mean, up to the rounding of single precision: R² would be a ratio to that.
    mean = dead[0, folds != 0, 2, 1].astype(np.float32).mean(dtype=np.float64)
    dead[0, folds == 0, 2, 1] = mean
    paths = [write_meg(tmp_path / f"s{k}.zarr", values) for k, values in enumerate(dead)]
    found = by_measure(intersubject_ceilings(paths, SETTINGS, study="test"), "s0")
    for name, values in found.items():
        assert np.isfinite(values).all() and (values > -2).all()
        whole = expected(recordings[0], recordings[1:])[name]
        # The other four sensors, and one that lacks a fold.
        assert abs(values[2] - whole[2].mean()) < 0.2


def test_reading_in_small_blocks_changes_nothing(people, monkeypatch):
    whole = intersubject_ceilings(people, SETTINGS, study="test")
    monkeypatch.setattr(intersubject, "BLOCK_ENTRIES", 7 * N_PEOPLE * 15)
    blocks = intersubject_ceilings(people, SETTINGS, study="test")
    np.testing.assert_allclose(blocks["value"], whole["value"], rtol=1e-9, atol=1e-12)


def test_an_offset_far_above_the_spread_costs_no_digits(tmp_path):
    generator = np.random.default_rng(1)
    # Steps of a quarter are exact in float32 next to a million.
    shared = generator.integers(-8, 8, (N_IMAGES, 3, 2)) / 4
    noise = generator.integers(-8, 8, (2, N_IMAGES, 3, 2)) / 4
    tables = []
    for offset in (0.0, 1e6):
        paths = [
            write_meg(tmp_path / f"{offset:g}" / f"s{number}.zarr", shared + own + offset)
            for number, own in enumerate(noise)
        ]
        tables.append(intersubject_ceilings(paths, SETTINGS, study="test"))
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], rtol=1e-9)


def test_the_ceiling_is_what_shared_signal_and_noise_allow_and_below_that_of_repeats(tmp_path):
    generator = np.random.default_rng(2)
    n_targets = 400
    shared = generator.standard_normal((N_IMAGES, n_targets))
    paths = [
        write_fmri(
            tmp_path / f"s{number}.zarr",
            shared + generator.standard_normal((N_IMAGES, n_targets)),
            np.arange(n_targets),
            np.resize(ROIS, n_targets),
        )
        for number in range(N_PEOPLE)
    ]
    table = intersubject_ceilings(paths, SETTINGS, study="test")
    found = table[table["measure"] == "intersubject_r"]["value"]
    # Signal and noise of variance 1: the average of three others has a noise variance of 1/3.
    np.testing.assert_allclose(found, 1 / np.sqrt(2 * (1 + 1 / 3)), atol=0.04)
    assert (found < np.sqrt(0.5)).all()


def test_targets_are_matched_by_place_and_averaged_over_those_who_have_them(tmp_path):
    generator = np.random.default_rng(3)
    values = generator.standard_normal((N_IMAGES, 6)) + generator.standard_normal((3, N_IMAGES, 6))
    # Vertex 5 is nobody else's; vertex 4 is that of two; the second has its targets reversed.
    have = {"s0": [0, 1, 2, 3, 4, 5], "s1": [4, 3, 2, 1, 0], "s2": [0, 1, 2, 3]}
    region = {vertex: ROIS[vertex // 3] for vertex in range(6)}
    paths = [
        write_fmri(
            tmp_path / f"{name}.zarr", own, vertices, [region[vertex] for vertex in vertices]
        )
        for own, (name, vertices) in zip(values, have.items(), strict=True)
    ]
    table = intersubject_ceilings(paths, SETTINGS, study="test")
    counts = table[table["measure"] == "intersubject_r"].set_index(["subject", "roi"])
    assert counts["n_targets"].to_dict() == {
        ("s0", "V1"): 3, ("s0", "IT"): 2, ("s1", "V1"): 3, ("s1", "IT"): 2,
        ("s2", "V1"): 3, ("s2", "IT"): 1,
    }  # fmt: skip
    assert counts["n_other_subjects"].to_dict() == {
        ("s0", "V1"): 2, ("s0", "IT"): 1, ("s1", "V1"): 2, ("s1", "IT"): 1,
        ("s2", "V1"): 2, ("s2", "IT"): 2,
    }  # fmt: skip
    three = expected(values[0, :, :4], values[1:, :, :4])["intersubject_r"]
    four = expected(values[0, :, 4:5], values[1:2, :, 4:5])["intersubject_r"]
    found = counts["value"]
    assert found["s0", "V1"] == pytest.approx(three[:3].mean(), rel=1e-9)
    assert found["s0", "IT"] == pytest.approx((three[3] + four[0]) / 2, rel=1e-9)
    assert counts.loc[("s0", "IT"), "roi_rank"] == 1


def test_voxels_of_a_template_are_matched_by_position_and_not_by_number(tmp_path):
    generator = np.random.default_rng(9)
    values = generator.standard_normal((N_IMAGES, 5)) + generator.standard_normal((2, N_IMAGES, 5))
    # The second person lacks the first voxel; both number theirs from 0.
    have = ([0, 1, 2, 3], [1, 2, 3, 4])
    paths = [
        write_fmri(
            tmp_path / f"s{number}.zarr",
            values[number][:, voxels],
            range(4),
            ["V1", "V1", "IT", "IT"],
            space="MNI152",
            position=voxels,
        )
        for number, voxels in enumerate(have)
    ]
    table = intersubject_ceilings(paths, SETTINGS, study="test")
    counts = table[table["measure"] == "intersubject_r"].set_index(["subject", "roi"])
    assert counts["n_targets"].to_dict() == {
        ("s0", "V1"): 1, ("s0", "IT"): 2, ("s1", "V1"): 2, ("s1", "IT"): 1,
    }  # fmt: skip
    wanted = expected(values[0][:, 1:2], values[1:][:, :, 1:2])["intersubject_r"]
    assert counts.loc[("s0", "V1"), "value"] == pytest.approx(wanted[0], rel=1e-9)


def test_targets_below_the_noise_ceiling_asked_for_have_no_part(tmp_path):
    values = np.random.default_rng(4).standard_normal((N_IMAGES, 4))
    noise = np.random.default_rng(5).standard_normal((2, N_IMAGES, 4))
    ceiling = np.array([0.5, 0.01, 0.5, 0.5])
    paths = [
        write_fmri(
            tmp_path / f"s{number}.zarr", values + own, range(4), ["V1", "V1", "IT", "IT"], ceiling
        )
        for number, own in enumerate(noise)
    ]
    settings = SETTINGS.model_copy(update={"min_noise_ceiling": 0.1})
    table = intersubject_ceilings(paths, settings, study="test")
    assert set(table.loc[table["roi"] == "V1", "n_targets"]) == {1}
    assert set(table.loc[table["roi"] == "IT", "n_targets"]) == {2}


def test_images_that_some_did_not_see_are_left_out_and_reported(tmp_path, recordings, caplog):
    paths = [
        write_meg(tmp_path / "s0.zarr", recordings[0]),
        write_meg(tmp_path / "s1.zarr", recordings[1], images=slice(0, 40)),
    ]
    table = intersubject_ceilings(paths, SETTINGS, study="test")
    assert "40 of 60 images were shown to all of the 2 subjects" in caplog.text
    alone = [
        write_meg(tmp_path / "both" / f"s{number}.zarr", recordings[number], images=slice(0, 40))
        for number in range(2)
    ]
    same = intersubject_ceilings(alone, SETTINGS, study="test")
    np.testing.assert_allclose(table["value"], same["value"], rtol=1e-9)


def test_people_who_share_nothing_have_no_ceiling_and_are_told_so(tmp_path, recordings, caplog):
    own_images = [
        write_meg(tmp_path / "images" / "s0.zarr", recordings[0], images=slice(0, 33)),
        write_meg(tmp_path / "images" / "s1.zarr", recordings[1], images=slice(30, 60)),
    ]
    table = intersubject_ceilings(own_images, SETTINGS, study="test")
    assert table.empty and list(table.columns) == list(columns_of("ceilings"))
    assert "belong to 3 groups, fewer than encoding.n_folds = 5" in caplog.text
    own_sensors = [
        write_meg(
            tmp_path / "sensors" / f"s{number}.zarr",
            recordings[number],
            sensors=[f"{number}-{sensor}" for sensor in range(5)],
        )
        for number in range(2)
    ]
    assert intersubject_ceilings(own_sensors, SETTINGS, study="test").empty
    assert "no target is at the same time and sensor in two subjects" in caplog.text


def test_subjects_that_cannot_be_compared_are_refused(tmp_path, people, recordings):
    with pytest.raises(EncodingError, match="takes two or more of one data set"):
        intersubject_ceilings(people[:1], SETTINGS, study="test")
    with pytest.raises(EncodingError, match="takes two or more of one data set"):
        intersubject_ceilings([people[0], people[0]], SETTINGS, study="test")
    other = write_meg(tmp_path / "other.zarr", recordings[0], dataset="elsewhere")
    with pytest.raises(EncodingError, match="elsewhere"):
        intersubject_ceilings([people[0], other], SETTINGS, study="test")
    values = np.random.default_rng(6).standard_normal((N_IMAGES, 4))
    contacts = [
        write_meg(tmp_path / "contacts" / f"s{number}.zarr", recordings[number], space="contacts")
        for number in range(2)
    ]
    with pytest.raises(EncodingError, match="live in the space 'contacts'"):
        intersubject_ceilings(contacts, SETTINGS, study="test")
    for space in ("T1w", "virtual"):
        voxels = [
            write_fmri(tmp_path / space / f"s{i}.zarr", values, range(4), ["V1"] * 2 + ["IT"] * 2,
                       space=space, rotation_invariant=space == "virtual")
            for i in range(2)
        ]  # fmt: skip
        with pytest.raises(EncodingError, match=f"live in the space '{space}'"):
            intersubject_ceilings(voxels, SETTINGS, study="test")
    twice = [
        write_fmri(
            tmp_path / "twice" / f"s{i}.zarr", values, [0, 0, 1, 2], ["V1", "V1", "IT", "IT"]
        )
        for i in range(2)
    ]
    with pytest.raises(EncodingError, match="same place, hemisphere left, vertex 0; expected one"):
        intersubject_ceilings(twice, SETTINGS, study="test")


def test_the_command_writes_the_table(tmp_path, people):
    output = tmp_path / "ceilings.parquet"
    main(["--responses", *map(str, people), "--settings", '{"n_folds": 5, "seed": 3}',
          "--study", "test", "--output", str(output)])  # fmt: skip
    table = read_table(output, kind="ceilings")
    assert set(table["study"]) == {"test"}
    assert set(table["subject"]) == {
        open_store(path, kind="responses").attrs["subject"] for path in people
    }
