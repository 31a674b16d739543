"""Alternative texts of figures: what is to be seen, from the table behind the figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from gradbrain.figures import style
from gradbrain.figures.names import Names

#: Columns that a figure's height or colour may show, the first of a table is told.
SHOWN = (
    *("best_layer_depth", "peak_time_ms", "estimate", "value", "rho", "reliability"),
    *("score", "variance"),
)


def alternative(table: Path, names: Names) -> str:
    """Say per signal the median and range of what is shown, or count the verdicts.

    Parameters
    ----------
    table
        CSV behind a figure.
    names
        Labels of signals.

    Returns
    -------
    str
        Sentences; ``""`` where there is no table.
    """
    if not table.is_file():
        return ""
    data = pd.read_csv(table)
    if "verdict" in data:
        counts = data["verdict"].value_counts(sort=False)
        return "Verdicts: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + "."
    column = next((name for name in SHOWN if name in data and is_numeric_dtype(data[name])), None)
    if column is None or "signal" not in data:
        return f"{len(data)} values; see the data."
    by_variant = ["variant"] if "variant" in data else []
    said = []
    for key, part in data.groupby(["signal", *by_variant], sort=False):
        signal, *variant = map(str, key)
        values = part[column].dropna()
        if len(values):
            label = names.label("signal", signal)
            label += f" ({style.VARIANT_LABELS.get(variant[0], variant[0])})" if variant else ""
            low, middle, high = (
                f"{value:.3g}".replace("-", "−") for value in values.quantile([0, 0.5, 1])
            )
            said.append(f"{label} {middle} ({low} to {high})")
    what = column.replace("_", " ")
    return f"Median {what} (lowest to highest): {'; '.join(said)}." if said else "No values."
