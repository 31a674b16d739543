"""Pearson correlation with a hierarchy, over the last axis and with gaps."""

from __future__ import annotations

import numpy as np

MIN_POINTS = 3


def correlation_with(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation over the points where both are known, vector by vector.

    Parameters
    ----------
    x
        Shape (point,) or that of `y`: the order that is looked for, e.g. distance in mm or relative
        depth.
    y
        Shape (..., point); NaN where unknown.

    Returns
    -------
    numpy.ndarray
        Shape (...). NaN with fewer than three points, or where `x` does not vary over them.
        0 where `y` does not vary: a best layer that is the same in every region, or a peak time
        that is the same for every layer, follows no order. Leaving such subjects out instead
        would keep only those who show one (*ours*).
    """
    known = np.isfinite(x) & np.isfinite(y)
    count = known.sum(axis=-1, keepdims=True)
    size = np.maximum(count, 1)
    x_centred = np.where(known, x, 0.0)
    x_centred = np.where(known, x_centred - x_centred.sum(-1, keepdims=True) / size, 0.0)
    y_known = np.where(known, y, 0.0)
    y_centred = np.where(known, y_known - y_known.sum(-1, keepdims=True) / size, 0.0)
    x_norm, y_norm = (np.linalg.norm(values, axis=-1) for values in (x_centred, y_centred))
    # Rounding in the mean leaves a constant with a trace of variance.
    x_flat = x_norm <= 1e-10 * (1 + np.linalg.norm(np.where(known, x, 0.0), axis=-1))
    y_flat = y_norm <= 1e-10 * (1 + np.linalg.norm(y_known, axis=-1))
    product = (x_centred * y_centred).sum(axis=-1)
    r = np.where(y_flat, 0.0, product / np.where(x_flat | y_flat, 1.0, x_norm * y_norm))
    return np.where((count[..., 0] < MIN_POINTS) | x_flat, np.nan, np.clip(r, -1.0, 1.0))
