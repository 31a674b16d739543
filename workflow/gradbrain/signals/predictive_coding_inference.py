r"""Predictive coding, forward predictions: activities settle while the objective nudges the output.

.. math:: E(z) = \sum_k \tfrac12 \lVert z_k - p_k(z) \rVert^2 + \beta L(y(z)), \quad
    \delta_k = p_k - z_k \;\text{ after } T \text{ steps of descent on } E

:math:`p_k(z)` is what layer :math:`k` would give, given the values :math:`z` of the layers before
it, and :math:`y(z)` the output. Values start at those of the forward pass. Source: Whittington &
Bogacz 2017 (Neural Computation 29, 1229), with the output nudged by the objective and not clamped
(as Scellier & Bengio 2017 do), so that any objective will do.

At rest :math:`\delta_k = \sum_j (\partial p_j / \partial z_k)^\top \delta_j`, which is
backpropagation at the values that were settled on; as :math:`\beta` falls to 0 these are those of
the forward pass, and the signal is collinear with the gradient (so is the variant with fixed
predictions, which is therefore no signal here).

What is approximated: T steps, not rest. A step that would raise the energy of an image is taken
back and halved, others lengthen. The error moves down one layer per step, so that T must be at
least the number of layers. How far an image came, :math:`\lVert \partial E \rVert` relative to its
start, is stored beside the signal. Blocks of several operations count as one layer.

What a brain would need: neurons for values and for errors in every area, and feedback weights equal
to the forward ones between neighbours; no separate phase for errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Requirement, RuleCase
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.clamped import ClampedNetwork
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image

# After a step that lowered the energy, and after one that did not.
LONGER, SHORTER = 1.2, 0.5


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "chain"})
    gives_residual: ClassVar[bool] = True

    steps: int = Field(32, ge=1, description="Steps of descent, T.")
    nudge: float = Field(1.0, gt=0, description="Weight of the objective in the energy, β.")
    rate: float = Field(0.3, gt=0, description="Length of the first step.")

    def refusal(self, case: RuleCase) -> str:
        """Refuse what cannot reach the first layer, and reduced precision."""
        if case.precision != "fp32":
            return "small steps of descent need every digit; set features.precision to fp32"
        if self.steps < len(case.layouts):
            return (
                f"{self.steps} steps do not carry the error over {len(case.layouts)} layers; set "
                f"rule_options: {{steps: {2 * len(case.layouts)}}} or more"
            )
        return ""

    def approximation(self, case: RuleCase) -> str:
        """A finite number of steps."""
        return f"{self.steps} steps of descent"

    def extra_forward_passes(self) -> float:
        """A forward pass in each step, and one for where it starts."""
        return self.steps + 1.0

    def backward_passes(self) -> float:
        """A backward pass in each step, and one for where it starts."""
        return self.steps + 1.0


@dataclass
class _State:
    """Values of all layers, with what follows from them; energy (B,)."""

    values: dict[str, torch.Tensor]
    predictions: dict[str, torch.Tensor]
    slopes: dict[str, torch.Tensor]
    energy: torch.Tensor

    def slope_length(self) -> torch.Tensor:
        """Length of the slope of each image, (B,)."""
        squares = [slope.flatten(1).double().square().sum(1) for slope in self.slopes.values()]
        return torch.stack(squares).sum(0).sqrt()


class Rule:
    """Let the activities of the chain settle, and keep what their predictions miss."""

    def __init__(self, context: RuleContext) -> None:
        self.options = context.options
        self.network = ClampedNetwork(context.model, context.chain)

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the errors of every layer of the chain."""
        assert objective is not None  # required
        start = {name: tensor.detach() for name, tensor in tape.layers.items()}
        state = self._evaluate(start, objective, tape)
        first = state.slope_length()
        with torch.no_grad():
            values = objective.values(tape.outputs[objective.objective.output].detach())
        rate = torch.full_like(state.energy, self.options.rate)
        for _ in range(self.options.steps):
            moved = {
                name: value - per_image(rate, value) * state.slopes[name]
                for name, value in state.values.items()
            }
            after = self._evaluate(moved, objective, tape)
            better = after.energy <= state.energy
            state = _chosen(better, after, state)
            rate = torch.where(better, rate * LONGER, rate * SHORTER)
        left = state.slope_length() / torch.where(first > 0, first, torch.ones_like(first))
        return Taken(
            {name: state.predictions[name] - value for name, value in state.values.items()},
            values,
            dict.fromkeys(state.values, left),
        )

    def _evaluate(
        self, values: Mapping[str, torch.Tensor], objective: BoundObjective, tape: Tape
    ) -> _State:
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        with torch.enable_grad():
            predictions, output = self.network.run(
                tape.batch.raw, leaves, objective.objective.output
            )
            energy = self.options.nudge * objective.values(output).double()
            for name, value in leaves.items():
                missed = (value - predictions[name]).flatten(1)
                energy = energy + 0.5 * missed.square().sum(1).double()
        slopes = torch.autograd.grad(energy.sum(), list(leaves.values()))
        return _State(
            {name: value.detach() for name, value in leaves.items()},
            {name: prediction.detach() for name, prediction in predictions.items()},
            dict(zip(leaves, slopes, strict=True)),
            energy.detach(),
        )


def _chosen(better: torch.Tensor, after: _State, before: _State) -> _State:
    """Take over the images whose energy fell, and keep the others where they were."""

    def choose(
        new: dict[str, torch.Tensor], old: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return {
            name: torch.where(better.reshape(-1, *[1] * (one.ndim - 1)), one, old[name])
            for name, one in new.items()
        }

    return _State(
        choose(after.values, before.values),
        choose(after.predictions, before.predictions),
        choose(after.slopes, before.slopes),
        torch.where(better, after.energy, before.energy),
    )
