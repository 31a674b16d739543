"""Encoding: banded ridge regression from a layer's signals to brain responses, and its scores."""
