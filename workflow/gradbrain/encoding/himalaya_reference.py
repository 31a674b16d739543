"""The reference solver: himalaya's search over the same band weights and penalties.

Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant 2022, *NeuroImage* 264:119728. Penalty and band
weights are chosen by grouped inner folds; everything around the search (folds, standardisation,
scale of bands, scores) is that of the closed form, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from himalaya.ridge import solve_group_ridge_random_search
from numpy.typing import NDArray

from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.bands import Band
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.regression import BandFit, BandKey
from gradbrain.encoding.solver import Search
from gradbrain.encoding.splits import FoldSplitter

FLOATS = NDArray[np.floating]

# himalaya divides by the root of a band weight, so the ends of the line stay this far from 0.
SMALLEST_WEIGHT = 1e-6


class HimalayaRegression:
    """Fits of one outer fold by himalaya, with the interface of the closed form.

    `solve_group_ridge_random_search` (primal, behind `GroupRidgeCV`) is used where features are at
    most as many as images and targets choose for themselves, else
    `solve_multiple_kernel_ridge_random_search` (dual, behind `MultipleKernelRidgeCV`). Features
    and responses are centred beforehand: himalaya cannot split predictions by band when it fits
    an intercept.

    Parameters
    ----------
    bands
        Name of each band → its features.
    responses
        Shape (n_targets, n_train). Training responses, centred.
    search
        With inner folds; its `selection` is not used.
    n_band_weights
        Points on the line between two bands.
    """

    def __init__(
        self, bands: Mapping[Any, Band], responses: FLOATS, search: Search, n_band_weights: int
    ):
        if search.inner_folds is None:
            raise EncodingError("himalaya needs the inner fold of every training image")
        self._bands = bands
        self._responses = responses
        self._search = search
        self._splitter = FoldSplitter(search.inner_folds)
        line = np.clip(np.linspace(0.0, 1.0, n_band_weights), SMALLEST_WEIGHT, 1 - SMALLEST_WEIGHT)
        self._line = np.stack([line, 1.0 - line], axis=1)

    def single(self, key: BandKey) -> BandFit:
        """Fit one band.

        Parameters
        ----------
        key
            Name of the band.

        Returns
        -------
        BandFit
        """
        return self._fit([self._bands[key]], np.ones((1, 1)))

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
        return self._fit([self._bands[first], self._bands[second]], self._line)

    def mixture(self, keys: Sequence[BandKey], candidates: FLOATS) -> BandFit:
        """Fit several bands, their weights chosen per target among some points of the simplex.

        Parameters
        ----------
        keys
            Names of the bands.
        candidates
            Shape (n_candidates, n_bands).

        Returns
        -------
        BandFit
            With one part per band.
        """
        weights = np.clip(candidates, SMALLEST_WEIGHT, None)
        weights /= weights.sum(axis=1, keepdims=True)
        return self._fit([self._bands[key] for key in keys], weights)

    def extension(self, base: Sequence[BandKey], added: BandKey, weights: BandWeights) -> BandFit:
        """Fit a mixture with one band more, the points of the mixture among those tried.

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
        return self.mixture((*base, added), weights.with_fallback)

    def forget(self, key: BandKey) -> None:
        """Do nothing: fits are not held."""

    def _fit(self, bands: Sequence[Band], weights: FLOATS) -> BandFit:
        n_targets, n_train = self._responses.shape
        parts = tuple(
            np.zeros((n_targets, len(band.test)), self._responses.dtype) for band in bands
        )
        log_weights = np.zeros((len(bands), n_targets))
        groups = self._search.target_groups
        if groups is None and sum(band.n_features for band in bands) <= n_train:
            log_weights[:] = self._fit_primal(bands, weights, parts)
        else:
            chosen = np.zeros(n_targets, dtype=np.intp) if groups is None else groups
            for group in np.unique(chosen):
                targets = np.flatnonzero(chosen == group)
                log_weights[:, targets] = self._fit_dual(
                    bands, weights, parts, targets, per_target=groups is None
                )
        # himalaya reports log(weight / penalty), and weights sum to one.
        log10_penalty = -np.logaddexp.reduce(log_weights, axis=0) / np.log(10.0)
        ends = np.log10(self._search.penalties[[0, -1]])
        return BandFit(
            parts=parts,
            log10_penalty=log10_penalty,
            on_edge=np.isclose(log10_penalty[:, None], ends, atol=1e-3).any(axis=1),
            band_weights=np.exp(log_weights) * 10.0**log10_penalty,
            degrees_of_freedom=np.full(n_targets, np.nan),
        )

    def _fit_primal(
        self, bands: Sequence[Band], weights: FLOATS, parts: tuple[FLOATS, ...]
    ) -> FLOATS:
        dtype = self._responses.dtype
        log_weights, coefficients, _ = solve_group_ridge_random_search(
            [band.train.astype(dtype, copy=False) for band in bands],
            np.ascontiguousarray(self._responses.T),
            n_iter=weights,
            alphas=self._search.penalties,
            cv=self._splitter,
            return_weights=True,
            n_targets_batch=self._search.target_batch,
            progress_bar=False,
        )
        start = 0
        for band, part in zip(bands, parts, strict=True):
            stop = start + band.n_features
            part[:] = (band.test @ coefficients[start:stop]).T
            start = stop
        return log_weights

    def _fit_dual(
        self,
        bands: Sequence[Band],
        weights: FLOATS,
        parts: tuple[FLOATS, ...],
        targets: NDArray[np.intp],
        *,
        per_target: bool,
    ) -> FLOATS:
        dtype = self._responses.dtype
        log_weights, coefficients, _ = solve_multiple_kernel_ridge_random_search(
            np.stack([band.train_kernel for band in bands]).astype(dtype),
            np.ascontiguousarray(self._responses[targets].T),
            n_iter=weights,
            alphas=self._search.penalties,
            cv=self._splitter,
            return_weights="dual",
            local_alpha=per_target,
            n_targets_batch=self._search.target_batch,
            progress_bar=False,
        )
        for band, part, log_weight in zip(bands, parts, log_weights, strict=True):
            part[targets] = ((band.test_kernel @ coefficients) * np.exp(log_weight)).T
        return log_weights
