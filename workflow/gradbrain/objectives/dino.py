r"""Self-distillation between views (DINO), with a choice of the code that is compared.

.. math::
    L(x) = -\frac{1}{V} \sum_{v} \sum_k P^t_{v,k} \log P^s_k, \quad
    P^s = \mathrm{softmax}(z(x) / \tau_s), \quad
    P^t_v = \mathrm{softmax}((z(x_v) - c) / \tau_t)

The code :math:`z` of an image is one of

- ``standardised``: each pooled feature less its mean over calibration images and over its spread
  there, so that every feature is a prototype of equal weight;
- ``raw``: the pooled features as they are, over one number, the root mean square of their spreads
  over calibration images, so that the temperatures mean the same in every network. Features that
  are larger or vary more weigh more, as they do in the network;
- ``head``: what the projection head that was released with the weights makes of the features.

:math:`c` is the mean code of the views of calibration images.

Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers"
(arXiv:2104.14294), equations 1–4: cross-entropy between a sharpened, centred teacher and the
student. Three choices are this project's own. The student sees the stimulus itself, so that the
gradient belongs to the stored activation. The teacher is the same network (no moving average),
shown seeded augmented views of the image, without gradient. Codes of features stand for that of
the head, because the heads of most checkpoints (DINOv3 among them) are not public; with them the
temperatures keep the original ratio of 0.4 (0.04 to 0.1, which a head has) at a scale at which the
teacher does not saturate.

What it stands for: the direction in which a self-supervised learner would change its features
to make an image's code agree with that of its distorted copies. What it does not: the update that
the published network made at any point of its training; there is no momentum teacher, no local
crops, no batch statistics, and without the head the prototypes are the feature axes.

The teacher's code is sharp, so that most of what a view adds is lost by even spacing of the views:
it takes more of them than objectives that are smooth in the features (docs/objectives.md).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement
from gradbrain.objectives import ObjectiveError
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.objectives.projection_head import load_projection_head
from gradbrain.objectives.softmax_cross_entropy import softmax_cross_entropy
from gradbrain.objectives.standardise import Standardisation, fit_standardisation
from gradbrain.objectives.views import ViewOptions, view_features

log = logging.getLogger(__name__)

SATURATED = 0.05
FLAT = 0.98


class Options(PluginOptions):
    """Options of the objective."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"calibration"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"views": "monte_carlo"}

    code: Literal["standardised", "raw", "head"] = Field(
        "standardised",
        description="What is compared: pooled features, or what a head makes of them.",
    )
    student_temperature: float = Field(
        default_factory=lambda said: 0.1 if said.get("code") == "head" else 1.0,
        gt=0,
        description="Default: 1; with a head 0.1, as in the release.",
    )
    teacher_temperature: float = Field(
        default_factory=lambda said: 0.04 if said.get("code") == "head" else 0.4,
        gt=0,
        description="Default: 0.4; with a head 0.04, as in the release.",
    )
    views: ViewOptions = ViewOptions()
    head: str | None = Field(
        None, description="Of `code: head`: safetensors file of a released DINO head below data/."
    )

    @model_validator(mode="after")
    def _head_belongs_to_its_code(self) -> Options:
        if (self.code == "head") != (self.head is not None):
            raise ValueError(
                "code, head: `code: head` names the file of the head, and no other code has one; "
                f"found code: {self.code}, head: {self.head}"
            )
        return self

    def extra_forward_passes(self) -> float:
        """Return one for each view."""
        return self.views.n_views


class Objective(BaseObjective):
    """Cross-entropy of the student's code with the mean code of its augmented views."""

    options: Options

    def prepare(self) -> None:
        """Load the head, where there is one."""
        head = self.options.head
        self._head = None if head is None else load_projection_head(head, self.model)

    def fit(self) -> dict[str, torch.Tensor]:
        """Fit code and centre; measure the entropy of the teacher, in nats."""
        bank = self.fitted()
        scale = self._fit_scale(bank)
        with torch.no_grad():
            codes = [self._code(self._views(batch), scale) for batch in bank.batches()]
            stacked = torch.cat(codes)  # (n, V, K)
            centre = stacked.mean(dim=(0, 1))
            log_teacher = self._log_teacher(stacked, centre)
            entropy = -(log_teacher.exp() * log_teacher).sum(-1)
        state = {**scale, "centre": centre, "teacher_entropy": entropy.mean()}
        self._warn_of_a_bad_temperature(_entropy_share(state))
        return state

    def _fit_scale(self, bank: CalibrationBank) -> dict[str, torch.Tensor]:
        """Fit what brings features to codes; nothing where a head does."""
        if self._head is not None:
            return {}
        scale = fit_standardisation(bank).state
        if self.options.code == "standardised":
            return scale
        spread = bank.outputs("features").var(dim=0, correction=0).mean().sqrt()
        if not spread > 0:
            raise ObjectiveError(
                f"objective dino on model {self.model.entry.name!r}: its features do not differ "
                "between calibration images; code: raw needs a spread; take other calibration "
                "images"
            )
        return {**scale, "spread": spread}

    def _code(
        self, features: torch.Tensor, scale: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Code of features, (..., D) to (..., K); by a scale that is not part of the state yet."""
        scale = self.state if scale is None else scale
        if self._head is not None:
            code: torch.Tensor = self._head(features)
            return code
        if self.options.code == "standardised":
            return Standardisation.of(scale).apply(features)
        return features / scale["spread"]

    def _warn_of_a_bad_temperature(self, share: float) -> None:
        if not SATURATED <= share <= FLAT:
            log.warning(
                "objective dino on model %s: the teacher's entropy is %.3f of its maximum on "
                "calibration images (%s); change teacher_temperature (now %g)",
                self.model.entry.name,
                share,
                "saturated" if share < SATURATED else "flat",
                self.options.teacher_temperature,
            )

    def _views(self, batch: ImageBatch) -> torch.Tensor:
        """Features of the augmented views, (B, V, D)."""
        return view_features(
            self.model, batch, seed=self.seed_of("views"), options=self.options.views
        )

    def _log_teacher(self, codes: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        return ((codes - centre) / self.options.teacher_temperature).log_softmax(-1)

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Mean code of the teacher over the augmented views, (B, K), each row a distribution."""
        codes = self._code(self._views(batch))
        return self._log_teacher(codes, self.state["centre"]).exp().mean(1)

    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy in nats, (B,)."""
        return softmax_cross_entropy(self._code(output) / self.options.student_temperature, targets)

    def report(self) -> dict[str, Any]:
        """Code, and entropy of the teacher on the calibration images."""
        return {
            "code": self.options.code,
            **self._facts(),
            "teacher_entropy_nats": float(self.state["teacher_entropy"]),
            "teacher_entropy_share": _entropy_share(self.state),
        }

    def _facts(self) -> dict[str, Any]:
        if self.options.head is not None:
            return {"head": self.options.head}
        silent = {"n_silent_features": Standardisation.of(self.state).n_silent}
        if self.options.code == "standardised":
            return silent
        return {**silent, "feature_spread": float(self.state["spread"])}


def _entropy_share(state: Mapping[str, torch.Tensor]) -> float:
    """Entropy of the teacher as a share of its largest possible value."""
    return float(state["teacher_entropy"]) / math.log(len(state["centre"]))
