"""Adapter ``photographs``: square crops of the photographs that installed packages carry.

No download and no licence of its own: scikit-image, scikit-learn and matplotlib ship test
photographs. Crops of one photograph share content, so the photograph is the group that folds
never split. Four photographs are set aside for calibration and appear in no stimulus set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image
from pydantic import Field, model_validator
from tqdm import tqdm

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import DatasetAdapter
from gradbrain.datasets.errors import DatasetError, ImageError
from gradbrain.datasets.images import content_sha256, crop, package_file, read_picture
from gradbrain.datasets.locators import WHITE, Background
from gradbrain.datasets.stimuli import Stimulus, stimuli_table

STIMULUS_PHOTOGRAPHS = (
    "skimage/data/astronaut.png",
    "skimage/data/brick.png",
    "skimage/data/cell.png",
    "skimage/data/chelsea.png",
    "skimage/data/clock_motion.png",
    "skimage/data/coffee.png",
    "skimage/data/coins.png",
    "skimage/data/grass.png",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/ihc.png",
    "skimage/data/microaneurysms.png",
    "skimage/data/moon.png",
    "skimage/data/page.png",
    "skimage/data/retina.jpg",
    "skimage/data/rocket.jpg",
    "skimage/data/text.png",
    "sklearn/datasets/images/china.jpg",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
)
# A person, a still life of objects, a flower and a texture: what is fitted on them (centres,
# reference banks) must not be fitted to one kind of image.
CALIBRATION_PHOTOGRAPHS = (
    "skimage/data/camera.png",
    "skimage/data/motorcycle_left.png",
    "sklearn/datasets/images/flower.jpg",
    "skimage/data/gravel.png",
)
# What each photograph shows, in words of this project; a crop may show a part of it.
CAPTIONS = {
    "skimage/data/astronaut.png": "a photo of an astronaut in an orange space suit",
    "skimage/data/brick.png": "a photo of a brick wall",
    "skimage/data/camera.png": "a photo of a man with a camera on a tripod",
    "skimage/data/cell.png": "a microscope image of a cell",
    "skimage/data/chelsea.png": "a photo of a tabby cat",
    "skimage/data/clock_motion.png": "a photo of a clock",
    "skimage/data/coffee.png": "a photo of a cup of coffee",
    "skimage/data/coins.png": "a photo of old coins",
    "skimage/data/grass.png": "a photo of grass",
    "skimage/data/gravel.png": "a photo of gravel",
    "skimage/data/hubble_deep_field.jpg": "a photo of galaxies in deep space",
    "skimage/data/ihc.png": "a microscope image of stained tissue",
    "skimage/data/microaneurysms.png": "a photo of blood vessels of a retina",
    "skimage/data/moon.png": "a photo of the surface of the moon",
    "skimage/data/motorcycle_left.png": "a photo of a motorcycle",
    "skimage/data/page.png": "a photo of a printed page",
    "skimage/data/retina.jpg": "a photo of a retina",
    "skimage/data/rocket.jpg": "a photo of a rocket on its launch pad",
    "skimage/data/text.png": "a photo of handwriting",
    "sklearn/datasets/images/china.jpg": "a photo of a Chinese temple",
    "sklearn/datasets/images/flower.jpg": "a photo of a flower",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": "a portrait of a woman in uniform",
}
MAX_ATTEMPTS = 200

PhotographName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*/.+\.[A-Za-z]+$")]


class Options(PluginOptions):
    """Options of a set of crops."""

    split: Literal["stimuli", "calibration"] = Field(
        "stimuli", description="Which of the two disjoint lists of photographs is cropped."
    )
    n_images: int = Field(320, ge=2, description="Crops, spread evenly over the photographs.")
    size: int = Field(128, ge=16, description="Edge of a stimulus in pixels.")
    scale_min: float = Field(0.35, gt=0, le=1, description="Smallest crop / short side.")
    scale_max: float = Field(0.85, gt=0, le=1, description="Largest crop / short side.")
    min_contrast: float = Field(
        6.0, ge=0, description="Crops whose grey values (0-255) vary less (sd) are rejected."
    )
    max_overlap: float = Field(
        0.7, gt=0, le=1, description="Crops of a photograph that overlap more (IoU) are rejected."
    )
    seed: int = Field(0, ge=0)
    photographs: tuple[PhotographName, ...] | None = Field(
        None, description="Other photographs: package/path-inside-it; none: the split's own."
    )
    captions: Literal["photograph"] | None = Field(
        None,
        description="`photograph`: crops are called what their photograph shows; none: no "
        "captions.",
    )
    background: Background = WHITE

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min ({self.scale_min}) is above scale_max ({self.scale_max})")
        names = [Path(name).stem for name in self.names()]
        if len(set(names)) != len(names):
            raise ValueError(f"photographs: file names must differ, found {sorted(names)}")
        if self.n_images < len(names):
            raise ValueError(f"n_images ({self.n_images}) is below the {len(names)} photographs")
        unknown = [name for name in self.names() if name not in CAPTIONS]
        if self.captions is not None and unknown:
            raise ValueError(
                f"captions: there is none for {', '.join(unknown)}; leave the option out, or give "
                "images with captions by the adapter arrays"
            )
        return self

    def names(self) -> tuple[str, ...]:
        """Photographs to crop, as package/path."""
        if self.photographs is not None:
            return self.photographs
        return STIMULUS_PHOTOGRAPHS if self.split == "stimuli" else CALIBRATION_PHOTOGRAPHS


# All options are of images.
ImageOptions = Options


def split_name(photograph: str) -> tuple[str, str]:
    """Split ``"skimage/data/coins.png"`` into package and path inside it."""
    package, _, file = photograph.partition("/")
    return package, file


def crop_boxes(
    photograph: Image.Image, count: int, options: Options, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Draw the squares to cut from one photograph.

    The first k boxes of a longer list are the boxes of a list of k.

    Parameters
    ----------
    photograph
        The decoded photograph.
    count
        Boxes to draw.
    options
        Scales, contrast and overlap.
    rng
        Source of randomness.

    Returns
    -------
    list of (left, top, right, bottom)
        In pixels.

    Raises
    ------
    DatasetError
        `MAX_ATTEMPTS` draws in a row found no crop with contrast enough and overlap little enough.
    """
    width, height = photograph.size
    grey = np.asarray(photograph.convert("L"), dtype=np.float32)
    boxes: list[tuple[int, int, int, int]] = []
    while len(boxes) < count:
        for _ in range(MAX_ATTEMPTS):
            scale = rng.uniform(options.scale_min, options.scale_max)
            edge = max(1, round(scale * min(width, height)))
            left = int(rng.integers(width - edge + 1))
            top = int(rng.integers(height - edge + 1))
            box = (left, top, left + edge, top + edge)
            if grey[top : top + edge, left : left + edge].std() < options.min_contrast:
                continue
            if all(_overlap(box, other) <= options.max_overlap for other in boxes):
                boxes.append(box)
                break
        else:
            raise DatasetError(
                f"{MAX_ATTEMPTS} draws found no crop number {len(boxes) + 1} of {count} with "
                f"contrast >= {options.min_contrast} and overlap <= {options.max_overlap}; lower "
                "n_images, scale_max or min_contrast, or raise max_overlap"
            )
    return boxes


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared)


