"""Fits whose penalties lie on the edge of the grid: when a job warns, and how many did."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gradbrain.store import StoreError, read_table
from gradbrain.vocabulary.measures import EDGE_SHARE_LIMIT


def edge_note(tables: Iterable[Path]) -> str:
    """Say how many fits of a layer and subject reach the edge of the grid; empty where none does.

    Of the shares of a fit's signals the largest counts, and so it may reach the edge where the log,
    which tells the share over all learning signals and controls, does not warn.

    Parameters
    ----------
    tables
        Tables of scores, one per model.
    """
    # Three of many columns: the tables of a large study hold millions of rows.
    columns = ["layer", "subject", "edge_share"]
    try:
        # Compared with their digests: a damaged table is told of, and is none to count in.
        found = [read_table(path, columns, only=True) for path in tables]
    except StoreError as error:
        return f"fits on the edge of the grid are not counted: {error}"
    shares = [table.groupby(columns[:2])["edge_share"].max() for table in found]
    n_fits = sum(len(share) for share in shares)
    n_edge = sum(int((share > EDGE_SHARE_LIMIT).sum()) for share in shares)
    if not n_edge:
        return ""
    return (
        f"{n_edge} of {n_fits} fits have more than {EDGE_SHARE_LIMIT:.0%} of penalties on the "
        "edge of the grid: see the report or the logs"
    )
