"""When each layer predicts responses: activation, learning signal, unique part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import JUDGED
from gradbrain.vocabulary.roles import TIME

TITLE = "Encoding score over time and layer"
INPUTS = ("scores",)
OPTIONAL = ("time_courses",)
AXES = ("time",)
SPACES = ()
POINTS = {
    "x": "time",
    "y": "value",
    "x_label": "time (s)",
    "y_label": "score (r; unique: share of variance)",
    "series": "layer",
    "panels": ("dataset", "model", "signal", "variant"),
    "text": ("subject",),
}

#: Family-wise level of the marks above the curves.
LEVEL = 0.05
#: Points of a line of marks above the curves.
MARKS = 2.4
#: Width of a panel in inches, without the gap to the next.
PANEL = 1.8
PER_LINE = 3

COLUMNS = ["subject", "layer", "depth", "time", "value", "null_high", "ceiling", "p", "p_min"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Scores per subject, layer and time, averaged over sensors, and whether they pass together.

    Without time courses nothing is known of that: ``p`` and ``p_min`` are NaN.
    """
    scores = layout.with_ceiling(layout.with_variant(inputs.table("scores")))
    rows = scores[(scores["axis"] == TIME) & scores["role"].isin(layout.SHOWN)]
    require_rows(rows, figure="encoding_over_time", what="scores over time")
    about = ["dataset", "model", "signal", "variant", "layer", "time"]
    if inputs.time_courses:
        marks = inputs.table("time_courses")
        # Times before the image are not tested.
        rows = rows.assign(time=rows["time"].round(5)).merge(
            marks.assign(time=marks["time"].round(5))[[*about, "p", "p_min"]],
            on=about,
            how="left",
            validate="many_to_one",
        )
    else:
        rows = rows.assign(p=np.nan, p_min=np.nan)
    keys = [*layout.KEYS, "onset_source"]
    order = [*keys, "layer_index", "time", "subject"]
    return rows[[*keys, *COLUMNS, "layer_index"]].sort_values(order, ignore_index=True)


