"""The error at the output of a network: what every rule with an objective starts from."""

from __future__ import annotations

import torch

from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.tape import Tape


def top_error(tape: Tape, objective: BoundObjective) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiate the objective with respect to the output that it acts on.

    Parameters
    ----------
    tape
        Forward pass; no graph is needed.
    objective
        Objective with the images of the batch.

    Returns
    -------
    error : torch.Tensor
        (B, D).
    values : torch.Tensor
        (B,) the objective.
    """
    output = tape.outputs[objective.objective.output].detach().requires_grad_()
    with torch.enable_grad():
        values = objective.values(output)
    (error,) = torch.autograd.grad(values.sum(), output)
    return error, values.detach()


def per_image(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bring (B,) numbers into a shape that multiplies (B, …) tensors."""
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
