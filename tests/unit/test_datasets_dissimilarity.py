"""Claims about virtual voxels and the data sets that are read as dissimilarity matrices."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from scipy.io import savemat
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry, FetchFile, FetchSpec
from gradbrain.datasets import dissimilarity
from gradbrain.datasets.dissimilarity import (
    MatrixFile,
    Options,
    image_files,
    read_matrices,
    subject_index,
)
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.responses import check_responses
from gradbrain.datasets.virtual_voxels import check_dissimilarities, correlation_kernel, embed
from gradbrain.store import open_store, write_store

N_IMAGES, N_SUBJECTS = 12, 3
OPTIONS = Options(
    files={
        "EVC": MatrixFile(path="evc.npz", key="rdm"),
        "IT": MatrixFile(path="it.npz", key="rdm"),
    },
    images="images/*.png",
    roi_order=("EVC", "IT"),
    early_rois=("EVC",),
    high_rois=("IT",),
)
ENTRY = DatasetEntry(
    name="mine",
    adapter="dissimilarity",
    modality=MODALITIES["fmri"],
    subjects=("mine-s01", "mine-s03"),
)


def matrices_of(patterns):
    """1 − Pearson between the rows of each subject's patterns, with an exact zero diagonal."""
    rdms = np.stack([1 - np.corrcoef(own) for own in patterns])
    rdms = (rdms + rdms.transpose(0, 2, 1)) / 2
    rdms[:, np.arange(rdms.shape[1]), np.arange(rdms.shape[1])] = 0
    return rdms


@pytest.fixture
def patterns():
    """Patterns (subject, image, voxel) that share a part over subjects."""
    rng = np.random.default_rng(0)
    # Three dimensions carry the shared part: one image can then be predicted from the others.
    shared = rng.standard_normal((N_IMAGES, 3)) @ rng.standard_normal((3, 60))
    return shared + 0.5 * rng.standard_normal((N_SUBJECTS, N_IMAGES, 60))


@pytest.fixture
def data(tmp_path, patterns):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(1, N_IMAGES + 1):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"image_{number}.png")
    np.savez(folder / "evc.npz", rdm=matrices_of(patterns))
    unrelated = rng.standard_normal((N_SUBJECTS, N_IMAGES, 60))
    np.savez(folder / "it.npz", rdm=matrices_of(unrelated))
    return folder


def respond(data, subject="mine-s01", options=OPTIONS):
    table = dissimilarity.Adapter().stimuli(ENTRY, options, "mine", data)
    dataset = dissimilarity.Adapter().responses(ENTRY, options, subject, table, data, [])
    check_responses(dataset, table)
    return dataset


def replace_matrices(data, change):
    """Rewrite evc.npz with one entry of the first subject's matrix changed."""
    with np.load(data / "evc.npz") as file:
        rdms = file["rdm"]
    np.savez(data / "evc.npz", rdm=change(rdms))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_images=st.integers(4, 20), n_voxels=st.integers(3, 40))
def test_the_embedding_has_the_kernel_of_the_patterns(seed, n_images, n_voxels):
    patterns = np.random.default_rng(seed).standard_normal((n_images, n_voxels))
    points, n_clipped = embed(correlation_kernel(matrices_of(patterns[None])[0]), where="test")
    unit = patterns - patterns.mean(axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit -= unit.mean(axis=0)
    # Dimensions below 1e-6 of the largest are left out as rounding.
    np.testing.assert_allclose(points @ points.T, unit @ unit.T, atol=1e-5)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-8)
    assert points.shape[1] <= n_images - 1
    assert n_clipped == 0


def test_a_simplex_is_embedded_exactly():
    # Patterns at right angles: every distance is 1, the kernel is the centred identity.
    kernel = correlation_kernel(1 - np.eye(5))
    np.testing.assert_allclose(kernel, np.eye(5) - 0.2, atol=1e-12)
    points, _ = embed(kernel, where="test")
    assert points.shape == (5, 4)
    np.testing.assert_allclose((points**2).sum(axis=1), 0.8)


def test_negative_eigenvalues_are_refused_or_clipped_and_counted():
    rdm = np.array([[0, 0.1, 1.9, 1], [0.1, 0, 0.1, 1], [1.9, 0.1, 0, 1], [1, 1, 1, 0]])
    kernel = correlation_kernel(rdm)
    assert (np.linalg.eigvalsh(kernel) < -0.01).sum() == 1
    with pytest.raises(DatasetError, match=r"somewhere: 1 eigenvalues .* negative.*clip_negative"):
        embed(kernel, where="somewhere")
    points, n_clipped = embed(kernel, where="somewhere", clip_negative=True)
    assert n_clipped == 1
    assert points.shape == (4, 2)


