"""Tests over subjects and over images, intervals, and the control of false discoveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

#: All 2^n sign patterns are enumerated up to this many subjects.
EXACT_UP_TO = 14
N_RANDOM_FLIPS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class TestResult:
    """A one-sided test.

    Attributes
    ----------
    p
        Probability, under the null, of an estimate at least this far in the stated direction.
    p_opposite
        The same for the opposite direction.
    p_min
        Smallest p that the test can give.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    p: float
    p_opposite: float
    p_min: float


def sign_flip_test(values: np.ndarray, *, seed: int = 0) -> TestResult:
    """Test that the mean over subjects is above zero by flipping the subjects' signs.

    Exact for values that are symmetric about zero under the null: all 2^n patterns of signs up to
    n = 14 subjects, else 10,000 random ones beside the observed one (Nichols & Holmes 2002).

    Parameters
    ----------
    values
        Shape (subject,), finite: the statistic minus its reference, times the direction.
    seed
        Seed of random patterns.

    Returns
    -------
    TestResult
        ``p_min`` is 2^−n where all patterns are enumerated.
    """
    n = len(values)
    if n <= EXACT_UP_TO:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        means = (1 - 2 * patterns) @ values / n
        total, spare = 2**n, 0
    else:
        random = np.random.default_rng(seed)
        means = random.choice((-1.0, 1.0), size=(N_RANDOM_FLIPS, n)) @ values / n
        total, spare = N_RANDOM_FLIPS + 1, 1  # the observed pattern counts as one of them
    observed = values.mean()
    # Sums in another order differ in the last digits; equal patterns must count as equal.
    tie = 1e-12 * np.abs(values).sum()
    return TestResult(
        p=float((spare + np.sum(means >= observed - tie)) / total),
        p_opposite=float((spare + np.sum(means <= observed + tie)) / total),
        p_min=1.0 / total,
    )


def image_permutation_test(estimate: float, null: np.ndarray) -> TestResult:
    """Test that a mean over these subjects exceeds that of permuted images.

    p = (1 + #{null ≥ estimate}) / (1 + draws) (Phipson & Smyth 2010). Null draws whose own mean
    lies on the far side of zero (held-out R² of a useless band is negative, a peak time may be
    biased) are first shifted to mean zero, so that such a bias never makes the test easier; one
    that makes it harder is kept (*ours*, conservative).

    Parameters
    ----------
    estimate
        Mean over subjects, minus its reference, times the direction.
    null
        Shape (draw,): mean over subjects on permuted images, times the direction; NaN draws,
        where the statistic is undefined, are left out.

    Returns
    -------
    TestResult
        NaN throughout if no draw is defined.
    """
    null = null[np.isfinite(null)]
    if not len(null):
        return TestResult(np.nan, np.nan, np.nan)
    centre = null.mean()
    above = null - min(centre, 0.0)
    below = null - max(centre, 0.0)
    total = 1 + len(null)
    return TestResult(
        p=float((1 + np.sum(above >= estimate)) / total),
        p_opposite=float((1 + np.sum(below <= estimate)) / total),
        p_min=1.0 / total,
    )


def bootstrap_interval(
    values: np.ndarray,
    boot: Sequence[np.ndarray],
    *,
    resample_subjects: bool,
    n_boot: int,
    seed: int,
) -> tuple[float, float]:
    """95 % percentile interval of the mean over subjects.

    Images are resampled first: a replicate takes one image draw for all subjects, since subjects
    who saw the same images share the chance of having seen those. Subjects are resampled next,
    unless the inference is about these subjects only.

    Parameters
    ----------
    values
        Shape (subject,): observed statistic.
    boot
        Per subject, shape (draw,): the statistic on resampled images, shifted to `values` by the
        caller where it was computed at another level; NaN draws are left out of a mean.
    resample_subjects
        Whether subjects stand for a population.
    n_boot
        Replicates, where subjects are resampled; otherwise every image draw is one.
    seed
        Seed of the replicates.

    Returns
    -------
    tuple of float
        Lower and upper end; NaN if no draw is defined.
    """
    n_draws = min(map(len, boot))
    if n_draws == 0:
        return np.nan, np.nan
    table = np.stack([draws[:n_draws] for draws in boot])
    if resample_subjects:
        random = np.random.default_rng(seed)
        subjects = random.integers(len(values), size=(n_boot, len(values)))
        replicates = table[subjects, random.integers(n_draws, size=(n_boot, 1))]
    else:
        replicates = table.T
    known = np.isfinite(replicates)
    count = known.sum(axis=1)
    means = np.where(known, replicates, 0.0).sum(axis=1)[count > 0] / count[count > 0]
    if not len(means):
        return np.nan, np.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def false_discovery_q(p: np.ndarray) -> np.ndarray:
    """Benjamini–Hochberg q over one family of tests.

    Parameters
    ----------
    p
        Shape (test,); NaN, where there was no test, takes no part.

    Returns
    -------
    numpy.ndarray
        Shape (test,); NaN where `p` is.
    """
    q = np.full(len(p), np.nan)
    tested = np.isfinite(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested], method="bh")
    return q