def plot_encoding_over_time(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw one line per layer, its maximum marked where it exceeds chance.

    The highest of many times exceeds the 95th percentile of one more often than not, so that the
    family-wise test decides; where that could not pass, exceeding the percentile is all that is
    known, and the legend says so.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``subject``, ``layer``, ``depth``, ``time`` (s),
        ``value``, ``null_high`` (95th percentile of the permuted score of a subject), ``ceiling``
        (how well the other subjects predict a subject; NaN where that is not known), ``p``
        (family-wise, of the mean over subjects; NaN where it is not tested), ``p_min``.
    ax
        Where to draw; times are shown in ms.
    """
    require_columns(data, COLUMNS, figure="encoding_over_time")
    mean = data.pivot_table(index="depth", columns="time", values="value", aggfunc="mean")
    times = 1000 * np.asarray(mean.columns, dtype=float)
    depths = mean.index.to_numpy(dtype=float)
    null = data.groupby("time")["null_high"].mean().reindex(mean.columns).to_numpy()
    ax.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    layout.draw_ceiling(data, "time", ax=ax, scale=1000)
    ax.plot(times, null, **layout.CHANCE, zorder=1)
    for depth, (_, line) in zip(depths, mean.iterrows(), strict=True):
        colour = layout.depth_colour(depth)
        ax.plot(times, line, color=colour, zorder=2 + depth)
        peak = int(np.argmax(line))
        at_peak = data[(data["depth"] == depth) & (data["time"] == mean.columns[peak])]
        passed = not _is_tested(data) or bool((at_peak["p"] <= LEVEL).any())
        if passed and line.iloc[peak] > null[peak]:
            ax.plot(
                times[peak],
                line.iloc[peak],
                marker="o",
                markersize=4,
                color=colour,
                markeredgecolor="white",
                markeredgewidth=0.6,
                zorder=4,
            )
    _mark_times(data, ax)
    ax.set_xlim(times.min(), times.max())
    limits = ax.get_ylim()
    ax.fill_between(times, null, -1, color="#EEEEEE", linewidth=0, zorder=0)
    ax.set_ylim(limits)
    return ax


def _is_tested(data: pd.DataFrame) -> bool:
    """Whether times could pass the family-wise test."""
    return bool((data["p_min"] <= LEVEL).any())


def _mark_times(data: pd.DataFrame, ax: Axes) -> None:
    """A row of marks above the curves per layer, first layer lowest, at times above chance."""
    for row, depth in enumerate(np.unique(data["depth"])):
        own = data[data["depth"] == depth]
        passed = own.loc[own["p"] <= LEVEL, "time"].unique()
        if not len(passed):
            continue
        ax.plot(
            1000 * passed,
            np.ones(len(passed)),
            linestyle="none",
            marker="s",
            markersize=1.5,
            color=layout.depth_colour(float(depth)),
            transform=ax.get_xaxis_transform()
            + ScaledTranslation(0, (3 + MARKS * row) / 72, ax.figure.dpi_scale_trans),
            clip_on=False,
        )
    smallest = data["p_min"].max()
    if smallest > LEVEL:
        ax.text(
            0.98, 0.98, f"smallest possible p = {smallest:.2g}: no marks", ha="right", va="top",
            transform=ax.transAxes, fontsize=6, color=style.MUTED,
        )  # fmt: skip


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set and model, a panel per quantity."""
    require_columns(data, [*COLUMNS, "onset_source"], figure="encoding_over_time")
    items = layout.blocks(data, names)
    most = max(len(layout.quantities(block.data, names)) for block in items)
    return layout.figure_of_blocks(
        items,
        _draw_block,
        names,
        lines=lambda block: layout.n_lines(len(layout.quantities(block.data, names)), PER_LINE),
        width=1.4 + (PANEL + 0.2) * min(most, PER_LINE),
        height=2.3,
        more=0.5,
    )


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    axes = layout.panels(row, len(quantities), per_line=PER_LINE)[0]
    for variant, measure in JUDGED.items():
        columns = [i for i, quantity in enumerate(quantities) if quantity.variant == variant]
        if not columns:
            continue
        for i in columns:
            plot_encoding_over_time(layout.of_quantity(block.data, quantities[i]), ax=axes[i])
            # Marks of layers stand between the panel and its title.
            n_layers = layout.of_quantity(block.data, quantities[i])["depth"].nunique()
            layout.set_title(axes[i], quantities[i].title(names, PANEL), pad=5 + MARKS * n_layers)
            axes[i].set_xlabel(layout.time_label(block.data, width=PANEL))
            if i == columns[0] or layout.starts_line(axes[i]):
                axes[i].set_ylabel(measure.label)
        layout.share_limits(
            [axes[i] for i in columns],
            at_least=layout.UNIQUE_RANGE if variant == "unique" else None,
        )
    layout.depth_colourbar(row, axes)
    layout.legend_below(row, _handles(block.data, axes), layout.width_of(row))


def _handles(data: pd.DataFrame, axes: np.ndarray) -> list[Line2D]:
    """What lines and marks stand for, of those that are drawn."""
    mark: dict[str, Any] = {"color": style.INK, "linestyle": "none"}
    chance = "chance" if _is_tested(data) else "the dashed line"
    found = [
        Line2D(
            [], [], **mark, marker="o", markersize=4, label=f"highest score, where above {chance}"
        ),
        layout.chance_handle(),
        *[line for line in axes[0].lines if line.get_label() == layout.CEILING_LABEL],
    ]
    if (data["p"] <= LEVEL).any():
        label = f"above chance (p ≤ {LEVEL:.2g}), a row per layer".replace("0.", ".")
        found.append(Line2D([], [], **mark, marker="s", markersize=2, label=label))
    return found