def test_responses_are_virtual_voxels_of_each_region(data, patterns):
    dataset = respond(data)
    assert dataset.attrs["rotation_invariant"] is True
    assert dataset.attrs["space"] == "virtual"
    assert dataset.attrs["n_clipped_dimensions"] == {"EVC": 0, "IT": 0}
    assert "roi_distance" not in dataset.attrs
    assert np.isnan(dataset["x"].values).all()
    evc = dataset["response"].values[:, dataset["roi"].values == "EVC"]
    expected = correlation_kernel(matrices_of(patterns)[0])
    np.testing.assert_allclose(evc @ evc.T, expected, atol=1e-5)


def test_the_ceiling_comes_from_the_other_people(data):
    dataset = respond(data)
    ceiling = {
        roi: np.unique(dataset["noise_ceiling"].values[dataset["roi"].values == roi])
        for roi in ("EVC", "IT")
    }
    assert len(ceiling["EVC"]) == len(ceiling["IT"]) == 1
    assert 0.4 < ceiling["EVC"][0] < 1
    assert ceiling["IT"][0] < 0.1


def test_one_person_alone_has_no_ceiling(data):
    for name in ("evc.npz", "it.npz"):
        with np.load(data / name) as file:
            single = file["rdm"][0]
        np.savez(data / name, rdm=single)
    ceiling = respond(data)["noise_ceiling"]
    assert np.isnan(ceiling.values).all()
    assert ceiling.attrs["missing_allowed"] is True


def test_the_store_takes_virtual_voxels(data, tmp_path):
    dataset = respond(data)
    write_store(tmp_path / "r.zarr", dataset, kind="responses")
    read = open_store(tmp_path / "r.zarr", kind="responses", verify=True)
    np.testing.assert_array_equal(read["response"].values, dataset["response"].values)


def test_rows_are_images_in_natural_order(data):
    names = [path.stem for path in image_files(OPTIONS, data)]
    assert names == [f"image_{number}" for number in range(1, N_IMAGES + 1)]
    table = dissimilarity.Adapter().stimuli(ENTRY, OPTIONS, "mine", data)
    assert list(table["image_id"]) == names
    assert list(table["group"]) == names


def test_the_number_in_the_name_is_the_matrix(data, patterns):
    assert subject_index("mine-s01") == 0
    third = respond(data, "mine-s03")
    evc = third["response"].values[:, third["roi"].values == "EVC"]
    expected = correlation_kernel(matrices_of(patterns)[2])
    np.testing.assert_allclose(evc @ evc.T, expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["npy", "mat"])
def test_other_file_formats_hold_the_same_matrices(data, suffix):
    expected = read_matrices(MatrixFile(path="evc.npz"), data)
    if suffix == "npy":
        np.save(data / "evc.npy", expected)
    else:
        savemat(data / "evc.mat", {"rdm": expected})
    np.testing.assert_array_equal(read_matrices(MatrixFile(path=f"evc.{suffix}"), data), expected)


def test_structures_and_cells_of_matlab_are_read_as_one_matrix_for_each_person(data):
    expected = read_matrices(MatrixFile(path="evc.npz"), data)
    people = np.zeros((1, len(expected)), dtype=[("RDM", "O"), ("name", "O")])
    cell = np.empty((1, len(expected)), dtype=object)
    for place, matrix in enumerate(expected):
        people[0, place] = (matrix, f"person {place}")
        cell[0, place] = matrix
    savemat(data / "struct.mat", {"RDMs": people})
    savemat(data / "cell.mat", {"RDMs": cell})
    savemat(data / "one.mat", {"a": {"RDM": expected[0]}})
    for name, key in (("struct", "RDMs.RDM"), ("struct", None), ("cell", "RDMs"), ("cell", None)):
        found = read_matrices(MatrixFile(path=f"{name}.mat", key=key), data)
        np.testing.assert_array_equal(found, expected)
    one = read_matrices(MatrixFile(path="one.mat", key="a.RDM"), data)
    np.testing.assert_array_equal(one[0], expected[0])


def test_people_along_the_last_axis_are_read_when_it_is_said_and_noticed_when_not(data):
    expected = read_matrices(MatrixFile(path="evc.npz"), data)
    np.save(data / "last.npy", np.moveaxis(expected, 0, -1))
    with pytest.raises(DatasetError, match=r"last.npy.*set `axes: images_images_subjects`"):
        read_matrices(MatrixFile(path="last.npy"), data)
    last = MatrixFile(path="last.npy", axes="images_images_subjects")
    np.testing.assert_array_equal(read_matrices(last, data), expected)


def set_cell(row, column, value):
    def change(rdms):
        rdms[0, row, column] = value
        return rdms

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rdms: rdms[:, :, :-1], "expected a square matrix"),
        (lambda rdms: rdms[0, 0], r"expected \(subjects, images, images\)"),
        (lambda rdms: rdms.astype(str), "expected numbers"),
        (set_cell(0, 1, 0.123), "is not symmetric"),
        (set_cell(3, 3, 0.5), "the diagonal reaches 0.5"),
        (set_cell(2, 5, np.nan), "1 of 144 dissimilarities are not finite"),
        (lambda rdms: 3 * rdms, r"expected \[0, 2\]"),
        (lambda rdms: np.tile(0.7 * (1 - np.eye(N_IMAGES)), (3, 1, 1)), "constant responses"),
        (lambda rdms: rdms[:2], "holds the matrices of 2 subject.* would be number 3"),
    ],
)
def test_matrices_that_cannot_be_true_are_refused_by_name(data, change, message):
    table = dissimilarity.Adapter().stimuli(ENTRY, OPTIONS, "mine", data)
    replace_matrices(data, change)
    with pytest.raises(DatasetError, match=rf"evc\.npz.*{message}"):
        dissimilarity.Adapter().responses(ENTRY, OPTIONS, "mine-s03", table, data, [])


