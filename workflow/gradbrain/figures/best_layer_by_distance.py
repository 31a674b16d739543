"""Best layer of each region against its distance from V1: the spatial hierarchy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import with_bootstrap_interval
from gradbrain.figures.names import Names
from gradbrain.vocabulary.roles import ACTIVATION

SPATIAL_R, SPATIAL_RANK_R, DIFFERENCE = "spatial_r", "spatial_rank_r", "spatial_difference"
#: Values that a spatial score can take, and what it is called.
RANGES = {SPATIAL_R: (-1.0, 1.0), SPATIAL_RANK_R: (-1.0, 1.0), DIFFERENCE: (-np.inf, np.inf)}
SYMBOLS = {SPATIAL_R: "r", SPATIAL_RANK_R: "r of ranks", DIFFERENCE: "Δ depth"}
REFERENCE = (0, (3, 2))

TITLE = "Best layer by distance from V1"
INPUTS = ("hierarchy", "hierarchy_draws")
AXES = ("roi",)
SPACES = ()
POINTS = {
    "x": "roi",
    "y": "best_layer_depth",
    "y_label": "relative depth of the best layer",
    "low": "ci_low",
    "high": "ci_high",
    "series": "signal",
    "panels": ("dataset", "model", "variant"),
    "text": ("subject", "distance_mm", "score"),
}

#: Width of a panel in inches, without the gap to the next.
PANEL = 1.9
PER_LINE = 3
#: Letters of a spatial score that fit above a panel.
SCORE_LETTERS = 33

COLUMNS = ["subject", "roi", "roi_rank", "distance_mm", "best_layer_depth", "ci_low", "ci_high"]
SCORE = ["score", "score_statistic", "score_low", "score_high"]
COLUMNS += SCORE


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Best layer per subject and region, with the subject's spatial score.

    The definition of best layer is the primary one of the study (``statistics.best_layer``).
    ``score`` is the Pearson correlation of distance, in mm or by rank (``statistics.distance``),
    and best layer over regions or, where there are no distances or too few regions, the difference
    in depth of higher minus early regions.
    ``ci_low`` and ``ci_high`` are the interval of the mean over subjects in a region,
    ``score_low`` and ``score_high`` that of the score, the one that its claim has; NaN where the
    study has too few subjects.
    """
    statistics = inputs.statistics()
    table, boot, keys = statistics.table, statistics.boot, layout.KEYS
    primary = table["best_layer"] == inputs.settings.best_layer
    shown = primary & table["role"].isin(layout.SHOWN)
    depths = table[shown & (table["statistic"] == "best_layer_depth")]
    require_rows(depths, figure="best_layer_by_distance", what="best layers of regions")
    depths = with_bootstrap_interval(
        depths, boot, [*keys, "roi"], inputs.settings, within=(0.0, 1.0)
    ).rename(columns={"value": "best_layer_depth"})
    correlation = SPATIAL_RANK_R if inputs.settings.distance == "rank" else SPATIAL_R
    spatial = table[shown & table["statistic"].isin([correlation, DIFFERENCE])]
    # A subject with both was scored over regions: the correlation is the statistic then.
    spatial = spatial.sort_values("statistic", ascending=False)
    spatial = spatial.drop_duplicates([*keys, "subject"])
    spatial = _with_score_interval(spatial, boot, inputs.settings)
    # The table lists the regions of a data set from low to high.
    order = depths.drop_duplicates(["dataset", "roi"])[["dataset", "roi"]]
    order = order.assign(roi_rank=order.groupby("dataset").cumcount())
    data = depths[[*keys, "subject", "roi", "distance_mm", "best_layer_depth", "ci_low", "ci_high"]]
    data = data.merge(order, on=["dataset", "roi"], how="left", validate="many_to_one")
    data = data.merge(
        spatial[[*keys, "subject", *SCORE]],
        on=[*keys, "subject"],
        how="left",
        validate="many_to_one",
    )
    return data.sort_values([*keys, "subject", "roi_rank"], ignore_index=True)


def _with_score_interval(
    spatial: pd.DataFrame, boot: NDArray[np.float64], settings: StatisticsSettings
) -> pd.DataFrame:
    """Spatial scores of subjects with the interval of their mean."""
    parts = [
        with_bootstrap_interval(part, boot, layout.KEYS, settings, within=RANGES[str(statistic)])
        for statistic, part in spatial.groupby("statistic")
    ]
    joined = pd.concat(parts) if parts else spatial.assign(ci_low=np.nan, ci_high=np.nan)
    names = {"value": "score", "statistic": "score_statistic"}
    return joined.rename(columns=names | {"ci_low": "score_low", "ci_high": "score_high"})


