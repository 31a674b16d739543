r"""Three factors: activity before and after a synapse, gated by a scalar or a top-down factor.

.. math:: \delta_k = g_k \circ h_k \, \lVert h_{k-1} \rVert^2 / n_{k-1}, \quad
    g_k = \bar L - L(x) \;\text{ or }\; g_k = B_k e

The change that Hebb's rule would make (``hebbian``), times how much better than expected the image
went (``gate: scalar``), or unit by unit times a fixed random projection of the error at the output
(``gate: top_down``, as in ``direct_feedback_alignment``). Source: Frémaux & Gerstner 2016
(Frontiers in Neural Circuits 9, 85); for top-down factors, Roelfsema & Holtmaat 2018.

What is approximated: eligibility traces hold activity of the image alone; a block of several
operations counts as one layer of synapses.

What a brain would need: traces at the synapse, and a neuromodulator (scalar) or feedback from the
top that selects units (top-down). Neither needs feedback weights that match the forward ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import xarray as xr
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement, RuleCase
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.direct_feedback import DirectFeedback
from gradbrain.signals.hebbian import ONE_LAYER, hebbian_changes
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.scalar_feedback import expected_objective
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image, top_error


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "chain"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"feedback": "identity"}

    gate: Literal["scalar", "top_down"] = Field(
        "scalar", description="One number per image, or one per unit from the error at the output."
    )
    seed: int = Field(0, ge=0, description="Seed of the weights of the top-down factor.")
    cells: int = Field(2, ge=1, description="Edge of the grid of cells with weights of their own.")
    fit_seed: int = Field(0, ge=0, description="Of what the objective draws for the expectation.")

    def needs(self, inner: frozenset[Requirement] = frozenset()) -> frozenset[Requirement]:
        """The expectation of the scalar is fitted."""
        fitted: frozenset[Requirement] = frozenset({"calibration", "fit"})
        return super().needs(inner) | (fitted if self.gate == "scalar" else frozenset())

    def refusal(self, case: RuleCase) -> str:
        """Refuse a scalar gate at unit length."""
        if self.gate == "scalar" and case.normalise != "none":
            return (
                f"`normalise: {case.normalise}` leaves of its scalar gate the sign; give the "
                "signal `normalise: none`"
            )
        return ""

    def approximation(self, case: RuleCase) -> str:
        """Blocks are no layers of synapses."""
        return ONE_LAYER


def fit(context: FitContext) -> xr.Dataset:
    """Take the mean of the objective over the calibration images."""
    return expected_objective(context, context.options.fit_seed)


class Rule:
    """Gate what Hebb's rule would change."""

    def __init__(self, context: RuleContext) -> None:
        options = context.options
        self.model = context.model
        self._expected = 0.0 if context.fitted is None else float(context.fitted["expected"])
        self._feedback: DirectFeedback | None = None
        if options.gate == "top_down":
            self._feedback = DirectFeedback(
                context.model, "three_factor", options.seed, options.cells
            )

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the gated changes of every layer of the chain."""
        assert objective is not None  # required
        error, values = top_error(tape, objective)
        changes = hebbian_changes(tape, self.model)
        return Taken(
            {
                name: change * self._gate(name, change, error, values)
                for name, change in changes.items()
            },
            values,
        )

    def _gate(
        self, layer: str, change: torch.Tensor, error: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        if self._feedback is None:
            return per_image(self._expected - values, change)
        return self._feedback.to_layer(error, layer, change)
