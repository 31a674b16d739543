"""Random numbers that depend on an image and a seed, never on a place in a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from gradbrain.config.plugins import Randomness


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


def seed_of_source(
    randomness: Mapping[str, Randomness], source: str, *, seed: int, replicate: int
) -> int:
    """Seed of one source of randomness in one replicate of a signal.

    Parameters
    ----------
    randomness
        What the options of the plug-in declare.
    source
        One of its keys.
    seed
        Seed of the signal set.
    replicate
        0: the draw that is used. Others are independent draws of Monte-Carlo sources, such as
        augmented views; sources that are part of what a signal is stay as they are.

    Raises
    ------
    KeyError
        The plug-in declares no such source.
    """
    if randomness[source] == "identity" or replicate == 0:
        return seed
    return derived_seed("replicate", source, seed, replicate)
