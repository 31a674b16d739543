"""From decoded photographs to the square input of a network."""

from __future__ import annotations

import numpy as np
import torch

from gradbrain.config.schema import ModelEntry
from gradbrain.models.crop import square_crop


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
    cropped = square_crop(image, entry)
    return torch.from_numpy(cropped).permute(2, 0, 1).to(torch.float32).div_(255)
