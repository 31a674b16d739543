"""Fits of one outer fold: single bands, and mixtures that share the ends of their sweep."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.backend import NUMPY, Backend
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.bands import Band
from gradbrain.encoding.solver import (
    Choice,
    DualProblem,
    PrimalProblem,
    Search,
    Solution,
    make_problem,
    search_and_solve,
)

FLOATS = NDArray[np.floating]
#: Effective degrees of freedom below which a fit is the mean of the training responses: nothing is
#: to be found beyond the end of the grid at which it lies.
MEAN_FIT = 0.1
# What tells the bands of a fold apart; never looked into.
BandKey = Hashable


@dataclass(frozen=True)
class Piece:
    """Coefficients of the targets that chose one row of band weights.

    Attributes
    ----------
    targets
        Targets and the units that they belong to.
    places
        Places of the row's bands among those of the fit.
    weights
        Shape (n_row_bands,).
    coefficients
        Shape (n_targets_of_row, n_rows). Of training images in the dual form, else of features.
    dual
        Whether kernels are used in the place of features.
    """

    targets: NDArray[np.intp]
    places: tuple[int, ...]
    weights: FLOATS
    coefficients: FLOATS
    dual: bool

    def among(self, targets: NDArray[np.bool_], places: Sequence[int]) -> Piece:
        """Keep some targets, in a fit whose bands have other places.

        Parameters
        ----------
        targets
            Shape (n_targets,), bool.
        places
            Place of each band of this fit in the other.

        Returns
        -------
        Piece
        """
        kept = targets[self.targets]
        return replace(
            self,
            targets=self.targets[kept],
            places=tuple(places[place] for place in self.places),
            coefficients=self.coefficients[kept],
        )

    def predict(self, bands: Sequence[Band]) -> list[FLOATS]:
        """Predict the test images of bands, one array of shape (n_targets_of_row, n_test) per band.

        Parameters
        ----------
        bands
            All bands of the fit, with its own training images.
        """
        own, dtype = [bands[place] for place in self.places], self.coefficients.dtype
        problem: DualProblem | PrimalProblem
        if self.dual:
            problem = DualProblem([], [band.test_kernel for band in own], dtype)
        else:
            problem = PrimalProblem([], [band.test for band in own], np.empty((0, 0)), dtype)
        return problem.predict(self.coefficients, self.weights)


@dataclass(frozen=True)
class BandFit:
    """Held-out predictions of one fit, by band, and the hyperparameters of every target.

    Attributes
    ----------
    parts
        Each of shape (n_targets, n_test). Prediction of each band; their sum is the prediction.
    log10_penalty
        Shape (n_targets,).
    on_edge
        Shape (n_targets,), bool. Whether the penalty is the smallest of the grid; or the largest,
        where a larger one would predict otherwise: not where the fit is the mean already.
    band_weights
        Shape (n_bands, n_targets). They sum to 1.
    degrees_of_freedom
        Shape (n_targets,). Effective, without the mean; NaN where a solver does not tell.
    pieces
        What predicts further images; none where coefficients are not kept.
    """

    parts: tuple[FLOATS, ...]
    log10_penalty: FLOATS
    on_edge: NDArray[np.bool_]
    band_weights: FLOATS
    degrees_of_freedom: FLOATS
    pieces: tuple[Piece, ...] = ()

    @property
    def prediction(self) -> FLOATS:
        """Prediction of all bands together, shape (n_targets, n_test)."""
        return sum(self.parts[1:], start=self.parts[0])

    def predicting(self, targets: NDArray[np.intp]) -> BandFit:
        """Keep the predictions of some targets only, and the hyperparameters of all.

        Parameters
        ----------
        targets
            Targets and the units that they belong to.

        Returns
        -------
        BandFit
        """
        return replace(self, parts=tuple(part[targets] for part in self.parts))

    @property
    def band_weight(self) -> FLOATS:
        """Weight of the first band, shape (n_targets,); 1 for a single band."""
        return self.band_weights[0]


class FoldRegression(Protocol):
    """A solver, bound to the bands and responses of one outer fold."""

    def single(self, key: BandKey) -> BandFit:
        """Fit one band."""

    def pair(self, first: BandKey, second: BandKey) -> BandFit:
        """Fit two bands with weights w and 1 − w."""

    def mixture(self, keys: Sequence[BandKey], candidates: FLOATS) -> BandFit:
        """Fit several bands with the best of some rows of weights."""

    def extension(self, base: Sequence[BandKey], added: BandKey, weights: BandWeights) -> BandFit:
        """Fit a mixture with one band more, which may leave it as it is."""

    def forget(self, key: BandKey) -> None:
        """Give up what is held of a band that no fit will ask for again."""


@dataclass(frozen=True)
class _Known:
    """A fit that another one may fall back on.

    Attributes
    ----------
    fit
        Fit of the bands.
    choice
        Penalty and weights that it chose.
    places
        Places of its bands among those of the other fit.
    """

    fit: BandFit
    choice: Choice
    places: tuple[int, ...]


class ClosedFormRegression:
    """Closed-form fits of one outer fold.

    The ends of the line of band weights are the single-band fits: each is computed once and
    shared by every pair that the band enters.

    Parameters
    ----------
    bands
        Name of each band → its features.
    responses
        Shape (n_targets, n_train). Training responses, centred; C-contiguous.
    search
        How penalties and weights of bands are searched.
    n_band_weights
        Points on the line between two bands, ends included.
    backend
        Where products and decompositions run.
    keep_coefficients
        Whether fits hold what predicts further images.
    """

    def __init__(
        self,
        bands: Mapping[Any, Band],
        responses: FLOATS,
        search: Search,
        n_band_weights: int,
        backend: Backend = NUMPY,
        *,
        keep_coefficients: bool = False,
    ):
        self._bands = bands
        self._backend = backend
        self._keep_coefficients = keep_coefficients
        self._responses = responses
        self._search = search
        self._line = np.linspace(0.0, 1.0, n_band_weights)
        self._singles: dict[BandKey, tuple[BandFit, Choice]] = {}
        self._mixtures: dict[tuple[BandKey, ...], tuple[BandFit, Choice]] = {}
        self._products: dict[BandKey, FLOATS] = {}

    def single(self, key: BandKey) -> BandFit:
        """Fit one band; computed once.

        Parameters
        ----------
        key
            Name of the band.

        Returns
        -------
        BandFit
        """
        return self._single(key)[0]

    def _single(self, key: BandKey) -> tuple[BandFit, Choice]:
        if key not in self._singles:
            problem = self._problem(key)
            weights = np.ones((1, 1))
            solution, choice = search_and_solve(
                problem,
                weights,
                self._responses,
                self._search,
                right_hand_side=self._right_hand_side(problem, (key,)),
            )
            (part,) = problem.predict(solution.coefficients[0], weights[0])
            of_all = np.ones((1, len(self._responses)))
            pieces = _pieces(problem, (0,), weights, solution)
            fit = self._fit((part,), solution, of_all, solution.degrees_of_freedom, pieces)
            self._singles[key] = fit, choice
        return self._singles[key]

    def pair(self, first: BandKey, second: BandKey) -> BandFit:
        """Fit two bands with weights w and 1 − w, w chosen per target.

        Parameters
        ----------
        first, second
            Keys of the bands.

        Returns
        -------
        BandFit
            With two parts.
        """
        # The first band is what the second is held against: its share falls along the line.
        line = np.stack([self._line[::-1], 1.0 - self._line[::-1]], axis=1)
        return self._search_weights((first, second), line, self._corners((first, second)))[0]

    def mixture(self, keys: Sequence[BandKey], candidates: FLOATS) -> BandFit:
        """Fit several bands, their weights chosen per target among some points of the simplex.

        The corners of the simplex are the fits of single bands, taken from there.

        Parameters
        ----------
        keys
            Names of the bands.
        candidates
            Shape (n_candidates, n_bands). Rows of weights that sum to 1; corners need not be among
            them. The same for every call with the same bands: the fit is computed once.

        Returns
        -------
        BandFit
            With one part per band.
        """
        return self._mixture(tuple(keys), candidates)[0]

    def _mixture(self, keys: tuple[BandKey, ...], candidates: FLOATS) -> tuple[BandFit, Choice]:
        if keys not in self._mixtures:
            self._mixtures[keys] = self._search_weights(keys, candidates, self._corners(keys))
        return self._mixtures[keys]

    def extension(self, base: Sequence[BandKey], added: BandKey, weights: BandWeights) -> BandFit:
        """Fit a mixture with one band more.

        A target for which no point with the new band has a smaller error keeps the fit of the
        mixture, bit by bit.

        Parameters
        ----------
        base
            Bands of the mixture.
        added
            Name of the band that is added.
        weights
            Shares of the bands.

        Returns
        -------
        BandFit
            With one part per band, that of the new band last.
        """
        bands = tuple(base)
        known = [
            _Known(*self._mixture(bands, weights.base), tuple(range(len(bands)))),
            _Known(*self._single(added), (len(bands),)),
        ]
        return self._search_weights((*bands, added), weights.extended, known)[0]

    def _corners(self, keys: Sequence[BandKey]) -> list[_Known]:
        return [_Known(*self._single(key), (place,)) for place, key in enumerate(keys)]

    def _search_weights(
        self, keys: Sequence[BandKey], candidates: FLOATS, known: Sequence[_Known]
    ) -> tuple[BandFit, Choice]:
        """Choose among fits that are known and rows of weights that are no corners."""
        choice = _best_known([item.choice for item in known])
        inner = candidates[(candidates < 1.0).all(axis=1)]
        problem = self._problem(*keys)
        solution, choice = search_and_solve(
            problem,
            inner,
            self._responses,
            self._search,
            right_hand_side=self._right_hand_side(problem, keys),
            start=choice,
            first_candidate=len(known),
        )
        parts = tuple(np.zeros_like(known[0].fit.parts[0]) for _ in keys)
        weights = np.zeros((len(keys), len(self._responses)))
        freedom = solution.degrees_of_freedom
        pieces: list[Piece] = []
        for number, item in enumerate(known):
            chosen = solution.candidate == number
            for place, part, weight in zip(
                item.places, item.fit.parts, item.fit.band_weights, strict=True
            ):
                parts[place][chosen], weights[place, chosen] = part[chosen], weight[chosen]
            freedom[chosen] = item.fit.degrees_of_freedom[chosen]
            pieces += [piece.among(chosen, item.places) for piece in item.fit.pieces]
        own = _pieces(problem, range(len(keys)), inner, solution)
        for piece in own:
            weights[:, piece.targets] = piece.weights[:, None]
            predictions = problem.predict(piece.coefficients, piece.weights)
            for part, predicted in zip(parts, predictions, strict=True):
                part[piece.targets] = predicted
        return self._fit(parts, solution, weights, freedom, [*pieces, *own]), choice

    def forget(self, key: BandKey) -> None:
        """Give up the single fit and the products of a band.

        Parameters
        ----------
        key
            Name of the band.
        """
        self._singles.pop(key, None)
        self._products.pop(key, None)

    def _problem(self, *keys: BandKey) -> DualProblem | PrimalProblem:
        bands = [self._bands[key] for key in keys]
        return make_problem(bands, self._responses.dtype, self._backend)

    def _right_hand_side(
        self, problem: DualProblem | PrimalProblem, keys: Sequence[BandKey]
    ) -> FLOATS:
        """Products of responses and features, taken once per band."""
        if isinstance(problem, DualProblem):
            return problem.right_hand_side(self._responses)
        for key in keys:
            if key not in self._products:
                band = self._bands[key].train.astype(self._responses.dtype, copy=False)
                self._products[key] = self._backend.product(self._responses, band)
        if len(keys) == 1:
            return self._products[keys[0]]
        return np.concatenate([self._products[key] for key in keys], axis=1)

    def _fit(
        self,
        parts: tuple[FLOATS, ...],
        solution: Solution,
        weights: FLOATS,
        freedom: FLOATS,
        pieces: Sequence[Piece],
    ) -> BandFit:
        last = len(self._search.penalties) - 1
        largest = (solution.penalty_index == last) & (freedom > MEAN_FIT)
        return BandFit(
            parts=parts,
            log10_penalty=np.log10(solution.penalty),
            on_edge=(solution.penalty_index == 0) | largest,
            band_weights=weights,
            degrees_of_freedom=freedom,
            pieces=tuple(pieces) if self._keep_coefficients else (),
        )


def _best_known(choices: Sequence[Choice]) -> Choice:
    """Best of several choices, the first where they tie; candidates are numbered as given."""
    best = Choice.start(len(choices[0].error))
    for number, choice in enumerate(choices):
        best.take(choice.error, number, choice.penalty)
    return best


def _pieces(
    problem: DualProblem | PrimalProblem,
    places: Sequence[int],
    weights: FLOATS,
    solution: Solution,
) -> list[Piece]:
    """Rows of weights that some target chose."""
    dual = isinstance(problem, DualProblem)
    found = zip(weights, solution.targets, solution.coefficients, strict=True)
    return [
        Piece(targets, tuple(places), row, coefficients, dual)
        for row, targets, coefficients in found
        if len(targets)
    ]
