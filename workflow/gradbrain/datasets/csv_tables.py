"""Tables of text whose rows all have as many fields as their head.

pandas fills short rows up, and takes the first column for row names where the head has a field
less: a comma that was lost then moves a column under the name of its neighbour, without a word.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd


def read_csv(
    path: Path, *, separator: str = ",", numbers: Sequence[str] = (), **options: Any
) -> pd.DataFrame:
    """Read a table in UTF-8, as :func:`pandas.read_csv` does, once its rows are looked at.

    Parameters
    ----------
    path
        The table; its first line names the columns.
    separator
        What stands between fields.
    numbers
        Columns that hold numbers, or nothing, where they are there.
    **options
        For :func:`pandas.read_csv`.

    Raises
    ------
    ValueError
        A row has more or fewer fields than the head, a column is there twice, a quote is not
        closed, a number is none, or the text is not in UTF-8. The message names the line.
    OSError
        The file cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator, strict=True)
        try:
            head = next(rows, [])
            twice = sorted({name for name in head if head.count(name) > 1})
            if twice:
                raise ValueError(f"the column {twice[0]!r} is there twice")
            for row in rows:
                # An empty line is none, as for pandas.
                if row and len(row) != len(head):
                    raise ValueError(
                        f"line {rows.line_num}: {len(row)} fields, the head has {len(head)}"
                    )
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from error
    # No column is ever taken for row names.
    table = pd.read_csv(path, sep=separator, index_col=False, encoding="utf-8-sig", **options)
    for name in numbers:
        if name in table.columns and table[name].dtype.kind not in "fiu":
            odd = pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()
            if odd.any():
                first = int(odd.to_numpy().argmax())
                found = table[name].iloc[first]
                raise ValueError(f"row {first} (from 0): {name} is {found!r}, expected a number")
    return table


def strange_cells(column: pd.Series, known: Collection[str]) -> list[str]:
    """Cells of a column of names that are none of the known ones, each once, sorted.

    Parameters
    ----------
    column
        Of a table that was read; an empty cell is told as that.
    known
        Names that it may hold.
    """
    found = sorted(set(column.fillna("").astype(str)) - set(known))
    return [text or "an empty cell" for text in found]
