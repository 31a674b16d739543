"""Arrays as ``numpy.save`` writes them, with nothing behind them.

numpy reads as many values as the head says and leaves the rest: a block that is there twice then
moves all values behind it, without a word.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


def open_npy(path: Path) -> np.ndarray:
    """Map an array into memory.

    Parameters
    ----------
    path
        File of ``numpy.save``.

    Returns
    -------
    ndarray
        Read from disk as it is used; an object array, which is a pickle, is refused.

    Raises
    ------
    ValueError
        It is no such file, was cut short, or is longer than its head says.
    OSError
        It cannot be read.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # its head is Python, whose parser raises a dozen kinds
        raise ValueError(str(error)) from error
    n_bytes, expected = path.stat().st_size, array.offset + array.nbytes
    if n_bytes != expected:
        raise ValueError(f"it has {n_bytes} bytes, its head says {expected}")
    return array
