"""Banded ridge regression with the face of a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from gradbrain.encoding.backend import BackendName, DeviceName, make_backend
from gradbrain.encoding.band_weights import simplex_candidates
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.solver import (
    Choice,
    DualProblem,
    PrimalProblem,
    Search,
    Selection,
    check_penalties,
    feature_products,
    penalty_grid,
    search_and_solve,
)
from gradbrain.encoding.splits import grouped_folds
from gradbrain.encoding.variation import varies

FLOATS = NDArray[np.floating]


class BandedRidge:
    """Ridge regression whose bands of features have weights of their own, chosen per target.

    Features and responses are centred with their training means; nothing is scaled. Fitted
    attributes end in an underscore, as in scikit-learn.

    Parameters
    ----------
    penalties : array of shape (n_penalties,), optional
        Ten values from 1e0 to 1e8 by default.
    n_band_weights : int
        Points on the line between two bands, or draws from the simplex of more.
    selection : {"gcv", "loo", "kfold"}
        Generalised cross-validation, exact leave-one-out, or grouped inner folds.
    n_inner_folds : int
        For ``kfold``.
    shared : bool
        Whether all targets share one penalty and one row of band weights.
    target_batch : int
        Targets rotated at once; bounds memory.
    seed : int
        Of inner folds and of the search over more than two bands.
    dtype : dtype
        Of rotations and predictions; decompositions are in float64.
    backend : {"numpy", "torch"}
        Where the fit runs; predictions of new images are numpy's.
    device : {"auto", "cpu", "cuda"}
        Of torch.

    Attributes
    ----------
    penalty_ : array of shape (n_targets,)
    band_weights_ : array of shape (n_targets, n_bands)
    degrees_of_freedom_ : array of shape (n_targets,)
        Effective, without the mean.
    selection_error_ : array of shape (n_targets,) or (1,)
        Estimated mean squared error of the choice; summed over targets that choose together.
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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        names = self.__init__.__kwdefaults__ or {}  # type: ignore[misc]
        return {name: getattr(self, name) for name in ("penalties", *names)}

    def set_params(self, **parameters: Any) -> BandedRidge:
        """Set parameters by name.

        Raises
        ------
        EncodingError
            If there is no parameter of a name.
        """
        known = self.get_params()
        for name, value in parameters.items():
            if name not in known:
                raise EncodingError(f"BandedRidge has no parameter {name!r}, only {list(known)}")
            setattr(self, name, value)
        return self

    def fit(
        self, bands: Sequence[ArrayLike], responses: ArrayLike, groups: ArrayLike | None = None
    ) -> BandedRidge:
        """Choose penalty and band weights of every target and solve.

        Parameters
        ----------
        bands : sequence of arrays of shape (n_images, n_features_b)
        responses : array of shape (n_images, n_targets)
        groups : array of shape (n_images,), optional
            Inner folds of ``kfold`` do not split them; each image is its own by default.

        Returns
        -------
        BandedRidge
            Itself.

        Raises
        ------
        EncodingError
            If shapes do not fit, or values are not finite.
        """
        features, targets = check_training(bands, responses, np.dtype(self.dtype))
        n_images = len(features[0])
        self._feature_means = [band.mean(axis=0, dtype=np.float64) for band in features]
        centred = [
            (band - mean).astype(self.dtype)
            for band, mean in zip(features, self._feature_means, strict=True)
        ]
        self._response_mean = targets.mean(axis=0, dtype=np.float64)
        self._response_variance = targets.var(axis=0, dtype=np.float64)
        by_target = np.ascontiguousarray((targets - self._response_mean).T, dtype=self.dtype)
        self._train = centred
        self._primal = sum(band.shape[1] for band in centred) <= n_images
        candidates = simplex_candidates(len(centred), self.n_band_weights, self.seed)
        search = self._search(n_images, by_target.shape[0], groups)
        self._solve(centred, candidates, by_target, search)
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

    def _solve(
        self, features: list[FLOATS], candidates: FLOATS, by_target: FLOATS, search: Search
    ) -> None:
        """Search corners of the simplex on their band alone, the rest on all bands."""
        dtype = np.dtype(self.dtype)
        edges = np.cumsum([0, *(band.shape[1] for band in features)])
        whole = self._whole_problem(features, dtype)
        products = whole.right_hand_side(by_target)
        choice = Choice.start(1 if self.shared else len(by_target))
        self.degrees_of_freedom_ = np.zeros(len(by_target))
        self._coefficients = np.zeros((len(by_target), products.shape[1]), dtype=dtype)
        order: list[int] = []
        solution = None
        for subset, rows in _searches(candidates):
            columns = (
                slice(edges[subset[0]], edges[subset[-1] + 1]) if self._primal else slice(None)
            )
            solution, choice = search_and_solve(
                _subproblem(whole, subset, columns),
                candidates[rows][:, subset],
                by_target,
                search,
                right_hand_side=products[:, columns],
                start=choice,
                first_candidate=len(order),
            )
            for chosen, coefficients in zip(solution.targets, solution.coefficients, strict=True):
                self._coefficients[chosen] = 0.0
                self._coefficients[chosen, columns] = coefficients
                self.degrees_of_freedom_[chosen] = solution.degrees_of_freedom[chosen]
            order.extend(rows)
        assert solution is not None
        self.penalty_ = solution.penalty
        self.band_weights_ = candidates[np.array(order)[solution.candidate]]
        self.selection_error_ = choice.error

    def _whole_problem(
        self, features: list[FLOATS], dtype: np.dtype
    ) -> DualProblem | PrimalProblem:
        backend = make_backend(self.backend, self.device)
        if self._primal:
            gram = feature_products(features, backend=backend)
            return PrimalProblem(features, [], gram, dtype, backend)
        wide = [band.astype(np.float64, copy=False) for band in features]
        return DualProblem([backend.product(band, band.T) for band in wide], [], dtype, backend)

    def predict(self, bands: Sequence[ArrayLike], split: bool = False) -> FLOATS:
        """Predict responses.

        Parameters
        ----------
        bands : sequence of arrays of shape (n_images, n_features_b)
        split : bool
            Whether to return the part of each band; the parts and the training mean sum to the
            prediction.

        Returns
        -------
        array of shape (n_images, n_targets), or (n_bands, n_images, n_targets) if split

        Raises
        ------
        EncodingError
            If bands or features are not as many as in training.
        """
        features = [np.asarray(band) for band in bands]
        expected = [band.shape[1] for band in self._train]
        found = [band.shape[-1] for band in features]
        if found != expected:
            raise EncodingError(f"bands have {found} features, expected {expected} as in training")
        parts, start = [], 0
        for number, (band, mean) in enumerate(zip(features, self._feature_means, strict=True)):
            centred = (band - mean).astype(self.dtype)
            if self._primal:
                stop = start + centred.shape[1]
                parts.append(centred @ self._coefficients[:, start:stop].T)
                start = stop
            else:
                kernel = centred @ self._train[number].T
                weight = self.band_weights_[:, number].astype(self.dtype)
                parts.append(kernel @ (self._coefficients * weight[:, None]).T)
        if split:
            return np.stack(parts)
        return sum(parts[1:], start=parts[0]) + self._response_mean.astype(self.dtype)

    def score(
        self, bands: Sequence[ArrayLike], responses: ArrayLike, split: bool = False
    ) -> FLOATS:
        """Out-of-sample R² of every target, relative to predicting the training mean.

        Parameters
        ----------
        bands : sequence of arrays of shape (n_images, n_features_b)
        responses : array of shape (n_images, n_targets)
        split : bool
            Whether to split R² by band with the product measure (Pratt 1987): the shares sum to
            R².

        Returns
        -------
        array of shape (n_targets,), or (n_bands, n_targets) if split
            NaN for a target that does not vary, here or in training.
        """
        parts = self.predict(bands, split=True)
        truth = np.asarray(responses) - self._response_mean
        total = np.square(truth).sum(axis=0)
        usable = varies(total / len(truth), self._response_variance)
        usable &= varies(self._response_variance, total / len(truth))
        total = np.where(usable, total, np.nan)
        shares = (parts * (2.0 * truth - parts.sum(axis=0))).sum(axis=1) / total
        return shares if split else shares.sum(axis=0)


