r"""The objective itself, the same number at every unit: a control of one dimension.

.. math:: \delta_k = L(x)

*Ours*. It holds how surprising an image is to the network, and no vector: a signal that explains no
more than it does may be said to follow surprise. The layer does not matter.

What a brain would need: one number for all of it.
"""

from __future__ import annotations

from typing import ClassVar

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image, top_error


class Options(PluginOptions):
    """The rule has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective"})
    length_matters: ClassVar[bool] = True


class Rule:
    """Give every unit the value of the objective."""

    def __init__(self, context: RuleContext) -> None:
        self.context = context

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the objective in the shape of every layer."""
        assert objective is not None  # required
        _, values = top_error(tape, objective)
        return Taken(
            {
                name: per_image(values, tensor).expand(tensor.shape)
                for name, tensor in tape.layers.items()
            },
            values,
        )
