"""Claims about one's own data: what was written arrives, and what does not fit is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from trees.modalities import MODALITIES

from gradbrain.config import GradbrainError
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.arrays import Adapter
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import inspect_files, take_inventory
from gradbrain.datasets.noise_ceiling import average_repeats
from gradbrain.datasets.recordings import Recording, open_recording
from gradbrain.datasets.registry import read_options
from gradbrain.datasets.responses import check_responses

ADAPTER = Adapter()
check, expected_size, responses, stimuli = (
    ADAPTER.check,
    ADAPTER.expected_size,
    ADAPTER.responses,
    ADAPTER.stimuli,
)

IMAGES = [f"picture_{number}" for number in (1, 2, 3, 10)]
N_REPEATS, N_TARGETS, N_TIMES, N_SENSORS = 3, 5, 4, 3
SUBJECT = "mine-s1"
TARGETS = pd.DataFrame(
    {
        "roi": ["V1", "V1", "LO", "LO", ""],
        "hemisphere": ["lh", "rh", "left", "R", ""],
        "x": [-10.0, 10.0, -40.0, 40.0, 0.0],
        "y": [-90.0, -90.0, -70.0, -70.0, 0.0],
        "z": [0.0, 0.0, 0.0, 0.0, 0.0],
    }
)


@pytest.fixture
def data(tmp_path):
    """Images, a table of them, and responses of one subject to three repeats of each."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in IMAGES:
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    pd.DataFrame(
        {
            "image_id": IMAGES,
            "file": [f"images/{name}.png" for name in IMAGES],
            "group": ["a", "a", "", "b"],
            "label": ["3", "", "281", "0"],
        }
    ).to_csv(tmp_path / "images.csv", index=False)
    rows = pd.DataFrame({"image_id": IMAGES * N_REPEATS})
    rows["session"] = np.repeat(["one", "two", "three"], len(IMAGES))
    rows.to_csv(tmp_path / "s1_rows.csv", index=False)
    TARGETS.to_csv(tmp_path / "targets.csv", index=False)
    np.save(tmp_path / "s1.npy", fmri(rng))
    np.save(tmp_path / "s1_meg.npy", meg(rng))
    pd.DataFrame(
        {"sensor": ["A1", "A2", "A3"], "sensor_x": [0, 0.5, -0.5], "sensor_y": [1, 0, 0]}
    ).to_csv(tmp_path / "sensors.csv", index=False)
    return tmp_path


def fmri(rng):
    signal = rng.standard_normal((len(IMAGES), N_TARGETS))
    noise = rng.standard_normal((N_REPEATS, len(IMAGES), N_TARGETS))
    return (signal + 0.5 * noise).reshape(-1, N_TARGETS).astype(np.float32)


def meg(rng):
    shape = (N_REPEATS * len(IMAGES), N_TIMES, N_SENSORS)
    return rng.standard_normal(shape).astype(np.float32)


def entry_of(modality="fmri", **options):
    base = {"table": "images.csv", "responses": "{id}.npy", "rows": "{id}_rows.csv"}
    own = {"targets": "targets.csv"}
    if modality == "meg":
        base["responses"] = "{id}_meg.npy"
        own = {"sensors": "sensors.csv", "times": {"first": -0.1, "rate": 10}}
    chosen = {key: value for key, value in (base | own | options).items() if value is not None}
    return DatasetEntry(
        name="mine",
        adapter="arrays",
        modality=MODALITIES[modality],
        subjects=[SUBJECT],
        stimuli="mine",
        options=chosen,
        licence="mine",
    )


def prepare(data, modality="fmri", **options):
    entry = entry_of(modality, **options)
    parsed = read_options(entry)
    table = stimuli(entry, parsed, "mine", data)
    dataset = responses(entry, parsed, SUBJECT, table, data, [])
    check_responses(dataset, table)
    return table, dataset


def test_the_table_says_which_images_there_are_and_what_folds_must_not_split(data):
    table, _ = prepare(data)
    assert list(table["image_id"]) == IMAGES
    # An image without a group is a group of its own.
    assert list(table["group"]) == ["a", "a", "picture_3", "b"]
    assert list(table["label"].fillna(-1)) == [3, -1, 281, 0]


def test_without_a_table_images_come_in_the_order_people_number_them(data):
    table, _ = prepare(data, table=None, images="images/*.png")
    assert list(table["image_id"]) == IMAGES


