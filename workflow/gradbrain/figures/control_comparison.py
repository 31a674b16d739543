"""Unique variance of each learning signal beside its controls without learning content."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import with_bootstrap_interval
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import UNIQUE_VARIANCE
from gradbrain.vocabulary.roles import CONTROL, LEARNING

TITLE = "Unique variance of learning signals and their controls"
INPUTS = ("hierarchy", "hierarchy_draws")
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "control",
    "y": "variance",
    "y_label": "share of the responses' variance",
    "low": "ci_low",
    "high": "ci_high",
    "series": "signal",
    "panels": ("dataset", "model", "quantity"),
    "text": ("subject", "margin"),
}

#: Inches: of a panel, of a line of them, and what labels of signals and the legend take.
PANEL, HEIGHT, LABELS, LEGEND = 3.1, 1.7, 1.1, 0.4
PER_LINE = 2
#: More signals in a panel need all of the width.
MOST_HALF = 6
#: Of more signals labels stand upright, each in one line; others are slanted.
MOST_SLANTED = 16
#: Letters of a line of a label.
LABEL_LETTERS = 20

COLUMNS = ["signal", "role", "quantity", "control", "subject", "variance", "ci_low", "ci_high"]
COLUMNS += ["margin"]
# What is drawn of a signal -> what it is called in the label of the axis.
QUANTITIES = {"unique": "C1", "beyond_control": "C2"}
# Statistic of the hierarchy tables -> what it is drawn as. Where a data set has one subject, places
# are its own choice, and statistics say so in their names.
STATISTICS = {
    "unique_variance": "unique",
    "unique_variance_at_own_peak": "unique",
    "control_difference": "beyond_control",
    "control_difference_at_own_peak": "beyond_control",
}


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Unique variance per subject and signal, which claims C1 and C2 are judged by.

    ``quantity`` is ``unique`` (learning signals, C1, and controls) or ``beyond_control`` (minus
    the control that leaves the smallest difference, named in ``control``, C2). ``variance`` is a
    share of the responses' variance, and ``margin`` the share of it that must be exceeded.
    ``ci_low`` and ``ci_high`` are the interval of the mean, NaN where the study has too few
    subjects.
    """
    statistics = inputs.statistics()
    table = statistics.table
    rows = table[
        table["statistic"].isin(STATISTICS)
        & (table["variant"] == "unique")
        & table["role"].isin([LEARNING, CONTROL])
        & table["value"].notna()
    ]
    require_rows(rows, figure="control_comparison", what="unique scores of learning signals")
    rows = _with_best_control(rows.assign(quantity=rows["statistic"].map(STATISTICS)))
    keys = [*layout.SOURCE, "quantity"]
    rows = with_bootstrap_interval(rows, statistics.boot, keys, inputs.settings)
    data = rows[[*keys, "control", "subject", "ci_low", "ci_high"]].assign(
        variance=rows["value"],
        margin=inputs.settings.smallest_unique_share * _available(rows),
    )
    return data.sort_values([*keys, "subject"], ignore_index=True)


def _available(rows: pd.DataFrame) -> pd.Series:
    """Mean variance that can be explained where a signal is read, or is, without a ceiling."""
    own = rows["explainable"].fillna(rows["explained"])
    keys = ["dataset", "model", "signal", "quantity"]
    return own.groupby([rows[key] for key in keys]).transform("mean")


