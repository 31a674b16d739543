"""From a layer's tokens or map to one row of features per image.

A gradient is pooled by the same operation as the activation it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from gradbrain.config.schema import Pooling
from gradbrain.models.build import VisionModel
from gradbrain.models.errors import LayerError
from gradbrain.models.layout import Layout, find_layout

PoolingFunction = Callable[[torch.Tensor], torch.Tensor]


def layout_of(model: VisionModel, layer: str, shape: tuple[int, ...]) -> Layout:
    """Find the layout of a layer's output.

    Parameters
    ----------
    model
        Network.
    layer
        Name of the layer, for errors.
    shape
        Shape of its output, images first.

    Raises
    ------
    LayerError
        The output is neither tokens on a grid, a map, nor a vector.
    """
    found = find_layout(model.module, shape)
    if found is not None:
        return found
    raise LayerError(
        f"model {model.entry.name!r}: layer {layer!r} gives shape {shape}; expected (images, "
        "tokens) on a square grid with features, a map, or a vector; name another layer"
    )


def _class_token(layout: Layout, layer: str, kind: str) -> PoolingFunction:
    if not layout.class_token:
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

    ``cls`` takes the class token (registers belong to neither), ``mean``
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
