"""Signals: feature spaces of a layer, each made by a credit-assignment rule.

One module per rule, found by name (:mod:`gradbrain.config.plugins`); what a rule is given, and what
it gives back, is said in :mod:`gradbrain.signals.rule`. This package imports no torch.
"""

from __future__ import annotations

from gradbrain.config import GradbrainError


class SignalError(GradbrainError):
    """A signal cannot be taken as asked: names it, what was found and what to do."""
