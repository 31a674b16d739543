r"""Contrast of an image's own view against a fixed bank of other images.

.. math:: L(x) = -\log \frac{\exp(s(x, x') / \tau)}
    {\exp(s(x, x') / \tau) + \sum_{j} \exp(s(x, x_j) / \tau)}

:math:`s` is the cosine of standardised features, :math:`x'` a seeded augmented view without
gradient, :math:`x_j` the calibration images. Source: InfoNCE, van den Oord, Li & Vinyals 2018
(arXiv:1807.03748), equation 4, in the form of He et al. 2020 (MoCo, arXiv:1911.05722), equation 1.

What it stands for: the signal of a learner that tells images apart. What it does not: CLIP's own
objective of image and text (``image_text``, where images have captions), nor a bank that follows
the stimuli: the same calibration images are the negatives of every image, so that no image depends
on its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch.nn import functional

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.softmax_cross_entropy import softmax_cross_entropy
from gradbrain.objectives.standardise import Standardisation, fit_standardisation
from gradbrain.objectives.views import ViewOptions, view_features


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"views": "monte_carlo"}

    temperature: float = Field(0.2, gt=0, description="MoCo v2's.")
    views: ViewOptions = ViewOptions()

    def extra_forward_passes(self) -> float:
        """Return one for each view."""
        return self.views.n_views


class Objective(BaseObjective):
    """InfoNCE against the calibration bank, averaged over views."""

    options: Options

    def fit(self) -> dict[str, torch.Tensor]:
        """Fit the standardisation, and take the unit-length codes of the bank, (n, D)."""
        standardisation = fit_standardisation(self.fitted())
        features = self.fitted().outputs("features")
        return {**standardisation.state, "bank": _unit_code(standardisation, features)}

    def _code(self, features: torch.Tensor) -> torch.Tensor:
        return _unit_code(Standardisation.of(self.state), features)

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Unit-length codes of the views, (B, V, D)."""
        views = view_features(
            self.model, batch, seed=self.seed_of("views"), options=self.options.views
        )
        return self._code(views)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """InfoNCE in nats, (B,)."""
        code = self._code(output)
        positive = (code[:, None] * targets).sum(-1) / self.options.temperature
        negatives = code @ self.state["bank"].T / self.options.temperature
        spread = negatives[:, None].expand(-1, positive.shape[1], -1)
        compared = torch.cat([positive[..., None], spread], dim=2)
        own = torch.zeros_like(compared)
        own[..., 0] = 1
        return softmax_cross_entropy(compared, own).mean(1)

    def report(self) -> dict[str, Any]:
        """Size of the bank and features without spread over it."""
        silent = Standardisation.of(self.state).n_silent
        return {"n_bank": len(self.state["bank"]), "n_silent_features": silent}


def _unit_code(standardisation: Standardisation, features: torch.Tensor) -> torch.Tensor:
    return functional.normalize(standardisation.apply(features), dim=-1)
