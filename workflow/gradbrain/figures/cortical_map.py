"""Score and best layer of every vertex, on the inflated fsaverage5 surface.

Responses on fsaverage, which has sixteen times as many vertices, are shown by those that the two
share: the first 10,242 of each hemisphere (fsaverage's mesh is fsaverage5's, its triangles divided
twice; Fischl et al. 1999, Human Brain Mapping 8:272).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradbrain.figures import cortex, layout, style
from gradbrain.figures.cortex import HEMISPHERES, VERTICES_PER_HEMISPHERE, VIEWS
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.maps import DatasetMaps, SignalMap, dataset_maps
from gradbrain.figures.names import Names
from gradbrain.vocabulary.measures import MAPPED

TITLE = "Score and best layer on the cortical surface"
INPUTS = ("maps",)
AXES = ("roi",)
SPACES = ("fsaverage5", "fsaverage")

COLUMNS = ["hemisphere", "vertex", "score", "best_layer", "n_subjects"]
_HEMISPHERES = {
    "left": "left",
    "right": "right",
    "lh": "left",
    "rh": "right",
    "l": "left",
    "r": "right",
}
#: Colours of scores end at this percentile: a few vertices of noise do not dim all others.
HIGHEST_PERCENTILE = 95
#: Pearson r is drawn on at least this range.
SMALLEST_R = 0.05
#: Of the second scale.
WITHOUT_BEST = "best layer (relative depth)\nwhite: no layer scores above 0"
#: What cortex without a value looks like.
BARE = "grey: vertices without a value (two shades: gyrus and sulcus)"
#: Signals side by side: the activation beside what is compared with it.
PER_LINE = 3


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Best layer and its score per vertex, averaged over subjects.

    Where no layer's score is above zero there is no best layer (NaN). Vertices without a value have
    no row.
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
            "n_subjects": maps.n_subjects,
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


@dataclass(frozen=True)
class Look:
    """How a quantity of vertices is coloured.

    Attributes
    ----------
    column
        Its name.
    label
        Of the colour bar.
    colours
        From `low` to `high`.
    low, high
        Ends of the scale; values beyond have the colours of its ends.
    """

    column: str
    label: str
    colours: Colormap
    low: float
    high: float


def looks(data: pd.DataFrame) -> list[Look]:
    """Score and best layer of one quantity of one data set and model.

    Parameters
    ----------
    data
        ``score``, ``variant``.
    """
    low, high = score_range(data)
    measure = MAPPED[data["variant"].iloc[0]].label
    return [
        Look("score", f"{measure} of the best layer", style.score_colours(low, high), low, high),
        Look("best_layer", WITHOUT_BEST, style.depth_colours(), 0.0, 1.0),
    ]


def score_range(data: pd.DataFrame) -> tuple[float, float]:
    """Range of the colours of one quantity: to high percentiles of each sign, zero included.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``score``, ``variant``.
    """
    unique = data["variant"].iloc[0] == "unique"
    return style.score_range(
        data["score"].to_numpy(),
        at_least=layout.UNIQUE_RANGE[1] if unique else SMALLEST_R,
        percentile=HIGHEST_PERCENTILE,
    )


def vertex_colours(data: pd.DataFrame, look: Look, hemisphere: str) -> NDArray[np.float64]:
    """Colours of all vertices of a hemisphere.

    Parameters
    ----------
    data
        ``hemisphere``, ``vertex`` and the column of the look, one row per vertex with a value.
    look
        How it is coloured.
    hemisphere
        ``left`` or ``right``.

    Returns
    -------
    ndarray of shape (10242, 4)
        RGBA; NaN in all four where there is no row. A row whose value is NaN, a vertex without a
        best layer, is white.
    """
    require_columns(data, ["hemisphere", "vertex", look.column], figure="cortical_map")
    part = data[data["hemisphere"] == hemisphere]
    vertices = part["vertex"].to_numpy(dtype=int)
    values = cortex.vertex_values(vertices, part[look.column].to_numpy(dtype=float), hemisphere)
    shares = Normalize(look.low, look.high, clip=True)(values)
    colours = look.colours(np.asarray(shares.filled(0.0) if np.ma.isMA(shares) else shares))
    colours[np.isnan(values)] = style.rgba(style.NOTHING)
    with_row = np.zeros(len(values), dtype=bool)
    with_row[vertices] = True
    colours[~with_row] = np.nan
    return colours


#: Inches: margins of the page, room for the names of views, gaps between signals and hemispheres.
MARGIN, NAMES, BETWEEN, GAP = 0.1, 0.22, 0.22, 0.04
#: Inches: a line of text, a colour bar with its ticks and label, and what stands above a block.
LINE, BAR, HEAD = 0.14, 0.56, 0.46


@dataclass(frozen=True)
class Grid:
    """Where things stand on the page, in inches.

    Attributes
    ----------
    n_columns
        Signals side by side.
    """

    n_columns: int

    @property
    def hemisphere(self) -> float:
        """Width of the room of a hemisphere."""
        free = style.PAGE - 2 * MARGIN - NAMES - (self.n_columns - 1) * BETWEEN
        return min(1.3, (free / self.n_columns - GAP) / 2)

    @property
    def inches_per_pixel(self) -> float:
        """Scale of all pictures: the widest fills its room."""
        return self.hemisphere / max(_shape(view)[1] for view in VIEWS)

    def height(self, view: str) -> float:
        """Of a view, the gap below it included."""
        return _shape(view)[0] * self.inches_per_pixel + GAP

    @property
    def views(self) -> float:
        """Height of all views of a look."""
        return sum(map(self.height, VIEWS))

    @property
    def line(self) -> float:
        """The same, with its colour bar."""
        return self.views + BAR

    @property
    def signal(self) -> float:
        """Width of both hemispheres."""
        return 2 * self.hemisphere + GAP

    def left(self, column: int, hemisphere: int) -> float:
        """Left edge of a hemisphere of a signal."""
        first = MARGIN + NAMES + column * (self.signal + BETWEEN)
        return first + hemisphere * (self.hemisphere + GAP)

    @property
    def width(self) -> float:
        """Of the figure."""
        return min(style.PAGE, self.left(self.n_columns - 1, 1) + self.hemisphere + MARGIN)


def _shape(view: str) -> tuple[int, int]:
    """Height and width of the larger picture of a view, in pixels."""
    shapes = [cortex.seen_vertices(hemisphere, view).shape for hemisphere in HEMISPHERES]
    return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)


def plot_cortical_map(data: pd.DataFrame, *, ax: Axes, look: Look, grid: Grid) -> Axes:
    """Draw one quantity: hemispheres side by side, their views below one another.

    Parameters
    ----------
    data
        ``hemisphere``, ``vertex`` and the column of the look, one row per vertex with a value.
    ax
        Where to draw: of the size that the grid gives to the views of a signal.
    look
        What to show, in which colours.
    grid
        Rooms of the pictures, in the middle of which they stand; all have one scale.
    """
    for side, hemisphere in enumerate(HEMISPHERES):
        colours = vertex_colours(data, look, hemisphere)
        x, top = side * (grid.hemisphere + GAP) + grid.hemisphere / 2, 0.0
        for view in VIEWS:
            picture = cortex.picture(hemisphere, view, colours)
            y = top + (grid.height(view) - GAP) / 2
            half_height, half_width = grid.inches_per_pixel / 2 * np.array(picture.shape[:2])
            # One axes for all: each takes longer to make and to draw than what it shows.
            ax.imshow(
                picture,
                extent=(x - half_width, x + half_width, y + half_height, y - half_height),
                aspect="auto",
                interpolation="nearest",
            )
            top += grid.height(view)
    ax.set_xlim(0, grid.signal)
    ax.set_ylim(grid.views, 0)
    ax.axis("off")
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set and model: signals side by side, score above best layer."""
    require_columns(data, COLUMNS, figure="cortical_map")
    items = layout.blocks(data, names)
    parts = [(block, layout.quantities(block.data, names)) for block in items]
    grid = Grid(min(PER_LINE, max(len(quantities) for _, quantities in parts)))
    titles = {
        (place, quantity): quantity.title(names, grid.signal)
        for place, (_, quantities) in enumerate(parts)
        for quantity in quantities
    }
    heads = [block.title_lines(names, grid.width) for block in items]
    named = 2 + max(title.count("\n") + 1 for title in titles.values())
    line = LINE * named + 2 * grid.line
    height = sum(
        HEAD + LINE * head.count("\n") + line * math.ceil(len(quantities) / grid.n_columns)
        for head, (_, quantities) in zip(heads, parts, strict=True)
    )
    page = layout.Page(grid.width, height)
    top = 0.0
    for place, (head, (block, quantities)) in enumerate(zip(heads, parts, strict=True)):
        page.text(MARGIN, top + 0.08, head, fontsize=9.5, fontweight="bold")
        page.text(MARGIN, top + 0.26 + LINE * head.count("\n"), BARE, fontsize=7)
        top += HEAD + LINE * head.count("\n")
        for i, quantity in enumerate(quantities):
            column, row = i % grid.n_columns, i // grid.n_columns
            upper = top + row * line
            page.text(grid.left(column, 0), upper, titles[place, quantity], fontsize=8.5)
            own = layout.of_quantity(block.data, quantity)
            below = upper + LINE * (named - 2)
            page.text(grid.left(column, 0), below, _counts(own), fontsize=6.5)
            _draw_quantity(page, grid, own, column, upper + LINE * named)
        top += line * math.ceil(len(quantities) / grid.n_columns)
    return page.figure


