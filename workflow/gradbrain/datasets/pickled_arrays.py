"""Files that ``numpy.save`` wrote of a Python object: read without running what is in them.

Some data sets are published as a dictionary in an object array, which is a pickle, and a pickle can
name any function to be called. :func:`read_pickled` builds arrays, numbers, texts, lists and
dictionaries, and refuses everything else by name.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gradbrain.datasets.errors import DatasetError

#: What arrays and their scalars are made with.
ALLOWED = frozenset(
    {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)


def _latin1(text: object, encoding: object = "") -> bytes:
    """Bytes as pickles of protocol 2 write them: text to be encoded, in this encoding alone."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it asks for _codecs.encode of another kind than bytes need")
    return text.encode("latin-1")


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays, numbers, texts, lists and dictionaries."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 1 called the module numpy.core.
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which arrays, numbers and texts do not need"
            )
        return super().find_class(module, name)


def read_pickled(path: Path, *, what: str) -> Any:
    """Read the object of a 0-dimensional object array, as ``numpy.save`` writes it.

    Parameters
    ----------
    path
        File of any pickle protocol.
    what
        What it should hold, for error messages.

    Returns
    -------
    object
        Made of arrays, numbers, texts, lists, tuples and dictionaries.

    Raises
    ------
    DatasetError
        The file is missing, damaged, no such array, or asks for anything else.
    """
    try:
        with path.open("rb") as file:
            return _object_of(file)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except Exception as error:  # a damaged pickle raises a dozen kinds
        raise DatasetError(
            f"{path}: cannot be read as {what} ({error}); get the file anew"
        ) from error


def _object_of(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, _, dtype = read_header[version](file)
    if shape or not dtype.hasobject:
        raise ValueError(f"an array of shape {shape} and type {dtype}")
    content = _ArrayUnpickler(file).load()
    if file.read(1):
        raise ValueError("something stands behind the object")
    if not isinstance(content, np.ndarray) or content.shape:
        raise ValueError(f"the array holds {type(content).__name__}")
    return content.item()


def read_dictionary(path: Path, *, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    """Read a dictionary that has certain keys.

    Parameters
    ----------
    path
        As :func:`read_pickled` reads it.
    keys
        Keys that it must have.
    what
        What it should hold, for error messages.

    Raises
    ------
    DatasetError
        As :func:`read_pickled`; it is no dictionary, or lacks a key.
    """
    content = read_pickled(path, what=what)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: holds {type(content).__name__}, expected a dictionary")
    missing = [key for key in keys if key not in content]
    if missing:
        found = ", ".join(map(str, content)) or "nothing"
        raise DatasetError(f"{path}: lacks {', '.join(missing)}; it holds {found}")
    return content
