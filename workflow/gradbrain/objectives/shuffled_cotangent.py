r"""An objective's output gradient, taken from another image: a control.

.. math:: L(x) = \langle g_{j(x)}, f(x) \rangle, \quad
    g_j = \left. \frac{\partial L'}{\partial f} \right|_{x_j}

:math:`x_j` is an image of the calibration bank, chosen by a hash of the image id and the seed;
:math:`L'` is the objective that is controlled for. The bank shares no image with the stimuli, so
:math:`x_j` is always another image. Source: this project's design.

What it stands for: a cotangent with the statistics of the objective's own, without the image's.
What it does not: a strong control by itself. A cotangent that differs from image to image without
relation relation to it predicts next to nothing, so that beating it is cheap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator

from gradbrain.config.plugins import PluginOptions, PluginUse, Randomness, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.seeds import derived_seed


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"permutation": "identity"}

    objective: str = Field(description="Objective whose output gradients are shuffled.")
    options: dict[str, Any] = Field({}, description="Its options.")
    n_donors: int = Field(
        24,
        ge=2,
        description="Calibration images, at most, whose output gradients are taken where the "
        "objective draws views or masks, each a mean over so many draws that all together cost "
        "one draw for every calibration image; where nothing is drawn, all images are donors.",
    )

    @field_validator("objective")
    @classmethod
    def _is_another(cls, name: str) -> str:
        if name == "shuffled_cotangent":
            raise ValueError("shuffled_cotangent cannot shuffle itself; name another objective")
        return name

    def uses(self) -> tuple[PluginUse, ...]:
        """Return the objective that is shuffled."""
        return (PluginUse("objectives", self.objective, self.options),)

    def needs(self, inner: frozenset[Requirement] = frozenset()) -> frozenset[Requirement]:
        """Captions of calibration images, where the objective compares with captions."""
        if "captions" in inner:
            inner |= {"calibration_captions"}
        return super().needs(inner)


class Objective(BaseObjective):
    """Inner product of the output with the output gradient of another image."""

    options: Options

    def prepare(self) -> None:
        """Act on the output that the objective acts on."""
        (inner,) = self.inner
        self.output = inner.output

    def fit(self) -> dict[str, torch.Tensor]:
        """Take the objective's output gradient of the donors, (n, D).

        Donors are spread evenly over the bank: neighbours may be crops of one photograph. One draw
        of each calibration image would repeat itself less well than the signal that is controlled
        for; of every k-th image k draws are averaged.
        """
        bank, (inner,) = self.fitted(), self.inner
        outputs = bank.outputs(self.output)
        step = math.ceil(len(outputs) / self.options.n_donors) if inner.is_drawn else 1
        draws = [inner.redrawn(inner.replicate * step + draw) for draw in range(step)]
        gradients, start = [], 0
        for whole in bank.batches():
            donors = slice(-start % step, None, step)
            batch, leaf = whole.part(donors), outputs[start : start + len(whole)][donors].clone()
            start += len(whole)
            if len(batch):
                gradients.append(_mean_gradient(draws, leaf.requires_grad_(), batch))
        return {"gradients": torch.cat(gradients)}

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Inner product with the other image's output gradient, (B,)."""
        gradients, seed = self.state["gradients"], self.seed_of("permutation")
        chosen = [
            derived_seed("shuffled_cotangent", name, seed) % len(gradients)
            for name in batch.image_ids
        ]
        return (output * gradients[chosen]).sum(-1)

    def report(self) -> dict[str, Any]:
        """Size of the bank and what was shuffled."""
        return {"objective": self.options.objective, "n_bank": len(self.state["gradients"])}


def _mean_gradient(
    draws: Sequence[BaseObjective], output: torch.Tensor, batch: ImageBatch
) -> torch.Tensor:
    """Gradient of each image's objective with its output, mean over draws, (B, D)."""
    with torch.enable_grad():
        losses = torch.stack([draw.loss(output, batch).sum() for draw in draws])
        (gradient,) = torch.autograd.grad(losses.mean(), output)
    return gradient
