r"""Feedback alignment: errors are sent back through fixed random weights.

.. math:: \delta_{k} = J_k^\top \delta_{k+1} \;\text{ with }\; W^\top \to B, \quad
    B_{ij} \sim \mathcal{N}(0, \overline{W^2})

Every matrix and kernel on the way back is replaced by a random one of its shape, drawn once, as
large as the weights are in the mean. Source: Lillicrap, Cownden, Tweed & Akerman 2016 (Nature
Communications 7, 13276).

What is approximated: the paper has fully connected layers. Convolutions are sent back through the
transposed convolution of a random kernel (Bartunov et al. 2018). Of attention (*ours*) the
projections to queries, keys, values and outputs are replaced, and the products of activations keep
their true derivative. Normalisation, nonlinearities and pooling keep theirs in every network.

What a brain would need: feedback connections of their own, which learn nothing, and neurons that
know the slope of their own response. What it would not need: feedback weights equal to the forward
ones. Learning brings the *forward* weights into line with the feedback; a network that
backpropagation trained never met these, so that there the signal is a control.

``feedback: transpose`` sends errors back through copies of the weights themselves, which must give
backpropagation bit for bit: a check of the machinery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement, RuleCase
from gradbrain.objectives.base import BoundObjective
from gradbrain.objectives.seeds import generator
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.way_back import like_weight
from gradbrain.vocabulary.roles import LEARNING

TOKENS = frozenset({"patches", "class_and_patches"})
NEVER_ALIGNED = (
    "the network was trained by another rule or through other feedback ({learned_by}), so that its "
    "weights never aligned with this random feedback; give the signal `role: control`, or, on "
    "networks that the study trained (source: testbed), take the rule `teaching_signal`"
)
REDUCED = (
    "in reduced precision the network computes with copies of its weights, which cannot be "
    "replaced; set features.precision to fp32 or tf32"
)
COMPUTED = (
    "the network computes its weights in each pass (weight standardisation), so that there are "
    "none to be replaced on the way back; take other models or a signal set without this signal"
)


class FeedbackOptions(PluginOptions):
    """What rules have in common that send errors back through other weights."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph", "other_weights"})

    def refusal(self, case: RuleCase) -> str:
        """Refuse networks that have no weights to be replaced."""
        if case.precision in ("bf16", "fp16"):
            return REDUCED
        return COMPUTED if case.weights == "computed" else ""

    def approximation(self, case: RuleCase) -> str:
        """Attention is no part of the papers."""
        tokens = TOKENS & set(case.layouts)
        return "products of activations in attention keep their true derivative" if tokens else ""


class Options(FeedbackOptions):
    """Options of the rule."""

    randomness: ClassVar[Mapping[str, Randomness]] = {"feedback": "identity"}

    seed: int = Field(0, ge=0, description="Seed of the feedback weights.")
    feedback: Literal["random", "transpose"] = Field(
        "random", description="`transpose`: the network's own weights, which gives backpropagation."
    )

    def refusal(self, case: RuleCase) -> str:
        """Refuse to call random feedback a learning signal of a network that it did not train."""
        if self.feedback == "random" and case.role == LEARNING and case.learned_by:
            return NEVER_ALIGNED.format(learned_by=case.learned_by)
        return super().refusal(case)


class Rule:
    """Walk the graph back through random weights."""

    def __init__(self, context: RuleContext) -> None:
        self.options = context.options
        self._weights: dict[str, torch.Tensor] = {}

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the errors that arrive at every layer."""
        assert objective is not None and tape.way_back is not None  # required
        for name, weight in tape.way_back.read.items():
            if name not in self._weights:
                self._weights[name] = self._feedback(name, weight)
        with tape.way_back.through(self._weights):
            return sent_back(tape, objective, keep_graph=keep_graph)

    def _feedback(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        if self.options.feedback == "transpose":
            return like_weight(weight.detach(), weight)
        return random_weight("feedback_alignment", self.options.seed, name, weight)


def random_weight(rule: str, seed: int, name: str, weight: torch.Tensor) -> torch.Tensor:
    """Draw normal numbers in the shape of a weight, with its root mean square.

    Parameters
    ----------
    rule, seed, name
        What the draw is determined by: rule, seed of the signal, name of the parameter.
    weight
        Parameter of the network.
    """
    drawn = generator(rule, seed, name).standard_normal(tuple(weight.shape), dtype=np.float32)
    size = weight.detach().square().mean().sqrt()
    return like_weight(torch.from_numpy(drawn).to(weight) * size, weight)
