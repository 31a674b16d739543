"""Tables, written in one step and read with their columns checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gradbrain.store.atomic import atomic_path
from gradbrain.store.errors import StoreError, rebuild_hint
from gradbrain.store.provenance import write_provenance


def write_table(
    path: str | os.PathLike[str], frame: pd.DataFrame, *, provenance: dict[str, Any] | None = None
) -> None:
    """Write a table as Parquet or CSV, by the file's ending.

    Only the rows and columns enter the file, so that equal tables are equal bytes.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        elif path.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            raise StoreError(f"{path}: tables end in .parquet or .csv, not {path.suffix!r}")
    if provenance is not None:
        write_provenance(path, **provenance)


def read_table(path: str | os.PathLike[str], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table and check that the named columns are there.

    Raises
    ------
    StoreError
        The file is missing, unreadable, or lacks a column.
    """
    path = Path(path)
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # pyarrow and pandas raise a dozen kinds
        raise StoreError(f"{path}: cannot be read ({error}). {rebuild_hint(path)}") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise StoreError(
            f"{path}: lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns))}. {rebuild_hint(path)}"
        )
    return frame
