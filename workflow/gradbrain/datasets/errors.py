"""Errors of the data sets."""

from gradbrain.config import GradbrainError


class DatasetError(GradbrainError):
    """A data set cannot be used as it is: names the file or option and what was expected."""


class ImageError(DatasetError):
    """A stimulus cannot be read: names the file and what is wrong with it."""
