"""Claims about the Natural Scenes Dataset: every value arrives where it should, or is refused."""

from __future__ import annotations

import os
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from trees.modalities import MODALITIES
from trees.nsd import (
    BETAS,
    STREAMS,
    save_volume,
    write_design,
    write_mgh,
    write_nsd_tree,
    write_nsd_volume,
    write_session,
)

from gradbrain.config.registries import Registries, validate
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import nsd, nsd_betas
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.freesurfer import read_trials
from gradbrain.datasets.images import load_image
from gradbrain.datasets.noise_ceiling import ceiling_of_average
from gradbrain.datasets.nsd_design import read_design, seen_images, trial_images
from gradbrain.datasets.responses import write_target_blocks
from gradbrain.encoding.inputs import read_responses
from gradbrain.encoding.splits import outer_splits
from gradbrain.store import open_store

WIDTH = 40
REGIONS = {
    "early": ["early"],
    "middle": ["midventral", "midlateral", "midparietal"],
    "high": ["ventral", "lateral", "parietal"],
}
NAN_VERTEX = 6
SUBJECTS = (1, 4)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees") / "nsd"
    return write_nsd_tree(
        root, subjects=SUBJECTS, width=WIDTH, n_labelled=35, nan_vertices=(NAN_VERTEX,)
    )


@pytest.fixture
def copy(tree, tmp_path):
    """A copy of the tree that may be damaged; the images are a link."""
    folder = tmp_path / "nsd"
    shutil.copytree(
        tree.root, folder, ignore=shutil.ignore_patterns("nsd_stimuli.hdf5", "func1pt8mm")
    )
    images = folder / nsd.STIMULI
    images.symlink_to(tree.root / nsd.STIMULI)
    return folder


def entry(subjects=SUBJECTS, **options):
    names = tuple(f"nsd-subj{number:02d}" for number in subjects)
    options = {"sessions": 2, "regions": REGIONS, "early_rois": ["early"], **options}
    made = DatasetEntry(
        name="nsd", adapter="nsd", modality=MODALITIES["fmri"], subjects=names, options=options
    )
    return made, nsd.Options.model_validate(options)


def table(tree, subject=1, options=None):
    """The stimulus table without reading any pixels."""
    options = options or entry()[1]
    images, _ = nsd._images(options, subject, read_design(tree.root))
    names = [nsd.image_id(image) for image in images.tolist()]
    return pd.DataFrame({"image_id": names, "group": names})


def prepared(tree, path, subject=1, data=None, **options):
    made, options = entry(**options)
    source = nsd.Adapter().responses(
        made,
        options,
        f"nsd-subj{subject:02d}",
        table(tree, subject, options),
        data or tree.root,
        [],
    )
    write_target_blocks(path, source)
    return open_store(path, kind="responses", verify=True)


def expected_averages(tree, subject, hemisphere, *, zscore=True, sessions=(1, 2)):
    """What averaging by hand gives, float64, {73k ID from 1: (n_live,)} and presentations."""
    total, count = {}, {}
    for session in sessions:
        betas = tree.betas(subject, session, hemisphere).astype(np.float64)
        if zscore:
            betas = (betas - betas.mean(axis=0)) / betas.std(axis=0)
        for row, identity in zip(betas, tree.shown(subject, session).tolist(), strict=True):
            total[identity] = total.get(identity, 0) + row
            count[identity] = count.get(identity, 0) + 1
    return {identity: total[identity] / count[identity] for identity in total}, count


# --- which image was when -------------------------------------------------------------------


def test_trials_show_the_images_that_the_design_names_counted_from_zero(tree):
    design = read_design(tree.root)
    for subject, session in [(1, 1), (4, 2), (8, 30)]:
        found = trial_images(design, subject, session)
        np.testing.assert_array_equal(found + 1, tree.shown(subject, session))


def test_all_sessions_of_a_person_show_as_many_images_as_the_manual_says(tree):
    design = read_design(tree.root)
    images, counts = seen_images(design, 1, range(1, 41))
    assert len(images) == 10000
    assert set(counts) == {3}
    options = nsd.Options()
    assert [len(nsd.wanted_sessions(options, n)) for n in range(1, 9)] == [
        40, 40, 32, 30, 40, 32, 40, 30
    ]  # fmt: skip


