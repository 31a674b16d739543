"""What share of the explainable variance a signal has for itself, and what could have been seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names

TITLE = "Unique shares of the explainable variance, and which would have been found"
INPUTS = ("claims",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "signal",
    "y": "estimate",
    "y_label": "share of the explainable variance",
    "low": "ci_low",
    "high": "ci_high",
    "series": "verdict",
    "panels": ("dataset", "model", "prediction"),
    "text": ("lower_share", "upper_share", "detectable_share"),
}

SHARES = ["estimate", "ci_low", "ci_high", "lower_share", "upper_share", "detectable_share"]
COLUMNS = ["prediction", *layout.SOURCE, *SHARES, "reference", "verdict"]
# Claims that are made of shares, from top to bottom.
CLAIMS = ("C1", "C2")
#: Shares above are drawn at the edge.
LARGEST = 1.0


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Estimates of C1 and C2 with their bounds, as shares of the explainable variance."""
    claims = inputs.table("claims")
    rows = claims[
        claims["prediction"].isin(CLAIMS)
        & (claims["variant"] == "unique")
        & claims["estimate"].notna()
    ]
    require_rows(rows, figure="unique_share", what="unique shares of learning signals")
    return rows[COLUMNS].sort_values([*layout.SOURCE, "prediction"], ignore_index=True)


def plot_unique_share(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw a line per model, signal and claim: bounds, estimate, smallest detectable share.

    Parameters
    ----------
    data
        One data set: a row per model, signal and claim, shares of 1.
    ax
        Where to draw; shares in percent, up to all that is explainable.
    names
        Labels and colours.
    """
    require_columns(data, COLUMNS, figure="unique_share")
    rows = _ordered(data, names)
    margin = 100 * float(data["reference"].iloc[0])
    ax.axvspan(-1000, margin, color="#F2F2F2", linewidth=0, zorder=0)
    ax.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    ax.axvline(margin, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
    for place, row in enumerate(rows.to_dict("records")):
        colour = names.colour("signal", row["signal"])
        if np.isfinite(row["upper_share"]):
            ax.barh(
                place,
                100 * (row["upper_share"] - row["lower_share"]),
                left=100 * row["lower_share"],
                height=0.56,
                color=colour,
                alpha=0.25,
                linewidth=0,
                zorder=2,
            )
        low, high = (100 * min(row[name], LARGEST) for name in ("ci_low", "ci_high"))
        ax.plot([low, high], [place, place], color=colour, linewidth=1.6, zorder=3)
        ax.plot(
            100 * min(row["estimate"], LARGEST),
            place,
            color=colour,
            marker="o" if row["prediction"] == "C1" else "D",
            markersize=5,
            markeredgecolor="white",
            linestyle="",
            zorder=4,
        )
        if np.isfinite(row["detectable_share"]):
            ax.plot(
                100 * row["detectable_share"],
                place - 0.36,
                marker="v",
                color=style.INK,
                markersize=3.6,
                linestyle="",
                zorder=4,
            )
    ax.set_yticks(range(len(rows)), labels=[_label(row, names) for row in rows.to_dict("records")])
    ax.set_ylim(len(rows) - 0.4, -0.7)
    ax.set_xlim(*_limits(rows))
    return ax


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Percent that are drawn: from the lowest estimate to all that is explainable."""
    lowest = np.nanmin([0.0, *data["estimate"], *data["ci_low"]])
    return 100 * max(lowest, -LARGEST) - 3, 100 * LARGEST + 3


def _ordered(data: pd.DataFrame, names: Names) -> pd.DataFrame:
    roles = dict(zip(data["signal"], data["role"], strict=True))
    models = names.order_models(data["model"])
    signals = names.order_signals(roles, roles)
    order = data.assign(
        by_model=data["model"].map(models.index),
        by_signal=data["signal"].map(signals.index),
        by_claim=data["prediction"].map(CLAIMS.index),
    )
    return order.sort_values(["by_model", "by_signal", "by_claim"], ignore_index=True)


def _label(row: dict, names: Names) -> str:
    signal, model = names.label("signal", row["signal"]), names.label("model", row["model"])
    return f"{row['prediction']}: {signal}, {model}"


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a panel per data set."""
    require_columns(data, COLUMNS, figure="unique_share")
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    datasets = names.order_datasets(axis_of)
    counts = [int((data["dataset"] == dataset).sum()) for dataset in datasets]
    whole = Figure(
        figsize=(7.0, 1.3 + 0.5 * len(datasets) + 0.26 * sum(counts)), layout="constrained"
    )
    axes = whole.subplots(
        len(datasets), 1, squeeze=False, sharex=True, height_ratios=[n + 1 for n in counts]
    )
    for ax, dataset in zip(axes[:, 0], datasets, strict=True):
        plot_unique_share(data[data["dataset"] == dataset], ax=ax, names=names)
        ax.set_title(names.dataset_label(dataset, modality_of[dataset]))
    axes[-1, 0].set_xlim(*_limits(data))
    axes[-1, 0].set_xlabel("share of the explainable variance (%)")
    whole.legend(handles=_handles(), loc="outside lower left", ncols=2)
    return whole


def _handles() -> list[Line2D | Patch]:
    grey = style.MUTED
    return [
        Line2D([], [], color=grey, marker="o", label="C1: estimate, 95 % interval"),
        Line2D([], [], color=grey, marker="D", label="C2: the same, beyond the best control"),
        Patch(color=grey, alpha=0.25, label="between the bounds (95 %, one-sided each)"),
        Line2D(
            [],
            [],
            color=style.INK,
            marker="v",
            linestyle="",
            label="smallest share that would be found (80 %)",
        ),
    ]
