"""Pooling, projection and scaling: exact on values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gradbrain.config.schema import Pooling, Projection
from gradbrain.models.errors import LayerError
from gradbrain.signals.normalisation import unit_length, vector_norm
from gradbrain.signals.pooling import Layout, layout_of, pooling_function
from gradbrain.signals.projection import RandomProjection, projection_matrix

TOKENS = Layout("tokens", 2, (2, 3), class_token=True)  # class token, one register, 2 x 3 patches
MAP = Layout("channels_first", 0, (4, 4))


def tokens() -> torch.Tensor:
    """Class token 100, register 200, patches 0 … 5; the second feature is the negative."""
    values = torch.tensor([100.0, 200, 0, 1, 2, 3, 4, 5])
    return torch.stack([values, -values], dim=1)[None]


def pooled(kind: str, layout: Layout, values: torch.Tensor, size: int = 1) -> list[float]:
    function = pooling_function(Pooling(kind=kind, size=size), layout, "layer")
    return function(values)[0].tolist()


def test_the_class_token_is_the_first():
    assert pooled("cls", TOKENS, tokens()) == [100, -100]


def test_the_mean_leaves_class_token_and_registers_out():
    assert pooled("mean", TOKENS, tokens()) == [2.5, -2.5]
    assert pooled("cls_mean", TOKENS, tokens()) == [100, -100, 2.5, -2.5]


def test_the_grid_averages_within_its_cells():
    values = torch.arange(16.0).view(1, 1, 4, 4)
    assert pooled("grid", MAP, values, 2) == [2.5, 4.5, 10.5, 12.5]
    assert pooled("grid", MAP, values, 1) == pooled("mean", MAP, values) == [7.5]
    # A layer coarser than the grid keeps its own resolution.
    assert pooled("grid", MAP, values, 9) == values.flatten().tolist()


def test_a_grid_of_patches_keeps_rows_and_columns():
    # 2 x 3 patches as a grid of 2 rows and 2 columns: columns 0-1 and 1-2 overlap in column 1.
    assert pooled("grid", TOKENS, tokens(), 2) == [0.5, 1.5, 3.5, 4.5, -0.5, -1.5, -3.5, -4.5]


def test_channels_last_equals_channels_first():
    values = torch.rand(2, 3, 4, 4)
    last = Layout("channels_last", 0, (4, 4))
    for kind, size in (("mean", 1), ("grid", 2)):
        first = pooling_function(Pooling(kind=kind, size=size), MAP, "layer")(values)
        moved = values.permute(0, 2, 3, 1)
        found = pooling_function(Pooling(kind=kind, size=size), last, "layer")(moved)
        torch.testing.assert_close(found, first)


def test_vectors_pass_unchanged():
    layout = Layout("vector", 0, (1, 1))
    assert pooled("mean", layout, torch.tensor([[1.0, 2.0]])) == [1, 2]
    assert pooled("grid", layout, torch.tensor([[1.0, 2.0]]), 3) == [1, 2]


@pytest.mark.parametrize("kind", ["cls", "cls_mean"])
@pytest.mark.parametrize("layout", [MAP, Layout("tokens", 0, (2, 2)), Layout("vector", 0, (1, 1))])
def test_a_class_token_is_not_invented(kind, layout):
    with pytest.raises(LayerError, match=r"has no class token .*use `mean` or `grid`"):
        pooling_function(Pooling(kind=kind), layout, "layer")


def test_layouts_are_read_off_the_network(tiny_model):
    network = tiny_model.module
    assert layout_of(tiny_model, "l", (1, 8)).kind == "vector"
    assert layout_of(tiny_model, "l", (1, 8, 5, 6)) == Layout("channels_first", 0, (5, 6))
    network.output_fmt = "NHWC"
    assert layout_of(tiny_model, "l", (1, 5, 6, 8)) == Layout("channels_last", 0, (5, 6))
    network.num_prefix_tokens = 5
    assert layout_of(tiny_model, "l", (1, 21, 8)) == Layout("tokens", 5, (4, 4), class_token=True)
    network.patch_embed = nn.Identity()
    network.patch_embed.grid_size = (2, 8)
    assert layout_of(tiny_model, "l", (1, 21, 8)) == Layout("tokens", 5, (2, 8), class_token=True)
    # Before the prefix tokens are put in front.
    assert layout_of(tiny_model, "l", (1, 16, 8)) == Layout("tokens", 0, (2, 8))
    with pytest.raises(LayerError, match=r"'tiny': layer 'l' gives shape \(1, 12, 8\)"):
        layout_of(tiny_model, "l", (1, 12, 8))


@pytest.mark.parametrize("declared", [{"has_class_token": False}, {"cls_token": None}])
def test_a_register_is_no_class_token(declared, tiny_model):
    network = tiny_model.module
    network.num_prefix_tokens = 1
    for name, value in declared.items():
        setattr(network, name, value)
    layout = layout_of(tiny_model, "l", (1, 17, 8))
    assert layout == Layout("tokens", 1, (4, 4), class_token=False)
    with pytest.raises(LayerError, match="has no class token"):
        pooling_function(Pooling(kind="cls_mean"), layout, "l")


@pytest.mark.parametrize("kind", ["cls", "mean", "cls_mean", "grid"])
@pytest.mark.parametrize("layout", [TOKENS, MAP, Layout("tokens", 1, (2, 2)),
                                    Layout("vector", 0, (1, 1))])  # fmt: skip
def test_the_plan_accepts_what_the_extraction_can_pool(kind, layout):
    pooling = Pooling(kind=kind)
    if pooling.accepts(layout.word):
        pooling_function(pooling, layout, "layer")
    else:
        with pytest.raises(LayerError):
            pooling_function(pooling, layout, "layer")


def test_the_projection_depends_on_seed_and_width_alone():
    first = projection_matrix(5, 40, 1).to_dense()
    projection_matrix.cache_clear()
    assert torch.equal(first, projection_matrix(5, 40, 1).to_dense())
    assert not torch.equal(first, projection_matrix(5, 40, 2).to_dense())
    # Entries are 0 or ± sqrt(s / n_components), s = sqrt(width).
    values = first.unique().abs()
    expected = torch.tensor((40**0.5 / 5) ** 0.5, dtype=torch.float32)
    torch.testing.assert_close(values[values > 0], expected.expand(2))


def test_the_projection_is_linear_and_keeps_distances_on_average():
    projection = RandomProjection(Projection(n_components=400), 2000, torch.device("cpu"))
    features = torch.randn(6, 2000, generator=torch.Generator().manual_seed(0))
    projected = projection.apply(features)
    assert projected.shape == (6, 400)
    dense = features @ projection_matrix(400, 2000, 0).to_dense().T
    torch.testing.assert_close(projected, dense, rtol=1e-4, atol=1e-4)
    ratio = projected.square().sum(1) / features.square().sum(1)
    # Johnson–Lindenstrauss: the relative spread of a squared length is about sqrt(2 / 400) = .07.
    assert ((ratio > 0.7) & (ratio < 1.3)).all()


def test_narrow_features_are_not_projected():
    projection = RandomProjection(Projection(n_components=8), 8, torch.device("cpu"))
    features = torch.rand(2, 8)
    assert projection.width == 8
    assert projection.apply(features) is features


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_lengths_survive_small_and_large_values(scale):
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0]]) * scale
    np.testing.assert_allclose(vector_norm(values), np.array([5, 0]) * scale, rtol=1e-6)
    np.testing.assert_allclose(unit_length(values), [[0.6, 0.8], [0, 0]], rtol=1e-6)