@pytest.mark.parametrize("base", [0, 2])
def test_a_design_that_counts_from_another_base_is_refused(copy, tree, base):
    write_design(type(tree)(**{**vars_of(tree), "root": copy}), base=base)
    with pytest.raises(DatasetError, match=rf"masterordering runs from {base} to .* expected 1"):
        read_design(copy)


def vars_of(tree):
    return {name: getattr(tree, name) for name in tree.__dataclass_fields__}


# --- images -----------------------------------------------------------------------------------


def test_a_subjects_stimuli_are_the_images_it_saw_read_by_index(tree):
    made, options = entry(sessions=1)
    frame = nsd.Adapter().stimuli(made, options, "nsd-subj04", tree.root)
    identities = sorted(set(tree.shown(4, 1).tolist()))
    assert list(frame["image_id"]) == [f"nsd-{identity - 1:05d}" for identity in identities]
    assert list(frame["group"]) == list(frame["image_id"])
    for row in (0, 17, len(frame) - 1):
        pixels = load_image(frame["loader"][row], frame["locator"][row])
        np.testing.assert_array_equal(pixels, tree.image(identities[row]))


def test_images_may_be_grouped_by_the_session_that_showed_them_first(tree, tmp_path):
    first, second = (set(tree.shown(4, session).tolist()) for session in (1, 2))
    made, options = entry(subjects=(4,), group="session")
    frame = nsd.Adapter().stimuli(made, options, "nsd-subj04", tree.root)
    for name, group in zip(frame["image_id"], frame["group"], strict=True):
        identity = int(name.removeprefix("nsd-")) + 1
        assert group == ("session-01" if identity in first else "session-02")
    assert set(frame["group"]) == {"session-01", "session-02"}
    for fold in outer_splits(frame["group"].to_numpy(), n_folds=2, seed=0):
        assert len(set(frame["group"][fold.held_out])) == 1
    # Only sessions that are taken count.
    later = nsd.Adapter().stimuli(*entry(sessions=[2], group="session"), "nsd-subj04", tree.root)
    assert set(later["group"]) == {"session-02"}
    source = nsd.Adapter().responses(made, options, "nsd-subj04", frame, tree.root, [])
    write_target_blocks(tmp_path / "a.zarr", source)
    store = open_store(tmp_path / "a.zarr", kind="responses")
    np.testing.assert_array_equal(store["group"].values, frame["group"])
    # What the grouping cannot part: rows that hold trials of other sessions as well.
    assert store.attrs["n_images_of_several_sessions"] == len(first & second) > 0
    made, options = entry(subjects=(4,))
    with pytest.raises(DatasetError, match="are not those of the option group: image; make the"):
        nsd.Adapter().responses(made, options, "nsd-subj04", frame, tree.root, [])


def test_images_shown_less_often_are_left_out_if_asked(tree):
    shown = tree.shown(1, 1)
    identities, counts = np.unique(shown, return_counts=True)
    assert set(counts) == {1, 2, 3} or set(counts) == {1, 2}
    frame = table(tree, 1, entry(sessions=1, min_repeats=2)[1])
    assert len(frame) == int((counts >= 2).sum()) < len(identities)


@pytest.mark.parametrize(
    ("content", "message"),
    [("no imgBrick", "has no dataset 'imgBrick', it holds other"), ("float", "float32, expected")],
)
def test_hdf5_files_without_images_are_refused(copy, content, message):
    path = copy / nsd.STIMULI
    path.unlink()
    with h5py.File(path, "w") as file:
        name = "other" if content == "no imgBrick" else "imgBrick"
        file[name] = np.zeros((4, 8, 8, 3), dtype=np.float32)
    made, options = entry()
    with pytest.raises(DatasetError, match=message):
        nsd.Adapter().stimuli(made, options, "nsd-subj01", copy)


def test_too_few_images_are_refused(copy):
    path = copy / nsd.STIMULI
    path.unlink()
    with h5py.File(path, "w") as file:
        file["imgBrick"] = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    made, options = entry()
    with pytest.raises(DatasetError, match=r"holds 4 images, number \d+ \(from 0\) was asked"):
        nsd.Adapter().stimuli(made, options, "nsd-subj01", copy)


