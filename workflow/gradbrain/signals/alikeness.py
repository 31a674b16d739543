"""How alike the signals of a model are: cosines of each with each other, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradbrain.store import FeatureStore, SignalIdentity, open_layers
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import SAME_AS_GRADIENT
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

KIND = "alikeness"
BACKPROP = "backprop"
#: Images of which cosines are taken at most, evenly spread.
MOST_IMAGES = 1000


def compare_signals(stores: Sequence[Path], *, study: str) -> pd.DataFrame:
    """Take the cosine of every signal with every other one, at every layer.

    Parameters
    ----------
    stores
        Feature stores of the layers of one model, for the same images and signal set.
    study
        Name of the study.

    Returns
    -------
    pandas.DataFrame
        Kind ``alikeness``: a row per layer and ordered pair of signals. Signals whose width
        differs (one has its magnitude beside it) are compared by their directions. `same_as`
        names the gradient with which a signal is one: of its own objective, or the only one that
        learns where it has none.

    Raises
    ------
    StoreError
        The stores are of several models or signal sets.
    """
    layers = open_layers(stores)
    rows = []
    for store in layers:
        taken = [one for one in store.signals if one.role != ACTIVATION]
        cosines = _cosines(store, taken)
        for place, signal in enumerate(taken):
            rows += [
                {
                    "study": study,
                    "model": store.attrs["model"],
                    "stimuli": store.attrs["stimuli"],
                    "layer": store.layer,
                    "depth": store.attrs["depth"],
                    "signal": signal.name,
                    "role": signal.role,
                    "rule": signal.rule,
                    "objective": signal.objective,
                    "other": other.name,
                    "cosine": cosines[place, at],
                }
                for at, other in enumerate(taken)
                if other != signal
            ]
    table = pd.DataFrame(rows)
    same = _same_as(table, layers[0].signals)
    return table.assign(same_as=table["signal"].map(same).fillna(""))[list(columns_of(KIND))]


def _cosines(store: FeatureStore, signals: Sequence[SignalIdentity]) -> NDArray[np.floating]:
    """Mean over images of the cosine of each pair, shape (n_signals, n_signals); NaN without any.

    Images of which one of the two is zero are left out.
    """
    n_images = len(store.image_ids)
    chosen = np.linspace(0, n_images - 1, min(n_images, MOST_IMAGES)).round().astype(int)
    directions = []
    for signal in signals:
        values = store.directions(signal)[chosen].astype(float)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        directions.append(
            np.divide(values, lengths, out=np.full_like(values, np.nan), where=lengths > 0)
        )
    found = np.full((len(signals), len(signals)), np.nan)
    for first in range(len(signals)):
        for second in range(first, len(signals)):
            products = (directions[first] * directions[second]).sum(1)
            known = products[np.isfinite(products)]
            if known.size:
                found[first, second] = found[second, first] = known.mean()
    return found


def _same_as(table: pd.DataFrame, signals: Sequence[SignalIdentity]) -> dict[str, str]:
    """Signal -> the gradient that it is alike above :data:`SAME_AS_GRADIENT` at every layer."""
    gradients = [one for one in signals if one.rule == BACKPROP and one.role == LEARNING]
    least = table.groupby(["signal", "other"])["cosine"].agg(
        lambda cosine: cosine.min(skipna=False)
    )
    found = {}
    for signal in signals:
        own = [one for one in gradients if one.objective == signal.objective]
        compared = own or (gradients if not signal.objective and len(gradients) == 1 else [])
        for gradient in compared:
            if (
                signal.rule != BACKPROP
                and least.get((signal.name, gradient.name), np.nan) > SAME_AS_GRADIENT
            ):
                found[signal.name] = gradient.name
    return found


def said(table: pd.DataFrame) -> str:
    """Say in one line which signals are one with the gradient."""
    merged = table[table["same_as"] != ""].drop_duplicates("signal")
    if merged.empty:
        return f"no signal has a cosine above {SAME_AS_GRADIENT} with the gradient at every layer"
    pairs = zip(merged["signal"], merged["same_as"], strict=True)
    return ", ".join(f"{signal} counts as {gradient}" for signal, gradient in pairs) + (
        f" (cosine above {SAME_AS_GRADIENT} at every layer)"
    )
