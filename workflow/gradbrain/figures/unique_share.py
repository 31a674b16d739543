"""What share of the explainable variance a signal has for itself, and what could have been seen."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.intervals import BETWEEN_BOUNDS, INTERVAL

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
COLUMNS = [*layout.SOURCE, "prediction", *SHARES, "reference", "verdict", "n_subjects"]
# Claims that are made of shares, from top to bottom.
CLAIMS = ("C1", "C2")
#: Shares beyond it, of either sign, are drawn at the edge.
LARGEST = 1.0
#: Lines that have a name each; of more, claims and signals are named, and models stand by estimate.
MOST_NAMED = 40
#: Letters of a line of such a name.
LABEL_LETTERS = 40
#: Inches of a line with a name, of a line of its text, and of one without a name.
NAMED, TEXT, UNNAMED = 0.1, 0.11, 0.01


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
    many = len(rows) > MOST_NAMED
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
        low, at, high = (
            100 * np.clip(row[name], -LARGEST, LARGEST)
            for name in ("ci_low", "estimate", "ci_high")
        )
        ax.plot([low, high], [place, place], color=colour, linewidth=0.7 if many else 1.6, zorder=3)
        ax.plot(
            at,
            place,
            color=colour,
            marker="o" if row["prediction"] == "C1" else "D",
            markersize=2 if many else 5,
            markeredgecolor=colour if many else "white",
            linestyle="",
            zorder=4,
        )
        if np.isfinite(row["detectable_share"]):
            ax.plot(
                100 * row["detectable_share"],
                place if many else place - 0.36,
                marker="v",
                color=style.INK,
                markersize=1.5 if many else 3.6,
                linestyle="",
                zorder=4,
            )
    if len(rows) > MOST_NAMED:
        _name_groups(rows, ax=ax, names=names)
    else:
        labels = [_label(row, names) for row in rows.to_dict("records")]
        ax.set_yticks(range(len(rows)), labels=labels, linespacing=0.95)
    ax.set_ylim(len(rows) - 0.4, -0.7)
    ax.set_xlim(*_limits(rows))
    return ax


def _name_groups(rows: pd.DataFrame, *, ax: Axes, names: Names) -> None:
    """Name claim and signal of many models in the middle of their lines, and part them."""
    groups = rows.groupby(["signal", "prediction"], sort=False)
    pairs = [tuple(map(str, own.iloc[0][["signal", "prediction"]])) for _, own in groups]
    ends = groups.size().cumsum().to_numpy()
    starts = np.concatenate([[0], ends[:-1]])
    labels = [
        textwrap.fill(
            f"{claim}: {names.label('signal', signal)}, {end - start} models, "
            "from lowest to highest estimate",
            LABEL_LETTERS,
        )
        for (signal, claim), start, end in zip(pairs, starts, ends, strict=True)
    ]
    ax.set_yticks((starts + ends - 1) / 2, labels=labels)
    ax.tick_params(axis="y", length=0)
    for start in starts[1:]:
        ax.axhline(start - 0.5, color=style.FAINT, linewidth=0.8, zorder=0)


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Percent that are drawn: from the lowest estimate to all that is explainable."""
    lowest = np.nanmin([0.0, *data["estimate"], *data["ci_low"]])
    return 100 * max(lowest, -LARGEST) - 3, 100 * LARGEST + 3


def _ordered(data: pd.DataFrame, names: Names) -> pd.DataFrame:
    """Rows by model, signal and claim; those of many models by claim and signal, then estimate."""
    roles = dict(zip(data["signal"], data["role"], strict=True))
    models = names.order_models(data["model"])
    signals = names.order_signals(roles, roles)
    order = data.assign(
        by_model=data["model"].map(models.index),
        by_signal=data["signal"].map(signals.index),
        by_claim=data["prediction"].map(CLAIMS.index),
    )
    many = ["by_signal", "by_claim", "estimate", "by_model"]
    keys = many if len(data) > MOST_NAMED else ["by_model", "by_signal", "by_claim"]
    return order.sort_values(keys, ignore_index=True)


def _label(row: dict, names: Names) -> str:
    signal, model = names.label("signal", row["signal"]), names.label("model", row["model"])
    return textwrap.fill(f"{row['prediction']}: {signal}, {model}", LABEL_LETTERS)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a panel per data set."""
    require_columns(data, COLUMNS, figure="unique_share")
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    datasets = names.order_datasets(axis_of)
    heights = [_height(data[data["dataset"] == dataset], names) for dataset in datasets]
    whole = Figure(
        figsize=(style.PAGE, 1.4 + 0.65 * len(datasets) + sum(heights)), layout="constrained"
    )
    axes = whole.subplots(
        len(datasets), 1, squeeze=False, sharex=True, height_ratios=[n + 0.15 for n in heights]
    )
    for ax, dataset in zip(axes[:, 0], datasets, strict=True):
        plot_unique_share(data[data["dataset"] == dataset], ax=ax, names=names)
        ax.tick_params(labelbottom=True)
        layout.set_title(ax, textwrap.fill(names.dataset_label(dataset, modality_of[dataset]), 90))
    axes[-1, 0].set_xlim(*_limits(data))
    axes[-1, 0].set_xlabel("share of the explainable variance (%)")
    layout.legend_below(whole, _handles(), layout.width_of(whole))
    return whole


def _height(data: pd.DataFrame, names: Names) -> float:
    """Inches of all lines of a data set."""
    if len(data) > MOST_NAMED:
        return max(1.0, UNNAMED * len(data))
    texts = [_label(row, names).count("\n") for row in data.to_dict("records")]
    return (NAMED + TEXT * (1 + max(texts))) * len(data)


def _handles() -> list[Line2D | Patch]:
    grey = style.MUTED
    return [
        Line2D([], [], color=grey, marker="o", label=f"C1: estimate, {INTERVAL}"),
        Line2D([], [], color=grey, marker="D", label="C2: the same, beyond the best control"),
        Patch(color=grey, alpha=0.25, label=BETWEEN_BOUNDS),
        Line2D([], [], color=grey, linestyle=":", label="smallest share of interest"),
        Line2D(
            [],
            [],
            color=style.INK,
            marker="v",
            linestyle="",
            label="smallest share that would be found (80 %)",
        ),
    ]