def test_presentations_are_averaged_and_give_the_ceiling(data):
    _, dataset = prepare(data)
    repeats = np.load(data / "s1.npy").reshape(N_REPEATS, len(IMAGES), N_TARGETS)
    average, ceiling = average_repeats(repeats)
    assert np.allclose(dataset["response"].values, average, atol=1e-6)
    assert np.allclose(dataset["noise_ceiling"].values, ceiling, atol=1e-6)
    assert list(dataset["n_repeats"].values) == [N_REPEATS] * len(IMAGES)


def test_rows_may_come_in_any_order(data):
    _, expected = prepare(data)
    order = np.random.default_rng(1).permutation(N_REPEATS * len(IMAGES))
    np.save(data / "s1.npy", np.load(data / "s1.npy")[order])
    rows = pd.read_csv(data / "s1_rows.csv").iloc[order]
    rows.to_csv(data / "s1_rows.csv", index=False)
    _, shuffled = prepare(data)
    assert np.allclose(expected["response"].values, shuffled["response"].values, atol=1e-6)


def test_images_may_be_repeated_unequally_often(data):
    values = np.load(data / "s1.npy")[:-2]
    np.save(data / "s1.npy", values)
    pd.read_csv(data / "s1_rows.csv").iloc[:-2].to_csv(data / "s1_rows.csv", index=False)
    _, dataset = prepare(data)
    assert list(dataset["n_repeats"].values) == [3, 3, 2, 2]
    third = values[[2, 6]].mean(axis=0)
    assert np.allclose(dataset["response"].values[2], third, atol=1e-6)


def test_single_presentations_have_no_ceiling_unless_it_is_given(data):
    np.save(data / "s1.npy", np.load(data / "s1.npy")[: len(IMAGES)])
    _, dataset = prepare(data, rows=None)
    assert np.isnan(dataset["noise_ceiling"].values).all()
    TARGETS.assign(noise_ceiling=0.4).to_csv(data / "targets.csv", index=False)
    _, dataset = prepare(data, rows=None)
    assert np.allclose(dataset["noise_ceiling"].values, 0.4)


def test_targets_keep_region_hemisphere_and_position(data):
    _, dataset = prepare(data, reference_roi="V1")
    assert list(dataset["roi"].values) == ["V1", "V1", "LO", "LO", ""]
    assert list(dataset["hemisphere"].values) == ["left", "right", "left", "right", ""]
    assert list(dataset["x"].values) == [-10, 10, -40, 40, 0]
    # Without vertices, columns tell the targets of a map apart.
    assert list(dataset["vertex"].values) == [0, 1, 2, 3, 4]
    assert dataset.attrs["roi_order"] == ["V1", "LO"]
    # 30 mm to the side and 20 mm to the front in both hemispheres.
    assert dataset.attrs["roi_distance"] == pytest.approx({"V1": 0, "LO": np.hypot(30, 20)})


def test_sessions_are_standardised_before_averaging(data):
    _, dataset = prepare(data, zscore_sessions=True)
    sessions = np.load(data / "s1.npy").astype(float).reshape(N_REPEATS, len(IMAGES), N_TARGETS)
    sessions -= sessions.mean(axis=1, keepdims=True)
    sessions /= sessions.std(axis=1, keepdims=True)
    assert np.allclose(dataset["response"].values, sessions.mean(axis=0), atol=1e-5)
    assert "z-scored per session" in dataset.attrs["preprocessing"]


def test_meg_keeps_times_and_sensors(data):
    _, dataset = prepare(data, "meg")
    found = dataset["response"]
    assert found.dims == ("image", "time", "sensor")
    repeats = np.load(data / "s1_meg.npy").reshape(N_REPEATS, len(IMAGES), N_TIMES, N_SENSORS)
    assert np.allclose(found.values, repeats.mean(axis=0), atol=1e-6)
    assert np.allclose(dataset["time"].values, [-0.1, 0, 0.1, 0.2])
    assert list(dataset["sensor"].values) == ["A1", "A2", "A3"]
    assert dataset.attrs["onset_s"] == 0.0


