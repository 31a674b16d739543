"""Images of a stimulus table, each checked to be the one that the table was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.datasets.images import content_sha256, load_image
from gradbrain.signals import SignalError


def checked_image(record: Mapping[str, Any] | pd.Series, where: str) -> np.ndarray:
    """Decode one image as a person sees it.

    Parameters
    ----------
    record
        Row of the stimulus table.
    where
        File of the table, for errors.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    ImageError
        The file is missing or unreadable.
    SignalError
        Its content is not that which the table says.
    """
    image = load_image(record["loader"], record["locator"])
    if content_sha256(image) != record["content_sha256"]:
        raise SignalError(
            f"{where}: image {record['image_id']!r} ({record['locator']}) is not the one "
            "that the table was made from; make the stimulus table again"
        )
    return image
