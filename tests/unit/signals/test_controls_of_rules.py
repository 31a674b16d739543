"""Controls of rules whose signal holds the activity: what they catch in made-up brains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import write_rule_table

from gradbrain.encoding.unique_part import BaselineKernels, SignalKernels
from gradbrain.encoding.variance_components import BaselineCovariance, estimate_components
from gradbrain.objectives.calibration import CalibrationBank

N_IMAGES, N_TARGETS, SHARE = 90, 200, 0.3
ACTIVATION = "activation"
RULES = ("predictive_coding_generative", "target_activity")
NUMBERS = ("objective_cross_entropy", "gradient_norm_cross_entropy")
OF_ACTIVITY = ("activity_unit_length", "target_activity_shuffled")
SHARED = ("gradient_feature_norm", "gradient_fixed_cotangent")
GROUPS = np.array([f"image-{number:02d}" for number in range(N_IMAGES)])


def of_any_contrast(batch, seed):
    """The same images at contrasts from .05 to 1, so that activities differ in length."""
    factor = torch.from_numpy(np.random.default_rng(seed).uniform(0.05, 1, len(batch.raw)))
    return batch.with_raw(0.5 + factor.float()[:, None, None, None] * (batch.raw - 0.5))


@pytest.fixture(scope="module")
def values():
    """Layer -> signal -> (n_images, n_features), pooled as in a study, of a small network."""
    size = write_rule_table.SIZE
    images = of_any_contrast(write_rule_table.smooth_images(N_IMAGES, size, 5, "stimulus"), 1)
    bank = of_any_contrast(write_rule_table.smooth_images(60, size, 6, "calibration"), 2)
    network = write_rule_table.network_of("EfficientNet")
    network = dataclasses.replace(
        network, images=images, bank=CalibrationBank(network.model, lambda: iter([bank]))
    )
    signal_set, _ = write_rule_table.entries()
    names = {ACTIVATION, *RULES, *NUMBERS, *OF_ACTIVITY, *SHARED}
    found: dict[str, dict[str, np.ndarray]] = {layer: {} for layer in network.layers}
    for entry in (entry for entry in signal_set.signals if entry.name in names):
        for layer, tensor in network.signals(entry).items():
            pooled = torch.nn.functional.adaptive_avg_pool2d(tensor, 2).flatten(1).double()
            if entry.role != ACTIVATION and signal_set.normalise_of(entry) == "unit":
                pooled = pooled / tensor.flatten(1).double().norm(dim=1, keepdim=True)
            found[layer][entry.name] = (pooled - pooled.mean(0)).numpy()
    return found


def read_out(values, *seed):
    """Targets of mean variance 1 under random weights, (n_images, n_targets)."""
    random = np.random.default_rng(seed)
    made = values @ random.standard_normal((values.shape[1], N_TARGETS))
    return made / np.sqrt(np.mean(made**2))


def unique_parts(values, planted):
    """Estimate of every signal of a middle layer in a brain that holds one of them."""
    layer = list(values)[len(values) // 2]
    activations = [own[ACTIVATION] for own in values.values()]
    brain = sum(
        np.sqrt(0.3 / len(activations)) * read_out(own, 0, place)
        for place, own in enumerate(activations)
    )
    brain = brain + np.sqrt(SHARE) * read_out(values[layer][planted], 1)
    brain = brain + np.sqrt(0.7 - SHARE) * np.random.default_rng(2).standard_normal(brain.shape)
    brain = (brain - brain.mean(0)).T
    baseline = BaselineKernels.of(activations, [], GROUPS)
    covariance = BaselineCovariance.of(baseline.all, estimate_components(baseline.all, brain))
    names = [name for name in values[layer] if name != ACTIVATION]
    roots = [
        covariance.seen_root(
            SignalKernels.of(baseline.plain, values[layer][name], learning=False).new
        )
        for name in names
    ]
    forms = covariance.packed_forms(roots)
    products = covariance.whitened.blocks.pack(covariance.products(brain))
    return dict(zip(names, forms @ products, strict=True))


def test_a_brain_of_scaled_activity_is_no_evidence_of_targets_or_predictions(values):
    """It learns nothing, and beats every number; only controls that hold the activity catch it."""
    found = unique_parts(values, "activity_unit_length")
    for rule in RULES:
        assert found[rule] > 0.03
        for number in NUMBERS:
            assert found[rule] - found[number] > 0.03, (rule, number)
        # The smallest share of interest, .05 of what can be explained, is .03 here.
        assert found[rule] - found["activity_unit_length"] < 0.03, rule
    assert abs(found["target_activity"] - found["target_activity_shuffled"]) < 0.01


def test_a_brain_of_prediction_errors_exceeds_every_control(values):
    found = unique_parts(values, "predictive_coding_generative")
    for control in (*NUMBERS, *SHARED, "activity_unit_length"):
        assert found["predictive_coding_generative"] - found[control] > 0.1, control
