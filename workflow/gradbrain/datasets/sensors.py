"""MEG sensor layouts, as mne's package carries them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError


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
    centres = found.pos[:, :2] + found.pos[:, 2:] / 2
    middle = (centres.min(axis=0) + centres.max(axis=0)) / 2
    centres = centres - middle
    centres = centres / np.linalg.norm(centres, axis=1).max()
    frame = pd.DataFrame(
        {"sensor": list(found.names), "sensor_x": centres[:, 0], "sensor_y": centres[:, 1]}
    )
    if n_sensors is None or n_sensors == len(frame):
        return frame
    if n_sensors > len(frame):
        raise DatasetError(f"n_sensors: {n_sensors} asked, the layout {layout!r} has {len(frame)}")
    return frame.iloc[spread_evenly(centres, n_sensors)].reset_index(drop=True)


def spread_evenly(points: np.ndarray, count: int) -> np.ndarray:
    """Choose `count` of `points` by farthest-point sampling (Gonzalez 1985).

    Parameters
    ----------
    points : ndarray, shape (n_points, n_dimensions)

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
    positions : ndarray, shape (n_sensors, 2)
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
