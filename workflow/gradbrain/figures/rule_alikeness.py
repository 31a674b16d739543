"""How alike learning rules are: cosines of their signals, over depth and with one another."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import SAME_AS_GRADIENT
from gradbrain.vocabulary.roles import LEARNING

TITLE = "How alike the signals of learning rules are"
INPUTS = ("alikeness",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "depth",
    "y": "cosine",
    "x_label": "relative depth of the layer",
    "series": "signal",
    "panels": ("model", "stimuli", "other"),
    "text": ("layer", "same_as"),
}

BACKPROP = "backprop"
#: Colour of where signals count as the gradient.
BAND = "#F2F2F2"
COLUMNS = [
    *("model", "stimuli", "layer", "depth", "signal", "role", "rule", "objective", "other"),
    *("cosine", "same_as"),
]
#: Edge of a cell of the matrix in inches.
CELL = 0.19


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Cosines of all pairs of learning signals, at every layer."""
    rows = inputs.table("alikeness")
    learning = set(rows["signal"][rows["role"] == LEARNING])
    rows = rows[rows["signal"].isin(learning) & rows["other"].isin(learning)]
    require_rows(rows, figure="rule_alikeness", what="pairs of learning signals")
    return (
        rows[COLUMNS]
        .sort_values(["model", "stimuli", "depth", "signal", "other"])
        .reset_index(drop=True)
    )


def gradient_of(data: pd.DataFrame) -> str:
    """Name of the gradient that signals are compared with; empty where there is no single one."""
    found = data["signal"][data["rule"] == BACKPROP].unique()
    return str(found[0]) if len(found) == 1 else ""


def plot_cosine_over_depth(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw the cosine of each signal with the gradient, a line each.

    Parameters
    ----------
    data
        One model with the columns of :data:`COLUMNS`.
    ax
        Where to draw; the grey band is where signals count as the gradient.
    names
        Labels and colours.
    """
    require_columns(data, COLUMNS, figure="rule_alikeness")
    ax.axhspan(SAME_AS_GRADIENT, 1.05, color=BAND, linewidth=0, zorder=0)
    ax.axhline(0, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
    with_gradient = data[data["other"] == gradient_of(data)]
    for signal in _ordered(with_gradient["signal"], names):
        line = with_gradient[with_gradient["signal"] == signal].groupby("depth")["cosine"].mean()
        ax.plot(
            line.index,
            line,
            color=names.colour("signal", signal),
            marker="o",
            markersize=3,
            label=names.label("signal", signal),
        )
    ax.set_xlim(0, 1.04)
    ax.set_ylim(min(-0.15, with_gradient["cosine"].min() - 0.05), 1.05)
    return ax


def plot_alikeness(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw the mean cosine over layers of each signal with each other one, as a matrix.

    Parameters
    ----------
    data, ax, names
        As for :func:`plot_cosine_over_depth`.
    """
    require_columns(data, COLUMNS, figure="rule_alikeness")
    order = _ordered(data["signal"], names)
    matrix = (
        data.pivot_table(index="signal", columns="other", values="cosine", aggfunc="mean")
        .reindex(index=order, columns=order)
        .to_numpy(copy=True)
    )
    np.fill_diagonal(matrix, np.nan)
    ax.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    merged = set(data["signal"][data["same_as"] != ""])
    labels = [
        textwrap.fill(names.label("signal", signal) + (" =" if signal in merged else ""), 26)
        for signal in order
    ]
    ax.set_yticks(range(len(order)), labels=labels, fontsize=6.5)
    ax.set_xticks(range(len(order)), labels=[str(place + 1) for place in range(len(order))])
    ax.tick_params(axis="x", labelsize=6.5)
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per model: cosine with the gradient over depth, and all pairs."""
    require_columns(data, COLUMNS, figure="rule_alikeness")
    models = names.order_models(data["model"])
    n_signals = data["signal"].nunique()
    height = max(2.2, 0.9 + CELL * n_signals)
    whole = Figure(figsize=(style.PAGE, 1.3 + height * len(models)), layout="constrained")
    axes = whole.subplots(len(models), 2, squeeze=False)
    for row, model in zip(axes, models, strict=True):
        own = data[data["model"] == model]
        if gradient_of(own):
            plot_cosine_over_depth(own, ax=row[0], names=names)
        else:
            layout.say_empty(row[0], "no single gradient to compare with")
        row[0].set_ylabel(f"{textwrap.fill(names.label('model', model), 26)}\ncosine")
        plot_alikeness(own, ax=row[1], names=names)
    axes[0, 0].set_title("with the gradient")
    axes[0, 1].set_title("with one another, mean over layers")
    axes[-1, 0].set_xlabel("relative depth of layer")
    axes[-1, 1].set_xlabel("signal, by its row")
    bar = whole.colorbar(axes[0, 1].images[0], ax=axes[:, 1], label="cosine", shrink=0.6)
    layout.fill_bar(bar)
    layout.legend_below(whole, _handles(axes[:, 0]), layout.width_of(whole))
    return whole


def _handles(axes: np.ndarray) -> list[Artist]:
    """Signals that are drawn as lines, and the band."""
    lines = {line.get_label(): line for ax in axes for line in ax.lines if line.get_marker() == "o"}
    band = Patch(color=BAND, linewidth=0, label="counts as the gradient, if at every layer")
    return [*lines.values(), band]


def _ordered(signals: pd.Series, names: Names) -> list[str]:
    return names.order_signals(signals, dict.fromkeys(signals, LEARNING))