def _with_best_control(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep of the differences from controls that which is smallest in the mean over subjects."""
    difference = rows["quantity"] == "beyond_control"
    group = ["dataset", "model", "signal"]
    means = rows[difference].groupby([*group, "control"], as_index=False)["value"].mean()
    if means.empty:
        return rows
    best = means.loc[means.groupby(group)["value"].idxmin()]
    pair = [*group, "control"]
    kept = pd.MultiIndex.from_frame(rows[pair]).isin(pd.MultiIndex.from_frame(best[pair]))
    return rows[~difference | kept]


def places_of(data: pd.DataFrame, names: Names) -> list[tuple[str, str]]:
    """(signal, quantity) in the order of the axis: a learning signal, its contrasts, controls."""
    roles = dict(zip(data["signal"], data["role"], strict=True))
    drawn = set(zip(data["signal"], data["quantity"], strict=True))
    return [
        (signal, quantity)
        for signal in names.order_signals(roles, roles)
        for quantity in QUANTITIES
        if (signal, quantity) in drawn
    ]


def plot_control_comparison(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw unique variance per signal: subjects as dots, their mean and its interval.

    Parameters
    ----------
    data
        One data set and model: ``signal``, ``role``, ``quantity``, ``control``, ``subject``,
        ``variance`` with the interval of its mean, ``margin``.
    ax
        Where to draw. What claims C1 and C2 are of must clear the dotted line.
    names
        Labels, colours and markers of signals.
    """
    require_columns(data, COLUMNS, figure="control_comparison")
    places = places_of(data, names)
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    for place, (signal, quantity) in enumerate(places):
        own = data[(data["signal"] == signal) & (data["quantity"] == quantity)]
        colour, ends = names.colour("signal", signal), [place - 0.5, place + 0.5]
        margin = float(own["margin"].iloc[0])
        ax.fill_between(ends, -1, margin, color="#F2F2F2", linewidth=0, zorder=0)
        ax.plot(ends, [margin, margin], color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
        layout.draw_subjects(
            place + layout.spread(len(own), 0.28), own["variance"], ax=ax, colour=colour, size=12
        )
        layout.draw_means(
            np.array([place]),
            layout.means_by(own, "signal", "variance"),
            ax=ax,
            colour=colour,
            marker=names.marker(signal) if quantity == "unique" else "D",
            markersize=6.5 if quantity == "unique" else 5.5,
            markeredgecolor="white",
        )
    upright = len(places) > MOST_SLANTED
    labels = [_label(signal, quantity, names) for signal, quantity in places]
    ax.set_xticks(
        range(len(places)),
        labels=labels if upright else [textwrap.fill(label, LABEL_LETTERS) for label in labels],
        rotation=90 if upright else 50,
        ha="center" if upright else "right",
        rotation_mode="default" if upright else "anchor",
    )
    ax.set_xlim(-0.6, len(places) - 0.4)
    drawn = data[["variance", "ci_low", "ci_high"]]
    low, high = min(0.0, drawn.min().min()), max(2 * data["margin"].max(), drawn.max().max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    return ax


def _label(signal: str, quantity: str, names: Names) -> str:
    """Name of a signal, and of what is drawn of it."""
    name = names.label("signal", signal)
    return f"{QUANTITIES[quantity]}: {name}" if quantity == "beyond_control" else name


def _height_of_labels(items: Sequence[layout.Block], names: Names) -> float:
    """Inches below the panels of a data set."""
    places = [places_of(block.data, names) for block in items]
    if max(map(len, places)) <= MOST_SLANTED:
        return LABELS
    longest = max(len(_label(*place, names)) for own in places for place in own)
    return 0.2 + longest / layout.LETTERS_PER_INCH


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set, a panel per model."""
    require_columns(data, COLUMNS, figure="control_comparison")
    by_dataset: dict[str, list[layout.Block]] = {}
    for block in layout.blocks(data, names):
        by_dataset.setdefault(block.dataset, []).append(block)
    per_line = _per_line(data, names)
    most = min(per_line, max(map(len, by_dataset.values())))
    width = max(4.4, 0.9 + PANEL * PER_LINE / per_line * most)
    heights = [
        HEIGHT * layout.n_lines(len(items), per_line) + _height_of_labels(items, names)
        for items in by_dataset.values()
    ]
    whole = Figure(figsize=(width, sum(heights) + LEGEND), layout="constrained")
    rows = whole.subfigures(len(by_dataset), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, items in zip(rows, by_dataset.values(), strict=True):
        _draw_dataset(row, items, names, per_line)
    _add_legend(whole, has_interval=bool(data["ci_low"].notna().any()))
    return whole


def _per_line(data: pd.DataFrame, names: Names) -> int:
    """Panels side by side."""
    most = max(len(places_of(block.data, names)) for block in layout.blocks(data, names))
    return 1 if most > MOST_HALF else PER_LINE


def _draw_dataset(row: SubFigure, items: list[layout.Block], names: Names, per_line: int) -> None:
    """Draw the panels of all models of a data set, with one range of values."""
    label = names.dataset_label(items[0].dataset, items[0].modality)
    title = textwrap.fill(label, int(layout.BOLD_LETTERS_PER_INCH * layout.width_of(row)))
    row.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    axes = layout.panels(row, len(items), per_line=per_line, sharey=True)[0]
    same = len({tuple(places_of(block.data, names)) for block in items}) == 1
    limits = []
    for place, (ax, block) in enumerate(zip(axes, items, strict=True)):
        plot_control_comparison(block.data, ax=ax, names=names)
        limits.append(ax.get_ylim())
        letters = int(layout.LETTERS_PER_INCH * (PANEL * PER_LINE / per_line - 0.3))
        layout.set_title(ax, textwrap.fill(names.label("model", block.model), letters))
        # Of panels that show the same, those that stand lowest say what it is.
        ax.tick_params(labelbottom=not same or place + per_line >= len(items))
        if layout.starts_line(ax):
            ax.set_ylabel(f"{UNIQUE_VARIANCE.label}\n(share of variance)")
    axes[0].set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _add_legend(whole: Figure, *, has_interval: bool) -> None:
    handles = [
        layout.subject_handle(),
        layout.mean_handle(has_interval=has_interval, joined=False),
        Line2D([], [], color=style.MUTED, linestyle=":", label="smallest share of interest"),
        Line2D([], [], color=style.INK, linestyle="", marker="D", label="C2: beyond best control"),
    ]
    layout.legend_below(whole, handles, layout.width_of(whole))
