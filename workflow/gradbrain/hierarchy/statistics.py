"""Tests over subjects and over images, and the control of false discoveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.stats import false_discovery_control
from scipy.stats import t as student_t

from gradbrain.vocabulary.intervals import CONFIDENCE

#: All 2^n sign patterns are enumerated up to this many subjects.
EXACT_UP_TO = 14
N_RANDOM_FLIPS = 10_000
#: Numbers that are flipped at once, over patterns: 64 MiB.
FLIPPED_VALUES = 2**23


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
    patterns, spare = sign_patterns(len(values), seed)
    means = patterns @ values / len(values)
    total = len(patterns) + spare
    observed = values.mean()
    # Sums in another order differ in the last digits; equal patterns must count as equal.
    tie = 1e-12 * np.abs(values).sum()
    return TestResult(
        p=float((spare + np.sum(means >= observed - tie)) / total),
        p_opposite=float((spare + np.sum(means <= observed + tie)) / total),
        p_min=1.0 / total,
    )


@dataclass(frozen=True)
class CrossedMean:
    """Mean over people and models, both a sample.

    Attributes
    ----------
    estimate
        The mean.
    low, high
        Its 95 % interval.
    test
        That it lies above zero.
    """

    estimate: float
    low: float
    high: float
    test: TestResult


def crossed_mean(values: np.ndarray) -> CrossedMean:
    """Mean over people and models that are both random and crossed (*ours*).

    Student's t with the variance of the means of people plus that of the means of models, and the
    degrees of freedom of the fewer. The variance of a person with a model is counted in both, so
    that the test is conservative where there is nothing else.

    Parameters
    ----------
    values
        Shape (person, model), at least two of each, finite.
    """
    variance = sum(values.mean(axis=1 - axis).var(ddof=1) / values.shape[axis] for axis in (0, 1))
    error, degrees = float(np.sqrt(variance)), min(values.shape) - 1
    return student_mean(float(values.mean()), error, degrees)


def student_mean(mean: float, error: float, degrees: int) -> CrossedMean:
    """Student's interval and test of a mean with a standard error."""
    statistic = mean / error if error > 0 else float(np.sign(mean)) * np.inf
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    test = TestResult(
        p=float(student_t.sf(statistic, degrees)),
        p_opposite=float(student_t.cdf(statistic, degrees)),
        p_min=0.0,
    )
    return CrossedMean(mean, mean - half, mean + half, test)


def sign_patterns(n: int, seed: int) -> tuple[np.ndarray, int]:
    """Signs of n subjects, (pattern, subject): all of them, or random ones beside the observed.

    The second value is 1 where the observed pattern is not among them and counts besides.
    """
    if n <= EXACT_UP_TO:
        return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1), 0
    random = np.random.default_rng(seed)
    return random.choice((-1.0, 1.0), size=(N_RANDOM_FLIPS, n)), 1


