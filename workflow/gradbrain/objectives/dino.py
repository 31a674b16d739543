r"""Self-distillation between views (DINO), by default without its projection head.

.. math::
    L(x) = -\frac{1}{V} \sum_{v} \sum_k P^t_{v,k} \log P^s_k, \quad
    P^s = \mathrm{softmax}(z(x) / \tau_s), \quad
    P^t_v = \mathrm{softmax}((z(x_v) - c) / \tau_t)

Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers"
(arXiv:2104.14294), equations 1–4: cross-entropy between a sharpened, centred teacher and the
student. Three choices are this project's own. The student sees the stimulus itself, so that the
gradient belongs to the stored activation. The teacher is the same network (no moving average),
shown seeded augmented views of the image, without gradient. Unless a released head is named,
:math:`z` is the pooled feature vector standardised by mean and spread over calibration images,
because the heads of most checkpoints (DINOv3 among them) are not public; the temperatures keep the
original ratio of 0.4 at a scale at which the teacher does not saturate on standardised features.

What it stands for: the direction in which a self-supervised learner would change its features
to make an image's code agree with that of its distorted copies. What it does not: the update that
the published network made at any point of its training; there is no momentum teacher, no local
crops, no batch statistics, and without the head the prototypes are the feature axes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.projection_head import load_projection_head
from gradbrain.objectives.standardise import fit_standardisation
from gradbrain.objectives.views import ViewOptions, draw_views, view_features

log = logging.getLogger(__name__)

SATURATED = 0.05
FLAT = 0.98


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"views": "monte_carlo"}

    student_temperature: float = Field(1.0, gt=0)
    teacher_temperature: float = Field(0.4, gt=0)
    views: ViewOptions = ViewOptions()
    head: str | None = Field(
        None, description="Safetensors file of a released DINO head below data/; none: head-free."
    )

    def extra_forward_passes(self) -> float:
        """Return one for each view."""
        return self.views.n_views


class Objective(BaseObjective):
    """Cross-entropy of the student's code with the mean code of its augmented views."""

    options: Options

    def prepare(self) -> None:
        """Fit standardisation and centre; measure the entropy of the teacher."""
        bank = self.fitted()
        self._head = None
        if self.options.head is not None:
            self._head = load_projection_head(self.options.head, self.model)
        self._standardisation = fit_standardisation(bank)
        with torch.no_grad():
            codes = [self._teacher_codes(batch) for batch in bank.batches()]
            stacked = torch.cat(codes)  # (n, V, K)
            self._centre = stacked.mean(dim=(0, 1))
            log_teacher = self._log_teacher(stacked)
            entropy = -(log_teacher.exp() * log_teacher).sum(-1)
        self._entropy = float(entropy.mean())
        self._n_codes = int(stacked.shape[-1])
        self._warn_of_a_bad_temperature()

    def _warn_of_a_bad_temperature(self) -> None:
        share = self._entropy / math.log(self._n_codes)
        if not SATURATED <= share <= FLAT:
            log.warning(
                "objective dino on model %s: the teacher's entropy is %.3f of its maximum on "
                "calibration images (%s); change teacher_temperature (now %g)",
                self.model.entry.name,
                share,
                "saturated" if share < SATURATED else "flat",
                self.options.teacher_temperature,
            )

    def _code(self, features: torch.Tensor) -> torch.Tensor:
        if self._head is not None:
            return self._head(features)
        return self._standardisation.apply(features)

    def _teacher_codes(self, batch: ImageBatch) -> torch.Tensor:
        """Codes of the augmented views, (B, V, K)."""
        views = view_features(
            self.model, batch, seed=self.seed_of("views"), options=self.options.views
        )
        return torch.stack([self._code(features) for features in views], dim=1)

    def draw(self, batch: ImageBatch) -> None:
        """Draw the teacher's views."""
        draw_views(batch, seed=self.seed_of("views"), options=self.options.views)

    def _log_teacher(self, codes: torch.Tensor) -> torch.Tensor:
        return ((codes - self._centre) / self.options.teacher_temperature).log_softmax(-1)

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Mean code of the teacher over the augmented views, (B, K), each row a distribution."""
        return self._log_teacher(self._teacher_codes(batch)).exp().mean(1)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy in nats, (B,)."""
        student = (self._code(output) / self.options.student_temperature).log_softmax(-1)
        return -(targets * student).sum(-1)

    def report(self) -> dict[str, Any]:
        """Entropy of the teacher on the calibration images, and features without spread there."""
        return {
            "head": self.options.head or "none",
            "teacher_entropy_nats": self._entropy,
            "teacher_entropy_share": self._entropy / math.log(self._n_codes),
            "n_silent_features": self._standardisation.n_silent,
        }
