"""What share of the explainable variance a signal has for itself: tests, bounds and power.

The estimate of a signal's variance component is a quadratic form of the responses, so that its
distribution is known for responses that hold any share of the signal
(:mod:`gradbrain.encoding.unique_part`): with the null draws of a person at hand, and with normal
draws for what the planted part adds, the complete test can be put to any share. Two kinds of
plants answer two questions.

``scaled``: weights of the part of the signal that activations do not account for are isotropic in
the scaling of the fit. The estimate is unbiased in this share. The claim is supported where it
exceeds what a share of the size of the margin would give.

``flat``: every direction of that part is read alike, the small ones as much as the large ones, so
that the estimate sees less of it. The claim is contradicted where, at every layer and place, the
estimate stays below what a share of the size of the margin would give *even so*. (Which directions
a brain favours is not known. Of a planted part that a thousand images showed to be new, 74 images
saw .4 and 250 .5: a bound by the first kind of plant would be too low; docs/unique_part.md.)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import ndtr, stdtr

from gradbrain.hierarchy.statistics import (
    TestResult,
    common_maps,
    sign_flip_at_peaks,
    sign_flip_test,
    strictest,
)
from gradbrain.vocabulary.intervals import CONFIDENCE

#: Shares that bounds and power are searched in, and probability of the smallest detectable one.
SHARES = np.round(np.linspace(0.0, 1.0, 101), 2)
POWER = 0.8
#: Numbers that are looked at together, over shares: 8 MiB.
VALUES_AT_ONCE = 2**20


@dataclass(frozen=True)
class PersonShare:
    """The unique part of one signal in one person, at the places where it is read.

    Attributes
    ----------
    component
        Estimate, as a share of the responses' variance.
    null
        Shape (draw,): the same where whitened responses are those of other images.
    explainable
        Share of the responses' variance that can be explained.
    held
        What the estimate becomes where all variance is drawn with the signal: of the ``scaled`` and
        of the ``flat`` kind.
    cross_variance, dose_variance
        Of the two further terms of the estimate, for either kernel.
    """

    component: float
    null: np.ndarray
    explainable: float
    held: tuple[float, float]
    cross_variance: tuple[float, float]
    dose_variance: tuple[float, float]

    def draws(self, share: float | np.ndarray, kernel: int, normal: np.ndarray) -> np.ndarray:
        """Estimates where the signal holds a share of the explainable variance.

        Parameters
        ----------
        share
            One, or shape (share,).
        kernel
            Kind of plant.
        normal
            Shape (draw,): of the standard normal distribution.

        Returns
        -------
        numpy.ndarray
            Shape (..., draw).
        """
        v = np.asarray(share * self.explainable)[..., None]
        rest = np.maximum(1.0 - v, 0.0)
        spread = 4.0 * v * rest * self.cross_variance[kernel] + v**2 * self.dose_variance[kernel]
        noise = np.sqrt(np.maximum(spread, 0.0)) * normal
        return rest * self.null + v * self.held[kernel] + noise


#: Places of the two kinds of plants.
SCALED, FLAT = 0, 1


@dataclass(frozen=True)
class ShareTest:
    """What the unique share of a signal is compared with, and what it could have been.

    Attributes
    ----------
    estimate
        Share of the explainable variance: a ratio of sums over people.
    low, high
        95 % interval of the estimate.
    lower
        Lower 95 % bound, one-sided: above the margin where `test` is passed at 5 %.
    detectable
        Smallest share, scaled, that is found to exceed the margin with a probability of 80 %; NaN
        where not even all explainable variance is.
    test
        That it exceeds the margin.
    ceiling_low
        Lower 95 % bound of the explainable variance over people.
    """

    estimate: float
    low: float
    high: float
    lower: float
    detectable: float
    test: TestResult
    ceiling_low: float


@dataclass(frozen=True)
class GroupShare:
    """The unique part of one signal in people who are tested together.

    Attributes
    ----------
    people
        Who saw the same images share their permutations.
    population
        Whether people stand for others like them: then their spread counts as well.
    maps
        Of each person: estimates of every layer and unit, and what they become where all
        explainable variance is the signal's, (kernel, layer, unit). People choose each other's
        places, which flipping their signs has to repeat; none: their places are given.
    seed
        Of the normal draws.
    """

    people: Sequence[PersonShare]
    population: bool
    maps: Sequence[tuple[xr.DataArray, xr.DataArray]] = ()
    seed: int = 0

    @property
    def explainable(self) -> float:
        """Sum over people of the explainable variance."""
        return float(sum(person.explainable for person in self.people))

    @property
    def component(self) -> float:
        """Sum over people of the estimates."""
        return float(sum(person.component for person in self.people))

    def draws(self, share: float | np.ndarray, kernel: int) -> np.ndarray:
        """Estimates of every person where each holds a share, shape (..., person, draw).

        The explainable variance is drawn with its standard error over people. Shares of shape
        (share,) are given to the same draws.
        """
        random = np.random.default_rng([self.seed, kernel])
        n_draws = len(self.people[0].null)
        factor = np.maximum(1.0 + self._ceiling_error() * random.standard_normal(n_draws), 0.0)
        # The latter half: numbers that were drawn before there was one call for all shares.
        normal = random.standard_normal((2, len(self.people), n_draws))[1]
        pairs = zip(self.people, normal, strict=True)
        held = np.stack([person.draws(share, kernel, own) for person, own in pairs], axis=-2)
        plain = np.stack([person.null for person in self.people])
        return plain + factor * (held - plain)

    def _ceiling_error(self) -> float:
        """Standard error of the mean explainable variance, relative to it."""
        values = np.array([person.explainable for person in self.people])
        if len(values) < 2 or not values.mean() > 0:
            return 0.0
        return float(values.std(ddof=1) / np.sqrt(len(values)) / values.mean())

    def ceiling_low(self) -> float:
        """Lower 95 % bound of the mean explainable variance; of one person, what it has."""
        values = np.array([person.explainable for person in self.people])
        if len(values) < 2:
            return float(values.mean())
        return float(values.mean() - _t(len(values)) * stats.sem(values))

    def above(self, margin: float) -> TestResult:
        """Test that the share exceeds a margin, by images and by people; the stricter counts."""
        drawn = self.draws(margin, SCALED).sum(axis=0)
        n = 1 + len(drawn)
        tests = [TestResult(float((1 + np.sum(drawn >= self.component)) / n), np.nan, 1.0 / n)]
        if self.population:
            tests.append(self._flipped(margin))
        return strictest(tests)

    def _flipped(self, margin: float) -> TestResult:
        """Flip the signs of what people's estimates exceed the margin by."""
        if len(self.maps) < len(self.people):
            return sign_flip_test(self._beyond(margin, SCALED), seed=self.seed)
        beyond = [own - margin * expected.isel(kernel=SCALED) for own, expected in self.maps]
        return sign_flip_at_peaks(common_maps(beyond), below_zero=True, seed=self.seed)

    def _beyond(self, margin: float, kernel: int) -> np.ndarray:
        """Estimate of every person minus what a share of the margin would give."""
        return np.array(
            [
                person.component - margin * person.explainable * person.held[kernel]
                for person in self.people
            ]
        )

    def lower(self) -> float:
        """Smallest share that :meth:`above` does not find exceeded at 5 %; at least 0.

        The bound lies above a margin where the test of that margin is passed, and nowhere else.
        """
        drawn = self.draws(SHARES, SCALED).sum(axis=-2)
        by_images = (1 + np.sum(drawn >= self.component, axis=-1)) / (1 + drawn.shape[-1])
        allowed = np.flatnonzero(by_images > 1.0 - CONFIDENCE)
        first = int(allowed[0]) if len(allowed) else len(SHARES) - 1
        if self.population:
            # The larger the margin the larger p: flips are costly, and few of them are needed.
            shares = range(first)
            first = bisect_left(
                shares, True, key=lambda at: self._flipped(float(SHARES[at])).p > 1.0 - CONFIDENCE
            )
        return float(SHARES[first])

    def interval(self) -> tuple[float, float]:
        """95 % interval of the estimate, by images and by people; the wider counts."""
        total, explainable = self.component, self.explainable
        share = min(max(total / explainable, 0.0), 1.0)
        drawn = self.draws(share, SCALED).sum(axis=0)
        reach = stats.norm.ppf(0.5 + CONFIDENCE / 2) * float(np.std(drawn, ddof=1))
        if self.population:
            n = len(self.people)
            residual = np.array([p.component - share * p.explainable for p in self.people])
            by_people = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * np.sqrt(n)) * float(
                residual.std(ddof=1)
            )
            reach = max(reach, by_people)
        return (total - reach) / explainable, (total + reach) / explainable

    def power(self, share: float | np.ndarray, margin: float) -> np.ndarray:
        """Probability that a share is found to exceed the margin at 5 %, by scaled plants.

        Of people by Student's t, which stands for flips of every draw.
        """
        drawn = self.draws(share, SCALED)
        found = drawn.sum(axis=-2) > self.critical(margin)
        if self.population:
            expected = margin * np.array([person.explainable for person in self.people])
            beyond = drawn - expected[:, None]
            n = len(expected)
            found &= beyond.mean(axis=-2) > _t(n) * beyond.std(axis=-2, ddof=1) / np.sqrt(n)
        return found.mean(axis=-1)

    def critical(self, margin: float) -> float:
        """Sum of estimates that people who hold a share of the margin exceed in 5 % of draws."""
        return float(np.quantile(self.draws(margin, SCALED).sum(axis=0), CONFIDENCE))

    def detectable(self, margin: float) -> float:
        """Smallest share that is found with a probability of 80 %; NaN if none is."""
        enough = np.flatnonzero(self.power(SHARES, margin) < POWER)
        first = enough[-1] + 1 if len(enough) else 0
        return float(SHARES[first]) if first < len(SHARES) else np.nan

    def judge(self, margin: float) -> ShareTest:
        """Everything at once."""
        low, high = self.interval()
        return ShareTest(
            estimate=self.component / self.explainable,
            low=low,
            high=high,
            lower=self.lower(),
            detectable=self.detectable(margin),
            test=self.above(margin),
            ceiling_low=self.ceiling_low(),
        )