def sign_flip_at_peaks(maps: np.ndarray, *, below_zero: bool = False, seed: int = 0) -> TestResult:
    """Test scores at places that the other subjects choose, choosing anew under every flip.

    Flipping the signs of the chosen values alone takes subjects for independent, which their
    choice of each other's places makes them not: with eight layers, 50 places and six subjects
    who hold nothing, it gives p ≤ .05 in 14 % of cases. Here the sign of a subject turns its
    whole map, and each flip repeats the choice (*ours*).

    Parameters
    ----------
    maps
        Shape (subject, layer, place): the statistic minus its reference. NaN where a subject
        has no such place; a layer needs one that two subjects share.
    below_zero
        Whether the null hypothesis allows places to lie anywhere below zero (a share that must
        exceed a margin at its best place). Flips of what lies far below would be far above, and
        nothing could exceed them: such places are put at zero, the least favourable case, before
        they are flipped (Hansen 2005, *Journal of Business & Economic Statistics* 23:365). The
        opposite direction is then not tested.
    seed
        Seed of random patterns.

    Returns
    -------
    TestResult
        Of the mean over subjects and layers; NaN throughout for fewer than two subjects.
    """
    n = len(maps)
    if n < 2:
        return TestResult(np.nan, np.nan, np.nan)
    known = np.isfinite(maps)
    values = np.where(known, maps, 0.0)
    # Places that nobody else knows cannot be chosen, nor those that a subject itself lacks.
    others = known.sum(axis=0) - known
    allowed = known & (others > 0)
    patterns, spare = sign_patterns(n, seed)
    observed = _mean_at_peaks(values, others, allowed, np.ones((1, n)))[0]
    if below_zero:
        means = values.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        values = np.where(known, values - np.minimum(means, 0.0), 0.0)
    batch = max(1, FLIPPED_VALUES // values.size)
    means = np.concatenate(
        [
            _mean_at_peaks(values, others, allowed, patterns[start : start + batch])
            for start in range(0, len(patterns), batch)
        ]
    )
    total = len(patterns) + spare
    tie = 1e-12 * np.abs(values).max()
    # Places that were put at zero may be chosen by no pattern, not even the observed one.
    above = max(spare + int(np.sum(means >= observed - tie)), 1)
    below = spare + int(np.sum(means <= observed + tie))
    return TestResult(
        p=above / total,
        p_opposite=np.nan if below_zero else below / total,
        p_min=1.0 / total,
    )


def common_maps(maps: Sequence[xr.DataArray]) -> np.ndarray:
    """Put maps of subjects, some of whom lack a unit, into one array.

    Parameters
    ----------
    maps
        Per subject, (layer, unit).

    Returns
    -------
    numpy.ndarray
        Shape (subject, layer, unit): units that any of them has; NaN where a subject lacks one.
    """
    units = sorted({unit for one in maps for unit in one["unit"].values})
    place = {unit: index for index, unit in enumerate(units)}
    joined = np.full((len(maps), maps[0].sizes["layer"], len(units)), np.nan)
    for own, one in zip(joined, maps, strict=True):
        own[:, [place[unit] for unit in one["unit"].values]] = one.values
    return joined[..., np.isfinite(joined).any(axis=(0, 1))]


def _mean_at_peaks(
    values: np.ndarray, others: np.ndarray, allowed: np.ndarray, signs: np.ndarray
) -> np.ndarray:
    """Mean over subjects and layers at the peaks of the others, for each pattern of signs."""
    flipped = signs[:, :, None, None] * values
    means = flipped.sum(axis=1, keepdims=True) - flipped
    means /= np.maximum(others, 1)
    means[:, ~allowed] = -np.inf
    chosen = means.argmax(axis=-1)[..., None]
    return np.take_along_axis(flipped, chosen, axis=-1)[..., 0].mean(axis=(1, 2))


def strictest(results: Sequence[TestResult]) -> TestResult:
    """Ask several tests to reject together: the largest p, in either direction.

    Parameters
    ----------
    results
        Tests of one null hypothesis by different exchangeable units, or of several null
        hypotheses that must all be false (intersection-union; Berger 1982).

    Returns
    -------
    TestResult
        Of those that could be made; NaN throughout if none could.
    """
    made = [result for result in results if np.isfinite(result.p)]
    if not made:
        return TestResult(np.nan, np.nan, np.nan)
    return TestResult(
        p=max(result.p for result in made),
        p_opposite=max(result.p_opposite for result in made),
        p_min=max(result.p_min for result in made),
    )


def bootstrap_test(boot: np.ndarray, reference: float) -> TestResult:
    """Test a mean over these subjects by resampled images.

    For statistics whose null hypothesis is a value and not the absence of all prediction (a lag
    of zero between two signals that both predict): p is the share of draws on the wrong side of
    the reference, with the observed one among the draws.

    Parameters
    ----------
    boot
        Shape (draw,): mean over subjects on resampled images, times the direction; NaN draws are
        left out.
    reference
        Value under the null, times the direction.

    Returns
    -------
    TestResult
        NaN throughout if no draw is defined.
    """
    boot = boot[np.isfinite(boot)]
    if not len(boot):
        return TestResult(np.nan, np.nan, np.nan)
    total = 1 + len(boot)
    return TestResult(
        p=float((1 + np.sum(boot <= reference)) / total),
        p_opposite=float((1 + np.sum(boot >= reference)) / total),
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
