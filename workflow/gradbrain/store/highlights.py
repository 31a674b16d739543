"""What a table says at a glance, in one line for the log."""

from __future__ import annotations

import pandas as pd

from gradbrain.vocabulary.roles import ACTIVATION, LEARNING


def highest(table: pd.DataFrame, value: str, name: str) -> str:
    """Say where the activation and each learning signal have their highest value.

    Parameters
    ----------
    table
        With the columns ``signal``, ``role``, ``layer`` and, where it knows places, ``roi`` or
        ``time`` (s).
    value
        Column that is compared; rows without a number are left out.
    name
        Of the value, for readers.

    Returns
    -------
    str
        ``activation r .21 in LO at blocks.4, gradient_dino …``; "no … is known" where none is.
    """
    rows = table[table["role"].isin([ACTIVATION, LEARNING]) & table[value].notna()]
    if rows.empty:
        return f"no {name} is known"
    best = rows.loc[rows.groupby("signal", sort=False)[value].idxmax()]
    found = [
        f"{row['signal']} {name} {row[value]:.2f}{_place(row)} at {row['layer']}"
        for _, row in best.iterrows()
    ]
    return ", ".join(found)


def _place(row: pd.Series) -> str:
    if row.get("roi"):
        return f" in {row['roi']}"
    return f" at {1000 * row['time']:.0f} ms" if pd.notna(row.get("time")) else ""
