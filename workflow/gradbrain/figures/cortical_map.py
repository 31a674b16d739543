"""Score and best layer of every vertex, on the inflated fsaverage5 surface.

Responses on fsaverage, which has sixteen times as many vertices, are shown by those that the two
share: the first 10,242 of each hemisphere (fsaverage's mesh is fsaverage5's, its triangles divided
twice; Fischl et al. 1999, Human Brain Mapping 8:272).
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.maps import DatasetMaps, SignalMap, dataset_maps
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import SCORED, Variant

TITLE = "Score and best layer on the cortical surface"
INPUTS = ("maps",)
AXES = ("roi",)
SPACES = ("fsaverage5", "fsaverage")

COLUMNS = ["hemisphere", "vertex", "score", "best_layer"]
VERTICES_PER_HEMISPHERE = 10242
RENDER_DPI = 200
_HEMISPHERES = {
    "left": "left",
    "right": "right",
    "lh": "left",
    "rh": "right",
    "l": "left",
    "r": "right",
}
#: Label, hemisphere and view (elevation and azimuth in degrees). From somewhat behind and below:
#: the lateral view shows LO and FFA, the medial one V1 to V3, VO and PHC.
VIEWS: tuple[tuple[str, str, str | tuple[float, float]], ...] = (
    ("left, lateral", "left", (-35.0, 205.0)),
    ("left, medial", "left", (-35.0, 335.0)),
    ("right, medial", "right", (-35.0, 205.0)),
    ("right, lateral", "right", (-35.0, 335.0)),
)
#: Colours of scores end at this percentile: a few vertices of noise do not dim all others.
HIGHEST_PERCENTILE = 95
#: Pearson r is drawn on at least this range.
SMALLEST_R = 0.05


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Best layer and its score per vertex, averaged over subjects.

    Where no layer's score is above zero there is no best layer (NaN).
    """
    found = []
    for tree in inputs.map_stores():
        for maps in dataset_maps(tree, inputs.study):
            if maps.space in SPACES:
                found += [_vertices(maps, signal) for signal in maps.signals()]
    data = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    require_rows(data, figure="cortical_map", what="maps on vertices that fsaverage5 has")
    return data.sort_values([*layout.KEYS, "hemisphere", "vertex"], ignore_index=True)


def _vertices(maps: DatasetMaps, signal: SignalMap) -> pd.DataFrame:
    values = signal.score.transpose("layer", "target").values
    known = np.isfinite(values).all(axis=0)
    if maps.space == "fsaverage":
        known &= maps.coordinate("vertex") < VERTICES_PER_HEMISPHERE
    values = values[:, known]
    high = values.max(axis=0)
    depth = maps.depth[values.argmax(axis=0)]
    return pd.DataFrame(
        {
            **signal.identity,
            "hemisphere": [hemisphere_of(name) for name in maps.coordinate("hemisphere")[known]],
            "vertex": maps.coordinate("vertex")[known].astype(int),
            "score": high,
            "best_layer": np.where(high > 0, depth, np.nan),
        }
    )


def hemisphere_of(name: str) -> str:
    """``left`` or ``right``, however a store writes it.

    Raises
    ------
    FigureError
        It is neither.
    """
    try:
        return _HEMISPHERES[str(name).lower()]
    except KeyError:
        raise FigureError(
            f"maps store: hemisphere is {name!r}; expected one of {sorted(_HEMISPHERES)}"
        ) from None


