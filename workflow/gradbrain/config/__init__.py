"""Configuration: strict typed settings, registries, and the errors that name what is wrong."""

from gradbrain.config.errors import GradbrainError

__all__ = ["GradbrainError"]