@dataclass(frozen=True)
class Cells:
    """Unique variance of one signal at every layer and place, in people who are tested together.

    A claim that a signal is nowhere must hold everywhere: what is read at the best places alone
    would call a share absent whose place was not found.

    Attributes
    ----------
    component
        Shape (person, layer, unit); NaN where a person lacks the unit.
    null
        Shape (person, draw, layer, unit).
    explainable
        Shape (person, unit).
    held, cross_variance, dose_variance
        Shape (person, layer, unit): of flat plants.
    population
        Whether people stand for others like them.
    """

    component: np.ndarray
    null: np.ndarray
    explainable: np.ndarray
    held: np.ndarray
    cross_variance: np.ndarray
    dose_variance: np.ndarray
    population: bool

    def absent(self, share: float) -> float:
        """P of brains that hold a share somewhere: the largest over layers and units.

        Of every cell, how often people who hold a share in it show so little, relative to how often
        people do who hold nothing: an estimate that is small by chance says nothing of a share that
        would not be seen either, and without the ratio every twentieth brain would rule it out
        (Read 2002, *Journal of Physics G* 28:2693). By images and, in a population, by people. A
        unit where no explainable variance is known of anybody holds nothing that could be missed,
        and is left out; 1 where that leaves none.
        """
        return float(self._absent(np.array([share]))[0])

    def upper(self) -> float:
        """Largest share that is not absent at 5 %; at most 1."""
        allowed = SHARES[self._absent(SHARES) > 1.0 - CONFIDENCE]
        return float(max(allowed, default=SHARES[0]))

    def _absent(self, shares: np.ndarray) -> np.ndarray:
        """P of brains that hold each of the shares somewhere, shape (share,)."""
        holds = ((self._variance(np.ones(1))[0] > 0) & np.isfinite(self.component)).any(axis=0)
        if not holds.any():
            return np.ones(len(shares))
        nothing = np.zeros(1)
        by_images, by_people = self._by_images(nothing), None
        if self.population:
            by_people = np.maximum(self._by_people(nothing), np.finfo(float).tiny)
        batch = max(1, VALUES_AT_ONCE // self.component.size)
        found = []
        for start in range(0, len(shares), batch):
            own = shares[start : start + batch]
            ratios = self._by_images(own) / by_images
            if by_people is not None:
                # A unit that one person has is judged by images alone.
                of_people = np.nan_to_num(self._by_people(own) / by_people)
                ratios = np.maximum(ratios, of_people)
            found.append(np.nanmax(np.where(holds, ratios, np.nan), axis=(1, 2)))
        return np.minimum(np.concatenate(found), 1.0)

    def _variance(self, shares: np.ndarray) -> np.ndarray:
        """Share of the responses' variance, shape (share, person, 1, unit)."""
        known = np.maximum(np.nan_to_num(self.explainable), 0.0)
        return shares[:, None, None, None] * known[:, None]

    @cached_property
    def _null_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Of null draws, the mean of every person and the covariance of people, cell by cell.

        Shapes (person, layer, unit) and (layer, unit, person, person).
        """
        # Who lacks a unit adds nothing to a sum over people.
        null = np.nan_to_num(np.moveaxis(self.null, 1, -1))
        mean = null.mean(axis=-1)
        centred = np.moveaxis(null - mean[..., None], 0, -2)
        return mean, centred @ centred.swapaxes(-1, -2) / (null.shape[-1] - 1)

    def _by_images(self, shares: np.ndarray) -> np.ndarray:
        """Probability of so small a sum over people, shape (share, layer, unit).

        By the normal distribution of a sum of many squares: counted among a hundred draws, a ratio
        of two small probabilities would be one.
        """
        v = self._variance(shares)
        rest = np.maximum(1.0 - v, 0.0)
        spread = 4.0 * v * rest * self.cross_variance + v**2 * self.dose_variance
        # Permutations are shared by people who saw the same images: their draws vary together.
        null, covariance = self._null_moments
        mean = (rest * null).sum(axis=1) + np.nansum(v * self.held, axis=1)
        own = rest[:, :, 0].swapaxes(1, 2)  # (share, unit, person)
        variance = np.einsum("kup,lupq,kuq->klu", own, covariance, own, optimize=True)
        deviation = np.sqrt(np.maximum(variance, 0.0) + np.nansum(spread, axis=1))
        known = deviation > 0
        z = (np.nansum(self.component, axis=0) - mean) / np.where(known, deviation, 1.0)
        # Units that are nobody's, or before onset, hold nothing that could be missed.
        return np.where(known, np.maximum(ndtr(z), np.finfo(float).tiny), np.nan)

    def _by_people(self, shares: np.ndarray) -> np.ndarray:
        """The same of a mean over people, by Student's t, shape (share, layer, unit)."""
        beyond = self.component - self._variance(shares) * self.held
        count = np.isfinite(beyond).sum(axis=1)
        enough = count > 1
        mean = np.nansum(beyond, axis=1) / np.maximum(count, 1)
        squares = np.nansum((beyond - mean[:, None]) ** 2, axis=1) / np.maximum(count - 1, 1)
        squares = np.where(enough, np.maximum(squares, np.finfo(float).tiny), 1.0)
        error = np.sqrt(squares / np.maximum(count, 1))
        below = stdtr(np.maximum(count - 1, 1), mean / error)
        return np.where(enough, below, np.nan)


def _t(n: int) -> float:
    """One-sided 95 % quantile of Student's t over n people."""
    return float(stats.t.ppf(CONFIDENCE, n - 1))
