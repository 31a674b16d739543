"""What a signal explains beside all activations and beside another signal.

Two learning rules whose signals both have a unique part may have the same one. The estimate is that
of the unique part (:mod:`gradbrain.encoding.unique_part`), with the other signal of every layer
among what it has to explain variance beside: unbiased at zero where all that a signal has is the
other's as well. It says nothing of which of the two is the cause.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.inputs import ModelFeatures, Responses
from gradbrain.encoding.unique_part import (
    ALL_IMAGES,
    BaselineKernels,
    SignalKernels,
    blocks_of,
    explainable_of_units,
    unit_responses,
)
from gradbrain.encoding.variance_components import BaselineCovariance, estimate_components
from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import CONFIDENCE

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
KIND = "rule_pairs"


def measure_pairs(
    features: ModelFeatures, responses: Responses, settings: EncodingSettings, study: str
) -> pd.DataFrame:
    """Estimate what each signal explains beside all activations and each other signal.

    Parameters
    ----------
    features
        Of all layers of the model.
    responses
        Test images of the data set take no part.
    settings
        Signals, number of draws, seed, largest block of images.
    study
        Name of the study.

    Returns
    -------
    pandas.DataFrame
        Kind ``rule_pairs``: a row per ordered pair of signals, layer and unit; shares of the
        responses' variance.

    Raises
    ------
    EncodingError
        If a signal is not in the features, or fewer than three groups of images are left.
    """
    signals = _chosen(features, settings)
    found = [
        _measure_block(features, signals, responses, images, settings, number)
        for number, images in enumerate(blocks_of(responses, settings))
    ]
    component = np.mean([own for own, _ in found], axis=0)
    null = np.mean([drawn for _, drawn in found], axis=0)
    return _table(component, null, features, signals, responses, study)


def _chosen(features: ModelFeatures, settings: EncodingSettings) -> list[SignalIdentity]:
    """Signals that are compared, in the order of the signal set."""
    known = {signal.name: signal for signal in features.signals}
    missing = sorted(set(settings.rule_pairs) - set(known))
    if missing:
        raise EncodingError(
            f"encoding.rule_pairs: {', '.join(missing)}: not among the signals of the features, "
            f"which are {', '.join(known)}; name some of these"
        )
    return [signal for name, signal in known.items() if name in settings.rule_pairs]


def _measure_block(
    features: ModelFeatures,
    signals: Sequence[SignalIdentity],
    responses: Responses,
    images: NDArray[np.intp],
    settings: EncodingSettings,
    number: int,
) -> tuple[FLOATS, FLOATS]:
    """Estimates (other, signal, layer, unit) and their null draws (draw, the same)."""
    groups = responses.groups[images]
    values = {
        signal: [features.values(layer, signal)[images] for layer in features.layers]
        for signal in signals
    }
    activations = [features.activations[layer][images] for layer in features.layers]
    nuisance = [band[images] for band in features.nuisance.values()]
    permutations = draw_images(
        groups, settings.n_draws, settings.seed, ALL_IMAGES + number
    ).permutations
    units = responses.layout.slices
    shape = (len(signals), len(signals), len(features.layers), len(units))
    component, null = np.zeros(shape), np.zeros((len(permutations), *shape))
    for row, other in enumerate(signals):
        baseline = BaselineKernels.of(activations, [*nuisance, *values[other]], groups)
        others = [place for place in range(len(signals)) if place != row]
        new = [
            SignalKernels.of(baseline.plain, own, learning=False).new
            for place in others
            for own in values[signals[place]]
        ]
        for unit, targets in enumerate(units):
            brain = unit_responses(responses, targets, images)
            covariance = BaselineCovariance.of(
                baseline.all, estimate_components(baseline.all, brain)
            )
            forms = covariance.packed_forms([covariance.seen_root(root) for root in new])
            blocks, products = covariance.whitened.blocks, covariance.products(brain)
            own_shape = (len(others), len(features.layers))
            component[row, others, :, unit] = (forms @ blocks.pack(products)).reshape(own_shape)
            drawn = blocks.permuted_products(forms, products, permutations)
            null[:, row, others, :, unit] = np.moveaxis(drawn.reshape(-1, *own_shape), 0, 1)
        log.info("beside %s: %d images", other.name, len(images))
    return component, null


def _table(
    component: FLOATS,
    null: FLOATS,
    features: ModelFeatures,
    signals: Sequence[SignalIdentity],
    responses: Responses,
    study: str,
) -> pd.DataFrame:
    """Rows of the table, other by other."""
    explainable = explainable_of_units(responses)
    high = np.quantile(null, CONFIDENCE, axis=0)
    brain, layout = responses.attrs, responses.layout
    times = responses.unit_time
    rows: list[dict[str, Any]] = []
    for (row, place, layer, unit), value in np.ndenumerate(component):
        if row == place:
            continue
        signal = signals[place]
        rows.append(
            {
                "study": study,
                **{key: brain[key] for key in ("dataset", "subject", "modality", "axis")},
                "model": features.attrs["model"],
                "layer": features.layers[layer],
                "depth": features.depths[layer],
                "signal": signal.name,
                "role": signal.role,
                "rule": signal.rule,
                "objective": signal.objective,
                "other": signals[row].name,
                "roi": layout.names[unit] if times is None else "",
                "time": np.nan if times is None else float(times[unit]),
                "component": value,
                "null_high": high[row, place, layer, unit],
                "explainable": explainable[unit],
            }
        )
    return pd.DataFrame(rows)[list(columns_of(KIND))]
