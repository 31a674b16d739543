r"""Predictive coding, top-down predictions: what the layer above does not explain of a layer.

.. math:: \varepsilon_k = h_k - g_k(h_{k+1}), \quad \varepsilon_K = h_K - \overline{h_K}

:math:`g_k` predicts layer :math:`k` from the one above it; the last layer is predicted by its mean.
Source: Rao & Ballard 1999 (Nature Neuroscience 2, 79).

What is approximated: the representation is the network's, and does not settle to lower the errors;
:math:`g_k` is not learnt along with it but fitted afterwards, on calibration images, position by
position (:mod:`gradbrain.signals.inverse_models`). It is not linear: a linear one would leave the
errors in the span of the activations of two layers, where they could explain nothing of their own.
Its held-out R² is stored with the fit.

What a brain would need: neurons that carry errors in every area, and a generative model on the way
down. There is no objective but prediction itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import xarray as xr

from gradbrain.config.plugins import RuleCase
from gradbrain.models.layout import Layout
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.inverse_models import (
    InverseModel,
    InverseOptions,
    chain_passes,
    fit_chain,
    from_positions,
    to_positions,
)
from gradbrain.signals.pooling import layout_of
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.tape import Taken, Tape


class Options(InverseOptions):
    """Options of the rule."""

    def approximation(self, case: RuleCase) -> str:
        """The generative model is fitted afterwards."""
        return "top-down predictions are fitted to a network that was trained without them"


def fit(context: FitContext) -> xr.DataTree:
    """Fit what predicts each layer from the one above, and the mean of the last; a node each."""
    last = context.chain[-1]
    models = fit_chain(context, hidden=context.options.hidden)
    total, n_images = torch.zeros(()), 0
    for batch in chain_passes(context)():
        total = total + batch[last].double().sum(0).cpu()
        n_images += len(batch[last])
    mean = xr.Dataset({"mean": (("row", "column", "channel"), (total / n_images).float().numpy())})
    return xr.DataTree.from_dict({**models, last: mean})


class Rule:
    """Subtract from every layer what the one above it predicts."""

    def __init__(self, context: RuleContext) -> None:
        assert context.fitted is not None  # required
        self.model, self.chain, self.fitted = context.model, context.chain, context.fitted
        self._models: dict[str, InverseModel] = {}
        self._mean: torch.Tensor | None = None

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the errors of every layer of the chain."""
        layouts = {
            name: layout_of(self.model, name, tuple(tensor.shape))
            for name, tensor in tape.layers.items()
        }
        positions = {
            name: to_positions(tensor.detach().to(self.model.dtype), layouts[name])
            for name, tensor in tape.layers.items()
        }
        return Taken(
            {
                name: self._error(place, positions, layouts[name])
                for place, name in enumerate(self.chain)
            }
        )

    def _error(
        self, place: int, positions: Mapping[str, torch.Tensor], layout: Layout
    ) -> torch.Tensor:
        name = self.chain[place]
        own = positions[name]
        if place + 1 == len(self.chain):
            return from_positions(own - self._mean_of_last(own), layout)
        predicted = self._model_of(name, own).predict(positions[self.chain[place + 1]], own)
        return from_positions(own - predicted, layout)

    def _model_of(self, name: str, like: torch.Tensor) -> InverseModel:
        if name not in self._models:
            found = self.fitted[name].to_dataset()
            self._models[name] = InverseModel.from_dataset(found, like)
        return self._models[name]

    def _mean_of_last(self, like: torch.Tensor) -> torch.Tensor:
        if self._mean is None:
            self._mean = torch.from_numpy(self.fitted[self.chain[-1]]["mean"].values).to(like)
        return self._mean
