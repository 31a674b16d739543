"""Intervals of means over subjects: those of the claims, where a study has enough subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gradbrain.config.schema import StatisticsSettings

#: However few subjects a study asks for, fewer than these have no interval.
FEWEST_SUBJECTS = 4
CONFIDENCE = 0.95


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
    """Add ``ci_low`` and ``ci_high``: the 95 % bootstrap interval of the mean over subjects.

    It is the interval of ``claims.csv``: percentiles over replicates, each of which takes one
    draw of images for all subjects, then subjects with replacement.

    Parameters
    ----------
    rows
        Some rows of the table of statistics, one per subject and group, with ``value`` and
        ``value_at_units``; their index is that of the whole table.
    boot
        Draws of the whole table, shape ``(n_rows, n_draws)``, as ``FigureInputs.statistics`` has
        them.
    by
        Columns that name a group, over whose rows the mean runs.
    settings
        Replicates, seed and the smallest number of subjects.
    within
        Values that the statistic can take; draws are held to them.

    Returns
    -------
    pandas.DataFrame
        The rows. Both columns are NaN in groups of too few subjects and where there are no draws.
    """
    bounds = pd.DataFrame(np.nan, index=rows.index, columns=["ci_low", "ci_high"])
    for _, group in rows.groupby(list(by), sort=False):
        # Not everybody has a best layer or a peak: those who have one are the sample.
        if enough_subjects(int(np.isfinite(group["value"]).sum()), settings):
            bounds.loc[group.index] = bootstrap_interval(group, boot, settings, within=within)
    return rows.assign(**bounds)


def bootstrap_interval(
    rows: pd.DataFrame,
    boot: NDArray[np.float64],
    settings: StatisticsSettings,
    *,
    within: tuple[float, float],
) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``value`` over the rows; NaN without draws.

    Parameters
    ----------
    rows
        One row per subject, as for :func:`with_bootstrap_interval`; they are taken by subject, as
        the claims do: the seed gives the same replicates.
    boot, settings, within
        As for :func:`with_bootstrap_interval`.
    """
    known = rows[np.isfinite(rows["value"].to_numpy(dtype=float))].sort_values("subject")
    n_draws = boot.shape[1]
    if len(known) < 2 or not n_draws:
        return np.nan, np.nan
    # Draws are those of region or time means, the value may be that of targets.
    shift = (known["value"] - known["value_at_units"]).to_numpy(dtype=float)
    table = np.clip(boot[known.index] + shift[:, None], *within)
    random = np.random.default_rng(settings.seed)
    subjects = random.integers(len(table), size=(settings.n_boot, len(table)))
    replicates = table[subjects, random.integers(n_draws, size=(settings.n_boot, 1))]
    count = np.isfinite(replicates).sum(axis=1)
    if not count.any():
        return np.nan, np.nan
    means = np.nansum(replicates[count > 0], axis=1) / count[count > 0]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


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
