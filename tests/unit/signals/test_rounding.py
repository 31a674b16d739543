"""Rounding: signals that nearly cancel are measured, and warned about or refused."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gradbrain.config.registries import Registries
from gradbrain.config.schema import Pooling
from gradbrain.models.build import VisionModel, build_model, freeze
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.rounding import relative_error
from gradbrain.signals.tape import TapeRecorder

REGISTRIES = Registries([Path(__file__).resolve().parents[3] / "config"])
SIBLINGS = (
    "convnext_sibling",
    "vit_sibling",
    "vit_tiny_untrained",
    "siglip_sibling",
    "dinov3_sibling",
    "mobilenetv2_050_untrained",
)
# Features that come out of a layer normalisation without learned scale have one length.
OF_ONE_LENGTH = {"convnext_sibling", "vit_sibling", "vit_tiny_untrained"}
OBJECTIVES = ("feature_norm", "fixed_cotangent", "view_consistency")
N_IMAGES = 7


def images(tools, model: VisionModel, n_images: int = N_IMAGES, prefix: str = "s") -> ImageBatch:
    found = tools["batch"](n_images, 7, prefix, model.entry.input_size)
    return found.with_raw(found.raw.to(model.dtype))


def in_float64(model: VisionModel) -> VisionModel:
    return dataclasses.replace(
        model, module=model.module.double(), dtype=torch.float64, _constants={}
    )


def extractor_of(model: VisionModel, tools) -> SignalExtractor:
    layers = REGISTRIES.layers(model.entry.architecture, where="test")
    chosen = tools["signal_set"](
        *(tools["backprop"](name) for name in OBJECTIVES),
        pooling=Pooling(kind="cls_mean" if layers[0].layout == "class_and_patches" else "mean"),
    )
    bank = CalibrationBank(model, lambda: iter([images(tools, model, 8, "calibration")]))
    return SignalExtractor(model, [layers[0].name, layers[-1].name], chosen, bank)


def features(extractor: SignalExtractor, batch: ImageBatch, size: int) -> dict[str, np.ndarray]:
    """Signal and layer -> (images, features), taken in batches of one size."""
    parts = [extractor.take(batch.part(slice(at, at + size))) for at in range(0, len(batch), size)]
    return {
        f"{signal.name} {layer}": np.concatenate(
            [part[layer].features[signal.name] for part in parts]
        )
        for layer in extractor.layers
        for signal in extractor.signal_set.signals
    }


@pytest.mark.parametrize("name", SIBLINGS)
def test_signals_are_the_same_in_any_batch_but_for_the_rounding_that_is_measured(
    name, tools, caplog
):
    model = build_model(REGISTRIES.model(name, where="test"))
    batch, extractor = images(tools, model), extractor_of(model, tools)
    caplog.set_level(logging.WARNING)
    together = features(extractor, batch, N_IMAGES)
    measured = extractor.rounding
    for size in (1, 2):
        for key, found in features(extractor, batch, size).items():
            # What is measured is of one disturbance and four images; batches may do some more.
            bound = max(1e-5, 5 * measured[key.partition(" ")[0]])
            assert relative_error(together[key], found) < bound, (key, size, measured)
    warned = [signal for signal, error in measured.items() if error > 1e-3]
    assert warned == (["gradient_feature_norm"] if name in OF_ONE_LENGTH else [])
    assert ("signal 'gradient_feature_norm' is exact to" in caplog.text) == (name in OF_ONE_LENGTH)
    assert "fixed_cotangent" not in caplog.text


@pytest.mark.parametrize("name", sorted(OF_ONE_LENGTH))
def test_what_is_measured_is_the_size_of_the_error(name, tools):
    """The error itself is the difference from float64."""
    model = build_model(REGISTRIES.model(name, where="test"))
    batch, extractor = images(tools, model), extractor_of(model, tools)
    found = features(extractor, batch, N_IMAGES)
    exact = extractor_of(in_float64(model), tools)
    expected = features(exact, batch.with_raw(batch.raw.double()), N_IMAGES)
    errors = [
        relative_error(expected[key], found[key])
        for key in found
        if key.startswith("gradient_feature_norm")
    ]
    ratio = max(errors) / extractor.rounding["gradient_feature_norm"]
    assert 0.2 < ratio < 5, (errors, extractor.rounding)
    assert exact.rounding["gradient_feature_norm"] < 1e-6


def test_the_norm_of_layer_normalised_features_has_the_gradient_that_epsilon_leaves(tools):
    r"""The exact value, by hand, of what float32 gives to two digits.

    With y = (u - mean u) / sqrt(var u + eps): grad |y|^2 / 2 = eps (u - mean u) / (var u + eps)^2.
    """
    model = in_float64(build_model(REGISTRIES.model("convnext_sibling", where="test")))
    batch, layer = images(tools, model), "stages.3.blocks.1"
    tape = TapeRecorder(model, [layer]).record(batch, ("features",), graph=True)
    features, hidden = tape.outputs["features"], tape.layers[layer]
    (found,) = torch.autograd.grad(0.5 * features.square().sum(), [hidden])
    pooled = hidden.detach().mean((2, 3))
    centred = pooled - pooled.mean(1, keepdim=True)
    variance, eps = centred.square().mean(1, keepdim=True), model.module.head.norm.eps
    n_positions = hidden[0, 0].numel()
    expected = eps * centred / (variance + eps) ** 2 / n_positions
    expected = expected[:, :, None, None].expand_as(found)
    # float64 loses as many digits as float32 does: 16 less the 5 that cancel.
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-14)


def test_scales_that_were_learnt_stop_the_cancelling(tools, caplog):
    model = build_model(REGISTRIES.model("convnext_sibling", where="test"))
    scales = model.module.head.norm.weight
    scales.data = 1 + 0.1 * (
        2 * torch.rand(scales.shape, generator=torch.Generator().manual_seed(0)) - 1
    )
    extractor = extractor_of(model, tools)
    caplog.set_level(logging.WARNING)
    extractor.take(images(tools, model))
    assert extractor.rounding["gradient_feature_norm"] < 1e-5
    assert "is exact to" not in caplog.text


class Normalised(nn.Module):
    """Features of one length but for an epsilon that no float32 number resolves."""

    num_classes, num_features = 0, 6

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.LayerNorm(6, eps=1e-12)

    def forward_features(self, batch):
        return self.first(batch)

    def forward_head(self, hidden, pre_logits=False):
        return self.norm(hidden.mean((2, 3)))


@pytest.fixture
def annulling(tiny_entry) -> VisionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionModel(freeze(Normalised()), tiny_entry)


def test_a_signal_that_is_rounding_noise_is_refused_by_name(annulling, tools):
    signals = [tools["backprop"](name) for name in ("fixed_cotangent", "feature_norm")]
    batch = images(tools, annulling)
    kept = tools["signal_set"](signals[0])
    SignalExtractor(annulling, ["first"], kept, None).take(batch)
    extractor = SignalExtractor(annulling, ["first"], tools["signal_set"](*signals), None)
    with pytest.raises(
        SignalError,
        match=r"model 'tiny': signal 'gradient_feature_norm' is rounding noise: images that differ",
    ):
        extractor.take(batch)


def test_measuring_counts_no_image_twice(tiny_entry, tools):
    class Flat(Normalised):
        def forward_head(self, hidden, pre_logits=False):
            return 0 * hidden.mean((2, 3))

    model = VisionModel(freeze(Flat()), tiny_entry)
    chosen = tools["signal_set"](tools["backprop"]("feature_norm"))
    extractor = SignalExtractor(model, ["first"], chosen, None)
    extractor.take(images(tools, model))
    assert extractor.degenerate("first")["zero"] == {"gradient_feature_norm": N_IMAGES}
    # A signal that is zero has no rounding.
    assert extractor.rounding["gradient_feature_norm"] == 0
