"""How far the signals of learning rules are from the gradient while they train an autoencoder."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names

TITLE = "How far learning rules are from backpropagation while they train a network"
INPUTS = ("training",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "step",
    "y": "angle",
    "x_label": "batches learnt",
    "y_label": "angle of signal and gradient (°)",
    "series": "layer",
    "panels": ("model", "correction"),
    "text": ("r2", "inverse_r2", "weight_angle", "turn"),
}

UNCORRECTED = "uncorrected"
COLUMNS = [
    *("model", "learning_rule", "seed", "step", "layer", "depth", "correction"),
    *("angle", "turn", "weight_angle", "inverse_r2", "loss", "r2"),
]
#: Of an angle: that of signals that have nothing in common.
RIGHT = 90
DASHED = (0, (4, 2))


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Angles of every network, layer and step."""
    rows = inputs.table("training")
    require_rows(rows, figure="training_angles", what="networks that the study trains")
    return rows[COLUMNS].sort_values(["model", "correction", "depth", "step"], ignore_index=True)


def plot_training_angles(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw a line per layer, and a dashed one without the correction of targets.

    Parameters
    ----------
    data
        One model: ``step``, ``layer``, ``depth``, ``correction``, ``angle`` (degrees).
    ax
        Where to draw.
    """
    require_columns(data, COLUMNS, figure="training_angles")
    colours = style.depth_colours()
    ax.axhline(RIGHT, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
    for (correction, _), own in data.groupby(["correction", "layer"]):
        ax.plot(
            own["step"],
            own["angle"],
            color=colours(float(own["depth"].iloc[0])),
            linewidth=1.0 if correction == UNCORRECTED else 1.6,
            linestyle=DASHED if correction == UNCORRECTED else "-",
            zorder=2,
        )
    ax.set_ylim(-4, max(124, data["angle"].max() + 4))
    ax.set_yticks([0, 45, RIGHT])
    return ax


def plot_reconstruction(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw what the network gives back of images, and its layers of the one below (mean).

    Parameters
    ----------
    data
        One model: ``step``, ``r2``, ``inverse_r2``.
    ax
        Where to draw; what is below zero is worse than the mean, and not shown.
    """
    require_columns(data, COLUMNS, figure="training_angles")
    by_step = data.groupby("step")[["r2", "inverse_r2"]].mean()
    ax.plot(by_step.index, by_step["r2"], color=style.INK, linewidth=1.6)
    ax.plot(by_step.index, by_step["inverse_r2"], color=style.ORANGE, linewidth=1.6)
    ax.set_ylim(-0.05, 1.05)
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per network: angles, and how well images and layers are given back."""
    require_columns(data, COLUMNS, figure="training_angles")
    models = names.order_models(data["model"])
    whole = Figure(figsize=(6.6, 1.5 + 1.7 * len(models)), layout="constrained")
    axes = whole.subplots(len(models), 2, squeeze=False, sharex=True, sharey="col")
    for row, model in zip(axes, models, strict=True):
        own = data[data["model"] == model]
        plot_training_angles(own, ax=row[0])
        plot_reconstruction(own, ax=row[1])
        row[0].set_ylabel(f"{textwrap.fill(names.label('model', model), 26)}\nangle (°)")
        row[1].set_ylabel("R²")
    axes[0, 0].set_title("signal and gradient")
    axes[0, 1].set_title("given back, held-out photographs")
    for ax in axes[-1]:
        ax.set_xlabel("batches learnt")
    scale = ScalarMappable(Normalize(0, 1), style.depth_colours())
    bar = whole.colorbar(
        scale, ax=axes[:, 0], label="relative depth of layer", location="left", shrink=0.5
    )
    layout.fill_bar(bar)
    layout.legend_below(whole, _handles(data), layout.width_of(whole))
    return whole


def _handles(data: pd.DataFrame) -> list[Line2D]:
    found = [
        Line2D(
            [], [], color=style.INK, label="signal of the rule that trains (left), image (right)"
        ),
        Line2D([], [], color=style.ORANGE, label="layer, from the one above it led back (mean)"),
        Line2D([], [], color=style.MUTED, linestyle=":", label="nothing in common (90°)"),
    ]
    if (data["correction"] == UNCORRECTED).any():
        label = "targets without the correction for imperfect inverses"
        found.insert(1, Line2D([], [], color=style.INK, linestyle=DASHED, label=label))
    return found
