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

COLUMNS = ["signal", "role", "quantity", "control", "subject", "unique_r2", "ci_low", "ci_high"]
COLUMNS += ["margin"]
# Statistic of the hierarchy tables -> what it says of a signal, and in the label of the axis.
QUANTITIES = {
    "score_at_peak": ("unique", ""),
    "beyond_reweighting": ("beyond_reweighting", "C1"),
    "control_difference": ("beyond_control", "C2"),
}


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Unique R² per subject and signal, and what claims C1 and C2 are judged by.

    ``quantity`` is ``unique`` (learning signals and controls), ``beyond_reweighting`` (minus the
    best layer's activation offered a second time, C1) or ``beyond_control`` (minus the control
    that leaves the smallest difference, named in ``control``, C2). ``ci_low`` and ``ci_high`` are
    the interval of the mean, NaN where the study has too few subjects.
    """
    table = inputs.table("hierarchy")
    rows = table[
        table["statistic"].isin(QUANTITIES)
        & (table["variant"] == "unique")
        & table["role"].isin(["learning", "control"])
    ]
    require_rows(rows, figure="control_comparison", what="unique scores of learning signals")
    rows = _with_best_control(rows)
    rows = rows.assign(quantity=[QUANTITIES[name][0] for name in rows["statistic"]])
    keys = ["dataset", "modality", "model", "signal", "role", "quantity"]
    rows = with_bootstrap_interval(rows, keys, inputs.settings)
    data = rows[[*keys, "control", "subject", "ci_low", "ci_high"]].assign(
        unique_r2=rows["value"], margin=inputs.settings.smallest_unique_r2
    )
    return data.sort_values([*keys, "subject"], ignore_index=True)


def _with_best_control(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep of the differences from controls that which is smallest in the mean over subjects."""
    pairs = rows[rows["statistic"] == "control_difference"]
    group = ["dataset", "model", "signal"]
    means = pairs.groupby([*group, "control"], as_index=False)["value"].mean()
    if means.empty:
        return rows
    best = means.loc[means.groupby(group)["value"].idxmin(), [*group, "control"]]
    kept = pairs.merge(best, on=[*group, "control"])
    return pd.concat([rows[rows["statistic"] != "control_difference"], kept], ignore_index=True)


def places_of(data: pd.DataFrame) -> list[tuple[str, str]]:
    """(signal, quantity) in the order of the axis: a learning signal, its contrasts, controls."""
    roles = dict(zip(data["signal"], data["role"], strict=True))
    drawn = set(zip(data["signal"], data["quantity"], strict=True))
    return [
        (signal, quantity)
        for signal in style.order_signals(roles, roles)
        for quantity, _ in QUANTITIES.values()
        if (signal, quantity) in drawn
    ]


def plot_control_comparison(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw unique R² per signal: subjects as dots, mean and, with enough of them, its interval.

    Parameters
    ----------
    data
        One data set and model: ``signal``, ``role``, ``quantity``, ``control``, ``subject``,
        ``unique_r2`` with the interval of its mean, ``margin``.
    ax
        Where to draw. The contrasts of claims C1 and C2 must clear the dotted line.
    """
    require_columns(data, COLUMNS, figure="control_comparison")
    roles = dict(zip(data["signal"], data["role"], strict=True))
    places = places_of(data)
    margin = float(data["margin"].iloc[0])
    ax.axhspan(-1, margin, color="#F2F2F2", linewidth=0, zorder=0)
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    ax.axhline(margin, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
    for place, (signal, quantity) in enumerate(places):
        own = data[(data["signal"] == signal) & (data["quantity"] == quantity)]
        colour = style.signal_colour(signal, roles[signal])
        layout.draw_subjects(
            place + layout.spread(len(own), 0.28), own["unique_r2"], ax=ax, colour=colour, size=12
        )
        layout.draw_means(
            np.array([place]),
            layout.means_by(own, "signal", "unique_r2"),
            ax=ax,
            colour=colour,
            marker=style.signal_marker(signal, roles[signal]) if quantity == "unique" else "D",
            markersize=6.5 if quantity == "unique" else 5.5,
            markeredgecolor="white",
        )
    labels = [_label(signal, quantity) for signal, quantity in places]
    ax.set_xticks(
        range(len(places)), labels=labels, rotation=50, ha="right", rotation_mode="anchor"
    )
    ax.set_xlim(-0.6, len(places) - 0.4)
    drawn = data[["unique_r2", "ci_low", "ci_high"]]
    low, high = min(0.0, drawn.min().min()), max(2 * margin, drawn.max().max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    return ax


def _label(signal: str, quantity: str) -> str:
    """Name of a signal, and of what is drawn of it."""
    said = dict(QUANTITIES.values())[quantity]
    name = style.signal_label(signal)
    return f"{said}: {name}" if said else name


def figure(data: pd.DataFrame) -> Figure:
    """Arrange a row per data set, a column per model."""
    require_columns(data, COLUMNS, figure="control_comparison")
    items = layout.blocks(data)
    models = style.order_models(data["model"])
    datasets = list(dict.fromkeys(block.dataset for block in items))
    whole = Figure(
        figsize=(0.9 + 3.2 * len(models), 1.5 + 2.1 * len(datasets)), layout="constrained"
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
        Line2D([], [], color=style.MUTED, linestyle=":", label="smallest R² of interest"),
        Line2D(
            [], [], color=style.INK, linestyle="", marker="D", label="C1: beyond another weighting"
        ),
        Line2D([], [], color=style.INK, linestyle="", marker="D", label="C2: beyond best control"),
    ]
    ncols = 1 if whole.get_figwidth() < 5 else 2
    whole.legend(handles=handles, loc="outside lower left", ncols=ncols)
