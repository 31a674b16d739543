"""When layers peak in a group: latencies of averages over all people but one, and their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gradbrain.hierarchy.subject_scores import SubjectScores
from gradbrain.hierarchy.temporal import (
    exceeds_null,
    jackknifed,
    peak_lag,
    peak_time,
    temporal_correlation,
)
from gradbrain.vocabulary.measures import Variant
from gradbrain.vocabulary.roles import ACTIVATION

MILLISECONDS = 1000.0


class Levels(NamedTuple):
    """A number, or numbers, as observed, on resampled and on permuted images.

    Attributes
    ----------
    observed
        Any shape.
    boot, null
        The same after a first axis of draws.
    """

    observed: np.ndarray
    boot: np.ndarray
    null: np.ndarray


class _Scores(NamedTuple):
    """Scores whose peaks are read: of a signal, by a measure, or its square with its sign."""

    signal: str
    measure: str
    squared: bool = False


@dataclass(frozen=True)
class Latencies:
    """What one subject has of the latencies of its group.

    Attributes
    ----------
    peaks
        Shape (..., layer), s: peak time of each layer; NaN for layers that are not above chance.
    order
        Shape (...): correlation of depth and peak time over layers.
    lag
        Shape (...), ms: peak times minus those of the activation; None of the activation itself.
    n_layers, n_lag_layers
        Layers that have a peak, and those where the activation has one as well.
    """

    peaks: Levels
    order: Levels
    lag: Levels | None
    n_layers: int
    n_lag_layers: int


def latencies(
    subjects: Sequence[SubjectScores], fraction: float
) -> dict[tuple[str, str, Variant], Latencies]:
    """Latencies of all signals in the subjects of one data set.

    Peak times, their order and their lags are read off the scores averaged over all subjects but
    one, at the times that all have, and given to subjects by
    :func:`gradbrain.hierarchy.temporal.jackknifed`; a lone subject has its own. Layers are those
    that are above chance on average over all subjects, on every draw as well: asking each
    permutation to pass would leave next to none, and no chance level. (So nobody is left out, and
    nobody's latency is missing because their scores are low.)

    Parameters
    ----------
    subjects
        Of one model and data set, with times as units.
    fraction
        Share of the maximum, in (0, 1], that counts as near it.

    Returns
    -------
    dict
        (subject, signal, variant) -> its latencies.
    """
    first, names = subjects[0], [subject.subject for subject in subjects]
    reading = first.reading
    peaks: dict[_Scores, Levels] = {}

    def peaks_of(scores: _Scores) -> Levels:
        if scores not in peaks:
            peaks[scores] = _peaks(subjects, scores, fraction)
        return peaks[scores]

    found: dict[tuple[str, str, Variant], Latencies] = {}
    for signal in first.signals:
        for variant in first.variants(signal):
            own = peaks_of(_Scores(signal, reading.judged[variant].name))
            orders = Levels(*(temporal_correlation(level, first.depths) for level in own))
            lags, n_lags = None, 0
            if first.signals[signal].role != ACTIVATION:
                measure, squared = reading.judged["raw"].name, variant in reading.squared
                before = peaks_of(_Scores(first.activation, measure, squared))
                pairs = list(zip(own, before, strict=True))
                lags = Levels(*(MILLISECONDS * peak_lag(*pair) for pair in pairs))
                n_lags = int(np.isfinite(own.observed[0] - before.observed[0]).sum())
            for place, name in enumerate(names):
                found[name, signal, variant] = Latencies(
                    peaks=_given_to(place, own),
                    order=_given_to(place, orders),
                    lag=None if lags is None else _given_to(place, lags),
                    n_layers=int(np.isfinite(own.observed[0]).sum()),
                    n_lag_layers=n_lags,
                )
    return found


def _given_to(place: int, of_others: Levels) -> Levels:
    """What a subject has of latencies (subject, ...) without each subject."""
    return Levels(*(jackknifed(level)[place] for level in of_others))


def _peaks(subjects: Sequence[SubjectScores], asked: _Scores, fraction: float) -> Levels:
    """Peak times of averages without each subject, shape (subject, ..., layer)."""
    common = set.intersection(*(set(subject.units) for subject in subjects))
    chosen = [[unit in common for unit in subject.units] for subject in subjects]
    times = subjects[0].unit_time[chosen[0]]
    after = times > 0

    def scores(level: int) -> Iterator[np.ndarray]:
        for subject, units in zip(subjects, chosen, strict=True):
            stored = (subject.unit_score, subject.boot, subject.null)[level]
            values = stored[asked.signal, asked.measure][..., units]
            yield values * np.abs(values) if asked.squared else values

    observed, _, null = (_total(scores(level)) for level in range(3))
    passed = exceeds_null(observed.mean(), null.mean(), times)
    found = []
    for level in range(3):
        total = _total(scores(level))
        averages = (total.without(own) if len(subjects) > 1 else own for own in scores(level))
        peaks = [peak_time(average[..., after], times[after], fraction) for average in averages]
        found.append(np.where(passed, np.stack(peaks), np.nan))
    return Levels(*found)


@dataclass(frozen=True)
class _Total:
    """Sum over subjects of what is known, and how many know it."""

    sum: np.ndarray
    count: np.ndarray

    def mean(self) -> np.ndarray:
        """Over all subjects; NaN where nobody has a score."""
        return np.where(self.count > 0, self.sum / np.maximum(self.count, 1), np.nan)

    def without(self, own: np.ndarray) -> np.ndarray:
        """Mean over all subjects but one."""
        known = np.isfinite(own)
        return _Total(self.sum - np.where(known, own, 0.0), self.count - known).mean()


def _total(scores: Iterator[np.ndarray]) -> _Total:
    """Add up subjects one at a time: draws of all together would fill the memory."""
    first = next(scores)
    total = np.where(np.isfinite(first), first, 0.0)
    count = np.isfinite(first).astype(np.int64)
    for own in scores:
        known = np.isfinite(own)
        total += np.where(known, own, 0.0)
        count += known
    return _Total(total, count)
