"""Banded ridge regression in closed form: one eigendecomposition per choice of band weights.

For bands X_b with weights w_b ≥ 0 that sum to one, ridge regression on the stacked √w_b X_b under
penalty α is kernel ridge regression with K = Σ_b w_b X_b X_bᵀ (Dupré la Tour et al. 2022,
*NeuroImage* 264:119728). With K = U Λ Uᵀ and Z = UᵀY the residual of every target under every
penalty follows from the squares of Z alone, so a search over penalties costs one small matrix
product (Hastie, Tibshirani & Friedman 2009, section 7.10; Golub, Heath & Wahba 1979).

Arrays of responses are held target by target, shape (n_targets, n_images): a choice of targets is
then a copy of contiguous rows. Responses and features are centred over the training images, and
that mean counts as one degree of freedom: without it, generalised cross-validation and
leave-one-out choose the smallest penalty whenever images are fewer than features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradbrain.encoding.backend import NUMPY, Backend
from gradbrain.encoding.bands import Band
from gradbrain.encoding.errors import EncodingError

FLOATS = NDArray[np.floating]
# Errors that differ by a smaller share are equal. In single precision up to 5e-7 of them is
# rounding, where penalties are large (measured for 74 to 4,000 images): what it decides is chance.
# Well above it, since choices whose errors differ by just this share would be chance again.
TIE = 1e-5
Selection = Literal["gcv", "loo", "kfold"]


def penalty_grid(log10_min: float, log10_max: float, count: int) -> FLOATS:
    """Penalties spaced evenly in their logarithm, ends included.

    Parameters
    ----------
    log10_min, log10_max
        Ends of the grid.
    count
        Number of penalties.

    Returns
    -------
    array of shape (count,)
    """
    return check_penalties(np.logspace(log10_min, log10_max, count))


def check_penalties(penalties: ArrayLike) -> FLOATS:
    """Refuse penalties that are not positive, finite and rising.

    Parameters
    ----------
    penalties
        Shape (n_penalties,).

    Returns
    -------
    array of shape (n_penalties,), float64

    Raises
    ------
    EncodingError
        If a penalty is zero, negative, infinite or out of order.
    """
    grid = np.atleast_1d(np.asarray(penalties, dtype=np.float64))
    valid = grid.ndim == 1 and grid.size and np.isfinite(grid).all() and (grid > 0).all()
    if not valid or (np.diff(grid) <= 0).any():
        raise EncodingError(
            f"penalties must be positive, finite and strictly rising, found {grid.tolist()}: "
            "check encoding.log10_penalty_min, log10_penalty_max and n_penalties"
        )
    return grid


@dataclass(frozen=True)
class Decomposition:
    """Eigendecomposition of a ridge problem at one choice of band weights.

    Attributes
    ----------
    eigenvalues
        Array of shape (n_axes,), float64. Of the weighted kernel or Gram matrix, clipped at zero.
    basis
        Shape (n_rows, n_axes). Turns the right-hand side into coordinates Z, and filtered
        coordinates into coefficients.
    n_train
        Number of training images.
    complete
        Whether the axes span all training images, so that residuals have no part outside them.
    leverage_basis
        Shape (n_train, n_axes). Q with H = Q diag(λ/(λ+α)) Qᵀ; needed by leave-one-out only.
    """

    eigenvalues: FLOATS
    basis: FLOATS
    n_train: int
    complete: bool
    leverage_basis: FLOATS | None = None

    def shrinkage(self, penalties: FLOATS) -> FLOATS:
        """1/(λ+α), shape (n_penalties, n_axes)."""
        return 1.0 / (self.eigenvalues + penalties[:, None])

    def degrees_of_freedom(self, penalties: FLOATS) -> FLOATS:
        """Trace of the hat matrix without the mean, shape (n_penalties,)."""
        return (self.eigenvalues * self.shrinkage(penalties)).sum(axis=1)


class RidgeProblem(Protocol):
    """Features of some bands in training and test images, in dual or primal form."""

    @property
    def backend(self) -> Backend:
        """Where products and decompositions run."""

    @property
    def n_train(self) -> int:
        """Number of training images."""

    def right_hand_side(self, responses: FLOATS) -> FLOATS:
        """Turn responses (n_targets, n_train) into the (n_targets, n_rows) that are rotated."""

    def decompose(self, weights: FLOATS, *, leverage: bool = False) -> Decomposition:
        """Decompose at band weights of shape (n_bands,)."""

    def predict(self, coefficients: FLOATS, weights: FLOATS) -> list[FLOATS]:
        """Predict test responses (n_targets, n_test), one array per band."""

    def restrict(self, train: NDArray[np.intp], test: NDArray[np.intp]) -> RidgeProblem:
        """Take some training images as training and others as test, centred anew."""


@dataclass(frozen=True)
class DualProblem:
    """Kernels between images: the form for fewer images than features.

    Attributes
    ----------
    train_kernels
        Each of shape (n_train, n_train), float64. One per band, centred.
    test_kernels
        Each of shape (n_test, n_train).
    dtype
        Type of rotations and predictions.
    backend
        Where products and decompositions run.
    """

    train_kernels: Sequence[FLOATS]
    test_kernels: Sequence[FLOATS]
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float64))
    backend: Backend = NUMPY

    @property
    def n_train(self) -> int:
        """Number of training images."""
        return len(self.train_kernels[0])

    def right_hand_side(self, responses: FLOATS) -> FLOATS:
        """Return the responses themselves: the dual problem rotates them directly."""
        return responses

    def decompose(self, weights: FLOATS, *, leverage: bool = False) -> Decomposition:
        """Decompose the weighted sum of kernels."""
        kernel = weights[0] * self.train_kernels[0]
        for weight, band_kernel in zip(weights[1:], self.train_kernels[1:], strict=True):
            kernel += weight * band_kernel
        eigenvalues, vectors = self.backend.eigh(kernel)
        basis = np.ascontiguousarray(vectors, dtype=self.dtype)
        return Decomposition(
            eigenvalues=eigenvalues,
            basis=basis,
            n_train=self.n_train,
            complete=True,
            leverage_basis=basis if leverage else None,
        )

    def predict(self, coefficients: FLOATS, weights: FLOATS) -> list[FLOATS]:
        """Predict test responses by band from dual coefficients (n_targets, n_train)."""
        return [
            self.backend.product(coefficients, (weight * kernel.T).astype(self.dtype))
            for weight, kernel in zip(weights, self.test_kernels, strict=True)
        ]

    def restrict(self, train: NDArray[np.intp], test: NDArray[np.intp]) -> DualProblem:
        """Take some training images as training and others as test, centred anew."""
        train_kernels, test_kernels = [], []
        for kernel in self.train_kernels:
            inner = kernel[np.ix_(train, train)]
            outer = kernel[np.ix_(test, train)]
            mean_row = inner.mean(axis=0)
            grand_mean = mean_row.mean()
            train_kernels.append(inner - mean_row - mean_row[:, None] + grand_mean)
            test_kernels.append(outer - mean_row - outer.mean(axis=1)[:, None] + grand_mean)
        return DualProblem(train_kernels, test_kernels, self.dtype, self.backend)


@dataclass(frozen=True)
class PrimalProblem:
    """Features themselves: the form for at least as many images as features.

    Attributes
    ----------
    train
        Each of shape (n_train, n_features_b). One per band, centred.
    test
        Each of shape (n_test, n_features_b).
    gram
        Array of shape (n_features, n_features), float64. Products between the features of all
        bands.
    dtype
        Type of rotations and predictions.
    backend
        Where products and decompositions run.
    """

    train: Sequence[FLOATS]
    test: Sequence[FLOATS]
    gram: FLOATS
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float64))
    backend: Backend = NUMPY

    @property
    def n_train(self) -> int:
        """Number of training images."""
        return len(self.train[0])

    def _feature_weights(self, weights: FLOATS) -> FLOATS:
        return np.repeat(np.sqrt(weights), [band.shape[1] for band in self.train])

    def right_hand_side(self, responses: FLOATS) -> FLOATS:
        """Products of responses with features, shape (n_targets, n_features)."""
        widths = np.cumsum([0, *(band.shape[1] for band in self.train)])
        products = np.empty((len(responses), widths[-1]), dtype=self.dtype)
        for band, start, stop in zip(self.train, widths[:-1], widths[1:], strict=True):
            products[:, start:stop] = self.backend.product(
                responses, band.astype(self.dtype, copy=False)
            )
        return products

    def decompose(self, weights: FLOATS, *, leverage: bool = False) -> Decomposition:
        """Decompose the Gram matrix of the features, each scaled by the root of its weight."""
        scale = self._feature_weights(weights)
        eigenvalues, vectors = self.backend.eigh(self.gram * scale * scale[:, None])
        basis = scale[:, None] * vectors
        leverage_basis = None
        if leverage:
            # Axes of zero eigenvalue have zero leverage under every penalty.
            root = np.sqrt(eigenvalues)
            inverse_root = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
            features = np.concatenate(self.train, axis=1)
            rotated = self.backend.product(features.astype(np.float64, copy=False), basis)
            leverage_basis = (rotated * inverse_root).astype(self.dtype)
        return Decomposition(
            eigenvalues=eigenvalues,
            basis=np.ascontiguousarray(basis, dtype=self.dtype),
            n_train=self.n_train,
            complete=False,
            leverage_basis=leverage_basis,
        )

    def predict(self, coefficients: FLOATS, weights: FLOATS) -> list[FLOATS]:
        """Predict test responses by band from coefficients (n_targets, n_features)."""
        predictions, start = [], 0
        for band in self.test:
            stop = start + band.shape[1]
            columns = coefficients[:, start:stop]
            predictions.append(self.backend.product(columns, band.T.astype(self.dtype)))
            start = stop
        return predictions

    def restrict(self, train: NDArray[np.intp], test: NDArray[np.intp]) -> PrimalProblem:
        """Take some training images as training and others as test, centred anew."""
        means = [band[train].mean(axis=0, dtype=np.float64) for band in self.train]
        inner = [
            (band[train] - mean).astype(band.dtype)
            for band, mean in zip(self.train, means, strict=True)
        ]
        outer = [
            (band[test] - mean).astype(band.dtype)
            for band, mean in zip(self.train, means, strict=True)
        ]
        gram = feature_products(inner, backend=self.backend)
        return PrimalProblem(inner, outer, gram, self.dtype, self.backend)


def feature_products(
    bands: Sequence[FLOATS],
    own_products: Sequence[FLOATS] | None = None,
    backend: Backend = NUMPY,
) -> FLOATS:
    """Products between the features of all bands, in float64.

    Parameters
    ----------
    bands
        Each of shape (n_train, n_features_b).
    own_products
        Each of shape (n_features_b, n_features_b). Blocks on the diagonal where they are known
        already.
    backend
        Library that computes.

    Returns
    -------
    array of shape (n_features, n_features)
    """
    wide = [band.astype(np.float64, copy=False) for band in bands]
    edges = np.cumsum([0, *(band.shape[1] for band in wide)])
    gram = np.empty((edges[-1], edges[-1]))
    spans = [slice(start, stop) for start, stop in pairwise(edges)]
    for row, left in enumerate(wide):
        own = backend.product(left.T, left) if own_products is None else own_products[row]
        gram[spans[row], spans[row]] = own
        for column in range(row):
            block = backend.product(left.T, wide[column])
            gram[spans[row], spans[column]] = block
            gram[spans[column], spans[row]] = block.T
    return gram


def make_problem(
    bands: Sequence[Band], dtype: np.dtype, backend: Backend = NUMPY
) -> DualProblem | PrimalProblem:
    """Choose the form by shape: primal where features are at most as many as images.

    Parameters
    ----------
    bands
        Of one outer fold.
    dtype
        Type of rotations and predictions.
    backend
        Where products and decompositions run.

    Returns
    -------
    DualProblem or PrimalProblem
    """
    if sum(band.n_features for band in bands) <= len(bands[0].train):
        train = [band.train for band in bands]
        gram = feature_products(train, [band.gram for band in bands], backend)
        return PrimalProblem(train, [band.test for band in bands], gram, dtype, backend)
    return DualProblem(
        [band.train_kernel for band in bands],
        [band.test_kernel for band in bands],
        dtype,
        backend,
    )


@dataclass(frozen=True)
class Search:
    """What is tried and by which error it is chosen.

    Attributes
    ----------
    penalties
        Shape (n_penalties,).
    selection
        How the penalty is selected.
    inner_folds
        Shape (n_train,). Fold of every training image, for ``kfold``.
    target_groups
        Shape (n_targets,). Number of the group of every target, from 0; targets of a group share
        penalty and band weights. None: every target has its own.
    target_batch
        Targets rotated at once; bounds the memory of the search.
    """

    penalties: FLOATS
    selection: Selection = "gcv"
    inner_folds: NDArray[np.intp] | None = None
    target_groups: NDArray[np.intp] | None = None
    target_batch: int = 20000

    def batches(self, n_targets: int) -> list[slice]:
        """Slices of at most `target_batch` targets."""
        return [
            slice(start, min(start + self.target_batch, n_targets))
            for start in range(0, n_targets, self.target_batch)
        ]


@dataclass
class Choice:
    """Best error so far and what reached it, per target or per group of targets.

    A target that nothing predicts has the same error under every choice of bands, up to the last
    digits, and r of its predictions differs by as much as .1 between them. Equal errors (`TIE`) are
    therefore no reason to leave what was offered first, which is the baseline on its own, then the
    mixtures that hold most of it (*ours*); among penalties the largest is taken.

    Attributes
    ----------
    error
        Shape (n_choosers,). Estimated squared error, summed over the targets of a group.
    candidate
        Shape (n_choosers,), int. Row of band weights.
    penalty
        Shape (n_choosers,), int. Index into the penalties.
    """

    error: FLOATS
    candidate: NDArray[np.intp]
    penalty: NDArray[np.intp]

    @classmethod
    def start(cls, n_choosers: int) -> Choice:
        """Begin with an infinite error."""
        return cls(
            error=np.full(n_choosers, np.inf),
            candidate=np.zeros(n_choosers, dtype=np.intp),
            penalty=np.zeros(n_choosers, dtype=np.intp),
        )

    def offer(self, errors: FLOATS, candidate: int) -> None:
        """Take over where the best of `errors` (n_choosers, n_penalties) is smaller.

        Parameters
        ----------
        errors
            Shape (n_choosers, n_penalties). Penalties rise.
        candidate
            Number of the band weights that they are of.
        """
        lowest = errors.min(axis=1, keepdims=True)
        equal = errors <= lowest * (1.0 + TIE)
        penalty = equal.shape[1] - 1 - equal[:, ::-1].argmax(axis=1)
        self.take(np.take_along_axis(errors, penalty[:, None], axis=1)[:, 0], candidate, penalty)

    def take(self, error: FLOATS, candidate: int, penalty: NDArray[np.intp]) -> None:
        """Take over a candidate and its penalties where their error is smaller.

        Parameters
        ----------
        error
            Shape (n_choosers,).
        candidate
            Index of the candidate.
        penalty
            Shape (n_choosers,), int.
        """
        better = error < self.error * (1.0 - TIE)
        self.error[better] = error[better]
        self.candidate[better] = candidate
        self.penalty[better] = penalty[better]


def selection_errors(
    problem: RidgeProblem,
    decomposition: Decomposition,
    weights: FLOATS,
    responses: FLOATS,
    right_hand_side: FLOATS,
    search: Search,
) -> FLOATS:
    """Estimate the squared prediction error of every penalty from training images alone.

    Parameters
    ----------
    problem
        Features and responses of the training images.
    decomposition
        Of `problem` at `weights`.
    weights
        Shape (n_bands,).
    responses
        Shape (n_targets, n_train). Centred.
    right_hand_side
        Shape (n_targets, n_rows). ``problem.right_hand_side(responses)``.
    search
        How penalties and weights of bands are searched.

    Returns
    -------
    array of shape (n_choosers, n_penalties), float64
        Mean squared error per image; summed over targets that choose together.
    """
    if search.selection == "kfold":
        errors = _kfold_errors(problem, weights, responses, search)
    elif search.selection == "loo":
        errors = _loo_errors(decomposition, responses, right_hand_side, search, problem.backend)
    else:
        errors = _gcv_errors(decomposition, responses, right_hand_side, search, problem.backend)
    if search.target_groups is None:
        return errors
    grouped = np.zeros((int(search.target_groups.max()) + 1, errors.shape[1]))
    np.add.at(grouped, search.target_groups, errors)
    return grouped


def _gcv_errors(
    decomposition: Decomposition,
    responses: FLOATS,
    right_hand_side: FLOATS,
    search: Search,
    backend: Backend,
) -> FLOATS:
    """Generalised cross-validation, (RSS/n) / (1 − (tr H + 1)/n)² (Golub, Heath & Wahba 1979)."""
    n_train = decomposition.n_train
    penalties = search.penalties
    shrinkage = decomposition.shrinkage(penalties)
    free = n_train - decomposition.degrees_of_freedom(penalties) - 1.0
    # With as many free axes as images the formula has no value: such a penalty is never chosen.
    factor = np.divide(n_train, free**2, out=np.full_like(free, 1e300), where=free > 1e-9)
    if decomposition.complete:
        filters = (penalties[:, None] * shrinkage) ** 2
    else:
        # RSS = |y|² − Σ Z² (2/(λ+α) − λ/(λ+α)²), where Z = Vᵀ Xᵀ y.
        filters = shrinkage * (decomposition.eigenvalues * shrinkage - 2.0)
    basis = backend.asarray(decomposition.basis)
    filters = backend.asarray(np.ascontiguousarray(filters.T, dtype=right_hand_side.dtype))
    errors = np.empty((len(responses), len(penalties)))
    for batch in search.batches(len(responses)):
        coordinates = backend.asarray(right_hand_side[batch]) @ basis
        coordinates *= coordinates
        errors[batch] = backend.to_numpy(coordinates @ filters)
        if not decomposition.complete:
            errors[batch] += np.einsum("ij,ij->i", responses[batch], responses[batch])[:, None]
    np.maximum(errors, 0.0, out=errors)
    errors *= factor
    return errors


def _loo_errors(
    decomposition: Decomposition,
    responses: FLOATS,
    right_hand_side: FLOATS,
    search: Search,
    backend: Backend,
) -> FLOATS:
    """Exact leave-one-out error: residuals over 1 − H_ii − 1/n (Allen 1974), mean included."""
    basis = decomposition.leverage_basis
    if basis is None:
        raise EncodingError("leave-one-out needs a decomposition made with leverage=True")
    n_train = decomposition.n_train
    shrinkage = decomposition.shrinkage(search.penalties)
    hat_filters = decomposition.eigenvalues * shrinkage
    leverages = np.square(basis) @ hat_filters.T
    free = 1.0 - leverages - 1.0 / n_train
    inverse = np.divide(1.0, free, out=np.full_like(free, 1e100), where=free > 1e-9)
    # ŷ = Q f(λ) Qᵀ y; in the primal form Qᵀ y is Vᵀ Xᵀ y over the root of the eigenvalue.
    if decomposition.complete:
        filters = hat_filters
    else:
        filters = np.sqrt(decomposition.eigenvalues) * shrinkage
    errors = np.empty((len(responses), len(search.penalties)))
    rotation = backend.asarray(decomposition.basis)
    hat_basis = backend.asarray(basis)
    rows = backend.asarray(filters.astype(right_hand_side.dtype))
    inverses = backend.asarray(inverse.T.astype(right_hand_side.dtype))
    for batch in search.batches(len(responses)):
        coordinates = backend.asarray(right_hand_side[batch]) @ rotation
        observed = backend.asarray(responses[batch])
        for index in range(len(search.penalties)):
            left_out = observed - (coordinates * rows[index]) @ hat_basis.T
            left_out *= inverses[index]
            errors[batch, index] = backend.to_numpy(backend.row_squares(left_out)) / n_train
    return errors


def _kfold_errors(
    problem: RidgeProblem, weights: FLOATS, responses: FLOATS, search: Search
) -> FLOATS:
    """Squared error in inner folds, features and responses centred anew in each."""
    if search.inner_folds is None:
        raise EncodingError("selection 'kfold' needs the inner fold of every training image")
    backend = problem.backend
    errors = np.zeros((len(responses), len(search.penalties)))
    for fold in np.unique(search.inner_folds):
        train = np.flatnonzero(search.inner_folds != fold)
        test = np.flatnonzero(search.inner_folds == fold)
        inner = problem.restrict(train, test)
        decomposition = inner.decompose(weights)
        shrinkage = backend.asarray(
            decomposition.shrinkage(search.penalties).astype(responses.dtype)
        )
        basis = backend.asarray(decomposition.basis)
        # Predictions of an axis with unit coordinate, summed over bands.
        parts = inner.predict(decomposition.basis.T, weights)
        test_basis = backend.asarray(sum(parts[1:], start=parts[0]))
        for batch in search.batches(len(responses)):
            held_in = responses[batch][:, train]
            mean = held_in.mean(axis=1, keepdims=True)
            held_out = backend.asarray(responses[batch][:, test] - mean)
            coordinates = backend.asarray(inner.right_hand_side(held_in - mean)) @ basis
            for index in range(len(search.penalties)):
                residual = held_out - (coordinates * shrinkage[index]) @ test_basis
                errors[batch, index] += backend.to_numpy(backend.row_squares(residual))
    return errors / len(search.inner_folds)


@dataclass(frozen=True)
class Solution:
    """Coefficients of targets at the band weights and penalties that each of them chose.

    Attributes
    ----------
    targets
        List of arrays of target indices. One per row of band weights; those that chose it.
    coefficients
        Each of shape (n_targets_of_row, n_rows).
    penalty
        Shape (n_targets,). Chosen penalty.
    candidate
        Shape (n_targets,), int. Chosen row of band weights.
    degrees_of_freedom
        Shape (n_targets,). Effective, without the mean.
    """

    targets: list[NDArray[np.intp]]
    coefficients: list[FLOATS]
    penalty: FLOATS
    penalty_index: NDArray[np.intp]
    candidate: NDArray[np.intp]
    degrees_of_freedom: FLOATS


def search_and_solve(
    problem: RidgeProblem,
    weights: FLOATS,
    responses: FLOATS,
    search: Search,
    *,
    right_hand_side: FLOATS | None = None,
    start: Choice | None = None,
    first_candidate: int = 0,
) -> tuple[Solution, Choice]:
    """Choose band weights and penalty for every target, then solve at the choice.

    The first pass decomposes once per row of band weights and keeps the best error per target;
    the second forms coefficients only for the targets that chose the row.

    Parameters
    ----------
    problem
        Features and responses of the training images.
    weights
        Shape (n_candidates, n_bands). Rows of band weights to try.
    responses
        Shape (n_targets, n_train). Centred.
    search
        How penalties and weights of bands are searched.
    right_hand_side
        Shape (n_targets, n_rows). ``problem.right_hand_side(responses)`` where it is known already.
    start
        Errors that other candidates have reached already; taken over in place.
    first_candidate
        Number that the first row of `weights` has in the choice.

    Returns
    -------
    solution : Solution
        Rows of candidates that `start` brought in are not solved here.
    choice : Choice
    """
    choice = start
    if choice is None:
        groups = search.target_groups
        choice = Choice.start(len(responses) if groups is None else int(groups.max()) + 1)
    if right_hand_side is None:
        right_hand_side = problem.right_hand_side(responses)
    decompositions = []
    for number, row in enumerate(weights):
        decomposition = problem.decompose(row, leverage=search.selection == "loo")
        errors = selection_errors(problem, decomposition, row, responses, right_hand_side, search)
        choice.offer(errors, first_candidate + number)
        decompositions.append(decomposition)
    return (
        _solve(decompositions, right_hand_side, choice, search, first_candidate, problem.backend),
        choice,
    )


def _solve(
    decompositions: Sequence[Decomposition],
    right_hand_side: FLOATS,
    choice: Choice,
    search: Search,
    first_candidate: int,
    backend: Backend,
) -> Solution:
    """Form coefficients at every target's own choice."""
    groups = search.target_groups
    candidate = choice.candidate if groups is None else choice.candidate[groups]
    penalty = choice.penalty if groups is None else choice.penalty[groups]
    freedom = np.zeros(len(candidate))
    targets, coefficients = [], []
    for number, decomposition in enumerate(decompositions):
        chosen = np.flatnonzero(candidate == first_candidate + number)
        shrinkage = decomposition.shrinkage(search.penalties).astype(right_hand_side.dtype)
        basis = backend.asarray(decomposition.basis)
        solved = np.empty((len(chosen), len(decomposition.basis)), dtype=right_hand_side.dtype)
        for batch in search.batches(len(chosen)):
            rows = chosen[batch]
            coordinates = backend.asarray(right_hand_side[rows]) @ basis
            coordinates *= backend.asarray(shrinkage[penalty[rows]])
            solved[batch] = backend.to_numpy(coordinates @ basis.T)
        freedom[chosen] = decomposition.degrees_of_freedom(search.penalties)[penalty[chosen]]
        targets.append(chosen)
        coefficients.append(solved)
    return Solution(
        targets=targets,
        coefficients=coefficients,
        penalty=search.penalties[penalty],
        penalty_index=penalty,
        candidate=candidate,
        degrees_of_freedom=freedom,
    )
