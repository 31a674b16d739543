"""What goes out of each registered model, and which tokens of its last layer learn from it.

The table is that of docs/method.md, so that readers see what is tested.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
import torch
from torch import nn

from gradbrain.config.plugins import weights_use
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import ModelEntry
from gradbrain.models.build import VisionModel, build_model
from gradbrain.models.layers import layer_layouts
from gradbrain.models.network import create_network
from gradbrain.objectives.base import ImageBatch
from gradbrain.signals.pooling import layout_of
from gradbrain.signals.tape import TapeRecorder

ROOT = Path(__file__).resolve().parents[3]
REGISTRIES = Registries([ROOT / "config"])
NAMES = sorted(
    name
    for name in read_yaml(ROOT / "config" / "models.yaml")["models"]
    if REGISTRIES.model(name, where="test").is_network
)


def table() -> list[tuple[list[str], list[str]]]:
    """Rows of the table: patterns of model names, and what they are said to do."""
    page = (ROOT / "docs" / "method.md").read_text()
    rows = page.partition("<!-- outputs:start -->")[2].partition("<!-- outputs:end -->")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in rows.splitlines()
        if line.startswith("| `")
    ]
    return [([name.strip(" `") for name in first.split(",")], rest) for first, *rest in cells]


def said_of(name: str) -> list[str]:
    rows = [
        said
        for patterns, said in table()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
    assert len(rows) == 1, f"{name}: {len(rows)} rows of docs/method.md are of it, expected one"
    return rows[0]


def entry_of(name: str) -> ModelEntry:
    return REGISTRIES.model(name, where="test")


def last_layer(entry: ModelEntry) -> str:
    return REGISTRIES.layers(entry.architecture, where="test")[-1].name


def runnable(name: str) -> ModelEntry:
    """The entry itself where its weights are random, else its sibling."""
    entry = entry_of(name)
    if not weights_use(entry, REGISTRIES.plugins, where=name).options.trained:
        return entry
    assert entry.sibling, f"models.yaml: model {name!r} needs a sibling that tests can run"
    sibling = entry_of(entry.sibling)
    assert not weights_use(sibling, REGISTRIES.plugins, where=name).options.trained
    return sibling


def found_z(model: VisionModel, raw: torch.Tensor) -> list[str]:
    """Which of the poolings, each computed here, gives the features of the network."""
    module = model.module
    hidden = module.forward_features(model.normalise(raw))
    features = model.outputs(raw)["features"]
    normalise = getattr(module, "fc_norm", nn.Identity())
    if hidden.ndim == 4:
        mean = hidden.mean((2, 3))
        candidates = {"mean of positions": mean, "image that is given back": hidden.flatten(1)}
        norm = getattr(getattr(module, "head", None), "norm", None)
        if norm is not None:
            candidates["mean of positions, layer-normalised"] = nn.functional.layer_norm(
                mean, mean.shape[1:], norm.weight, norm.bias, norm.eps
            )
    else:
        n_prefix = int(module.num_prefix_tokens)
        patches = hidden[:, n_prefix:]
        candidates = {
            "class token": normalise(hidden[:, 0]),
            "mean of patches": normalise(patches.mean(1)),
        }
        if hasattr(module, "vision_model"):
            post = module.vision_model.post_layernorm(hidden)
            products = module.layer_norm(post[:, 1:] * post[:, :1])
            candidates["mean of patches, each times the class token"] = products.mean(1)
        if getattr(module, "attn_pool", None) is not None:
            # Weights of the attention sum to one, so tokens that are all alike stay as they are
            # before the last projections, however many there are.
            alike = hidden.mean(1, keepdim=True)
            pooled = module.forward_head(alike.expand_as(hidden), pre_logits=True)
            torch.testing.assert_close(
                pooled, module.forward_head(alike, pre_logits=True), rtol=1e-4, atol=1e-5
            )
            candidates["attention pool"] = module.attn_pool(hidden)
    return [
        name
        for name, values in candidates.items()
        if values.shape == features.shape and torch.allclose(values, features, rtol=1e-4, atol=1e-5)
    ]


def reached(gradient: torch.Tensor) -> str:
    """Whether tokens, (images, tokens, features), get a gradient: all, none, some; – of none."""
    if gradient.shape[1] == 0:
        return "–"
    alive = (gradient != 0).any(dim=2)
    return "all" if alive.all() else "some" if alive.any() else "none"


@pytest.mark.parametrize("name", sorted({runnable(name).name for name in NAMES}))
def test_z_and_the_tokens_that_learn_from_it_are_those_of_the_table(name):
    entry, (z, *tokens) = entry_of(name), said_of(name)
    model, layer = build_model(entry), last_layer(entry)
    random = torch.Generator().manual_seed(0)
    raw = torch.rand(2, 3, entry.input_size, entry.input_size, generator=random)
    with torch.no_grad():
        assert found_z(model, raw) == [z]
    recorder = TapeRecorder(model, [layer])
    batch = ImageBatch(("a", "b"), raw, torch.tensor([-1, -1]), (None, None))
    tape = recorder.record(batch, ("features",), graph=True)
    features = tape.outputs["features"]
    direction = torch.randn(features.shape, generator=random)
    (gradient,) = torch.autograd.grad((features * direction).sum(), [tape.layers[layer]])
    layout = layout_of(model, layer, recorder.shapes[layer])
    if layout.kind == "tokens":
        first = 1 if layout.class_token else 0
        parts = [gradient[:, :first], gradient[:, first : layout.n_prefix],
                 gradient[:, layout.n_prefix :]]  # fmt: skip
    else:
        positions = gradient.flatten(2).transpose(1, 2)
        parts = [positions[:, :0], positions[:, :0], positions]
    found = [reached(part) for part in parts]
    # A row may speak of models with and without registers.
    assert [had for had in found if had != "–"] == [
        said for said, had in zip(tokens, found, strict=True) if had != "–"
    ]


def traits(entry: ModelEntry) -> tuple[object, ...]:
    """What decides which tokens go out of a network, read off it without its weights."""
    with torch.device("meta"):
        module = create_network(entry).eval()
        layer = last_layer(entry)
        size = (3, entry.input_size, entry.input_size)
        layout = layer_layouts(module, [layer], size)[layer]
    registers = int(getattr(module, "num_prefix_tokens", 0) or 0) - (layout == "class_and_patches")
    pool = getattr(module, "global_pool", "")
    return (
        layout,
        registers,
        pool if isinstance(pool, str) else "",
        type(getattr(module, "attn_pool", None)).__name__,
        type(getattr(getattr(module, "head", None), "norm", None)).__name__,
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_holds_of_a_sibling_holds_of_its_model(name):
    entry, sibling = entry_of(name), runnable(name)
    assert said_of(name) == said_of(sibling.name)
    assert traits(entry) == traits(sibling)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_layers_says_which_layers_have_a_class_token(name):
    entry = entry_of(name)
    layers = REGISTRIES.layers(entry.architecture, where="test")
    with torch.device("meta"):
        module = create_network(entry).eval()
        size = (3, entry.input_size, entry.input_size)
        found = layer_layouts(module, [layer.name for layer in layers], size)
    assert found == {layer.name: layer.layout_in(entry) for layer in layers}


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_dinov3_has_one_set_of_weights_for_both_ways_out(size):
    with torch.device("meta"):
        patches, class_token = (
            create_network(entry_of(name)).state_dict()
            for name in (f"dinov3_{size}", f"dinov3_{size}_cls")
        )
    assert {name: tensor.shape for name, tensor in patches.items()} == {
        name: tensor.shape for name, tensor in class_token.items()
    }
    assert entry_of(f"dinov3_{size}").weights == entry_of(f"dinov3_{size}_cls").weights
