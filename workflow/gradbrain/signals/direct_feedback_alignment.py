r"""Direct feedback alignment: the error at the output reaches each layer in one step.

.. math:: \delta_k = B_k e, \quad e = \partial L / \partial y, \quad
    (B_k)_{ij} \sim \mathcal{N}(0, 1 / D)

:math:`y` is the output that the objective acts on, of :math:`D` numbers. Source: Nøkland 2016
(arXiv:1609.01596), who multiplies by the slope of the layer's nonlinearity besides; here, as for
``backprop``, the signal is what arrives at the layer's output.

What is approximated: dense weights to every position of a map would take gigabytes, so the
positions of each cell of a ``cells`` × ``cells`` grid share theirs; exact for layers that are
vectors. Every layer's signal is a fixed matrix times the same error.

What a brain would need: projections from the top of the hierarchy straight to every area, which
learn nothing. On a network that backpropagation trained the forward weights never aligned with
them, so that there the signal is a control.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement, RuleCase
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.direct_feedback import DirectFeedback
from gradbrain.signals.feedback_alignment import NEVER_ALIGNED
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import top_error
from gradbrain.vocabulary.roles import LEARNING


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"feedback": "identity"}

    seed: int = Field(0, ge=0, description="Seed of the feedback weights.")
    cells: int = Field(2, ge=1, description="Edge of the grid of cells with weights of their own.")

    def refusal(self, case: RuleCase) -> str:
        """Refuse to call random feedback a learning signal of a network that it did not train."""
        learned = case.role == LEARNING and case.learned_by
        return NEVER_ALIGNED.format(learned_by=case.learned_by) if learned else ""

    def approximation(self, case: RuleCase) -> str:
        """Dense weights to vectors alone."""
        shared = f"positions of a cell of a {self.cells} × {self.cells} grid share their weights"
        return "" if set(case.layouts) == {"vector"} else shared


class Rule:
    """Project the error at the output to every layer."""

    def __init__(self, context: RuleContext) -> None:
        options = context.options
        self._feedback = DirectFeedback(
            context.model, "direct_feedback_alignment", options.seed, options.cells
        )

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return what arrives at every layer."""
        assert objective is not None  # required
        error, values = top_error(tape, objective)
        return Taken(
            {
                name: self._feedback.to_layer(error, name, tensor.detach())
                for name, tensor in tape.layers.items()
            },
            values,
        )
