r"""Sign symmetry: errors are sent back through weights that share their sign with the forward ones.

.. math:: B = \operatorname{sign}(W) \circ M, \quad
    M_{ij} = \overline{|W|} \;\text{ or }\; M_{ij} = \overline{|W|} \sqrt{\pi / 2}\, |z_{ij}|,
    \; z_{ij} \sim \mathcal{N}(0, 1)

Every matrix and kernel on the way back is replaced so. Source: Liao, Leibo & Poggio 2016 (AAAI;
arXiv:1510.05067), uniform magnitudes and fixed random ones; Xiao et al. 2019 (arXiv:1811.03567) at
the size of ImageNet.

What is approximated: as for ``feedback_alignment``: of attention the projections are replaced
(*ours*), and the products of activations keep their true derivative. The paper's batch manhattan
and batch normalisation concern updates, which are not taken here.

What a brain would need: feedback connections that are excitatory where the forward ones are, and
inhibitory where they are (e.g. by cell type), with no word on how strong each is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from gradbrain.config.plugins import Randomness
from gradbrain.objectives.base import BoundObjective
from gradbrain.objectives.seeds import generator
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.feedback_alignment import FeedbackOptions
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.way_back import like_weight


class Options(FeedbackOptions):
    """Options of the rule."""

    randomness: ClassVar[Mapping[str, Randomness]] = {"magnitudes": "identity"}

    magnitudes: Literal["mean", "random"] = Field(
        "mean", description="The mean magnitude of the matrix or kernel, or fixed random ones."
    )
    seed: int = Field(0, ge=0, description="Seed of random magnitudes.")


class Rule:
    """Walk the graph back through weights of the right sign."""

    def __init__(self, context: RuleContext) -> None:
        self.options = context.options
        self._weights: dict[str, torch.Tensor] = {}

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the errors that arrive at every layer."""
        assert objective is not None and tape.way_back is not None  # required
        for name, weight in tape.way_back.read.items():
            if name not in self._weights:
                self._weights[name] = self._feedback(name, weight.detach())
        with tape.way_back.through(self._weights):
            return sent_back(tape, objective, keep_graph=keep_graph)

    def _feedback(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        signs = weight.sign() * weight.abs().mean()
        if self.options.magnitudes == "random":
            random = generator("sign_symmetry", self.options.seed, name)
            drawn = np.abs(random.standard_normal(tuple(weight.shape), dtype=np.float32))
            signs = signs * torch.from_numpy(drawn).to(weight) * math.sqrt(math.pi / 2)
        return like_weight(signs, weight)
