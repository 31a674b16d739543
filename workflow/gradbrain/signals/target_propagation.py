"""Targets that inverse models carry from the last layer of a chain down to the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
import xarray as xr
from pydantic import Field

from gradbrain.config.plugins import Requirement, RuleCase
from gradbrain.models.layout import Layout
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.inverse_models import (
    InverseModel,
    InverseOptions,
    fit_chain,
    from_positions,
    to_positions,
)
from gradbrain.signals.pooling import layout_of
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.tape import Tape
from gradbrain.signals.top_error import per_image

#: Leads from the values of a layer to those of the one below it.
Inverse = Callable[[torch.Tensor], torch.Tensor]


class TargetOptions(InverseOptions):
    """Options of the rules that propagate targets."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "graph", "chain"})

    inverse: Literal["fitted", "affine", "own"] = Field(
        "fitted",
        description="Models fitted on calibration images; the same without random features, which "
        "make of every layer's signal a fixed matrix times the error at the last one; or the "
        "network's own decoder.",
    )
    correction: bool = Field(
        True, description="Take off what the inverse misses of the layer (difference correction)."
    )
    step: float = Field(
        0.1, gt=0, description="How far the last layer's target lies from it, by its length."
    )

    def needs(self, inner: frozenset[Requirement] = frozenset()) -> frozenset[Requirement]:
        """Inverses are fitted, unless the network has them."""
        fitted: frozenset[Requirement] = frozenset({"calibration", "fit"})
        return super().needs(inner) | (frozenset() if self.inverse == "own" else fitted)

    def refusal(self, case: RuleCase) -> str:
        """Refuse reduced precision, and networks without what the inverses are made from."""
        if case.precision != "fp32":
            return "targets differ from activities by little; set features.precision to fp32"
        if self.inverse != "own":
            found = super().refusal(case)
            own = ", or `rule_options: {inverse: own}`" if case.own_inverses else ""
            return found + own if found else ""
        if not case.own_inverses:
            return (
                "`inverse: own` needs a network with a decoder that leads back from each of its "
                "layers (source: autoencoder); take `inverse: fitted`"
            )
        return ""

    def approximation(self, case: RuleCase) -> str:
        """Inverses are fitted afterwards, unless the network learnt them."""
        if self.inverse == "own":
            return "" if case.learned_by == "difference_target_propagation" else UNTAUGHT
        return "inverses are fitted to a network that was trained without them"


UNTAUGHT = "the decoder was not trained to invert the single layers"


def fit_inverses(context: FitContext) -> xr.DataTree:
    """Fit what leads back to each layer from the one above it; a node each."""
    hidden = 0 if context.options.inverse == "affine" else context.options.hidden
    return xr.DataTree.from_dict(dict(fit_chain(context, hidden=hidden)))


def changes_below(
    values: Sequence[torch.Tensor],
    inverses: Sequence[Inverse],
    change: torch.Tensor,
    *,
    corrected: bool,
) -> list[torch.Tensor]:
    r"""Carry the change of the last layer down: activity minus target, of every layer.

    .. math:: \delta_{l-1} = g_l(a_l) - g_l(a_l - \delta_l)
        \;\text{ or, uncorrected, }\; a_{l-1} - g_l(a_l - \delta_l)

    Source: Lee et al. 2015 (arXiv:1412.7525), eq. 15 and 16; uncorrected: Bengio 2014
    (arXiv:1407.7906).

    Parameters
    ----------
    values
        Activities of the K layers, from the first to the last.
    inverses
        K - 1 of them: the first leads from the second layer to the first.
    change
        Of the last layer.
    corrected
        Whether what an inverse misses of the activity itself is taken off.
    """
    changes = [change]
    for place in reversed(range(len(inverses))):
        below, above, inverse = values[place], values[place + 1], inverses[place]
        origin = inverse(above) if corrected else below
        changes.append(origin - inverse(above - changes[-1]))
    return changes[::-1]


class TargetPropagation:
    """Targets of all layers of a chain, for the images of a forward pass.

    Parameters
    ----------
    context
        Of the rule; its options are :class:`TargetOptions`.
    """

    def __init__(self, context: RuleContext) -> None:
        self.options, self.model, self.chain = context.options, context.model, context.chain
        self._fitted = context.fitted
        self._models: dict[str, InverseModel] = {}

    def changes(
        self, tape: Tape, objective: BoundObjective, *, keep_graph: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Activity minus target.

        Parameters
        ----------
        tape, objective, keep_graph
            As for :meth:`gradbrain.signals.rule.Rule.take`.

        Returns
        -------
        changes : dict
            Layer of the chain -> tensor of its shape.
        values : torch.Tensor
            (B,) the objective.
        """
        with torch.enable_grad():
            values = objective.values(tape.outputs[objective.objective.output])
        last = tape.layers[self.chain[-1]]
        (gradient,) = torch.autograd.grad(
            values.sum(), last, retain_graph=keep_graph, allow_unused=True
        )
        activities = [tape.layers[name].detach() for name in self.chain]
        gradient = torch.zeros_like(activities[-1]) if gradient is None else gradient
        with torch.no_grad():
            found = changes_below(
                activities,
                self.inverses(tape),
                self.options.step * like_length(gradient, activities[-1]),
                corrected=self.options.correction,
            )
        return dict(zip(self.chain, found, strict=True)), values.detach()

    def inverses(self, tape: Tape) -> list[Inverse]:
        """What leads back from each layer of the chain but the first."""
        if self.options.inverse == "own":
            return [self.model.module.inverse_of(name) for name in self.chain[1:]]  # type: ignore[operator]
        layouts = {
            name: layout_of(self.model, name, tuple(tape.layers[name].shape)) for name in self.chain
        }
        pairs = zip(self.chain[:-1], self.chain[1:], strict=True)
        return [self._fitted_inverse(below, above, tape, layouts) for below, above in pairs]

    def _fitted_inverse(
        self, below: str, above: str, tape: Tape, layouts: Mapping[str, Layout]
    ) -> Inverse:
        assert self._fitted is not None  # required
        like = to_positions(tape.layers[below], layouts[below])
        if below not in self._models:
            found = self._fitted[below].to_dataset()
            self._models[below] = InverseModel.from_dataset(found, like.detach())
        model = self._models[below]

        def inverse(values: torch.Tensor) -> torch.Tensor:
            predicted = model.predict(to_positions(values, layouts[above]), like)
            return from_positions(predicted, layouts[below])

        return inverse


def like_length(gradient: torch.Tensor, activity: torch.Tensor) -> torch.Tensor:
    """Scale each image's gradient to the length of its activity; zero where it is zero."""
    length = gradient.flatten(1).norm(dim=1)
    ratio = activity.flatten(1).norm(dim=1) / torch.where(length > 0, length, torch.inf)
    return gradient * per_image(ratio, gradient)
