r"""An objective's output gradient, taken from another image: a control.

.. math:: L(x) = \langle g_{j(x)}, f(x) \rangle, \quad
    g_j = \left. \frac{\partial L'}{\partial f} \right|_{x_j}

:math:`x_j` is an image of the calibration bank, chosen by a hash of the image id and the seed;
:math:`L'` is the objective that is controlled for. The bank shares no image with the stimuli, so
:math:`x_j` is always another image. Source: this project's design.

What it stands for: a cotangent with the statistics of the objective's own, without the image's.
What it does not: a strong control by itself. A cotangent that differs from image to image without
relation to it predicts next to nothing, so that beating it is cheap.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from gradbrain.config.schema import StrictModel
from gradbrain.objectives import ObjectiveError, load
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.seeds import derived_seed


class Options(StrictModel):
    """Options of the objective."""

    objective: str = Field(description="Objective whose output gradients are shuffled.")
    options: dict[str, Any] = Field({}, description="Its options.")


class Objective(BaseObjective):
    """Inner product of the output with the output gradient of another image."""

    needs_calibration = True
    options: Options

    def prepare(self) -> None:
        """Take the objective's output gradient of every calibration image, (n, D)."""
        if self.options.objective == "shuffled_cotangent":
            raise ObjectiveError("shuffled_cotangent cannot shuffle itself; name an objective")
        bank = self.fitted()
        inner = load(self.options.objective, self.model, self.options.options, bank, seed=self.seed)
        self.output = inner.output
        gradients = []
        for batch in bank.batches():
            with torch.no_grad():
                output = self.model.outputs(batch.raw, (self.output,))[self.output]
            with torch.enable_grad():
                leaf = output.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(inner.loss(leaf, batch).sum(), leaf)
            gradients.append(gradient)
        self._gradients = torch.cat(gradients)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Inner product with the other image's output gradient, (B,)."""
        chosen = [
            derived_seed("shuffled_cotangent", name, self.seed) % len(self._gradients)
            for name in batch.image_ids
        ]
        return (output * self._gradients[chosen]).sum(-1)

    def report(self) -> dict[str, Any]:
        """Size of the bank and what was shuffled."""
        return {"objective": self.options.objective, "n_bank": len(self._gradients)}
