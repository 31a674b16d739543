"""Claims about files of brain imaging as one's own data: what lies in them arrives."""

import mne
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis
from PIL import Image
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.arrays import Adapter
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.registry import read_options
from gradbrain.datasets.responses import check_responses

ADAPTER = Adapter()
check, expected_size, responses, stimuli = (
    ADAPTER.check,
    ADAPTER.expected_size,
    ADAPTER.responses,
    ADAPTER.stimuli,
)

IMAGES = [f"picture_{number}" for number in range(1, 5)]
SHOWN = IMAGES * 2
SHAPE = (4, 3, 2)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])
AFFINE[0, 3] = 3.0
CHANNELS, TIMES = ("Oz", "Pz", "Fz"), np.array([-0.1, 0.0, 0.1, 0.2])


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in IMAGES:
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    pd.DataFrame({"image_id": SHOWN}).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


def prepared(data, modality="fmri", **options):
    options = {"images": "images/*.png", "rows": "rows.csv", **options}
    entry = DatasetEntry(
        name="mine",
        adapter="arrays",
        modality=MODALITIES[modality],
        subjects=("mine-s1",),
        stimuli="mine",
        options={key: value for key, value in options.items() if value is not None},
        licence="mine",
    )
    read = read_options(entry)
    assert check(entry, read, data) == []
    found = take_inventory(entry, data)
    assert not found.obstacles("mine-s1"), found.obstacles("mine-s1")
    table = stimuli(entry, read, "mine", data)
    dataset = responses(entry, read, "mine-s1", table, data, [])
    check_responses(dataset, table)
    size = expected_size(entry, read, data)
    assert size.n_targets >= np.prod(dataset["response"].shape[1:])
    return dataset


def averaged(values):
    return (values[:4] + values[4:]) / 2


def write_volume(data, *, mask=True):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((*SHAPE, len(SHOWN))).astype(np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), data / "s1.nii.gz")
    inside = rng.random(SHAPE) < 0.7
    if mask:
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), AFFINE), data / "mask.nii.gz")
    return values.reshape(-1, len(SHOWN)).T, np.flatnonzero(inside)