def plot_best_layer_by_distance(
    data: pd.DataFrame, *, ax: Axes, names: Names, reference: pd.DataFrame | None = None
) -> Axes:
    """Draw the best layer of each region: subjects as dots, their mean as a line, the score above.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``subject``, ``roi``, ``roi_rank``,
        ``distance_mm``, ``best_layer_depth`` in [0, 1] with the interval of its mean, ``score``
        with that of its own. Without distances the regions stand side by side in their order.
    ax
        Where to draw.
    names
        Colours of signals.
    reference
        The activation's rows, whose mean is drawn in grey for comparison.
    """
    require_columns(data, COLUMNS, figure="best_layer_by_distance")
    colour = names.colour("signal", data["signal"].iloc[0])
    by_distance = _has_distances(data)
    if reference is not None and not reference.empty:
        place, means = _placed_means(reference, by_distance)
        ax.plot(place, means["mean"], color=style.MUTED, linestyle=REFERENCE, zorder=1)
    place, means = _placed_means(data, by_distance)
    depths = data.pivot(index="subject", columns="roi_rank", values="best_layer_depth")
    # Regions above chance have a best layer, and subjects who have one anywhere are drawn.
    depths = depths.reindex(columns=means.index).dropna(how="all")
    if depths.empty:
        layout.say_empty(ax, "no region is predicted above chance")
    width = place.max() - place.min() or 1.0
    # Side by side, so that subjects with the same best layer are told apart.
    shifts = layout.spread(len(depths), 0.02 * width)[: len(depths)]
    of_subjects = place + shifts[:, None]
    ax.plot(of_subjects.T, depths.to_numpy().T, color=colour, alpha=0.25, linewidth=0.7, zorder=2)
    layout.draw_subjects(of_subjects, depths, ax=ax, colour=colour)
    layout.draw_means(place, means, ax=ax, colour=colour)
    ax.set_ylim(-0.04, 1.04)
    ax.set_yticks(np.linspace(0, 1, 6))
    regions = data.drop_duplicates("roi").set_index("roi_rank")["roi"]
    margin = 0.06 * width if by_distance else 0.4
    ax.set_xlim(place.min() - margin, place.max() + margin)
    if by_distance:
        ax.set_xlabel("distance from V1 (mm)")
    else:
        layout.label_regions(ax, place, [regions[rank] for rank in means.index])
    # A difference takes more words than r, and two lines.
    said = score_text(data)
    said = said.replace(", n =", "\nn =") if len(said) > SCORE_LETTERS else said
    ax.text(0, 1.02, said, transform=ax.transAxes, va="bottom", fontsize=7)
    return ax


def _has_distances(data: pd.DataFrame) -> bool:
    distances = data["distance_mm"].to_numpy(dtype=float)
    return bool(np.isfinite(distances).all() and np.ptp(distances) > 0)


def _placed_means(data: pd.DataFrame, by_distance: bool) -> tuple[np.ndarray, pd.DataFrame]:
    """Places of regions along x, and their means and intervals in the same order."""
    means = layout.means_by(data, "roi_rank", "best_layer_depth")
    if not by_distance:
        return np.arange(len(means), dtype=float), means
    distance = data.groupby("roi_rank")["distance_mm"].mean().reindex(means.index)
    order = np.argsort(distance.to_numpy(), kind="stable")
    return distance.to_numpy()[order], means.iloc[order]


def score_text(data: pd.DataFrame) -> str:
    """Spatial score: mean over subjects, its interval where there is one, number of subjects."""
    subjects = data.drop_duplicates("subject")
    subjects = subjects[np.isfinite(subjects["score"].to_numpy(dtype=float))]
    if subjects.empty:
        return "spatial score undefined"
    first = subjects.iloc[0]
    symbol = SYMBOLS[first["score_statistic"]]
    text = f"{symbol} = {style.signed(subjects['score'].mean())}"
    if np.isfinite(first["score_low"]):
        text += f" [{style.signed(first['score_low'])}, {style.signed(first['score_high'])}]"
    return f"{text}, n = {len(subjects)}"


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per data set and model, a column per quantity."""
    require_columns(data, COLUMNS, figure="best_layer_by_distance")
    items = layout.blocks(data, names)
    most = max(len(layout.quantities(block.data, names)) for block in items)
    return layout.figure_of_blocks(
        items,
        _draw_block,
        names,
        lines=lambda block: layout.n_lines(len(layout.quantities(block.data, names)), PER_LINE),
        width=max(4.4, 0.8 + (PANEL + 0.1) * min(most, PER_LINE)),
        height=2.6,
        more=0.3,
    )


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    axes = layout.panels(row, len(quantities), per_line=PER_LINE, sharey=True)[0]
    activation = block.data[block.data["role"] == ACTIVATION]
    handles = [
        layout.subject_handle(),
        layout.mean_handle(has_interval=bool(block.data["ci_low"].notna().any())),
    ]
    for ax, quantity in zip(axes, quantities, strict=True):
        reference = None if quantity.role == ACTIVATION else activation
        part = layout.of_quantity(block.data, quantity)
        plot_best_layer_by_distance(part, ax=ax, names=names, reference=reference)
        n_lines = 1 + ax.texts[-1].get_text().count("\n")
        layout.set_title(ax, quantity.title(names, PANEL), pad=6 + 9 * n_lines)
        if layout.starts_line(ax):
            ax.set_ylabel("best layer (relative depth)")
    if len(activation) and len(quantities) > 1:
        handles.append(
            Line2D([], [], color=style.MUTED, linestyle=REFERENCE, label="mean of the activation")
        )
    layout.legend_below(row, handles, layout.width_of(row))
