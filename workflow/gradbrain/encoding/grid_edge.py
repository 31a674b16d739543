"""Fits whose penalties lie on the edge of the grid: when a job warns, and how many did."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

# Share of the targets predicted above zero.
EDGE_SHARE_WARNING = 0.1


def edge_note(tables: Iterable[Path]) -> str:
    """Say how many fits warned of the edge of the grid; empty where none did.

    Parameters
    ----------
    tables
        Tables of scores, one per model.
    """
    # Three of many columns: the tables of a large study hold millions of rows.
    columns = ["layer", "subject", "edge_share"]
    shares = [
        pd.read_parquet(path, columns=columns).groupby(columns[:2])["edge_share"].max()
        for path in tables
    ]
    n_fits = sum(len(share) for share in shares)
    n_warned = sum(int((share > EDGE_SHARE_WARNING).sum()) for share in shares)
    if not n_warned:
        return ""
    return (
        f"{n_warned} of {n_fits} fits have more than {EDGE_SHARE_WARNING:.0%} of penalties on the "
        "edge of the grid: see the report or the logs"
    )
