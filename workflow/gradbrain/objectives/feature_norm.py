r"""Half the squared length of the features: a control without learning content.

.. math:: L(x) = \tfrac{1}{2} \lVert f(x) \rVert^2, \quad \partial L / \partial f = f(x)

The network's output is sent back as its own cotangent. Source: this project's design; the vector
-Jacobian product is that of any reverse-mode differentiation.

What it stands for: image content that has travelled backwards through the network, without an
objective. What it does not: anything that an organism would want to reduce; no error, no target.
"""

from __future__ import annotations

import torch

from gradbrain.config.plugins import NoOptions
from gradbrain.objectives.base import BaseObjective, ImageBatch


class Options(NoOptions):
    """The objective has none."""


class Objective(BaseObjective):
    """Half the squared norm of the pooled features."""

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Half the squared norm, (B,)."""
        return 0.5 * output.square().sum(-1)
