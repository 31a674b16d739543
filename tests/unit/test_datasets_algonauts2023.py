"""Claims about the Algonauts 2023 adapter: every value arrives where the release says it lies."""

import pickle
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from trees.algonauts import COLUMNS, LABELS, N_VERTICES, write_algonauts_tree
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.algonauts2023 import Adapter, image_files, read_mapping
from gradbrain.datasets.cortex import pial_coordinates
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.images import load_image
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.registry import read_options
from gradbrain.datasets.responses import check_responses
from gradbrain.store import open_store, write_store

ADAPTER = Adapter()
check, inventory, responses, stimuli = (
    ADAPTER.check,
    ADAPTER.inventory,
    ADAPTER.responses,
    ADAPTER.stimuli,
)

ROOT = Path(__file__).resolve().parents[2]
SUBJECT = "algonauts2023-subj01"
REGION_OF_COLUMN = ("V1", "V1", "V2", "V3", "hV4", "ventral", "lateral", "parietal", "")


def entry_of(**options):
    return DatasetEntry(
        name="algonauts2023",
        adapter="algonauts2023",
        modality=MODALITIES["fmri"],
        subjects=[SUBJECT],
        options=options,
        licence="NSD",
        citation="Gifford et al. 2023",
    )


@pytest.fixture
def tree(tmp_path):
    return tmp_path, write_algonauts_tree(tmp_path)["subj01"]


def prepare(data, **options):
    entry = entry_of(**options)
    parsed = read_options(entry)
    table = stimuli(entry, parsed, SUBJECT, data)
    dataset = responses(entry, parsed, SUBJECT, table, data, [])
    check_responses(dataset, table)
    return table, dataset


def test_images_are_the_rows_in_the_order_of_their_numbers(tree):
    data, _ = tree
    table, _ = prepare(data)
    assert list(table["image_id"]) == [f"nsd-{13 + 3 * row:05d}" for row in range(6)]
    folder = data / "subj01" / "training_split" / "training_images"
    for row, locator in enumerate(table["locator"]):
        written = np.array(Image.open(folder / f"train-{row + 1:04d}_nsd-{13 + 3 * row:05d}.png"))
        assert np.array_equal(load_image("file", locator), written)


def test_every_value_arrives_at_its_vertex(tree):
    data, betas = tree
    _, dataset = prepare(data)
    found = dataset["response"].values
    assert np.array_equal(found, np.concatenate([betas["lh"], betas["rh"]], axis=1))
    assert list(dataset["hemisphere"].values) == ["left"] * 18 + ["right"] * 18
    for code, side in (("lh", "left"), ("rh", "right")):
        mask = np.load(data / "subj01" / "roi_masks" / f"{code}.all-vertices_fsaverage_space.npy")
        own = dataset["hemisphere"].values == side
        assert np.array_equal(dataset["vertex"].values[own], np.flatnonzero(mask))
    assert list(dataset["roi"].values) == list(REGION_OF_COLUMN * 4)
    assert dataset.attrs["units"] == "standard deviations of a session"
    assert dataset.attrs["space"] == "fsaverage"
    assert "visual cortex only" in dataset.attrs["coverage"]


def test_what_the_release_does_not_tell_is_not_made_up(tree):
    data, _ = tree
    _, dataset = prepare(data)
    assert np.isnan(dataset["noise_ceiling"].values).all()
    assert set(dataset["n_repeats"].values) == {0}


def test_positions_are_those_of_the_vertices_that_fsaverage5_shares(tree):
    data, _ = tree
    _, dataset = prepare(data)
    shared = dataset["vertex"].values < 10_242
    assert np.isfinite(dataset["x"].values[shared]).all()
    assert np.isnan(dataset["x"].values[~shared]).all()
    left = shared & (dataset["hemisphere"].values == "left")
    found = np.stack([dataset[axis].values[left] for axis in "xyz"], axis=1)
    assert np.array_equal(found, pial_coordinates("left")[dataset["vertex"].values[left]])
    assert dataset.attrs["roi_distance"]["V1"] == 0
    assert set(dataset.attrs["roi_distance"]) == set(REGION_OF_COLUMN) - {""}


