"""Another input size is an entry in YAML: of a convnet by itself, of a transformer with kwargs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from gradbrain.config.registries import Registries
from gradbrain.config.schema import ModelEntry, Pooling
from gradbrain.models.build import build_model
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.passes import forward_pass
from gradbrain.signals.extraction import SignalExtractor

ROOT = Path(__file__).resolve().parents[3]
VIT = "vit_tiny_patch16_224"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Write a models.yaml of one's own; return its entry as a study would find it."""
    monkeypatch.chdir(tmp_path)

    def registry(**entry) -> ModelEntry:
        (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": {"mine": entry}}))
        return Registries([ROOT / "config", tmp_path]).model("mine", where="study")

    return registry


@pytest.fixture
def checkpoint(tmp_path, registry):
    """Weights of a ViT at its own size, 224 px, below data/."""
    module = build_model(registry(architecture=VIT, weights={"source": "random", "seed": 4})).module
    path = tmp_path / "data" / "weights" / f"{VIT}.augreg_in21k_ft_in1k.safetensors"
    path.parent.mkdir(parents=True)
    save_file(module.state_dict(), path)
    return module


def activations(entry: ModelEntry, layer: str, tools, n_images: int = 2) -> np.ndarray:
    """Mean over positions of a layer's output, for images of the entry's size."""
    only = tools["signal_set"](pooling=Pooling(kind="mean"))
    batch = tools["batch"](n_images, 5, "image", entry.input_size)
    extractor = SignalExtractor(build_model(entry), [layer], only, None)
    return extractor.take(batch.with_raw(batch.raw.float()))[layer].features["activation"]


@pytest.mark.parametrize("size", [64, 90, 160])
def test_a_convnet_takes_any_input_size(registry, tools, size):
    entry = registry(architecture="resnet18", weights={"source": "random"}, input_size=size)
    found = activations(entry, "layer2.0", tools)
    assert found.shape == (2, 128)
    assert not np.array_equal(found[0], found[1])
    # As many positions as fit: the weights are the same at every size.
    assert forward_pass(entry, ["layer2.0"]).positions == {"layer2.0": int(np.ceil(size / 8)) ** 2}


@pytest.mark.parametrize(
    ("weights", "kwargs"),
    [
        ({"source": "random"}, {"img_size": 96}),
        ({"source": "random"}, {"dynamic_img_size": True}),
        ({"source": "hub", "tag": "augreg_in21k_ft_in1k"}, {"img_size": 96}),
        ({"source": "hub", "tag": "augreg_in21k_ft_in1k"}, {"dynamic_img_size": True}),
        (
            {"source": "file", "path": f"weights/{VIT}.augreg_in21k_ft_in1k.safetensors"},
            {"dynamic_img_size": True},
        ),
    ],
)
def test_a_transformer_takes_another_size_with_kwargs(registry, checkpoint, tools, weights, kwargs):
    entry = registry(architecture=VIT, weights=weights, kwargs=kwargs, input_size=96)
    found = activations(entry, "blocks.3", tools)
    assert found.shape == (2, 192)
    assert forward_pass(entry, ["blocks.3"]).positions == {"blocks.3": 1 + 6 * 6}
    module = build_model(entry).module
    if weights["source"] != "random":
        # Weights are those of the file; positions are resampled, here or in each pass.
        assert torch.equal(module.blocks[0].attn.qkv.weight, checkpoint.blocks[0].attn.qkv.weight)
        n_positions = 1 + (36 if "img_size" in kwargs else 14 * 14)
        assert module.pos_embed.shape == (1, n_positions, 192)


def test_the_two_ways_of_resampling_positions_agree(registry, checkpoint, tools):
    source = {"source": "hub", "tag": "augreg_in21k_ft_in1k"}
    base = {"architecture": VIT, "weights": source, "input_size": 96}
    fixed = activations(registry(**base, kwargs={"img_size": 96}), "blocks.3", tools)
    moving = activations(registry(**base, kwargs={"dynamic_img_size": True}), "blocks.3", tools)
    np.testing.assert_allclose(fixed, moving, rtol=1e-4, atol=1e-5)


def test_a_transformer_without_kwargs_says_what_to_set_where(registry, tools):
    entry = registry(architecture=VIT, weights={"source": "random"}, input_size=96)
    for attempt in (
        lambda: activations(entry, "blocks.3", tools),
        lambda: forward_pass(entry, ["blocks.3"]),
    ):
        with pytest.raises(ModelError, match=r"'mine': .*does not accept images of 96 px") as error:
            attempt()
        assert "kwargs: {img_size: 96}, or {dynamic_img_size: true}" in str(error.value)


def test_a_size_that_is_no_multiple_of_the_patches_is_refused(registry, tools):
    entry = registry(
        architecture=VIT,
        weights={"source": "random"},
        kwargs={"img_size": 100},
        input_size=100,
    )
    with pytest.raises(ModelError, match=r"images of 100 px .*multiple of its patches"):
        activations(entry, "blocks.3", tools)


def test_a_file_of_another_size_says_how_positions_are_resampled(registry, checkpoint):
    entry = registry(
        architecture=VIT,
        weights={"source": "file", "path": f"weights/{VIT}.augreg_in21k_ft_in1k.safetensors"},
        kwargs={"img_size": 96},
        input_size=96,
    )
    with pytest.raises(WeightsError, match=r"pos_embed.*kwargs: \{dynamic_img_size: true\}"):
        build_model(entry)
