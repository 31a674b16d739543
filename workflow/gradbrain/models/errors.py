"""Errors of the models stage."""

from gradbrain.config import GradbrainError


class ModelError(GradbrainError):
    """A model entry cannot be built as asked: names the entry, what was found and expected."""


class WeightsError(ModelError):
    """Weights are missing, unreadable, of another network, or not the ones that were pinned."""


class LayerError(ModelError):
    """A named layer does not exist or its output cannot be used as a feature space."""
