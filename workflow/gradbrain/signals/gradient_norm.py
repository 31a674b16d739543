r"""The length of the backpropagated gradient, the same number at every unit: a control.

.. math:: \delta_k = \lVert \partial L / \partial h_k \rVert

over all units and positions of the layer. *Ours*. It holds how much the network would have to
change for an image, and no direction: a signal that explains no more may follow that alone.

What a brain would need: one number for each area.
"""

from __future__ import annotations

from typing import ClassVar

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.normalisation import vector_norm
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image


class Options(PluginOptions):
    """The rule has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph"})
    length_matters: ClassVar[bool] = True


class Rule:
    """Give every unit of a layer the length of its gradient."""

    def __init__(self, context: RuleContext) -> None:
        self.context = context

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the lengths in the shape of every layer."""
        assert objective is not None  # required
        gradients = sent_back(tape, objective, keep_graph=keep_graph)
        return Taken(
            {
                name: per_image(vector_norm(gradient.flatten(1)), gradient).expand(gradient.shape)
                for name, gradient in gradients.layers.items()
            },
            gradients.objective_value,
        )