# --- betas on the surface ---------------------------------------------------------------------


@pytest.mark.parametrize("zscore", [True, False])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_vertex_holds_the_average_over_the_presentations_of_each_image(
    tree, tmp_path, subject, zscore
):
    store = prepared(tree, tmp_path / "a.zarr", subject, mask="all", zscore=zscore)
    assert store["response"].dtype == np.float32
    for hemisphere, side in (("lh", "left"), ("rh", "right")):
        averages, counts = expected_averages(tree, subject, hemisphere, zscore=zscore)
        own = store["hemisphere"].values == side
        vertices = store["vertex"].values[own]
        present = [v for v in range(WIDTH) if side == "right" or v != NAN_VERTEX]
        assert list(vertices) == present
        values = store["response"].values[:, own]
        for row, name in enumerate(store["image_id"].values):
            identity = int(name.removeprefix("nsd-")) + 1
            np.testing.assert_allclose(
                values[row], averages[identity][vertices], rtol=2e-4, atol=2e-5
            )
            assert store["n_repeats"].values[row] == counts[identity]


def test_vertices_without_values_are_masked_and_counted(tree, tmp_path):
    store = prepared(tree, tmp_path / "a.zarr", mask="all")
    assert store.attrs["n_masked_targets"] == 1
    assert store.sizes["target"] == 2 * WIDTH - 1


def test_a_vertex_that_is_constant_in_one_session_is_masked(copy, tree, tmp_path):
    betas = tree.betas(1, 2, "rh")
    betas[:, 3] = 0.1
    path = copy / tree.session_file(1, 2, "rh").relative_to(tree.root)
    write_session(path, betas, width=WIDTH)
    store = prepared(tree, tmp_path / "a.zarr", data=copy, mask="all")
    assert store.attrs["n_masked_targets"] == 2
    assert 3 not in store["vertex"].values[store["hemisphere"].values == "right"]


def test_responses_do_not_depend_on_the_size_of_blocks_and_tiles(tree, tmp_path, monkeypatch):
    whole = prepared(tree, tmp_path / "a.zarr", mask="all")
    monkeypatch.setattr(nsd_betas, "TILE", 7)
    monkeypatch.setattr(nsd_betas, "AVERAGES_BYTES", 4 * 500 * 11)
    pieces = prepared(tree, tmp_path / "b.zarr", mask="all")
    assert nsd_betas.block_width(500) == 11
    assert pieces.attrs["digest"] == whole.attrs["digest"]
    for file in sorted((tmp_path / "a.zarr").rglob("*")):
        twin = tmp_path / "b.zarr" / file.relative_to(tmp_path / "a.zarr")
        assert file.is_dir() or file.read_bytes() == twin.read_bytes()


@pytest.mark.parametrize("vertices", [np.arange(WIDTH), np.array([2, 3, 11, 30])])
def test_stretches_read_by_threads_are_the_whole_in_memory_that_is_used_again(tree, vertices):
    memory = np.full(4 * 750 * WIDTH + 8, 255, dtype=np.uint8)
    with ThreadPoolExecutor(2) as threads:
        for hemisphere in ("lh", "rh"):
            found = read_trials(
                tree.session_file(1, 1, hemisphere),
                vertices,
                n_frames=750,
                memory=memory,
                threads=threads,
                parts=7,
            )
            assert np.shares_memory(found, memory)
            np.testing.assert_array_equal(found, tree.betas(1, 1, hemisphere)[:, vertices])
    alone = read_trials(tree.session_file(1, 1, "rh"), vertices, n_frames=750)
    np.testing.assert_array_equal(alone, found)


def test_presentations_are_added_in_the_order_of_their_trials():
    rng = np.random.default_rng(0)
    # Terms of very different size: another order gives another sum.
    betas = (rng.normal(size=(750, 30)) * 10.0 ** rng.integers(-4, 5, (750, 1))).astype(np.float32)
    rows = rng.integers(-1, 200, size=750)
    expected = rng.normal(size=(200, 30)).astype(np.float32)
    total = expected.copy()
    for trial, row in enumerate(rows.tolist()):
        if row >= 0:
            expected[row] += betas[trial]
    nsd_betas.add_session(total, betas.astype(">f4"), rows, zscore=False)
    np.testing.assert_array_equal(total, expected)


