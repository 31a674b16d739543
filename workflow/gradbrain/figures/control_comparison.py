"""Unique variance of each learning signal beside its controls without learning content."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import with_bootstrap_interval

TITLE = "Unique variance of learning signals and their controls"
INPUTS = ("hierarchy",)
MODALITIES = ("fmri", "meg")
SPACES = ()

COLUMNS = ["signal", "role", "subject", "unique_r2", "ci_low", "ci_high", "margin"]
COLUMNS += ["c2_threshold"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Mean unique R² per subject and signal, with the thresholds of claims C1 and C2.

    ``c2_threshold`` of a learning signal is the mean over subjects of the best of its own
    controls plus the margin; it is NaN for controls and for signals without any. ``ci_low`` and
    ``ci_high`` are the interval of the mean, NaN where the study has too few subjects.
    """
    table = inputs.table("hierarchy")
    rows = table[
        (table["statistic"] == "score_at_peak")
        & (table["variant"] == "unique")
        & table["role"].isin(["learning", "control"])
    ]
    require_rows(rows, figure="control_comparison", what="unique scores of learning signals")
    keys = ["dataset", "modality", "model", "signal", "role"]
    rows = with_bootstrap_interval(rows, keys, inputs.settings)
    data = rows[[*keys, "subject", "ci_low", "ci_high"]].assign(
        unique_r2=rows["value"], margin=inputs.settings.smallest_unique_r2
    )
    group = ["dataset", "model", "signal"]
    means = data.groupby(group)["unique_r2"].mean().rename("threshold").reset_index()
    pairs = table[(table["statistic"] == "control_difference") & (table["variant"] == "unique")]
    pairs = pairs[[*group, "control"]].drop_duplicates()
    best = pairs.merge(
        means.rename(columns={"signal": "control"}), on=["dataset", "model", "control"]
    )
    threshold = best.groupby(group)["threshold"].max() + inputs.settings.smallest_unique_r2
    data = data.merge(threshold.rename("c2_threshold").reset_index(), on=group, how="left")
    return data.sort_values([*keys, "subject"], ignore_index=True)


def plot_control_comparison(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw unique R² per signal: subjects as dots, mean and, with enough of them, its interval.

    Parameters
    ----------
    data
        One data set and model: ``signal``, ``role``, ``subject``, ``unique_r2`` with the
        interval of its mean, ``margin``, ``c2_threshold``.
    ax
        Where to draw. Below the dotted line a signal adds nothing of note to activations (C1);
        the bar across a learning signal is its best control's mean plus the margin (C2).
    """
    require_columns(data, COLUMNS, figure="control_comparison")
    roles = dict(zip(data["signal"], data["role"], strict=True))
    signals = style.order_signals(roles, roles)
    margin = float(data["margin"].iloc[0])
    ax.axhspan(-1, margin, color="#F2F2F2", linewidth=0, zorder=0)
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    ax.axhline(margin, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
    for place, signal in enumerate(signals):
        own = data[data["signal"] == signal]
        colour = style.signal_colour(signal, roles[signal])
        threshold = own["c2_threshold"].iloc[0]
        if np.isfinite(threshold):
            ax.plot([place - 0.4, place + 0.4], [threshold] * 2, color=style.INK, linewidth=1.3)
        layout.draw_subjects(
            place + layout.spread(len(own), 0.28), own["unique_r2"], ax=ax, colour=colour, size=12
        )
        layout.draw_means(
            np.array([place]),
            layout.means_by(own, "signal", "unique_r2"),
            ax=ax,
            colour=colour,
            marker=style.signal_marker(signal, roles[signal]),
            markersize=6.5,
            markeredgecolor="white",
        )
    labels = [style.signal_label(signal).replace(" (", "\n(") for signal in signals]
    ax.set_xticks(
        range(len(signals)), labels=labels, rotation=35, ha="right", rotation_mode="anchor"
    )
    ax.set_xlim(-0.6, len(signals) - 0.4)
    drawn = data[["unique_r2", "ci_low", "ci_high", "c2_threshold"]]
    low, high = min(0.0, drawn.min().min()), max(2 * margin, drawn.max().max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    return ax


def figure(data: pd.DataFrame) -> Figure:
    """Arrange a row per data set, a column per model."""
    require_columns(data, COLUMNS, figure="control_comparison")
    items = layout.blocks(data)
    models = style.order_models(data["model"])
    datasets = list(dict.fromkeys(block.dataset for block in items))
    whole = Figure(
        figsize=(0.9 + 2.9 * len(models), 1.2 + 2.1 * len(datasets)), layout="constrained"
    )
    axes = whole.subplots(len(datasets), len(models), squeeze=False, sharey="row")
    drawn = {(block.dataset, block.model): block for block in items}
    for i, dataset in enumerate(datasets):
        limits = []
        for j, model in enumerate(models):
            ax = axes[i, j]
            block = drawn.get((dataset, model))
            if block is None:
                layout.say_empty(ax, "not in this study")
                ax.set_xticks([])
                continue
            plot_control_comparison(block.data, ax=ax)
            limits.append(ax.get_ylim())
        axes[i, 0].set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        axes[i, 0].set_ylabel(f"{style.dataset_label(dataset).replace(', ', chr(10))}\nunique R²")
        for ax in axes[i, 1:]:
            ax.tick_params(labelleft=False)
    if all(set(block.data["signal"]) == set(data["signal"]) for block in items):
        for ax in axes[:-1].ravel():
            ax.tick_params(labelbottom=False)
    for j, model in enumerate(models):
        axes[0, j].set_title(style.model_label(model), fontweight="bold")
    _add_legend(whole, has_interval=bool(data["ci_low"].notna().any()))
    return whole


def _add_legend(whole: Figure, *, has_interval: bool) -> None:
    handles = [
        layout.subject_handle(),
        layout.mean_handle(has_interval=has_interval, joined=False),
        Line2D([], [], color=style.MUTED, linestyle=":", label="smallest R² of interest (C1)"),
        Line2D([], [], color=style.INK, linewidth=1.3, label="best control plus that (C2)"),
    ]
    ncols = 1 if whole.get_figwidth() < 5 else 2
    whole.legend(handles=handles, loc="outside lower left", ncols=ncols)
