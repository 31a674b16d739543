r"""Agreement of an image's features with those of its masked copies.

.. math:: L(x) = \frac{1}{2 D V} \sum_v \lVert z(x) - z(m_v \odot x) \rVert^2

:math:`z` are the pooled features standardised by calibration images; :math:`m_v` sets a seeded
random set of square patches to the mean colour; no gradient flows through the masked copies.
Source: *this project's* surrogate for masked autoencoders (He et al. 2022, arXiv:2111.06377), after
data2vec (Baevski et al. 2022, arXiv:2202.03555), section 3, with student and teacher exchanged so
that the gradient belongs to the stored activation. Public masked autoencoders in timm come
without their decoder, so that the pixel loss itself cannot be formed.

What it stands for: the signal of a learner that predicts features from a part of the image. What
it does not: the reconstruction error of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.seeds import generator
from gradbrain.objectives.standardise import fit_standardisation


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"masks": "monte_carlo"}

    n_masks: int = Field(2, ge=1, description="Masked copies per image.")
    masked_share: float = Field(0.75, gt=0, lt=1, description="He et al. 2022 mask 75 %.")
    grid: int = Field(14, ge=2, description="Patches along each edge of the image.")

    def extra_forward_passes(self) -> float:
        """Return one for each masked copy."""
        return self.n_masks


def masked_copy(
    batch: ImageBatch, *, mask: int, seed: int, options: Options, colour: torch.Tensor
) -> torch.Tensor:
    """Set a seeded share of the patches of each image to one colour, (B, 3, S, S)."""
    n_patches = options.grid**2
    n_masked = round(options.masked_share * n_patches)
    hidden = torch.zeros(len(batch), n_patches, dtype=torch.bool)
    for row, name in enumerate(batch.image_ids):
        order = generator(name, seed, "mask", mask).permutation(n_patches)
        hidden[row, torch.from_numpy(order[:n_masked])] = True
    edge = batch.raw.shape[-1]
    patch_of_pixel = torch.arange(edge) * options.grid // edge
    hidden = hidden.view(-1, 1, options.grid, options.grid)
    hidden = hidden[:, :, patch_of_pixel][..., patch_of_pixel].to(batch.raw.device)
    return torch.where(hidden, colour, batch.raw)


class Objective(BaseObjective):
    """Mean squared distance to the features of masked copies."""

    options: Options

    def prepare(self) -> None:
        """Fit the standardisation."""
        self._standardisation = fit_standardisation(self.fitted())

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Codes of the masked copies, (B, V, D)."""
        colour = torch.tensor(
            self.model.entry.mean, dtype=batch.raw.dtype, device=batch.raw.device
        ).view(1, 3, 1, 1)
        codes = []
        for mask in range(self.options.n_masks):
            raw = masked_copy(
                batch, mask=mask, seed=self.seed_of("masks"), options=self.options, colour=colour
            )
            codes.append(self._standardisation.apply(self.model.outputs(raw)["features"]))
        return torch.stack(codes, dim=1)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Half the mean squared distance per feature, (B,)."""
        code = self._standardisation.apply(output)
        return 0.5 * (code[:, None] - targets).square().mean((1, 2))

    def report(self) -> dict[str, Any]:
        """Features without spread over the calibration images."""
        return {"n_silent_features": self._standardisation.n_silent}