def crops(options: Options, *, name: str) -> pd.DataFrame:
    """Make the table of crops for the stimulus set `name`.

    Each photograph has randomness of its own, so that adding one changes no crop of the others.
    """
    photographs = options.names()
    counts = [
        options.n_images // len(photographs) + (index < options.n_images % len(photographs))
        for index in range(len(photographs))
    ]
    rows = []
    pairs = list(zip(photographs, counts, strict=True))
    for photograph, count in tqdm(pairs, desc=f"crops of {name}", unit="photograph", disable=None):
        package, file = split_name(photograph)
        picture = read_picture(package_file(package, file), background=options.background)
        digest = hashlib.sha256(f"{options.seed}/{photograph}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8]))
        try:
            boxes = crop_boxes(picture.rgb, count, options, rng)
        except DatasetError as error:
            raise DatasetError(f"photograph {photograph}: {error}") from error
        stem = Path(file).stem
        for box in boxes:
            rows.append(
                Stimulus(
                    image_id=f"{stem}-x{box[0]:04d}y{box[1]:04d}w{box[2] - box[0]:04d}",
                    group=stem,
                    loader="package_crop",
                    locator={
                        "package": package,
                        "file": file,
                        "box": list(box),
                        "size": options.size,
                        **picture.locator_keys,
                    },
                    content_sha256=content_sha256(crop(picture.rgb, box, options.size)),
                    caption=CAPTIONS[photograph] if options.captions else None,
                )
            )
    return stimuli_table(rows, name=name)


def missing_photographs(options: Options) -> list[str]:
    """List the photographs that the installed packages do not carry, one message each."""
    problems = []
    for photograph in options.names():
        try:
            package_file(*split_name(photograph))
        except ImageError as error:
            problems.append(str(error))
    return problems


class Adapter(DatasetAdapter):
    """Crops of photographs that installed packages carry."""

    image_options = ImageOptions

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the table of crops."""
        return crops(options, name=name)

    def has_captions(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> bool:
        """Tell whether the crops come with captions."""
        return options.captions is not None

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space of responses; there are none."""
        return "none"

    def responses(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> xr.Dataset:
        """Refuse: photographs of packages come without brain responses."""
        raise DatasetError(
            f"data set {entry.name!r}: the adapter 'photographs' holds images only, there are no "
            f"responses of {subject!r}; use it as a stimulus or calibration set"
        )

    def check(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List the photographs that are missing."""
        return missing_photographs(options)
