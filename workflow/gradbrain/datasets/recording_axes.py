"""What the targets, sensors and times of a recording are: from a table or its own coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gradbrain.config import GradbrainError
from gradbrain.config.suggestions import choose
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.recordings import Recording, read_rows
from gradbrain.datasets.sensors import (
    MONTAGES,
    SENSOR_SPACE,
    montage_places,
    place_by_name,
    sensor_layout,
)
from gradbrain.vocabulary.artefacts import TARGET_COORDINATES

#: Region of all targets, where none is named.
WHOLE = "all"
#: Columns and coordinates of a sensor's place in a flat layout.
PLACE = ("sensor_x", "sensor_y")
HEMISPHERES = {
    **dict.fromkeys(("left", "lh", "l", "L"), "left"),
    **dict.fromkeys(("right", "rh", "r", "R"), "right"),
    "": "",
}


def read_targets(recording: Recording, path: Path | None, *, space: str) -> pd.DataFrame:
    """Say what the columns of a recording of regions are.

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
    table = pd.DataFrame(index=range(n_targets))
    if path is not None:
        where, table = path, read_rows(path, columns=("roi",))
    if len(table) != n_targets:
        raise DatasetError(
            f"{recording.path}: has {n_targets} targets, but {where} describes {len(table)}"
        )
    for name in (*TARGET_COORDINATES, "noise_ceiling"):
        if name not in table.columns and name in recording.coordinates:
            table[name] = recording.coordinates[name]
    # A study without regions is one: all targets are one.
    table["roi"] = table["roi"].astype(str) if "roi" in table.columns else WHOLE
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


def read_sensors(
    recording: Recording,
    path: Path | None,
    *,
    layout: str | None = None,
    montage: str | None = None,
    space: str = SENSOR_SPACE,
) -> pd.DataFrame:
    """Say what the sensors of a recording are, and where they lie in a flat layout.

    Parameters
    ----------
    recording
        The responses; its coordinates are used where there is no table.
    path
        Table of the sensors.
    layout
        Name of a layout of mne. Sensors that the recording names are found in it by name, others
        are taken for all of the layout, in its order.
    montage
        Name of a standard montage of mne, in which named channels are found.
    space
        Space that they live in. Only in ``"sensors"`` must each have a place: contacts within the
        head, for example, have none.

    Returns
    -------
    DataFrame
        ``sensor`` and, where any has a place, ``sensor_x``, ``sensor_y``.

    Raises
    ------
    DatasetError
        Nothing says what they are or where, they are not as many as recorded, or one is named
        twice.
    """
    where, named = _named_sensors(recording, path)
    if montage is not None:
        if named is None:
            raise DatasetError(
                f"{where}: does not name its channels, which the montage {montage!r} needs; name a "
                "table with the column `sensor` in the option `sensors`, or add the coordinate "
                "`sensor` to .zarr and .nc files"
            )
        _check_names(recording, named, where)
        return _in_montage(list(named["sensor"]), montage, where)
    if layout is not None:
        known = sensor_layout(layout)
        if named is None:
            where, named = f"layout {layout}", known
        else:
            _check_names(recording, named, where)
            named = place_by_name(
                list(named["sensor"]), known, where=where, what=f"layout {layout!r}"
            )
    if named is None:
        raise DatasetError(
            f"{where}: does not name its sensors; add the coordinate `sensor`, or give the option "
            "`sensors` (a table) or `layout`"
        )
    _check_names(recording, named, where)
    _check_places(named, space, where)
    return named


def _named_sensors(recording: Recording, path: Path | None) -> tuple[str, pd.DataFrame | None]:
    """Names of the sensors, with places where they are told, and the file that tells them."""
    if path is not None:
        where, table = str(path), read_rows(path, columns=("sensor",))
    elif "sensor" in recording.coordinates:
        where = str(recording.path)
        found = {name: recording.coordinates.get(name) for name in ("sensor", *PLACE)}
        table = pd.DataFrame({name: value for name, value in found.items() if value is not None})
        table["sensor"] = table["sensor"].astype(str)
    else:
        return str(recording.path), None
    told = [name for name in PLACE if name in table.columns]
    if len(told) == 1:
        raise DatasetError(f"{where}: gives {told[0]} alone; give both of {', '.join(PLACE)}")
    try:
        return where, table[["sensor", *told]].astype(dict.fromkeys(told, float))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: {', '.join(PLACE)}: expected numbers ({error})") from error


def _in_montage(names: list[str], montage: str, where: str) -> pd.DataFrame:
    what = f"montage {montage!r}"
    try:
        choose(montage, MONTAGES, what="montage", where="option montage")
    except GradbrainError as error:
        raise DatasetError(str(error)) from None
    places = place_by_name(names, montage_places(montage), where=where, what=what)
    twins = places.duplicated(list(PLACE), keep=False)
    if twins.any():
        raise DatasetError(
            f"{where}: {' and '.join(places['sensor'][twins][:2])} are one electrode of {what}; "
            "leave one of them out"
        )
    return places


def _check_names(recording: Recording, sensors: pd.DataFrame, where: str) -> None:
    if len(sensors) != recording.shape[2]:
        turned = len(sensors) == recording.shape[1]
        raise DatasetError(
            f"{recording.path}: has {recording.shape[2]} sensors, but {where} names {len(sensors)}"
            + ("; its axes are presentations × sensors × times: " if turned else "")
            + ("set `axes: sensor_time`, or exchange them" if turned else "")
        )
    if (sensors["sensor"] == "").any():
        raise DatasetError(f"{where}: has a sensor without a name")
    if sensors["sensor"].duplicated().any():
        raise DatasetError(f"{where}: names a sensor twice")


def _check_places(sensors: pd.DataFrame, space: str, where: str) -> None:
    """Refuse sensors without a place where figures draw them all in one flat layout."""
    if space != SENSOR_SPACE:
        return
    lacking = list(sensors["sensor"])
    if set(PLACE) <= set(sensors.columns):
        lacking = list(sensors["sensor"][sensors[list(PLACE)].isna().any(axis=1)])
    if lacking:
        raise DatasetError(
            f"{where}: {len(lacking)} of {len(sensors)} sensors have no place, e.g. "
            f"{lacking[0]!r}; add {' and '.join(PLACE)}, or give the option `montage` (EEG) or "
            "`layout` (MEG). Where each subject has sensors of its own, such as contacts within "
            "the head, name their space: `space: contacts`"
        )


def read_times(recording: Recording) -> np.ndarray:
    """Read the sample times of a recording from its coordinates.

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
