"""Claims about config/datasets.yaml and the adapters that it names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from trees.algonauts import write_algonauts_tree
from trees.modalities import MODALITIES

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.datasets.stimuli import read_stimuli

ROOT = Path(__file__).resolve().parents[2]
REGISTRIES = Registries([ROOT / "config"])


@pytest.mark.parametrize("name", REGISTRIES.datasets)
def test_every_entry_has_an_adapter_and_valid_options(name):
    entry = REGISTRIES.dataset(name, where="test")
    options = read_options(entry)
    # Validated without importing the adapter, by a class that is the same in all but identity.
    module = LIBRARY_PLUGINS.find("adapters", entry.adapter, where="test").load()
    assert options.model_dump() == module.Options(**entry.options).model_dump()
    assert issubclass(module.Options, module.ImageOptions)
    assert entry.licence
    # What is not here can be fetched, or the one problem is its folder, and how to name it.
    folder = Path("data") / name / "nowhere"
    problems = adapter(entry.adapter).check(entry, options, folder)
    assert all(str(folder) in problem for problem in problems)
    assert len(problems) <= (not entry.arrives_by_itself)


def test_subjects_are_named_after_their_data_set_and_unique():
    subjects = []
    for name in REGISTRIES.datasets:
        entry = REGISTRIES.dataset(name, where="test")
        assert all(subject.startswith(f"{name}-") for subject in entry.subjects)
        subjects += entry.subjects
    assert len(set(subjects)) == len(subjects)


def test_the_worlds_differ_only_in_the_learning_signal():
    for modality in ("fmri", "meg"):
        worlds = {
            world: read_options(
                REGISTRIES.dataset(f"simulated_{modality}_{world}", where="test")
            ).model_dump(exclude={"world", "learning_signal"})
            for world in ("feedforward", "backprop")
        }
        assert worlds["feedforward"] == worlds["backprop"]
        entry = REGISTRIES.dataset(f"simulated_{modality}_backprop", where="test")
        assert len(entry.subjects) == 6


def test_objects92_pins_every_file():
    entry = REGISTRIES.dataset("objects92", where="test")
    assert len(entry.subjects) == 15
    assert len(entry.fetch.files) == 94
    # Net2Brain at a commit, not at a branch.
    assert "/7616b6b7a496d744074130e754007f651a203ac7/" in entry.fetch.base_url


def test_an_unknown_adapter_is_named():
    with pytest.raises(GradbrainError) as error:
        adapter("array", where="mine/datasets.yaml: data set 'mine'")
    assert str(error.value).startswith("mine/datasets.yaml: data set 'mine': adapter: there is no")
    assert "Did you mean 'arrays'? Allowed: algonauts2023, arrays," in str(error.value)
    assert "registry" not in str(error.value)
    # A module of the package that is no adapter.
    with pytest.raises(GradbrainError, match=r"there is no adapter 'images'"):
        adapter("images")


def test_an_unknown_option_is_named_with_those_that_exist():
    entry = DatasetEntry(
        name="mine", adapter="photographs", modality=MODALITIES["none"], options={"sizes": 3}
    )
    with pytest.raises(GradbrainError, match=r"'mine'.*sizes: unknown key.*Known keys: split"):
        read_options(entry)


def test_every_adapter_of_the_registry_is_listed_and_each_listed_one_loads():
    named = {REGISTRIES.dataset(name, where="test").adapter for name in REGISTRIES.datasets}
    assert named <= set(LIBRARY_PLUGINS.names("adapters"))
    assert all(adapter(name).image_options for name in LIBRARY_PLUGINS.names("adapters"))


def test_adapters_load_neither_torch_nor_mne_nor_nilearn():
    entries = (REGISTRIES.dataset(name, where="test") for name in REGISTRIES.datasets)
    names = sorted({"arrays", *(entry.adapter for entry in entries)})
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from gradbrain.datasets.registry import adapter;"
        f"[adapter(name) for name in {names}];"
        "print([m for m in ('torch', 'mne', 'nilearn', 'skimage', 'nibabel') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(ROOT / "workflow")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "[]"


def test_the_command_writes_a_stimulus_table(tmp_path):
    entry = DatasetEntry(
        name="mine",
        adapter="photographs",
        modality=MODALITIES["none"],
        stimuli="mine",
        options={"split": "calibration", "n_images": 8, "size": 32},
    )
    command = [
        sys.executable,
        str(ROOT / "scripts" / "prepare_stimuli.py"),
        *("--entry", entry.model_dump_json()),
        *("--stimuli", "mine"),
        *("--data", str(tmp_path / "data" / "mine")),
        *("--output", str(tmp_path / "mine.parquet")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = read_stimuli(tmp_path / "mine.parquet")
    assert len(table) == 8
    assert json.loads(table["locator"][0])["size"] == 32
    again = tmp_path / "again.parquet"
    command[-1] = str(again)
    subprocess.run(command, check=True, capture_output=True)
    assert again.read_bytes() == (tmp_path / "mine.parquet").read_bytes()


def test_the_command_refuses_what_is_missing_in_one_line(tmp_path):
    entry = REGISTRIES.dataset("objects92", where="test").model_copy(update={"fetch": None})
    command = [
        sys.executable,
        str(ROOT / "scripts" / "prepare_stimuli.py"),
        *("--entry", entry.model_dump_json()),
        *("--stimuli", "objects92"),
        *("--data", str(tmp_path / "nowhere")),
        *("--output", str(tmp_path / "objects92.parquet")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data set 'objects92': the folder")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "objects92.parquet").exists()


def test_files_of_people_who_are_left_out_are_not_asked_for(tmp_path):
    write_algonauts_tree(tmp_path, subjects=("subj02",))
    entry = REGISTRIES.dataset("algonauts2023", where="test")
    command = [sys.executable, str(ROOT / "scripts" / "prepare_stimuli.py")]
    command += ["--entry", entry.model_dump_json(exclude={"fetch"}), "--data", str(tmp_path)]
    mine = [*command, "--stimuli", "algonauts2023-subj02", "--output", str(tmp_path / "02.parquet")]
    done = subprocess.run(mine, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    other = [*command, "--stimuli", "algonauts2023-subj01", "--output", str(tmp_path / "1.parquet")]
    assert (
        "subj01: 23 of 23 files are missing"
        in subprocess.run(other, capture_output=True, text=True).stderr
    )
    inventory = take_inventory(entry, tmp_path)
    assert inventory.obstacles("algonauts2023-subj02") == []
    assert inventory.obstacles("algonauts2023-subj01") != []


def test_a_folder_that_is_not_there_is_never_said_to_be_ready(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "check_dataset.py"), "objects92"]
    ask = {"cwd": tmp_path, "capture_output": True, "text": True}
    named = subprocess.run([*command, "nowhere"], **ask)
    assert named.returncode == 1
    assert "there is no folder" in named.stderr
    unnamed = subprocess.run(command, **ask)
    assert unnamed.returncode == 0
    assert "data/objects92 is not there; a run fetches it" in unnamed.stdout
    assert "can be run" not in unnamed.stdout
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "objects92").symlink_to(tmp_path / "gone")
    dangling = subprocess.run(command, **ask)
    assert dangling.returncode == 1
    assert "is a link to" in dangling.stderr


@pytest.mark.parametrize(
    ("name", "wrong", "axis", "expected"),
    [
        ("nsd", "meg", "time", "roi"),
        ("nsd", "eeg", "time", "roi"),
        ("things_meg", "fmri", "roi", "time"),
        ("algonauts2023", "meg", "time", "roi"),
        ("things_fmri", "meg", "time", "roi"),
    ],
)
def test_a_modality_that_the_adapter_does_not_read_is_named(tmp_path, name, wrong, axis, expected):
    listed = REGISTRIES.dataset(name, where="test")
    entry = listed.model_copy(update={"modality": MODALITIES[wrong]})
    problems = adapter(entry.adapter).check(entry, read_options(entry), tmp_path)
    told = (
        f"data set {name!r}: modality is {wrong!r} (axis {axis!r}), but adapter {name!r} reads "
        f"responses of the axis {expected!r}"
    )
    assert any(text.startswith(told) for text in problems)


def test_a_modality_along_time_is_not_read_from_dissimilarity_matrices(tmp_path):
    entry = REGISTRIES.dataset("objects92", where="test")
    module, options = adapter("dissimilarity"), read_options(entry)
    assert module.check(entry, options, tmp_path / "nowhere") == []
    other = entry.model_copy(update={"modality": MODALITIES["meg"]})
    (problem,) = module.check(other, options, tmp_path / "nowhere")
    assert "modality is 'meg' (axis 'time'), but adapter 'dissimilarity'" in problem
    images = entry.model_copy(update={"modality": None, "subjects": ()})
    assert module.check(images, options, tmp_path / "nowhere") == []


def test_the_inventory_says_how_many_of_how_many_are_missing_and_hints_at_registries(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "check_dataset.py")]
    write_algonauts_tree(tmp_path, subjects=("subj01",))
    (tmp_path / "subj01" / "roi_masks" / "mapping_streams.npy").unlink()
    images = tmp_path / "subj01" / "training_split" / "training_images"
    path = next(images.glob("*.png"))
    path.write_bytes(path.read_bytes()[:100])
    asked = [*command, "algonauts2023", str(tmp_path), "--subjects", "algonauts2023-subj01"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 1
    assert "1 of 6 files looked at" in done.stdout
    unknown = subprocess.run([*command, "brain_data"], capture_output=True, text=True)
    assert "there is no data set 'brain_data'" in unknown.stderr
    assert "name the folder of its datasets.yaml: --registry FOLDER" in unknown.stderr
