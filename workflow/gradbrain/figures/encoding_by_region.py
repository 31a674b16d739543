"""Where in cortex each layer predicts responses: activation, learning signal, unique part."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import student_interval
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import JUDGED
from gradbrain.vocabulary.roles import ROI

TITLE = "Encoding score by region and layer"
INPUTS = ("scores",)
AXES = ("roi",)
SPACES = ()
POINTS = {
    "x": "depth",
    "y": "value",
    "x_label": "relative depth of the layer",
    "y_label": "score (r; unique: share of variance)",
    "series": "signal",
    "panels": ("dataset", "model", "variant", "roi"),
    "text": ("subject", "layer"),
}

#: Width of a panel in inches, without the gap to the next.
PANEL = 1.7
PER_LINE = 3
#: Height of a line of panels, and of the legend below.
HEIGHT, LEGEND = 3.3, 0.45

#: Upper end of colours where no mean is above zero.
SMALLEST = 1e-6

COLUMNS = ["subject", "layer", "depth", "roi", "roi_rank", "value", "ceiling"]
COLUMNS += ["ci_low", "ci_high", "null_high"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Scores per subject, layer and region: r of each signal and its unique variance.

    ``ci_low`` and ``ci_high`` are Student's interval of the mean over subjects of a region's
    score, averaged over layers; NaN where the study has too few subjects.
    """
    scores = layout.with_ceiling(layout.with_variant(inputs.table("scores")))
    rows = scores[(scores["axis"] == ROI) & scores["role"].isin(layout.SHOWN)]
    require_rows(rows, figure="encoding_by_region", what="scores by region")
    keys = layout.KEYS
    order = [*keys, "layer_index", "roi_rank", "subject"]
    columns = [*keys, *COLUMNS, "layer_index", "distance_mm"]
    per_subject = rows.groupby([*keys, "roi_rank", "subject"], as_index=False)["value"].mean()
    bounds = [
        (*name, *student_interval(region["value"].to_numpy(), inputs.settings))
        for name, region in per_subject.groupby([*keys, "roi_rank"])
    ]
    intervals = pd.DataFrame(bounds, columns=[*keys, "roi_rank", "ci_low", "ci_high"])
    rows = rows.merge(intervals, on=[*keys, "roi_rank"], how="left", validate="many_to_one")
    return rows[columns].sort_values(order, ignore_index=True)


