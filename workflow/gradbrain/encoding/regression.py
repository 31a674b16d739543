"""Fits of one outer fold: single bands, and mixtures that share the ends of their sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.backend import NUMPY, Backend
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


@dataclass(frozen=True)
class BandFit:
    """Held-out predictions of one fit, by band, and the hyperparameters of every target.

    Attributes
    ----------
    parts : tuple of arrays of shape (n_targets, n_test)
        Prediction of each band; their sum is the prediction.
    log10_penalty : array of shape (n_targets,)
    on_edge : array of shape (n_targets,), bool
        Whether the penalty is the smallest or largest of the grid.
    band_weights : array of shape (n_bands, n_targets)
        They sum to 1.
    degrees_of_freedom : array of shape (n_targets,)
        Effective, without the mean; NaN where a solver does not tell.
    """

    parts: tuple[FLOATS, ...]
    log10_penalty: FLOATS
    on_edge: NDArray[np.bool_]
    band_weights: FLOATS
    degrees_of_freedom: FLOATS

    @property
    def prediction(self) -> FLOATS:
        """Prediction of all bands together, shape (n_targets, n_test)."""
        return sum(self.parts[1:], start=self.parts[0])

    def predicting(self, targets: NDArray[np.intp]) -> BandFit:
        """Keep the predictions of some targets only, and the hyperparameters of all.

        Parameters
        ----------
        targets : array of int

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

    def single(self, name: str) -> BandFit:
        """Fit one band."""

    def pair(self, first: str, second: str) -> BandFit:
        """Fit two bands with weights w and 1 − w."""

    def mixture(self, names: Sequence[str], candidates: FLOATS) -> BandFit:
        """Fit several bands with the best of some rows of weights."""

    def forget(self, name: str) -> None:
        """Give up what is held of a band that no fit will ask for again."""


class ClosedFormRegression:
    """Closed-form fits of one outer fold.

    The ends of the line of band weights are the single-band fits: each is computed once and
    shared by every pair that the band enters.

    Parameters
    ----------
    bands : mapping of str to Band
    responses : array of shape (n_targets, n_train)
        Training responses, centred; C-contiguous.
    search : Search
    n_band_weights : int
        Points on the line between two bands, ends included.
    backend : Backend
        Where products and decompositions run.
    """

    def __init__(
        self,
        bands: Mapping[str, Band],
        responses: FLOATS,
        search: Search,
        n_band_weights: int,
        backend: Backend = NUMPY,
    ):
        self._bands = bands
        self._backend = backend
        self._responses = responses
        self._search = search
        self._line = np.linspace(0.0, 1.0, n_band_weights)
        self._singles: dict[str, tuple[BandFit, Choice]] = {}
        self._products: dict[str, FLOATS] = {}

    def single(self, name: str) -> BandFit:
        """Fit one band; computed once.

        Parameters
        ----------
        name : str

        Returns
        -------
        BandFit
        """
        return self._single(name)[0]

    def _single(self, name: str) -> tuple[BandFit, Choice]:
        if name not in self._singles:
            problem = self._problem(name)
            weights = np.ones((1, 1))
            solution, choice = search_and_solve(
                problem,
                weights,
                self._responses,
                self._search,
                right_hand_side=self._right_hand_side(problem, (name,)),
            )
            (part,) = problem.predict(solution.coefficients[0], weights[0])
            fit = self._fit((part,), solution, np.ones((1, 1)), solution.degrees_of_freedom)
            self._singles[name] = fit, choice
        return self._singles[name]

    def pair(self, first: str, second: str) -> BandFit:
        """Fit two bands with weights w and 1 − w, w chosen per target.

        Parameters
        ----------
        first, second : str
            Names of the bands.

        Returns
        -------
        BandFit
            With two parts.
        """
        return self.mixture((first, second), np.stack([self._line, 1.0 - self._line], axis=1))

    def mixture(self, names: Sequence[str], candidates: FLOATS) -> BandFit:
        """Fit several bands, their weights chosen per target among some points of the simplex.

        The corners of the simplex are the fits of single bands, taken from there.

        Parameters
        ----------
        names : sequence of str
        candidates : array of shape (n_candidates, n_bands)
            Rows of weights that sum to 1; corners need not be among them.

        Returns
        -------
        BandFit
            With one part per band.
        """
        singles = [self._single(name) for name in names]
        choice = _best_corner([choice for _, choice in singles])
        inner = candidates[(candidates < 1.0).all(axis=1)]
        problem = self._problem(*names)
        solution, _ = search_and_solve(
            problem,
            inner,
            self._responses,
            self._search,
            right_hand_side=self._right_hand_side(problem, names),
            start=choice,
            first_candidate=len(names),
        )
        parts = tuple(np.zeros_like(fit.parts[0]) for fit, _ in singles)
        freedom = solution.degrees_of_freedom
        for corner, ((fit, _), part) in enumerate(zip(singles, parts, strict=True)):
            chosen = solution.candidate == corner
            part[chosen] = fit.parts[0][chosen]
            freedom[chosen] = fit.degrees_of_freedom[chosen]
        for row, targets, coefficients in zip(
            inner, solution.targets, solution.coefficients, strict=True
        ):
            if len(targets):
                for part, predicted in zip(parts, problem.predict(coefficients, row), strict=True):
                    part[targets] = predicted
        return self._fit(parts, solution, np.concatenate([np.eye(len(names)), inner]), freedom)

    def forget(self, name: str) -> None:
        """Give up the single fit and the products of a band.

        Parameters
        ----------
        name : str
        """
        self._singles.pop(name, None)
        self._products.pop(name, None)

    def _problem(self, *names: str) -> DualProblem | PrimalProblem:
        bands = [self._bands[name] for name in names]
        return make_problem(bands, self._responses.dtype, self._backend)

    def _right_hand_side(
        self, problem: DualProblem | PrimalProblem, names: Sequence[str]
    ) -> FLOATS:
        """Products of responses and features, taken once per band."""
        if isinstance(problem, DualProblem):
            return problem.right_hand_side(self._responses)
        for name in names:
            if name not in self._products:
                band = self._bands[name].train.astype(self._responses.dtype, copy=False)
                self._products[name] = self._backend.product(self._responses, band)
        if len(names) == 1:
            return self._products[names[0]]
        return np.concatenate([self._products[name] for name in names], axis=1)

    def _fit(
        self, parts: tuple[FLOATS, ...], solution: Solution, candidates: FLOATS, freedom: FLOATS
    ) -> BandFit:
        last = len(self._search.penalties) - 1
        return BandFit(
            parts=parts,
            log10_penalty=np.log10(solution.penalty),
            on_edge=(solution.penalty_index == 0) | (solution.penalty_index == last),
            band_weights=candidates[solution.candidate].T,
            degrees_of_freedom=freedom,
        )


def _best_corner(corners: Sequence[Choice]) -> Choice:
    """Best of the single bands, the first where they tie; candidates are numbered as given."""
    best = Choice.start(len(corners[0].error))
    for number, corner in enumerate(corners):
        better = corner.error < best.error
        best.error[better] = corner.error[better]
        best.penalty[better] = corner.penalty[better]
        best.candidate[better] = number
    return best
