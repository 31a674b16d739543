r"""Reconstruction: how far what an autoencoder gives back is from the image.

.. math:: L(x) = \tfrac{1}{2} \lVert y(x) - x \rVert^2, \quad \partial L / \partial y = y - x

in units of the network's input (channels scaled by its mean and standard deviation). Source:
Hinton & Salakhutdinov 2006 (Science 313, 504); for learning rules of the brain, Hinton &
McClelland 1988 (recirculation) and Lillicrap et al. 2020.

What it stands for: learning that needs no label, since the image itself is the target. It asks for
a network with a decoder (``source: autoencoder``). What it does not: seeing what an image is of;
pixels that say nothing count as much as those that do.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch


class Options(PluginOptions):
    """The objective has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"decoder"})


class Objective(BaseObjective):
    """Half the squared distance of output and image."""

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Return the image as a row, (B, 3 S S)."""
        return self.model.normalise(batch.raw).flatten(1)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Half the squared distance, (B,)."""
        return 0.5 * (output - targets).square().sum(-1)
