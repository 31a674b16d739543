"""Claims about crops of the photographs that packages carry."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import photographs
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.images import content_sha256, load_image
from gradbrain.datasets.photographs import Options, crop_boxes, crops

ENTRY = DatasetEntry(
    name="mine", adapter="photographs", modality=MODALITIES["none"], stimuli="mine"
)


@pytest.fixture(scope="module")
def table():
    return crops(Options(), name="simulated")


def test_the_default_set_is_spread_evenly_over_at_least_15_photographs(table):
    counts = table["group"].value_counts()
    assert len(table) == 320
    assert len(counts) == 18
    assert counts.max() - counts.min() <= 1


def test_the_same_seed_gives_the_same_table_and_another_seed_another(table):
    assert table.equals(crops(Options(), name="simulated"))
    other = crops(Options(seed=1), name="simulated")
    assert list(other["content_sha256"]) != list(table["content_sha256"])


def test_each_row_loads_to_the_pixels_it_promises(table):
    for row in table.iloc[::40].itertuples():
        pixels = load_image(row.loader, row.locator)
        assert pixels.shape == (128, 128, 3)
        assert content_sha256(pixels) == row.content_sha256


def test_a_photograph_is_one_group(table):
    files = table["locator"].map(lambda locator: json.loads(locator)["file"])
    assert (files.groupby(table["group"]).nunique() == 1).all()
    assert (table["group"].groupby(files).nunique() == 1).all()


def test_calibration_shares_neither_photographs_nor_pixels_with_the_stimuli(table):
    calibration = crops(Options(split="calibration", n_images=64), name="calibration")
    assert calibration["group"].nunique() == 4
    assert set(calibration["group"]).isdisjoint(table["group"])
    assert set(calibration["content_sha256"]).isdisjoint(table["content_sha256"])


def test_more_images_keep_the_crops_of_fewer():
    few = crops(Options(n_images=36), name="few")
    many = crops(Options(n_images=54), name="many")
    assert set(few["image_id"]) < set(many["image_id"])


def test_crops_have_contrast_and_do_not_nearly_coincide():
    half_flat = np.zeros((100, 100, 3), dtype=np.uint8)
    half_flat[:, 50:] = np.random.default_rng(0).integers(0, 256, (100, 50, 3))
    photograph = Image.fromarray(half_flat)
    options = Options(scale_min=0.2, scale_max=0.3, min_contrast=20.0, max_overlap=0.5)
    boxes = crop_boxes(photograph, 10, options, np.random.default_rng(0))
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert right - left == bottom - top
        assert np.asarray(photograph.convert("L"))[top:bottom, left:right].std() >= 20
        for other in boxes[:index]:
            width = max(0, min(right, other[2]) - max(left, other[0]))
            height = max(0, min(bottom, other[3]) - max(top, other[1]))
            union = (right - left) ** 2 + (other[2] - other[0]) ** 2 - width * height
            assert width * height / union <= 0.5


def test_a_photograph_without_contrast_is_an_error():
    flat = Image.fromarray(np.full((50, 50, 3), 9, dtype=np.uint8))
    with pytest.raises(DatasetError, match="no crop number 1 of 2 with contrast"):
        crop_boxes(flat, 2, Options(), np.random.default_rng(0))


def test_a_photograph_that_the_installed_version_lacks_is_named_before_any_job():
    options = Options(photographs=("skimage/data/gone.png", "skimage/data/coins.png"))
    problems = photographs.Adapter().check(ENTRY, options, Path("data/mine"))
    assert len(problems) == 1
    assert "gone.png" in problems[0]
    assert photographs.Adapter().check(ENTRY, Options(), Path("data/mine")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_min": 0.9, "scale_max": 0.5}, "scale_min"),
        ({"n_images": 5}, "below the 18 photographs"),
        ({"photographs": ["coins.png"]}, "photographs"),
        ({"photographs": ["skimage/data/coins.png", "sklearn/coins.png"]}, "must differ"),
        ({"colour": True}, "colour"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(options)


def test_photographs_have_no_responses(table):
    with pytest.raises(DatasetError, match="holds images only"):
        photographs.Adapter().responses(ENTRY, Options(), "mine-s01", table, Path("data"), [])
    assert photographs.Adapter().required_features(ENTRY, Options()) == []
