"""Fixed random weights from the error at the output to each layer, with no layer between."""

from __future__ import annotations

import math

import torch

from gradbrain.models.build import VisionModel
from gradbrain.models.layout import Layout
from gradbrain.objectives.seeds import generator
from gradbrain.signals.pooling import layout_of


class DirectFeedback:
    """Random projections of the error at the output, one to each layer.

    A map or grid of patches gets them cell by cell: dense weights to every position would take
    gigabytes. Positions of a cell share theirs; every token before the patches has its own.

    Parameters
    ----------
    model
        Network.
    name, seed
        What the weights are drawn from, with the name of the layer.
    cells
        Edge g of the g x g grid of cells; a layer that is coarser keeps its own.
    """

    def __init__(self, model: VisionModel, name: str, seed: int, cells: int) -> None:
        self.model, self.name, self.seed, self.cells = model, name, seed, cells
        self._weights: dict[str, torch.Tensor] = {}

    def to_layer(self, error: torch.Tensor, layer: str, output: torch.Tensor) -> torch.Tensor:
        """Send the error to a layer.

        Parameters
        ----------
        error
            (B, D).
        layer
            Name of the layer.
        output
            Its output, (B, …).

        Returns
        -------
        torch.Tensor
            Of the shape of the output.
        """
        layout = layout_of(self.model, layer, tuple(output.shape))
        channels = output.shape[1 if layout.kind in ("channels_first", "vector") else -1]
        rows, columns = (min(self.cells, edge) for edge in layout.grid)
        places = layout.n_prefix + rows * columns
        arrived = error @ self._weight(layer, places * channels, error)
        arrived = arrived.unflatten(1, (places, channels)).to(output.dtype)
        prefix, grid = arrived[:, : layout.n_prefix], arrived[:, layout.n_prefix :]
        spread = _spread(grid.unflatten(1, (rows, columns)), layout)
        return _as_output(prefix, spread, layout)

    def _weight(self, layer: str, width: int, error: torch.Tensor) -> torch.Tensor:
        if layer not in self._weights:
            n_outputs = error.shape[1]
            random = generator(self.name, self.seed, layer)
            drawn = random.standard_normal((n_outputs, width)) / math.sqrt(n_outputs)
            self._weights[layer] = torch.from_numpy(drawn).to(error)
        return self._weights[layer]


def _spread(cells: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Give all positions of a cell what the cell got, (B, g, g, C) to (B, H, W, C)."""
    device = cells.device
    rows, columns = layout.grid
    row = torch.arange(rows, device=device) * cells.shape[1] // rows
    column = torch.arange(columns, device=device) * cells.shape[2] // columns
    return cells[:, row][:, :, column]


def _as_output(prefix: torch.Tensor, spread: torch.Tensor, layout: Layout) -> torch.Tensor:
    if layout.kind == "vector":
        return spread[:, 0, 0]
    if layout.kind == "tokens":
        return torch.cat([prefix, spread.flatten(1, 2)], dim=1)
    return spread if layout.kind == "channels_last" else spread.permute(0, 3, 1, 2)
