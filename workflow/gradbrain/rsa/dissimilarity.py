"""Representational dissimilarity matrices (RDMs) and the ranks of their upper triangles."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Share of the largest distance that patterns could have up to which all distances are one: what is
# left of them is rounding, and ranks of rounding are ranks of nothing.
SAME_DISTANCE = 1e-9


def correlation_distance(patterns: np.ndarray) -> tuple[np.ndarray, int]:
    """One minus Pearson correlation between the patterns of every two images.

    Parameters
    ----------
    patterns
        Shape (image, feature), at least two features.

    Returns
    -------
    distances : numpy.ndarray
        Shape (image, image), float64, zero diagonal, between 0 and 2.
    n_constant : int
        Images whose pattern is constant. Their correlation does not exist; they are placed at
        distance 1 (correlation 0) from all others.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4.
    """
    centred = patterns - patterns.mean(axis=1, keepdims=True, dtype=np.float64)
    norms = np.linalg.norm(centred, axis=1)
    # Rounding leaves a trace of the mean in a constant row.
    constant = norms <= 1e-6 * np.maximum(np.linalg.norm(patterns, axis=1), np.finfo(float).tiny)
    unit = np.where(constant[:, None], 0.0, centred / np.where(constant, 1.0, norms)[:, None])
    distances = np.clip(1.0 - unit @ unit.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    return distances, int(constant.sum())


def embedded_distance(coordinates: np.ndarray) -> np.ndarray:
    """Half the squared Euclidean distance between images embedded from an RDM.

    Virtual voxels V come from a correlation-distance RDM D by double centring, V Vᵀ = C (1 − D) C.
    Centring keeps distances, so ‖v_i − v_j‖² / 2 = D_ij: the RDM that the data set published comes
    back exactly, whatever rotation the virtual voxels stand in. (Pearson correlation across
    virtual voxels would depend on the rotation.)

    Parameters
    ----------
    coordinates
        Shape (image, virtual voxel).

    Returns
    -------
    numpy.ndarray
        Shape (image, image), float64, zero diagonal.
    """
    values = coordinates.astype(np.float64)
    gram = values @ values.T
    power = np.diag(gram)
    distances = np.maximum((power[:, None] + power[None, :]) / 2 - gram, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances


def standardised_ranks(distances: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Ranks of the upper triangle, centred and scaled to unit length.

    The inner product of two such vectors is Spearman's correlation (ties share their mean rank).

    Parameters
    ----------
    distances
        Shape (image, image).
    scale
        Size of distances that are not small: 1 for correlation distances.

    Returns
    -------
    numpy.ndarray
        Shape (pair,), float32, pairs in the order of ``numpy.triu_indices(n, 1)``; NaN throughout
        where all pairs are equally distant, so that no rank exists.
    """
    pairs = distances[np.triu_indices(len(distances), 1)]
    if np.ptp(pairs) <= SAME_DISTANCE * scale:
        return np.full(pairs.shape, np.nan, dtype=np.float32)
    # Mean ranks of ties, as scipy's rankdata, whose import takes longer than the ranking.
    ranks = pd.Series(pairs).rank().to_numpy()
    ranks = ranks - ranks.mean()
    return (ranks / np.linalg.norm(ranks)).astype(np.float32)
