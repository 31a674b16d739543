"""The activation itself: what the layer gives in the forward pass."""

from __future__ import annotations

from gradbrain.config.plugins import NoOptions
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape


class Options(NoOptions):
    """The rule has none."""


class Rule:
    """Take the outputs of the layers as they are."""

    def __init__(self, context: RuleContext) -> None:
        self.context = context

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the recorded outputs, without their graph."""
        return Taken({name: tensor.detach() for name, tensor in tape.layers.items()})
