"""The activation itself: what the layer gives in the forward pass."""

from __future__ import annotations

from typing import ClassVar

from gradbrain.config.schema import SignalEntry
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.tape import Taken, Tape


class Rule:
    """Take the outputs of the layers as they are."""

    needs_graph: ClassVar[bool] = False
    needs_objective: ClassVar[bool] = False

    def __init__(self, signal: SignalEntry) -> None:
        self.signal = signal

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the recorded outputs, without their graph."""
        return Taken({name: tensor.detach() for name, tensor in tape.layers.items()})
