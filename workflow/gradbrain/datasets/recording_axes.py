"""What the targets, sensors and times of a recording are: from a table or its own coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.recordings import Recording, read_rows
from gradbrain.datasets.sensors import sensor_layout
from gradbrain.store.columns import TARGET_COORDINATES

HEMISPHERES = {
    **dict.fromkeys(("left", "lh", "l", "L"), "left"),
    **dict.fromkeys(("right", "rh", "r", "R"), "right"),
    "": "",
}


def read_targets(recording: Recording, path: Path | None, *, space: str) -> pd.DataFrame:
    """Say what the columns of an fMRI recording are.

    Parameters
    ----------
    recording
        The responses; its coordinates are used where there is no table.
    path
        Table of the targets.
    space
        Space that they live in; in those of FreeSurfer vertices must be named.

    Returns
    -------
    DataFrame
        ``roi``, ``hemisphere``, ``x``, ``y``, ``z`` (mm), ``vertex``, ``noise_ceiling``; NaN, or
        for the vertex the column's number, where it is not told.

    Raises
    ------
    DatasetError
        Targets are not as many as columns, or a value is none that its name allows.
    """
    n_targets = recording.shape[-1]
    where = recording.path
    if path is not None:
        where, table = path, read_rows(path, columns=("roi",))
    elif "roi" in recording.coordinates:
        names = (*TARGET_COORDINATES, "noise_ceiling")
        found = {name: recording.coordinates.get(name) for name in names}
        table = pd.DataFrame({name: value for name, value in found.items() if value is not None})
        table["roi"] = table["roi"].astype(str)
    else:
        raise DatasetError(
            f"{where}: has no coordinate `roi`; add it, or name a table in the option `targets`"
        )
    if len(table) != n_targets:
        raise DatasetError(
            f"{recording.path}: has {n_targets} targets, but {where} describes {len(table)}"
        )
    # Maps tell targets apart by hemisphere and vertex; voxels go by their column.
    in_order = -1 if space.startswith("fsaverage") else np.arange(n_targets)
    defaults = {"hemisphere": "", "vertex": in_order}
    targets = pd.DataFrame(
        {
            name: table[name] if name in table.columns else defaults.get(name, np.nan)
            for name in (*TARGET_COORDINATES, "noise_ceiling")
        }
    )
    unknown = sorted(set(targets["hemisphere"].astype(str)) - set(HEMISPHERES))
    if unknown:
        raise DatasetError(
            f"{where}: hemisphere {unknown[0]!r}; expected left or right, or nothing"
        )
    targets = targets.assign(hemisphere=targets["hemisphere"].map(HEMISPHERES))
    _check_numbers(targets, where)
    _check_vertices(targets, space, where)
    return targets.assign(vertex=targets["vertex"].astype(int))


def _check_numbers(targets: pd.DataFrame, where: Path) -> None:
    try:
        numbers = targets[["x", "y", "z", "vertex", "noise_ceiling"]].astype(float)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{where}: x, y, z, vertex, noise_ceiling: expected numbers ({error})"
        ) from error
    ceiling = numbers["noise_ceiling"].dropna()
    if len(ceiling) and not ceiling.between(0, 1).all():
        raise DatasetError(
            f"{where}: noise_ceiling reaches from {ceiling.min():g} to {ceiling.max():g}; expected "
            "the explainable share of variance, from 0 to 1 (divide per cents by 100)"
        )


def _check_vertices(targets: pd.DataFrame, space: str, where: Path) -> None:
    vertex = targets["vertex"].astype(float)
    if space.startswith("fsaverage") and (
        (vertex < 0).any() or (targets["hemisphere"] == "").any()
    ):
        raise DatasetError(
            f"{where}: targets in {space} need `hemisphere` and `vertex` (index within the "
            "hemisphere, from 0)"
        )
    if vertex.isna().any() or (vertex % 1 != 0).any() or (vertex < 0).any():
        raise DatasetError(f"{where}: vertex: expected whole numbers from 0, or no such column")
    twins = targets.duplicated(["hemisphere", "vertex"])
    if twins.any():
        row = int(np.argmax(twins))
        raise DatasetError(
            f"{where}: two targets have the vertex {int(vertex[row])} of the same hemisphere; "
            "number each once, or leave out the column"
        )


def read_sensors(recording: Recording, path: Path | None, layout: str | None) -> pd.DataFrame:
    """Say what the sensors of an MEG recording are.

    Parameters
    ----------
    recording
        The responses; its coordinates are used where there is neither table nor layout.
    path
        Table of the sensors.
    layout
        Name of a layout of mne.

    Returns
    -------
    DataFrame
        ``sensor``, ``sensor_x``, ``sensor_y``.

    Raises
    ------
    DatasetError
        Nothing says what they are, they are not as many as recorded, or one is named twice.
    """
    columns = ("sensor", "sensor_x", "sensor_y")
    where = str(recording.path)
    if path is not None:
        where, sensors = str(path), read_rows(path, columns=columns)
    elif layout is not None:
        where, sensors = f"layout {layout}", sensor_layout(layout)
    elif all(name in recording.coordinates for name in columns):
        sensors = pd.DataFrame({name: recording.coordinates[name] for name in columns})
    else:
        raise DatasetError(
            f"{where}: lacks the coordinates {', '.join(columns)}; add them, or give the option "
            "`sensors` or `layout`"
        )
    if len(sensors) != recording.shape[2]:
        raise DatasetError(
            f"{recording.path}: has {recording.shape[2]} sensors, but {where} names {len(sensors)}"
        )
    if sensors["sensor"].duplicated().any():
        raise DatasetError(f"{where}: names a sensor twice")
    return sensors


def read_times(recording: Recording) -> np.ndarray:
    """Read the sample times of an MEG recording from its coordinates.

    Returns
    -------
    ndarray of float64, shape (n_times,)
        Seconds from image onset.

    Raises
    ------
    DatasetError
        There is no such coordinate, or it does not rise.
    """
    time = recording.coordinates.get("time")
    if time is None or np.asarray(time).dtype.kind not in "fiu":
        raise DatasetError(
            f"{recording.path}: lacks the coordinate `time` (s from image onset); add it, or give "
            "the option `times`"
        )
    if np.any(np.diff(time) <= 0):
        raise DatasetError(f"{recording.path}: the coordinate `time` must rise")
    return np.asarray(time, dtype=np.float64)