def test_volumes_with_a_mask_and_no_regions_are_one_region(data):
    values, voxels = write_volume(data)
    dataset = prepared(data, responses="{id}.nii.gz", mask="mask.nii.gz")
    assert set(dataset["roi"].values) == {"all"} and dataset.attrs["roi_order"] == ["all"]
    assert list(dataset["vertex"].values) == list(voxels)
    assert dataset["response"].values == pytest.approx(averaged(values[:, voxels]), abs=1e-6)
    place = np.stack(np.unravel_index(voxels, SHAPE), axis=1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert np.stack([dataset[axis].values for axis in "xyz"], axis=1) == pytest.approx(place)
    assert set(dataset["hemisphere"].values) == {"left", "right"}


def test_a_mask_of_a_masker_of_nilearn_gives_what_the_masker_gives(data):
    from nilearn.maskers import NiftiMasker

    write_volume(data)
    masker = NiftiMasker(mask_img=str(data / "mask.nii.gz")).fit()
    (data / "mask.nii.gz").unlink()
    masker.mask_img_.to_filename(data / "mask.nii.gz")
    dataset = prepared(data, responses="{id}.nii.gz", mask="mask.nii.gz")
    expected = masker.transform(str(data / "s1.nii.gz"))
    assert dataset["response"].values == pytest.approx(averaged(expected), abs=1e-5)


def test_region_masks_name_voxels_in_their_order(data):
    _, voxels = write_volume(data)
    for name, kept in (("V1", voxels[:4]), ("IT", voxels[3:7])):
        mask = np.zeros(np.prod(SHAPE), dtype=np.uint8)
        mask[kept] = 1
        nib.save(nib.Nifti1Image(mask.reshape(SHAPE), AFFINE), data / f"{name}.nii.gz")
    masks = {"V1": "V1.nii.gz", "IT": "IT.nii.gz"}
    dataset = prepared(
        data, responses="{id}.nii.gz", mask="mask.nii.gz", region_masks=masks, reference_roi="V1"
    )
    expected = np.full(len(voxels), "", dtype="<U2")
    expected[:4], expected[4:7] = "V1", "IT"
    assert list(dataset["roi"].values) == list(expected)
    assert dataset.attrs["roi_order"] == ["V1", "IT"] and dataset.attrs["roi_distance"]["V1"] == 0


def write_gifti(path, values):
    arrays = [nib.gifti.GiftiDataArray(row.astype(np.float32)) for row in values]
    nib.save(nib.gifti.GiftiImage(darrays=arrays), path)


def test_both_hemispheres_of_gifti_lie_side_by_side(data):
    rng = np.random.default_rng(2)
    left, right = rng.standard_normal((2, len(SHOWN), 5))
    write_gifti(data / "s1_hemi-L.func.gii", left)
    write_gifti(data / "s1_hemi-R.func.gii", right)
    dataset = prepared(data, responses="{id}_hemi-{hemi}.func.gii", space="fsaverage5")
    assert list(dataset["hemisphere"].values) == ["left"] * 5 + ["right"] * 5
    assert list(dataset["vertex"].values) == [*range(5), *range(5)]
    expected = averaged(np.concatenate([left, right], axis=1))
    assert dataset["response"].values == pytest.approx(expected, abs=1e-6)
    pd.DataFrame({"roi": ["V1", "IT"] * 5}).to_csv(data / "targets.csv", index=False)
    named = prepared(data, responses="{id}_hemi-{hemi}.func.gii", targets="targets.csv")
    assert named.attrs["roi_order"] == ["V1", "IT"]
    assert list(named["vertex"].values) == [*range(5), *range(5)]


def test_grayordinates_of_cifti_know_where_they_are(data):
    surface = BrainModelAxis.from_surface([0, 3, 7], 10, name="CortexLeft")
    volume = np.zeros(SHAPE, dtype=bool)
    volume[1, 1, 1] = volume[2, 0, 1] = True
    axis = surface + BrainModelAxis.from_mask(volume, name="thalamus_right", affine=AFFINE)
    values = np.random.default_rng(3).standard_normal((len(SHOWN), 5)).astype(np.float32)
    image = Cifti2Image(values, (ScalarAxis([str(n) for n in range(len(SHOWN))]), axis))
    nib.save(image, data / "s1.dscalar.nii")
    dataset = prepared(data, responses="{id}.dscalar.nii")
    assert list(dataset["hemisphere"].values) == ["left"] * 3 + [""] * 2
    assert list(dataset["vertex"].values[:3]) == [0, 3, 7]
    assert np.isnan(dataset["x"].values[:3]).all() and np.isfinite(dataset["x"].values[3:]).all()
    assert dataset["response"].values == pytest.approx(averaged(values), abs=1e-6)


def epochs_of(values, metadata=None):
    info = mne.create_info(list(CHANNELS), 10.0, "eeg")
    return mne.EpochsArray(values, info, tmin=-0.1, metadata=metadata, verbose="error")


@pytest.mark.parametrize("named", [True, False])
def test_epochs_of_mne_are_turned_and_name_their_channels(data, named):
    values = np.random.default_rng(4).standard_normal((len(SHOWN), 3, 4))
    metadata = pd.DataFrame({"image_id": SHOWN[::-1]}) if named else None
    epochs_of(values, metadata).save(data / "s1-epo.fif", verbose="error")
    dataset = prepared(
        data,
        "eeg",
        responses="{id}-epo.fif",
        montage="standard_1020",
        rows=None if named else "rows.csv",
    )
    turned = (values[::-1] if named else values).swapaxes(1, 2)
    assert dataset["response"].values == pytest.approx(averaged(turned), rel=1e-4)
    assert list(dataset["sensor"].values) == list(CHANNELS)
    assert dataset["time"].values == pytest.approx(TIMES)
    assert np.isfinite(dataset["sensor_x"].values).all()


def test_the_order_of_axes_of_a_file_is_told_and_noticed(data):
    values = np.random.default_rng(5).standard_normal((len(SHOWN), 3, 4))
    np.save(data / "s1.npy", values)
    options = {
        "responses": "{id}.npy",
        "montage": "standard_1020",
        "sensors": list(CHANNELS),
        "times": {"first": -0.1, "rate": 10},
    }
    dataset = prepared(data, "eeg", axes="sensor_time", **options)
    assert dataset["response"].values == pytest.approx(averaged(values.swapaxes(1, 2)), rel=1e-5)
    assert list(dataset["sensor"].values) == list(CHANNELS)
    with pytest.raises(AssertionError, match="set `axes: sensor_time`, or exchange them"):
        prepared(data, "eeg", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"responses": "{id}.nii.gz"}, "the option `mask` is needed with NIfTI files"),
        ({"responses": "{id}.npy", "mask": "m.nii.gz"}, "`mask` and `region_masks` are of NIfTI"),
    ],
)
def test_options_that_do_not_fit_the_file_are_named(data, options, message):
    with pytest.raises(AssertionError, match=message):
        prepared(data, **options)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("grid", "both must be of one grid"),
        ("cut", "cannot be read|ends within"),
        ("3d", "fourth axis"),
    ],
)
def test_damaged_volumes_are_named(data, damage, message):
    write_volume(data)
    path = data / "s1.nii.gz"
    values = np.asarray(nib.load(path).dataobj).copy()
    if damage == "grid":
        nib.save(nib.Nifti1Image(values[:-1], AFFINE), path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    else:
        nib.save(nib.Nifti1Image(values[..., 0], AFFINE), path)
    options = {"images": "images/*.png", "rows": "rows.csv", "responses": "{id}.nii.gz"}
    entry = DatasetEntry(
        name="mine", adapter="arrays", modality=MODALITIES["fmri"], subjects=("mine-s1",),
        stimuli="mine", options={**options, "mask": "mask.nii.gz"}, licence="mine",
    )  # fmt: skip
    table = stimuli(entry, read_options(entry), "mine", data)
    with pytest.raises(DatasetError, match=message):
        responses(entry, read_options(entry), "mine-s1", table, data, [])
