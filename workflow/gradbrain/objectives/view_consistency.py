r"""Negative cosine similarity between an image and its augmented views.

.. math:: L(x) = 1 - \frac{1}{V} \sum_v
    \frac{\langle z(x), z(x_v) \rangle}{\lVert z(x) \rVert \, \lVert z(x_v) \rVert}

:math:`z` are the pooled features, standardised by calibration images; no gradient flows through the
views. Source: Chen & He 2021, "Exploring Simple Siamese Representation Learning"
(arXiv:2011.10566), equations 1–3, without its predictor (*this project's* surrogate).

What it stands for: the signal of a learner that seeks features that survive distortion. What it
does not: anything that prevents collapse; there are no negatives, no centring of codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.nn import functional

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.standardise import Standardisation, fit_standardisation
from gradbrain.objectives.views import ViewOptions, view_features


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"views": "monte_carlo"}

    views: ViewOptions = ViewOptions()

    def extra_forward_passes(self) -> float:
        """Return one for each view."""
        return self.views.n_views


class Objective(BaseObjective):
    """One minus the mean cosine between the image and its views."""

    options: Options

    def fit(self) -> dict[str, torch.Tensor]:
        """Fit the standardisation."""
        return fit_standardisation(self.fitted()).state

    def _code(self, features: torch.Tensor) -> torch.Tensor:
        return functional.normalize(Standardisation.of(self.state).apply(features), dim=-1)

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Mean unit-length code of the views, (B, D)."""
        views = view_features(
            self.model, batch, seed=self.seed_of("views"), options=self.options.views
        )
        return self._code(views).mean(1)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """One minus the mean cosine, (B,), between 0 and 2."""
        return 1 - (self._code(output) * targets).sum(-1)

    def report(self) -> dict[str, Any]:
        """Features without spread over the calibration images."""
        return {"n_silent_features": Standardisation.of(self.state).n_silent}
