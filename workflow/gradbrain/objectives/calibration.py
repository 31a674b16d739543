"""Calibration images: what objectives fit is fitted on them and never on the stimuli."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from gradbrain.models.build import OutputName, VisionModel

if TYPE_CHECKING:
    from gradbrain.objectives.base import BaseObjective, ImageBatch


class CalibrationBank:
    """A fixed set of images with the network's outputs for them.

    Parameters
    ----------
    model
        Network.
    batches
        Starts an iteration over the calibration images; called once per pass over them.
    states
        Objective, as :attr:`~gradbrain.config.plugins.ResolvedUse.key` names it -> what another
        job fitted for it on these images.

    Attributes
    ----------
    built
        Objectives that were fitted on these images, so that one is not fitted twice.
    """

    def __init__(
        self,
        model: VisionModel,
        batches: Callable[[], Iterator[ImageBatch]],
        states: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        self.model = model
        self._batches = batches
        self.states = states or {}
        self.built: dict[str, BaseObjective] = {}
        self._outputs: dict[OutputName, torch.Tensor] = {}

    def batches(self) -> Iterator[ImageBatch]:
        """Iterate over the calibration images."""
        return self._batches()

    def outputs(self, name: OutputName) -> torch.Tensor:
        """Outputs of the network for all calibration images, (n, D), without a graph."""
        if name not in self._outputs:
            with torch.no_grad():
                parts = [self.model.outputs(batch.raw, (name,))[name] for batch in self.batches()]
            self._outputs[name] = torch.cat(parts)
        return self._outputs[name]
