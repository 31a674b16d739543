"""Random numbers that depend on an image and a seed, never on a place in a batch."""

from __future__ import annotations

import hashlib

import numpy as np


def derived_seed(*parts: str | int) -> int:
    """Derive a 63-bit seed from names and numbers by SHA-256.

    Parameters
    ----------
    *parts
        E.g. an image id, a seed and the index of a view.
    """
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: str | int) -> np.random.Generator:
    """Build a NumPy generator seeded by :func:`derived_seed`."""
    return np.random.default_rng(derived_seed(*parts))
