r"""The error that a neuron itself would carry: the gradient before its nonlinearity.

.. math:: \delta_k = e_k \circ f'(a_k), \quad e_k = \partial L / \partial h_k, \quad h_k = f(a_k)

Source: the error term of backpropagation (Rumelhart, Hinton & Williams 1986, eq. 13–14), which
accounts of learning in cortex put into a neuron (Whittington & Bogacz 2019; Lillicrap et al. 2020),
where the rule ``backprop`` takes :math:`e_k`, the derivative with respect to its output.

What is approximated: nothing. Where the output of a layer is no elementwise nonlinearity's (the
linear bottleneck of MobileNet, the residual stream of a transformer or of ConvNeXt), :math:`f` is
the identity and the signal is the backpropagated gradient itself.

What a brain would need: feedback weights equal to the forward ones, as for ``backprop``, and the
slope of each neuron's own response, which is local to it.
"""

from __future__ import annotations

import logging
from typing import ClassVar

import torch

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape

log = logging.getLogger(__name__)

#: Operations that act on each number alone, by the name of their derivative in torch's graph.
ELEMENTWISE = frozenset(
    {
        "EluBackward0",
        "GeluBackward0",
        "HardsigmoidBackward0",
        "HardswishBackward0",
        "HardtanhBackward0",
        "LeakyReluBackward0",
        "MishBackward0",
        "ReluBackward0",
        "SigmoidBackward0",
        "SiluBackward0",
        "SoftplusBackward0",
        "TanhBackward0",
    }
)


class Options(PluginOptions):
    """The rule has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph", "image_graph"})


class Rule:
    """Multiply each layer's gradient by the slope of the nonlinearity that gave its output."""

    def __init__(self, context: RuleContext) -> None:
        self._said = False

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the errors; the gradient itself for layers without a nonlinearity at their end."""
        assert objective is not None  # required
        # The nonlinearities are walked back a second time, so that the graph is kept.
        gradients = sent_back(tape, objective, keep_graph=True)
        linear = [name for name, tensor in tape.layers.items() if _nonlinearity(tensor) is None]
        if linear and not self._said:
            log.info("backprop_error is the gradient itself at %s", ", ".join(linear))
            self._said = True
        return Taken(
            {name: _before(tensor, gradients.layers[name]) for name, tensor in tape.layers.items()},
            gradients.objective_value,
        )


def _nonlinearity(tensor: torch.Tensor) -> torch.autograd.graph.Node | None:
    """Return the operation that gave a tensor, where it acts on each number alone."""
    node = tensor.grad_fn
    return node if node is not None and node.name() in ELEMENTWISE else None


def _before(tensor: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Carry a gradient back over the nonlinearity that gave a tensor."""
    node = _nonlinearity(tensor)
    if node is None:
        return gradient
    found = node(gradient.to(tensor.dtype))  # type: ignore[operator]
    return (found[0] if isinstance(found, tuple) else found).detach()
