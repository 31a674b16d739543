"""Signals: feature spaces of a layer, each made by a credit-assignment rule.

One module per rule, found by name. This package imports none of them, and no torch, so that a dry
run can ask which modules a signal uses.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from gradbrain.config import GradbrainError
from gradbrain.config.schema import SignalEntry, SignalSet

if TYPE_CHECKING:
    from gradbrain.signals.tape import Rule

# Modules of this package that are not rules.
PARTS = {
    "device",
    "extraction",
    "image_stream",
    "layer_stores",
    "normalisation",
    "pooling",
    "progress",
    "projection",
    "tape",
}


class SignalError(GradbrainError):
    """A signal cannot be taken as asked: names it, what was found and what to do."""


def available_rules() -> list[str]:
    """Names of the credit-assignment rules, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name not in PARTS)


def signal_modules(signal: SignalEntry) -> list[str]:
    """Full names of the modules that a signal uses beyond those of every extraction.

    Returns
    -------
    list of str
        Its rule, its objective, and the objectives inside that one.
    """
    from gradbrain.objectives import objective_modules

    return [f"{__name__}.{signal.rule}", *objective_modules(signal.objective, signal.options)]


def objective_modules(signal_set: SignalSet) -> set[str]:
    """Full names of the modules of all objectives of a signal set, those inside others included."""
    from gradbrain import objectives

    return {
        name
        for signal in signal_set.signals
        for name in objectives.objective_modules(signal.objective, signal.options)
    }


def load_rule(signal: SignalEntry) -> Rule:
    """Build the credit-assignment rule of a signal.

    Raises
    ------
    SignalError
        There is no such rule.
    """
    if signal.rule not in available_rules():
        raise SignalError(
            f"signal {signal.name!r}: there is no rule {signal.rule!r}; expected one of "
            f"{', '.join(available_rules())}"
        )
    module = importlib.import_module(f"{__name__}.{signal.rule}")
    return module.Rule(signal)
