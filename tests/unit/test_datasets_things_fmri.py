"""Claims about the adapter of THINGS-fMRI: values arrive where they should, faults are named."""

import shutil

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from trees.modalities import MODALITIES
from trees.things import CONCEPTS, write_pandas_hdf, write_things_fmri

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import things_fmri
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.responses import check_responses
from gradbrain.datasets.things_fmri import Options, stretches

ENTRY = DatasetEntry(
    name="things_fmri",
    adapter="things_fmri",
    modality=MODALITIES["fmri"],
    subjects=("things_fmri-sub-01", "things_fmri-sub-02"),
    stimuli="things_fmri",
    licence="CC0",
)
DEFAULTS = Options()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("things_fmri")
    return root, write_things_fmri(root)


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree that a test may damage."""
    shutil.copytree(written[0], tmp_path / "tree")
    return tmp_path / "tree"


def stimuli(root, options=DEFAULTS, entry=ENTRY, name="things_fmri"):
    return things_fmri.Adapter().stimuli(entry, options, name, root)


def responses(root, options=DEFAULTS, subject="things_fmri-sub-01"):
    table = stimuli(root, options)
    return table, things_fmri.Adapter().responses(ENTRY, options, subject, table, root, [])


def betas(tree, kind, subject="01"):
    return tree / "derivatives" / "betas_csv" / f"sub-{subject}_{kind}"


@pytest.mark.parametrize("voxels", ["regions", "all"])
def test_every_beta_arrives_at_its_image_and_voxel(written, voxels):
    root, subjects = written
    for number, subject in subjects.items():
        table, dataset = responses(root, Options(voxels=voxels), f"things_fmri-sub-{number}")
        check_responses(dataset, table)
        kept = dataset["vertex"].values
        assert len(kept) == (
            len(subject.voxels) if voxels == "all" else (dataset["roi"] != "").sum()
        )
        for place, image in enumerate(table["image_id"]):
            trials = np.flatnonzero(subject.trials["stimulus"] == f"{image}.jpg")
            expected = subject.betas[kept][:, trials].mean(axis=1)
            assert dataset["response"].values[place] == pytest.approx(expected, abs=1e-5)


def test_voxels_of_a_region_are_those_of_its_columns(written):
    root, subjects = written
    dataset = responses(root)[1]
    voxels = subjects["01"].voxels
    roi = pd.Series(dataset["roi"].values, index=dataset["vertex"].values)
    assert set(roi.index[roi == "V1"]) == set(voxels["voxel_id"][voxels["V1"] == 1])
    either = (voxels["lFFA"] == 1) | (voxels["rFFA"] == 1)
    assert set(roi.index[roi == "FFA"]) == set(voxels["voxel_id"][either])
    assert dataset.attrs["roi_order"] == list(Options().regions)


def test_a_voxel_in_several_regions_belongs_to_the_first(written):
    regions = {"ventral": ["lFFA", "V1"], "V1": ["V1", "V2"]}
    options = Options(regions=regions, early_rois=["V1"], high_rois=["ventral"])
    dataset = responses(written[0], options)[1]
    voxels = written[1]["01"].voxels
    roi = pd.Series(dataset["roi"].values, index=dataset["vertex"].values)
    assert (roi[voxels["voxel_id"][voxels["V1"] == 1]] == "ventral").all()
    assert set(roi.index[roi == "V1"]) == set(voxels["voxel_id"][voxels["V2"] == 1])


def test_test_images_are_averaged_and_marked(written):
    table, dataset = responses(written[0])
    test = pd.Series(dataset["test_image"].values, index=table["image_id"])
    assert set(test.index[test]) == {f"{concept}_03s" for concept in CONCEPTS[:3]}
    repeats = pd.Series(dataset["n_repeats"].values, index=table["image_id"])
    assert (repeats[test] == 3).all() and (repeats[~test] == 1).all()


def test_ceilings_are_the_published_ones_as_shares(tmp_path):
    write_things_fmri(tmp_path, sessions=12)
    dataset = responses(tmp_path)[1]
    voxels = pd.read_csv(betas(tmp_path, "VoxelMetadata.csv")).loc[dataset["vertex"].values]
    single = voxels["nc_singletrial"].to_numpy() / 100
    mean = np.mean(1 / dataset["n_repeats"].values)
    assert dataset["noise_ceiling"].values == pytest.approx(single / (single + (1 - single) * mean))


def test_positions_are_millimetres_in_the_space_of_the_mask(written):
    root, subjects = written
    dataset = responses(root)[1]
    mask = nib.load(root / "derivatives" / "brainmasks" / "sub-01_space-T1w_brainmask.nii.gz")
    voxels = subjects["01"].voxels.loc[dataset["vertex"].values]
    expected = nib.affines.apply_affine(mask.affine, voxels[["voxel_x", "voxel_y", "voxel_z"]])
    found = np.stack([dataset[axis].values for axis in "xyz"], axis=1)
    assert found == pytest.approx(expected)
    assert set(dataset["hemisphere"].values[found[:, 0] < 0]) == {"left"}
    assert set(dataset["hemisphere"].values[found[:, 0] > 0]) == {"right"}
    assert set(dataset.attrs["roi_distance"]) == set(Options().regions)
    assert dataset.attrs["roi_distance"]["V1"] == 0
    assert dataset.attrs["volume_affine"] == mask.affine.tolist()
    assert dataset.attrs["volume_shape"] == list(mask.shape)


def test_without_masks_voxels_have_no_positions_and_regions_no_distances(tree):
    shutil.rmtree(tree / "derivatives" / "brainmasks")
    assert things_fmri.Adapter().check(ENTRY, Options(), tree) == []
    table, dataset = responses(tree)
    check_responses(dataset, table)
    assert np.isnan(dataset["x"].values).all()
    assert "roi_distance" not in dataset.attrs


def test_scores_within_sessions_have_mean_0_and_variance_1(written):
    root, subjects = written
    table, dataset = responses(root, Options(standardise="session"))
    subject = subjects["01"]
    scored = np.empty_like(subject.betas)
    for session in subject.trials["session"].unique():
        own = (subject.trials["session"] == session).to_numpy()
        part = subject.betas[:, own]
        scored[:, own] = (part - part.mean(1, keepdims=True)) / part.std(1, keepdims=True)
    image = table["image_id"].iloc[0]
    trials = np.flatnonzero(subject.trials["stimulus"] == f"{image}.jpg")
    expected = scored[dataset["vertex"].values][:, trials].mean(axis=1)
    assert dataset["response"].values[0] == pytest.approx(expected, abs=1e-5)


def test_voxels_with_nan_are_left_out_and_counted(tree):
    with h5py.File(betas(tree, "ResponseData.h5"), "r+") as file:
        file["ResponseData/block0_values"][0, 4] = np.nan
    dataset = responses(tree)[1]
    assert dataset.attrs["n_masked_targets"] == 1
    assert 0 not in dataset["vertex"].values
    voxels = pd.read_csv(betas(tree, "VoxelMetadata.csv")).loc[dataset["vertex"].values]
    single = voxels["nc_singletrial"] / 100
    expected = single / (single + (1 - single) * np.mean(1 / dataset["n_repeats"].values))
    assert dataset["noise_ceiling"].values == pytest.approx(expected)


def test_stretches_cover_all_rows_and_skip_what_is_far_from_any():
    rows = np.array([3, 4, 9, 500, 501, *range(10_000, 15_000)])
    found = list(stretches(rows))
    assert found[:2] == [(3, 10), (500, 502)]
    covered = np.concatenate([rows[(rows >= first) & (rows < last)] for first, last in found])
    assert list(covered) == list(rows)
    assert max(last - first for first, last in found) <= 2048


# --- faults --------------------------------------------------------------------------------------


def edit(path, change):
    table = pd.read_csv(path)
    change(table)
    table.to_csv(path, index=False)


def rename_key(tree):
    with h5py.File(betas(tree, "ResponseData.h5"), "r+") as file:
        file.move("ResponseData", "data")


def remove_ids(tree):
    with h5py.File(betas(tree, "ResponseData.h5"), "r+") as file:
        del file["ResponseData/block1_values"]


FAULTS = {
    "no responses": (
        lambda tree: betas(tree, "ResponseData.h5").write_bytes(b"not HDF5"),
        r"sub-01_ResponseData.h5: cannot be read as a table of responses",
    ),
    "other key": (
        rename_key,
        r"holds data, expected 'ResponseData'",
    ),
    "trials missing": (
        lambda tree: write_pandas_hdf(
            betas(tree, "ResponseData.h5"), np.zeros((120, 5)), np.arange(120)
        ),
        r"holds 120 voxels × 5 trials, the tables beside it 120 × 25",
    ),
    "voxels of another": (
        lambda tree: write_pandas_hdf(
            betas(tree, "ResponseData.h5"), np.zeros((120, 25)), np.arange(120)[::-1]
        ),
        r"its voxel_id are not those of VoxelMetadata.csv",
    ),
    "no ids": (
        remove_ids,
        r"expected one block of trials and one column voxel_id, found /ResponseData/block0_values",
    ),
    "trials renumbered": (
        lambda tree: edit(
            betas(tree, "StimulusMetadata.csv"), lambda t: t.__setitem__("trial_id", t.index + 1)
        ),
        r"trial_id must count the rows from 0",
    ),
    "catch trials": (
        lambda tree: edit(
            betas(tree, "StimulusMetadata.csv"), lambda t: t.loc.__setitem__((0, "trial_type"), "x")
        ),
        r"trial_type holds x; expected train, test",
    ),
    "kind of trial missing": (
        lambda tree: edit(
            betas(tree, "StimulusMetadata.csv"), lambda t: t.loc.__setitem__((0, "trial_type"), "")
        ),
        r"trial_type holds an empty cell; expected train, test",
    ),
    "voxel in or out": (
        lambda tree: edit(
            betas(tree, "VoxelMetadata.csv"), lambda t: t.loc.__setitem__((3, "hV4"), np.nan)
        ),
        r"VoxelMetadata\.csv: line 5: column hV4 holds nan, expected 1 where the voxel lies in the",
    ),
    "region column missing": (
        lambda tree: edit(betas(tree, "VoxelMetadata.csv"), lambda t: t.pop("lLOC")),
        r"VoxelMetadata.csv: lacks the column\(s\) lLOC",
    ),
    "empty region": (
        lambda tree: edit(betas(tree, "VoxelMetadata.csv"), lambda t: t.__setitem__("hV4", 0)),
        r"no voxel lies in region 'hV4' \(hV4\)",
    ),
    "mask of another": (
        lambda tree: nib.save(
            nib.Nifti1Image(np.zeros((8, 6, 7), np.uint8), np.eye(4)),
            tree / "derivatives" / "brainmasks" / "sub-01_space-T1w_brainmask.nii.gz",
        ),
        r"voxels of VoxelMetadata.csv lie outside the mask",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_trees_are_named(tree, fault):
    damage, message = FAULTS[fault]
    table = stimuli(tree)
    damage(tree)
    with pytest.raises(DatasetError, match=message):
        things_fmri.Adapter().responses(ENTRY, Options(), ENTRY.subjects[0], table, tree, [])


def test_unknown_poles_are_refused():
    with pytest.raises(ValueError, match=r"\['IT'\] are not among regions"):
        Options(high_rois=["IT"])


def test_check_lists_every_missing_file(tree):
    assert things_fmri.Adapter().check(ENTRY, Options(), tree) == []
    betas(tree, "ResponseData.h5").unlink()
    betas(tree, "VoxelMetadata.csv", "02").unlink()
    entry = ENTRY.model_copy(update={"subjects": (*ENTRY.subjects, "things_fmri-S3")})
    found = "\n".join(things_fmri.Adapter().check(entry, Options(images="elsewhere"), tree))
    assert found.count("\n") == 3
    for name in (
        "sub-01_ResponseData.h5",
        "sub-02_VoxelMetadata.csv",
        "elsewhere",
        "'things_fmri-S3'",
    ):
        assert name in found
    assert len(things_fmri.Adapter().check(ENTRY, Options(), tree / "nowhere")) == 1


def test_the_inventory_tells_what_is_there_and_what_cannot_be_read(tree):
    details = [item.detail for item in take_inventory(ENTRY, tree).items]
    assert details.count("120 voxels × 25 trials") == 2
    rename_key(tree)
    shutil.rmtree(tree / "derivatives" / "brainmasks")
    found = take_inventory(ENTRY, tree)
    assert "expected 'ResponseData'" in " ".join(found.obstacles("things_fmri-sub-01"))
    # Masks are worth having, and nobody needs them.
    assert found.obstacles("things_fmri-sub-02") == []
