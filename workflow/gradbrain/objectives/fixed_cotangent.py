r"""One random direction of the output, the same for every image: a control.

.. math:: L(x) = \langle v, f(x) \rangle, \quad \partial L / \partial f = v,
    \quad v \sim \mathcal{N}(0, I / D)

Source: this project's design.

What it stands for: the Jacobian of the network alone. An image enters only through the
derivatives of the path back, not through what is sent along it. What it does not: an error; a
signal that beats it may do so merely because its cotangent carries image content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.seeds import generator


class Options(PluginOptions):
    """Options of the objective."""

    randomness: ClassVar[Mapping[str, Randomness]] = {"vector": "identity"}

    output: Literal["features", "logits"] = Field(
        "features", description="Output at which the vector is sent back."
    )


class Objective(BaseObjective):
    """Inner product of the output with one random vector."""

    options: Options

    def prepare(self) -> None:
        """Choose the output; the vector is drawn when its width is known."""
        self.output = self.options.output
        self._vector: torch.Tensor | None = None

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Inner product, (B,)."""
        if self._vector is None:
            width = output.shape[-1]
            drawn = generator("fixed_cotangent", self.seed_of("vector"), width).standard_normal(
                width
            )
            self._vector = torch.as_tensor(
                drawn / width**0.5, dtype=output.dtype, device=output.device
            )
        return output @ self._vector
