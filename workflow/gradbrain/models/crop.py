"""The square part of a photograph that a model sees, at its input size."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from gradbrain.config.schema import ModelEntry
from gradbrain.models.errors import ModelError

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def square_crop(image: np.ndarray, entry: ModelEntry) -> np.ndarray:
    """Resize the shorter side and crop the centre, as timm's evaluation transform does.

    Parameters
    ----------
    image
        Decoded photograph, (height, width, 3), uint8.
    entry
        Its ``input_size`` (px), ``crop_pct`` and ``interpolation`` are used.

    Returns
    -------
    ndarray
        (input_size, input_size, 3), uint8.

    Raises
    ------
    ModelError
        The image is not (height, width, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ModelError(
            f"model {entry.name!r}: an image has shape {image.shape} and type {image.dtype}, "
            "expected (height, width, 3) and uint8"
        )
    size = entry.input_size
    picture = Image.fromarray(image)
    shorter, smallest = math.floor(size / entry.crop_pct), min(picture.size)
    width, height = picture.size
    target = (shorter * width // smallest, shorter * height // smallest)
    if target != picture.size:
        picture = picture.resize(target, RESAMPLING[entry.interpolation])
    left, top = (round((edge - size) / 2) for edge in picture.size)
    return np.array(picture.crop((left, top, left + size, top + size)))
