"""Claims about own recordings along time: electrodes find their places, contacts need none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from PIL import Image
from trees.modalities import MODALITIES

from gradbrain.config import GradbrainError
from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry, Modality
from gradbrain.datasets.arrays import Adapter
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.registry import read_options
from gradbrain.datasets.responses import check_responses
from gradbrain.datasets.sensors import montage_places
from gradbrain.store import open_store, write_store

ADAPTER = Adapter()
check, expected_size, responses, space, stimuli = (
    ADAPTER.check,
    ADAPTER.expected_size,
    ADAPTER.responses,
    ADAPTER.space,
    ADAPTER.stimuli,
)

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ["cat_01", "cat_02", "dog_01", "dog_02"]
CHANNELS = ["Fp1", "C3", "C4", "Oz"]
N_REPEATS, N_TIMES = 2, 5
SUBJECT = "caps-anna"
CONTACTS = Modality(name="ieeg", axis="time", unit="µV", label="iEEG", sensors="contacts")


@pytest.fixture
def data(tmp_path):
    """Images, and a recording of one subject in an .npy file with the names of its channels."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in IMAGES:
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    shape = (N_REPEATS * len(IMAGES), N_TIMES, len(CHANNELS))
    np.save(tmp_path / "anna.npy", rng.standard_normal(shape).astype(np.float32))
    shown = pd.DataFrame({"image_id": IMAGES * N_REPEATS})
    shown.to_csv(tmp_path / "anna_rows.csv", index=False)
    pd.DataFrame({"sensor": CHANNELS}).to_csv(tmp_path / "anna_channels.csv", index=False)
    return tmp_path


def entry_of(modality=MODALITIES["eeg"], **options):
    base = {
        "images": "images/*.png",
        "responses": "{id}.npy",
        "rows": "{id}_rows.csv",
        "sensors": "{id}_channels.csv",
        "montage": "standard_1020",
        "times": {"first": -0.1, "rate": 10},
    }
    chosen = {key: value for key, value in (base | options).items() if value is not None}
    return DatasetEntry(
        name="caps",
        adapter="arrays",
        modality=modality,
        subjects=[SUBJECT],
        stimuli="caps",
        options=chosen,
    )


def prepare(data, **about):
    entry = entry_of(**about)
    options = read_options(entry)
    assert check(entry, options, data) == []
    table = stimuli(entry, options, "caps", data)
    dataset = responses(entry, options, SUBJECT, table, data, [])
    check_responses(dataset, table)
    return dataset


def write_xarray(data, path, *, channels=CHANNELS, **coords):
    shown = pd.read_csv(data / "anna_rows.csv")
    own = xr.Dataset(
        {"response": (("presentation", "time", "sensor"), np.load(data / "anna.npy"))},
        coords={
            "image_id": ("presentation", shown["image_id"].to_numpy(dtype=str)),
            "time": [-0.1, 0, 0.1, 0.2, 0.3],
            "sensor": np.array(channels),
            **coords,
        },
    )
    own.to_zarr(path) if path.suffix == ".zarr" else own.to_netcdf(path)


OWN_WORDS = {"rows": None, "sensors": None, "times": None}


def test_electrodes_of_a_montage_have_places_and_the_unit_is_that_of_eeg(data, tmp_path):
    dataset = prepare(data)
    about = {
        name: dataset.attrs[name] for name in ("modality", "axis", "sensors", "units", "space")
    }
    assert about == {
        "modality": "eeg",
        "axis": "time",
        "sensors": "electrodes",
        "units": "µV",
        "space": "sensors",
    }
    place = {
        name: (x, y)
        for name, x, y in zip(
            dataset["sensor"].values,
            dataset["sensor_x"].values,
            dataset["sensor_y"].values,
            strict=True,
        )
    }
    assert list(place) == CHANNELS
    # The back is down, the left of the head is left.
    assert place["Oz"][1] < -0.5
    assert abs(place["Oz"][0]) < 0.05
    assert place["Fp1"][0] < 0
    assert place["Fp1"][1] > 0.5
    assert place["C3"][0] < 0 < place["C4"][0]
    # As the store of its kind declares it.
    write_store(tmp_path / "anna.zarr", dataset, kind="responses")
    found = open_store(tmp_path / "anna.zarr", kind="responses", verify=True)
    np.testing.assert_array_equal(found["response"].values, dataset["response"].values)


