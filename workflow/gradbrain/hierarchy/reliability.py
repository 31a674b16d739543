"""How well a signal repeats itself, in one number, and which of several does so worst.

Over layers it is the median. The errors of views enter at the output and are sent back through all
layers, so that layers differ little; the median speaks of most of them, and neither one layer where
the signal hardly varies decides nor one that repeats itself by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gradbrain.config.schema import ReliabilitySettings
from gradbrain.store import read_table
from gradbrain.vocabulary.measures import Variant

#: Data set, model and signal.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Reliability:
    """How well a signal repeats itself.

    Attributes
    ----------
    signal
        Its name; ``""`` where none of the signals depends on chance.
    whole, unique
        Median over layers of its reliability, and of that of its unique part; NaN where unknown.
    """

    signal: str = ""
    whole: float = np.nan
    unique: float = np.nan

    def is_below(self, settings: ReliabilitySettings, variant: Variant) -> bool:
        """Whether a row of a variant is not judged because of it; what is unknown is not below."""
        if self.whole < settings.threshold:
            return True
        limit = settings.unique_threshold
        return variant == "unique" and limit is not None and self.unique < limit


Reliabilities = Mapping[Key, Reliability]


def read_reliabilities(scores: Sequence[Path]) -> dict[Key, Reliability]:
    """Summarise the reliabilities beside the scores of all models.

    Parameters
    ----------
    scores
        Tables of kind ``scores``.

    Returns
    -------
    dict
        (data set, model, signal) -> its reliability, of signals that have one. Of a data set whose
        subjects saw images of their own, layers have the mean over subjects.
    """
    found: dict[Key, Reliability] = {}
    for path in scores:
        found |= reliabilities_of(read_table(path, kind="scores"))
    return found


def reliabilities_of(scores: pd.DataFrame) -> dict[Key, Reliability]:
    """Summarise the reliabilities beside the scores of a model, or several; as above."""
    keys = ["dataset", "model", "signal"]
    known = scores[scores["reliability"].notna()]
    rows = known.drop_duplicates([*keys, "layer", "subject"])
    found: dict[Key, Reliability] = {}
    for key, own in rows.groupby(keys):
        layers = own.groupby("layer")[["reliability", "unique_reliability"]].mean()
        whole, unique = layers.median()
        dataset, model, signal = map(str, key)
        found[dataset, model, signal] = Reliability(signal, float(whole), float(unique))
    return found


def least_reliable(
    reliabilities: Reliabilities, dataset: str, model: str, signals: Iterable[str]
) -> Reliability:
    """Find which of the signals that a row compares repeats itself worst.

    A control that does not repeat itself explains too little, which would make the signal that it
    is held against look better.
    """
    known = [
        reliabilities[dataset, model, signal]
        for signal in signals
        if (dataset, model, signal) in reliabilities
    ]
    if not known:
        return Reliability()
    worst = min(known, key=lambda one: one.whole)
    unique = [one.unique for one in known if np.isfinite(one.unique)]
    return Reliability(worst.signal, worst.whole, min(unique, default=np.nan))
