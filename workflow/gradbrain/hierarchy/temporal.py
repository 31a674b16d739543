"""When a layer is best predicted: peak times, their order over layers, and lags."""

from __future__ import annotations

import numpy as np

from gradbrain.hierarchy.correlation import correlation_with

#: Level of the test that a layer is above chance.
LEVEL = 0.05
#: Lags of fewer layers are of single ones.
FEWEST_LAYERS = 3


def peak_time(scores: np.ndarray, times: np.ndarray, fraction: float) -> np.ndarray:
    """Mean of the times after onset at which a score is near its maximum.

    t* = mean {t > 0 : s(t) ≥ fraction · max s} (Raugel et al. 2025). The threshold is written as
    max − (1 − fraction) · |max|, which is the same for a positive maximum and keeps t* defined
    for the negative maxima that permuted images give.

    Parameters
    ----------
    scores
        Shape (..., time), mean over sensors.
    times
        Shape (time,), s from image onset.
    fraction
        Share of the maximum, in (0, 1].

    Returns
    -------
    numpy.ndarray
        Shape (...), s; NaN if there is no time after onset or no known score.
    """
    after = times > 0
    values = scores[..., after]
    if not after.any():
        return np.full(scores.shape[:-1], np.nan)
    top = np.where(np.isfinite(values), values, -np.inf).max(axis=-1, keepdims=True)
    near = values >= top - (1.0 - fraction) * np.abs(top)
    count = near.sum(axis=-1)
    total = (near * times[after]).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def exceeds_null(scores: np.ndarray, null: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Layers whose maximum over time is above chance.

    The maximum after onset is compared with maxima on permuted images, so that many times give no
    layer a second chance; and its distance from the mean of all of these, in their standard
    deviation, with the largest such distance of all layers, so that many layers give none either (a
    maximum statistic, Nichols & Holmes 2002). A layer passes where (b + 1) / (draws + 1) is at most
    .05, b draws being as large: fewer than 19 draws let none pass. Mean and deviation are of the
    observed maximum as well, which is one more draw where there is no signal.

    Parameters
    ----------
    scores
        Shape (layer, time).
    null
        Shape (draw, layer, time).
    times
        Shape (time,), s from image onset.

    Returns
    -------
    numpy.ndarray
        Shape (layer,), bool.
    """
    after = times > 0
    if not after.any():
        return np.zeros(len(scores), dtype=bool)
    maxima = np.concatenate([scores[None], null])[..., after].max(axis=-1)
    centre, spread = maxima.mean(axis=0), maxima.std(axis=0)
    distance = (maxima - centre) / np.where(spread > 0, spread, 1.0)
    # A layer with a score that is not known is not above chance.
    distance = np.where(np.isfinite(distance), distance, -np.inf)
    as_large = (distance[1:].max(axis=-1)[:, None] >= distance[0]).sum(axis=0)
    return (1 + as_large) / len(maxima) <= LEVEL


def jackknifed(of_others: np.ndarray) -> np.ndarray:
    """What each subject has of a latency that is read off averages without that subject.

    A peak of one noisy time course may be anywhere; that of an average over people is defined
    where most people have none, and the spread of such latencies over the subject who is left out
    tells how far to trust it (Miller, Patterson & Ulrich 1998, *Psychophysiology* 35:99). Subject
    i is given n J̄ − (n − 1) J_i, with J_i the latency of the others (Smulders 2010,
    *Psychophysiology* 47:387): the mean of these is J̄, and their standard error that of the
    jackknife, so that they enter tests as any values of subjects.

    Parameters
    ----------
    of_others
        Shape (subject, ...): the latency, or any function of latencies, without each subject.

    Returns
    -------
    numpy.ndarray
        The same shape; NaN for all subjects where one has none.
    """
    n = len(of_others)
    return n * of_others.mean(axis=0) - (n - 1) * of_others


def without_each(values: np.ndarray) -> np.ndarray:
    """Latencies of the others again, from what :func:`jackknifed` gave each subject.

    Parameters
    ----------
    values
        Shape (subject, ...).

    Returns
    -------
    numpy.ndarray
        The same shape; a lone subject's own.
    """
    mean = values.mean(axis=0)
    return mean - (values - mean) / max(len(values) - 1, 1)


def temporal_correlation(peaks: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Pearson correlation over layers of depth and peak time (Raugel et al. 2025).

    Parameters
    ----------
    peaks
        Shape (..., layer), s; NaN for layers that are not above chance.
    depths
        Shape (layer,).

    Returns
    -------
    numpy.ndarray
        Shape (...); NaN with fewer than three layers.
    """
    return correlation_with(depths, peaks)


def peak_lag(signal_peaks: np.ndarray, activation_peaks: np.ndarray) -> np.ndarray:
    """Mean over layers of the signal's peak time minus that of the same layer's activation.

    Parameters
    ----------
    signal_peaks, activation_peaks
        Shape (..., layer), s; NaN for layers that are not above chance.

    Returns
    -------
    numpy.ndarray
        Shape (...), s, over the layers where both are known; NaN if these are fewer than three, or
        than all layers of a model that has fewer.
    """
    lag = signal_peaks - activation_peaks
    known = np.isfinite(lag)
    count = known.sum(axis=-1)
    return np.where(
        count >= min(FEWEST_LAYERS, lag.shape[-1]),
        np.where(known, lag, 0.0).sum(axis=-1) / np.maximum(count, 1),
        np.nan,
    )
