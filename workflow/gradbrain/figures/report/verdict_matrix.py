"""Verdicts as a table, and the predictions that they are on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gradbrain.figures import style
from gradbrain.figures.claims_overview import overview_cells, overview_columns, overview_rows
from gradbrain.figures.names import Names

#: In the place of a cell of the table of verdicts that a row above spans.
SPANNED = "spanned"


def verdict_matrix(claims: pd.DataFrame, names: Names) -> dict[str, Any]:
    """Verdicts as a table: rows are learning signals, columns predictions.

    Parameters
    ----------
    claims
        The table of claims.
    names
        The order of data sets, models and signals.

    Returns
    -------
    dict
        ``groups``: name and number of columns; ``columns``: prediction and its short title;
        ``rows``: data set, modality, model, signal, and per column a cell, None where nothing
        applies, or `SPANNED` where a cell of a row above reaches down.
    """
    columns, places = overview_columns(claims), overview_rows(claims, names)
    cells = overview_cells(claims, places)
    modality_of = dict(zip(claims["dataset"], claims["modality"], strict=True))
    groups: dict[str, int] = {}
    for group, _, _ in columns:
        groups[group] = groups.get(group, 0) + 1
    starts = np.cumsum([0, *groups.values()])[:-1].tolist()
    rows, spanned = [], [0] * len(columns)
    for dataset, model, signal in places:
        own: list[Any] = []
        for j, (_, name, variant) in enumerate(columns):
            cell = cells.get((dataset, model, signal, name, variant))
            own.append(SPANNED if spanned[j] else cell)
            spanned[j] = cell.n_rows - 1 if cell else max(0, spanned[j] - 1)
        rows.append(
            {
                "dataset": dataset,
                "modality": modality_of[dataset],
                "model": model,
                "signal": signal,
                "cells": own,
            }
        )
    return {
        "groups": groups,
        "starts": starts,
        "columns": [
            {"name": name, "title": style.PREDICTIONS[name].replace("\n", " ")}
            for _, name, _ in columns
        ],
        "rows": rows,
    }


def predictions(claims: pd.DataFrame) -> list[dict[str, str]]:
    """Each prediction with its sentence and source, in the order of the style."""
    first = {row["prediction"]: row for row in claims.to_dict("records")}
    return [
        {"name": name, "sentence": first[name]["sentence"], "source": first[name]["source"]}
        for name in style.PREDICTIONS
        if name in first
    ]
