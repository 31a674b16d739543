r"""Entropy of the classifier's output.

.. math:: L(x) = -\sum_k p_k \log p_k, \quad p = \mathrm{softmax}(\ell(x))

Source: Grandvalet & Bengio 2005, "Semi-supervised Learning by Entropy Minimization", equation 6.

What it stands for: the signal of a learner that makes its own decisions sharper, without labels.
What it does not: any knowledge of whether the decision is right.
"""

from __future__ import annotations

import torch

from gradbrain.config.plugins import NoOptions
from gradbrain.models.build import OutputName
from gradbrain.objectives.base import BaseObjective, ImageBatch


class Options(NoOptions):
    """The objective has none."""


class Objective(BaseObjective):
    """Shannon entropy of the predicted classes."""

    output: OutputName = "logits"

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Entropy in nats, (B,)."""
        logarithms = output.log_softmax(-1)
        return -(logarithms.exp() * logarithms).sum(-1)
