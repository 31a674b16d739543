r"""Scalar feedback: how much better than expected an image went, told to every unit alike.

.. math:: \delta_k = \bar L - L(x)

:math:`\bar L` is the mean objective of the calibration images: the error of the prediction of a
reward :math:`-L` that expects the same of every image. Source: Sutton & Barto 1981; Schultz, Dayan
& Montague 1997; as the poor end of a spectrum of feedback, Lillicrap et al. 2020.

What is approximated: the expectation does not depend on the image. As a feature space the signal is
the objective up to sign and shift, so that it cannot be told from the control ``objective_value``.

What a brain would need: one number for all of it, such as dopamine's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import xarray as xr
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Requirement
from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.top_error import per_image, top_error


class Options(PluginOptions):
    """Options of the rule."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"objective", "calibration", "fit"})
    length_matters: ClassVar[bool] = True

    fit_seed: int = Field(0, ge=0, description="Of what the objective draws for the expectation.")


def fit(context: FitContext) -> xr.Dataset:
    """Take the mean of the objective over the calibration images."""
    return expected_objective(context, context.options.fit_seed)


def expected_objective(context: FitContext, seed: int) -> xr.Dataset:
    """Mean of an objective over the calibration images, with their number.

    Parameters
    ----------
    context
        What the fit is given.
    seed
        Of what the objective draws.
    """
    objective = context.objective(seed)
    values = []
    for tape, bound in context.passes(objective):
        assert bound is not None  # of an objective
        values.append(top_error(tape, bound)[1].double())
    found = torch.cat(values)
    return xr.Dataset({"expected": float(found.mean()), "n_images": len(found)})


class Rule:
    """Give every unit the error of the prediction of reward."""

    def __init__(self, context: RuleContext) -> None:
        assert context.fitted is not None  # required
        self._expected = float(context.fitted["expected"])

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the error in the shape of every layer."""
        assert objective is not None  # required
        _, values = top_error(tape, objective)
        return Taken(
            {
                name: per_image(self._expected - values, tensor).expand(tensor.shape)
                for name, tensor in tape.layers.items()
            },
            values,
        )
