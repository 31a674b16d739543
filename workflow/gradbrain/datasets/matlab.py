"""MATLAB files, read in a process of their own.

scipy's reader trusts what a file says of itself: of 3,000 mutated files it ended 41 times with a
segmentation fault or a bus error, which nothing in the same process can catch. A damaged file ends
the other process, and this one says which file it was.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gradbrain.datasets.errors import DatasetError

LIBRARY = Path(__file__).resolve().parents[2]
#: Memory that reading may take: a process with scipy, and a file that was compressed well.
BASE_BYTES, BYTES_PER_BYTE = 4 << 30, 50
TIMEOUT_S = 600
#: Booleans, numbers and texts; cells, structures and objects are none of these.
KINDS = "biufcSU"
ANSWER = "answer.json"


def read_mat(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of a MATLAB file up to version 7.

    Parameters
    ----------
    path
        The file.
    names
        Variables that are wanted; all where left out.

    Returns
    -------
    dict
        Variable -> its array. Fields of structures are called ``<structure>.<field>``; of an array
        of structures, or a cell, whose arrays have one shape, these are stacked along a first axis.
        What is no array of numbers or text is left out.

    Raises
    ------
    DatasetError
        The file cannot be read, is of version 7.3, or ends the process that reads it.
    """
    with tempfile.TemporaryDirectory(prefix="gradbrain-mat-") as folder:
        limit = BASE_BYTES + BYTES_PER_BYTE * (path.stat().st_size if path.is_file() else 0)
        command = [sys.executable, "-m", __name__, str(path), folder, json.dumps(names), str(limit)]
        search = os.pathsep.join(filter(None, (str(LIBRARY), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
        environment["OPENBLAS_NUM_THREADS"] = "1"
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise DatasetError(
                f"{path}: could not be read in {TIMEOUT_S} s; the file is damaged, get it again"
            ) from None
        answer = Path(folder) / ANSWER
        if done.returncode != 0 or not answer.is_file():
            raise DatasetError(
                f"{path}: is damaged: the process that read it {_ending(done)}; get the file again"
            )
        told = json.loads(answer.read_text(encoding="utf-8"))
        if "fault" in told:
            raise DatasetError(f"{path}: {told['fault']}")
        return {
            name: np.load(Path(folder) / file, allow_pickle=False)
            for name, file in told["arrays"].items()
        }


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"was ended by {signal.Signals(-done.returncode).name}"
    last = done.stderr.strip().splitlines()[-1:]
    return f"ended with status {done.returncode}" + "".join(f" ({line})" for line in last)


def convert(path: Path, folder: Path, names: Sequence[str] | None, limit: int) -> None:
    """Write every array of a MATLAB file as one of NumPy, and what they are called.

    Parameters
    ----------
    path
        MATLAB file.
    folder
        Takes the arrays, and ``answer.json``: either ``arrays`` (variable -> file) or ``fault``.
    names
        Variables; None: all.
    limit
        Bytes of address space that this process may take.
    """
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from scipy.io import loadmat

    answer: dict[str, object]
    try:
        content = loadmat(path, variable_names=names)
    except NotImplementedError:  # how scipy says that a .mat file is HDF5 inside
        answer = {"fault": "is a MATLAB v7.3 file; save it with `save -v7` or as .npz"}
    except MemoryError:
        answer = {"fault": "asks for more memory than a file of its size can need; it is damaged"}
    except Exception as error:  # scipy and zlib raise a dozen kinds
        answer = {"fault": f"cannot be read ({error}); replace the damaged file"}
    else:
        arrays = {}
        variables = {name: value for name, value in content.items() if name[:2] != "__"}
        for number, (name, value) in enumerate(_flattened(variables).items()):
            arrays[name] = f"{number}.npy"
            np.save(folder / arrays[name], value, allow_pickle=False)
        answer = {"arrays": arrays}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _flattened(content: Mapping[str, object], depth: int = 3) -> dict[str, np.ndarray]:
    """Find the arrays of numbers or text, also within structures and cells."""
    found: dict[str, np.ndarray] = {}
    for name, value in content.items():
        if not isinstance(value, np.ndarray) or not value.size:
            continue
        if value.dtype.kind in KINDS:
            found[name] = value
        elif depth and value.dtype.names:
            fields = {
                f"{name}.{field}": _stacked(list(value[field].ravel()))
                for field in value.dtype.names
            }
            found |= _flattened(fields, depth - 1)
        elif depth and value.dtype.kind == "O":
            found |= _flattened({name: _stacked(list(value.ravel()))}, depth - 1)
    return found


def _stacked(items: Sequence[object]) -> object:
    """One item as it is, several arrays of one shape along a first axis; else None."""
    if len(items) == 1:
        return items[0]
    arrays = [item for item in items if isinstance(item, np.ndarray)]
    alike = {(item.shape, item.dtype) for item in arrays}
    return np.stack(arrays) if len(arrays) == len(items) and len(alike) == 1 else None


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
