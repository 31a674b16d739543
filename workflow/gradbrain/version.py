"""Version of the package; CHANGELOG.md says what changed in which."""

__version__ = "0.2.0"
