"""Band weights that are tried, for two bands and where the baseline has nuisance bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings

FLOATS = NDArray[np.floating]


def simplex_candidates(n_bands: int, count: int, seed: int) -> FLOATS:
    """Band weights to try: a line for two bands, a random search for more.

    Parameters
    ----------
    n_bands
        Number of bands.
    count
        Rows; for more than two bands the corners of the simplex and its centre come in addition.
    seed
        Seed of the Dirichlet draws, whose concentrations .1 and 1 alternate as in himalaya.

    Returns
    -------
    array of shape (n_candidates, n_bands)
        Rows sum to one. The first band comes first, where errors are equal (`solver.TIE`).
    """
    if n_bands == 1:
        return np.ones((1, 1))
    if n_bands == 2:
        line = np.linspace(0.0, 1.0, count)[::-1]
        return np.stack([line, 1.0 - line], axis=1)
    generator = np.random.default_rng(seed)
    drawn = [
        generator.dirichlet(np.full(n_bands, (0.1, 1.0)[number % 2])) for number in range(count)
    ]
    return np.concatenate([np.eye(n_bands), np.full((1, n_bands), 1.0 / n_bands), drawn])


@dataclass(frozen=True)
class BandWeights:
    """Weights of a baseline of several bands, and of the same with one band more.

    The fit with the band more may always fall back on what the baseline chose, and the baseline may
    choose any ratio of its bands that the larger fit can (*ours*). Neither is then ahead of the
    other by the points of its search alone.

    Attributes
    ----------
    base
        Shape (n_candidates, n_bands).
    extended
        Shape (n_candidates, n_bands + 1). The band more is the last and has weight in every row.
    """

    base: FLOATS
    extended: FLOATS

    @classmethod
    def of(cls, n_bands: int, settings: EncodingSettings) -> BandWeights:
        """Weights for a baseline of some bands.

        Parameters
        ----------
        n_bands
            Bands of the baseline.
        settings
            Section ``encoding`` of the study.

        Returns
        -------
        BandWeights
        """

        def points(bands: int) -> FLOATS:
            count = settings.n_band_weights if bands == 2 else settings.n_simplex_draws
            return simplex_candidates(bands, count, settings.seed)

        extended = points(n_bands + 1)
        extended = extended[extended[:, -1] > 0.0]
        # Of equal errors the first counts: that which leaves most to the baseline.
        extended = extended[np.argsort(extended[:, -1], kind="stable")]
        shared = extended[extended[:, -1] < 1.0, :-1]
        ratios = shared / shared.sum(axis=1, keepdims=True)
        base = np.concatenate([points(n_bands), ratios])
        # Points that differ by less are one: each costs a decomposition.
        _, first = np.unique(base.round(6), axis=0, return_index=True)
        return cls(base=base[np.sort(first)], extended=extended)

    @property
    def with_fallback(self) -> FLOATS:
        """All points of the larger fit, the baseline's own among them."""
        without = np.concatenate([self.base, np.zeros((len(self.base), 1))], axis=1)
        return np.concatenate([without, self.extended])
