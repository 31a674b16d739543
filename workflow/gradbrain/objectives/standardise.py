"""Standardise features by the statistics of the calibration images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gradbrain.objectives.calibration import CalibrationBank

# A unit whose spread over the calibration images is below this share of the median spread is
# silent there; dividing by its spread would make noise the largest feature of all.
SILENT_SHARE = 1e-4


@dataclass(frozen=True)
class Standardisation:
    """Mean and spread of each feature over the calibration images.

    Attributes
    ----------
    mean
        (D,).
    inverse_spread
        (D,) one over the standard deviation; 0 for features that do not vary.
    """

    mean: torch.Tensor
    inverse_spread: torch.Tensor

    @property
    def n_silent(self) -> int:
        """Number of features that do not vary over the calibration images."""
        return int((self.inverse_spread == 0).sum())

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """Both by name, for the state of an objective."""
        return {"mean": self.mean, "inverse_spread": self.inverse_spread}

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor]) -> Standardisation:
        """Take it from the state of an objective."""
        return cls(state["mean"], state["inverse_spread"])

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise (B, D) features; silent ones become 0."""
        return (features - self.mean) * self.inverse_spread


def fit_standardisation(calibration: CalibrationBank) -> Standardisation:
    """Fit mean and spread of the features of the calibration images."""
    features = calibration.outputs("features")
    spread = features.std(dim=0, correction=0)
    silent = spread <= SILENT_SHARE * spread.median().clamp_min(torch.finfo(spread.dtype).tiny)
    inverse = torch.where(silent, torch.zeros_like(spread), 1 / spread.clamp_min(1e-30))
    return Standardisation(features.mean(dim=0), inverse)
