"""Where a layer scores best according to the other subjects: a choice without circularity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradbrain.hierarchy.subject_scores import SubjectScores


def peak_units(
    subject: SubjectScores, peers: Sequence[SubjectScores], key: tuple[str, str]
) -> np.ndarray:
    """Choose, for each layer, the region or time at which the other subjects score best.

    A mean over all regions and times dilutes what a layer explains where it belongs; the maximum
    over a subject's own scores is above zero even if nothing is explained. The mean at places
    that the other subjects choose is neither (*ours*; the scheme of functional regions of
    interest that are defined on independent data, Kriegeskorte et al. 2009).

    Parameters
    ----------
    subject
        The subject that will be scored; its scores are not looked at.
    peers
        Other subjects of the same data set and model. Only units that they share with `subject`
        count.
    key
        (signal, measure).

    Returns
    -------
    ndarray of int, shape (layer,)
        Index into the units of `subject`; −1 where no peer has a score.
    """
    sums = np.zeros(subject.unit_score[key].shape)
    counts = np.zeros(len(subject.units))
    for peer in peers:
        place = {unit: index for index, unit in enumerate(peer.units)}
        own = [index for index, unit in enumerate(subject.units) if unit in place]
        theirs = [place[subject.units[index]] for index in own]
        sums[:, own] += peer.unit_score[key][:, theirs]
        counts[own] += 1
    usable = subject.after_onset & (counts > 0)
    if not usable.any():
        return np.full(len(sums), -1)
    means = np.full(sums.shape, -np.inf)
    means[:, usable] = sums[:, usable] / counts[usable]
    return means.argmax(axis=1)


def mean_at_units(scores: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Average, over layers, each layer's score at its unit.

    Parameters
    ----------
    scores
        Shape (..., layer, unit).
    units
        Shape (layer,), from :func:`peak_units`.

    Returns
    -------
    ndarray, shape (...)
        NaN where no unit could be chosen.
    """
    if (units < 0).any():
        return np.full(scores.shape[:-2], np.nan)
    return scores[..., np.arange(len(units)), units].mean(axis=-1)