def test_the_places_do_not_depend_on_which_electrodes_were_recorded(data):
    whole = montage_places("standard_1020").set_index("sensor")
    dataset = prepare(data)
    np.testing.assert_array_equal(dataset["sensor_x"].values, whole["sensor_x"][CHANNELS])
    np.testing.assert_array_equal(dataset["sensor_y"].values, whole["sensor_y"][CHANNELS])


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_channels_may_be_named_by_the_recording(data, suffix):
    expected = prepare(data)
    write_xarray(data, data / f"anna{suffix}")
    dataset = prepare(data, responses=f"{{id}}{suffix}", **OWN_WORDS)
    xr.testing.assert_allclose(dataset, expected)
    assert dataset.attrs == expected.attrs


def test_capital_letters_do_not_matter_and_names_stay_as_recorded(data):
    expected = prepare(data)
    loud = [name.upper() for name in CHANNELS]
    pd.DataFrame({"sensor": loud}).to_csv(data / "anna_channels.csv", index=False)
    dataset = prepare(data)
    assert list(dataset["sensor"].values) == ["FP1", "C3", "C4", "OZ"]
    np.testing.assert_array_equal(dataset["sensor_x"].values, expected["sensor_x"].values)


def test_a_unit_of_ones_own_goes_before_that_of_the_modality(data):
    assert prepare(data, units="z").attrs["units"] == "z"
    assert prepare(data, zscore_sessions=False).attrs["units"] == "µV"


def channels(*names):
    return lambda data: pd.DataFrame({"sensor": names}).to_csv(
        data / "anna_channels.csv", index=False
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            channels("Fp1", "C3", "C4", "EOG"),
            r"anna_channels\.csv: montage 'standard_1020' has no place for 1 of 4 sensors, e\.g\. "
            r"'EOG'.*leave out channels that are none of its",
        ),
        (
            channels("Fp1", "C3", "C44", "Oz"),
            r"e\.g\. 'C44'; near names are C4",
        ),
        (channels("Fp1", "fp1", "C3", "C4"), "names a sensor twice: 'Fp1' of montage"),
        (channels("T3", "T7", "C3", "C4"), "T3 and T7 are one electrode of montage"),
        (channels("Fp1", "C3"), r"anna\.npy: has 4 sensors, but .*anna_channels\.csv names 2"),
        (channels("Fp1", "C3", "C4", ""), r"anna_channels\.csv: has a sensor without a name"),
    ],
)
def test_channels_that_are_not_of_the_montage_are_named(data, change, message):
    change(data)
    with pytest.raises(DatasetError, match=message):
        prepare(data)
    (obstacle,) = take_inventory(entry_of(), data).obstacles(SUBJECT)
    assert "anna.npy: mismatch" in obstacle


def problems_of(data, **about):
    entry = entry_of(**about)
    return check(entry, read_options(entry), data)


def test_an_unknown_montage_is_named_before_any_job(data):
    (problem,) = problems_of(data, montage="standard_1021")
    assert problem.startswith(
        "data set 'caps': option montage: there is no montage 'standard_1021'. Did you mean "
    )
    assert "biosemi64" in problem


def test_options_that_do_not_fit_are_named_before_any_job(data):
    (problem,) = problems_of(data, sensors=None)
    assert "give the option `sensors`" in problem
    (problem,) = problems_of(data, sensors=None, responses="{id}.npy", montage=None)
    assert "give the option `sensors`" in problem
    with pytest.raises(GradbrainError, match="layout, montage: give one of them"):
        read_options(entry_of(sensors=None, layout="CTF-275"))
    wrong = problems_of(data, modality=MODALITIES["fmri"])
    for name in ("sensors", "montage", "times"):
        assert any(f"the option `{name}` is not of fmri" in text for text in wrong)


