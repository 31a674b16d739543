"""Arrangement of panels: a block per data set and model, a column per quantity."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Transform
from numpy.typing import ArrayLike

from gradbrain.figures import style
from gradbrain.figures.names import Names
from gradbrain.vocabulary.intervals import INTERVAL
from gradbrain.vocabulary.measures import JUDGED, Variant, variants_of
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING, ROLES

#: Columns that say which signal of which model on which data set a row is about.
SOURCE = ["dataset", "modality", "axis", "model", "signal", "role", "rule", "objective"]
#: The same, and whether the row is of the signal alone or of its unique part.
KEYS = [*SOURCE, "variant"]
#: Letters of a panel's title that fit into an inch, and of the bold title of a block.
LETTERS_PER_INCH = 15
BOLD_LETTERS_PER_INCH = 12
#: Inches of a line of such a title.
TITLE_LINE = 0.17
_UNIQUE = style.VARIANT_LABELS["unique"]
#: Words that no line of a title breaks, with plain and with unbreakable spaces.
KEPT_TOGETHER = (_UNIQUE, _UNIQUE.replace(" ", "\N{NO-BREAK SPACE}"))
#: Roles of what most figures show; controls have a figure of their own.
SHOWN = (ACTIVATION, LEARNING)


#: A space at which no line is broken.
KEPT = "\N{NO-BREAK SPACE}"
#: A number and its unit, which stay together.
NUMBER_WITH_UNIT = re.compile(r"(?<=\d) (?=(?:px|ms|mm|Hz)\b)")
#: Between the parts of a title, at the end of a line and never at the beginning of one.
SEPARATOR = f"{KEPT}{KEPT}·  "


def fill(text: str, letters: int) -> str:
    """Break a title into lines of so many letters, of which none begins with a separator."""
    return textwrap.fill(NUMBER_WITH_UNIT.sub(KEPT, text), letters).replace(KEPT, " ")


@dataclass(frozen=True)
class Quantity:
    """What a panel shows: a signal, alone (``raw``) or its ``unique`` part."""

    signal: str
    role: str
    variant: Variant

    def label(self, names: Names) -> str:
        """Title for readers."""
        return names.quantity_label(self.signal, self.variant)

    def title(self, names: Names, width: float) -> str:
        """Title of a panel, in lines that are no wider than it (inches)."""
        # The words for the variant stay together.
        label = self.label(names).replace(*KEPT_TOGETHER)
        return textwrap.fill(label, int(LETTERS_PER_INCH * width)).replace(*KEPT_TOGETHER[::-1])


@dataclass(frozen=True)
class Block:
    """One data set seen through one model.

    Attributes
    ----------
    dataset, model, modality
        Names of the three.
    data
        The rows of this data set and model.
    """

    dataset: str
    model: str
    modality: str
    data: pd.DataFrame

    def title(self, names: Names) -> str:
        """Names of data set and model, for readers."""
        dataset = names.dataset_label(self.dataset, self.modality)
        return SEPARATOR.join([dataset, names.label("model", self.model)])

    def title_lines(self, names: Names, width: float) -> str:
        """The same, in lines that are no wider than `width` (inches)."""
        return fill(self.title(names), int(BOLD_LETTERS_PER_INCH * width))


@dataclass
class Page:
    """A figure whose parts have a place in inches, counted from its upper left corner.

    Attributes
    ----------
    width, height
        In inches.
    """

    width: float
    height: float
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self.figure = Figure(figsize=(self.width, self.height))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """New axes with these edges and sizes."""
        bottom = self.height - top - height
        x, y = self.width, self.height
        return self.figure.add_axes((left / x, bottom / y, width / x, height / y))

    def text(self, left: float, top: float, text: str, **look: Any) -> Text:
        """Text whose upper left corner lies there, unless `look` says otherwise."""
        place = left / self.width, 1 - top / self.height
        return self.figure.text(*place, text, **({"va": "top", "ha": "left"} | look))


def blocks(data: pd.DataFrame, names: Names) -> list[Block]:
    """Split a tidy table into data sets and models, in the order of the names."""
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    found = []
    for dataset in names.order_datasets(axis_of):
        of_dataset = data[data["dataset"] == dataset]
        for model in names.order_models(of_dataset["model"]):
            rows = of_dataset[of_dataset["model"] == model]
            found.append(Block(dataset, model, modality_of[dataset], rows))
    return found


def quantities(data: pd.DataFrame, names: Names, *, roles: Sequence[str] = SHOWN) -> list[Quantity]:
    """Quantities of a table with columns signal, role, variant: all raw ones, then unique ones."""
    present = data[["signal", "role", "variant"]].drop_duplicates()
    present = present[present["role"].isin(roles)]
    role_of = dict(zip(present["signal"], present["role"], strict=True))
    pairs = set(zip(present["signal"], present["variant"], strict=True))
    signals = names.order_signals(role_of, role_of)
    return [
        Quantity(signal, role_of[signal], variant)
        for variant in JUDGED
        for signal in signals
        if (signal, variant) in pairs
    ]


def of_quantity(data: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """Rows of one quantity."""
    return data[(data["signal"] == quantity.signal) & (data["variant"] == quantity.variant)]


def with_variant(scores: pd.DataFrame) -> pd.DataFrame:
    """Keep what figures show of a scores table and name it by variant.

    That is the signals, without what they are held against (the baseline and its nuisance bands):
    ``raw`` is Pearson r of a signal alone, ``unique`` the unique variance of a signal that is not
    the activation.
    """
    variant = scores["measure"].map(variants_of(JUDGED))
    unique_of_activation = (variant == "unique") & (scores["role"] == ACTIVATION)
    keep = variant.notna() & ~unique_of_activation & scores["role"].isin(ROLES)
    return scores[keep].assign(variant=variant[keep])


def with_ceiling(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``ceiling``: r between subjects, for scores that it is a ceiling of.

    That is r of a signal alone; a unique part has none, and neither have data sets whose subjects
    do not share images and targets. It is NaN there.
    """
    return scores.assign(ceiling=scores["intersubject_r"].where(scores["variant"] == "raw"))


