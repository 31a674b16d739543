"""The error of the encoding stage."""

from gradbrain.config import GradbrainError


class EncodingError(GradbrainError):
    """Features, responses or settings from which no encoding model can be fitted."""
