r"""The target itself: what a layer would do in the feedback phase of target propagation.

.. math:: t_{l-1} = a_{l-1} + g_l(t_l) - g_l(a_l)

Everything is as in ``difference_target_propagation``, whose signal is :math:`a_l - t_l`. The two
phases are signals of their own: in a brain of this kind early responses follow the ``activation``
:math:`a_l` and late ones :math:`t_l` (the signature of NGRAD; Lillicrap et al. 2020). Source: Lee,
Zhang, Fischer & Bengio 2015 (arXiv:1412.7525), eq. 15; without the correction Bengio 2014
(arXiv:1407.7906).

What is approximated, and what a brain would need: as in ``difference_target_propagation``. The
nearer the target (``step``), the more the signal is the activity.
"""

from __future__ import annotations

import xarray as xr

from gradbrain.objectives.base import BoundObjective
from gradbrain.signals.rule import FitContext, RuleContext
from gradbrain.signals.tape import Taken, Tape
from gradbrain.signals.target_propagation import TargetOptions, TargetPropagation, fit_inverses


class Options(TargetOptions):
    """Options of the rule."""


def fit(context: FitContext) -> xr.DataTree:
    """Fit the inverses; a node for each layer but the last."""
    return fit_inverses(context)


class Rule:
    """Return the targets of all layers."""

    def __init__(self, context: RuleContext) -> None:
        self.targets = TargetPropagation(context)

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return the target of every layer of the chain."""
        assert objective is not None  # required
        changes, values = self.targets.changes(tape, objective, keep_graph=keep_graph)
        return Taken(
            {name: tape.layers[name].detach() - change for name, change in changes.items()}, values
        )
