r"""The smallest change of a layer that would bring the output where the objective wants it.

.. math:: (J_k J_k^\top + \lambda I) x_k = e, \quad \delta_k = J_k^\top x_k, \quad
    J_k = \partial y / \partial h_k, \quad
    \lambda = \mathtt{damping} \cdot \operatorname{tr}(J_k J_k^\top) / D

:math:`e` is the gradient of the objective with respect to the output :math:`y` of :math:`D`
numbers; :math:`h_k - \delta_k` is the target that target propagation with exact inverses would set
(without damping :math:`\delta_k = J_k^+ e`). Source: Meulemans et al. 2020 (arXiv:2006.14331), who
show that difference target propagation aims at it; Levenberg 1944 for the damping.

What is approximated: the system is solved by ``iterations`` steps of conjugate gradients from
:math:`x = 0`, for all images of a batch side by side. One step gives backpropagation's direction,
and further ones move away from it; the relative residual :math:`\lVert e - (J J^\top + \lambda I) x
\rVert / \lVert e \rVert` is stored beside the signal. The trace is that of fixed random probes
where the output is wider than they are many (Hutchinson 1989).

What a brain would need: feedback pathways that invert the forward ones; no equality of single
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement, RuleCase
from gradbrain.objectives.base import BoundObjective
from gradbrain.objectives.seeds import generator
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape, TapeRecorder
from gradbrain.signals.top_error import top_error

N_PROBES = 8


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"probes": "identity"}
    gives_residual: ClassVar[bool] = True

    iterations: int = Field(8, ge=1, description="Steps of conjugate gradients.")
    damping: float = Field(0.01, ge=0, description="In units of the mean eigenvalue of J Jᵀ.")

    def refusal(self, case: RuleCase) -> str:
        """Refuse reduced precision."""
        if case.precision == "fp32":
            return ""
        return "conjugate gradients need every digit; set features.precision to fp32"

    def approximation(self, case: RuleCase) -> str:
        """A finite number of steps."""
        return f"{self.iterations} steps of conjugate gradients"

    def backward_passes(self) -> float:
        """A backward pass, and one through a backward pass, in each step."""
        return 3.0 * self.iterations


class Rule:
    """Solve for every layer by conjugate gradients."""

    def __init__(self, context: RuleContext) -> None:
        self.model, self.options = context.model, context.options
        self.seed = context.seed_of("probes")
        self._recorder: TapeRecorder | None = None

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the changes, and what is left of each system."""
        assert objective is not None  # required
        error, values = top_error(tape, objective)
        if self._recorder is None:
            self._recorder = TapeRecorder(self.model, list(tape.layers))
        output_name = objective.objective.output
        # Fused attention cannot be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            own = self._recorder.record(tape.batch, (output_name,), graph=True)
        output = own.outputs[output_name]
        damping = self._damping(output, own.layers)
        signals, residuals = {}, {}
        for name, tensor in own.layers.items():
            signals[name], residuals[name] = _solve(
                output, tensor, error.to(output.dtype), damping[name], self.options.iterations
            )
        return Taken(signals, values, residuals)

    def _damping(
        self, output: torch.Tensor, layers: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Damping of every image, (B,), by layer."""
        if self.options.damping == 0:
            return {name: output.new_zeros(len(output)) for name in layers}
        width = output.shape[1]
        if width <= N_PROBES:
            probes = torch.eye(width).to(output)
        else:
            random = generator("gauss_newton_target", self.seed, width)
            drawn = random.choice([-1.0, 1.0], size=(N_PROBES, width)) * (1 / N_PROBES**0.5)
            probes = torch.from_numpy(drawn).to(output)
        traces = {name: output.new_zeros(len(output)) for name in layers}
        for probe in probes:
            sent = torch.autograd.grad(
                output,
                list(layers.values()),
                probe.expand_as(output),
                retain_graph=True,
                allow_unused=True,
            )
            for name, gradient in zip(layers, sent, strict=True):
                if gradient is not None:
                    traces[name] += gradient.flatten(1).square().sum(1)
        return {name: self.options.damping * trace / width for name, trace in traces.items()}


def _solve(
    output: torch.Tensor,
    layer: torch.Tensor,
    error: torch.Tensor,
    damping: torch.Tensor,
    iterations: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve for one layer.

    Parameters
    ----------
    output, layer
        (B, D) and (B, …) of one graph, which is kept.
    error
        (B, D) right-hand side.
    damping
        (B,).
    iterations
        Steps.

    Returns
    -------
    signal : torch.Tensor
        Of the shape of the layer.
    residual : torch.Tensor
        (B,) relative; 0 where there is no error.
    """
    weights = torch.zeros_like(output, requires_grad=True)
    (sent,) = torch.autograd.grad(output, layer, weights, create_graph=True, allow_unused=True)
    if sent is None or not sent.requires_grad:
        # The output does not depend on the layer.
        return torch.zeros_like(layer), (error.norm(dim=1) > 0).to(error.dtype)

    def back(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(output, layer, x, retain_graph=True)[0]

    def system(x: torch.Tensor) -> torch.Tensor:
        (there,) = torch.autograd.grad(sent, weights, back(x), retain_graph=True)
        return there + damping[:, None] * x

    solution, residual = conjugate_gradients(system, error, iterations)
    return back(solution), residual


def conjugate_gradients(
    system: Callable[[torch.Tensor], torch.Tensor], right: torch.Tensor, iterations: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve symmetric, positive systems of all images side by side, from zero.

    Source: Hestenes & Stiefel 1952. An image whose residual has vanished stays as it is.

    Parameters
    ----------
    system
        Maps (B, D) to (B, D), each row by its own matrix.
    right
        (B, D).
    iterations
        Steps; of D numbers D steps are exact but for rounding.

    Returns
    -------
    solution : torch.Tensor
        (B, D).
    residual : torch.Tensor
        (B,) relative to the right-hand side; 0 where that is 0.
    """
    solution, residual, direction = torch.zeros_like(right), right.clone(), right.clone()
    squared = residual.square().sum(1)
    enough = squared * (4 * torch.finfo(right.dtype).eps) ** 2
    start = squared
    for _ in range(iterations):
        image = system(direction)
        curvature = (direction * image).sum(1)
        open_still = (squared > enough) & (curvature > 0)
        step = torch.where(open_still, squared / curvature, torch.zeros_like(squared))
        solution = solution + step[:, None] * direction
        residual = residual - step[:, None] * image
        after = residual.square().sum(1)
        ratio = torch.where(open_still, after / squared, torch.zeros_like(squared))
        direction = residual + ratio[:, None] * direction
        squared = after
    relative = torch.where(start > 0, (squared / start).sqrt(), torch.zeros_like(start))
    return solution, relative