CEILING_LABEL = "average of the other subjects"
#: Look of the line below which scores are chance.
CHANCE: dict[str, Any] = {"color": style.MUTED, "linewidth": 0.8, "linestyle": (0, (3, 2))}


def chance_handle() -> Line2D:
    """Entry of a legend for the line below which scores are chance."""
    return Line2D([], [], **CHANCE, label="95th percentile of permuted images")


def draw_ceiling(data: pd.DataFrame, unit: str, *, ax: Axes, scale: float = 1.0) -> None:
    """Draw how well subjects predict one another: mean over subjects, and lowest to highest.

    Parameters
    ----------
    data
        One quantity of one data set and model: ``subject``, ``ceiling`` and the column `unit`;
        nothing is drawn where no ceiling is known.
    unit
        Column along the horizontal axis.
    ax
        Where to draw.
    scale
        Factor of the horizontal axis.
    """
    known = data[data["ceiling"].notna()]
    if known.empty:
        return
    of_subjects = known.pivot_table(index="subject", columns=unit, values="ceiling")
    places = scale * np.asarray(of_subjects.columns, dtype=float)
    ax.fill_between(
        places,
        of_subjects.min(axis=0),
        of_subjects.max(axis=0),
        color=style.CEILING_BAND,
        linewidth=0,
        zorder=0.5,
    )
    ax.plot(
        places,
        of_subjects.mean(axis=0),
        color=style.CEILING,
        linewidth=1.0,
        linestyle=(0, (1, 1)),
        zorder=0.6,
        label=CEILING_LABEL,
    )


def figure_of_blocks(
    items: Sequence[Block],
    draw: Callable[[SubFigure, Block, Names], None],
    names: Names,
    *,
    lines: Callable[[Block], int],
    width: float,
    height: float,
    more: float = 0.0,
) -> Figure:
    """Make a figure with a titled row for each block.

    Parameters
    ----------
    items
        The blocks, from top to bottom.
    draw
        Draws one block into its row.
    names
        What is shown to readers.
    lines
        Of a block: how many lines of panels it has.
    width
        Of the figure, in inches; at most a page.
    height
        Of a line, in inches, its titles included.
    more
        Of a block, in inches: what stands below all of its lines.
    """
    width = min(width, style.PAGE)
    titles = [block.title_lines(names, width) for block in items]
    heights = [
        height * lines(block) + TITLE_LINE * title.count("\n") + more
        for block, title in zip(items, titles, strict=True)
    ]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(items), 1, squeeze=False, hspace=0.03, height_ratios=heights)
    for row, block, title in zip(rows[:, 0], items, titles, strict=True):
        row.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        draw(row, block, names)
    return figure


