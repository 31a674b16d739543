"""Distance of the features from a point that is stored in a file below ``data/``."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.models.build import VisionModel
from gradbrain.objectives.base import BaseObjective, ImageBatch

FILE = "point.npy"


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})

    scale: float = Field(1.0, gt=0, description="What the distance is multiplied by.")


def weights_digest(model: VisionModel) -> str:
    """SHA-256 of the point."""
    return hashlib.sha256((model.data / FILE).read_bytes()).hexdigest()


class Objective(BaseObjective):
    """Half the squared distance."""

    options: Options

    def prepare(self) -> None:
        """Read the point."""
        self._point = torch.from_numpy(np.load(self.model.data / FILE))

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Half the squared distance, (B,)."""
        return 0.5 * self.options.scale * (output - self._point).square().sum(-1)
