"""Feature spaces of one outer fold: standardised, brought to one scale, reduced by PCA.

Statistics come from the training images alone; test images only pass through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gradbrain.encoding.errors import EncodingError

FLOATS = NDArray[np.floating]

# Total variance of every band: that of 1,000 standardised features (ours). It makes penalties of
# 1e0 to 1e8 and band weights mean the same for a band of 64 features and one of 20,000.
BAND_TRACE = 1000.0

# A column whose training standard deviation is below this share of its largest absolute training
# value is constant up to the rounding of float32 storage.
CONSTANT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Standardised:
    """Arrays brought to training mean 0 and, where asked, training variance 1.

    Attributes
    ----------
    train
        Shape (n_train, n_columns).
    test
        Shape (n_test, n_columns).
    mean, scale
        Shape (n_columns,). What was subtracted and divided by.
    kept
        Shape (n_input_columns,), bool. Columns that are not constant in training.
    """

    train: FLOATS
    test: FLOATS
    mean: FLOATS
    scale: FLOATS
    kept: NDArray[np.bool_]


def standardise(train: FLOATS, test: FLOATS, dtype: DTypeLike = np.float64) -> Standardised:
    """Standardise columns with training statistics and drop those that are constant.

    Parameters
    ----------
    train
        Shape (n_train, n_columns).
    test
        Shape (n_test, n_columns).
    dtype
        Type of the result; statistics are taken in float64.

    Returns
    -------
    Standardised

    Raises
    ------
    EncodingError
        If every column is constant.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    centred = train - mean
    scale = np.sqrt(np.einsum("ij,ij->j", centred, centred) / len(centred))
    kept = _varies(train, scale)
    if not kept.any():
        raise EncodingError(
            f"all {kept.size} columns of a feature space are constant over the {len(train)} "
            "training images of a fold: check the extraction of this signal"
        )
    selected: slice | NDArray[np.bool_] = slice(None)
    if kept.all():
        centred /= scale
    else:
        selected = kept
        mean, scale = mean[kept], scale[kept]
        centred = centred[:, kept] / scale
    return Standardised(
        train=centred.astype(dtype, copy=False),
        test=((test[:, selected] - mean) / scale).astype(dtype, copy=False),
        mean=mean,
        scale=scale,
        kept=kept,
    )


def _varies(train: FLOATS, deviation: FLOATS | None = None) -> NDArray[np.bool_]:
    """Tell which columns vary over images by more than their rounding, (n_columns,)."""
    if deviation is None:
        deviation = train.std(axis=0, dtype=np.float64)
    largest = np.maximum(np.abs(train).max(axis=0), np.finfo(np.float32).tiny)
    return deviation > CONSTANT_TOLERANCE * largest


@dataclass(frozen=True)
class Band:
    """One feature space in one outer fold, centred in training and scaled to `BAND_TRACE`.

    Attributes
    ----------
    train
        Shape (n_train, n_features).
    test
        Shape (n_test, n_features).
    n_constant
        Features dropped because they are constant in training.
    """

    train: FLOATS
    test: FLOATS
    n_constant: int = 0

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.train.shape[1]

    @cached_property
    def train_kernel(self) -> FLOATS:
        """Linear kernel between training images, float64 of shape (n_train, n_train)."""
        train = self.train.astype(np.float64, copy=False)
        return train @ train.T

    @cached_property
    def test_kernel(self) -> FLOATS:
        """Linear kernel of test with training images, float64 of shape (n_test, n_train)."""
        return (
            self.test.astype(np.float64, copy=False) @ self.train.astype(np.float64, copy=False).T
        )

    @cached_property
    def gram(self) -> FLOATS:
        """Products between features, float64 of shape (n_features, n_features)."""
        train = self.train.astype(np.float64, copy=False)
        return train.T @ train


