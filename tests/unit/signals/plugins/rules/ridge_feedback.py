r"""Feedback matrices that are fitted on calibration images, one from the top error to each layer.

.. math:: \delta_k(x) = B_k e(x), \quad
    B_k = \arg\min_B \sum_j \lVert \bar h_k(x_j) - B e(x_j) \rVert^2 + \lambda \lVert B \rVert^2

:math:`e` is the gradient of the objective with respect to the network's output, :math:`\bar h_k`
the mean of layer :math:`k` over positions, :math:`x_j` the calibration images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import xarray as xr
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.tape import Taken, Tape


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset(
        {"objective", "graph", "chain", "calibration", "fit"}
    )
    randomness: ClassVar[Mapping[str, Randomness]] = {"feedback": "identity"}

    penalty: float = Field(1.0, gt=0, description="Ridge penalty of the feedback matrices.")
    seed: int = Field(0, ge=0, description="Seed of the views that the fit looks at.")


def top_error(
    tape: Tape, objective: BoundObjective, *, keep_graph: bool
) -> tuple[torch.Tensor, ...]:
    """Gradient with respect to the output, (B, D), and the objective, (B,)."""
    output = tape.outputs[objective.objective.output]
    with torch.enable_grad():
        values = objective.values(output)
    (error,) = torch.autograd.grad(values.sum(), output, retain_graph=keep_graph)
    return error, values.detach()


def fit(context: FitContext) -> xr.DataTree:
    """Fit a matrix (channel, output) for each layer."""
    objective = context.objective(context.options.seed)
    errors, layers = [], {name: [] for name in context.chain}
    for tape, bound in context.passes(objective, graph=True):
        errors.append(top_error(tape, bound, keep_graph=False)[0])
        for name, tensor in tape.layers.items():
            layers[name].append(tensor.detach().mean((2, 3)))
    error = torch.cat(errors).double()
    gram = error.T @ error + context.options.penalty * torch.eye(error.shape[1])
    matrices = {
        name: torch.linalg.solve(gram, error.T @ torch.cat(parts).double()).T
        for name, parts in layers.items()
    }
    return xr.DataTree.from_dict(
        {
            name: xr.Dataset({"matrix": (("channel", "output"), matrix.numpy())})
            for name, matrix in matrices.items()
        }
    )


class Rule:
    """Send the top error to every layer through its fitted matrix."""

    def __init__(self, context: RuleContext) -> None:
        assert context.calibration is not None
        self.chain = context.chain
        self.matrices = {
            name: torch.from_numpy(context.fitted[name]["matrix"].values).float()
            for name in context.chain
        }

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the error at every layer of the chain, the same at all positions."""
        assert objective is not None
        assert tuple(tape.layers) == self.chain
        error, values = top_error(tape, objective, keep_graph=keep_graph)
        return Taken(
            {
                name: (error @ self.matrices[name].T)[..., None, None].expand_as(tensor)
                for name, tensor in tape.layers.items()
            },
            values,
        )
