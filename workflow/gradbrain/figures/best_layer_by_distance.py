"""Best layer of each region against its distance from V1: the spatial hierarchy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows

TITLE = "Best layer by distance from V1"
INPUTS = ("hierarchy",)
MODALITIES = ("fmri",)
SPACES = ()

COLUMNS = ["subject", "roi", "roi_rank", "distance_mm", "best_layer_depth", "score"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Best layer per subject and region, with the subject's spatial score.

    The definition of best layer is the primary one of the study (``statistics.best_layer``).
    ``score`` is the Pearson correlation of distance and best layer over regions or, where there
    are no distances or too few regions, the difference in depth of higher minus early regions.
    """
    table = inputs.table("hierarchy")
    keys = ["dataset", "modality", "model", "signal", "role", "variant"]
    primary = table["best_layer"] == inputs.settings.best_layer
    shown = primary & table["role"].isin(["activation", "learning"])
    depths = table[shown & (table["statistic"] == "best_layer_depth")]
    require_rows(depths, figure="best_layer_by_distance", what="best layers of regions (fMRI)")
    depths = depths.rename(columns={"value": "best_layer_depth"})
    spatial = table[shown & table["statistic"].isin(["spatial_r", "spatial_difference"])]
    # A subject with both was scored over regions: the correlation is the statistic then.
    spatial = spatial.sort_values("statistic", ascending=False)
    spatial = spatial.drop_duplicates([*keys, "subject"])
    spatial = spatial.rename(columns={"value": "score", "statistic": "score_statistic"})
    # The table lists the regions of a data set from low to high.
    order = depths.drop_duplicates(["dataset", "roi"])[["dataset", "roi"]]
    order = order.assign(roi_rank=order.groupby("dataset").cumcount())
    data = depths[[*keys, "subject", "roi", "distance_mm", "best_layer_depth"]]
    data = data.merge(order, on=["dataset", "roi"], how="left", validate="many_to_one")
    data = data.merge(
        spatial[[*keys, "subject", "score", "score_statistic"]],
        on=[*keys, "subject"],
        how="left",
        validate="many_to_one",
    )
    return data.sort_values([*keys, "subject", "roi_rank"], ignore_index=True)


def plot_best_layer_by_distance(
    data: pd.DataFrame, *, ax: Axes, reference: pd.DataFrame | None = None
) -> Axes:
    """Draw the best layer of each region: subjects as thin lines, their mean as a thick one.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``subject``, ``roi``, ``roi_rank``,
        ``distance_mm``, ``best_layer_depth`` in [0, 1], ``score``. Without distances the
        regions stand side by side in their order.
    ax
        Where to draw.
    reference
        The activation's rows, whose mean is drawn in grey for comparison.
    """
    require_columns(data, COLUMNS, figure="best_layer_by_distance")
    colour = style.signal_colour(data["signal"].iloc[0], data["role"].iloc[0])
    by_distance = _has_distances(data)
    if reference is not None and not reference.empty:
        place, depths = _places(reference, by_distance)
        ax.plot(
            place,
            depths.mean(),
            color=style.MUTED,
            linestyle=(0, (3, 2)),
            zorder=1,
            label="activation",
        )
        ax.legend(loc="upper left", borderaxespad=0.2)
    place, depths = _places(data, by_distance)
    shift = np.linspace(-0.01, 0.01, max(len(depths), 2))[: len(depths)]
    for (_, line), offset in zip(depths.iterrows(), shift, strict=True):
        # A small offset keeps subjects with the same best layer apart.
        ax.plot(place, line + offset, color=colour, alpha=0.25, linewidth=0.8, zorder=2)
    mean, half_width = layout.mean_interval(depths.to_numpy())
    ax.errorbar(place, mean, yerr=half_width, color=colour, marker="o", linewidth=1.6, zorder=3)
    ax.set_ylim(-0.04, 1.12)
    ax.set_yticks(np.linspace(0, 1, 6))
    names = data.drop_duplicates("roi").set_index("roi_rank")["roi"]
    if by_distance:
        ax.set_xlabel("distance from V1 (mm)")
        margin = 0.06 * (place.max() - place.min() or 1)
        ax.set_xlim(place.min() - margin, place.max() + margin)
    else:
        ax.set_xticks(place, labels=[names[rank] for rank in depths.columns])
        ax.set_xlim(place.min() - 0.4, place.max() + 0.4)
    _write_score(data, ax=ax)
    return ax


def _has_distances(data: pd.DataFrame) -> bool:
    distances = data["distance_mm"].to_numpy(dtype=float)
    return bool(np.isfinite(distances).all() and np.ptp(distances) > 0)


def _places(data: pd.DataFrame, by_distance: bool) -> tuple[np.ndarray, pd.DataFrame]:
    """Places of regions along x, and depths as subjects by regions."""
    depths = data.pivot_table(index="subject", columns="roi_rank", values="best_layer_depth")
    if not by_distance:
        return np.arange(len(depths.columns), dtype=float), depths
    distance = data.groupby("roi_rank")["distance_mm"].mean().reindex(depths.columns)
    order = np.argsort(distance.to_numpy(), kind="stable")
    return distance.to_numpy()[order], depths.iloc[:, order]


def _write_score(data: pd.DataFrame, *, ax: Axes) -> None:
    scores = data.drop_duplicates("subject")["score"].to_numpy(dtype=float)
    scores = scores[np.isfinite(scores)]
    if scores.size == 0:
        text = "spatial score undefined"
    else:
        mean, half_width = layout.mean_interval(scores[:, None])
        is_difference = (data["score_statistic"] == "spatial_difference").any()
        symbol = "Δ depth" if is_difference else "r"
        text = f"{symbol} = {style.signed(mean[0])}"
        if np.isfinite(half_width[0]):
            text += f" ± {half_width[0]:.2f}"
        text += f"  (n = {scores.size})"
    ax.text(
        0.98,
        0.03,
        text,
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        fontsize=7,
        color=style.INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        zorder=5,
    )


def figure(data: pd.DataFrame) -> Figure:
    """Arrange a row per data set and model, a column per quantity."""
    require_columns(data, COLUMNS, figure="best_layer_by_distance")
    n_columns = len(layout.quantities(data))
    return layout.figure_of_blocks(
        layout.blocks(data), _draw_block, width=0.8 + 2.3 * n_columns, height=2.5
    )


def _draw_block(row: SubFigure, block: layout.Block) -> None:
    quantities = layout.quantities(block.data)
    axes = row.subplots(1, len(quantities), squeeze=False, sharey=True)[0]
    activation = block.data[block.data["role"] == "activation"]
    for ax, quantity in zip(axes, quantities, strict=True):
        reference = None if quantity.role == "activation" else activation
        part = layout.of_quantity(block.data, quantity)
        plot_best_layer_by_distance(part, ax=ax, reference=reference)
        ax.set_title(quantity.label)
    axes[0].set_ylabel("best layer (relative depth)")
