"""What the signal of each learning rule explains beside that of each other one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import student_interval
from gradbrain.figures.names import Names

TITLE = "What learning rules explain beside one another"
INPUTS = ("rule_pairs",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "signal",
    "y": "share",
    "low": "ci_low",
    "high": "ci_high",
    "series": "role",
    "panels": ("dataset", "model", "other"),
    "text": ("unit", "n", "above_null"),
}

COLUMNS = [*layout.SOURCE, "other", "share", "unit", "ci_low", "ci_high", "n", "above_null"]
#: Edge of a cell in inches.
CELL = 0.36


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Mean over layers, regions or times and subjects of what each signal explains beside another.

    ``share`` is of what can be explained or, where no noise ceiling is known, of all variance (as
    ``unit`` says), with Student's interval over subjects. ``above_null`` is the share of estimates
    of single layers and units that exceed permuted images in 95 % of draws; of signals that explain
    nothing there are .05. No place is chosen: what is at one of them alone is small here.
    """
    pairs = inputs.table("rule_pairs")
    require_rows(pairs, figure="rule_pairs", what="pairs of signals")
    rows = []
    for key, own in pairs.groupby([*layout.SOURCE, "other"], sort=False):
        known = bool(own["explainable"].notna().all()) and own["explainable"].mean() > 0
        of_people = own.groupby("subject")[["component", "explainable"]].mean()
        # A ratio of means: of one person the ceiling may be near zero.
        whole = float(of_people["explainable"].mean()) if known else 1.0
        values = of_people["component"].to_numpy() / whole
        low, high = student_interval(values, inputs.settings)
        rows.append(
            dict(zip([*layout.SOURCE, "other"], key, strict=True))
            | {
                "share": values.mean(),
                "unit": "share of the explainable" if known else "share of the variance",
                "ci_low": low,
                "ci_high": high,
                "n": len(values),
                "above_null": (own["component"] > own["null_high"]).mean(),
            }
        )
    data = pd.DataFrame(rows)[COLUMNS]
    return data.sort_values([*layout.SOURCE, "other"], ignore_index=True)


def plot_pairs(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw a matrix: what the signal of a row explains beside that of a column, in percent.

    Parameters
    ----------
    data
        One data set and model with the columns of :data:`COLUMNS`.
    ax
        Where to draw; cells whose interval lies above zero are bold.
    names
        Order and labels of signals.
    """
    require_columns(data, COLUMNS, figure="rule_pairs")
    roles = dict(zip(data["signal"], data["role"], strict=True))
    order = names.order_signals(roles, roles)
    cells = data.set_index(["signal", "other"])
    matrix = np.array(
        [[100 * cells["share"].get((row, column), np.nan) for column in order] for row in order]
    )
    limit = max(1.0, float(np.nanmax(np.abs(matrix))))
    ax.imshow(matrix, vmin=-limit, vmax=limit, cmap="RdBu_r", interpolation="nearest")
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            found = cells["ci_low"].get((order[row], order[column]), np.nan) > 0
            ax.text(
                column,
                row,
                style.signed(value, 1),
                ha="center",
                va="center",
                fontsize=5.5,
                fontweight="bold" if found else "normal",
                color="white" if abs(value) > 0.65 * limit else style.INK,
            )
    ax.grid(visible=False)
    labels = [f"{names.label('signal', name)}  {place + 1}" for place, name in enumerate(order)]
    ax.set_yticks(range(len(order)), labels=labels, fontsize="x-small")
    ax.set_xticks(range(len(order)), labels=[str(place + 1) for place in range(len(order))])
    ax.tick_params(axis="x", labelsize="x-small")
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a panel per data set and model."""
    require_columns(data, COLUMNS, figure="rule_pairs")
    items = layout.blocks(data, names)
    edge = CELL * data["signal"].nunique()
    size = (max(4.6, 2.6 + edge), (1.5 + edge) * len(items))
    whole = Figure(figsize=size, layout="constrained")
    axes = whole.subplots(len(items), 1, squeeze=False)[:, 0]
    for ax, block in zip(axes, items, strict=True):
        plot_pairs(block.data, ax=ax, names=names)
        ax.set_title(block.title(names).replace("  ·  ", "\n"), fontsize=8)
        unit = block.data["unit"].iloc[0].replace("share", "%")
        ax.set_xlabel(f"beside this signal and all\nactivations ({unit})", fontsize=7)
    return whole
