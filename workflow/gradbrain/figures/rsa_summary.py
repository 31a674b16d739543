"""Representational similarity of each layer to the brain, as a second opinion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import RHO
from gradbrain.vocabulary.roles import TIME

TITLE = "Representational similarity by region and over time"
INPUTS = ("rsa",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "depth",
    "y": "rho",
    "x_label": "relative depth of the layer",
    "y_label": "rank correlation (Spearman)",
    "series": "signal",
    "panels": ("dataset", "model", "variant", "roi", "time"),
    "text": ("subject", "layer"),
}

#: Width of a panel in inches, without the gap to the next.
PANEL = 1.8
PER_LINE = 3
#: Height of a line of panels, and of the legend below.
HEIGHT, LEGEND = 2.2, 0.3

COLUMNS = ["subject", "depth", "axis", "roi", "roi_rank", "time", "rho", "null_high"]
COLUMNS += ["onset_source"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Spearman ρ per subject, layer and unit for the activation and each learning signal."""
    table = inputs.table("rsa")
    rows = table[table["role"].isin(layout.SHOWN) & table["rho"].notna()]
    require_rows(rows, figure="rsa_summary", what="similarities of activations or signals")
    order = [*layout.SOURCE, "layer_index", "roi_rank", "time", "subject"]
    said = [name for name in COLUMNS if name not in layout.SOURCE]
    columns = [*layout.SOURCE, "layer", "layer_index", *said]
    return rows[columns].assign(variant="raw").sort_values(order, ignore_index=True)


def plot_rsa(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw the mean ρ over subjects, one line per layer, over regions or over time.

    Parameters
    ----------
    data
        One signal of one data set and model: ``subject``, ``depth``, ``axis``, ``roi``,
        ``roi_rank``, ``time`` (s), ``rho``, ``null_high``, ``onset_source``.
    ax
        Where to draw.
    """
    require_columns(data, COLUMNS, figure="rsa_summary")
    over_time = data["axis"].iloc[0] == TIME
    unit = "time" if over_time else "roi_rank"
    mean = data.pivot_table(index="depth", columns=unit, values="rho", aggfunc="mean")
    depths = mean.index.to_numpy(dtype=float)
    null = data.groupby(unit)["null_high"].mean().reindex(mean.columns).to_numpy()
    if over_time:
        place = 1000 * np.asarray(mean.columns, dtype=float)
        ax.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
        ax.set_xlabel(layout.time_label(data, width=PANEL))
        ax.set_xlim(place.min(), place.max())
    else:
        place = np.arange(len(mean.columns), dtype=float)
        regions = data.drop_duplicates("roi_rank").set_index("roi_rank")["roi"]
        layout.label_regions(ax, place, [regions[rank] for rank in mean.columns])
        ax.set_xlim(-0.4, len(place) - 0.6)
    ax.fill_between(place, 0, null, color="#EEEEEE", linewidth=0, zorder=0)
    ax.plot(place, null, **layout.CHANCE, zorder=1)
    for depth, (_, line) in zip(depths, mean.iterrows(), strict=True):
        ax.plot(
            place,
            line,
            color=layout.depth_colour(depth),
            marker=None if over_time else "o",
            markersize=3,
            zorder=2 + depth,
        )
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per data set and model, a column per signal."""
    require_columns(data, [*COLUMNS, "variant"], figure="rsa_summary")
    return arranged(data, names, _draw_block)


def arranged(
    data: pd.DataFrame, names: Names, draw: Callable[[SubFigure, layout.Block, Names], None]
) -> Figure:
    """Make a figure with a block per data set and model, and a panel per quantity."""
    items = layout.blocks(data, names)
    most = max(len(layout.quantities(block.data, names)) for block in items)
    return layout.figure_of_blocks(
        items,
        draw,
        names,
        lines=lambda block: layout.n_lines(len(layout.quantities(block.data, names)), PER_LINE),
        width=1.4 + (PANEL + 0.2) * min(most, PER_LINE),
        height=HEIGHT,
        more=LEGEND,
    )


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    axes = layout.panels(row, len(quantities), per_line=PER_LINE)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        plot_rsa(layout.of_quantity(block.data, quantity), ax=ax)
        layout.set_title(ax, quantity.title(names, PANEL))
    layout.share_limits(list(axes))
    for ax in axes:
        ax.set_ylabel(RHO.label if layout.starts_line(ax) else "")
    layout.depth_colourbar(row, axes)
    layout.legend_below(row, [layout.chance_handle()], layout.width_of(row))
