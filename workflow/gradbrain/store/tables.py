"""Tables, written in one step and read with their columns checked."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gradbrain.store.atomic import atomic_path
from gradbrain.store.errors import DamageError, StoreError
from gradbrain.store.file_digests import read_checked
from gradbrain.store.identity import misplaced
from gradbrain.store.provenance import write_provenance
from gradbrain.vocabulary.artefacts import TEXT, artefact, columns_of

# Key of the metadata of Parquet under which a table says more of itself than its rows.
FACTS = "gradbrain"
#: Columns that say whose a table is, where its path does too.
PATH_KEYS = ("study", "dataset", "subject", "model", "layer", "signal_set", "stimuli")


def write_table(
    path: str | os.PathLike[str],
    frame: pd.DataFrame,
    *,
    kind: str | None = None,
    facts: Mapping[str, str] | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a table as Parquet or CSV, by the file's ending.

    Only the rows and columns enter the file, so that equal tables are equal bytes.

    Parameters
    ----------
    path
        Where it goes.
    frame
        The table.
    kind
        What it holds, as ``gradbrain.vocabulary.artefacts`` declares it; None for tables that no
        stage reads, such as the numbers behind a figure.
    facts
        What the table says of itself besides its rows, e.g. the digest of a store beside it; kept
        in the metadata of Parquet, and read by :func:`table_facts`.
    provenance
        Facts that vary from run to run; written beside the table.

    Raises
    ------
    StoreError
        A declared column is missing, or one is there that is not declared. Nothing is written.
    """
    path = Path(path)
    if kind is not None:
        _check_columns(path, kind, frame)
    # Readers compare tables that a stage reads with their digest; others people may edit.
    with atomic_path(path, digested=kind is not None) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, frame, facts or {})
        elif path.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            raise StoreError(f"{path}: tables end in .parquet or .csv, not {path.suffix!r}")
    if provenance is not None:
        write_provenance(path, **provenance)


def _write_parquet(path: Path, frame: pd.DataFrame, facts: Mapping[str, str]) -> None:
    if not facts:
        frame.to_parquet(path, index=False)
        return
    # pyarrow takes a while to import, and most tables are written by pandas.
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(
        table.replace_schema_metadata({**(table.schema.metadata or {}), FACTS: json.dumps(facts)}),
        path,
    )


def table_facts(path: str | os.PathLike[str]) -> dict[str, str]:
    """What a Parquet table says of itself besides its rows; empty where it says nothing."""
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(io.BytesIO(read_checked(Path(path)))).metadata or {}
        return dict(json.loads(metadata.get(FACTS.encode(), b"{}")))
    except StoreError:
        raise
    except Exception as error:  # pyarrow raises a dozen kinds
        raise _unreadable(Path(path), error) from error


def _unreadable(path: Path, error: Exception) -> StoreError:
    told = " ".join(str(error).split())
    return DamageError(path, f"cannot be read ({told})")


def _check_columns(path: Path, kind: str, frame: pd.DataFrame) -> None:
    declared = {column.name: column.optional for column in artefact(kind).columns}
    missing = [name for name, optional in declared.items() if name not in frame and not optional]
    foreign = [str(name) for name in frame.columns if name not in declared]
    if missing or foreign:
        raise StoreError(
            f"{path}: a table of kind {kind!r} must have the columns {', '.join(declared)}; "
            f"missing: {', '.join(missing) or 'none'}; not declared: {', '.join(foreign) or 'none'}"
        )


def read_table(
    path: str | os.PathLike[str],
    columns: Sequence[str] = (),
    *,
    kind: str | None = None,
    only: bool = False,
) -> pd.DataFrame:
    """Read a table and check that the named columns are there.

    Parameters
    ----------
    path
        The table.
    columns
        Columns that it must have; it may have others.
    kind
        What it holds: it must have the columns that this kind declares, and be of the study, model,
        subject… that its path says.
    only
        Decode no other columns, of Parquet.

    Raises
    ------
    StoreError
        The file is missing, unreadable, not what was written, lacks a column, or is of others than
        its path says.
    """
    path = Path(path)
    columns = columns or (columns_of(kind) if kind is not None else ())
    content = io.BytesIO(read_checked(path))
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(content, columns=list(columns) if only else None)
        else:
            frame = _read_csv(content, kind)
    except Exception as error:  # pyarrow and pandas raise a dozen kinds
        raise _unreadable(path, error) from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DamageError(
            path,
            f"lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns))}",
        )
    if kind is not None:
        keys = [key for key in PATH_KEYS if key in frame.columns]
        wrong = misplaced(path, {key: frame[key].unique() for key in keys})
        if wrong:
            raise DamageError(path, f"holds rows of {wrong}")
    return frame


def _read_csv(content: io.BytesIO, kind: str | None) -> pd.DataFrame:
    if kind is None:
        return pd.read_csv(content)
    # As we wrote it: nothing is missing but what is empty, and a signal may be called `null`.
    return pd.read_csv(content, keep_default_na=False, na_values=[""])


def read_tables(
    kind: str, paths: Sequence[Path], keys: Sequence[Mapping[str, str]] = ()
) -> pd.DataFrame:
    """Read and join tables of one kind, with their columns of text as text.

    Parameters
    ----------
    kind
        What they hold.
    paths
        The tables; at least one.
    keys
        Of each, names and values of columns that stand before all others where it lacks them.

    Raises
    ------
    StoreError
        As for :func:`read_table`.
    """
    frames = [read_table(path, kind=kind) for path in paths]
    for frame, own in zip(frames, keys, strict=False):
        for place, (name, value) in enumerate(own.items()):
            if name not in frame:
                frame.insert(min(place, len(frame.columns)), name, value)
    return with_text(pd.concat(frames, ignore_index=True))


def as_text(column: pd.Series) -> pd.Series:
    """Make a column hold text alone, ``""`` where there is none.

    In a CSV file a column without any text, or of keys that are digits, is read as numbers.
    """
    if column.dtype == "str":
        return column.fillna("")
    known = column.notna()
    if column.dtype == object and known.all():
        return column
    text = column if column.dtype == object else column.astype(object).map(str)
    return text.where(known, "")


def with_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the columns of text of a table hold text alone."""
    return frame.assign(**{name: as_text(frame[name]) for name in TEXT if name in frame})
