"""What a model is worth to a person: the score at the layer that the other people choose.

Models differ in how many layers they have, and the largest of many scores is larger than that of
few, whatever they predict. Here the layer (and along time the time) is that at which the *other*
subjects of the data set score best on average; the subject's own score there is no maximum of
anything (*ours*; the scheme of :mod:`gradbrain.hierarchy.peak_units`, for layers in the place of
regions). A lone subject has to choose for itself, which is told in the column ``best_layer``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.vocabulary.roles import TIME

#: What a table of scores is read for.
COLUMNS = (
    *("dataset", "subject", "modality", "axis", "model", "layer_index"),
    *("signal", "role", "rule", "objective", "roi", "time"),
)
#: What one row of the result is of.
ABOUT = ["dataset", "modality", "axis", "model", "signal", "role", "rule", "objective", "variant"]
#: Region of the mean over all regions, and of what is along time.
EVERYWHERE = ""
OTHERS, OWN = "others", "own"


def best_layer_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Score of each subject at the layer that the others choose, by region and over all of them.

    Parameters
    ----------
    scores
        Of one model or several: `COLUMNS`, ``variant`` and ``value``.

    Returns
    -------
    pandas.DataFrame
        `ABOUT`, ``subject``, ``roi`` (`EVERYWHERE`: the mean over the subject's regions or, along
        time, the score at the best layer and time), ``best_layer`` (`OTHERS` or `OWN`), ``value``
        (NaN where a score at the chosen layer is missing) and ``without``: an array, shape
        (subject,), of what the value is when one of the subjects, in the order of their names, has
        no part in the choice; NaN for the subject itself.
    """
    rows = [
        row | dict(zip(ABOUT, key, strict=True))
        for key, own in scores.groupby(ABOUT, sort=True)
        for row in _rows(own)
    ]
    columns = [*ABOUT, "subject", "roi", "best_layer", "value", "without"]
    return pd.DataFrame.from_records(rows, columns=columns)


def _rows(own: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Rows of one signal and variant of one model in one data set."""
    along_time = own["axis"].iloc[0] == TIME
    if along_time:
        own = own[own["time"] > 0]
    subjects, of_subject = _codes(own["subject"])
    layers, of_layer = _codes(own["layer_index"])
    units, of_unit = _codes(own["time" if along_time else "roi"])
    cube = np.full((len(subjects), len(layers), len(units)), np.nan)
    cube[of_subject, of_layer, of_unit] = own["value"].to_numpy(dtype=float)
    recorded = np.zeros((len(subjects), len(units)), bool)
    recorded[of_subject, of_unit] = True
    if along_time:
        # Layer and time are chosen together.
        cube = cube.reshape(len(subjects), -1, 1)
        recorded = recorded.max(axis=1, keepdims=True)
        units = np.array([EVERYWHERE])
    common = {"best_layer": OTHERS if len(subjects) > 1 else OWN}
    values, without = at_best_layer(cube), at_best_layer_without(cube)
    for place, subject in enumerate(subjects):
        has = recorded[place]
        # One mean over regions: a subject who lacks a score in one of them has none.
        parts: list[tuple[Any, Any]] = (
            [] if along_time else [(units[unit], [unit]) for unit in np.flatnonzero(has)]
        )
        for roi, chosen in [*parts, (EVERYWHERE, np.flatnonzero(has))]:
            yield common | {
                "subject": subject,
                "roi": roi,
                "value": values[place, chosen].mean(),
                "without": without[:, place, chosen].mean(axis=-1),
            }


def _codes(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Sorted values of a column, and the place of each row among them."""
    values, places = np.unique(column.to_numpy(), return_inverse=True)
    return values, places


def at_best_layer(scores: np.ndarray) -> np.ndarray:
    """Score of each subject at the layer where the mean of the others is largest.

    Parameters
    ----------
    scores
        Shape (subject, layer, unit); NaN where a subject has no score.

    Returns
    -------
    numpy.ndarray
        Shape (subject, unit); NaN where nobody else has a score, or the subject has none at the
        layer that they choose. Of one subject: the largest of its own.
    """
    known = np.isfinite(scores)
    values = np.where(known, scores, 0.0)
    others = values.sum(axis=0) - values
    counts = known.sum(axis=0) - known
    if len(scores) == 1:
        others, counts = values, known.astype(int)
    means = np.where(counts > 0, others / np.maximum(counts, 1), -np.inf)
    chosen = means.argmax(axis=1)[:, None, :]
    found = np.take_along_axis(scores, chosen, axis=1)[:, 0, :]
    return np.where((counts > 0).any(axis=1), found, np.nan)


def at_best_layer_without(scores: np.ndarray) -> np.ndarray:
    """The same with each subject left out in turn, which changes what the others choose.

    Parameters
    ----------
    scores
        Shape (subject, layer, unit).

    Returns
    -------
    numpy.ndarray
        Shape (subject left out, subject, unit); NaN for the one who is left out.
    """
    n = len(scores)
    found = np.full((n, n, scores.shape[-1]), np.nan)
    for left_out in range(n if n > 1 else 0):
        rest = np.arange(n) != left_out
        found[left_out, rest] = at_best_layer(scores[rest])
    return found
