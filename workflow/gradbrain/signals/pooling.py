"""From a layer's tokens or map to one row of features per image.

A gradient is pooled by the same operation as the activation it belongs to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from gradbrain.config.schema import Pooling
from gradbrain.models.build import VisionModel
from gradbrain.models.errors import LayerError

PoolingFunction = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """How a layer lays out its output.

    Attributes
    ----------
    kind
        ``tokens`` (B, N, C), ``channels_first`` (B, C, H, W), ``channels_last`` (B, H, W, C) or
        ``vector`` (B, C).
    n_prefix
        Tokens before the patches: class token and registers.
    grid
        Rows and columns of patches or positions; (1, 1) for vectors.
    """

    kind: Literal["tokens", "channels_first", "channels_last", "vector"]
    n_prefix: int
    grid: tuple[int, int]


def _patch_grid(model: VisionModel, n_patches: int) -> tuple[int, int] | None:
    """Rows and columns of the patches of a token network."""
    declared = getattr(getattr(model.module, "patch_embed", None), "grid_size", None)
    if declared is not None and math.prod(declared) == n_patches:
        return (int(declared[0]), int(declared[1]))
    edge = math.isqrt(n_patches)
    return (edge, edge) if edge * edge == n_patches and edge else None


def layout_of(model: VisionModel, layer: str, shape: tuple[int, ...]) -> Layout:
    """Find the layout of a layer's output.

    Parameters
    ----------
    model
        Network; its ``num_prefix_tokens``, ``patch_embed.grid_size`` and ``output_fmt`` are used.
    layer
        Name of the layer, for errors.
    shape
        Shape of its output, images first.

    Raises
    ------
    LayerError
        The output is neither tokens on a grid, a map, nor a vector.
    """
    if len(shape) == 2:
        return Layout("vector", 0, (1, 1))
    if len(shape) == 4:
        if str(getattr(model.module, "output_fmt", "NCHW")).endswith("NHWC"):
            return Layout("channels_last", 0, (shape[1], shape[2]))
        return Layout("channels_first", 0, (shape[2], shape[3]))
    if len(shape) == 3:
        prefix = int(getattr(model.module, "num_prefix_tokens", 0) or 0)
        for n_prefix in (prefix, 0):
            grid = _patch_grid(model, shape[1] - n_prefix)
            if grid is not None:
                return Layout("tokens", n_prefix, grid)
    raise LayerError(
        f"model {model.entry.name!r}: layer {layer!r} gives shape {shape}; expected (images, "
        "tokens) on a square grid with features, a map, or a vector; name another layer"
    )


def _class_token(layout: Layout, layer: str, kind: str) -> PoolingFunction:
    if layout.kind != "tokens" or layout.n_prefix == 0:
        raise LayerError(
            f"pooling {kind!r}: layer {layer!r} has no class token ({layout.kind}); use `mean` or "
            "`grid`"
        )
    return lambda values: values[:, 0]


def _to_map(layout: Layout) -> PoolingFunction:
    """Bring patches or positions into (B, C, H, W); class token and registers are left out."""
    if layout.kind == "tokens":
        return lambda values: values[:, layout.n_prefix :].transpose(1, 2).unflatten(2, layout.grid)
    if layout.kind == "channels_last":
        return lambda values: values.permute(0, 3, 1, 2)
    return lambda values: values


def _mean(layout: Layout) -> PoolingFunction:
    if layout.kind == "tokens":
        return lambda values: values[:, layout.n_prefix :].mean(1)
    dims = (1, 2) if layout.kind == "channels_last" else (2, 3)
    return lambda values: values.mean(dims)


def pooling_function(pooling: Pooling, layout: Layout, layer: str) -> PoolingFunction:
    """Choose the operation that pools a layer's output.

    ``cls`` takes the class token (the first prefix token; registers belong to neither), ``mean``
    averages patches or positions, ``cls_mean`` puts both side by side, ``grid`` averages within
    the cells of a g x g grid (adaptive average pooling), features of a channel side by side.

    Parameters
    ----------
    pooling
        What is asked for.
    layout
        Layout of the layer.
    layer
        Its name, for errors.

    Returns
    -------
    callable
        Maps a tensor of the layer's shape to (B, F).

    Raises
    ------
    LayerError
        A class token is asked of a layer without one.
    """
    if layout.kind == "vector":
        if pooling.kind in ("cls", "cls_mean"):
            _class_token(layout, layer, pooling.kind)
        return lambda values: values
    if pooling.kind == "cls":
        return _class_token(layout, layer, "cls")
    mean = _mean(layout)
    if pooling.kind == "mean":
        return mean
    if pooling.kind == "cls_mean":
        class_token = _class_token(layout, layer, "cls_mean")
        return lambda values: torch.cat([class_token(values), mean(values)], dim=1)
    to_map = _to_map(layout)
    # A layer that is coarser than the grid keeps its own resolution.
    cells = (min(pooling.size, layout.grid[0]), min(pooling.size, layout.grid[1]))
    return lambda values: functional.adaptive_avg_pool2d(to_map(values), cells).flatten(1)
