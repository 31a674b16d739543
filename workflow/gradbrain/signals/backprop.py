r"""Backpropagation: the gradient of the objective with respect to a layer's output.

.. math:: \delta_k(x) = \partial L(x) / \partial h_k(x)

for all tokens or positions of layer :math:`k`, at the stimulus itself. Source: Rumelhart, Hinton &
Williams 1986; as a feature space, Raugel et al. 2026 (arXiv:2605.28693). The objectives of a batch
are summed before the backward pass: in evaluation mode no image depends on another, so each
image's gradient is its own.

What it stands for: the error signal that backpropagation would deliver to the layer. What it does
not: a change of weights, which would also need the layer's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape

# Half precision loses gradients below 6e-8 and overflows at 65504: the objective is scaled up, and
# down where that overflows. The scales are powers of two, so they cost no digits.
HALF_PRECISION_SCALES = (2.0**10, 1.0, 2.0**-10)


class Options(PluginOptions):
    """The rule has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph"})


class Rule:
    """Differentiate the objective with respect to every recorded layer in one backward pass."""

    def __init__(self, context: RuleContext) -> None:
        self.context = context

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the gradients; zero for a layer that the objective does not depend on."""
        assert objective is not None  # required
        return sent_back(tape, objective, keep_graph=keep_graph)


def sent_back(tape: Tape, objective: BoundObjective, *, keep_graph: bool) -> Taken:
    """Send the error of the output back to every layer on a tape.

    Parameters
    ----------
    tape, objective, keep_graph
        As for :meth:`gradbrain.signals.rule.Rule.take`; the way back of the tape says through
        which weights.
    """
    with torch.enable_grad():
        values = objective.values(tape.outputs[objective.objective.output])
    model = objective.objective.model
    layers = list(tape.layers.values())
    if model.autocast is torch.float16:
        gradients = _half_precision(values, layers, model.dtype, keep_graph=keep_graph)
    else:
        gradients = torch.autograd.grad(
            values.sum(), layers, retain_graph=keep_graph, allow_unused=True
        )
    return Taken(
        {
            name: torch.zeros_like(tensor) if gradient is None else gradient.to(model.dtype)
            for (name, tensor), gradient in zip(tape.layers.items(), gradients, strict=True)
        },
        values.detach(),
    )


def _half_precision(
    values: torch.Tensor, layers: Sequence[torch.Tensor], dtype: torch.dtype, *, keep_graph: bool
) -> Sequence[torch.Tensor | None]:
    """Gradients of each image at the largest scale at which none of its own overflows.

    Which images share the batch has no part in it.

    Parameters
    ----------
    values
        (B,) objective of each image.
    layers
        Recorded outputs, images first.
    dtype
        Of the result.
    keep_graph
        Other signals follow that need the graph.

    Returns
    -------
    list
        For each layer its gradient, None where the objective does not depend on it.
    """
    found: Sequence[torch.Tensor | None] = ()
    pending = torch.ones(len(values), dtype=torch.bool, device=values.device)
    for scale in HALF_PRECISION_SCALES:
        last = scale == HALF_PRECISION_SCALES[-1]
        gradients = torch.autograd.grad(
            values.sum() * scale, layers, retain_graph=keep_graph or not last, allow_unused=True
        )
        unscaled = [None if g is None else g.to(dtype) / scale for g in gradients]
        if not found:
            found = unscaled
        else:
            for kept, new in zip(found, unscaled, strict=True):
                if kept is not None and new is not None:
                    kept[pending] = new[pending]
        overflowed = torch.zeros_like(pending)
        for gradient in gradients:
            if gradient is not None:
                overflowed |= ~torch.isfinite(gradient).flatten(1).all(1)
        pending &= overflowed
        if not bool(pending.any()):
            break
    return found