def test_surfaces_of_freesurfer_place_every_vertex(tree):
    data, _ = tree
    (data / "surf").mkdir()
    positions = np.random.default_rng(0).normal(size=(N_VERTICES, 3)).astype(np.float32)
    for code in ("lh", "rh"):
        nibabel.freesurfer.write_geometry(
            str(data / "surf" / f"{code}.pial"), positions, np.array([[0, 1, 2]])
        )
    _, dataset = prepare(data, surfaces="surf")
    assert np.allclose(dataset["y"].values, positions[dataset["vertex"].values, 1])


def test_regions_join_labels_and_the_first_takes_what_two_share(tree):
    data, _ = tree
    _, dataset = prepare(
        data,
        regions={"faces": ["FFA-1", "FFA-2"], "early": ["early"], "lateral": ["lateral"]},
        early_rois=["early"],
        high_rois=["faces"],
        reference_roi=None,
        only_regions=True,
    )
    of_column = [
        "faces" if faces else stream if stream in ("early", "lateral") else ""
        for _, stream, faces in COLUMNS
    ]
    assert list(dataset["roi"].values) == [roi for roi in of_column * 4 if roi]
    assert "roi_distance" not in dataset.attrs


def test_ceilings_are_taken_where_they_are_given(tree):
    data, _ = tree
    for code in ("lh", "rh"):
        np.save(data / "subj01" / f"{code}_ceiling.npy", np.linspace(0, 0.8, 18))
    _, dataset = prepare(data, noise_ceilings="{subject}/{hemisphere}_ceiling.npy")
    assert np.allclose(dataset["noise_ceiling"].values, np.tile(np.linspace(0, 0.8, 18), 2))
    np.save(data / "subj01" / "lh_ceiling.npy", np.linspace(0, 80, 18))
    with pytest.raises(DatasetError, match=r"lh_ceiling\.npy: expected 18 shares .* up to 80"):
        prepare(data, noise_ceilings="{subject}/{hemisphere}_ceiling.npy")


def test_a_vertex_with_nan_is_masked_and_counted(tree):
    data, betas = tree
    damaged = betas["lh"].copy()
    damaged[2, 4] = np.nan
    np.save(data / "subj01" / "training_split" / "training_fmri" / "lh_training_fmri.npy", damaged)
    _, dataset = prepare(data)
    assert dataset.attrs["n_masked_targets"] == 1
    assert dataset.sizes["target"] == 35


def test_the_store_takes_it(tree, tmp_path):
    data, _ = tree
    _, dataset = prepare(data)
    write_store(tmp_path / "out.zarr", dataset, kind="responses")
    assert open_store(tmp_path / "out.zarr", kind="responses", verify=True).sizes["target"] == 36


def remove(name):
    return lambda folder: (folder / name).unlink()


def rewrite(name, change):
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


BETAS = "training_split/training_fmri/lh_training_fmri.npy"
IMAGES = "training_split/training_images"
MASK = "roi_masks/rh.all-vertices_fsaverage_space.npy"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove(BETAS), r"lh_training_fmri\.npy: there is no such file"),
        (remove(f"{IMAGES}/train-0002_nsd-00016.png"), "number 2 is missing or there twice"),
        (remove(f"{IMAGES}/train-0006_nsd-00028.png"), r"\(6, 18\), expected 5 images"),
        (rewrite(BETAS, lambda a: a[:, :-1]), r"\(6, 17\), expected 6 images × 18"),
        (rewrite(BETAS, lambda a: a.byteswap()), r"lh_training_fmri\.npy: holds values up to"),
        (rewrite(BETAS, lambda a: a.astype(str)), "expected numbers"),
        (rewrite(MASK, lambda a: a[:10_242]), r"\(10242,\) and .* expected a mask of 163842"),
        (remove("roi_masks/mapping_streams.npy"), r"mapping_streams\.npy: there is no such file"),
        (
            rewrite("roi_masks/lh.streams_challenge_space.npy", lambda a: a + 7),
            r"lh\.streams_challenge_space\.npy: holds the value \d+, which has no label",
        ),
        (
            rewrite("roi_masks/lh.streams_challenge_space.npy", lambda a: a[1:]),
            r"expected 18 as there are vertices",
        ),
    ],
)
def test_what_is_damaged_is_named(tree, damage, message):
    data, _ = tree
    damage(data / "subj01")
    with pytest.raises(DatasetError, match=message):
        prepare(data)


