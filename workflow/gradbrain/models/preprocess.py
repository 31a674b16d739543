"""From decoded photographs to the square input of a network."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from gradbrain.config.schema import ModelEntry
from gradbrain.models.errors import ModelError

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def to_input(image: np.ndarray, entry: ModelEntry) -> torch.Tensor:
    """Resize the shorter side, crop the centre and scale to [0, 1].

    The evaluation transform of timm (``timm.data.create_transform``) without its normalisation,
    which is applied on the device by :meth:`gradbrain.models.build.VisionModel.normalise`.

    Parameters
    ----------
    image
        Decoded photograph, (height, width, 3), uint8.
    entry
        Its ``input_size`` (px), ``crop_pct`` and ``interpolation`` are used.

    Returns
    -------
    torch.Tensor
        (3, input_size, input_size), float32 in [0, 1].

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
    cropped = np.asarray(picture.crop((left, top, left + size, top + size)))
    return torch.from_numpy(cropped.copy()).permute(2, 0, 1).to(torch.float32).div_(255)
