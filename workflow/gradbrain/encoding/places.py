"""Where the targets of a subject are, and whether another subject's can be the same place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradbrain.vocabulary.roles import TIME, Axis

# Spaces in which a target of one subject is the same place as that of another.
SHARED_SPACES = ("fsaverage", "mni", "sensors")
POSITION = ["x", "y", "z"]


def is_shared(space: str) -> bool:
    """Whether the targets of all subjects live in one space, e.g. ``fsaverage5``.

    Sensors outside the head (``sensors``) are the same places in all subjects; contacts that were
    implanted into each are not.
    """
    return space.lower().startswith(SHARED_SPACES)


def place_coordinates(axis: Axis, space: str, coordinates: Mapping[str, NDArray[Any]]) -> list[str]:
    """Coordinates that tell targets apart by their place.

    Parameters
    ----------
    axis
        Whether units are regions or times.
    space
        Name of the space.
    coordinates
        Mapping of str to array of shape (n_targets,).

    Returns
    -------
    list of str
        Time and sensor; hemisphere and vertex; or the position in space: of voxels of a template
        where it is known, since subjects may number their voxels differently.
    """
    if axis == TIME:
        return ["time", "sensor"]
    if space.lower().startswith("mni") and all(
        name in coordinates and np.isfinite(coordinates[name]).all() for name in POSITION
    ):
        return POSITION
    return ["hemisphere", "vertex"] if "vertex" in coordinates else POSITION
