"""Scalp topographies of scores at the peak of early, middle and late layers."""

from __future__ import annotations

import textwrap
import warnings

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.maps import DatasetMaps, SignalMap, dataset_maps
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import MAPPED

TITLE = "Scores over sensors at each layer's peak"
INPUTS = ("maps",)
AXES = ("time",)
SPACES = ("sensors",)
POINTS = {
    "x": "sensor_x",
    "y": "sensor_y",
    "x_label": "left to right",
    "y_label": "back to front",
    "colour": "value",
    "panels": ("dataset", "model", "signal", "variant", "layer", "time"),
    "text": ("sensor",),
}

COLUMNS = ["layer", "depth", "time", "sensor", "sensor_x", "sensor_y", "value", "onset_source"]
COLUMNS += ["n_subjects"]
#: Width of a panel in inches, without the gap to the next.
PANEL = 3.1
PER_LINE = 2
#: Pearson r is drawn on at least this range.
SMALLEST_R = 0.02
N_LAYERS = 3
#: Letters of a line of the name of a layer.
LAYER_LETTERS = 16
#: Radius in m of the head that mne draws by default.
HEAD_RADIUS = 0.095


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Scores per sensor at the time after onset when a layer's mean over sensors is highest.

    The first, middle and last layer are taken. Left out are data sets whose sensors have no place
    in a flat layout, or not the same one in all subjects.
    """
    found = []
    for tree in inputs.map_stores():
        for maps in dataset_maps(tree, inputs.study):
            if maps.space in SPACES and _has_layout(maps):
                found += [_at_peaks(maps, signal) for signal in maps.signals()]
    data = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    require_rows(data, figure="sensor_topography", what="maps over sensors with flat positions")
    data = data[[*layout.KEYS, *COLUMNS]]
    return data.sort_values([*layout.KEYS, "depth", "sensor"], ignore_index=True)


def _has_layout(maps: DatasetMaps) -> bool:
    """Whether sensors have a place in a flat layout, and all subjects the same sensors."""
    coords = maps.maps.coords
    # Sensors that belong to one subject each are no places of a shared head.
    if not {"sensor_x", "sensor_y"} <= set(coords) or "subject" in coords:
        return False
    return bool((np.isfinite(coords["sensor_x"]) & np.isfinite(coords["sensor_y"])).any())


def _at_peaks(maps: DatasetMaps, signal: SignalMap) -> pd.DataFrame:
    """Rows of one signal at the peaks of some layers."""
    names = ("sensor", "sensor_x", "sensor_y")
    sensors = pd.DataFrame({name: maps.coordinate(name) for name in names})
    values = signal.score.transpose("layer", "time", "sensor").values
    times = maps.coordinate("time")
    later = np.flatnonzero(times > 0)
    order = np.argsort(maps.depth)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, N_LAYERS).round().astype(int))]
    parts = []
    for place in chosen:
        means = pd.DataFrame(values[place]).mean(axis=1).to_numpy()
        peak = later[np.nanargmax(means[later])]
        part = sensors.assign(time=times[peak], value=values[place][peak])
        parts.append(part.assign(layer=maps.layers[place], depth=maps.depth[place]))
    rows = pd.concat(parts, ignore_index=True)
    known = np.isfinite(rows[["value", "sensor_x", "sensor_y"]]).all(axis=1)
    return rows[known].assign(
        **signal.identity,
        onset_source=str(maps.attrs.get("onset_source", "")),
        n_subjects=maps.n_subjects,
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
        Range of the colours; zero is white, negative scores are purple.
    """
    from mne.viz import plot_topomap

    require_columns(data, COLUMNS, figure="sensor_topography")
    place = data[["sensor_x", "sensor_y"]].to_numpy(dtype=float)
    place = place - (place.min(axis=0) + place.max(axis=0)) / 2
    place *= HEAD_RADIUS / np.linalg.norm(place, axis=1).max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plot_topomap(
            data["value"].to_numpy(dtype=float),
            place,
            axes=ax,
            show=False,
            sensors="k.",
            contours=0,
            cmap=style.score_colours(low, high),
            vlim=(low, high),
            sphere=HEAD_RADIUS,
            extrapolate="head",
            res=96,
        )
    for line in ax.lines:
        line.set_markersize(1.2)
        line.set_linewidth(min(line.get_linewidth(), 0.9))
        line.set_color(style.INK)
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per data set and model, columns of layers per quantity."""
    require_columns(data, COLUMNS, figure="sensor_topography")
    items = layout.blocks(data, names)
    most = max(len(layout.quantities(block.data, names)) for block in items)
    return layout.figure_of_blocks(
        items,
        _draw_block,
        names,
        lines=lambda block: layout.n_lines(len(layout.quantities(block.data, names)), PER_LINE),
        width=0.6 + (PANEL + 0.3) * min(most, PER_LINE),
        height=1.9,
    )


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    limits = {
        variant: style.score_range(
            own["value"].to_numpy(),
            at_least=layout.UNIQUE_RANGE[1] if variant == "unique" else SMALLEST_R,
        )
        for variant, own in block.data.groupby("variant")
    }
    panels = row.subfigures(
        layout.n_lines(len(quantities), PER_LINE),
        min(len(quantities), PER_LINE),
        squeeze=False,
        wspace=0.03,
    ).ravel()[: len(quantities)]
    for panel, quantity in zip(panels, quantities, strict=True):
        part = layout.of_quantity(block.data, quantity)
        panel.suptitle(quantity.title(names, PANEL), fontsize=8.5, fontweight="normal")
        layers = part.drop_duplicates("layer").sort_values("depth")
        axes = panel.subplots(1, len(layers), squeeze=False)[0]
        low, high = limits[quantity.variant]
        for ax, layer, time in zip(axes, layers["layer"], layers["time"], strict=True):
            plot_sensor_topography(part[part["layer"] == layer], ax=ax, low=low, high=high)
            # Names of layers have dots and underscores to break them at, and no spaces.
            name = "\n".join(textwrap.wrap(layer, LAYER_LETTERS))
            text = f"{name}\n{1000 * time:.0f} ms"
            ax.set_title(text, fontsize=7, loc="center", pad=2)
        bar = panel.colorbar(
            ScalarMappable(Normalize(low, high), style.score_colours(low, high)),
            ax=list(axes),
            aspect=14,
            shrink=0.75,
            pad=0.01,
            fraction=0.05,
        )
        bar.set_label(MAPPED[quantity.variant].label, fontsize=7)
        bar.ax.tick_params(labelsize=6)
        layout.fill_bar(bar)
        bar.outline.set_visible(False)
    if block.data["onset_source"].any():
        row.supxlabel(layout.time_label(block.data, of="times from image onset"), fontsize=7)