def _searches(candidates: FLOATS) -> list[tuple[list[int], list[int]]]:
    """Bands and rows of candidates that are searched together."""
    n_bands = candidates.shape[1]
    corner = (candidates == 1.0).any(axis=1)
    searches = [([int(candidates[row].argmax())], [int(row)]) for row in np.flatnonzero(corner)]
    if not corner.all():
        searches.append((list(range(n_bands)), np.flatnonzero(~corner).tolist()))
    return searches


def _subproblem(
    whole: DualProblem | PrimalProblem, bands: list[int], columns: slice
) -> DualProblem | PrimalProblem:
    """The problem of some bands only."""
    if isinstance(whole, DualProblem):
        kernels = [whole.train_kernels[band] for band in bands]
        return DualProblem(kernels, [], whole.dtype, whole.backend)
    train = [whole.train[band] for band in bands]
    gram = whole.gram[columns, columns]
    return PrimalProblem(train, [], gram, whole.dtype, whole.backend)


def check_training(
    bands: Sequence[ArrayLike], responses: ArrayLike, dtype: np.dtype
) -> tuple[list[FLOATS], FLOATS]:
    """Refuse bands and responses whose shapes do not fit or whose values are not finite.

    Parameters
    ----------
    bands : sequence of arrays of shape (n_images, n_features_b)
    responses : array of shape (n_images, n_targets)
    dtype : dtype
        Integers are turned into this type.

    Returns
    -------
    features : list of arrays
    responses : array

    Raises
    ------
    EncodingError
    """
    named = {f"band {number}": np.asarray(band) for number, band in enumerate(bands)}
    named["responses"] = np.asarray(responses)
    shapes = {name: values.shape for name, values in named.items()}
    n_images = {shape[0] for shape in shapes.values() if shape}
    if not bands or any(len(shape) != 2 for shape in shapes.values()) or len(n_images) > 1:
        raise EncodingError(
            f"expected at least one band and responses, all of two dimensions with one row per "
            f"image, found shapes {shapes}"
        )
    for name, values in named.items():
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise EncodingError(f"{name}: {bad} of {values.size} values are NaN or infinite")
    arrays = [
        values if values.dtype.kind == "f" else values.astype(dtype) for values in named.values()
    ]
    return arrays[:-1], arrays[-1]