def test_a_recording_that_names_no_channels_cannot_be_placed_in_a_montage(data):
    shown = pd.read_csv(data / "anna_rows.csv")
    xr.Dataset(
        {"response": (("presentation", "time", "sensor"), np.load(data / "anna.npy"))},
        coords={
            "image_id": ("presentation", shown["image_id"].to_numpy(dtype=str)),
            "time": [-0.1, 0, 0.1, 0.2, 0.3],
        },
    ).to_zarr(data / "anna.zarr")
    own = {**OWN_WORDS, "responses": "{id}.zarr"}
    with pytest.raises(DatasetError, match=r"anna\.zarr: does not name its channels, which the"):
        prepare(data, **own)
    with pytest.raises(DatasetError, match=r"anna\.zarr: does not name its sensors; add the coord"):
        prepare(data, **{**own, "montage": None})


# --- layouts and tables ----------------------------------------------------------------------


def test_sensors_of_a_layout_are_found_by_name_where_the_recording_names_them(data):
    names = ["MEG 0111", "MEG 2641", "MEG 0121", "MEG 0341"]
    own = {**OWN_WORDS, "montage": None, "responses": "{id}.zarr", "layout": "Vectorview-mag"}
    write_xarray(data, data / "anna.zarr", channels=names)
    dataset = prepare(data, modality=MODALITIES["meg"], **own)
    assert list(dataset["sensor"].values) == names
    assert dataset.attrs["units"] == "T"
    # 0111 is at the left of the helmet, 2641 at the right.
    assert dataset["sensor_x"].values[0] < 0 < dataset["sensor_x"].values[1]
    write_xarray(data, data / "other.zarr", channels=["MEG0111", *names[1:]])
    with pytest.raises(DatasetError, match=r"layout 'Vectorview-mag' has no place for 1 of 4"):
        prepare(data, modality=MODALITIES["meg"], **{**own, "responses": "other.zarr"})


def test_a_table_with_one_half_of_the_places_is_refused(data):
    table = pd.DataFrame({"sensor": CHANNELS, "sensor_x": 0.1})
    table.to_csv(data / "anna_channels.csv", index=False)
    with pytest.raises(DatasetError, match=r"anna_channels\.csv: gives sensor_x alone"):
        prepare(data, montage=None)
    table.assign(sensor_y="up").to_csv(data / "anna_channels.csv", index=False)
    with pytest.raises(DatasetError, match=r"sensor_x, sensor_y: expected numbers .*up"):
        prepare(data, montage=None)


def test_sensors_without_a_place_are_refused_where_figures_draw_them(data):
    with pytest.raises(DatasetError, match=r"4 of 4 sensors have no place.*`space: contacts`"):
        prepare(data, montage=None)
    table = pd.DataFrame({"sensor": CHANNELS, "sensor_x": ["0", "", "1", "1"], "sensor_y": 0.5})
    table.to_csv(data / "anna_channels.csv", index=False)
    with pytest.raises(DatasetError, match=r"1 of 4 sensors have no place, e\.g\. 'C3'"):
        prepare(data, montage=None)


# --- a modality of one's own: contacts within the head -----------------------------------------


def test_contacts_need_names_and_no_places(data, tmp_path):
    about = {"modality": CONTACTS, "montage": None, "space": "contacts"}
    dataset = prepare(data, **about)
    assert {name: dataset.attrs[name] for name in ("modality", "axis", "sensors", "units")} == {
        "modality": "ieeg",
        "axis": "time",
        "sensors": "contacts",
        "units": "µV",
    }
    assert list(dataset["sensor"].values) == CHANNELS
    assert not {"sensor_x", "sensor_y"} & set(dataset.variables)
    write_store(tmp_path / "anna.zarr", dataset, kind="responses")
    open_store(tmp_path / "anna.zarr", kind="responses", verify=True)
    entry = entry_of(**about)
    assert space(entry, read_options(entry)) == "contacts"
    assert take_inventory(entry, data).obstacles(SUBJECT) == []
    size = expected_size(entry, read_options(entry), data)
    assert (size.n_targets, size.n_units) == (N_TIMES * len(CHANNELS), N_TIMES)


