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
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.seeds import generator
from gradbrain.objectives.standardise import Standardisation, fit_standardisation


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"masks": "monte_carlo"}

    n_masks: int = Field(4, ge=1, description="Masked copies per image.")
    shared: bool = Field(True, description="Every image is masked in the same places.")
    sampling: Literal["independent", "balanced"] = Field(
        "balanced", description="Balanced: every patch is shown equally often, once per round."
    )
    masked_share: float = Field(0.75, gt=0, lt=1, description="He et al. 2022 mask 75 %.")
    grid: int = Field(14, ge=2, description="Patches along each edge of the image.")

    def extra_forward_passes(self) -> float:
        """Return one for each masked copy."""
        return self.n_masks


def hidden_patches(name: str | None, *, seed: int, options: Options) -> np.ndarray:
    """Draw the masks of an image.

    Parameters
    ----------
    name
        Id of the image; None where masks are common to all images.
    seed, options
        Seed and kind of the masks.

    Returns
    -------
    numpy.ndarray
        (n_masks, grid²) bool, true where a patch is hidden: in each row a uniformly drawn set of
        the asked size, whatever the sampling.
    """
    who, n_patches = () if name is None else (name,), options.grid**2
    n_shown = n_patches - round(options.masked_share * n_patches)
    # Balanced masks of one round are disjoint pieces of one random order.
    per_round = 1 if options.sampling == "independent" else max(1, n_patches // max(1, n_shown))
    hidden = np.ones((options.n_masks, n_patches), dtype=bool)
    for mask in range(options.n_masks):
        at_round, piece = divmod(mask, per_round)
        order = generator(*who, seed, "mask", at_round).permutation(n_patches)
        hidden[mask, order[piece * n_shown : (piece + 1) * n_shown]] = False
    return hidden


def masked_copy(
    raw: torch.Tensor, hidden: np.ndarray, *, grid: int, colour: torch.Tensor
) -> torch.Tensor:
    """Set patches of each image to one colour.

    Parameters
    ----------
    raw
        Images, (B, 3, S, S).
    hidden
        (B, grid²) bool, or (1, grid²) for all images alike.
    grid
        Patches along each edge.
    colour
        (1, 3, 1, 1).

    Returns
    -------
    torch.Tensor
        (B, 3, S, S).
    """
    edge = raw.shape[-1]
    patch_of_pixel = torch.arange(edge) * grid // edge
    places = torch.from_numpy(hidden).view(-1, 1, grid, grid)
    places = places[:, :, patch_of_pixel][..., patch_of_pixel].to(raw.device)
    return torch.where(places, colour, raw)


class Objective(BaseObjective):
    """Mean squared distance to the features of masked copies."""

    options: Options

    def fit(self) -> dict[str, torch.Tensor]:
        """Fit the standardisation."""
        return fit_standardisation(self.fitted()).state

    @property
    def _standardisation(self) -> Standardisation:
        return Standardisation.of(self.state)

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Codes of the masked copies, (B, V, D)."""
        colour = torch.tensor(
            self.model.entry.mean, dtype=batch.raw.dtype, device=batch.raw.device
        ).view(1, 3, 1, 1)
        options, seed = self.options, self.seed_of("masks")
        names = [None] if options.shared else batch.image_ids
        hidden = np.stack([hidden_patches(name, seed=seed, options=options) for name in names])
        codes = []
        for mask in range(options.n_masks):
            raw = masked_copy(batch.raw, hidden[:, mask], grid=options.grid, colour=colour)
            codes.append(self._standardisation.apply(self.model.features_alone(raw)))
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