def plot_region_profile(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw the score per region, averaged over layers: subjects as dots, mean as a line.

    Behind them, where it is known, the ceiling between subjects.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``subject``, ``layer``, ``roi``, ``roi_rank``,
        ``value`` with the interval of its mean, ``ceiling``.
    ax
        Where to draw.
    names
        Colours of signals.
    """
    require_columns(data, COLUMNS, figure="encoding_by_region")
    per_subject = data.pivot_table(index="subject", columns="roi_rank", values="value")
    ranks = np.asarray(per_subject.columns, dtype=float)
    colour = names.colour("signal", data["signal"].iloc[0])
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    layout.draw_ceiling(data, "roi_rank", ax=ax)
    shifts = layout.spread(len(per_subject), 0.3)
    layout.draw_subjects(ranks + shifts[:, None], per_subject, ax=ax, colour=colour)
    means = layout.means_by(data, "roi_rank", "value")
    layout.draw_means(ranks, means, ax=ax, colour=colour, markersize=3, linewidth=1.4)
    ax.set_xticks(ranks)
    ax.set_xlim(ranks.min() - 0.5, ranks.max() + 0.5)
    return ax


def plot_encoding_by_region(
    data: pd.DataFrame, *, ax: Axes, limits: tuple[float, float] | None = None
) -> Axes:
    """Draw the mean score over subjects as a map of layer by region.

    Parameters
    ----------
    data
        As for :func:`plot_region_profile`, with ``depth`` and ``null_high`` (95th percentile of the
        permuted score of a subject; NaN where it is not known).
    ax
        Where to draw.
    limits
        Range of the colours; that of the means by default. Zero is white, negative means purple.

    Returns
    -------
    Axes
        A white dot marks the best layer of each region where its score is above zero and above
        that of permuted images.
    """
    require_columns(data, COLUMNS, figure="encoding_by_region")
    mean, null = (
        data.pivot_table(
            index="depth", columns="roi_rank", values=name, aggfunc="mean", dropna=False
        )
        for name in ("value", "null_high")
    )
    values = mean.to_numpy()
    low, high = limits or style.score_range(values, at_least=SMALLEST)
    ax.imshow(values, origin="lower", cmap=style.score_colours(low, high), vmin=low, vmax=high)
    best = values.argmax(axis=0)
    chance = np.nan_to_num(null.to_numpy()).max(axis=0, initial=0.0)
    shown = values.max(axis=0) > chance
    ax.scatter(
        np.flatnonzero(shown),
        best[shown],
        s=16,
        color="white",
        edgecolors="#222222",
        linewidths=0.7,
    )
    regions = data.drop_duplicates("roi_rank").set_index("roi_rank")["roi"]
    labels = [regions[rank] for rank in mean.columns]
    layout.label_regions(ax, range(len(labels)), labels)
    step = int(np.ceil(len(mean) / 8))
    ticks = range(0, len(mean), step)
    ax.set_yticks(ticks, labels=[f"{mean.index[i]:.2f}" for i in ticks])
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0)
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set and model, a panel per quantity."""
    require_columns(data, COLUMNS, figure="encoding_by_region")
    most = max(len(layout.quantities(block.data, names)) for block in layout.blocks(data, names))
    return layout.figure_of_blocks(
        layout.blocks(data, names),
        _draw_block,
        names,
        lines=lambda block: layout.n_lines(len(layout.quantities(block.data, names)), PER_LINE),
        width=max(4.4, 1.4 + (PANEL + 0.2) * min(most, PER_LINE)),
        height=HEIGHT,
        more=LEGEND,
    )


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    axes = layout.panels(row, len(quantities), per_line=PER_LINE, n_rows=2, height_ratios=(1, 1.5))
    # Regions are drawn at consecutive places even where ranks have gaps.
    ranks = {rank: place for place, rank in enumerate(sorted(set(block.data["roi_rank"])))}
    placed = block.data.assign(roi_rank=block.data["roi_rank"].map(ranks))
    for variant, measure in JUDGED.items():
        columns = [i for i, quantity in enumerate(quantities) if quantity.variant == variant]
        if not columns:
            continue
        rows = placed[placed["variant"] == variant]
        smallest = layout.UNIQUE_RANGE if variant == "unique" else (0.0, SMALLEST)
        means = rows.groupby(["signal", "depth", "roi_rank"])["value"].mean()
        limits = style.score_range(means.to_numpy(), at_least=smallest[1])
        for i in columns:
            part = layout.of_quantity(placed, quantities[i])
            plot_region_profile(part, ax=axes[0, i], names=names)
            plot_encoding_by_region(part, ax=axes[1, i], limits=limits)
            layout.set_title(axes[0, i], quantities[i].title(names, PANEL))
            axes[0, i].tick_params(labelbottom=False)
            axes[1, i].tick_params(labelleft=layout.starts_line(axes[1, i]))
            if i == columns[0] or layout.starts_line(axes[0, i]):
                axes[0, i].set_ylabel(measure.label)
            if layout.starts_line(axes[1, i]):
                axes[1, i].set_ylabel("layer\n(relative depth)")
        layout.share_limits(list(axes[0, columns]), at_least=smallest)
        last = axes[1, columns[-1]]
        bar = row.colorbar(last.images[0], ax=last, aspect=16, pad=0.03, fraction=0.09)
        layout.fill_bar(bar)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6.5)
        bar.set_label(measure.label, fontsize=7)
    handles = [
        layout.subject_handle(),
        layout.mean_handle(has_interval=bool(block.data["ci_low"].notna().any())),
        *[line for line in axes[0, 0].lines if line.get_label() == layout.CEILING_LABEL],
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markerfacecolor="white",
            markeredgecolor="#222222",
            label="best layer, where above permuted images (maps)",
        ),
    ]
    layout.legend_below(row, handles, layout.width_of(row))