def test_a_matrix_of_the_wrong_size_says_how_many_images_there_are():
    with pytest.raises(DatasetError, match="is 3 x 3, but there are 4 images"):
        check_dissimilarities(1 - np.eye(3), where="a", n_images=4)


def test_images_and_rows_must_be_as_many(data):
    (data / "images" / "image_12.png").unlink()
    with pytest.raises(DatasetError, match=r"has 12 rows per matrix, but 11 files match"):
        dissimilarity.Adapter().stimuli(ENTRY, OPTIONS, "mine", data)
    Image.new("RGB", (8, 8)).save(data / "images" / "image_12.png")
    Image.new("RGB", (9, 9)).save(data / "images" / "image_13.png")
    with pytest.raises(DatasetError, match=r"has 12 rows per matrix, but 13 files match"):
        dissimilarity.Adapter().stimuli(ENTRY, OPTIONS, "mine", data)


def test_an_unreadable_image_is_named(data):
    (data / "images" / "image_7.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"image_7\.png: cannot be read as an image"):
        dissimilarity.Adapter().stimuli(ENTRY, OPTIONS, "mine", data)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "evc.npz", "key": "RDM"}, r"evc\.npz: has no key 'RDM'; its keys are rdm"),
        ({"path": "gone.npz"}, r"gone\.npz: there is no such file"),
        ({"path": "evc.txt"}, r"evc\.txt: expected a file that ends in"),
        ({"path": "two.npz"}, r"two\.npz: holds 2 arrays \(a, b\); name one as `key`"),
        ({"path": "damaged.npz"}, r"damaged\.npz: cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(data, source, message):
    np.savez(data / "two.npz", a=np.eye(2), b=np.eye(2))
    (data / "damaged.npz").write_bytes((data / "evc.npz").read_bytes()[:500])
    with pytest.raises(DatasetError, match=message):
        read_matrices(MatrixFile(**source), data)


def test_a_subject_without_a_number_is_refused():
    for name in ("mine-anna", "mine-s00"):
        with pytest.raises(DatasetError, match=f"subject '{name}'"):
            subject_index(name)


def test_problems_are_listed_before_any_job(data):
    assert dissimilarity.Adapter().check(ENTRY, OPTIONS, data) == []
    (data / "it.npz").unlink()
    for image in data.glob("images/*"):
        image.unlink()
    problems = dissimilarity.Adapter().check(ENTRY, OPTIONS, data)
    assert len(problems) == 2
    assert "it.npz is missing" in problems[0]
    missing = dissimilarity.Adapter().check(ENTRY, OPTIONS, data.parent / "nowhere")
    assert len(missing) == 1
    assert "roots" in missing[0]


def test_a_missing_folder_is_no_problem_where_a_run_fetches_it():
    files = {"evc.npz": FetchFile(url="a", sha256="0" * 64)}
    for when_missing, n_problems in ((True, 0), (False, 1)):
        fetch = FetchSpec(base_url="https://x", files=files, when_missing=when_missing)
        entry = ENTRY.model_copy(update={"fetch": fetch})
        assert len(dissimilarity.Adapter().check(entry, OPTIONS, Path("nowhere"))) == n_problems


def test_the_inventory_lists_images_and_matrices(data):
    entry = ENTRY.model_copy(update={"options": OPTIONS.model_dump()})
    found = take_inventory(entry, data)
    assert all(found.obstacles(subject) == [] for subject in entry.subjects)
    assert {Path(item.path).name for item in found.items} >= {"evc.npz", "it.npz"}
    content = (data / "it.npz").read_bytes()
    (data / "it.npz").write_bytes(content[: len(content) // 2])
    states = {Path(item.path).name: item.state for item in take_inventory(entry, data).items}
    assert states["it.npz"] == "unreadable"
    assert states["evc.npz"] == "there"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roi_order": ["EVC"]}, "must name each region"),
        ({"high_rois": ["V9"]}, "are not among files"),
        ({"measure": "euclidean"}, "measure"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({**OPTIONS.model_dump(), **changes})


def test_the_inventory_compares_images_with_the_rows_of_the_matrices(data):
    entry = ENTRY.model_copy(update={"options": OPTIONS.model_dump()})
    (data / "images" / "image_3.png").unlink()
    (obstacle,) = take_inventory(entry, data).obstacles("mine-s01")
    assert "has 12 rows per matrix, but 11 files match" in obstacle
