"""Intervals of means over subjects: those of the claims, where a study has enough subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gradbrain.config.schema import StatisticsSettings
from gradbrain.store.intervals import ImageSample, interval_of_mean
from gradbrain.vocabulary.intervals import CONFIDENCE

#: However few subjects a study asks for, fewer than these have no interval.
FEWEST_SUBJECTS = 4


def enough_subjects(n: int, settings: StatisticsSettings) -> bool:
    """Whether `n` subjects speak for a population, and their mean can have an interval."""
    return n >= max(settings.min_subjects, FEWEST_SUBJECTS)


def with_bootstrap_interval(
    rows: pd.DataFrame,
    boot: NDArray[np.float64],
    by: Sequence[str],
    settings: StatisticsSettings,
    *,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:
    """Add ``ci_low`` and ``ci_high``: the 95 % interval of the mean over subjects.

    It is the interval of ``claims.csv`` (:func:`gradbrain.store.intervals.interval_of_mean`).

    Parameters
    ----------
    rows
        Some rows of the table of statistics, one per subject and group, with ``value``,
        ``n_groups`` and ``n_folds``; their index is that of the whole table.
    boot
        Draws of the whole table, shape ``(n_rows, n_draws)``, as ``FigureInputs.statistics`` has
        them.
    by
        Columns that name a group, over whose rows the mean runs.
    settings
        The smallest number of subjects.
    within
        Values that the statistic can take; ends are held to them.

    Returns
    -------
    pandas.DataFrame
        The rows. Both columns are NaN in groups of too few subjects and where there are no draws.
    """
    bounds = pd.DataFrame(np.nan, index=rows.index, columns=["ci_low", "ci_high"])
    for _, group in rows.groupby(list(by), sort=False):
        # Not everybody has a best layer or a peak: those who have one are the sample.
        known = group[np.isfinite(group["value"].to_numpy(dtype=float))]
        if enough_subjects(len(known), settings):
            bounds.loc[group.index] = interval_of_mean(
                known["value"].to_numpy(dtype=float),
                boot[known.index],
                ImageSample.of_fewest(known),
                population=True,
                within=within,
            )
    return rows.assign(**bounds)


def student_interval(values: np.ndarray, settings: StatisticsSettings) -> tuple[float, float]:
    """95 % Student interval of a mean over subjects; NaN where there are too few.

    For scores whose draws are not at hand.

    Parameters
    ----------
    values
        Shape ``(n_subjects,)``; NaN where a subject has no value.
    settings
        The smallest number of subjects.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if not enough_subjects(len(known), settings):
        return np.nan, np.nan
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1)
    half = quantile * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)
