"""Intervals of means over people, from the image draws that results hold.

Draws resample the images of a fold against fixed predictions. Their variance is too small in two
ways. Of G groups in K folds it lacks G/(G − K), as any bootstrap of few does; and each pair of
images meets twice in a score, once with either as the training image, which draws take for
independent: up to twice the variance (*ours*; the null draws of fits are widened for the same
reason). Where people are a sample, images add to their spread what all share; the two are summed
(as variances over two crossed samples are, Owen 2007, *Annals of Applied Statistics* 1:386–411),
so that what is a person's own counts twice, and the pairs need not. Quantiles are Student's.
Coverage is measured in docs/calibration.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from gradbrain.vocabulary.intervals import CONFIDENCE


@dataclass(frozen=True)
class ImageSample:
    """What images scores are of.

    Attributes
    ----------
    n_groups
        Groups of images that are never split, as many as images where each is on its own.
    n_folds
        Outer folds.
    """

    n_groups: int
    n_folds: int

    @classmethod
    def of_fewest(cls, rows: pd.DataFrame) -> ImageSample:
        """The images of whoever has the fewest groups, by ``n_groups`` and ``n_folds``."""
        fewest = int(np.argmin(rows["n_groups"].to_numpy()))
        return cls(*(int(rows[name].iloc[fewest]) for name in ("n_groups", "n_folds")))

    @property
    def variance_factor(self) -> float:
        """What the variance of draws is to be multiplied with; infinite with a group per fold."""
        return 2.0 * self.few_groups_factor

    @property
    def few_groups_factor(self) -> float:
        """The part of it that few groups are the reason of."""
        if self.n_groups <= self.n_folds:
            return np.inf
        return self.n_groups / (self.n_groups - self.n_folds)

    def widen(
        self, draws: NDArray[np.floating], *, population: bool = False
    ) -> NDArray[np.floating]:
        """Draws (..., draw) with the spread that they should have about their mean.

        Where people are a sample, and tested as one besides, pairs need not count twice.
        """
        factor = self.few_groups_factor if population else self.variance_factor
        known = np.isfinite(draws)
        count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
        centre = np.where(known, draws, 0.0).sum(axis=-1, keepdims=True) / count
        if not np.isfinite(factor):
            return np.full_like(draws, np.nan)
        return centre + np.sqrt(factor) * (draws - centre)


def interval_of_mean(
    values: NDArray[np.floating],
    draws: NDArray[np.floating],
    images: ImageSample,
    *,
    population: bool,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """95 % interval of the mean over people.

    Parameters
    ----------
    values
        Shape (subject,): the statistic of each.
    draws
        Shape (subject, draw): the statistic on resampled images, a draw being of the same images
        for all who saw the same; NaN draws are left out.
    images
        Of the person with the fewest groups.
    population
        Whether people are a sample of others: then their spread counts too, and degrees of freedom
        are theirs. Else those of the groups of images.
    within
        Values that the statistic can take; the ends are held to them.

    Returns
    -------
    tuple of float
        NaN where there are fewer than two draws, groups beyond one per fold, or people of a
        population.
    """
    n = len(values)
    of_images = _variance(_mean(draws))
    if n < 1 + population or not np.isfinite(images.variance_factor * of_images):
        return np.nan, np.nan
    if population:
        variance = values.var(ddof=1) / n + images.few_groups_factor * of_images
        degrees = n - 1
    else:
        variance, degrees = images.variance_factor * of_images, images.n_groups - 1
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2) * np.sqrt(variance))
    low, high = np.clip((values.mean() - half, values.mean() + half), *within)
    return float(low), float(high)


def score_interval(
    value: NDArray[np.floating], draws: NDArray[np.floating], images: ImageSample
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """95 % intervals of many scores of one person; NaN where there is a group per fold.

    Parameters
    ----------
    value
        Any shape.
    draws
        Shape (draw, *shape of value).
    images
        Of the person.
    """
    factor = images.variance_factor
    if not np.isfinite(factor) or len(draws) < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    quantile = stdtrit(images.n_groups - 1, (1 + CONFIDENCE) / 2)
    half = quantile * np.sqrt(factor) * draws.std(axis=0, ddof=1)
    return value - half, value + half


def _mean(draws: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean over people of those who have a draw, shape (draw,)."""
    known = np.isfinite(draws)
    count = known.sum(axis=0)
    total = np.where(known, draws, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _variance(draws: NDArray[np.floating]) -> float:
    known = draws[np.isfinite(draws)]
    return float(known.var(ddof=1)) if len(known) > 1 else np.nan
