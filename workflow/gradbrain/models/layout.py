"""How a layer lays out its output: tokens with or without a class token, a map, or a vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from gradbrain.config.schema import LayerLayout


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
    class_token
        Whether the first of the tokens is a class token.
    """

    kind: Literal["tokens", "channels_first", "channels_last", "vector"]
    n_prefix: int
    grid: tuple[int, int]
    class_token: bool = False

    @property
    def word(self) -> LayerLayout:
        """What ``layers.csv`` calls it."""
        if self.kind == "vector":
            return "vector"
        if self.kind != "tokens":
            return "map"
        return "class_and_patches" if self.class_token else "patches"


def _patch_grid(module: nn.Module, n_patches: int) -> tuple[int, int] | None:
    """Rows and columns of the patches of a token network."""
    declared = getattr(getattr(module, "patch_embed", None), "grid_size", None)
    if declared is not None and math.prod(declared) == n_patches:
        return (int(declared[0]), int(declared[1]))
    edge = math.isqrt(n_patches)
    return (edge, edge) if edge * edge == n_patches and edge else None


def _has_class_token(module: nn.Module) -> bool:
    """Whether the first prefix token of a network is a class token and no register."""
    declared = getattr(module, "has_class_token", None)
    if declared is not None:
        return bool(declared)
    return getattr(module, "cls_token", True) is not None


def find_layout(module: nn.Module, shape: tuple[int, ...]) -> Layout | None:
    """Find the layout of a layer's output.

    Parameters
    ----------
    module
        Network; its ``num_prefix_tokens``, ``has_class_token`` or ``cls_token``,
        ``patch_embed.grid_size`` and ``output_fmt`` are used.
    shape
        Shape of the layer's output, images first.

    Returns
    -------
    Layout or None
        None: neither tokens on a grid, nor a map, nor a vector.
    """
    if len(shape) == 2:
        return Layout("vector", 0, (1, 1))
    if len(shape) == 4:
        if str(getattr(module, "output_fmt", "NCHW")).endswith("NHWC"):
            return Layout("channels_last", 0, (shape[1], shape[2]))
        return Layout("channels_first", 0, (shape[2], shape[3]))
    if len(shape) == 3:
        prefix = int(getattr(module, "num_prefix_tokens", 0) or 0)
        # Without any where a layer lies before they are put in front.
        for n_prefix in (prefix, 0):
            grid = _patch_grid(module, shape[1] - n_prefix)
            if grid is not None:
                first = n_prefix > 0 and _has_class_token(module)
                return Layout("tokens", n_prefix, grid, first)
    return None
