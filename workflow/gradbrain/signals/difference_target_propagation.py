r"""Difference target propagation: targets that learnt inverses carry down, in place of errors.

.. math:: t_{l-1} = a_{l-1} + g_l(t_l) - g_l(a_l), \quad \delta_l = a_l - t_l, \quad
    t_K = a_K - \mathtt{step} \, \lVert a_K \rVert \,
    \frac{\partial L / \partial a_K}{\lVert \partial L / \partial a_K \rVert}

:math:`a_l` are the activities of the chain of layers, :math:`g_l` leads back from layer
:math:`l` to the one below, and the last layer gets its target from the gradient of the objective.
Source: Lee, Zhang, Fischer & Bengio 2015 (arXiv:1412.7525), eq. 15 and section 2.4; without the
correction (``correction: false``, :math:`t_{l-1} = g_l(t_l)`) Bengio 2014 (arXiv:1407.7906). One of
the NGRAD algorithms of Lillicrap et al. 2020 (Nature Reviews Neuroscience 21, 335): the signal is a
difference of activities in two phases. The sign is that of a gradient.

What is approximated: inverses are fitted afterwards, on calibration images, position by position
(:mod:`gradbrain.signals.inverse_models`), to a network that was trained without them; their
held-out R² is stored with the fit, and a poor one warned about. They are not :math:`f(Vh + c)` with
the nonlinearity of the layer below, as in the paper: most blocks of today's networks end in none,
which would leave them affine. An affine inverse (``inverse: affine``) makes of every layer's signal
a fixed matrix times the error at the last layer, whatever the image: the degenerate control. The
step is relative to the layer (*ours*). An autoencoder has inverses of its own (``inverse: own``):
what its encoder does at a level, its decoder undoes, and the other way round.

What a brain would need: feedback that learnt to invert the forward path, and two phases, of which
neurons remember the first. It would not need weights equal to the forward ones, nor errors that
travel apart from activity.
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
    """Subtract the target of every layer from its activity."""

    def __init__(self, context: RuleContext) -> None:
        self.targets = TargetPropagation(context)

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Return activity minus target, of every layer of the chain."""
        assert objective is not None  # required
        return Taken(*self.targets.changes(tape, objective, keep_graph=keep_graph))