def test_a_truncated_array_is_named(tree):
    data, _ = tree
    path = data / "subj01" / BETAS
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"lh_training_fmri\.npy: cannot be read"):
        prepare(data)


def test_an_unknown_label_is_named_with_those_that_exist(tree):
    data, _ = tree
    with pytest.raises(DatasetError, match=r"no label 'V9'.*there are .*V1v"):
        prepare(
            data,
            regions={"V1": ["V1v"], "V9": ["V9"]},
            early_rois=["V1"],
            high_rois=["V9"],
        )


def test_labels_of_the_release_are_read(tree):
    data, _ = tree
    for name, labels in LABELS.items():
        found = read_mapping(data / "subj01" / "roi_masks" / f"mapping_{name}.npy")
        assert found == dict(enumerate(labels, start=1))


def test_labels_written_by_numpy_1_are_read(tmp_path):
    np.save(tmp_path / "mapping.npy", {0: "Unknown", 1: "early"})
    content = (tmp_path / "mapping.npy").read_bytes()
    # numpy 1 called the module numpy.core; protocol 3, which it wrote, spells it out in a line.
    header = content[: content.index(b"\n") + 1]
    array = pickle.dumps(np.array({0: "Unknown", 1: "early"}, dtype=object), protocol=3)
    older = array.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert older != array
    (tmp_path / "older.npy").write_bytes(header + older)
    assert read_mapping(tmp_path / "older.npy") == {1: "early"}


def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "mapping.npy", np.array({1: Attack()}, dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"mapping\.npy: cannot be read as the names"):
        read_mapping(tmp_path / "mapping.npy")
    assert not (tmp_path / "ran").exists()


def test_check_names_what_is_missing_before_any_job(tree):
    data, _ = tree
    entry = entry_of()
    options = read_options(entry)
    assert check(entry, options, data) == []
    (data / "subj01" / MASK).unlink()
    (problem,) = check(entry, options, data)
    assert SUBJECT in problem
    assert "rh.all-vertices_fsaverage_space.npy" in problem
    (problem,) = check(entry, options, data / "nowhere")
    assert "roots: {algonauts2023: /path/to/it}" in problem


def test_a_shared_stimulus_set_is_refused(tree):
    data, _ = tree
    entry = entry_of().model_copy(update={"stimuli": "shared"})
    with pytest.raises(DatasetError, match="leave out `stimuli: shared`"):
        stimuli(entry, read_options(entry), "shared", data)


def test_a_foreign_image_name_is_refused(tree):
    data, _ = tree
    folder = data / "subj01"
    (folder / IMAGES / "train-1_nsd-1.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="expected a name such as train-0001_nsd-00013"):
        image_files(folder)


def test_the_inventory_lists_every_file_and_what_is_wrong_with_it(tree):
    data, _ = tree
    entry = entry_of()
    found = take_inventory(entry, data)
    assert found.obstacles(SUBJECT) == []
    assert {item.state for item in found.items} == {"there"}
    # 2 × (betas, mask, six parcellations), six mappings, and the images in one line.
    assert len(found.items) == 23
    path = data / "subj01" / BETAS
    assert any(item.path == str(path) and item.detail == "6 × 18" for item in found.items)
    path.write_bytes(path.read_bytes()[:-40])
    items = {Path(item.path).name: item for item in inventory(entry, read_options(entry), data)}
    assert items["lh_training_fmri.npy"].state == "unreadable"
    assert any(
        "lh_training_fmri.npy" in text for text in take_inventory(entry, data).obstacles(SUBJECT)
    )


def test_the_command_says_who_can_be_run(tmp_path):
    write_algonauts_tree(tmp_path, subjects=tuple(f"subj0{n}" for n in range(1, 9)))
    command = [sys.executable, str(ROOT / "scripts" / "check_dataset.py"), "algonauts2023"]
    whole = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert "all 8 subjects of 'algonauts2023' can be run" in whole.stdout
    (tmp_path / "subj03" / BETAS).unlink()
    broken = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert broken.returncode == 1
    assert "1 of 8 subjects of 'algonauts2023' cannot be run: algonauts2023-subj03" in broken.stderr
    assert "algonauts2023-subj01: can be run" in broken.stdout
    assert "missing" in broken.stdout
    others = [*command, str(tmp_path), "--subjects", "algonauts2023-subj01"]
    assert subprocess.run(others, capture_output=True).returncode == 0