def test_times_count_from_the_onset_that_is_given(data):
    """Whatever reads the times after the image takes those above zero."""
    _, dataset = prepare(data, "meg", onset_s=0.02)
    assert list(dataset["time"].values) == [-0.12, -0.02, 0.08, 0.18]
    assert dataset.attrs["onset_s"] == 0.0


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_xarray_files_say_everything_themselves(data, suffix):
    _, expected = prepare(data, reference_roi="V1")
    rows = pd.read_csv(data / "s1_rows.csv")
    own = xr.Dataset(
        {"response": (("presentation", "target"), np.load(data / "s1.npy"))},
        coords={
            "image_id": ("presentation", rows["image_id"].to_numpy(dtype=str)),
            "session": ("presentation", rows["session"].to_numpy(dtype=str)),
            **{name: ("target", TARGETS[name].to_numpy()) for name in ("x", "y", "z")},
            "roi": ("target", TARGETS["roi"].to_numpy(dtype=str)),
            "hemisphere": ("target", TARGETS["hemisphere"].to_numpy(dtype=str)),
        },
    )
    path = data / f"s1{suffix}"
    own.to_zarr(path) if suffix == ".zarr" else own.to_netcdf(path)
    _, dataset = prepare(
        data, responses=f"{{id}}{suffix}", rows=None, targets=None, reference_roi="V1"
    )
    xr.testing.assert_allclose(dataset, expected)


def test_meg_in_xarray_files(data):
    _, expected = prepare(data, "meg")
    rows = pd.read_csv(data / "s1_rows.csv")
    sensors = pd.read_csv(data / "sensors.csv")
    xr.Dataset(
        {"response": (("presentation", "time", "sensor"), np.load(data / "s1_meg.npy"))},
        coords={
            "image_id": ("presentation", rows["image_id"].to_numpy(dtype=str)),
            "time": [-0.1, 0, 0.1, 0.2],
            "sensor": sensors["sensor"].to_numpy(dtype=str),
            "sensor_x": ("sensor", sensors["sensor_x"]),
            "sensor_y": ("sensor", sensors["sensor_y"]),
        },
    ).to_zarr(data / "s1.zarr")
    own = {"responses": "{id}.zarr", "rows": None, "sensors": None, "times": None}
    _, dataset = prepare(data, "meg", **own)
    xr.testing.assert_allclose(dataset, expected)


def test_subjects_may_have_images_of_their_own(data):
    (data / "images.csv").rename(data / "mine-s1.csv")
    entry = entry_of(table="{subject}.csv").model_copy(update={"stimuli": None})
    table = stimuli(entry, read_options(entry), SUBJECT, data)
    assert list(table["image_id"]) == IMAGES


def test_blocks_cover_all_targets_once(monkeypatch):
    monkeypatch.setattr("gradbrain.datasets.recordings.BLOCK_BYTES", 8 * 6 * 2)
    values = np.arange(42.0).reshape(6, 7)
    blocks = list(Recording(Path("own.npy"), values).blocks())
    assert [block.shape[1] for _, block in blocks] == [2, 2, 2, 1]
    assert np.array_equal(np.concatenate([block for _, block in blocks], axis=1), values)


def test_a_target_with_nan_is_masked_and_counted(data):
    values = np.load(data / "s1.npy")
    values[4, 1] = np.nan
    np.save(data / "s1.npy", values)
    _, dataset = prepare(data)
    assert dataset.attrs["n_masked_targets"] == 1


def edit(name, change):
    def apply(data):
        path = data / name
        if path.suffix == ".npy":
            np.save(path, change(np.load(path)))
        else:
            change(pd.read_csv(path, keep_default_na=False)).to_csv(path, index=False)

    return apply


