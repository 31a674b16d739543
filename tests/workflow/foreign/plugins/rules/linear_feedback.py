"""A rule with a fitted model: feedback weights that turn the error at the output into a layer's.

The backpropagated gradient of each layer of the chain, averaged over positions, is regressed on the
gradient at the output, over calibration images; at a stimulus the fit alone is used.
"""

from __future__ import annotations

import torch
import xarray as xr
from pydantic import Field

from gradbrain.config.plugins import PluginOptions
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.tape import Taken


class Options(PluginOptions):
    """Options of the rule."""

    requires = frozenset({"objective", "graph", "chain", "calibration", "fit"})

    penalty: float = Field(1.0, gt=0, description="Of the ridge regression.")
    seed: int = Field(0, ge=0, description="Of what the objective draws while the model is fitted.")


def _cotangent(values, output):
    (found,) = torch.autograd.grad(values.sum(), output, retain_graph=True)
    return found


def fit(context: FitContext) -> xr.Dataset:
    """Fit a matrix for each layer of the chain."""
    objective = context.objective(context.options.seed)
    tops, errors = [], {name: [] for name in context.chain}
    for tape, bound in context.passes(objective, graph=True):
        output = tape.outputs[objective.output]
        values = bound.values(output)
        tops.append(_cotangent(values, output))
        found = torch.autograd.grad(values.sum(), list(tape.layers.values()))
        for name, gradient in zip(tape.layers, found, strict=True):
            errors[name].append(gradient.mean((2, 3)))
    top = torch.cat(tops)
    gram = top.T @ top + context.options.penalty * torch.eye(top.shape[1])
    return xr.Dataset(
        {
            f"B{place}": (
                ("output", f"channel{place}"),
                torch.linalg.solve(gram, top.T @ torch.cat(errors[name])).numpy(),
            )
            for place, name in enumerate(context.chain)
        }
    )


class Rule:
    """Send the error at the output back through the fitted weights."""

    def __init__(self, context: RuleContext) -> None:
        assert len(context.chain) == len(context.fitted.data_vars)
        self.weights = {
            name: torch.from_numpy(context.fitted[f"B{place}"].values)
            for place, name in enumerate(context.chain)
        }

    def take(self, tape, objective, *, keep_graph):
        """Make the error of every layer, the same at all positions."""
        output = tape.outputs[objective.objective.output]
        values = objective.values(output)
        top = _cotangent(values, output)
        layers = {
            name: (top @ self.weights[name])[:, :, None, None].expand_as(tensor)
            for name, tensor in tape.layers.items()
        }
        return Taken(layers, values.detach())
