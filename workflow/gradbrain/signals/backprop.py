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

from typing import ClassVar

import torch

from gradbrain.config.schema import SignalEntry
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.tape import Taken, Tape

# Half precision loses gradients below 6e-8 and overflows at 65504: the objective is scaled up, and
# down where that overflows. The scales are powers of two, so they cost no digits.
HALF_PRECISION_SCALES = (2.0**10, 1.0, 2.0**-10)


class Rule:
    """Differentiate the objective with respect to every recorded layer in one backward pass."""

    needs_graph: ClassVar[bool] = True
    needs_objective: ClassVar[bool] = True

    def __init__(self, signal: SignalEntry) -> None:
        self.signal = signal

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the gradients; zero for a layer that the objective does not depend on."""
        assert objective is not None  # needs_objective
        with torch.enable_grad():
            values = objective.values(tape.outputs[objective.objective.output])
        model = objective.objective.model
        scales = HALF_PRECISION_SCALES if model.autocast is torch.float16 else (1.0,)
        layers = list(tape.layers.values())
        for scale in scales:
            last = scale == scales[-1]
            gradients = torch.autograd.grad(
                values.sum() * scale,
                layers,
                retain_graph=keep_graph or not last,
                allow_unused=True,
            )
            if last or all(g is None or bool(torch.isfinite(g).all()) for g in gradients):
                break
        return Taken(
            {
                name: torch.zeros_like(tensor)
                if gradient is None
                else _unscaled(gradient.to(model.dtype), scale)
                for (name, tensor), gradient in zip(tape.layers.items(), gradients, strict=True)
            },
            values.detach(),
        )


def _unscaled(gradient: torch.Tensor, scale: float) -> torch.Tensor:
    # A division by one would copy the gradients of all tokens.
    return gradient if scale == 1 else gradient / scale