def empty_row(values):
    values[5] = np.nan
    return values


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (edit("s1.npy", lambda a: a[:-1]), {}, r"s1\.npy: has 11 rows, but .*s1_rows\.csv .* 12"),
        (edit("s1.npy", lambda a: a[:, :-1]), {}, r"has 4 targets, but .*targets\.csv describes 5"),
        (edit("s1.npy", lambda a: a[0]), {}, r"shape \(5,\), expected 2 dimensions"),
        (edit("s1.npy", lambda a: a.astype("U8")), {}, "expected real numbers"),
        (edit("s1.npy", empty_row), {}, r"1 row\(s\) hold no finite value, e\.g\. row 5 .*_2'"),
        (
            edit("s1_rows.csv", lambda t: t.replace("picture_3", "picture_4")),
            {},
            r"s1_rows\.csv: 1 image_id\(s\) are not in the table of images, e\.g\. 'picture_4'",
        ),
        (
            edit("s1_rows.csv", lambda t: t.replace("picture_3", "picture_2")),
            {},
            "1 of 4 images have no row, e.g. 'picture_3'",
        ),
        (
            edit("s1_rows.csv", lambda t: t.rename(columns={"image_id": "picture"})),
            {},
            r"s1_rows\.csv: lacks the column\(s\) image_id; it has the columns picture",
        ),
        (
            edit("s1_rows.csv", lambda t: t.drop(columns="session")),
            {"zscore_sessions": True},
            "zscore_sessions needs the column `session`",
        ),
        (edit("images.csv", lambda t: pd.concat([t, t[:1]])), {}, "'picture_1' occurs more than"),
        (
            edit("images.csv", lambda t: t.replace("images/picture_3.png", "images/gone.png")),
            {},
            r"images/gone\.png: there is no such image",
        ),
        (edit("images.csv", lambda t: t.assign(label="dog")), {}, "label 'dog' is no whole number"),
        (
            edit("targets.csv", lambda t: t.assign(hemisphere="middle")),
            {},
            "hemisphere 'middle'; expected left or right",
        ),
        (
            edit("targets.csv", lambda t: t.assign(noise_ceiling=40)),
            {},
            r"noise_ceiling reaches from 40 to 40; .*\(divide per cents by 100\)",
        ),
        (edit("targets.csv", lambda t: t.assign(x="far")), {}, r"targets\.csv: x, y, z.*far"),
        (
            edit("targets.csv", lambda t: t.assign(vertex=7, hemisphere="lh")),
            {},
            "two targets have the vertex 7 of the same hemisphere",
        ),
        (edit("targets.csv", lambda t: t.assign(roi="")), {}, "no target lies in a region"),
        (lambda data: None, {"roi_order": ["V1", "IT"]}, "roi_order names IT, which no target has"),
        (lambda data: None, {"reference_roi": "V2"}, "no target lies in reference_roi: V2"),
        (lambda data: None, {"space": "fsaverage5"}, "need `hemisphere` and `vertex`"),
        (lambda data: None, {"rows": None}, "has 12 rows, but there are 4 images"),
        (lambda data: None, {"responses": "{id}.mat"}, r"s1\.mat: expected a name that ends in"),
        (lambda data: None, {"responses": "{id}.nc"}, r"s1\.nc: there is no such file"),
    ],
)
def test_what_does_not_fit_is_named(data, damage, options, message):
    damage(data)
    with pytest.raises(DatasetError, match=message):
        prepare(data, **options)


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (edit("sensors.csv", lambda t: t[:2]), {}, r"has 3 sensors, but .*sensors\.csv names 2"),
        (edit("sensors.csv", lambda t: t.assign(sensor="A1")), {}, "names a sensor twice"),
        (lambda data: None, {"times": None}, "lacks the coordinate `time`"),
        (lambda data: None, {"sensors": None, "layout": "none-such"}, "mne has no such layout"),
        (lambda data: None, {"responses": "{id}.npy"}, "expected 3 dimensions"),
    ],
)
def test_what_does_not_fit_in_meg_is_named(data, damage, options, message):
    damage(data)
    with pytest.raises(DatasetError, match=message):
        prepare(data, "meg", **options)


def test_a_truncated_file_is_named(data):
    (data / "s1.npy").write_bytes((data / "s1.npy").read_bytes()[:-8])
    with pytest.raises(DatasetError, match=r"s1\.npy: cannot be read"):
        open_recording(data / "s1.npy", n_dimensions=2)


def test_an_xarray_file_without_responses_is_named(data):
    xr.Dataset({"betas": ("x", [1.0])}).to_zarr(data / "s1.zarr")
    with pytest.raises(DatasetError, match=r"no variable 'response'; it has betas"):
        open_recording(data / "s1.zarr", n_dimensions=2)


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(GradbrainError, match="images, table: give one of them"):
        read_options(entry_of(images="*.png"))
    with pytest.raises(GradbrainError, match="sensors, layout: give one of them"):
        read_options(entry_of("meg", layout="Vectorview-mag"))


def test_check_names_missing_files_and_options_before_any_job(data):
    def problems(modality="fmri", **options):
        entry = entry_of(modality, **options)
        return check(entry, read_options(entry), data)

    assert problems() == []
    assert problems("meg") == []
    (problem,) = problems(responses="{subject}.npy")
    assert f"{data / 'mine-s1.npy'} is missing (mine-s1)" in problem
    # Without regions the study is of one, and says so later where more are needed.
    assert problems(targets=None) == []
    (problem,) = problems(layout="Vectorview-mag")
    assert "the option `layout` is not of fmri" in problem
    (problem,) = problems(table=None, images="photos/*.jpg")
    assert "photos/*.jpg" in problem
    entry = entry_of()
    assert "roots: {mine:" in check(entry, read_options(entry), data / "nowhere")[0]


