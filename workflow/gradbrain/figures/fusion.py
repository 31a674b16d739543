"""Fusion of space and time: what regions, times and layers share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

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
WIDTH, HEIGHT = 1.45, 1.35
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
    explained = np.square(once["rho"].clip(lower=0).to_numpy(dtype=float))
    ax.plot(place, explained, color=style.INK, linewidth=1.0, linestyle=(0, (3, 2)), zorder=4)
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
    n_rows = [rows["signal"].nunique() for rows in blocks]
    width = 1.6 + WIDTH * max(rows["roi"].nunique() for rows in blocks)
    whole = Figure(figsize=(width, sum(HEIGHT * n + 0.7 for n in n_rows)), layout="constrained")
    parts = whole.subfigures(len(blocks), 1, squeeze=False, height_ratios=n_rows)[:, 0]
    for part, rows in zip(parts, blocks, strict=True):
        _draw_block(part, rows, names)
    return whole


def _draw_block(part: SubFigure, data: pd.DataFrame, names: Names) -> None:
    first = data.iloc[0]
    pair = (
        f"{names.dataset_label(first['dataset'], first['modality'])} × "
        f"{names.dataset_label(first['time_dataset'], first['time_modality'])}"
    )
    what = f"{first['n_items']} {LEVELS.get(first['level'], first['level'])}"
    part.suptitle(
        f"{pair}  ·  {names.label('model', first['model'])}  ·  {what}",
        x=0.01,
        ha="left",
        fontsize=9.5,
        fontweight="bold",
    )
    role_of = dict(zip(data["signal"], data["role"], strict=True))
    signals = names.order_signals(role_of, role_of)
    regions = data.drop_duplicates("roi").sort_values("roi_rank")["roi"].tolist()
    axes = part.subplots(len(signals), len(regions), squeeze=False, sharex=True)
    for row, signal in zip(axes, signals, strict=True):
        for ax, roi in zip(row, regions, strict=True):
            own = data[(data["signal"] == signal) & (data["roi"] == roi)]
            plot_fusion(own, ax=ax)
        row[0].set_ylabel(names.label("signal", signal), fontsize=7)
    for ax, roi in zip(axes[0], regions, strict=True):
        ax.set_title(roi, fontsize=8)
    layout.share_limits(axes.ravel().tolist())
    for row in axes:
        row[0].tick_params(labelleft=True)
    axes[-1][0].set_xlabel(layout.time_label(data), fontsize=7)
    layout.depth_colourbar(part, axes.ravel().tolist())
