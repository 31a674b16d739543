"""Virtual voxels: response patterns recovered from a representational dissimilarity matrix.

A matrix of 1 − r between patterns gives their kernel, K = 1 − D. The centred kernel's
eigenvectors times the square roots of its eigenvalues are points with that kernel (classical
scaling, Torgerson 1952): the patterns, each scaled to unit length and centred over images, up to a
rotation. Only what does not change under rotation may be concluded from them.
"""

from __future__ import annotations

import numpy as np

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.noise_ceiling import centre_kernel

# What a correlation matrix in double precision may deviate by; single precision too.
TOLERANCE = 1e-6


def check_dissimilarities(rdm: np.ndarray, *, where: str, n_images: int | None = None) -> None:
    """Refuse a matrix that cannot be 1 − r between patterns.

    Parameters
    ----------
    rdm
        Shape (n_images, n_images).
    where
        File, key and subject, for the message.
    n_images
        Expected number of rows.

    Raises
    ------
    DatasetError
        The matrix is not square, of another size, holds NaN, is not symmetric, has a diagonal
        other than 0, values outside [0, 2], or one value everywhere.
    """
    if rdm.ndim != 2 or rdm.shape[0] != rdm.shape[1]:
        raise DatasetError(
            f"{where}: has shape {rdm.shape}, expected a square matrix of images by images"
        )
    if n_images is not None and len(rdm) != n_images:
        raise DatasetError(
            f"{where}: is {len(rdm)} x {len(rdm)}, but there are {n_images} images; "
            "rows must be the images in natural order of their file names"
        )
    bad = int(np.size(rdm) - np.isfinite(rdm).sum())
    if bad:
        raise DatasetError(f"{where}: {bad} of {rdm.size} dissimilarities are not finite")
    diagonal = float(np.abs(np.diagonal(rdm)).max())
    if diagonal > TOLERANCE:
        raise DatasetError(
            f"{where}: the diagonal reaches {diagonal:.3g}, expected 0; "
            "similarities must be turned into dissimilarities, 1 - r"
        )
    asymmetry = float(np.abs(rdm - rdm.T).max())
    if asymmetry > TOLERANCE:
        raise DatasetError(
            f"{where}: is not symmetric, D and its transpose differ by up to {asymmetry:.3g}"
        )
    if rdm.min() < -TOLERANCE or rdm.max() > 2 + TOLERANCE:
        raise DatasetError(
            f"{where}: values range from {rdm.min():.3g} to {rdm.max():.3g}, expected [0, 2] "
            "as for 1 - r"
        )
    off_diagonal = rdm[np.triu_indices(len(rdm), 1)]
    if np.ptp(off_diagonal) <= TOLERANCE:
        raise DatasetError(
            f"{where}: all dissimilarities are {off_diagonal[0]:.3g}; constant responses hold "
            "nothing to predict"
        )


def correlation_kernel(rdm: np.ndarray) -> np.ndarray:
    """Centred kernel of the patterns behind a matrix of 1 − r.

    Parameters
    ----------
    rdm
        Shape (n_images, n_images).

    Returns
    -------
    ndarray of float64, shape (n_images, n_images)
    """
    kernel = 1.0 - (np.asarray(rdm, dtype=np.float64) + np.asarray(rdm, dtype=np.float64).T) / 2
    return centre_kernel(kernel)


def embed(kernel: np.ndarray, *, where: str, clip_negative: bool = False) -> tuple[np.ndarray, int]:
    """Find points with a given centred kernel.

    Parameters
    ----------
    kernel
        Shape (n_images, n_images). Centred.
    where
        File, key and subject, for the message.
    clip_negative
        Leave out dimensions with negative eigenvalues instead of refusing them.

    Returns
    -------
    points : ndarray of float64, shape (n_images, n_dimensions)
        Dimensions by falling eigenvalue, the largest entry of each positive.
    n_clipped
        Dimensions left out because their eigenvalue is negative beyond rounding.

    Raises
    ------
    DatasetError
        Eigenvalues are negative and may not be clipped: no points have these distances.
    """
    values, vectors = np.linalg.eigh(kernel)
    rounding = TOLERANCE * values[-1]
    n_clipped = int((values < -rounding).sum())
    if n_clipped and not clip_negative:
        share = -values[values < 0].sum() / np.abs(values).sum()
        raise DatasetError(
            f"{where}: {n_clipped} eigenvalues of its kernel are negative, down to "
            f"{values[0]:.3g} ({share:.1%} of the absolute sum): no response patterns have these "
            "correlations. Cross-validated distances, ranks and distances other than 1 - r do this "
            "(an average of matrices of 1 - r does not); set the option `clip_negative: true` to "
            "leave these dimensions out"
        )
    kept = np.flatnonzero(values > rounding)[::-1]
    points = vectors[:, kept] * np.sqrt(values[kept])
    largest = np.abs(points).argmax(axis=0)
    return points * np.sign(points[largest, np.arange(len(kept))]), n_clipped
