r"""The signal that taught the network: each rule on the network that it trained.

.. math:: \delta_l = \text{what the learning rule of the network told layer } l
    \text{ in training, for this image}

Of a network of the testbed (``weights: {source: testbed}``) the rule that trained it says which
that is: the backpropagated gradient; errors through the fixed random weights of its training
(``feedback_alignment``) or through those that it learnt (``kolen_pollack``); activity minus target
(``difference_target_propagation``), the last target as far on the way as in training. Sources:
those of each rule (:mod:`gradbrain.signals.testbed_rules`).

What is approximated: nothing. What a brain would need: what the rule needs that trained the
network.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from gradbrain.config.plugins import PluginOptions, Requirement, RuleCase
from gradbrain.models.autoencoder import Autoencoder
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.target_propagation import changes_below
from gradbrain.signals.way_back import like_weight

TARGETS = "difference_target_propagation"


class Options(PluginOptions):
    """The rule has none."""

    requires: ClassVar[frozenset[Requirement]] = frozenset(
        {"objective", "graph", "chain", "other_weights"}
    )

    def refusal(self, case: RuleCase) -> str:
        """Refuse networks that no rule of this study trained, and reduced precision."""
        if not (case.own_inverses and case.learned_by):
            return (
                "the study trained no such network, so that nothing is known of what taught it; "
                "take models whose weights are {source: testbed, learning_rule: …}"
            )
        if case.precision != "fp32":
            return "the network was trained in fp32; set features.precision to fp32"
        return ""


class Rule:
    """Do what the learning rule of the network does."""

    def __init__(self, context: RuleContext) -> None:
        network = context.model.module
        assert isinstance(network, Autoencoder)  # refused otherwise
        self.network, self.chain = network, context.chain
        own = dict(network.named_parameters())
        self._feedback = {
            name: like_weight(weight.to(own[name]), own[name])
            for name, weight in network.feedback.items()
        }

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return what every layer is told."""
        assert objective is not None and tape.way_back is not None  # required
        if self.network.learned_by != TARGETS:
            with tape.way_back.through(self._feedback):
                return sent_back(tape, objective, keep_graph=keep_graph)
        top = tape.part(self.chain[-1:], (objective.objective.output,))
        error = sent_back(top, objective, keep_graph=keep_graph)
        activities = [tape.layers[name].detach() for name in self.chain]
        with torch.no_grad():
            changes = changes_below(
                activities,
                [self.network.inverse_of(name) for name in self.chain[1:]],
                self.network.target_step * error.layers[self.chain[-1]],
                corrected=True,
            )
        return Taken(dict(zip(self.chain, changes, strict=True)), error.objective_value)
