"""Fusion of space and time: what regions, times and layers share."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names

TITLE = "Regions and times joined by similarity, through the layers"
INPUTS = ("fusion",)
AXES = ("roi",)
SPACES = ()
POINTS = {
    "x": "time",
    "y": "common",
    "x_label": "time from image onset (s)",
    "y_label": "variance that region, time and layer share",
    "series": "layer",
    "panels": ("level", "dataset", "time_dataset", "model", "signal", "roi"),
    "text": ("rho", "ceiling"),
}

#: Size of a panel in inches.
WIDTH, HEIGHT = 1.35, 1.35
#: Look of what a region explains of a time.
EXPLAINED: dict[str, Any] = {"color": style.INK, "linewidth": 1.0, "linestyle": (0, (3, 2))}
#: Letters of a line of the name of a signal along y.
LABEL_LETTERS = 20
#: Regions side by side.
PER_LINE = 4
#: Level -> what readers call it.
LEVELS = {"concepts": "averages of concepts", "test_images": "repeated test images"}
#: What one block of panels is of.
BLOCK = ["level", "dataset", "time_dataset", "model"]
COLUMNS = [*BLOCK, "modality", "time_modality", "onset_source", "n_items", "n_subjects"]
COLUMNS += [
    "n_time_subjects",
    "layer",
    "depth",
    "signal",
    "role",
    "rule",
    "objective",
    "roi",
    "roi_rank",
    "time",
]
COLUMNS += ["rho", "ceiling", "common", "common_null_high"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """What region, time and layer share, for the activation and each learning signal."""
    table = inputs.table("fusion")
    rows = table[table["role"].isin(layout.SHOWN)]
    require_rows(rows, figure="fusion", what="fusion of activations or learning signals")
    order = [*BLOCK, "signal", "roi_rank", "depth", "time"]
    return rows[COLUMNS].sort_values(order, ignore_index=True)


def plot_fusion(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw one region of one signal: a line per layer over time.

    Parameters
    ----------
    data
        Rows of one block, signal and region: ``time`` (s), ``depth``, ``common``, ``rho``,
        ``ceiling``.
    ax
        Where to draw.
    """
    require_columns(data, COLUMNS, figure="fusion")
    once = data.drop_duplicates("time").sort_values("time")
    place = 1000 * once["time"].to_numpy(dtype=float)
    most = np.square(once["ceiling"].to_numpy(dtype=float))
    ax.fill_between(place, 0, most, color=style.CEILING_BAND, linewidth=0, zorder=0.5)
    ax.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    # Squared, with its sign: a negative similarity is no similarity of zero.
    similarity = once["rho"].to_numpy(dtype=float)
    explained = np.sign(similarity) * np.square(similarity)
    ax.plot(place, explained, **EXPLAINED, zorder=4)
    lines = data.pivot_table(index="depth", columns="time", values="common", dropna=False)
    depths = lines.index.to_numpy(dtype=float)
    for depth, line in zip(depths, lines.to_numpy(dtype=float), strict=True):
        ax.plot(place, line, color=layout.depth_colour(depth), zorder=2)
    ax.set_xlim(place.min(), place.max())
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per level, pair of data sets and model: regions across, signals down."""
    require_columns(data, COLUMNS, figure="fusion")
    blocks = [rows for _, rows in data.groupby(BLOCK, sort=False)]
    most = min(PER_LINE, max(rows["roi"].nunique() for rows in blocks))
    width = min(style.PAGE, 1.6 + WIDTH * most)
    letters = int(layout.BOLD_LETTERS_PER_INCH * width)
    titles = [layout.fill(_title(rows.iloc[0], names), letters) for rows in blocks]
    n_rows = [
        rows["signal"].nunique() * layout.n_lines(rows["roi"].nunique(), PER_LINE)
        for rows in blocks
    ]
    heights = [
        HEIGHT * n + 1.0 + layout.TITLE_LINE * title.count("\n")
        for n, title in zip(n_rows, titles, strict=True)
    ]
    whole = Figure(figsize=(width, sum(heights)), layout="constrained")
    parts = whole.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, rows, title in zip(parts, blocks, titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        _draw_block(part, rows, names)
    return whole


def _title(first: pd.Series, names: Names) -> str:
    """What a block is of: data sets, model, how many images."""
    pair = (
        f"{names.dataset_label(first['dataset'], first['modality'])} × "
        f"{names.dataset_label(first['time_dataset'], first['time_modality'])}"
    )
    what = f"{first['n_items']} {LEVELS.get(first['level'], first['level'])}"
    return layout.SEPARATOR.join([pair, names.label("model", first["model"]), what])


def _draw_block(part: SubFigure, data: pd.DataFrame, names: Names) -> None:
    role_of = dict(zip(data["signal"], data["role"], strict=True))
    signals = names.order_signals(role_of, role_of)
    regions = data.drop_duplicates("roi").sort_values("roi_rank")["roi"].tolist()
    axes = layout.panels(part, len(regions), per_line=PER_LINE, n_rows=len(signals),
                         height_ratios=[1] * len(signals))  # fmt: skip
    for row, signal in zip(axes, signals, strict=True):
        for ax, roi in zip(row, regions, strict=True):
            own = data[(data["signal"] == signal) & (data["roi"] == roi)]
            plot_fusion(own, ax=ax)
            ax.tick_params(labelbottom=signal == signals[-1])
            if layout.starts_line(ax):
                label = textwrap.fill(names.label("signal", signal), LABEL_LETTERS)
                ax.set_ylabel(f"{label}\nshared variance", fontsize=7)
    for place, (ax, roi) in enumerate(zip(axes[0], regions, strict=True)):
        ax.set_title(textwrap.fill(roi, 18), fontsize=8)
        if place % PER_LINE == 0:
            axes[-1][place].set_xlabel(layout.time_label(data, width=WIDTH), fontsize=7)
    layout.share_limits(axes.ravel().tolist())
    layout.depth_colourbar(part, axes.ravel().tolist())
    handles = [
        Line2D([], [], **EXPLAINED, label="region and time, without a layer"),
        Patch(color=style.CEILING_BAND, linewidth=0, label="most that reliability allows"),
    ]
    layout.legend_below(part, handles, layout.width_of(part))
