"""At which times a layer's score is above chance, over all times and layers of a model at once.

Threshold-free cluster enhancement (TFCE; Smith & Nichols 2009, *NeuroImage* 44:83–98) makes of the
score at a time the support that its neighbours lend it: the sum, over heights below it, of the
square root of how long the score stays above that height, times the height squared. The largest
value over layers and times is compared with such maxima under permuted images and, where people
are enough, under flips of people; the larger p counts. A time that passes belongs to a stretch that
is above chance: where that stretch begins or ends is not tested (Sassenhagen & Draschkow 2019,
*Psychophysiology* 56:e13335).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.statistics import sign_patterns
from gradbrain.hierarchy.subject_scores import SubjectScores
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import JUDGED, Variant
from gradbrain.vocabulary.roles import TIME

#: Heights that the sum runs over, up to the largest value.
N_HEIGHTS = 50
EXTENT_POWER, HEIGHT_POWER = 0.5, 2.0
#: Patterns of signs at most: more make p no smaller than .001.
MAX_PATTERNS = 1000
#: Numbers that are enhanced at once: 64 MiB.
VALUES_AT_ONCE = 2**23


def enhance(heights: np.ndarray, step: float) -> np.ndarray:
    """Threshold-free cluster enhancement along the last axis; 0 where a height is not above 0.

    Parameters
    ----------
    heights
        Shape (..., time), in units of chance (standard deviations).
    step
        Distance of the heights that are summed over.

    Returns
    -------
    numpy.ndarray
        Of the same shape.
    """
    total = np.zeros(heights.shape)
    for number in range(1, int(np.floor(heights.max(initial=0.0) / step + 1e-9)) + 1):
        above = heights >= number * step - 1e-12
        extent = np.where(above, _run(above) + _run(above[..., ::-1])[..., ::-1] - 1, 0)
        total += extent**EXTENT_POWER * (number * step) ** HEIGHT_POWER * step
    return total


def _run(above: np.ndarray) -> np.ndarray:
    """How many in a row are true up to here."""
    count = np.cumsum(above, axis=-1)
    return count - np.maximum.accumulate(np.where(above, 0, count), axis=-1)


def p_over_time(observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Family-wise p of each layer and time against the maxima of draws.

    Parameters
    ----------
    observed
        Shape (layer, time), in units of chance.
    draws
        Shape (draw, layer, time), the same under the null hypothesis.

    Returns
    -------
    numpy.ndarray
        Shape (layer, time), at least 1/(draws + 1).
    """
    step = max(float(observed.max(initial=0.0)), float(draws.max(initial=0.0)), 1e-12) / N_HEIGHTS
    batch = max(1, VALUES_AT_ONCE // observed.size)
    maxima = np.concatenate(
        [
            enhance(draws[start : start + batch], step).max((-2, -1))
            for start in range(0, len(draws), batch)
        ]
    )
    reached = (maxima[:, None, None] >= enhance(observed, step) * (1 - 1e-12)).sum(axis=0)
    return np.where(observed > 0, (1 + reached) / (1 + len(draws)), 1.0)


def image_p(scores: np.ndarray, null: np.ndarray) -> np.ndarray:
    """P of the mean over people against permuted images.

    Parameters
    ----------
    scores
        Shape (subject, layer, time); NaN where a subject has none.
    null
        Shape (subject, draw, layer, time), NaN there as well.

    Returns
    -------
    numpy.ndarray
        Shape (layer, time): 1 where nobody has a score, which ends a stretch.
    """
    mean, draws = _mean_of_known(scores), _mean_of_known(null)
    # The observed scores are one of the draws if nothing is predicted: left out here, they would be
    # standardised otherwise, and pass in a tenth of cases (100 draws, 3 layers, 40 times).
    every = np.concatenate([mean[None], draws])
    centre, spread = every.mean(axis=0), every.std(axis=0)
    spread = np.where(spread > 0, spread, np.inf)
    # A bias of the null above zero is taken off the score too; one below zero is no help to it.
    return p_over_time((mean - np.maximum(centre, 0.0)) / spread, (draws - centre) / spread)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known; 0 where nothing is."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def people_p(scores: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """P of the mean over people against flips of the signs of people, and the smallest possible.

    Parameters
    ----------
    scores
        Shape (subject, layer, time); NaN where a subject has none.
    seed
        Of random patterns.
    """
    scores = np.nan_to_num(scores)
    # Does not change under flips, as the spread about the mean would.
    size = np.sqrt(np.square(scores).sum(axis=0))
    unit = scores / np.where(size > 0, size, np.inf)
    patterns, _ = sign_patterns(len(scores), seed)
    # The observed pattern counts besides.
    patterns = patterns[np.abs(patterns.sum(axis=1)) < len(scores)]
    if len(patterns) > MAX_PATTERNS:
        patterns = np.random.default_rng(seed).choice(patterns, MAX_PATTERNS, replace=False)
    draws = np.tensordot(patterns, unit, axes=1)
    # All signs turned is a pattern too, and never reaches a sum above zero.
    p = p_over_time(unit.sum(axis=0), np.concatenate([draws, -unit.sum(axis=0)[None]]))
    return p, 1.0 / (len(patterns) + 2)


def time_courses(subjects: Sequence[SubjectScores], settings: StatisticsSettings) -> pd.DataFrame:
    """Test each layer and time of each signal of one model.

    Parameters
    ----------
    subjects
        Of any number of data sets; those along regions are passed over.
    settings
        Number of people whose signs are flipped, seed.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``time_courses``.
    """
    datasets: dict[str, list[SubjectScores]] = defaultdict(list)
    for subject in subjects:
        if subject.axis == TIME:
            datasets[subject.dataset].append(subject)
    tables = [
        _table(people, signal, variant, settings)
        for people in datasets.values()
        for signal in people[0].signals
        for variant in people[0].variants(signal)
    ]
    columns = list(columns_of("time_courses"))
    return (
        pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    )


def _table(
    people: Sequence[SubjectScores], signal: str, variant: Variant, settings: StatisticsSettings
) -> pd.DataFrame:
    first = people[0]
    shared = [unit for unit in first.units if all(unit in person.units for person in people)]
    times = np.array([first.unit_time[first.units.index(unit)] for unit in shared])
    shared = [unit for unit, time in zip(shared, times, strict=True) if time > 0]
    key = (signal, JUDGED[variant].name)
    places = [[person.units.index(unit) for unit in shared] for person in people]
    pairs = list(zip(people, places, strict=True))
    scores = np.stack([person.unit_score[key][..., own] for person, own in pairs])
    null = np.stack([person.null[key][..., own] for person, own in pairs])
    known = np.isfinite(scores) & np.isfinite(null).all(axis=1)
    scores, null = np.where(known, scores, np.nan), np.where(known[:, None], null, np.nan)
    n_known = known.sum(axis=0)
    p, p_min = image_p(scores, null), 1.0 / (1 + null.shape[1])
    if len(people) >= settings.min_subjects:
        flipped, smallest = people_p(scores, settings.seed)
        p, p_min = np.maximum(p, flipped), max(p_min, smallest)
    n_layers, n_times = p.shape
    about = first.signals[signal]
    return pd.DataFrame(
        {
            **{name: getattr(first, name) for name in ("study", "dataset", "modality", "model")},
            "signal": signal,
            "role": about.role,
            "rule": about.rule,
            "objective": about.objective,
            "variant": variant,
            "layer": np.repeat(first.layers, n_times),
            "depth": np.repeat(first.depths, n_times),
            # As the tables of scores have it.
            "time": np.tile([float(unit) for unit in shared], n_layers),
            "mean": np.where(n_known > 0, _mean_of_known(scores), np.nan).ravel(),
            "p": np.where(n_known > 0, p, np.nan).ravel(),
            "p_min": p_min,
            "n_subjects": n_known.ravel(),
        }
    )
