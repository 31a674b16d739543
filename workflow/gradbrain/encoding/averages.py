"""Means over outer folds of scores, draws and chosen hyperparameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.prediction_rsa import RdmAverages
from gradbrain.encoding.regression import BandFit
from gradbrain.encoding.scores import FoldScorer, Score, UnitLayout
from gradbrain.store import SignalIdentity

FLOATS = NDArray[np.floating]


@dataclass
class Averages:
    """Means over outer folds of everything that is stored.

    Attributes
    ----------
    score
        Shape (n_rows, n_scored).
    unit_score
        Shape (n_rows, n_units).
    boot, null
        Shape (n_draws, n_rows, n_units).
    hyperparameters
        Dict of str to array of shape (n_fits, n_targets).
    edge_hits, edge_total
        Choices on the edge of the penalty grid, and choices, over the targets predicted above zero
        in the fits that are counted for a signal.
    predictions
        Shape (n_fits, n_images, n_saved).
    masked_folds
        Shape (n_scored,), int. Outer folds in which a target does not vary, so that it has no score
        there.
    rdms
        Scores of dissimilarities, where they are asked for.
    """

    score: FLOATS
    unit_score: FLOATS
    boot: FLOATS
    null: FLOATS
    hyperparameters: dict[str, FLOATS]
    edge_hits: Counter[SignalIdentity] = field(default_factory=Counter)
    edge_total: Counter[SignalIdentity] = field(default_factory=Counter)
    predictions: FLOATS = field(default_factory=lambda: np.empty((0, 0, 0)))
    masked_folds: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    rdms: RdmAverages | None = None
    # Share of the folds that have no score, (n_rows, n_scored) and (n_rows, n_units).
    _lacking: FLOATS = field(default_factory=lambda: np.empty((0, 0)))
    _unit_lacking: FLOATS = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def zeros(cls, n_rows: int, n_fits: int, n_draws: int, layout: UnitLayout) -> Averages:
        """Start with nothing added."""
        n_units = len(layout.names)
        return cls(
            score=np.zeros((n_rows, layout.n_scored)),
            unit_score=np.zeros((n_rows, n_units)),
            boot=np.zeros((n_draws, n_rows, n_units)),
            null=np.zeros((n_draws, n_rows, n_units)),
            hyperparameters={
                name: np.zeros((n_fits, layout.n_targets))
                for name in ("penalty_log10", "band_weight", "effective_dof")
            },
            masked_folds=np.zeros(layout.n_scored, dtype=np.int64),
            _lacking=np.zeros((n_rows, layout.n_scored)),
            _unit_lacking=np.zeros((n_rows, n_units)),
        )

    def edge_share(self, signals: Iterable[SignalIdentity]) -> float:
        """Share of choices on the edge of the grid, in the fits of some signals together.

        Parameters
        ----------
        signals
            Which signals.

        Returns
        -------
        float
            0 where nothing is predicted above zero.
        """
        names = list(signals)
        total = sum(self.edge_total[name] for name in names)
        return sum(self.edge_hits[name] for name in names) / total if total else 0.0

    def add_score(self, row: int, score: Score, scorer: FoldScorer, weight: float) -> None:
        """Add the score of a fold to a row; what has none there has the mean of the other folds.

        Parameters
        ----------
        row
            Index of the row.
        score
            What is scored.
        scorer
            That of the fold.
        weight
            Share of the fold in the mean.
        """
        known, unit = np.isfinite(score.point), scorer.unit_mean(score.point)
        unit_known = np.isfinite(unit)
        self.score[row] += np.where(known, score.point, 0.0) * weight
        self.unit_score[row] += np.where(unit_known, unit, 0.0) * weight
        self.boot[:, row] += np.where(unit_known, score.boot, 0.0) * weight
        self.null[:, row] += np.where(unit_known, score.null, 0.0) * weight
        self._lacking[row] += np.where(known, 0.0, weight)
        self._unit_lacking[row] += np.where(unit_known, 0.0, weight)

    def divide_by_known(self) -> None:
        """Turn sums into means over the folds that have a score; NaN where none has.

        To be called once, when all folds are added.
        """
        for values, lacking in (
            (self.score, self._lacking),
            (self.unit_score, self._unit_lacking),
            (self.boot, self._unit_lacking),
            (self.null, self._unit_lacking),
        ):
            known = 1.0 - lacking
            values /= np.where(known > 1e-9, known, np.nan)

    def count_shared_pairs(self, rows: Sequence[int]) -> None:
        """Widen null draws that are means over outer folds by the square root of two.

        Whether image i is held out and j trains or the other way round, the same two responses
        meet: over all outer folds each pair of images counts twice in a score, and the two counts
        are the same number under the null. Draws that permute held-out responses against fixed
        predictions take them for independent, which halves the variance (*ours*; measured for
        pure noise, 10 to 200 features and 15 to 300 groups: a ratio of 1.36 to 1.41 in the
        standard deviation).

        Parameters
        ----------
        rows
            Rows whose scores are means over the outer folds.
        """
        draws = self.null[:, rows]
        centre = draws.mean(axis=0)
        self.null[:, rows] = centre + np.sqrt(2.0) * (draws - centre)

    def add_fit(self, row: int, fit: BandFit, weight: float) -> None:
        """Add the hyperparameters that a fold chose to those of a fit.

        Parameters
        ----------
        row
            Index of the row.
        fit
            Fit of the bands.
        weight
            Share of the fold in the mean.
        """
        self.hyperparameters["penalty_log10"][row] += fit.log10_penalty * weight
        self.hyperparameters["band_weight"][row] += fit.band_weight * weight
        self.hyperparameters["effective_dof"][row] += fit.degrees_of_freedom * weight

    def count_edges(
        self, signal: SignalIdentity, fit: BandFit, score: Score, layout: UnitLayout
    ) -> None:
        """Count penalties on the grid's edge, over targets that are predicted above zero.

        Parameters
        ----------
        signal
            Whose fit it is.
        fit
            Fit of the bands.
        score
            Its r.
        layout
            Units that targets belong to, and what is said per unit.
        """
        on_edge = fit.on_edge
        if layout.pooled:
            # All targets of a unit share one penalty: its first stands for it.
            on_edge = on_edge[[targets.start for targets in layout.slices]]
        predicted = score.point > 0
        self.edge_hits[signal] += int(np.count_nonzero(on_edge & predicted))
        self.edge_total[signal] += int(np.count_nonzero(predicted))


def saved_targets(layout: UnitLayout, regions: tuple[str, ...]) -> NDArray[np.intp]:
    """Rows of the targets in the regions whose predictions are kept.

    Parameters
    ----------
    layout
        Units that targets belong to, and what is said per unit.
    regions
        Names of units; names that this subject lacks are passed over, as a study may hold data
        sets with different regions.

    Returns
    -------
    array of int
    """
    kept = [
        np.arange(targets.start, targets.stop)
        for name, targets in zip(layout.names, layout.slices, strict=True)
        if name in regions
    ]
    return np.concatenate(kept) if kept else np.empty(0, dtype=np.intp)
