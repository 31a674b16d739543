"""The base of every error that a user can cause and mend."""


class GradbrainError(ValueError):
    """Bad input: names the file or key, what was found, what was expected and what to do."""
