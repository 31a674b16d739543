"""Errors of the representational similarity analysis."""

from gradbrain.config import GradbrainError


class RsaError(GradbrainError):
    """Features and responses that cannot be compared: names the store and what to do."""
