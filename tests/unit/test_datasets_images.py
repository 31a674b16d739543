"""Claims about reading stimuli and about the table that lists them."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from gradbrain.config import GradbrainError
from gradbrain.datasets.errors import DatasetError, ImageError
from gradbrain.datasets.images import content_sha256, crop, load_image, package_file
from gradbrain.datasets.stimuli import Stimulus, check_stimuli, read_stimuli, stimuli_table
from gradbrain.store import write_table


def stimulus(image_id, *, group="a", content="0" * 64, loader="file"):
    return Stimulus(
        image_id=image_id,
        group=group,
        loader=loader,
        locator={"path": f"{image_id}.png"},
        content_sha256=content,
    )


def test_a_file_is_read_as_rgb_exactly(tmp_path):
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = load_image("file", json.dumps({"path": str(tmp_path / "a.png")}))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)


def test_a_grey_image_becomes_three_equal_channels(tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    Image.fromarray(grey).save(tmp_path / "a.png")
    read = load_image("file", {"path": str(tmp_path / "a.png")})
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=2))


def test_a_crop_at_its_own_size_is_the_pixels_of_the_box():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    cut = crop(Image.fromarray(pixels), (5, 7, 25, 27), 20)
    np.testing.assert_array_equal(cut, pixels[7:27, 5:25])


def test_a_package_crop_has_the_size_asked_for():
    locator = {
        "package": "skimage",
        "file": "data/coins.png",
        "box": [10, 20, 110, 120],
        "size": 48,
    }
    assert load_image("package_crop", locator).shape == (48, 48, 3)


def test_the_package_is_located_without_being_imported():
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from gradbrain.datasets.images import package_file;"
        "package_file('skimage', 'data/coins.png');"
        "print('skimage' in sys.modules)"
    )
    workflow = Path(__file__).resolve().parents[2] / "workflow"
    command = [sys.executable, "-c", code, str(workflow)]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("loader", "locator", "message"),
    [
        ("url", {"path": "a"}, "loader 'url' is not known"),
        ("file", "{broken", "is not JSON"),
        ("file", {"file": "a"}, "exactly the keys path"),
        ("file", {"path": "no/such.png"}, r"no/such\.png: there is no such image"),
        (
            "package_crop",
            {"package": "skimage", "file": "data/nothing.png", "box": [0, 0, 1, 1], "size": 2},
            "does not carry this photograph",
        ),
        (
            "package_crop",
            {"package": "no_such_package", "file": "a.png", "box": [0, 0, 1, 1], "size": 2},
            "is not installed",
        ),
        (
            "package_crop",
            {"package": "skimage", "file": "data/coins.png", "box": [0, 0, 9999, 10], "size": 2},
            "does not lie within",
        ),
    ],
)
def test_what_cannot_be_loaded_is_named(loader, locator, message):
    with pytest.raises(ImageError, match=message):
        load_image(loader, locator)


def test_damaged_truncated_and_16_bit_files_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.jpg: cannot be read as an image"):
        load_image("file", {"path": str(tmp_path / "text.jpg")})
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"half\.jpg: cannot be read as an image"):
        load_image("file", {"path": str(tmp_path / "half.jpg")})
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ImageError, match=r"deep\.png: has mode"):
        load_image("file", {"path": str(tmp_path / "deep.png")})


def test_the_digest_depends_on_shape_and_content():
    image = np.zeros((2, 8, 3), dtype=np.uint8)
    other = image.copy()
    other[0, 0, 0] = 1
    assert content_sha256(image) == content_sha256(image.copy())
    assert len({content_sha256(i) for i in (image, other, image.reshape(4, 4, 3))}) == 3
    with pytest.raises(ImageError, match="float64"):
        content_sha256(image.astype(float))


def test_package_files_are_files():
    assert package_file("sklearn", "datasets/images/china.jpg").is_file()


def test_the_table_keeps_order_and_survives_the_disk(tmp_path):
    table = stimuli_table([stimulus("b"), stimulus("a", group="c", content="1" * 64)], name="mine")
    write_table(tmp_path / "mine.parquet", table)
    read = read_stimuli(tmp_path / "mine.parquet")
    assert list(read["image_id"]) == ["b", "a"]
    assert read["label"].isna().all()
    assert str(read["label"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no images"),
        ([stimulus("a"), stimulus("a")], "image id.* occur more than once, e.g. 'a'"),
        ([stimulus("a", group="")], "column 'group' has empty cells"),
        ([stimulus("a", loader="url")], "unknown loader.* url"),
        ([stimulus("a"), stimulus("b", group="z")], "the images a, b are the same pixels"),
    ],
)
def test_tables_that_break_the_contract_are_refused(rows, message):
    with pytest.raises(DatasetError, match=f"stimulus set 'mine'.*{message}"):
        stimuli_table(rows, name="mine")


def test_twins_within_a_group_are_allowed():
    assert len(stimuli_table([stimulus("a"), stimulus("b")], name="mine")) == 2


def test_a_missing_column_is_named(tmp_path):
    table = stimuli_table([stimulus("a")], name="mine").drop(columns="group")
    with pytest.raises(DatasetError, match=r"lacks the column.* group"):
        check_stimuli(table, name="mine")
    write_table(tmp_path / "mine.parquet", table)
    with pytest.raises(GradbrainError, match="group"):
        read_stimuli(tmp_path / "mine.parquet")


@pytest.mark.parametrize("fault", ["missing", "no HDF5"])
def test_hdf5_files_that_cannot_be_opened_are_named(tmp_path, fault):
    path = tmp_path / f"{fault}.hdf5"
    if fault == "no HDF5":
        path.write_text("not HDF5")
    message = {"missing": "there is no such file", "no HDF5": "cannot be read as HDF5"}[fault]
    with pytest.raises(ImageError, match=message):
        load_image("hdf5", {"path": str(path), "dataset": "images", "index": 0})


def test_an_image_of_an_hdf5_file_is_read_by_its_index(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["images"] = images
    locator = {"path": str(tmp_path / "a.hdf5"), "dataset": "images"}
    for index in (2, 0):
        found = load_image("hdf5", {**locator, "index": index})
        np.testing.assert_array_equal(found, images[index])
    with pytest.raises(ImageError, match="holds 3 images, number 3"):
        load_image("hdf5", {**locator, "index": 3})
