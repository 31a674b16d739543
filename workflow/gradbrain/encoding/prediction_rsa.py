"""Representational similarity of held-out predictions: a second opinion on encoding scores.

Voxel-encoding RSA (Conwell, Prince, Kay, Alvarez & Konkle 2024, *Nature Communications* 15:9383):
features are weighted as an encoding model weights them, and the dissimilarities of its held-out
predictions are compared with those of the measured responses to the same images. Dissimilarities
are taken between images of one outer fold only, whose predictions come from one model; pairs across
folds would compare two.

They compare 1 − r of patterns by Pearson correlation. Dissimilarities here are squared Euclidean
distances over the targets of a unit (*ours*), which a rotation of the targets leaves as they are,
and which add up over independent parts of a response; the comparison is theirs (a rank correlation
would undo the sum). Distances between noisy means over repeats are too large by the noise of both
images. Where noise ceilings are known, that expectation is subtracted, as cross-validation over
repeats would do (Walther et al. 2016, *NeuroImage* 137:188); with as many repeats of every image it
is one constant, which no correlation sees.

What a signal adds is the partial correlation of the measured dissimilarities with those of the full
fit, given those of the baseline. Its null permutes the residual of the measured dissimilarities on
the baseline's, images as rows and columns (residual permutation of the partial Mantel test,
Legendre 2000, *Journal of Statistical Computation and Simulation* 67:37).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.draws import ImageDraws, draw_images
from gradbrain.encoding.inputs import Responses
from gradbrain.encoding.measures import Fit, ScoreRow
from gradbrain.encoding.scores import UnitLayout
from gradbrain.encoding.splits import OuterSplit
from gradbrain.vocabulary.measures import UNIQUE_RDM_R

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
# First and second image of every pair.
Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
# Fewer pairs than three have no correlation that could be below one.
MIN_IMAGES = 4
# Of distances of length 1: what is left of a fit beside another that it equals but for rounding.
ROUNDING = 1e-5


def images_compared(
    groups: NDArray[np.str_], max_images: int, seed: int, fold: int
) -> NDArray[np.intp]:
    """Images of a fold that dissimilarities are taken between: all, or whole groups of them.

    Parameters
    ----------
    groups
        Shape (n_images,). Groups of the held-out images of one fold.
    max_images
        Pairs grow with the square of the images; of more, groups are drawn while they fit.
    seed, fold
        Seed of the draw, and number of the fold.

    Returns
    -------
    array of int
        Places of the images, in their order.
    """
    names, place = np.unique(groups, return_inverse=True)
    if len(groups) <= max_images:
        return np.arange(len(groups))
    sizes, taken, total = np.bincount(place), [], 0
    for group in np.random.default_rng([seed, fold]).permutation(len(names)):
        if total + sizes[group] <= max_images:
            taken.append(group)
            total += sizes[group]
    return np.flatnonzero(np.isin(place, taken))


def can_be_compared(groups: NDArray[np.str_]) -> bool:
    """Whether dissimilarities of some images can be scored and permuted.

    Parameters
    ----------
    groups
        Shape (n_images,). Of the images that :func:`images_compared` has chosen.
    """
    return len(groups) >= MIN_IMAGES and len(np.unique(groups)) > 1


def squared_distances(patterns: FLOATS, pairs: Pairs) -> FLOATS:
    """Squared Euclidean distances between images, over the targets of a unit.

    Parameters
    ----------
    patterns
        Shape (n_targets, n_images).
    pairs
        Shape (n_pairs,), int. First and second image of every pair.

    Returns
    -------
    array of shape (n_pairs,)
    """
    # About the mean image, so that little cancels.
    centred = patterns - patterns.mean(axis=1, keepdims=True)
    gram = centred.T @ centred
    power = np.diag(gram)
    first, second = pairs
    return power[first] + power[second] - 2.0 * gram.ravel()[first * len(gram) + second]


def noise_of_pairs(noise_variance: FLOATS, n_repeats: NDArray[np.int64], pairs: Pairs) -> FLOATS:
    """Expected squared distance between the noise of two images.

    The noise of a mean over n repeats has a variance in proportion to 1/n, and on average over
    images that of `noise_variance`.

    Parameters
    ----------
    noise_variance
        Shape (n_targets,). Mean over images, in the unit of the responses squared.
    n_repeats
        Shape (n_all_images,). Of all images, first those that are compared.
    pairs
        Shape (n_pairs,), int.

    Returns
    -------
    array of shape (n_pairs,)
    """
    share = 1.0 / np.maximum(n_repeats, 1)
    share = share / share.mean()
    first, second = pairs
    return float(noise_variance.sum()) * (share[first] + share[second])


def measured_distances(
    values: FLOATS,
    scale: FLOATS,
    responses: Responses,
    images: NDArray[np.intp],
    pairs: Pairs,
) -> FLOATS:
    """Dissimilarities of measured responses in every unit, without the noise where it is known.

    Parameters
    ----------
    values
        Shape (n_targets, n_images). Responses to the images that are compared, in the fold's
        scaling.
    scale
        Shape (n_targets, 1). What they were divided by.
    responses
        Responses of a subject to the images.
    images
        Shape (n_images,), int. The images, among those of `responses`.
    pairs
        Shape (n_pairs,), int.

    Returns
    -------
    array of shape (n_units, n_pairs)
    """
    found = []
    for targets in responses.layout.slices:
        distances = squared_distances(values[targets].astype(np.float64), pairs)
        ceiling = None if responses.noise_ceiling is None else responses.noise_ceiling[targets]
        repeats = responses.images.n_repeats
        unequal = bool(np.ptp(repeats)) and not responses.layout.pooled
        if unequal and ceiling is not None and np.isfinite(ceiling).all():
            variance = responses.values[targets].var(axis=1, dtype=np.float64)
            noise = (1.0 - np.clip(ceiling, 0.0, 1.0)) * variance / scale[targets, 0] ** 2
            first, second = pairs
            distances -= noise_of_pairs(noise, repeats, (images[first], images[second]))
        found.append(distances)
    return np.stack(found)


@dataclass(frozen=True)
class Comparison:
    """What the dissimilarities of one fold are compared by.

    Attributes
    ----------
    pairs
        Shape (n_pairs,), int. First and second image of every pair.
    weights
        Shape (n_draws, n_pairs). How often every pair is there in every bootstrap draw; an image
        that was drawn twice is no pair with itself.
    permuted
        Shape (n_draws, n_pairs), int. Pair that is matched with every pair in every null draw.
    """

    pairs: Pairs
    weights: FLOATS
    permuted: NDArray[np.intp]

    @classmethod
    def of(cls, draws: ImageDraws) -> Comparison:
        """Turn draws of images into draws of their pairs.

        Parameters
        ----------
        draws
            Draws of images.

        Returns
        -------
        Comparison
        """
        n_images = draws.counts.shape[1]
        first, second = np.triu_indices(n_images, 1)
        pair_of = np.zeros((n_images, n_images), dtype=np.intp)
        pair_of[first, second] = pair_of[second, first] = np.arange(len(first))
        moved = draws.permutations
        return cls(
            pairs=(first, second),
            weights=(draws.counts[:, first] * draws.counts[:, second]).astype(np.float32),
            permuted=pair_of[moved[:, first], moved[:, second]],
        )

    def score(
        self, predicted: FLOATS, baseline: FLOATS, beside: NDArray[np.bool_], measured: FLOATS
    ) -> tuple[FLOATS, FLOATS, FLOATS]:
        """Correlate dissimilarities of predictions with measured ones, in one unit.

        Parameters
        ----------
        predicted
            Shape (n_rows, n_pairs).
        baseline
            Shape (n_pairs,). Of the baseline's predictions.
        beside
            Shape (n_rows,), bool. Rows whose correlation is a partial one, given the baseline's.
        measured
            Shape (n_pairs,).

        Returns
        -------
        point : array of shape (n_rows,)
            0 for a prediction whose dissimilarities do not vary; NaN throughout where the measured
            ones do not.
        boot, null : arrays of shape (n_draws, n_rows)
        """
        rows = np.stack([_unit(row) for row in predicted])
        brain, base = _unit(measured), _unit(baseline)
        shape = (len(self.weights), len(rows))
        if not brain.any():
            return np.full(len(rows), np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        left = np.stack(
            [_left(row, base) if own else row for row, own in zip(rows, beside, strict=True)]
        )
        rest = _left(brain, base)
        point = np.where(beside, left @ rest, rows @ brain)
        null = brain.take(self.permuted) @ rows.T
        if beside.any():
            moved = rest.take(self.permuted)
            known = np.sqrt(np.maximum(1.0 - (moved @ base) ** 2, ROUNDING))
            null[:, beside] = (moved @ left[beside].T) / known[:, None]
        return point, self._resampled(rows, base, beside, brain), null

    def _resampled(
        self, rows: FLOATS, base: FLOATS, beside: NDArray[np.bool_], brain: FLOATS
    ) -> FLOATS:
        """Correlations of resampled images, shape (n_draws, n_rows)."""
        # Lengths are 1: in units of the root mean square, sums of squares keep their digits.
        scaled = np.sqrt(np.float32(len(brain))) * np.vstack([brain, base, rows])
        partners = [scaled[0] * scaled]
        if beside.any():
            partners.append(scaled[1] * scaled)
        # One product for all moments: draws are many, and rows few.
        moments = np.vstack([scaled, np.square(scaled), *partners])
        total = np.maximum(self.weights.sum(axis=1), 1.0)[:, None]
        sums = self.weights @ moments.T / total
        mean, square, *products = np.split(sums, len(moments) // len(scaled), axis=1)
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        with_brain, *with_base = (
            _divided(product - mean * mean[:, [place]], spread * spread[:, [place]])
            for place, product in enumerate(products)
        )
        if not with_base:
            return with_brain[:, 2:]
        between, given = with_brain[:, [1]], with_base[0]
        rest = np.sqrt(np.maximum((1.0 - given**2) * (1.0 - between**2), 0.0))
        partial = _divided(with_brain - given * between, rest)
        return np.where(beside, partial[:, 2:], with_brain[:, 2:])


def _divided(values: FLOATS, by: FLOATS) -> FLOATS:
    """A ratio; 0 where what it divides by is rounding."""
    return np.divide(values, by, out=np.zeros_like(values), where=by > ROUNDING)


def _unit(distances: FLOATS) -> FLOATS:
    """Centred and of length 1, float32; zeros where they do not vary."""
    centred = distances - distances.mean(dtype=np.float64)
    length = float(np.linalg.norm(centred))
    if length <= 1e-7 * float(np.linalg.norm(distances)):
        return np.zeros(len(distances), dtype=np.float32)
    return (centred / length).astype(np.float32)


def _left(row: FLOATS, base: FLOATS) -> FLOATS:
    """What is left beside the baseline, of length 1; zeros where nothing but rounding is."""
    rest = row - (row @ base) * base
    length = float(np.linalg.norm(rest))
    return rest / length if length > ROUNDING else np.zeros_like(rest)


class FoldRdms:
    """Dissimilarities of the predictions of one fold, taken as soon as they are made.

    Parameters
    ----------
    responses
        Responses of a subject to the images.
    split
        Images to learn from and images held out.
    values
        Shape (n_targets, n_test). Held-out responses in the fold's scaling.
    scale
        Shape (n_targets, 1). What they were divided by.
    rows
        What is scored.
    max_images, n_draws, seed
        Images at most, number of draws and their seed.

    Attributes
    ----------
    n_groups
        Groups of the images that are compared; 0 where they are too few.
    """

    def __init__(
        self,
        responses: Responses,
        split: OuterSplit,
        values: FLOATS,
        scale: FLOATS,
        *,
        rows: Sequence[ScoreRow],
        max_images: int,
        n_draws: int,
        seed: int,
    ):
        groups = responses.groups[split.held_out]
        self._layout: UnitLayout = responses.layout
        self._rows = rows
        self._images = images_compared(groups, max_images, seed, split.number)
        own = groups[self._images]
        self._usable = can_be_compared(own)
        self._found: dict[Fit, FLOATS] = {}
        self.n_groups = 0
        if not self._usable:
            log.warning(
                "outer fold %d: %d images of %d groups are too few for dissimilarities (groups of "
                "more than rsa.max_images = %d images are left out)",
                split.number,
                len(own),
                len(np.unique(own)),
                max_images,
            )
            return
        self.n_groups = len(np.unique(own))
        self._comparison = Comparison.of(draw_images(own, n_draws, seed, split.number))
        self._measured = measured_distances(
            values[:, self._images],
            scale,
            responses,
            split.held_out[self._images],
            self._comparison.pairs,
        )

    def add(self, fit: Fit, predicted: FLOATS) -> None:
        """Take the dissimilarities of the predictions of a fit, shape (n_targets, n_test)."""
        if self._usable and any(row.fit == fit for row in self._rows):
            patterns = predicted[:, self._images].astype(np.float64)
            self._found[fit] = np.stack(
                [
                    squared_distances(patterns[own], self._comparison.pairs).astype(np.float32)
                    for own in self._layout.slices
                ]
            )

    def scores(self, baseline: Fit) -> tuple[FLOATS, FLOATS, FLOATS] | None:
        """Score all rows.

        Parameters
        ----------
        baseline
            Fit that signals are held against.

        Returns
        -------
        point : array of shape (n_rows, n_units)
        boot, null : arrays of shape (n_draws, n_rows, n_units)
            None where the fold has too few images.
        """
        if not self._usable:
            return None
        beside = np.array([row.measure == UNIQUE_RDM_R.name for row in self._rows])
        by_unit = [
            self._comparison.score(
                np.stack([self._found[row.fit][unit] for row in self._rows]),
                self._found[baseline][unit],
                beside,
                self._measured[unit],
            )
            for unit in range(len(self._layout.names))
        ]
        point, boot, null = (np.stack(parts, axis=-1) for parts in zip(*by_unit, strict=True))
        return point, boot, null


@dataclass
class RdmAverages:
    """Means of the scores of dissimilarities over outer folds.

    Attributes
    ----------
    rows
        Rows to score.
    score
        Shape (n_rows, n_units).
    boot, null
        Shape (n_draws, n_rows, n_units).
    n_groups
        Groups of the images that were compared, over all folds.
    """

    rows: list[ScoreRow]
    score: FLOATS
    boot: FLOATS
    null: FLOATS
    _known: FLOATS
    n_groups: int = 0

    @classmethod
    def zeros(cls, rows: list[ScoreRow], n_draws: int, n_units: int) -> RdmAverages:
        """Start with nothing added."""
        shape = (len(rows), n_units)
        draws = (n_draws, *shape)
        return cls(rows, np.zeros(shape), np.zeros(draws), np.zeros(draws), np.zeros(shape))

    def add(self, fold: FoldRdms, baseline: Fit) -> None:
        """Add a fold; units that have no score in it have the mean of the other folds."""
        found = fold.scores(baseline)
        if found is None:
            return
        self.n_groups += fold.n_groups
        known = np.isfinite(found[0])
        self._known += known
        for total, values in zip((self.score, self.boot, self.null), found, strict=True):
            total += np.where(known, values, 0.0)

    def divide_by_known(self) -> None:
        """Turn sums into means; NaN where no fold has a score. To be called once."""
        known = np.where(self._known > 0, self._known, np.nan)
        for total in (self.score, self.boot, self.null):
            total /= known

    @property
    def coords(self) -> Mapping[str, tuple[str, NDArray[np.str_]]]:
        """Who the signal of every row is, and what is measured."""
        columns = {
            **{
                name: [getattr(row.signal, name) for row in self.rows]
                for name in ("name", "role", "rule", "objective")
            },
            "measure": [row.measure for row in self.rows],
        }
        columns["signal"] = columns.pop("name")
        return {f"rdm_{name}": ("rdm_row", np.array(values)) for name, values in columns.items()}
