"""An objective of one's own: the mean of the features, scaled by an option."""

from __future__ import annotations

import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions
from gradbrain.objectives.base import BaseObjective, ImageBatch


class Options(PluginOptions):
    """Options of the objective."""

    power: float = Field(2.0, gt=0, description="Of the features, before their mean.")


class Objective(BaseObjective):
    """Mean power of the features."""

    options: Options

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Mean power, (B,)."""
        return output.abs().pow(self.options.power).mean(-1)
