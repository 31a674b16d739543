"""Where a layer scores best according to the other subjects: a choice without circularity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradbrain.hierarchy.subject_scores import SubjectScores

ScoresOf = Callable[[SubjectScores], np.ndarray]
#: Statistics at the places that other subjects choose -> what they are of a lone subject, who
#: chooses its own. Such a maximum is above zero whatever there is, so that it means nothing but
#: beside permuted images, which choose for themselves as well.
OWN_PEAK = {
    "score_at_peak": "score_at_own_peak",
    "unique_variance": "unique_variance_at_own_peak",
    "control_difference": "control_difference_at_own_peak",
}


def peak_units(
    subject: SubjectScores, peers: Sequence[SubjectScores], scores_of: ScoresOf
) -> np.ndarray:
    """Choose, for each layer, the region or time at which the other subjects score best.

    A mean over all regions and times dilutes what a layer explains where it belongs; the maximum
    over a subject's own scores is above zero even if nothing is explained. The mean at places
    that the other subjects choose is neither (*ours*; the scheme of functional regions of
    interest that are defined on independent data, Kriegeskorte et al. 2009). The choice makes
    the values of subjects depend on each other, which their test accounts for
    (:func:`gradbrain.hierarchy.statistics.sign_flip_at_peaks`).

    Parameters
    ----------
    subject
        The subject that will be scored; its scores are not looked at.
    peers
        Other subjects of the same data set and model. Only units that they share with `subject`
        count; a peer who lacks a score of a layer at a unit has no say there, and one peer who has
        it is enough, as in the test of these values.
    scores_of
        Gives the scores of a subject, shape (..., layer, unit); of draws, too, for each of which
        the choice is made anew.

    Returns
    -------
    ndarray of int, shape (..., layer)
        Index into the units of `subject`; −1 where no peer has a score.
    """
    sums = np.zeros(scores_of(subject).shape)
    counts = np.zeros(sums.shape)
    for peer in peers:
        place = {unit: index for index, unit in enumerate(peer.units)}
        own = [index for index, unit in enumerate(subject.units) if unit in place]
        theirs = [place[subject.units[index]] for index in own]
        scores = scores_of(peer)[..., theirs]
        known = np.isfinite(scores)
        sums[..., own] += np.where(known, scores, 0.0)
        counts[..., own] += known
    usable = subject.after_onset & (counts > 0)
    means = np.where(usable, sums / np.maximum(counts, 1), -np.inf)
    return np.where(usable.any(axis=-1), means.argmax(axis=-1), -1)


def mean_at_units(scores: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Average, over layers, each layer's score at its unit.

    Parameters
    ----------
    scores
        Shape (..., layer, unit).
    units
        Shape (layer,) or (..., layer), from :func:`peak_units`.

    Returns
    -------
    ndarray, shape (...)
        NaN where no unit could be chosen for some layer.
    """
    places = np.broadcast_to(units, scores.shape[:-1])
    found = np.take_along_axis(scores, np.maximum(places, 0)[..., None], axis=-1)[..., 0]
    return np.where(places < 0, np.nan, found).mean(axis=-1)
