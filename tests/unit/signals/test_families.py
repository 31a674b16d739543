"""The families of the study: each has a small sibling that gives activations and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gradbrain.config.plugins import weights_use
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import Pooling, SignalEntry
from gradbrain.models.build import build_model
from gradbrain.models.errors import LayerError
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.extraction import SignalExtractor

ROOT = Path(__file__).resolve().parents[3]
REGISTRIES = Registries([ROOT / "config"])
ENTRIES = read_yaml(ROOT / "config" / "models.yaml")["models"]
FAMILIES = {
    "dinov3_large",
    "resnet50_imagenet1k",
    "convnext_large_imagenet1k",
    "mae_large",
    "vit_large_imagenet1k",
    "clip_large",
    "siglip2_large",
    "owlvit_large",
}
# What a class token that goes out alone leaves without a gradient, under each pooling.
CLASS_TOKEN_ALONE = ("mae_large", "vit_large_imagenet1k", "clip_large")


def entry_of(name: str):
    return REGISTRIES.model(name, where="test")


def extractor_of(family: str, tools, pooling: str):
    """Extractor of all layers of the sibling under the family's own objective, and its images."""
    entry = entry_of(entry_of(family).sibling)
    layers = [layer.name for layer in REGISTRIES.layers(entry.architecture, where="test")]
    model = build_model(entry)

    def images(n_images: int, seed: int, prefix: str):
        batch = tools["batch"](n_images, seed, prefix, entry.input_size)
        return batch.with_raw(batch.raw.float())

    bank = CalibrationBank(model, lambda: iter([images(4, 8, "calibration")]))
    signal = SignalEntry(
        name="gradient", role="learning", rule="backprop", objective=entry.default_objective
    )
    chosen = tools["signal_set"](signal, pooling=Pooling(kind=pooling))
    return SignalExtractor(model, layers, chosen, bank), images(3, 7, "stimulus")


def test_all_families_of_the_study_are_registered():
    assert set(ENTRIES) >= FAMILIES
    for name in FAMILIES:
        entry, sibling = entry_of(name), entry_of(entry_of(name).sibling)
        assert not weights_use(sibling, REGISTRIES.plugins, where=name).options.trained
        assert (entry.source, entry.default_objective != "") == (sibling.source, True)
        assert entry.licence
        assert entry.citation


@pytest.mark.parametrize(
    "name", [name for name in sorted(ENTRIES) if "tag" in entry_of(name).weights.options]
)
def test_a_revision_is_a_whole_commit_or_none(name):
    # The hub takes whole commit ids only.
    revision = entry_of(name).weights.options.get("revision")
    assert revision is None or (len(revision) == 40 and int(revision, 16) > 0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_small_sibling_gives_activations_and_gradients(family, tools):
    pooling = "cls_mean" if family in CLASS_TOKEN_ALONE else "mean"
    extractor, batch = extractor_of(family, tools, pooling)
    for layer, found in extractor.take(batch).items():
        for name in ("activation", "gradient"):
            values = found.features[name]
            assert values.shape == (3, extractor.widths[layer])
            assert np.isfinite(values).all()
            # Images differ, so what is taken from them does.
            assert not np.array_equal(values[0], values[1]), (layer, name)
        assert (found.magnitude > 0).all(), layer


@pytest.mark.parametrize("family", CLASS_TOKEN_ALONE)
def test_patches_behind_a_class_token_that_goes_out_alone_get_no_gradient(family, tools):
    extractor, batch = extractor_of(family, tools, "mean")
    found = extractor.take(batch)
    last = list(found)[-1]
    assert (found[last].features["gradient"] == 0).all()
    assert extractor.degenerate(last)["zero"] == {"gradient": 3}
    for layer in list(found)[:-1]:
        assert (found[layer].magnitude > 0).all(), layer


@pytest.mark.parametrize("pooling", ["cls", "cls_mean"])
def test_siglip_has_no_class_token_to_pool(pooling, tools):
    with pytest.raises(LayerError, match=r"has no class token .*use `mean` or `grid`"):
        extractor_of("siglip2_large", tools, pooling)


def test_every_token_of_owlvit_gets_a_gradient(tools):
    extractor, batch = extractor_of("owlvit_large", tools, "mean")
    last = extractor.recorder.names[-1]
    tape = extractor.recorder.record(batch, ("features",), graph=True)
    (gradient,) = torch.autograd.grad(tape.outputs["features"].square().sum(), [tape.layers[last]])
    assert (gradient.norm(dim=-1) > 0).all()
