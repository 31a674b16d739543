"""Responses of one subject in a file of one's own: ``.npy``, ``.zarr`` or ``.nc``.

Rows are presentations of images. Values are read in blocks of targets or sensors, so that a
recording may be larger than memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.datasets.csv_tables import read_csv
from gradbrain.datasets.errors import DatasetError, reading
from gradbrain.datasets.npy_files import open_npy

SUFFIXES = (".npy", ".zarr", ".nc")
BLOCK_BYTES = 64 * 2**20
TABLE_SUFFIXES = (".csv", ".parquet")
#: Columns of tables in which an empty cell is an unknown number.
NUMBERS = ("x", "y", "z", "noise_ceiling", "sensor_x", "sensor_y")


@dataclass(frozen=True)
class Recording:
    """Responses as they lie on disk.

    Attributes
    ----------
    path
        The file, for error messages.
    values
        Array on disk, shape (n_rows, n_targets) or (n_rows, n_times, n_sensors).
    coordinates
        What the file itself says of rows (``image_id``, ``session``), targets (``roi``, ``x``,
        …), ``time`` and ``sensor``; empty for ``.npy``.
    """

    path: Path
    values: Any
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return tuple(self.values.shape)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the values in blocks of the last axis, as float64."""
        per_column = 8 * int(np.prod(self.shape[:-1], dtype=np.int64))
        width = max(1, BLOCK_BYTES // max(per_column, 1))
        for start in range(0, self.shape[-1], width):
            columns = slice(start, min(start + width, self.shape[-1]))
            with reading(self.path, remedy="write it again"):
                values = np.asarray(self.values[..., columns], dtype=np.float64)
            yield columns, values


class Transposed:
    """An array on disk with its last two axes exchanged, read piece by piece.

    Parameters
    ----------
    values
        Shape (n_rows, n_sensors, n_times).
    """

    def __init__(self, values: Any) -> None:
        self._values = values
        self.dtype = values.dtype
        rows, sensors, times = values.shape
        self.shape = (rows, times, sensors)

    def __getitem__(self, key: Any) -> np.ndarray:
        *_, columns = key
        return np.asarray(self._values[:, columns]).swapaxes(1, 2)


def open_recording(path: Path, *, n_dimensions: int) -> Recording:
    """Open a recording without reading its values.

    Parameters
    ----------
    path
        ``.npy``: the array alone. ``.zarr``, ``.nc``: a data set as xarray writes it, with the
        variable ``response`` and coordinates.
    n_dimensions
        2 for (presentation, target), 3 for (presentation, time, sensor).

    Raises
    ------
    DatasetError
        The file is missing, unreadable, of another kind or shape, or holds no numbers.
    """
    if path.suffix not in SUFFIXES:
        raise DatasetError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file")
    recording = _open_npy(path) if path.suffix == ".npy" else _open_xarray(path)
    check_dimensions(recording, n_dimensions)
    return recording


def check_dimensions(recording: Recording, n_dimensions: int) -> None:
    """Refuse a recording of another number of axes, an empty one, or one of no real numbers.

    Raises
    ------
    DatasetError
        Names the file and its shape.
    """
    path = recording.path
    expected = "(presentation, target)" if n_dimensions == 2 else "(presentation, time, sensor)"
    if len(recording.shape) != n_dimensions or 0 in recording.shape:
        raise DatasetError(
            f"{path}: has the shape {recording.shape}, expected {n_dimensions} dimensions, "
            f"{expected}, none of them empty"
        )
    if np.dtype(recording.values.dtype).kind not in "fiu":
        raise DatasetError(f"{path}: holds {recording.values.dtype}, expected real numbers")


def _open_npy(path: Path) -> Recording:
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path}: is no .npy file; write it with numpy.save") from error
    try:
        return Recording(path, open_npy(path))
    except (ValueError, OSError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); write it with numpy.save") from error


def _open_xarray(path: Path) -> Recording:
    import xarray as xr

    remedy = (
        "write it with xarray's to_zarr or to_netcdf (netCDF-4 needs the package h5netcdf or "
        "netCDF4)"
    )
    with reading(path, remedy=remedy):
        if path.suffix == ".zarr":
            _check_chunks(path)
            found = xr.open_zarr(path, chunks=None, consolidated=None)
        else:
            found = xr.open_dataset(path)
        if "response" not in found:
            raise DatasetError(
                f"{path}: has no variable 'response'; it has {', '.join(map(str, found)) or 'none'}"
            )
        response = found["response"]
        coordinates = {}
        for name, variable in found.variables.items():
            if name != "response" and variable.ndim == 1 and variable.dims[0] in response.dims:
                coordinates[str(name)] = np.asarray(variable.values)
                _check_texts(coordinates[str(name)], str(name))
    return Recording(path, response.variable, coordinates)


def _check_texts(values: np.ndarray, name: str) -> None:
    """Refuse texts with characters that do not exist: numpy takes any number for one."""
    if values.dtype.kind == "U" and values.size:
        numbers = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
        if int(numbers.view(np.uint32).max()) > sys.maxunicode:
            raise ValueError(f"{name} holds what is no text")
    if values.dtype.kind in "OU":
        # Half a character shows when it is written.
        "".join(map(str, values.tolist())).encode()


def _check_chunks(path: Path) -> None:
    """Refuse responses of which a part is gone: Zarr would read it as a constant."""
    import zarr

    group = zarr.open_group(path, mode="r")
    array = group.get("response")
    if isinstance(array, zarr.Array) and array.nchunks_initialized < array.nchunks:
        raise DatasetError(
            f"{path}: of the {array.nchunks} chunks of 'response' {array.nchunks_initialized} are "
            "there; get the others, or, where they hold one constant, write it again with "
            "zarr.config.set({'array.write_empty_chunks': True})"
        )


def read_rows(path: Path, *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of one's own.

    Parameters
    ----------
    path
        ``.csv`` or ``.parquet``.
    columns
        Columns that it must have. Those called ``image_id``, ``file``, ``group``, ``session``,
        ``roi``, ``hemisphere``, ``sensor`` and ``caption`` are read as text, empty cells as ``""``.

    Raises
    ------
    DatasetError
        The table is missing, unreadable, empty or lacks a column.
    """
    if path.suffix not in TABLE_SUFFIXES:
        raise DatasetError(f"{path}: expected a table that ends in {', '.join(TABLE_SUFFIXES)}")
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such table")
    text = ("image_id", "file", "group", "session", "roi", "hemisphere", "sensor", "caption")
    try:
        if path.suffix == ".csv":
            # Ids such as 0012 are names and no numbers; a region may be called NA.
            table = read_csv(
                path,
                dtype=dict.fromkeys(text, str),
                keep_default_na=False,
                na_values={name: ["", "nan", "NaN"] for name in NUMBERS},
            )
        else:
            table = pd.read_parquet(path)
            for name in table.columns:
                # What is no text shows when it is read.
                table[name].tolist()
    except Exception as error:  # pandas and pyarrow raise a dozen kinds
        raise DatasetError(f"{path}: cannot be read as a table ({error})") from error
    missing = [name for name in columns if name not in table.columns]
    if missing or table.empty:
        raise DatasetError(
            f"{path}: {'lacks the column(s) ' + ', '.join(missing) if missing else 'has no rows'}; "
            f"it has the columns {', '.join(map(str, table.columns))}"
        )
    for name in text:
        if name in table.columns:
            table[name] = table[name].fillna("").astype(str)
    return table