def test_regions_positions_and_masks_are_those_of_the_label_files(tree, tmp_path):
    store = prepared(tree, tmp_path / "a.zarr")
    for hemisphere, side in (("lh", "left"), ("rh", "right")):
        labels = tree.labels(hemisphere)
        own = store["hemisphere"].values == side
        vertices = store["vertex"].values[own]
        names = {label: region for region, labels in REGIONS.items() for label in labels}
        assert [names[STREAMS[labels[v] - 1]] for v in vertices] == list(store["roi"].values[own])
        positions = np.stack([store[axis].values[own] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(positions, tree.positions(hemisphere)[vertices], rtol=1e-5)
        assert set(vertices) | {NAN_VERTEX} == set(np.flatnonzero(labels)) | {NAN_VERTEX}
    assert store.attrs["roi_order"] == list(REGIONS)
    general = prepared(tree, tmp_path / "b.zarr", mask="nsdgeneral")
    assert (general["vertex"].values % 2 == 0).all()
    assert "" in general["roi"].values


def test_without_regions_each_label_is_one_in_the_order_of_the_table(tree, tmp_path):
    store = prepared(tree, tmp_path / "a.zarr", regions={}, reference_roi="early")
    assert store.attrs["roi_order"] == list(STREAMS)
    distances = store.attrs["roi_distance"]
    assert distances["early"] == 0
    assert min(distances[name] for name in STREAMS[1:]) > 0


def test_what_the_store_says_of_itself_suffices_for_the_fits(tree, tmp_path):
    prepared(tree, tmp_path / "a.zarr")
    read = read_responses(tmp_path / "a.zarr")
    assert read.layout.names == tuple(REGIONS)
    assert read.values.shape[1] == len(table(tree))
    assert read.attrs["space"] == "fsaverage"
    assert read.attrs["sessions"] == [1, 2]


# --- noise ceilings ---------------------------------------------------------------------------


def test_the_ceiling_weighs_images_by_their_presentations(tree, tmp_path):
    ncsnr = np.array([0.5, 1.0, 0.0, np.nan])
    # A = 2 images thrice, B = 1 twice, C = 1 once: (2/3 + 1/2 + 1) / 4
    noise = (2 / 3 + 1 / 2 + 1) / 4
    found = ceiling_of_average(ncsnr**2, np.array([3, 3, 2, 1]))
    np.testing.assert_allclose(
        found, [0.25 / (0.25 + noise), 1 / (1 + noise), 0, np.nan], equal_nan=True
    )
    store = prepared(tree, tmp_path / "a.zarr", sessions=1)
    counts = np.unique(tree.shown(1, 1), return_counts=True)[1]
    left = store["hemisphere"].values == "left"
    power = tree.ncsnr(1, "lh")[store["vertex"].values[left]].astype(float) ** 2
    expected = power / (power + (1 / counts).mean())
    np.testing.assert_allclose(store["noise_ceiling"].values[left], expected, rtol=1e-5)


def test_the_ceiling_is_the_share_of_variance_that_the_signal_has():
    rng = np.random.default_rng(0)
    n_repeats = np.repeat([1, 2, 3], 4000)
    signal = rng.normal(scale=0.8, size=len(n_repeats))
    noise = rng.normal(size=len(n_repeats)) / np.sqrt(n_repeats)
    explained = np.corrcoef(signal, signal + noise)[0, 1] ** 2
    # 12,000 images: the correlation is known to about .005.
    assert ceiling_of_average(np.array([0.8]) ** 2, n_repeats)[0] == pytest.approx(
        explained, abs=0.015
    )


# --- voxels -----------------------------------------------------------------------------------


def test_voxels_of_both_containers_arrive_with_their_labels(tree, tmp_path):
    volume = write_nsd_volume(tree)
    store = prepared(tree, tmp_path / "a.zarr", space="func1pt8mm", zscore=False, subjects=(1,))
    shape = volume.left.shape
    x, y, z = np.unravel_index(store["vertex"].values, shape, order="F")
    labels = np.where(volume.left > 0, volume.left, volume.right)
    assert len(x) == int((labels > 0).sum())
    names = {label: region for region, labels in REGIONS.items() for label in labels}
    assert [names[STREAMS[n - 1]] for n in labels[x, y, z]] == list(store["roi"].values)
    assert list(store["hemisphere"].values) == [
        "left" if value > 0 else "right" for value in volume.left[x, y, z]
    ]
    averages = {}
    for session in (1, 2):
        betas = volume.betas[session][x, y, z].T / 300
        for row, identity in zip(betas, tree.shown(1, session).tolist(), strict=True):
            averages.setdefault(identity, []).append(row)
    for row, name in enumerate(store["image_id"].values):
        expected = np.mean(averages[int(name.removeprefix("nsd-")) + 1], axis=0)
        np.testing.assert_allclose(store["response"].values[row], expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(store["x"].values).all()
    ceiling = ceiling_of_average(volume.ncsnr[x, y, z] ** 2, store["n_repeats"].values)
    np.testing.assert_allclose(store["noise_ceiling"].values, ceiling, rtol=1e-6)


def test_voxels_of_nsdgeneral_outside_all_regions_know_their_hemisphere(tree, tmp_path):
    volume = write_nsd_volume(tree)
    folder = tree.root / "nsddata/ppdata/subj01/func1pt8mm/roi"
    for side, labels in (("lh", volume.left), ("rh", volume.right)):
        save_volume(
            folder / f"{side}.nsdgeneral.nii.gz", np.where(labels >= 0, 1, -1).astype(np.int16)
        )
    options = {"space": "func1pt8mm", "mask": "nsdgeneral", "subjects": (1,)}
    store = prepared(tree, tmp_path / "a.zarr", **options)
    outside = store["roi"].values == ""
    assert outside.any()
    x, y, z = np.unravel_index(store["vertex"].values, volume.left.shape, order="F")
    expected = np.where(volume.left[x, y, z] >= 0, "left", "right")
    assert list(store["hemisphere"].values) == list(expected)


def test_a_volume_with_axes_in_another_order_is_refused(tree, tmp_path):
    write_nsd_volume(tree)
    folder = tree.root / f"nsddata_betas/ppdata/subj01/func1pt8mm/{BETAS}"
    path = tmp_path / "betas_session01.hdf5"
    with h5py.File(folder / path.name) as file, h5py.File(path, "w") as wrong:
        wrong["betas"] = file["betas"][:].T
    with pytest.raises(
        DatasetError, match=r"shape \(6, 5, 4, 750\), expected shape \(750, 4, 5, 6"
    ):
        nsd_betas.volume_betas(path, np.arange(3), (6, 5, 4))


def test_missing_files_of_a_volume_are_named(tree, tmp_path):
    folder = tmp_path / "nsd"
    shutil.copytree(tree.root, folder, ignore=shutil.ignore_patterns("nsd_stimuli.hdf5"))
    (folder / nsd.STIMULI).symlink_to(tree.root / nsd.STIMULI)
    copied = type(tree)(**{**vars_of(tree), "root": folder})
    write_nsd_volume(copied)
    asked = {"space": "func1pt8mm", "subjects": (1,)}
    assert problems(copied.root, **asked) == []
    roi = copied.root / "nsddata/ppdata/subj01/func1pt8mm/roi/rh.streams.nii.gz"
    roi.unlink()
    (copied.root / f"nsddata_betas/ppdata/subj01/func1pt8mm/{BETAS}/betas_session01.hdf5").unlink()
    session, labels = problems(copied.root, **asked)
    assert "betas_sessionYY.hdf5 (or .nii.gz) is missing for session(s) 1" in session
    assert labels == f"{roi}: is missing"


# --- bad input --------------------------------------------------------------------------------


def problems(data, **options):
    made, options = entry(**options)
    return nsd.Adapter().check(made, options, data)


def test_a_whole_tree_has_no_problems(tree):
    assert problems(tree.root) == []


def test_a_cut_session_is_named_before_any_job(copy, tree):
    path = copy / tree.session_file(4, 2, "lh").relative_to(tree.root)
    os.truncate(path, path.stat().st_size - 17)
    (found,) = problems(copy)
    assert str(path) in found
    assert f"is cut short: {path.stat().st_size} bytes, its header announces" in found


def test_sessions_missing_in_the_middle_are_named(copy, tree):
    (copy / tree.session_file(1, 1, "rh").relative_to(tree.root)).unlink()
    (found,) = problems(copy)
    assert "rh.betas_sessionYY.mgh is missing for session(s) 1 of the 2 asked for" in found
    assert problems(copy, sessions=[2]) == []
    assert any("session(s) 3, 4" in problem for problem in problems(copy, sessions=4))


def test_values_in_the_wrong_byte_order_are_found_by_their_size(copy, tree, tmp_path):
    path = copy / tree.session_file(1, 2, "lh").relative_to(tree.root)
    write_session(path, tree.betas(1, 2, "lh"), width=WIDTH, byte_order="<")
    (found,) = problems(copy)
    assert str(path) in found
    assert "big-endian" in found
    with pytest.raises(DatasetError, match="big-endian"):
        prepared(tree, tmp_path / "a.zarr", data=copy)
    assert not any(tmp_path.glob("*a.zarr*"))


def test_a_header_in_the_wrong_byte_order_is_named(copy, tree):
    path = copy / tree.session_file(1, 2, "lh").relative_to(tree.root)
    content = bytearray(path.read_bytes())
    content[:28] = struct.pack("<7i", *struct.unpack(">7i", content[:28]))
    path.write_bytes(content)
    (found,) = problems(copy)
    assert "the header is little-endian" in found


def test_a_session_of_another_length_is_refused(copy, tree):
    path = copy / tree.session_file(1, 1, "lh").relative_to(tree.root)
    write_session(path, tree.betas(1, 1, "lh")[:700], width=WIDTH)
    (found,) = problems(copy)
    assert "holds 700 trials, expected 750" in found


def test_a_session_that_is_cut_or_longer_when_it_is_read_is_refused(copy, tree, tmp_path):
    path = copy / tree.session_file(1, 1, "lh").relative_to(tree.root)
    for n_trials, cut, message in [(760, 0, "760 trials, expected 750"), (750, 60, "in trial 750")]:
        longer = np.resize(tree.betas(1, 1, "lh"), (n_trials, WIDTH))
        write_session(path, longer, width=WIDTH)
        os.truncate(path, path.stat().st_size - cut)
        with pytest.raises(DatasetError, match=message):
            prepared(tree, tmp_path / "a.zarr", data=copy, mask="all")


@pytest.mark.parametrize(
    "missing",
    [
        "nsddata/freesurfer/fsaverage/label/rh.streams.mgz",
        "nsddata/freesurfer/fsaverage/label/streams.mgz.ctab",
        "nsddata/experiments/nsd/nsd_expdesign.mat",
        f"nsddata_betas/ppdata/subj01/fsaverage/{BETAS}/rh.ncsnr.mgh",
        nsd.STIMULI,
    ],
)
def test_each_missing_file_is_named(copy, missing):
    (copy / missing).unlink()
    found = problems(copy)
    assert len(found) == 1
    assert str(copy / missing) in found[0]
    assert "is missing" in found[0]


def test_without_surfaces_vertices_have_no_positions_and_regions_no_distances(
    tree, copy, tmp_path, caplog
):
    whole = prepared(tree, tmp_path / "a.zarr")
    shutil.rmtree(copy / "nsddata/freesurfer/fsaverage/surf")
    assert problems(copy) == []
    store = prepared(tree, tmp_path / "b.zarr", data=copy)
    assert np.isnan(store["x"].values).all() and "roi_distance" not in store.attrs
    assert "vertices have no positions" in caplog.text
    np.testing.assert_array_equal(store["response"].values, whole["response"].values)


def test_a_missing_subject_or_data_set_is_named_with_what_to_do(copy):
    shutil.rmtree(copy / "nsddata_betas/ppdata/subj04")
    (found,) = problems(copy)
    assert "leave subject 4 out" in found
    (found,) = problems(copy / "nowhere")
    assert "roots: {nsd: /path/to/it}" in found


def test_files_of_another_surface_are_refused(copy, tree, tmp_path):
    labels = copy / "nsddata/freesurfer/fsaverage/label/lh.streams.mgz"
    write_mgh(labels, np.ones(WIDTH + 1, dtype=np.int32))
    with pytest.raises(DatasetError, match=rf"has {WIDTH + 1} vertices, .* has {WIDTH}"):
        prepared(tree, tmp_path / "a.zarr", data=copy)
    path = copy / tree.session_file(1, 1, "lh").relative_to(tree.root)
    write_session(path, tree.betas(1, 1, "lh"), width=WIDTH + 2)
    assert f"has {WIDTH + 2} vertices, lh.ncsnr.mgh has {WIDTH}" in problems(copy)[0]


def test_what_fails_halfway_leaves_nothing(copy, tree, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    path = copy / tree.session_file(1, 2, "rh").relative_to(tree.root)
    write_session(path, tree.betas(1, 2, "rh") * np.float32(1e30), width=WIDTH)
    with pytest.raises(DatasetError, match="expected percent signal change"):
        prepared(tree, folder / "a.zarr", data=copy)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sessions": [2, 1]}, "list them from low to high"),
        ({"sessions": 0}, "expected at least 1"),
        ({"regions": {"a": ["early"], "b": ["early"]}, "early_rois": []}, "each label to one"),
        ({"early_rois": ["V1"]}, r"\['V1'\] are not among regions"),
        ({"min_repeats": 4}, "less than or equal to 3"),
        ({"betas": "betas_b9"}, "betas_fithrf"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    options = {"regions": REGIONS, **options}
    with pytest.raises(DatasetError.__mro__[1], match=message):
        validate(nsd.Options, options, where="options")


def test_a_subject_without_number_and_labels_that_are_not_there_are_refused(tree, tmp_path):
    with pytest.raises(DatasetError, match="expected a name that ends in a number from 1 to 8"):
        nsd.subject_number("nsd-subj09")
    with pytest.raises(DatasetError, match="has no label V9; it has Unknown, early"):
        prepared(tree, tmp_path / "a.zarr", regions={"early": ["V9"]})


def test_the_registry_holds_all_people_with_options_that_are_understood():
    root = Path(__file__).resolve().parents[2]
    listed = Registries([root / "config"]).dataset("nsd", where="test")
    options = validate(nsd.Options, listed.options, where="test")
    assert [nsd.subject_number(name) for name in listed.subjects] == list(range(1, 9))
    assert set(options.regions) >= {*options.early_rois, *options.high_rois}
    # Distance along the hierarchy is measured from V1, which the streams do not have.
    assert options.reference_roi == "V1"
    assert options.regions["V1"] == ("V1",)
    assert options.parcellation == "HCP_MMP1"


def test_the_inventory_lists_what_each_person_has(copy, tree):
    asked, options = entry()
    whole = nsd.Adapter().inventory(asked, options, copy)
    assert {item.state for item in whole} == {"there"}
    (left,) = [
        i for i in whole if i.path.endswith("subj01/fsaverage/" + BETAS + "/lh.betas_session*.mgh")
    ]
    assert (left.subject, left.n_files) == ("nsd-subj01", 2)
    (copy / tree.session_file(1, 1, "lh").relative_to(tree.root)).unlink()
    lost = [item for item in nsd.Adapter().inventory(asked, options, copy) if item.state != "there"]
    assert [(item.subject, item.state) for item in lost] == [("nsd-subj01", "missing")]
    assert lost[0].count == "1 of 2 files"


def test_a_label_without_a_name_is_refused_and_its_vertices_are_not_dropped(tree, copy, tmp_path):
    path = copy / "nsddata/freesurfer/fsaverage/label/streams.mgz.ctab"
    path.write_text(path.read_text().replace("7 parietal", "70 parietal"))
    with pytest.raises(DatasetError, match=r"holds the label 7, which .*ctab does not name"):
        prepared(tree, tmp_path / "made.zarr", data=copy)