def test_some_contacts_may_have_a_place_and_others_none(data, tmp_path):
    table = pd.DataFrame({"sensor": CHANNELS, "sensor_x": ["0", "", "1", "1"], "sensor_y": 0.5})
    table.to_csv(data / "anna_channels.csv", index=False)
    dataset = prepare(data, modality=CONTACTS, montage=None, space="contacts")
    np.testing.assert_array_equal(np.isnan(dataset["sensor_x"].values), [False, True, False, False])
    write_store(tmp_path / "anna.zarr", dataset, kind="responses")


def test_contacts_may_be_named_by_the_recording_alone(data):
    write_xarray(data, data / "anna.nc", channels=["LA1", "LA2", "RH1", "RH2"])
    about = {**OWN_WORDS, "montage": None, "responses": "{id}.nc", "space": "contacts"}
    dataset = prepare(data, modality=CONTACTS, **about)
    assert list(dataset["sensor"].values) == ["LA1", "LA2", "RH1", "RH2"]


# --- the pages ---------------------------------------------------------------------------------


def test_the_section_of_the_tutorial_works_as_printed(tmp_path):
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    section = page.partition("\n## EEG\n")[2].partition("\n## ")[0]
    images = page.partition("`make_brain_data.py`:\n\n```python\n")[2].partition("```")[0]
    (tmp_path / "make_brain_data.py").write_text(images)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    for name, content in re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", section, re.M | re.S):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    # The second block runs the study: tests/readme/test_tutorial.py.
    commands, _ = re.findall(r"^```bash\n(.*?)^```", section, re.M | re.S)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", f"python make_brain_data.py\n{commands}"],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "96 × 25 × 13" in done.stdout
    assert "all 1 subjects of 'eeg_data' can be run" in done.stdout
    entry = Registries([ROOT / "config", tmp_path / "my_eeg"]).dataset("eeg_data", where="test")
    options, data = read_options(entry), tmp_path / "brain_data"
    table = stimuli(entry, options, "eeg_data", data)
    dataset = responses(entry, options, "eeg_data-carol", table, data, [])
    check_responses(dataset, table)
    assert dataset.attrs["units"] == "µV"
    # The response is planted at 120 ms.
    ceiling = dataset["noise_ceiling"].mean("sensor")
    assert float(ceiling["time"][int(ceiling.argmax())]) == pytest.approx(0.12, abs=0.03)


def test_the_page_on_data_lists_every_option_and_every_modality():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    own = page.partition("\n## Your own data\n")[2]
    for option in type(read_options(entry_of())).model_fields:
        assert f"`{option}`" in own, option
    about = page.partition("\n## Modalities\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`)? *\| *(\S*) *\| *(\S*) *\|", about, re.M)
    written = {name: (axis, unit, sensors) for name, axis, unit, sensors in rows if name != "none"}
    listed = yaml.safe_load((ROOT / "config" / "modalities.yaml").read_text())["modalities"]
    assert written == {
        name: (entry["axis"], entry.get("unit", ""), entry["sensors"])
        for name, entry in listed.items()
    }


def test_the_examples_of_the_page_on_data_are_valid_entries(tmp_path):
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    about = page.partition("\n## Modalities\n")[2].partition("\n## ")[0]
    for name, content in re.findall(
        r"^```yaml\n# my_registry/([\w.]+)\n(.*?)^```", about, re.M | re.S
    ):
        (tmp_path / name).write_text(content)
    registries = Registries([ROOT / "config", tmp_path])
    entry = registries.dataset("clinic", where="test")
    assert space(entry, read_options(entry)) == "contacts"
    assert entry.modality == CONTACTS