def make_band(
    train: FLOATS,
    test: FLOATS,
    *,
    n_components: int | None = None,
    dtype: DTypeLike = np.float64,
    allow_constant: bool = False,
) -> Band:
    """Standardise a feature space, reduce it where asked, and scale it to `BAND_TRACE`.

    Parameters
    ----------
    train
        Shape (n_train, n_features).
    test
        Shape (n_test, n_features).
    n_components
        Principal components of the training images to keep; all by default, without rotation.
    dtype
        Type in which features are held.
    allow_constant
        Whether a feature space that is the same for all images becomes a band of one silent
        feature, which predicts the training mean, instead of an error. Learning signals can be
        constant: behind its last nonlinearity a linear head sends the same gradient back for
        every image under a fixed cotangent.

    Returns
    -------
    Band

    Raises
    ------
    EncodingError
        If every column is constant and that is not allowed.
    """
    if allow_constant and not _varies(train).any():
        silent = np.zeros((len(train), 1), dtype=dtype), np.zeros((len(test), 1), dtype=dtype)
        return Band(train=silent[0], test=silent[1], n_constant=train.shape[1])
    features, held_out, n_constant = reduce(train, test, n_components=n_components, dtype=dtype)
    return scale_band(features, held_out, n_constant=n_constant)


def reduce(
    train: FLOATS, test: FLOATS, *, n_components: int | None, dtype: DTypeLike = np.float64
) -> tuple[FLOATS, FLOATS, int]:
    """Standardise a feature space and keep its leading principal components.

    Parameters
    ----------
    train
        Shape (n_train, n_features).
    test
        Shape (n_test, n_features).
    n_components
        None keeps all features as they are, and so does a number that no reduction leads to.
    dtype
        Type of the numbers.

    Returns
    -------
    train : array of shape (n_train, n_kept)
    test : array of shape (n_test, n_kept)
    n_constant : int
        Features dropped because they are constant in training.
    """
    scaled = standardise(train, test, dtype)
    n_constant = int(np.count_nonzero(~scaled.kept))
    if n_components is None or n_components >= min(len(train) - 1, scaled.train.shape[1]):
        return scaled.train, scaled.test, n_constant
    return (*principal_components(scaled.train, scaled.test, n_components), n_constant)


def scale_band(train: FLOATS, test: FLOATS, *, n_constant: int = 0) -> Band:
    """Scale centred features to the total variance of every band, `BAND_TRACE`.

    Parameters
    ----------
    train
        Shape (n_train, n_features).
    test
        Shape (n_test, n_features).
    n_constant
        Features that were dropped before.

    Returns
    -------
    Band
    """
    total_variance = float(np.einsum("ij,ij->", train, train, dtype=np.float64))
    factor = train.dtype.type(np.sqrt(BAND_TRACE * len(train) / total_variance))
    return Band(train=train * factor, test=test * factor, n_constant=n_constant)


def principal_components(train: FLOATS, test: FLOATS, n_components: int) -> tuple[FLOATS, FLOATS]:
    """Project on the leading principal components of the training images.

    The smaller of the two products XXᵀ and XᵀX is decomposed, for its leading part only.

    Parameters
    ----------
    train
        Shape (n_train, n_features). Centred.
    test
        Shape (n_test, n_features).
    n_components
        Number of components.

    Returns
    -------
    tuple of arrays of shapes (n_train, n_kept) and (n_test, n_kept)
        Component scores, not whitened; fewer than asked for where the images span fewer.
    """
    # scipy takes a while to import, and only reductions need it.
    from scipy.linalg import eigh

    wide = train.astype(np.float64, copy=False)
    by_image = wide.shape[0] < wide.shape[1]
    product = wide @ wide.T if by_image else wide.T @ wide
    size = len(product)
    eigenvalues, vectors = eigh(
        product, subset_by_index=(size - n_components, size - 1), overwrite_a=True
    )
    # Directions in which the images do not differ are rounding, and dividing by it is noise.
    real = eigenvalues > np.finfo(float).eps * size * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[real], vectors[:, real]
    axes = wide.T @ (vectors / np.sqrt(eigenvalues)) if by_image else vectors
    return (wide @ axes).astype(train.dtype), (test @ axes).astype(test.dtype)