def width_of(part: FigureBase) -> float:
    """Width of a figure or, before it is laid out, of one of its rows, in inches."""
    whole = part if isinstance(part, Figure) else part.get_figure(root=True)
    return float(whole.get_figwidth())


def n_lines(n_panels: int, per_line: int) -> int:
    """Lines that so many panels take."""
    return math.ceil(n_panels / per_line)


def panels(
    parent: FigureBase,
    n: int,
    *,
    per_line: int,
    n_rows: int = 1,
    height_ratios: Sequence[float] = (1,),
    sharey: bool = False,
) -> np.ndarray:
    """Make panels side by side, in as many lines as they need.

    Parameters
    ----------
    parent
        Where to draw.
    n
        How many panels.
    per_line
        How many of them fit side by side.
    n_rows
        Axes below one another in each panel.
    height_ratios
        Of these.
    sharey
        Whether all have the same range of y.

    Returns
    -------
    ndarray of Axes, shape (n_rows, n)
        The axes of panel ``i`` stand in column ``i``.
    """
    lines, wide = n_lines(n, per_line), min(n, per_line)
    grid = parent.subplots(
        lines * n_rows,
        wide,
        squeeze=False,
        height_ratios=list(height_ratios) * lines,
        sharey=sharey,
    )
    found = np.empty((n_rows, n), dtype=object)
    for place in range(lines * wide):
        own = grid[(place // wide) * n_rows : (place // wide + 1) * n_rows, place % wide]
        if place < n:
            found[:, place] = own
        else:
            for ax in own:
                ax.remove()
    return found


#: Inches of a letter of a legend, and of the sign before its text.
LEGEND_LETTER, LEGEND_SIGN = 0.058, 0.42


def legend_below(
    parent: FigureBase, handles: Sequence[Artist], width: float, *, title: str | None = None
) -> None:
    """Draw a legend below all panels, in as many columns as fit.

    Parameters
    ----------
    parent
        Figure or part of it, with a constrained layout.
    handles
        With their labels; long ones are broken.
    width
        Of the parent, in inches.
    title
        Above the entries.
    """
    longest = int((width - LEGEND_SIGN) / LEGEND_LETTER)
    labels = [
        "\n".join(textwrap.fill(part, longest) for part in str(handle.get_label()).split("\n"))
        for handle in handles
    ]
    widths = [LEGEND_SIGN + LEGEND_LETTER * max(map(len, label.split("\n"))) for label in labels]
    fitting = [n for n in range(1, len(labels) + 1) if _width_of_columns(widths, n) <= width]
    parent.legend(
        handles=list(handles),
        labels=labels,
        loc="outside lower left",
        ncols=max(fitting, default=1),
        title=title,
        title_fontsize=7,
        alignment="left",
    )


def _width_of_columns(widths: Sequence[float], n_columns: int) -> float:
    """Width of a legend whose entries fill its columns one after the other."""
    parts = np.array_split(np.array(widths), n_columns)
    return float(sum(part.max() for part in parts if len(part)))


def set_title(ax: Axes, text: str, *, pad: float | None = None) -> None:
    """Title a panel without ticks above it.

    Its height is given: a title that looks for its own measures all labels of ticks whenever it is
    drawn or laid out.

    Parameters
    ----------
    ax
        The panel.
    text
        In lines that are no wider than it.
    pad
        Points below the text; that of the style by default.
    """
    ax.set_title(text, y=1.0, pad=pad)


def starts_line(ax: Axes) -> bool:
    """Whether a panel is the first of its line."""
    place = ax.get_subplotspec()
    return place is None or bool(place.is_first_col())


def style_bar(ax: Axes, label: str) -> None:
    """Give all horizontal colour bars one look."""
    ax.set_xlabel(label, fontsize=6.5, labelpad=1.5)
    ax.tick_params(labelsize=6, length=2, pad=1.5)
    ax.locator_params(nbins=4)
    for side in ax.spines.values():
        side.set_visible(False)


def fill_bar(bar: Colorbar) -> None:
    """Fill a colour bar with one small picture of its colours.

    Matplotlib's own fill is rasterised: for each bar it makes a picture of the whole page, which
    takes the longer, the more panels a figure has.

    Parameters
    ----------
    bar
        Of a continuous scale, upright or level.
    """
    if bar.solids is not None:
        bar.solids.set_visible(False)
    colours = bar.cmap(np.arange(bar.cmap.N), bytes=True)[:, None]
    upright = bar.orientation == "vertical"
    low, high = bar.ax.get_ylim() if upright else bar.ax.get_xlim()
    ends = (0, 1, low, high) if upright else (low, high, 0, 1)
    picture = AxesImage(bar.ax, extent=ends, origin="lower", interpolation="nearest")
    picture.set_data(colours if upright else colours.transpose(1, 0, 2))
    bar.ax.add_image(picture)
    picture.set_clip_path(bar.ax.patch)


def draw_means(
    places: np.ndarray, means: pd.DataFrame, *, ax: Axes, colour: str, **look: Any
) -> None:
    """Draw means over subjects and their intervals, where they have one.

    Parameters
    ----------
    places
        Shape ``(n_units,)``, along x.
    means
        One row per unit: ``mean``, ``low``, ``high``; the latter two are NaN without an interval.
    ax
        Where to draw.
    colour
        Of both.
    look
        Further properties of the line through the means.
    """
    known = np.isfinite(means["low"].to_numpy(dtype=float))
    if known.any():
        ax.vlines(
            np.asarray(places)[known],
            means["low"].to_numpy()[known],
            means["high"].to_numpy()[known],
            color=colour,
            linewidth=1.4,
            zorder=3,
        )
    drawn: dict[str, Any] = {"marker": "o", "linewidth": 1.6, "zorder": 3.5} | look
    ax.plot(places, means["mean"].to_numpy(), color=colour, **drawn)


def means_by(data: pd.DataFrame, unit: str, value: str) -> pd.DataFrame:
    """Mean over subjects and interval per unit, from ``ci_low`` and ``ci_high`` of its rows.

    Returns
    -------
    pandas.DataFrame
        Indexed by `unit`, sorted: ``mean``, ``low``, ``high``.
    """
    groups = data.groupby(unit)
    return pd.DataFrame(
        {
            "mean": groups[value].mean(),
            "low": groups["ci_low"].first(),
            "high": groups["ci_high"].first(),
        }
    )


def spread(n_subjects: int, width: float) -> np.ndarray:
    """Places of subjects side by side about zero, shape ``(n_subjects,)``."""
    return np.linspace(-width, width, n_subjects) if n_subjects > 1 else np.zeros(1)


def draw_subjects(
    places: ArrayLike, values: ArrayLike, *, ax: Axes, colour: str, size: float = 9.0
) -> None:
    """Draw subjects as open dots before their mean, in all figures that draw them.

    Parameters
    ----------
    places, values
        Of the same shape; those of several subjects together are drawn much faster.
    ax
        Where to draw.
    colour
        Of the rim.
    size
        Area in square points.
    """
    ax.scatter(
        places, values, s=size, facecolors="white", edgecolors=colour, linewidths=0.8, zorder=4
    )


def subject_handle() -> Line2D:
    """Entry of a legend for the dots of subjects."""
    return Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=3,
        markerfacecolor="white",
        markeredgecolor=style.INK,
        label="one subject",
    )


def mean_handle(*, has_interval: bool, joined: bool = True) -> Line2D:
    """Entry of a legend for means over subjects, which says whether they have intervals."""
    return Line2D(
        [],
        [],
        color=style.INK,
        marker="o",
        markersize=4,
        linestyle="-" if joined else "none",
        linewidth=1.6,
        label=f"mean, {INTERVAL}" if has_interval else "mean (too few subjects for an interval)",
    )


#: Names of regions that stand side by side without turning: how many, and of how many letters.
MOST_UPRIGHT, SHORT = 5, 3


def label_regions(ax: Axes, places: ArrayLike, labels: Sequence[str]) -> None:
    """Name the regions along x; many or long names are turned, and very long ones broken."""
    turned = len(labels) > MOST_UPRIGHT or max(map(len, labels)) > SHORT
    ax.set_xticks(
        places,
        labels=[textwrap.fill(label, 16) for label in labels],
        rotation=45 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )


def depth_colour(depth: float | np.ndarray) -> np.ndarray:
    """RGBA of relative depth."""
    return style.depth_colours()(np.clip(depth, 0, 1))


def depth_colourbar(figure: FigureBase, axes: Sequence[Axes], *, label: str = "") -> None:
    """Draw the scale of relative depth to the right of some axes."""
    mappable = ScalarMappable(Normalize(0, 1), style.depth_colours())
    bar = figure.colorbar(mappable, ax=list(axes), aspect=18, pad=0.01, fraction=0.03)
    bar.set_label(label or "relative depth of layer", fontsize=7)
    fill_bar(bar)
    bar.set_ticks([0, 0.5, 1], labels=["0\ninput", "0.5", "1\noutput"], fontsize=6.5)
    bar.outline.set_visible(False)


#: Unique parts are drawn on at least this range, so that noise around zero does not fill a panel.
UNIQUE_RANGE = (-0.01, 0.02)
#: Share of a range that stays clear at its ends: more than half a dot.
CLEAR = 0.05


def share_limits(axes: Sequence[Axes], *, at_least: tuple[float, float] | None = None) -> None:
    """Give some panels one range of y, wide enough, and label its ticks on the first only.

    Dots keep a distance from its ends, so that none is cut.
    """
    low = min(ax.get_ylim()[0] for ax in axes)
    high = max(ax.get_ylim()[1] for ax in axes)
    around = CLEAR * (high - low)
    for dots in map(_heights_of_dots, axes):
        if len(dots):
            low, high = min(low, dots.min() - around), max(high, dots.max() + around)
    if at_least is not None:
        low, high = min(low, at_least[0]), max(high, at_least[1])
    for ax in axes:
        ax.set_ylim(low, high)
    for ax in axes[1:]:
        ax.tick_params(labelleft=starts_line(ax))


def _heights_of_dots(ax: Axes) -> np.ndarray:
    """Height of everything that is drawn as a dot, in the unit of the axis."""

    def in_data(transform: Transform) -> bool:
        # Marks above a panel are placed in shares of its height.
        return bool(transform.contains_branch_seperately(ax.transData)[1])

    lines = [
        line.get_ydata()
        for line in ax.lines
        if line.get_marker() not in ("None", "", None) and in_data(line.get_transform())
    ]
    clouds = [
        np.asarray(cloud.get_offsets())[:, 1]
        for cloud in ax.collections
        if isinstance(cloud, PathCollection) and in_data(cloud.get_offset_transform())
    ]
    every = np.concatenate([np.empty(0), *(np.asarray(each, float) for each in lines + clouds)])
    return every[np.isfinite(every)]


def time_label(
    data: pd.DataFrame, *, of: str = "time from image onset", width: float = np.inf
) -> str:
    """Name an axis of time in ms, and what told the onset where a data set tells it twice.

    Parameters
    ----------
    data
        Rows of one data set; ``onset_source`` is the same in all, ``""`` where there is one onset.
    of
        What is drawn.
    width
        Inches that it may take.
    """
    sources = [source for source in data["onset_source"].unique() if source]
    parts = [f"{of} (ms)", *(f"onset: {source}" for source in sources)]
    letters = int(min(LETTERS_PER_INCH * width, 1000))
    return "\n".join(textwrap.fill(part, letters) for part in parts)


def empty_figure(text: str) -> tuple[Figure, pd.DataFrame]:
    """Make a figure that says why it shows nothing, and the table behind it.

    Parameters
    ----------
    text
        What the results lack.
    """
    whole = Figure(figsize=(6.0, 1.2), layout="constrained")
    ax = whole.subplots()
    ax.axis("off")
    say_empty(ax, text)
    return whole, pd.DataFrame({"note": [text]})


def say_empty(ax: Axes, text: str) -> None:
    """Write into a panel why it shows nothing, instead of leaving it blank."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=style.MUTED,
        fontsize=7,
    )
