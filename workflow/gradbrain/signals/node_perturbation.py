r"""Node perturbation: units are moved at random, and what the objective does tells them apart.

.. math:: \delta_k = \frac{1}{K} \sum_{j=1}^{K}
    \left.\frac{d}{d\sigma} L(h_k + \sigma \xi_j)\right|_{\sigma = 0} \xi_j, \quad
    \xi_{ji} = \pm 1

Each layer is moved alone, by signs that are fair and independent. The mean over draws is the
backpropagated gradient; with :math:`K` draws of :math:`n` units the relative error is
:math:`\sqrt{(n - 1) / K}`. Source: Widrow & Lehr 1990; Fiete & Seung 2006 (PRL 97, 048104); signs
in the place of normal numbers from Spall 1992.

What is approximated: perturbations are infinitely small. The change of the objective along a
direction is then the inner product with the gradient, :math:`\langle e_k, \xi_j \rangle`, and it is
computed so: the same number without the rounding of a difference, and without K passes. A brain
that moved all layers at once would have the noise of the others besides.

What a brain would need: noise that each unit knows of itself, and one number for all of them, how
much better or worse it went. No feedback weights.

What it says of an image lies in the length too (the error of the estimate grows with that of the
gradient), and at unit length most of it is the draw: `normalise: none`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement, RuleCase
from gradbrain.objectives.base import BoundObjective
from gradbrain.objectives.seeds import generator
from gradbrain.signals.backprop import sent_back
from gradbrain.signals.rule import RuleContext
from gradbrain.signals.tape import Taken, Tape

# Numbers of directions that are held at once.
BLOCK = 2**22


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"directions": "monte_carlo"}
    length_matters: ClassVar[bool] = True

    n_draws: int = Field(64, ge=1, description="Random directions per image and layer, K.")

    def approximation(self, case: RuleCase) -> str:
        """A finite number of draws."""
        return f"{self.n_draws} draws"


class Rule:
    """Weigh random directions by what the objective does along them."""

    def __init__(self, context: RuleContext) -> None:
        self.seed = context.seed_of("directions")
        self.n_draws = context.options.n_draws

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the estimates."""
        assert objective is not None  # required
        gradients = sent_back(tape, objective, keep_graph=keep_graph)
        return Taken(
            {
                name: torch.stack(
                    [
                        self._estimate(gradient[row], image, name)
                        for row, image in enumerate(tape.batch.image_ids)
                    ]
                )
                for name, gradient in gradients.layers.items()
            },
            gradients.objective_value,
        )

    def _estimate(self, gradient: torch.Tensor, image: str, layer: str) -> torch.Tensor:
        """Estimate the gradient of one image from random directions; any shape."""
        random = generator("node_perturbation", image, layer, self.seed)
        flat = gradient.flatten()
        found = torch.zeros_like(flat)
        left = self.n_draws
        while left:
            n_rows = min(left, max(1, BLOCK // len(flat)))
            signs = torch.from_numpy(_signs(random, n_rows, len(flat))).to(flat)
            found += (signs @ flat) @ signs
            left -= n_rows
        return (found / self.n_draws).reshape(gradient.shape)


def _signs(random: np.random.Generator, n_rows: int, n_columns: int) -> np.ndarray:
    """Draw fair signs, one bit each; rows are drawn one after the other, whatever their number."""
    n_bytes = -(-n_columns // 8)
    bits = np.frombuffer(random.bytes(n_rows * n_bytes), np.uint8).reshape(n_rows, n_bytes)
    return 2 * np.unpackbits(bits, axis=1, count=n_columns).astype(np.int8) - 1
