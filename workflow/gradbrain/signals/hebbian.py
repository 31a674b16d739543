r"""Hebb's rule: what an image's own update would change in each unit's response to it.

.. math:: \Delta W_k = h_k h_{k-1}^\top, \quad
    \delta_k = \Delta W_k h_{k-1} / n_{k-1} = h_k \, \lVert h_{k-1} \rVert^2 / n_{k-1}

:math:`h_{k-1}` is the layer before, of :math:`n_{k-1}` numbers (the image, in the network's units,
for the first). Source: Hebb 1949; as a rule of rates, Dayan & Abbott 2001, section 8.2.

What is approximated: a block of several operations counts as one layer of synapses.

What a brain would need: nothing but activity before and after a synapse. There is no error: the
signal is the activation times one positive number per image, and at unit length it is the
activation at unit length. It is kept as the degenerate end of the spectrum.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from gradbrain.config.plugins import PluginOptions, Requirement, RuleCase
from gradbrain.models.build import VisionModel
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image

ONE_LAYER = "a block of several operations counts as one layer of synapses"


class Options(PluginOptions):
    """The rule has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"chain"})

    def approximation(self, case: RuleCase) -> str:
        """Blocks are no layers of synapses."""
        return ONE_LAYER


class Rule:
    """Activity after a synapse times activity before it."""

    def __init__(self, context: RuleContext) -> None:
        self.model = context.model

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the changes of every layer of the chain."""
        return Taken(hebbian_changes(tape, self.model))


def hebbian_changes(tape: Tape, model: VisionModel) -> dict[str, torch.Tensor]:
    """Change of each unit's response that Hebb's rule would make for the image itself.

    Parameters
    ----------
    tape
        Forward pass over the whole chain.
    model
        Network.

    Returns
    -------
    dict
        Layer name -> tensor of its shape.
    """
    before, found = model.normalise(tape.batch.raw), {}
    for name, tensor in tape.layers.items():
        after = tensor.detach().to(model.dtype)
        found[name] = after * per_image(before.flatten(1).square().mean(1), after)
        before = after
    return found
