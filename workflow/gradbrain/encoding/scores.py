"""Scores of held-out predictions in one outer fold, with their image draws.

Scores are r (Pearson, centred within the test fold) and R² (out of sample: relative to predicting
the training mean, Σ(y−ŷ)²/Σy² with y centred by the training mean). What does not vary over the
images of a fold has neither there, and is left out of it. Responses that are known up
to a rotation only are pooled: all targets of a unit enter one ratio.

Normalised scores divide by what could be explained at all. With the noise ceiling c of a target,
the share of its variance that is signal, no prediction exceeds r = √c or R² = c in expectation:
they are r/√c and R²/c, averaged over the targets whose ceiling is known and not too small
(Schoppe et al. 2016, *Frontiers in Computational Neuroscience* 10:10; the correction for
attenuation of Spearman 1904, *American Journal of Psychology* 15:72).

Bootstrap draws weight images by how often they were drawn; the moments of all draws are one
matrix product. Null draws match predictions with the responses of other images; as the permuted
scores are linear in the products between images, the products of a unit are taken once and
summed along every permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.draws import ImageDraws, permuted_traces
from gradbrain.encoding.measures import NORMALISED_MEASURES, RAW_MEASURES
from gradbrain.encoding.variation import varies

FLOATS = NDArray[np.floating]

# Products between images that are held at once, over units: 256 MiB in float32.
PRODUCT_ENTRIES = 2**26


@dataclass(frozen=True)
class UnitLayout:
    """Units of scores (regions or times) as neighbouring targets.

    Attributes
    ----------
    names
        Names of the units.
    stops
        Shape (n_units,), int. One past the last target of every unit; the first unit starts at 0.
        Targets behind the last unit belong to none.
    n_targets
        Number of targets.
    pooled
        Whether the targets of a unit enter one ratio (rotation-invariant responses).
    """

    names: tuple[str, ...]
    stops: NDArray[np.intp]
    n_targets: int
    pooled: bool

    @property
    def slices(self) -> list[slice]:
        """Targets of every unit."""
        starts = [0, *self.stops[:-1]]
        return [slice(int(a), int(b)) for a, b in zip(starts, self.stops, strict=True)]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Number of targets of every unit."""
        return np.diff(self.stops, prepend=0)

    @property
    def n_scored(self) -> int:
        """Length of the target axis of scores: units where pooled, else targets."""
        return len(self.names) if self.pooled else self.n_targets

    def membership(self, dtype: np.dtype) -> FLOATS:
        """0/1 matrix of shape (n_units, n_targets)."""
        matrix = np.zeros((len(self.names), self.n_targets), dtype=dtype)
        for row, targets in zip(matrix, self.slices, strict=True):
            row[targets] = 1.0
        return matrix


@dataclass(frozen=True)
class Score:
    """One measure of one prediction in one fold.

    Attributes
    ----------
    point
        Shape (n_scored,).
    boot, null
        Shape (n_draws, n_units).
    """

    point: FLOATS
    boot: FLOATS
    null: FLOATS

    def __sub__(self, other: Score) -> Score:
        return Score(self.point - other.point, self.boot - other.boot, self.null - other.null)


@dataclass(frozen=True)
class UnitAverage:
    """How scores of targets become those of their units.

    Attributes
    ----------
    scale
        Shape (n_scored,). Factor of every score; NaN where a target takes no part.
    weight
        Shape (n_scored,). Factor with which a score enters the sum over its unit; 0 where it takes
        no part.
    share
        Shape (n_scored,). The same of a score that is 1: those of a unit sum to 1.
    known
        Shape (n_units,), bool. Units that have a target which takes part.
    """

    scale: FLOATS
    weight: FLOATS
    share: FLOATS
    known: NDArray[np.bool_]

    @classmethod
    def over(cls, scale: FLOATS, layout: UnitLayout) -> UnitAverage:
        """Average over the targets of every unit whose scale is not NaN."""
        takes_part = np.isfinite(scale)
        weight = np.where(takes_part, scale, 0.0)
        share = takes_part.astype(scale.dtype)
        if layout.pooled:
            return cls(scale, weight, share, takes_part)
        known = np.zeros(len(layout.names), dtype=bool)
        for unit, targets in enumerate(layout.slices):
            count = int(np.count_nonzero(takes_part[targets]))
            known[unit] = count > 0
            weight[targets] /= max(count, 1)
            share[targets] /= max(count, 1)
        return cls(scale, weight, share, known)