def _counts(data: pd.DataFrame) -> str:
    """How many vertices of a quantity have a value."""
    whole = len(HEMISPHERES) * VERTICES_PER_HEMISPHERE
    return f"{len(data):,} of {whole:,} vertices"


def _draw_quantity(
    page: layout.Page, grid: Grid, data: pd.DataFrame, column: int, top: float
) -> None:
    """Draw score and best layer of one signal below one another, each with its colour bar."""
    left, width = grid.left(column, 0), grid.signal
    for side, hemisphere in enumerate(HEMISPHERES):
        middle = grid.left(column, side) + grid.hemisphere / 2
        page.text(middle, top - LINE, hemisphere, fontsize=6.5, ha="center")
    for look in looks(data):
        ax = page.axes(left, top, width, grid.views)
        plot_cortical_map(data, ax=ax, look=look, grid=grid)
        for view in VIEWS:
            if column == 0:
                middle = top + (grid.height(view) - GAP) / 2
                page.text(MARGIN, middle, view, fontsize=6.5, rotation=90, va="center")
            top += grid.height(view)
        bar = page.axes(left + 0.15 * width, top + 0.05, 0.7 * width, 0.07)
        scale = page.figure.colorbar(
            ScalarMappable(Normalize(look.low, look.high), look.colours),
            cax=bar,
            orientation="horizontal",
            extend=style.extended(data[look.column].to_numpy(), look.low, look.high),
        )
        layout.fill_bar(scale)
        layout.style_bar(bar, look.label)
        top += BAR
