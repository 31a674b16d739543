"""Scalp topographies of scores at the peak of early, middle and late layers."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.maps import DatasetMaps, dataset_maps
from gradbrain.store.columns import SENSOR_COORDINATES

TITLE = "Scores over sensors at each layer's peak"
INPUTS = ("maps",)
MODALITIES = ("meg",)
SPACES = ()

COLUMNS = ["layer", "depth", "time", "sensor", "sensor_x", "sensor_y", "value", "onset_source"]
N_LAYERS = 3
#: Radius in m of the head that mne draws by default.
HEAD_RADIUS = 0.095


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Scores per sensor at the time after onset when a layer's mean over sensors is highest.

    The first, middle and last layer are taken.
    """
    found = []
    for store in inputs.map_stores():
        for maps in dataset_maps(store, inputs.study):
            if maps.modality == "meg":
                found += [_at_peaks(maps, quantity) for quantity in maps.quantities]
    data = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    require_rows(data, figure="sensor_topography", what="maps over sensors (MEG data sets)")
    keys = ["dataset", "modality", "model", "signal", "role", "variant"]
    return data.sort_values([*keys, "depth", "sensor"], ignore_index=True)


def _at_peaks(maps: DatasetMaps, quantity: layout.Quantity) -> pd.DataFrame:
    """Rows of one quantity at the peaks of some layers."""
    names = SENSOR_COORDINATES
    targets = pd.DataFrame({name: maps.coordinate(name) for name in names})
    values = maps.of(quantity)
    order = np.argsort(maps.depth)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, N_LAYERS).round().astype(int))]
    parts = []
    for place in chosen:
        part = targets.assign(value=values[place])
        mean = part[part["time"] > 0].groupby("time")["value"].mean()
        part = part[part["time"] == mean.idxmax()]
        layer = str(maps.score["layer"].values[place])
        parts.append(part.assign(layer=layer, depth=maps.depth[place]))
    return pd.concat(parts, ignore_index=True).assign(
        dataset=maps.dataset,
        modality=maps.modality,
        model=maps.model,
        signal=quantity.signal,
        role=quantity.role,
        variant=quantity.variant,
        onset_source=maps.onset_source,
    )


def plot_sensor_topography(data: pd.DataFrame, *, ax: Axes, low: float, high: float) -> Axes:
    """Draw the scores of all sensors at one time on a head seen from above.

    Parameters
    ----------
    data
        One row per sensor: ``sensor_x``, ``sensor_y`` (positions in a flat layout, any unit),
        ``value``.
    ax
        Where to draw.
    low, high
        Range of the colours.
    """
    from mne.viz import plot_topomap

    require_columns(data, COLUMNS, figure="sensor_topography")
    place = data[["sensor_x", "sensor_y"]].to_numpy(dtype=float)
    place = place - (place.min(axis=0) + place.max(axis=0)) / 2
    place *= HEAD_RADIUS / np.linalg.norm(place, axis=1).max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image, _ = plot_topomap(
            data["value"].to_numpy(dtype=float),
            place,
            axes=ax,
            show=False,
            sensors="k.",
            contours=0,
            cmap=style.score_colours(),
            vlim=(low, high),
            sphere=HEAD_RADIUS,
            extrapolate="head",
            res=96,
        )
    image.set_rasterized(True)
    for line in ax.lines:
        line.set_markersize(1.2)
        line.set_linewidth(min(line.get_linewidth(), 0.9))
        line.set_color(style.INK)
    return ax


def figure(data: pd.DataFrame) -> Figure:
    """Arrange a row per data set and model, columns of layers per quantity."""
    require_columns(data, COLUMNS, figure="sensor_topography")
    n_columns = len(layout.quantities(data))
    return layout.figure_of_blocks(
        layout.blocks(data), _draw_block, width=0.6 + 3.5 * n_columns, height=2.15
    )


def _draw_block(row: SubFigure, block: layout.Block) -> None:
    quantities = layout.quantities(block.data)
    highest = block.data.groupby("variant")["value"].max().clip(lower=layout.UNIQUE_RANGE[1])
    panels = row.subfigures(1, len(quantities), squeeze=False, wspace=0.03)[0]
    for panel, quantity in zip(panels, quantities, strict=True):
        part = layout.of_quantity(block.data, quantity)
        panel.suptitle(quantity.label, fontsize=8.5, fontweight="normal")
        layers = part.drop_duplicates("layer").sort_values("depth")
        axes = panel.subplots(1, len(layers), squeeze=False)[0]
        high = float(highest[quantity.variant])
        for ax, layer, time in zip(axes, layers["layer"], layers["time"], strict=True):
            plot_sensor_topography(part[part["layer"] == layer], ax=ax, low=0, high=high)
            text = f"{layer}\n{1000 * time:.0f} ms"
            ax.set_title(text, fontsize=7, loc="center", pad=2)
        bar = panel.colorbar(
            ScalarMappable(Normalize(0, high), style.score_colours()),
            ax=list(axes),
            aspect=14,
            shrink=0.75,
            pad=0.01,
            fraction=0.05,
            extend="min",
        )
        measure = "r" if quantity.variant == "raw" else "unique_r2"
        bar.set_label(style.MEASURE_LABELS[measure], fontsize=7)
        bar.ax.tick_params(labelsize=6)
        bar.outline.set_visible(False)
    if block.data["onset_source"].any():
        row.supxlabel(layout.time_label(block.data, of="times from image onset"), fontsize=7)