class FoldScorer:
    """Scores predictions of the test images of one outer fold.

    Parameters
    ----------
    responses
        Shape (n_targets, n_test). Centred by the training mean.
    layout
        Units that targets belong to, and what is said per unit.
    draws
        Draws of images.
    ceiling
        Shape (n_targets,). Noise ceilings, NaN where a score must not be normalised; needed by
        normalised scores. Targets of a unit whose scores are pooled share theirs.
    training_variance
        Shape (n_targets,). Mean square of the training responses about their mean. Targets that do
        not vary over the test images, or did not over the training images, are compared with the
        other and left out (:mod:`gradbrain.encoding.variation`). Without it only those that are
        zero throughout are.

    Attributes
    ----------
    masked
        Shape (n_scored,), bool. What is left out: NaN in all scores, and no part of its unit's
        mean.
    """

    def __init__(
        self,
        responses: FLOATS,
        layout: UnitLayout,
        draws: ImageDraws,
        ceiling: FLOATS | None = None,
        training_variance: FLOATS | None = None,
    ):
        self._layout = layout
        self._draws = draws
        self._slices = layout.slices
        self._responses = responses
        self._centred = responses - responses.mean(axis=1, keepdims=True)
        # The first column weights every image once: the score itself.
        n_test = responses.shape[1]
        self._weights = np.concatenate([np.ones((1, n_test)), draws.counts], axis=0).T.astype(
            responses.dtype
        )
        self._total = self._weights.sum(axis=0)
        self._membership = layout.membership(responses.dtype)
        self._squares = self._pool(np.square(responses) @ self._weights)
        self._sums = self._centred @ self._weights
        self._variance = self._pool(self._weighted_products(self._centred, self._sums))
        self._reference = (
            self._squares[:, 0] / n_test
            if training_variance is None
            else self._pool(training_variance.astype(responses.dtype)[:, None])[:, 0]
        )
        self.masked = self._without_variance()
        taking_part = np.where(self.masked, np.nan, 1.0).astype(responses.dtype)
        self._mean = UnitAverage.over(taking_part, layout)
        self._normalised: tuple[UnitAverage, UnitAverage] | None = None
        if ceiling is not None:
            if layout.pooled:
                ceiling = ceiling[[targets.start for targets in layout.slices]]
            known = np.asarray(ceiling, dtype=responses.dtype) * taking_part
            self._normalised = (
                UnitAverage.over(1.0 / np.sqrt(known), layout),
                UnitAverage.over(1.0 / known, layout),
            )

    def _without_variance(self) -> NDArray[np.bool_]:
        """What does not vary over the test images, or did not over the training images."""
        n_test = self._responses.shape[1]
        square = self._squares[:, 0] / n_test
        usable = varies(square, self._reference) & varies(self._reference, square)
        if n_test > 1:
            # A single image has no variance of its own, and R² needs none.
            usable &= varies(self._variance[:, 0] / n_test, self._reference)
        return np.asarray(~usable)

    def scores(self, predicted: FLOATS, measures: Sequence[str]) -> list[Score]:
        """Score a prediction by some of `RAW_MEASURES` and `NORMALISED_MEASURES`.

        Parameters
        ----------
        predicted
            Shape (n_targets, n_test).
        measures
            Measures to score.

        Returns
        -------
        list of Score
            In the order of the measures. Targets without a ceiling are NaN in the normalised ones,
            and so is a unit that has no other.

        Raises
        ------
        ValueError
            If a measure is normalised and the scorer was given no ceilings.
        """
        found: dict[str, Score] = {}
        for place, score in enumerate((self._correlation, self._explained)):
            averages = {RAW_MEASURES[place]: self._mean}
            if self._normalised is not None:
                averages[NORMALISED_MEASURES[place]] = self._normalised[place]
            asked = {name: average for name, average in averages.items() if name in measures}
            if asked:
                found |= zip(asked, score(predicted, list(asked.values())), strict=True)
        lacking = set(measures) & set(NORMALISED_MEASURES) - set(found)
        if lacking:
            raise ValueError("scores are normalised by noise ceilings, and none were given")
        return [found[name] for name in measures]

    def unit_mean(self, point: FLOATS) -> FLOATS:
        """Mean over the targets of every unit that are not NaN, shape (n_units,)."""
        if self._layout.pooled:
            return point
        known = np.isfinite(point)
        counts = self._membership @ known
        totals = self._membership @ np.where(known, point, 0.0)
        return np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)

    def _correlation(self, predicted: FLOATS, averages: Sequence[UnitAverage]) -> list[Score]:
        centred = predicted - predicted.mean(axis=1, keepdims=True)
        sums = centred @ self._weights
        variance = self._pool(self._weighted_products(centred, sums))
        covariance = (self._centred * centred) @ self._weights
        covariance -= self._sums * (sums / self._total)
        covariance = self._pool(covariance)
        product = self._variance * variance
        # A draw that holds one image over and over has no variance: its correlation is 0.
        smallest = 1e2 * np.finfo(product.dtype).eps ** 2 * product[:, :1]
        score = np.divide(
            covariance,
            np.sqrt(np.maximum(product, 0.0)),
            out=np.zeros_like(covariance),
            where=product > smallest,
        )
        score[self.masked] = np.nan
        norms = np.sqrt(np.maximum(product[:, 0], 0.0))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=(norms > 0) & ~self.masked)
        found = []
        for average in averages:
            kept = self._centred * self._spread(inverse * average.weight)[:, None]
            found.append(self._score(score, average, self._permuted(kept, centred)))
        return found

    def _explained(self, predicted: FLOATS, averages: Sequence[UnitAverage]) -> list[Score]:
        score = 1.0 - self._ratio(
            self._pool(np.square(self._responses - predicted) @ self._weights)
        )
        found = []
        for average in averages:
            scale = self._inverse_squares(average)[:, None]
            null = 2.0 * self._permuted(self._responses * scale, predicted)
            null -= self._unit_total(predicted * scale, predicted)
            found.append(self._score(score, average, null))
        return found

    def _score(self, score: FLOATS, average: UnitAverage, null: FLOATS) -> Score:
        """Label scores of shape (n_scored, 1 + n_draws), the first column the score itself."""
        boot = self._by_unit(score, average)
        boot[:, ~average.known] = np.nan
        null[:, ~average.known] = np.nan
        return Score(score[:, 0] * average.scale, boot, null)

    def split(self, part: FLOATS, predicted: FLOATS) -> Score:
        """Share of R² that one band's prediction bears, Σ ŷ_b (2y − ŷ) / Σ y².

        The product measure (Pratt 1987; Dupré la Tour et al. 2022, *NeuroImage* 264:119728): the
        shares of all bands sum to the R² of their joint prediction.

        Parameters
        ----------
        part
            Shape (n_targets, n_test). Prediction of the band.
        predicted
            Shape (n_targets, n_test). Prediction of all bands.

        Returns
        -------
        Score
        """
        moments = part * (2.0 * self._responses - predicted)
        score = self._ratio(self._pool(moments @ self._weights))
        scale = self._inverse_squares(self._mean)[:, None]
        null = 2.0 * self._permuted(self._responses * scale, part)
        null -= self._unit_total(part * scale, predicted)
        return self._score(score, self._mean, null)

    def gain(self, baseline: FLOATS, full: FLOATS, difference: Score) -> Score:
        """Difference of R² between two predictions, its null from permuted residuals.

        Under the null the baseline's held-out residuals e = y − ŷ_b are exchangeable over images
        given δ = ŷ_full − ŷ_b: U = (2⟨e, δ_π⟩ − |δ|²) / Σy². In the manner of Freedman & Lane
        (1983) for held-out predictions (ours).

        Parameters
        ----------
        baseline, full
            Shape (n_targets, n_test).
        difference
            R² of `full` minus that of `baseline`; its null is replaced.

        Returns
        -------
        Score
        """
        step = full - baseline
        scale = self._inverse_squares(self._mean)[:, None]
        # The prediction is what moves, as in all null draws, so that their differences are paired.
        null = 2.0 * self._permuted((self._responses - baseline) * scale, step)
        null -= self._unit_total(step * scale, step)
        null[:, ~self._mean.known] = np.nan
        return Score(difference.point, difference.boot, null)

    def _weighted_products(self, centred: FLOATS, sums: FLOATS) -> FLOATS:
        """Weighted sum of squares about the weighted mean, (n_targets, 1 + n_draws)."""
        squares = np.square(centred) @ self._weights
        squares -= np.square(sums) / self._total
        return np.maximum(squares, 0.0, out=squares)

    def _pool(self, moments: FLOATS) -> FLOATS:
        """Sum moments over the targets of a unit where scores are pooled."""
        return self._membership @ moments if self._layout.pooled else moments

    def _by_unit(self, scores: FLOATS, average: UnitAverage) -> FLOATS:
        """Turn the draws of (n_scored, 1 + n_draws) into (n_draws, n_units).

        A draw may hold none of the images over which a target varies: then the other targets speak
        for the unit, and where there is none the score itself, which such a draw says nothing on.
        """
        known = np.isfinite(scores)
        if self._layout.pooled:
            filled = np.where(known, scores, scores[:, :1])
            return (filled * average.weight[:, None])[:, 1:].T
        by_unit = self._membership * average.weight
        if known[average.share > 0].all():
            return (by_unit @ np.where(known, scores, 0.0)[:, 1:]).T
        shares = (self._membership * average.share) @ known.astype(scores.dtype)
        totals = by_unit @ np.where(known, scores, 0.0)
        means = np.divide(totals, shares, out=np.full_like(totals, np.nan), where=shares > 0)
        return np.where(np.isfinite(means), means, means[:, :1])[:, 1:].T

    def _ratio(self, moments: FLOATS) -> FLOATS:
        """Moments over the squares of the responses; NaN where a draw's do not vary."""
        usable = varies(self._squares / self._total, self._reference[:, None])
        usable &= ~self.masked[:, None]
        return np.divide(moments, self._squares, out=np.full_like(moments, np.nan), where=usable)

    def _spread(self, factor: FLOATS) -> FLOATS:
        """Turn a factor per scored row into one per target; 0 for targets outside all units."""
        per_target = np.zeros(self._layout.n_targets, dtype=factor.dtype)
        for unit, targets in enumerate(self._slices):
            per_target[targets] = factor[unit] if self._layout.pooled else factor[targets]
        return per_target

    def _inverse_squares(self, average: UnitAverage) -> FLOATS:
        squares = self._squares[:, 0]
        inverse = np.divide(1.0, squares, out=np.zeros_like(squares), where=~self.masked)
        return self._spread(inverse * average.weight)

    def _permuted(self, kept: FLOATS, moved: FLOATS) -> FLOATS:
        """Σ_t Σ_i kept[t, i] moved[t, π(i)] of every unit, (n_draws, n_units)."""
        n_test = kept.shape[1]
        at_once = max(1, PRODUCT_ENTRIES // n_test**2)
        found = []
        for start in range(0, len(self._slices), at_once):
            slices = self._slices[start : start + at_once]
            products = np.empty((len(slices), n_test, n_test), dtype=kept.dtype)
            for product, targets in zip(products, slices, strict=True):
                np.matmul(kept[targets].T, moved[targets], out=product)
            found.append(permuted_traces(products, self._draws.permutations))
        return np.concatenate(found, axis=1)

    def _unit_total(self, left: FLOATS, right: FLOATS) -> FLOATS:
        """Σ_t Σ_i left right of every unit, (n_units,)."""
        return self._membership @ np.einsum("ij,ij->i", left, right)
