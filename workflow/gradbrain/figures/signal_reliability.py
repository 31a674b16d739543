"""How well signals that depend on chance repeat themselves, over the depth of the network."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.roles import LEARNING

TITLE = "How well signals repeat themselves between two draws of their views"
INPUTS = ("reliability", "claims")
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "depth",
    "y": "reliability",
    "x_label": "relative depth of the layer",
    "series": "signal",
    "panels": ("model", "stimuli"),
    "text": ("layer", "unique_reliability"),
}

KEYS = ["model", "stimuli", "signal", "role", "rule", "objective"]
COLUMNS = [*KEYS, "layer", "depth", "reliability", "unique_reliability", "n_images", "threshold"]
# Column -> title of its panels.
QUANTITIES = {
    "reliability": "reliability of the signal",
    "unique_reliability": "of what all activations do not predict",
}
#: Drawn at least: from what does not repeat itself to what does.
LIMITS = (-0.05, 1.05)
#: Inches of a line of the legend.
LEGEND_LINE = 0.2


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Reliability of every signal and layer, and what it must reach for a verdict."""
    rows = inputs.table("reliability")
    require_rows(rows, figure="signal_reliability", what="signals that depend on chance")
    threshold = inputs.table("claims")["reliability_threshold"].iloc[0]
    return (
        rows.assign(threshold=float(threshold))[COLUMNS]
        .sort_values([*KEYS, "depth"])
        .reset_index(drop=True)
    )


def plot_signal_reliability(data: pd.DataFrame, quantity: str, *, ax: Axes, names: Names) -> Axes:
    """Draw a line per signal: its mean over stimulus sets, and these as thin lines.

    Parameters
    ----------
    data
        One model: ``stimuli``, ``signal``, ``role``, ``depth``, the column `quantity`,
        ``threshold``.
    quantity
        ``reliability`` or ``unique_reliability``.
    ax
        Where to draw; what is judged lies above the dotted line.
    names
        Colours and markers of signals.
    """
    require_columns(data, COLUMNS, figure="signal_reliability")
    threshold = float(data["threshold"].iloc[0])
    if quantity == "reliability":
        ax.axhspan(-1, threshold, color="#F2F2F2", linewidth=0, zorder=0)
        ax.axhline(threshold, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
    role_of = dict(zip(data["signal"], data["role"], strict=True))
    for signal in names.order_signals(role_of, role_of):
        own = data[data["signal"] == signal]
        table = own.pivot_table(index="depth", columns="stimuli", values=quantity, dropna=False)
        colour = names.colour("signal", signal)
        if table.shape[1] > 1:
            ax.plot(table.index, table, color=colour, linewidth=0.6, alpha=0.5, zorder=2)
        ax.plot(
            table.index,
            table.mean(axis=1),
            color=colour,
            marker=names.marker(signal),
            markersize=4,
            linewidth=1.6,
            linestyle="-" if role_of[signal] == LEARNING else (0, (4, 2)),
            zorder=3,
        )
    ax.set_xlim(0, 1.04)
    low = np.nanmin([LIMITS[0], data[list(QUANTITIES)].min().min() - 0.05])
    ax.set_ylim(low, LIMITS[1])
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per model, and a column for the signal and one for its unique part."""
    require_columns(data, COLUMNS, figure="signal_reliability")
    models = names.order_models(data["model"])
    handles = _handles(data, names)
    # Three of them stand side by side, unless their names are long.
    legend = LEGEND_LINE * len(handles) / 3
    whole = Figure(figsize=(6.6, 0.7 + legend + 2.25 * len(models)), layout="constrained")
    axes = whole.subplots(len(models), len(QUANTITIES), squeeze=False, sharex=True, sharey=True)
    for row, model in zip(axes, models, strict=True):
        own = data[data["model"] == model]
        for ax, quantity in zip(row, QUANTITIES, strict=True):
            plot_signal_reliability(own, quantity, ax=ax, names=names)
            ax.tick_params(labelbottom=True)
            if own[quantity].isna().all():
                layout.say_empty(ax, "not measured: too few groups of images")
        row[0].set_ylabel(f"{textwrap.fill(names.label('model', model), 26)}\ncosine of two draws")
    for ax, title in zip(axes[0], QUANTITIES.values(), strict=True):
        ax.set_title(title)
    for ax in axes[-1]:
        ax.set_xlabel("relative depth of layer")
    layout.legend_below(whole, handles, layout.width_of(whole))
    return whole


def _handles(data: pd.DataFrame, names: Names) -> list[Line2D]:
    role_of = dict(zip(data["signal"], data["role"], strict=True))
    signals = [
        Line2D(
            [],
            [],
            color=names.colour("signal", signal),
            marker=names.marker(signal),
            markersize=4,
            linestyle="-" if role_of[signal] == LEARNING else (0, (4, 2)),
            label=names.label("signal", signal),
        )
        for signal in names.order_signals(role_of, role_of)
    ]
    limit = Line2D(
        [], [], color=style.MUTED, linestyle=":", label="no verdict where the median lies below"
    )
    return [*signals, limit]
