"""A rule that depends on chance: the gradient as far as random directions of a layer show it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions
from gradbrain.objectives.seeds import generator
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar = frozenset({"objective", "graph"})
    randomness: ClassVar = {"directions": "monte_carlo"}

    n_directions: int = Field(4, ge=1, description="Random directions per image and layer.")


class Rule:
    """Move each layer along random directions, and keep the changes of the objective."""

    def __init__(self, context: RuleContext) -> None:
        self.seed = context.seed_of("directions")
        self.n_directions = context.options.n_directions

    def take(self, tape, objective, *, keep_graph):
        """Weigh directions by how the objective changes along them."""
        values = objective.values(tape.outputs[objective.objective.output])
        layers = tape.layers
        slopes = torch.autograd.grad(values.sum(), list(layers.values()), retain_graph=keep_graph)
        found = {
            name: torch.stack(
                [
                    self._weighed(slope[row], image, name)
                    for row, image in enumerate(tape.batch.image_ids)
                ]
            )
            for name, slope in zip(layers, slopes, strict=True)
        }
        return Taken(found, values.detach())

    def _weighed(self, slope, image, layer):
        random = generator("perturbation", image, layer, self.seed)
        shape = (self.n_directions, *slope.shape)
        directions = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
        change = (directions * slope).flatten(1).sum(1)
        return (change[:, None, None, None] * directions).mean(0)
