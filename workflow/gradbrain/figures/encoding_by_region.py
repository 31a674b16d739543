"""Where in cortex each layer predicts responses: activation, learning signal, unique part."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows

TITLE = "Encoding score by region and layer"
INPUTS = ("scores",)
MODALITIES = ("fmri",)
SPACES = ()

COLUMNS = ["subject", "layer", "depth", "roi", "roi_rank", "value", "ceiling"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Scores per subject, layer and region: r of each signal and its unique R²."""
    scores = layout.with_ceiling(layout.with_variant(inputs.table("scores")))
    rows = scores[(scores["unit_kind"] == "roi") & scores["role"].isin(["activation", "learning"])]
    require_rows(rows, figure="encoding_by_region", what="scores by region (fMRI data sets)")
    keys = ["dataset", "modality", "model", "signal", "role", "variant"]
    order = [*keys, "layer_index", "roi_rank", "subject"]
    columns = [*keys, *COLUMNS, "layer_index", "distance_mm", "null_high"]
    return rows[columns].sort_values(order, ignore_index=True)


def plot_region_profile(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw the score per region, averaged over layers: subjects as dots, mean and interval.

    Behind them, where it is known, the ceiling between subjects.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``subject``, ``layer``, ``roi``, ``roi_rank``,
        ``value``, ``ceiling``.
    ax
        Where to draw.
    """
    require_columns(data, COLUMNS, figure="encoding_by_region")
    per_subject = data.pivot_table(index="subject", columns="roi_rank", values="value")
    ranks = np.asarray(per_subject.columns, dtype=float)
    mean, half_width = layout.mean_interval(per_subject.to_numpy())
    colour = style.signal_colour(data["signal"].iloc[0], data["role"].iloc[0])
    n_subjects = len(per_subject)
    shift = np.linspace(-0.16, 0.16, n_subjects) if n_subjects > 1 else np.zeros(1)
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    layout.draw_ceiling(data, "roi_rank", ax=ax)
    ax.scatter(
        (ranks[None, :] + shift[:, None]).ravel(),
        per_subject.to_numpy().ravel(),
        s=5,
        color=colour,
        alpha=0.35,
        linewidths=0,
        zorder=1,
    )
    ax.errorbar(
        ranks, mean, yerr=half_width, color=colour, marker="o", markersize=3.5, linewidth=1.4
    )
    ax.set_xlim(ranks.min() - 0.5, ranks.max() + 0.5)
    return ax


def plot_encoding_by_region(
    data: pd.DataFrame, *, ax: Axes, low: float = 0.0, high: float | None = None
) -> Axes:
    """Draw the mean score over subjects as a map of layer by region.

    Parameters
    ----------
    data
        As for :func:`plot_region_profile`, with ``depth``.
    ax
        Where to draw.
    low, high
        Range of the colours; `high` defaults to the largest mean.

    Returns
    -------
    Axes
        A white dot marks the best layer of each region where its score is above zero.
    """
    require_columns(data, COLUMNS, figure="encoding_by_region")
    mean = data.pivot_table(index="depth", columns="roi_rank", values="value", aggfunc="mean")
    values = mean.to_numpy()
    ax.imshow(
        values,
        origin="lower",
        cmap=style.score_colours(),
        vmin=low,
        vmax=values.max() if high is None else high,
    )
    best = values.argmax(axis=0)
    shown = values.max(axis=0) > 0
    ax.scatter(
        np.flatnonzero(shown),
        best[shown],
        s=16,
        color="white",
        edgecolors="#222222",
        linewidths=0.7,
    )
    names = data.drop_duplicates("roi_rank").set_index("roi_rank")["roi"]
    labels = [names[rank] for rank in mean.columns]
    long = max(map(len, labels)) > 3
    ax.set_xticks(
        range(len(labels)),
        labels=labels,
        rotation=45 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor" if long else "default",
    )
    step = int(np.ceil(len(mean) / 8))
    ticks = range(0, len(mean), step)
    ax.set_yticks(ticks, labels=[f"{mean.index[i]:.2f}" for i in ticks])
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0)
    return ax


def figure(data: pd.DataFrame) -> Figure:
    """Arrange a row per data set and model, a column per quantity."""
    require_columns(data, COLUMNS, figure="encoding_by_region")
    n_columns = len(layout.quantities(data))
    return layout.figure_of_blocks(
        layout.blocks(data), _draw_block, width=1.4 + 2.1 * n_columns, height=3.3
    )


def _draw_block(row: SubFigure, block: layout.Block) -> None:
    quantities = layout.quantities(block.data)
    axes = row.subplots(2, len(quantities), squeeze=False, sharex="col", height_ratios=(1, 1.5))
    # Regions are drawn at consecutive places even where ranks have gaps.
    ranks = {rank: place for place, rank in enumerate(sorted(set(block.data["roi_rank"])))}
    placed = block.data.assign(roi_rank=block.data["roi_rank"].map(ranks))
    for variant, measure in (("raw", "r"), ("unique", "unique_r2")):
        columns = [i for i, quantity in enumerate(quantities) if quantity.variant == variant]
        if not columns:
            continue
        rows = placed[placed["variant"] == variant]
        smallest = layout.UNIQUE_RANGE if variant == "unique" else (0.0, 1e-6)
        high = max(rows.groupby(["signal", "depth", "roi_rank"])["value"].mean().max(), smallest[1])
        for i in columns:
            part = layout.of_quantity(placed, quantities[i])
            plot_region_profile(part, ax=axes[0, i])
            plot_encoding_by_region(part, ax=axes[1, i], high=high)
            axes[0, i].set_title(quantities[i].label)
            axes[0, i].tick_params(labelbottom=False)
            if i > 0:
                axes[1, i].tick_params(labelleft=False)
        layout.share_limits(list(axes[0, columns]), at_least=smallest)
        axes[0, columns[0]].set_ylabel(style.MEASURE_LABELS[measure])
        bar = row.colorbar(
            axes[1, columns[-1]].images[0],
            ax=axes[1, columns[-1]],
            aspect=16,
            pad=0.03,
            fraction=0.09,
            extend="min",
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6.5)
        bar.set_label(style.MEASURE_LABELS[measure], fontsize=7)
    axes[1, 0].set_ylabel("layer (relative depth)")
