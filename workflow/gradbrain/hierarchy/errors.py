"""Errors of the hierarchy statistics and the tests of claims."""

from gradbrain.config import GradbrainError


class HierarchyError(GradbrainError):
    """Scores or statistics that do not fit together: names what, what is wrong, what to do."""
