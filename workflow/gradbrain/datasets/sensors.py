"""Flat positions of sensors: layouts of MEG helmets and montages of EEG caps that mne carries."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError

#: Space of sensors that are the same for all subjects and have a place in a flat layout.
SENSOR_SPACE = "sensors"
#: Montages of mne by the names that they had until mne 1.13, which are those of the literature.
FORMER_MONTAGES = {
    "standard_1005": "colin27_1005",
    "standard_1020": "colin27_1020",
    "standard_alphabetic": "colin27_alphabetic",
    "standard_postfixed": "colin27_postfixed",
    "standard_prefixed": "colin27_prefixed",
    "standard_primed": "colin27_primed",
}
#: Montages that the option `montage` of a data set may name: known here without importing mne.
MONTAGES = (
    *FORMER_MONTAGES,
    "biosemi16",
    "biosemi32",
    "biosemi64",
    "biosemi128",
    "biosemi160",
    "biosemi256",
    "easycap-M1",
    "easycap-M10",
    "easycap-M43",
    "EGI_256",
    "GSN-HydroCel-32",
    "GSN-HydroCel-64_1.0",
    "GSN-HydroCel-65_1.0",
    "GSN-HydroCel-128",
    "GSN-HydroCel-129",
    "GSN-HydroCel-256",
    "GSN-HydroCel-257",
    "mgh60",
    "mgh70",
    "artinis-octamon",
    "artinis-brite23",
    "brainproducts-RNP-BA-128",
    "colin27_1005",
    "colin27_1020",
    "colin27_alphabetic",
    "colin27_postfixed",
    "colin27_prefixed",
    "colin27_primed",
    "fsaverage_1005",
    "fsaverage_1010",
    "fsaverage_1020",
    "spherical_1005",
    "spherical_1010",
    "spherical_1020",
)


def sensor_layout(layout: str, *, n_sensors: int | None = None) -> pd.DataFrame:
    """Read the flat positions of a sensor layout.

    Parameters
    ----------
    layout
        Name of a layout of mne, e.g. ``"Vectorview-mag"`` (102 magnetometers) or ``"CTF-275"``.
    n_sensors
        Keep as many, spread evenly: starting from the sensor nearest to the centre, the next is
        always the one farthest from all that were taken. None keeps all.

    Returns
    -------
    DataFrame
        ``sensor`` (name), ``sensor_x`` (left to right) and ``sensor_y`` (back to front), scaled
        so that the layout's centre is 0 and its farthest sensor lies at distance 1; in the
        layout's order.

    Raises
    ------
    DatasetError
        The layout is unknown, or has fewer sensors than asked.
    """
    from mne.channels import read_layout

    try:
        found = read_layout(layout)
    except (FileNotFoundError, OSError, ValueError) as error:
        raise DatasetError(
            f"layout {layout!r}: mne has no such layout ({error}); name one of mne's, "
            "e.g. Vectorview-mag or CTF-275"
        ) from error
    centres = _to_unit_disc(found.pos[:, :2] + found.pos[:, 2:] / 2)
    frame = pd.DataFrame(
        {"sensor": list(found.names), "sensor_x": centres[:, 0], "sensor_y": centres[:, 1]}
    )
    if n_sensors is None or n_sensors == len(frame):
        return frame
    if n_sensors > len(frame):
        raise DatasetError(f"n_sensors: {n_sensors} asked, the layout {layout!r} has {len(frame)}")
    return frame.iloc[spread_evenly(centres, n_sensors)].reset_index(drop=True)


def _to_unit_disc(places: np.ndarray) -> np.ndarray:
    """Shift the middle of flat places, shape (n, 2), to 0, and scale the farthest to distance 1."""
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    places = places - middle
    return places / np.linalg.norm(places, axis=1).max()


def montage_places(montage: str) -> pd.DataFrame:
    """Read the flat positions of the electrodes of a standard montage.

    The electrodes are projected by :func:`mne.channels.make_eeg_layout`: azimuthal and equidistant,
    from the middle of the head, so that the distance from the vertex along the scalp is kept. The
    places are those in the whole montage, whichever of its electrodes were recorded.

    Parameters
    ----------
    montage
        One of `MONTAGES`, e.g. ``"standard_1020"``.

    Returns
    -------
    DataFrame
        ``sensor`` (name), ``sensor_x`` (left to right) and ``sensor_y`` (back to front), scaled as
        by :func:`sensor_layout`; in the montage's order. Two names of one electrode (T7, T3) have
        the same place.
    """
    import mne

    known = mne.channels.get_builtin_montages()
    found = montage if montage in known else FORMER_MONTAGES[montage]
    cap = mne.channels.make_standard_montage(found)
    electrodes = cap.get_positions()["ch_pos"]
    # mne refuses to project two electrodes at one place.
    _, first, of_name = np.unique(
        np.round(list(electrodes.values()), 9), axis=0, return_index=True, return_inverse=True
    )
    names = np.array(list(electrodes))[first].tolist()
    info = mne.create_info(names, sfreq=1.0, ch_types="eeg").set_montage(cap, verbose="error")
    # Without width and height the boxes of the layout are points, which mne does not move apart.
    layout = mne.channels.make_eeg_layout(info, width=0, height=0)
    flat = _to_unit_disc(layout.pos[:, :2])[of_name.reshape(-1)]
    return pd.DataFrame(
        {"sensor": list(electrodes), "sensor_x": flat[:, 0], "sensor_y": flat[:, 1]}
    )


def place_by_name(
    names: Sequence[str], known: pd.DataFrame, *, where: str, what: str
) -> pd.DataFrame:
    """Find sensors among those whose flat places are known, by name.

    Capital and small letters are told apart only where the places tell them apart.

    Parameters
    ----------
    names
        Sensors as recorded.
    known
        ``sensor``, ``sensor_x``, ``sensor_y``.
    where
        File that names the sensors, for error messages.
    what
        What knows the places, e.g. ``montage 'standard_1020'``.

    Returns
    -------
    DataFrame
        A row per name, in their order; names are kept as recorded.

    Raises
    ------
    DatasetError
        A name has no place, could be either of two, or two names are of one sensor.
    """
    exact = {name: row for row, name in enumerate(known["sensor"])}
    folded: dict[str, list[int]] = {}
    for name, row in exact.items():
        folded.setdefault(name.casefold(), []).append(row)
    alike = {
        name: [exact[name]] if name in exact else folded.get(name.casefold(), []) for name in names
    }
    absent = [name for name, rows in alike.items() if not rows]
    if absent:
        near = get_close_matches(absent[0], exact, n=3, cutoff=0.5)
        hint = f"; near names are {', '.join(near)}" if near else ""
        raise DatasetError(
            f"{where}: {what} has no place for {len(absent)} of {len(names)} sensors, e.g. "
            f"{absent[0]!r}{hint}. Rename them, leave out channels that are none of its (such as "
            "those of eye movements), or give places in the table of the option `sensors`"
        )
    unsure = [name for name, rows in alike.items() if len(rows) > 1]
    if unsure:
        either = ", ".join(known["sensor"].iloc[alike[unsure[0]]])
        raise DatasetError(f"{where}: the sensor {unsure[0]!r} may be any of {either} of {what}")
    rows = [alike[name][0] for name in names]
    if len(set(rows)) < len(rows):
        twice = next(name for name in names if rows.count(alike[name][0]) > 1)
        raise DatasetError(
            f"{where}: names a sensor twice: {known['sensor'].iloc[alike[twice][0]]!r} of {what}"
        )
    places = known.iloc[rows].reset_index(drop=True)
    return places.assign(sensor=list(names))


def spread_evenly(points: np.ndarray, count: int) -> np.ndarray:
    """Choose `count` of `points` by farthest-point sampling (Gonzalez 1985).

    Parameters
    ----------
    points
        Shape (n_points, n_dimensions).

    Returns
    -------
    ndarray of int, shape (count,)
        Sorted indices.
    """
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.sort(chosen)


def smooth_patterns(
    positions: np.ndarray, n_patterns: int, *, length: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw spatial patterns that vary smoothly over the layout.

    Samples of a Gaussian process with a squared-exponential kernel, scaled so that the patterns'
    summed power is 1 on average over sensors.

    Parameters
    ----------
    positions
        Shape (n_sensors, 2).
    n_patterns
        How many patterns.
    length
        Length scale of the kernel, in the unit of `positions`.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of float64, shape (n_patterns, n_sensors)
    """
    squared = ((positions[:, None] - positions[None]) ** 2).sum(axis=2)
    values, vectors = np.linalg.eigh(np.exp(-squared / (2 * length**2)))
    white = rng.standard_normal((n_patterns, len(positions)))
    patterns = (white * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return patterns / np.sqrt((patterns**2).sum(axis=0).mean())
