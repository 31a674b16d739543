r"""Predictive coding, forward predictions: activities settle while the objective nudges the output.

.. math:: E(z) = \sum_k \frac{\lVert z_k - p_k(z) \rVert^2}{2 s_k} + \beta L(y(z)), \quad
    \delta_k = \frac{p_k - z_k}{s_k} \;\text{ after } T \text{ steps of descent on } E, \quad
    \beta = \mathtt{nudge} \, \frac{\lVert y \rVert}{s_y \lVert e \rVert}

:math:`p_k(z)` is what layer :math:`k` would give, given the values :math:`z` of those before it,
:math:`y(z)` the output, :math:`e` the gradient of :math:`L` there, and :math:`s` the mean square of
a layer or of the output, the last two in the forward pass. Source: Whittington & Bogacz 2017
(Neural Computation 29, 1229), with errors weighted by the precision of their layer, their variances
:math:`\Sigma` set to :math:`s_k`, and the output nudged by the objective and not clamped (as
Scellier & Bengio 2017 do), so that any objective will do. The nudge is relative to the output
(*ours*): one that moves activities by less than float32 resolves would leave errors of rounding.

At rest :math:`\delta_k = \sum_j (\partial p_j / \partial z_k)^\top \delta_j`, which is
backpropagation at the values that were settled on; as :math:`\beta` falls to 0 these are those of
the forward pass, and the signal is collinear with the gradient. So is the variant in which
predictions are fixed at the forward pass, which is therefore no signal here. Values start where
errors are those of that variant, :math:`p_k - z_k = s_k \beta \, \partial L / \partial h_k`
(*ours*): from the values of the forward pass, errors of the first layers would need more steps than
are taken to rise above rounding.

What is approximated: T steps, not rest. A step that would raise the energy of an image is taken
back and halved. How far an image came, :math:`\lVert \partial E \rVert` relative to that of the
forward pass, is stored beside the signal. Blocks of several operations count as one layer.

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
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.clamped import ClampedNetwork
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image, top_error

# Of a step that did not lower the energy. None lengthens: at the edge of stability rounding grows.
SHORTER = 0.5


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph", "chain"})
    gives_residual: ClassVar[bool] = True

    steps: int = Field(32, ge=1, description="Steps of descent, T.")
    nudge: float = Field(
        0.3, gt=0, description="Weight of the objective: its slope, by the length of the output."
    )
    rate: float = Field(0.1, gt=0, description="Length of the first step.")

    def refusal(self, case: RuleCase) -> str:
        """Refuse reduced precision."""
        if case.precision == "fp32":
            return ""
        return "small steps of descent need every digit; set features.precision to fp32"

    def approximation(self, case: RuleCase) -> str:
        """A finite number of steps."""
        return f"{self.steps} steps of descent"

    def extra_forward_passes(self) -> float:
        """A forward pass in each step, and one for where it starts."""
        return self.steps + 1.0

    def backward_passes(self) -> float:
        """A backward pass in each step, and one for where it starts."""
        return self.steps + 1.0


@dataclass(frozen=True)
class _Energy:
    """What the energy of a batch is made of.

    Attributes
    ----------
    tape, objective
        The images, and the objective with them.
    nudge
        (B,) weight of the objective.
    squares
        Layer -> (B,) mean square of the layer, its variance in the energy.
    """

    tape: Tape
    objective: BoundObjective
    nudge: torch.Tensor
    squares: Mapping[str, torch.Tensor]


@dataclass
class _State:
    """Values of all layers, with what follows from them; energy (B,)."""

    values: dict[str, torch.Tensor]
    predictions: dict[str, torch.Tensor]
    slopes: dict[str, torch.Tensor]
    energy: torch.Tensor


class Rule:
    """Let the activities of the chain settle, and keep what their predictions miss."""

    def __init__(self, context: RuleContext) -> None:
        self.options = context.options
        self.network = ClampedNetwork(context.model, context.chain)

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the errors of every layer of the chain."""
        assert objective is not None  # required
        gradients = sent_back(tape, objective, keep_graph=keep_graph)
        output = tape.outputs[objective.objective.output].detach()
        slope = top_error(tape, objective)[0].norm(dim=1)
        strength = output.norm(dim=1) / torch.where(slope > 0, slope, torch.inf)
        squares = {name: _mean_square(tensor.detach()) for name, tensor in tape.layers.items()}
        nudge = self.options.nudge * strength / _mean_square(output)
        forward = {name: tensor.detach() for name, tensor in tape.layers.items()}
        shifts = {
            name: -per_image(nudge * squares[name], gradient) * gradient
            for name, gradient in gradients.layers.items()
        }
        start = self.network.shifted(tape.batch.raw, shifts, objective.objective.output)
        energy = _Energy(tape, objective, nudge, squares)
        first = _slope_length(self._evaluate(forward, energy), squares)
        state = self._evaluate(start, energy)
        rate = torch.full_like(state.energy, self.options.rate)
        for _ in range(self.options.steps):
            moved = {
                name: value - per_image(rate * squares[name], value) * state.slopes[name]
                for name, value in state.values.items()
            }
            after = self._evaluate(moved, energy)
            better = after.energy <= state.energy
            state = _chosen(better, after, state)
            rate = torch.where(better, rate, rate * SHORTER)
        left = _slope_length(state, squares) / torch.where(first > 0, first, torch.ones_like(first))
        return Taken(
            {
                name: (state.predictions[name] - value) / per_image(squares[name], value)
                for name, value in state.values.items()
            },
            gradients.objective_value,
            dict.fromkeys(state.values, left),
        )

    def _evaluate(self, values: Mapping[str, torch.Tensor], energy: _Energy) -> _State:
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        objective = energy.objective
        with torch.enable_grad():
            predictions, output = self.network.run(
                energy.tape.batch.raw, leaves, objective.objective.output
            )
            total = (energy.nudge * objective.values(output)).double()
            for name, value in leaves.items():
                missed = (value - predictions[name]).flatten(1).square().sum(1)
                total = total + (0.5 * missed / energy.squares[name]).double()
        slopes = torch.autograd.grad(total.sum(), list(leaves.values()))
        return _State(
            {name: value.detach() for name, value in leaves.items()},
            {name: prediction.detach() for name, prediction in predictions.items()},
            dict(zip(leaves, slopes, strict=True)),
            total.detach(),
        )


def _mean_square(values: torch.Tensor) -> torch.Tensor:
    """Mean square of each image, (B,); 1 where all are zero."""
    found = values.flatten(1).square().mean(1)
    return torch.where(found > 0, found, torch.ones_like(found))


def _slope_length(state: _State, squares: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Length of the slope of each image in units of its layers, (B,)."""
    parts = [
        squares[name].double() * slope.flatten(1).double().square().sum(1)
        for name, slope in state.slopes.items()
    ]
    return torch.stack(parts).sum(0).sqrt()


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
