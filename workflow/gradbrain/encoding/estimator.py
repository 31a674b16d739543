"""The banded ridge of the fits with the face of a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from gradbrain.encoding.backend import BackendName, DeviceName, make_backend
from gradbrain.encoding.band_weights import simplex_candidates
from gradbrain.encoding.bands import Band
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.regression import BandFit, ClosedFormRegression
from gradbrain.encoding.solver import Search, Selection, check_penalties, penalty_grid
from gradbrain.encoding.splits import grouped_folds
from gradbrain.encoding.variation import varies

FLOATS = NDArray[np.floating]
# One band, or several: what has two dimensions each.
Bands = ArrayLike | Sequence[ArrayLike]


class BandedRidge(RegressorMixin, BaseEstimator):
    """Ridge regression whose bands of features have weights of their own, chosen per target.

    It is :class:`gradbrain.encoding.regression.ClosedFormRegression`, which every fit of a study
    uses. Features and responses are centred with their training means; nothing is scaled. Fitted
    attributes end in an underscore, as in scikit-learn.

    Parameters
    ----------
    penalties
        Shape (n_penalties,). Ten values from 1e0 to 1e8 by default.
    n_band_weights
        Points on the line between two bands, or draws from the simplex of more.
    selection
        Generalised cross-validation, exact leave-one-out, or grouped inner folds.
    n_inner_folds
        For ``kfold``.
    shared
        Whether all targets share one penalty and one row of band weights.
    target_batch
        Targets rotated at once; bounds memory.
    seed
        Of inner folds and of the search over more than two bands.
    dtype
        Of rotations and predictions; decompositions are in float64.
    backend
        Where the fit runs; predictions of new images are numpy's.
    device
        Of torch.

    Attributes
    ----------
    penalty_
        Shape (n_targets,).
    band_weights_
        Shape (n_targets, n_bands).
    degrees_of_freedom_
        Shape (n_targets,). Effective, without the mean.
    widths_
        Features of every band.
    n_features_in_
        Features of all bands.
    """

    def __init__(
        self,
        penalties: ArrayLike | None = None,
        *,
        n_band_weights: int = 11,
        selection: Selection = "gcv",
        n_inner_folds: int = 5,
        shared: bool = False,
        target_batch: int = 20000,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        backend: BackendName = "numpy",
        device: DeviceName = "auto",
    ):
        self.penalties = penalties
        self.n_band_weights = n_band_weights
        self.selection = selection
        self.n_inner_folds = n_inner_folds
        self.shared = shared
        self.target_batch = target_batch
        self.seed = seed
        self.dtype = dtype
        self.backend = backend
        self.device = device

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Bands, y: ArrayLike, groups: ArrayLike | None = None) -> BandedRidge:
        """Choose penalty and band weights of every target and solve.

        Parameters
        ----------
        X
            Array of shape (n_images, n_features), or sequence of such arrays. One band, or several.
        y
            Array of shape (n_images, n_targets) or (n_images,). Responses.
        groups
            Shape (n_images,). Inner folds of ``kfold`` do not split them; each image is its own by
            default.

        Returns
        -------
        BandedRidge
            Itself.

        Raises
        ------
        EncodingError
            If there is no band, or a setting is none.
        ValueError
            If shapes do not fit, or values are not finite.
        """
        features, widths = _side_by_side(X)
        values, targets = validate_data(
            self, features, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True
        )
        self.widths_ = widths or [values.shape[1]]
        self._one_target = targets.ndim == 1
        targets = targets.reshape(len(values), -1)
        self._feature_means = values.mean(axis=0, dtype=np.float64)
        self._response_mean = targets.mean(axis=0, dtype=np.float64)
        self._response_variance = targets.var(axis=0, dtype=np.float64)
        by_target = np.ascontiguousarray((targets - self._response_mean).T, dtype=self.dtype)
        self._train = self._centred(values)
        bands = {place: Band(band, band[:0]) for place, band in enumerate(self._train)}
        engine = ClosedFormRegression(
            bands,
            by_target,
            self._search(len(values), len(by_target), groups),
            self.n_band_weights,
            make_backend(self.backend, self.device),
            keep_coefficients=True,
        )
        self._fit = self._search_weights(engine)
        self.penalty_ = 10.0**self._fit.log10_penalty
        self.band_weights_ = self._fit.band_weights.T
        self.degrees_of_freedom_ = self._fit.degrees_of_freedom
        return self

    def _search(self, n_images: int, n_targets: int, groups: ArrayLike | None) -> Search:
        inner_folds = None
        if self.selection == "kfold":
            names = np.arange(n_images) if groups is None else groups
            inner_folds = grouped_folds(
                names, self.n_inner_folds, self.seed, setting="encoding.n_inner_folds"
            )
        penalties = self.penalties
        return Search(
            penalties=penalty_grid(0, 8, 10) if penalties is None else check_penalties(penalties),
            selection=self.selection,
            inner_folds=inner_folds,
            target_groups=np.zeros(n_targets, dtype=np.intp) if self.shared else None,
            target_batch=self.target_batch,
        )

    def _search_weights(self, engine: ClosedFormRegression) -> BandFit:
        bands = range(len(self.widths_))
        if len(bands) == 1:
            return engine.single(0)
        if len(bands) == 2:
            return engine.pair(0, 1)
        candidates = simplex_candidates(len(bands), self.n_band_weights, self.seed)
        return engine.mixture(bands, candidates)

    def _centred(self, values: FLOATS) -> list[FLOATS]:
        """Bands of features, less the training means."""
        centred = (values - self._feature_means).astype(self.dtype)
        return np.split(centred, np.cumsum(self.widths_)[:-1], axis=1)

    def predict(self, X: Bands, split: bool = False) -> FLOATS:
        """Predict responses.

        Parameters
        ----------
        X
            Array of shape (n_images, n_features), or sequence of such arrays. The bands; as one
            array, side by side.
        split
            Whether to return the part of each band; the parts and the training mean sum to the
            prediction.

        Returns
        -------
        array of shape (n_images, n_targets), or (n_bands, n_images, n_targets) if split
            Without the axis of targets where `y` had none.

        Raises
        ------
        EncodingError
            If bands or features are not as many as in training.
        """
        check_is_fitted(self)
        features, widths = _side_by_side(X)
        if widths not in (None, self.widths_):
            raise EncodingError(
                f"bands have {widths} features, expected {self.widths_} as in training"
            )
        values = validate_data(self, features, dtype=[np.float64, np.float32], reset=False)
        bands = [
            Band(train, test)
            for train, test in zip(self._train, self._centred(values), strict=True)
        ]
        shape = (len(bands), len(self.penalty_), len(values))
        parts = np.zeros(shape, dtype=self.dtype)
        for piece in self._fit.pieces:
            for place, part in zip(piece.places, piece.predict(bands), strict=True):
                parts[place, piece.targets] = part
        parts = parts.transpose(0, 2, 1)
        if not split:
            parts = parts.sum(axis=0) + self._response_mean.astype(self.dtype)
        return parts[..., 0] if self._one_target else parts

    def score(self, X: Bands, y: ArrayLike, split: bool = False) -> FLOATS:
        """Out-of-sample R² of every target, relative to predicting the training mean.

        Parameters
        ----------
        X, y
            As for `fit`.
        split
            Whether to split R² by band with the product measure (Pratt 1987): the shares sum to
            R².

        Returns
        -------
        array of shape (n_targets,), or (n_bands, n_targets) if split
            NaN for a target that does not vary, here or in training.
        """
        parts = self.predict(X, split=True).reshape(len(self.widths_), -1, len(self.penalty_))
        truth = np.asarray(y).reshape(parts.shape[1:]) - self._response_mean
        total = np.square(truth).sum(axis=0)
        usable = varies(total / len(truth), self._response_variance)
        usable &= varies(self._response_variance, total / len(truth))
        total = np.where(usable, total, np.nan)
        shares = (parts * (2.0 * truth - parts.sum(axis=0))).sum(axis=1) / total
        return shares if split else shares.sum(axis=0)


def _side_by_side(features: Any) -> tuple[Any, list[int] | None]:
    """Bands as one array, and the features of each; an array that is one as it is, and None."""
    several = isinstance(features, (list, tuple))
    if not several or any(getattr(band, "ndim", 0) != 2 for band in features):
        return features, None
    if not features:
        raise EncodingError("expected at least one band of features, found none")
    check_consistent_length(*features)
    return np.concatenate(features, axis=1), [band.shape[1] for band in features]
