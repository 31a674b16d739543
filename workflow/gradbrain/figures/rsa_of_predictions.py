"""Representational similarity of held-out predictions to the brain, layer by layer."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from gradbrain.figures import layout, rsa_summary, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import BY_DISSIMILARITY
from gradbrain.vocabulary.roles import TIME

TITLE = "Representational similarity of held-out predictions"
INPUTS = ("prediction_rsa",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "depth",
    "y": "value",
    "x_label": "relative depth of the layer",
    "y_label": "correlation of dissimilarities",
    "series": "signal",
    "panels": ("dataset", "model", "variant", "roi", "time"),
    "text": ("subject", "layer"),
}

#: Look of what people have in common.
CEILING: dict[str, Any] = {
    "facecolor": style.CEILING_BAND,
    "edgecolor": style.CEILING,
    "linewidth": 0.5,
}

COLUMNS = ["subject", "depth", "axis", "roi", "roi_rank", "time", "value", "null_high"]
COLUMNS += ["onset_source", "variant", "ceiling_low", "ceiling_high"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """RDM correlation per subject, layer and unit: signals alone, and beside all activations."""
    table = inputs.table("prediction_rsa")
    variant_of = {measure.name: name for name, measure in BY_DISSIMILARITY.judged.items()}
    shown = table["role"].isin(layout.SHOWN) & table["measure"].isin(variant_of)
    rows = table[shown & table["value"].notna()]
    require_rows(rows, figure="rsa_of_predictions", what="dissimilarities of held-out predictions")
    rows = rows.assign(variant=rows["measure"].map(variant_of))
    order = [*layout.KEYS, "layer_index", "roi_rank", "time", "subject"]
    said = [name for name in COLUMNS if name not in layout.KEYS]
    columns = [*layout.KEYS, "layer", "layer_index", *said]
    return rows[columns].sort_values(order, ignore_index=True)


def plot_prediction_rsa(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw the mean correlation over subjects, one line per layer, over regions or over time.

    Parameters
    ----------
    data
        One signal and variant of one data set and model: ``subject``, ``depth``, ``axis``,
        ``roi``, ``roi_rank``, ``time`` (s), ``value``, ``null_high``, ``ceiling_low``,
        ``ceiling_high``, ``variant``, ``onset_source``.
    ax
        Where to draw.
    """
    require_columns(data, COLUMNS, figure="rsa_of_predictions")
    raw = data["variant"].iloc[0] == "raw"
    # Permuted images are no chance level of a partial correlation (docs/calibration.md).
    null = data["null_high"] if raw else np.nan
    rsa_summary.plot_rsa(data.rename(columns={"value": "rho"}).assign(null_high=null), ax=ax)
    over_time = data["axis"].iloc[0] == TIME
    unit = "time" if over_time else "roi_rank"
    ceiling = data.groupby(unit)[["ceiling_low", "ceiling_high"]].mean()
    # What dissimilarities have in common bounds no partial correlation.
    if raw and ceiling.notna().all().all():
        place = 1000 * ceiling.index.to_numpy() if over_time else np.arange(len(ceiling))
        ax.fill_between(
            place,
            ceiling["ceiling_low"],
            ceiling["ceiling_high"],
            **CEILING,
            zorder=0,
        )
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per data set and model, a column per signal and variant."""
    require_columns(data, COLUMNS, figure="rsa_of_predictions")
    return rsa_summary.arranged(data, names, _draw_block)


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    axes = layout.panels(row, len(quantities), per_line=rsa_summary.PER_LINE)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        plot_prediction_rsa(layout.of_quantity(block.data, quantity), ax=ax)
        layout.set_title(ax, quantity.title(names, rsa_summary.PANEL))
    for variant, measure in BY_DISSIMILARITY.judged.items():
        own = [ax for ax, one in zip(axes, quantities, strict=True) if one.variant == variant]
        if own:
            layout.share_limits(own)
            for ax in own:
                first = ax is own[0] or layout.starts_line(ax)
                ax.set_ylabel(textwrap.fill(f"{measure.label} (r)", 20) if first else "")
    layout.depth_colourbar(row, axes)
    handles: list[Artist] = [layout.chance_handle()]
    if block.data[["ceiling_low", "ceiling_high"]].notna().all(axis=1).any():
        handles.append(Patch(**CEILING, label="noise ceiling, lower to upper edge"))
    layout.legend_below(row, handles, layout.width_of(row))