def test_the_inventory_lists_what_each_subject_needs(data):
    found = take_inventory(entry_of(), data)
    assert found.obstacles(SUBJECT) == []
    details = {Path(item.path).name: item.detail for item in found.items}
    assert details["s1.npy"] == "12 × 5; 1 of 5 targets are in no region that is scored"
    assert details["s1_rows.csv"] == "12 rows"
    (data / "images" / "picture_3.png").unlink()
    np.save(data / "s1.npy", np.zeros(3))
    obstacles = " ".join(take_inventory(entry_of(), data).obstacles(SUBJECT))
    assert "missing 1 of 4 files (e.g. " in obstacles
    assert "picture_3.png)" in obstacles
    assert "s1.npy: unreadable" in obstacles


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("s1_rows.csv", {}, "names the images of 11"),
        ("targets.csv", {}, "describes 4"),
        (None, {"rows": None}, "but there are 4 images"),
        (None, {"roi_order": ["V1", "V9"]}, "roi_order names V9"),
        (None, {"reference_roi": "V9"}, "reference_roi: V9"),
    ],
)
def test_the_inventory_says_what_the_first_job_would_fail_on(data, name, options, message):
    if name is not None:
        pd.read_csv(data / name).iloc[:-1].to_csv(data / name, index=False)
    found = take_inventory(entry_of(**options), data)
    obstacle = found.obstacles(SUBJECT)[0]
    assert "s1.npy: mismatch" in obstacle
    assert message in obstacle
    (item,) = [item for item in found.items if item.path == str(data / "s1.npy")]
    assert (item.n_files, item.n_bytes) == (1, (data / "s1.npy").stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def save_with_16_bits(path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is cut short"),
        (lambda path: path.write_text("no image"), "cannot be read as an image"),
        (save_with_16_bits, "expected 8 bits per channel"),
    ],
)
def test_a_damaged_image_is_found_by_its_header(data, damage, message):
    damage(data / "images" / "picture_2.png")
    (obstacle,) = take_inventory(entry_of(), data).obstacles(SUBJECT)
    assert "unreadable (1 of 4 files looked at, e.g. " in obstacle
    assert "picture_2.png: " in obstacle
    assert message in obstacle


def test_no_more_headers_are_read_than_take_a_few_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr("gradbrain.datasets.inventory.MOST_HEADERS", 10)
    paths = [tmp_path / f"{number:02d}" for number in range(35)]
    for path in paths:
        path.write_text("x")
    looked_at = []
    item = inspect_files(paths, pattern="*", subject="", read=looked_at.append)
    assert (item.state, item.n_files) == ("there", 35)
    assert looked_at == paths[::4]


def test_targets_in_no_region_of_the_order_are_counted(data, caplog):
    caplog.set_level("INFO")
    told = "3 of 5 targets are in no region that is scored (LO)"
    found = take_inventory(entry_of(roi_order=["V1"]), data)
    assert found.obstacles(SUBJECT) == []
    assert f"12 × 5; {told}" in [item.detail for item in found.items]
    prepare(data, roi_order=["V1"])
    assert f"{SUBJECT}: {told}" in caplog.text


def test_unknown_regions_are_named_before_any_job_where_the_table_is_small(data, monkeypatch):
    entry = entry_of(early_rois=["V1", "V9"])
    (problem,) = check(entry, read_options(entry), data)
    assert problem.endswith("early_rois names V9, which no target has; they have LO, V1")
    monkeypatch.setattr("gradbrain.datasets.arrays.SMALL_TABLE_BYTES", 10)
    assert check(entry, read_options(entry), data) == []


def test_what_is_damaged_is_called_unreadable_and_not_missing(data):
    (data / "s1.npy").write_bytes(b"no array at all")
    (data / "images.csv").write_text("image_id\npicture_1\n")
    items = {Path(item.path).name: item for item in take_inventory(entry_of(), data).items}
    assert "is no .npy file" in items["s1.npy"].detail
    assert "pickle" not in items["s1.npy"].detail
    states = {item.state for item in take_inventory(entry_of(), data).items}
    assert "missing" not in states


@pytest.mark.parametrize(
    ("modality", "expected"), [("fmri", (4, N_TARGETS, 2)), ("meg", (4, N_TIMES * N_SENSORS, 4))]
)
def test_the_size_of_a_subject_is_read_from_tables_and_headers(data, modality, expected):
    entry = entry_of(modality)
    size = expected_size(entry, read_options(entry), data)
    assert (size.n_images, size.n_targets, size.n_units) == expected
