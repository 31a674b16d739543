"""Claims about adapters of one's own: found, checked and run like those of the library."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS, PluginOptions, Plugins, declared_class
from gradbrain.config.registries import Registries
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.registry import (
    adapter,
    gives_captions,
    read_options,
)
from gradbrain.store import open_store, read_table

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = ["clinic-p1", "clinic-p2"]

MODALITIES = """
modalities:
  ieeg: {axis: time, unit: µV, label: iEEG, sensors: contacts}
"""
DATASETS = """
datasets:
  clinic:
    adapter: contacts
    modality: ieeg
    subjects: [clinic-p1, clinic-p2]
    stimuli: clinic
    options: {rate: 20}
    licence: mine
"""
# Contacts within the head: each person has others, and none has a place in a flat layout.
ADAPTER = '''
"""Adapter ``contacts``: depth electrodes of a clinic, a file per person."""

import mne  # noqa: F401  (imported by jobs alone: planning reads Options from this text)
import numpy as np
import pandas as pd
from pydantic import Field

from gradbrain.config.plugins import PluginOptions
from gradbrain.datasets.adapter import DatasetAdapter
from gradbrain.datasets.images import content_sha256, load_image
from gradbrain.datasets.responses import describe, sensor_responses
from gradbrain.datasets.stimuli import Stimulus, stimuli_table
from gradbrain.vocabulary.roles import TIME


class ImageOptions(PluginOptions):
    folder: str = Field("images", description="Folder of the images.")


class Options(ImageOptions):
    rate: float = Field(gt=0, description="Samples per second.")


class Adapter(DatasetAdapter):
    image_options = ImageOptions

    def stimuli(self, entry, options, name, data):
        rows = []
        for path in sorted((data / options.folder).glob("*.png")):
            locator = {"path": path.as_posix()}
            digest = content_sha256(load_image("file", locator))
            rows.append(
                Stimulus(
                    image_id=path.stem,
                    group=path.stem,
                    loader="file",
                    locator=locator,
                    content_sha256=digest,
                    caption=f"a photo of {path.stem}",
                )
            )
        return stimuli_table(rows, name=name)

    def has_captions(self, entry, options, name, data):
        return True

    def responses(self, entry, options, subject, stimuli, data, features):
        with np.load(data / f"{subject}.npz") as file:
            response, names = file["response"], file["names"]
        return sensor_responses(
            response,
            pd.DataFrame({"sensor": names}),
            time=np.arange(response.shape[1]) / options.rate,
            stimuli=stimuli,
            n_repeats=1,
            noise_ceiling=np.full(response.shape[1:], np.nan),
            attrs=describe(entry, subject, space="contacts", preprocessing="as recorded"),
        )

    def check(self, entry, options, data):
        missing = [name for name in entry.subjects if not (data / f"{name}.npz").is_file()]
        faults = [f"data set {entry.name!r}: {data / name}.npz is missing" for name in missing]
        return self.axis_problems(entry, expected=TIME) + faults

    def space(self, entry, options):
        return "contacts"
'''


@pytest.fixture
def clinic(tmp_path):
    """A registry folder, a plug-in and the data of two people with contacts of their own."""
    registry, data = tmp_path / "registry", tmp_path / "data"
    for folder in (registry, data / "images", tmp_path / "own" / "adapters"):
        folder.mkdir(parents=True)
    (registry / "modalities.yaml").write_text(MODALITIES)
    (registry / "datasets.yaml").write_text(DATASETS)
    (tmp_path / "own" / "adapters" / "contacts.py").write_text(ADAPTER)
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / "images" / f"{name}.png")
    for subject, names in zip(SUBJECTS, (["LA1", "LA2"], ["LA1", "RH1", "RH2"]), strict=True):
        response = rng.standard_normal((3, 4, len(names))).astype(np.float32)
        np.savez(data / f"{subject}.npz", response=response, names=names)
    return tmp_path


def plugin_file(folder):
    return folder / "own" / "adapters" / "contacts.py"


def entry_of(folder, plugins):
    registries = Registries([ROOT / "config", folder / "registry"], plugins)
    return registries.dataset("clinic", where="test")


def run(script, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_an_adapter_of_ones_own_goes_from_files_to_complete_results(clinic):
    files = ["--plugins", plugin_file(clinic)]
    entry = entry_of(clinic, Plugins(folders=[clinic / "own"])).model_dump_json()
    table, data = clinic / "clinic.parquet", clinic / "data"
    about = ["--entry", entry, "--data", data, *files]
    done = run("prepare_stimuli.py", *about, "--stimuli", "clinic", "--output", table)
    assert done.returncode == 0, done.stderr
    assert list(read_table(table, kind="stimuli")["image_id"]) == ["ant", "bee", "cow"]
    for subject, n_contacts in zip(SUBJECTS, (2, 3), strict=True):
        output = clinic / f"{subject}.zarr"
        done = run(
            "prepare_responses.py",
            *about,
            *("--subject", subject, "--stimuli", table, "--output", output),
        )
        assert done.returncode == 0, done.stderr
        found = open_store(output, kind="responses", verify=True)
        assert dict(found["response"].sizes) == {"image": 3, "time": 4, "sensor": n_contacts}
        about_it = {name: found.attrs[name] for name in ("modality", "axis", "sensors", "units")}
        assert list(about_it.values()) == ["ieeg", "time", "contacts", "µV"]
        assert found["time"].values[-1] == pytest.approx(3 / 20)
        with np.load(data / f"{subject}.npz") as file:
            np.testing.assert_array_equal(found["response"].values, file["response"])


def test_the_inventory_asks_it(clinic):
    about = [clinic / "data", "--registry", clinic / "registry"]
    done = run("check_dataset.py", "clinic", *about, "--plugins", plugin_file(clinic))
    assert done.returncode == 0, done.stderr
    assert "all 2 subjects of 'clinic' can be run" in done.stdout
    (clinic / "data" / "clinic-p2.npz").unlink()
    done = run("check_dataset.py", "clinic", *about, "--plugins", plugin_file(clinic))
    assert done.returncode == 1
    assert "clinic-p2.npz is missing" in done.stdout
    unknown = run("check_dataset.py", "clinic", *about)
    assert unknown.returncode == 1
    assert "there is no adapter 'contacts'" in unknown.stderr


def test_it_is_known_by_its_name_beside_those_of_the_library(clinic):
    plugins = Plugins(files=[plugin_file(clinic)])
    assert set(plugins.names("adapters")) == {*LIBRARY_PLUGINS.names("adapters"), "contacts"}
    entry = entry_of(clinic, plugins)
    options = read_options(entry, plugins=plugins)
    assert options.rate == 20
    assert adapter("contacts", plugins=plugins).space(entry, options) == "contacts"
    assert gives_captions(entry, options, "clinic", clinic / "data", plugins=plugins)
    assert take_inventory(entry, clinic / "data", plugins=plugins).obstacles("clinic-p1") == []
    with pytest.raises(GradbrainError, match=r"no adapter 'contact'\. Did you mean 'contacts'\?"):
        adapter("contact", plugins=plugins)
    with pytest.raises(GradbrainError, match="there is no adapter 'contacts'"):
        adapter("contacts")


def test_its_options_are_validated_without_running_it(clinic):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from gradbrain.config.plugins import Plugins;"
        "plugins = Plugins(files=sys.argv[2:]);"
        "plugin = plugins.find('adapters', 'contacts', where='test');"
        "print(plugin.options({'rate': 3}, where='test'), 'mne' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "workflow"), str(plugin_file(clinic))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "folder='images' rate=3.0 False", done.stderr
    plugins = Plugins(files=[plugin_file(clinic)])
    entry = entry_of(clinic, plugins).model_copy(update={"options": {"rat": 3}})
    with pytest.raises(GradbrainError, match=r"'clinic'.*adapter 'contacts'.*rat"):
        read_options(entry, plugins=plugins)


@pytest.mark.parametrize("name", ["Options", "ImageOptions", "Adapter"])
def test_one_that_lacks_what_an_adapter_defines_is_refused_before_it_is_run(clinic, name):
    path = plugin_file(clinic)
    path.write_text(ADAPTER.replace(f"class {name}(", "class Other("))
    plugins = Plugins(files=[path])
    with pytest.raises(GradbrainError, match=rf"contacts\.py: lacks {name}; a module of adapters/"):
        adapter("contacts", plugins=plugins)
    refused(clinic, f"contacts.py: lacks {name}")


@pytest.mark.parametrize("name", ["stimuli", "responses", "check", "space"])
def test_one_whose_class_lacks_a_method_is_refused_by_name(clinic, name):
    path = plugin_file(clinic)
    path.write_text(ADAPTER.replace(f"def {name}(", "def other("))
    told = f"contacts.py: class Adapter lacks {name}"
    with pytest.raises(GradbrainError, match=told):
        adapter("contacts", plugins=Plugins(files=[path]))
    refused(clinic, told)


def refused(clinic, told):
    """The job of stimuli says in one line what is lacking."""
    entry = entry_of(clinic, LIBRARY_PLUGINS)
    done = run(
        "prepare_stimuli.py",
        *("--entry", entry.model_dump_json(), "--data", clinic / "data"),
        *("--plugins", plugin_file(clinic)),
        *("--stimuli", "clinic", "--output", clinic / "clinic.parquet"),
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_modality_of_another_axis_is_refused_by_name(clinic):
    plugins = Plugins(files=[plugin_file(clinic)])
    registries = Registries([ROOT / "config", clinic / "registry"], plugins)
    bold = registries.modality("fmri", where="test")
    entry = entry_of(clinic, plugins).model_copy(update={"modality": bold})
    (problem,) = adapter("contacts", plugins=plugins).axis_problems(entry, expected="time")
    assert problem.startswith("data set 'clinic': modality is 'fmri' (axis 'roi'), but adapter")
    assert problem in take_inventory(entry, clinic / "data", plugins=plugins).problems["clinic-p1"]


def test_options_of_every_adapter_are_known_without_importing_it():
    for name in LIBRARY_PLUGINS.names("adapters"):
        plugin = LIBRARY_PLUGINS.find("adapters", name, where="test")
        found = declared_class(plugin.path, plugin.module, "Options")
        assert found is not None, name
        assert issubclass(found, PluginOptions)
        # The same fields and defaults as those of the module itself.
        own = plugin.load().Options
        assert list(found.model_fields) == list(own.model_fields)
        for field in found.model_fields:
            assert repr(found.model_fields[field]) == repr(own.model_fields[field])


def test_planning_reads_options_without_heavy_packages():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from gradbrain.config.plugins import LIBRARY_PLUGINS as plugins;"
        "[plugins.find('adapters', name, where='t').options_class"
        " for name in plugins.names('adapters')];"
        "print([m for m in ('torch', 'mne', 'nilearn', 'skimage', 'nibabel', 'xarray')"
        " if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(ROOT / "workflow")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "[]"