@cache
def hemisphere_mesh(hemisphere: str, surface: str = "inflated") -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (10242, 3) in mm and faces (20480, 3) that nilearn's package carries.

    Parameters
    ----------
    hemisphere
        ``left`` or ``right``.
    surface
        Name of an fsaverage5 surface, e.g. ``inflated`` or ``pial``.
    """
    from nilearn.datasets import load_fsaverage

    part = load_fsaverage("fsaverage5")[surface].parts[hemisphere]
    return np.asarray(part.coordinates, dtype=float), np.asarray(part.faces)


@cache
def _curvature(hemisphere: str) -> np.ndarray:
    from nilearn.datasets import load_fsaverage_data

    depth = load_fsaverage_data(mesh="fsaverage5", data_type="sulcal").data.parts[hemisphere]
    # Two shades of grey say sulcus and gyrus without competing with the data.
    return np.where(np.asarray(depth) > 0, 0.35, 0.2)


def plot_cortical_map(
    data: pd.DataFrame,
    *,
    ax: Axes,
    column: str,
    hemisphere: str,
    view: str | tuple[float, float],
    colours: Colormap,
    low: float,
    high: float,
) -> Axes:
    """Draw one quantity on one hemisphere.

    Parameters
    ----------
    data
        ``hemisphere``, ``vertex`` and the named column, one row per vertex.
    ax
        Where to draw.
    column
        What to show; NaN is left grey.
    hemisphere
        ``left`` or ``right``.
    view
        Name of a view or its elevation and azimuth in degrees.
    colours, low, high
        Colours and their range.
    """
    require_columns(data, ["hemisphere", "vertex", column], figure="cortical_map")
    part = data[data["hemisphere"] == hemisphere]
    outside = part["vertex"][(part["vertex"] < 0) | (part["vertex"] >= VERTICES_PER_HEMISPHERE)]
    if len(outside):
        raise FigureError(
            f"maps store: vertex {int(outside.iloc[0])} in the {hemisphere} hemisphere; fsaverage5 "
            f"has vertices 0 to {VERTICES_PER_HEMISPHERE - 1} in each"
        )
    values = np.full(VERTICES_PER_HEMISPHERE, np.nan)
    values[part["vertex"].to_numpy()] = np.clip(part[column].to_numpy(dtype=float), low, high)
    brain = render_brain(values, hemisphere, view, colours, low, high)
    ax.imshow(brain, aspect="equal", interpolation="antialiased")
    ax.axis("off")
    return ax


def render_brain(
    values: np.ndarray,
    hemisphere: str,
    view: str | tuple[float, float],
    colours: Colormap,
    low: float,
    high: float,
) -> np.ndarray:
    """Render an inflated hemisphere once, as pixels.

    Twenty thousand triangles are drawn again by every pass of the layout and for every file
    format; an image is drawn once and keeps the PDF small.

    Parameters
    ----------
    values
        One per vertex, shape ``(10242,)``; NaN is left grey.
    hemisphere, view, colours, low, high
        As for :func:`plot_cortical_map`.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA, cropped to the brain, transparent around it.
    """
    from nilearn.plotting import plot_surf

    whole = Figure(figsize=(2.0, 2.0), dpi=RENDER_DPI, facecolor="none")
    canvas = FigureCanvasAgg(whole)
    ax = whole.add_axes((0, 0, 1, 1), projection="3d", facecolor="none")
    coordinates, faces = hemisphere_mesh(hemisphere)
    with warnings.catch_warnings():
        # Faces without data average nothing: that is how they stay grey.
        warnings.simplefilter("ignore")
        plot_surf(
            (coordinates.copy(), faces),
            surf_map=values,
            bg_map=_curvature(hemisphere),
            hemi=hemisphere,
            view=view,
            cmap=colours,
            colorbar=False,
            vmin=low,
            vmax=high,
            avg_method="nanmean",
            axes=ax,
        )
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba()).copy()
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def score_range(data: pd.DataFrame) -> tuple[float, float]:
    """Range of the colours of one quantity: from zero to a high percentile of positive ones.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``score``, ``variant``.
    """
    smallest = layout.UNIQUE_RANGE[1] if data["variant"].iloc[0] == "unique" else SMALLEST_R
    above = data["score"][data["score"] > 0]
    high = float(np.percentile(above, HIGHEST_PERCENTILE)) if len(above) else 0.0
    return 0.0, max(smallest, high)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per data set, model and quantity: above the score, below the best layer."""
    require_columns(data, COLUMNS, figure="cortical_map")
    items = layout.blocks(data, names)
    counts = [len(layout.quantities(block.data, names)) for block in items]
    height = 0.3 * len(items) + 3.0 * sum(counts)
    whole = Figure(figsize=(8.2, height), layout="constrained")
    rows = whole.subfigures(len(items), 1, squeeze=False, hspace=0.02, height_ratios=counts)[:, 0]
    for row, block in zip(rows, items, strict=True):
        row.suptitle(block.title(names), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        _draw_block(row, block, names)
    return whole


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    quantities = layout.quantities(block.data, names)
    panels = row.subfigures(len(quantities), 1, squeeze=False, hspace=0.02)[:, 0]
    for panel, quantity in zip(panels, quantities, strict=True):
        panel.suptitle(quantity.label(names), x=0.01, ha="left", fontsize=8.5, fontweight="normal")
        _draw_quantity(panel, layout.of_quantity(block.data, quantity), quantity.variant)


def _draw_quantity(panel: SubFigure, part: pd.DataFrame, variant: Variant) -> None:
    axes = panel.subplots(2, len(VIEWS))
    # Where no layer predicts, neither line is coloured.
    part = part.assign(score=part["score"].where(part["score"] > 0))
    measure = SCORED[variant].label
    looks = [
        ("score", style.score_colours(), *score_range(part), f"{measure}\nof best layer"),
        ("best_layer", style.depth_colours(), 0.0, 1.0, "best layer\n(relative depth)"),
    ]
    for line, (column, colours, low, high, label) in zip(axes, looks, strict=True):
        for ax, (_, hemisphere, view) in zip(line, VIEWS, strict=True):
            plot_cortical_map(
                part,
                ax=ax,
                column=column,
                hemisphere=hemisphere,
                view=view,
                colours=colours,
                low=low,
                high=high,
            )
        above = bool((part[column] > high).any())
        bar = panel.colorbar(
            ScalarMappable(Normalize(low, high), colours),
            ax=list(line),
            aspect=12,
            shrink=0.75,
            pad=0.01,
            fraction=0.05,
            extend="max" if above else "neither",
        )
        bar.set_label(label, fontsize=6.5)
        bar.ax.tick_params(labelsize=6)
        bar.outline.set_visible(False)
    for ax, (label, _, _) in zip(axes[0], VIEWS, strict=True):
        ax.set_title(label, fontsize=7, loc="center", color=style.INK, pad=2)
