"""Train an autoencoder by one learning rule; measure how far its signal is from the gradient."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch

from gradbrain.models.autoencoder import Autoencoder
from gradbrain.models.sources.testbed import Options
from gradbrain.objectives.seeds import derived_seed, generator
from gradbrain.signals import SignalError
from gradbrain.signals.testbed_rules import (
    LearningRule,
    ThroughInverses,
    kernels,
    learning_rule,
    reconstruction_loss,
)

log = logging.getLogger(__name__)

#: Share of the groups of images (photographs) that nothing is learnt from, and images of them that
#: are measured at most.
HELD_OUT_SHARE, MOST_MEASURED = 1 / 6, 96


@dataclass(frozen=True)
class TrainingImages:
    """Images as the network takes them, (n, 3, S, S) each.

    Attributes
    ----------
    learnt
        Those that the network learns from.
    held_out
        Those of other photographs, by which it is measured.
    """

    learnt: torch.Tensor
    held_out: torch.Tensor


def split_images(images: torch.Tensor, groups: np.ndarray) -> TrainingImages:
    """Set whole groups of images aside: the same ones for every network.

    Parameters
    ----------
    images
        (n, 3, S, S).
    groups
        (n,) group of each, such as its photograph.

    Raises
    ------
    SignalError
        There are fewer than two groups.
    """
    names = sorted(set(groups.tolist()))
    if len(names) < 2:
        raise SignalError(
            f"the images that a network is trained on are of {len(names)} group(s) "
            f"({', '.join(names)}), expected at least two: one is held out, to be measured by"
        )
    n_held_out = max(1, round(len(names) * HELD_OUT_SHARE))
    chosen = generator("testbed", "held_out").choice(names, size=n_held_out, replace=False)
    kept = np.isin(groups, chosen)
    places = np.flatnonzero(kept)
    measured = places[np.linspace(0, len(places) - 1, min(len(places), MOST_MEASURED)).astype(int)]
    return TrainingImages(images[np.flatnonzero(~kept)], images[measured])


def train(
    network: Autoencoder, images: TrainingImages, options: Options
) -> tuple[LearningRule, pd.DataFrame]:
    """Train a network in place.

    Parameters
    ----------
    network
        Autoencoder with the weights that it starts from, its parameters asking for gradients.
    images
        What it learns from, and what it is measured by.
    options
        Rule, seed, steps and rates.

    Returns
    -------
    rule : LearningRule
        With the feedback that it learnt.
    table : pandas.DataFrame
        Rows of :func:`measure` at evenly spread steps, the first before anything was learnt.

    Raises
    ------
    SignalError
        What is learnt is not finite any more.
    """
    rule = learning_rule(network, options)
    optimiser = torch.optim.AdamW(
        [*network.parameters(), *rule.learnt], lr=options.rate, weight_decay=options.decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    random = torch.Generator().manual_seed(derived_seed("testbed", options.seed))
    measured_at = set(np.linspace(0, options.steps, options.measurements).round().astype(int))
    rows: list[dict[str, Any]] = []
    for step in range(options.steps + 1):
        if step in measured_at:
            found = measure(network, rule, images.held_out)
            rows += [{"step": step, **row} for row in found]
            log.info("step %d: held-out R² %.3f", step, found[0]["r2"])
            if not math.isfinite(found[0]["loss"]):
                raise SignalError(
                    f"step {step}: the loss of {options.learning_rule} is not finite; lower `rate` "
                    "of the weights"
                )
        if step < options.steps:
            chosen = torch.randint(len(images.learnt), (options.batch_size,), generator=random)
            optimiser.zero_grad(set_to_none=True)
            rule.teach(images.learnt[chosen], random)
            optimiser.step()
            schedule.step()
    return rule, pd.DataFrame(rows)


def measure(network: Autoencoder, rule: LearningRule, images: torch.Tensor) -> list[dict[str, Any]]:
    """Compare the signal of a rule with the gradient, layer by layer.

    Parameters
    ----------
    network, rule
        What is trained, and how.
    images
        Held-out images, (n, 3, S, S).

    Returns
    -------
    list of dict
        A row per layer and variant of the signal: ``layer``, ``depth``, ``correction``, ``angle``
        with the gradient and ``turn`` (what becomes of the signal when the same errors arrive at
        another image's activities) in degrees, ``weight_angle`` of forward and feedback weights,
        ``inverse_r2`` of the layer that leads back to it, ``loss`` and ``r2`` of the network.
    """
    values = [one.detach() for one in network.activities(images)]
    error = values[-1] - images
    gradients = _gradients(network, images, error)
    weights = _weight_angles(network, rule)
    inverses = inverse_r2(network, values)
    shared = {
        "loss": float(reconstruction_loss(values[-1], images).mean()) / images[0].numel(),
        "r2": _r2(values[-1], images),
    }
    rows = []
    for variant in rule.variants:
        own = rule.signals(images, error, variant)
        turned = rule.signals(images.roll(1, 0), error, variant)
        for place, name in enumerate(network.layer_names):
            rows.append(
                {
                    "layer": name,
                    "depth": round((place + 1) / len(values), 6),
                    "correction": variant,
                    "angle": angle(own[place], gradients[place]),
                    "turn": angle(own[place], turned[place]),
                    "weight_angle": weights.get(name, math.nan),
                    "inverse_r2": inverses.get(name, math.nan),
                    **shared,
                }
            )
    return rows


def _gradients(
    network: Autoencoder, images: torch.Tensor, error: torch.Tensor
) -> list[torch.Tensor]:
    with torch.enable_grad():
        activities = network.activities(images)
    return list(torch.autograd.grad(activities[-1], activities, error))


def inverse_r2(network: Autoencoder, values: list[torch.Tensor]) -> dict[str, float]:
    """Share of a layer's variance that the layer above it, led back, gives.

    Parameters
    ----------
    network
        Autoencoder.
    values
        Outputs of its layers.

    Returns
    -------
    dict
        Layer -> R² over images, positions and channels; of all layers but the last.
    """
    names = network.layer_names
    with torch.no_grad():
        return {
            below: _r2(network.inverse_of(above)(values[place + 1]), values[place])
            for place, (below, above) in enumerate(pairwise(names))
        }


def _r2(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Share of variance about the mean of each channel."""
    spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).double().square().sum()
    return float(1 - (found - wanted).double().square().sum() / spread)


def _weight_angles(network: Autoencoder, rule: LearningRule) -> Mapping[str, float]:
    """Layer -> angle of its kernel with what errors are sent back through in its place."""
    own = kernels(network)
    if isinstance(rule, ThroughInverses):
        return {}
    return {
        name.removesuffix(".kernel.weight"): angle(
            own[name].detach()[None], rule.feedback.get(name, own[name]).detach()[None]
        )
        for name in own
    }


def angle(first: torch.Tensor, second: torch.Tensor) -> float:
    """Angle of two signals in degrees, mean over images; NaN where all of one are zero."""
    first, second = first.flatten(1).double(), second.flatten(1).double()
    lengths = first.norm(dim=1) * second.norm(dim=1)
    cosine = (first * second).sum(1)[lengths > 0] / lengths[lengths > 0]
    return float(torch.rad2deg(cosine.clamp(-1, 1).acos()).mean())
