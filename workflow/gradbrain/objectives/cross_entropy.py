r"""Cross-entropy of the classifier.

.. math:: L(x) = -\log \mathrm{softmax}(\ell(x))_{y}, \quad
    \partial L / \partial \ell = \mathrm{softmax}(\ell) - e_y

:math:`y` is the label that comes with the image where there is one in the label space of the
model (``0 <= y < n_classes``), else the model's own prediction :math:`\arg\max_k \ell_k(x)`.
Source: the standard supervised objective, e.g. Goodfellow, Bengio & Courville 2016, section 6.2.

What it stands for: the error signal of supervised learning. What it does not: with the model's own
prediction as target it is the signal of a learner that trusts itself (pseudo-label, Lee 2013); it
vanishes where the model is sure.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.models.build import OutputName
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.softmax_cross_entropy import softmax_cross_entropy


class Options(PluginOptions):
    """Options of the objective."""

    target: Literal["label_or_prediction", "prediction"] = Field(
        "label_or_prediction", description="`prediction`: labels are not looked at."
    )

    def needs(self, inner: frozenset[Requirement] = frozenset()) -> frozenset[Requirement]:
        """Labels, unless they are not looked at."""
        labels: frozenset[Requirement] = frozenset({"labels"})
        return super().needs(inner) | (frozenset() if self.target == "prediction" else labels)


class Objective(BaseObjective):
    """Negative log-probability of the target class."""

    output: OutputName = "logits"
    options: Options

    def _classes(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        predicted = logits.detach().argmax(-1)
        if self.options.target == "prediction":
            return predicted
        known = (labels >= 0) & (labels < logits.shape[-1])
        return torch.where(known, labels, predicted)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy in nats, (B,)."""
        classes = self._classes(output, batch.labels)
        targets = functional.one_hot(classes, output.shape[-1]).to(output.dtype)
        return softmax_cross_entropy(output, targets)
