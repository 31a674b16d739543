"""Errors of the store."""

from pathlib import Path

from gradbrain.config import GradbrainError


class StoreError(GradbrainError):
    """A result cannot be trusted: says which, why, and how to make it again."""


class NoSuchStoreError(StoreError, KeyError):
    """No store has a key."""

    # That of KeyError would quote the sentence.
    __str__ = Exception.__str__


def rebuild_hint(path: Path) -> str:
    """Sentence that tells how to make a result again."""
    remove = f"rm -r {path}, then " if path.exists() else ""
    return f"To make it again: {remove}the same snakemake command as before"
