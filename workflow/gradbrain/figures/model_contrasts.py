"""Differences between models that differ in one factor, one row per contrast."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names

TITLE = "Controlled comparisons of models"
INPUTS = ("model_contrasts",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "contrast",
    "y": "estimate",
    "y_label": "difference (a − b)",
    "low": "ci_low",
    "high": "ci_high",
    "series": "method",
    "panels": ("dataset", "signal", "variant"),
    "text": ("n_pairs", "n", "q", "q_over_models", "reason"),
}

COLUMNS = ["dataset", "modality", "axis", "signal", "role", "rule", "objective", "variant"]
COLUMNS += ["method", "measure", "unit", "contrast", "factor", "level_a", "level_b", "n_pairs", "n"]
COLUMNS += ["estimate", "ci_low", "ci_high", "q", "q_over_models", "alpha", "reason", "not_drawn"]
#: Mark of what holds over models too: six strokes.
STAR: tuple[int, Literal[2], int] = (6, 2, 0)
#: Contrasts that a panel has room for; those of most pairs are drawn, and the rest is counted.
MOST_ROWS = 36
#: Method -> colour, marker, place beside its middle in rows, label.
METHODS = {
    "encoding": (style.BLUE, "o", -0.27, "encoding score"),
    "rsa": (style.ORANGE, "D", 0.0, "classical RSA"),
    "encoding_rsa": (style.GREEN, "^", 0.27, "RSA of held-out predictions"),
}
FACTORS = {
    "training": "trained or not",
    "objective": "objective",
    "diet": "training images",
    "fine_tuned_on": "fine-tuning",
    "learning_rule": "learning rule",
    "recipe": "recipe",
    "step": "step of training",
    "input_size": "input size",
    "family": "family",
    "parameters": "size in a family",
    "named": "as named",
}
#: Inches: of a panel, of the names of contrasts, of the gap between panels.
PANEL, LABELS, GAP = 1.6, 1.85, 0.15
PER_LINE = 3
#: Inches: of a contrast at least, of a line of its name, of the heading of a factor.
ROW, LABEL_LINE, HEADING = 0.24, 0.12, 0.2
#: Inches beside the rows: of a line of panels, of the title of a block, of the legend.
AROUND, BLOCK_TITLE, LEGEND = 0.62, 0.3, 0.5
#: Letters of a line of the name of a contrast.
LABEL_LETTERS = 27


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Contrasts over all regions, or at the best time: those of most pairs of each data set."""
    table = inputs.table("model_contrasts")
    # An empty cell of a table of text is read as nothing.
    table = table.fillna({"roi": "", "objective": "", "reason": ""})
    rows = require_rows(
        table[table["roi"] == ""], figure="model_contrasts", what="models that are compared"
    )
    parts = [_of_most_pairs(own) for _, own in rows.groupby("dataset", sort=True)]
    shown = pd.concat(parts, ignore_index=True).assign(alpha=inputs.settings.alpha)
    return shown[[*COLUMNS, "mean_a", "mean_b", "p", "p_over_models"]]


def _of_most_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the contrasts that there is room for, by factor, and how many are left."""
    known = rows.drop_duplicates("contrast").sort_values(
        ["n_pairs", "contrast"], ascending=[False, True], kind="stable"
    )
    kept = set(known["contrast"][:MOST_ROWS])
    rank = list(FACTORS).index
    shown = rows[rows["contrast"].isin(kept)].assign(not_drawn=len(known) - len(kept))
    return shown.sort_values(
        ["factor", "n_pairs", "contrast"],
        key=lambda column: (
            column.map(rank)
            if column.name == "factor"
            else (-column if column.name == "n_pairs" else column)
        ),
        kind="stable",
    )


@dataclass(frozen=True)
class Row:
    """A row of a panel: a contrast, or the heading of a factor.

    Attributes
    ----------
    contrast
        ``""`` for a heading.
    label
        In as many lines as it needs.
    top, height
        In inches, counted from the top of the panel.
    """

    contrast: str
    label: str
    top: float
    height: float

    @property
    def middle(self) -> float:
        """Where its name stands."""
        return self.top + self.height / 2


def rows_of(data: pd.DataFrame) -> list[Row]:
    """Rows of a panel from top to bottom: each factor, and below it its contrasts."""
    rows: list[Row] = []
    bottom, factor = 0.0, ""
    for own in data.drop_duplicates("contrast").to_dict("records"):
        if own["factor"] != factor:
            factor = own["factor"]
            rows.append(Row("", FACTORS[factor], bottom, HEADING))
            bottom += HEADING
        label = _label(own)
        height = max(ROW, LABEL_LINE * label.count("\n") + ROW - 0.06)
        rows.append(Row(own["contrast"], label, bottom, height))
        bottom += height
    return rows


def plot_model_contrasts(data: pd.DataFrame, *, ax: Axes, rows: Sequence[Row]) -> Axes:
    """Draw the mean difference over subjects of each contrast, and its 95 % interval.

    Parameters
    ----------
    data
        One signal and variant of one data set: ``contrast``, ``method``, ``estimate``, ``ci_low``,
        ``ci_high``, ``q``, ``q_over_models``, ``alpha``.
    ax
        Where to draw.
    rows
        Of :func:`rows_of`, the same for all panels of a data set.
    """
    require_columns(data, COLUMNS, figure="model_contrasts")
    place = {row.contrast: row.middle for row in rows if row.contrast}
    ax.axvline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    for row in rows:
        if not row.contrast:
            ax.axhspan(row.top, row.top + row.height, color="#F4F4F2", linewidth=0, zorder=0)
    for own in data.to_dict("records"):
        _draw_contrast(own, place[own["contrast"]], ax=ax)
    ax.set_ylim(rows[-1].top + rows[-1].height + 0.02, 0)
    ax.set_yticks([])
    ax.margins(x=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], min_n_ticks=2))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}".replace("-", "−"))
    return ax


def _draw_contrast(row: Mapping[Hashable, Any], middle: float, *, ax: Axes) -> None:
    """Draw one way of comparing the sides of a contrast: estimate, interval, star."""
    colour, marker, offset, _ = METHODS[row["method"]]
    height = middle + offset * ROW
    if np.isfinite(row["ci_low"]):
        ax.plot([row["ci_low"], row["ci_high"]], [height] * 2, color=colour, linewidth=1.0)
    look: dict[str, Any] = {"linestyle": "", "markeredgecolor": colour, "zorder": 4}
    filled = colour if row["q"] <= row["alpha"] else "white"
    size: dict[str, Any] = {"markersize": 3.6, "markeredgewidth": 0.8}
    ax.plot(row["estimate"], height, marker=marker, markerfacecolor=filled, **size, **look)
    if row["q_over_models"] <= row["alpha"]:
        end = max(row["estimate"], np.nan_to_num(row["ci_high"], nan=row["estimate"]))
        beside = offset_copy(ax.transData, ax.get_figure(root=True), x=4.5, units="points")
        ax.plot(end, height, marker=STAR, markersize=4.5, transform=beside, **look)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set, a panel per signal and variant."""
    require_columns(data, COLUMNS, figure="model_contrasts")
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    datasets = names.order_datasets(axis_of)
    blocks = [data[data["dataset"] == dataset] for dataset in datasets]
    most = max(len(layout.quantities(block, names)) for block in blocks)
    width = min(style.PAGE, max(4.4, LABELS + (PANEL + GAP) * min(most, PER_LINE)))
    titles = [_title(block, names, width) for block in blocks]
    heights = [
        BLOCK_TITLE + layout.TITLE_LINE * title.count("\n") + _height(block, names)
        for block, title in zip(blocks, titles, strict=True)
    ]
    # A gap that grows with the height of the page would be wide.
    engine = ConstrainedLayoutEngine(hspace=0.0)
    whole = Figure(figsize=(width, sum(heights) + LEGEND), layout=engine)
    parts = whole.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights, hspace=0.0)
    for part, block, title in zip(parts[:, 0], blocks, titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        _draw_block(part, block, names)
    layout.legend_below(whole, _handles(data), width)
    return whole


def _height(block: pd.DataFrame, names: Names) -> float:
    """Inches of all lines of panels of a data set."""
    titles = [quantity.title(names, PANEL) for quantity in layout.quantities(block, names)]
    last = rows_of(block)[-1]
    lines = [titles[start : start + PER_LINE] for start in range(0, len(titles), PER_LINE)]
    return sum(
        last.top + last.height + AROUND + layout.TITLE_LINE * max(t.count("\n") for t in line)
        for line in lines
    )


def _title(block: pd.DataFrame, names: Names, width: float) -> str:
    """Data set, people and contrasts that are not drawn, in lines that fit."""
    first = block.iloc[0]
    fewest, most = block["n"].min(), block["n"].max()
    people = f"n = {fewest}" if fewest == most else f"n = {fewest} to {most}"
    left_out = int(first["not_drawn"])
    more = f"; {left_out} contrasts of fewer pairs are in the table" if left_out else ""
    label = names.dataset_label(first["dataset"], first["modality"])
    return textwrap.fill(f"{label}  ·  {people}{more}", int(layout.BOLD_LETTERS_PER_INCH * width))


def _draw_block(part: SubFigure, block: pd.DataFrame, names: Names) -> None:
    """One data set: names of contrasts at the left, a panel per signal and variant."""
    rows, quantities = rows_of(block), layout.quantities(block, names)
    axes = layout.panels(part, len(quantities), per_line=PER_LINE)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        own = layout.of_quantity(block, quantity)
        plot_model_contrasts(own, ax=ax, rows=rows)
        layout.set_title(ax, quantity.title(names, PANEL))
        units = ", ".join(dict.fromkeys(own["unit"].replace({"R2": "R²", "rho": "ρ"})))
        ax.set_xlabel(f"difference ({units})")
        if layout.starts_line(ax):
            _name_rows(ax, rows)


def _name_rows(ax: Axes, rows: Sequence[Row]) -> None:
    """Write the names of contrasts beside a panel, those of factors in bold."""
    ax.set_yticks([row.middle for row in rows], labels=[row.label for row in rows])
    ax.tick_params(axis="y", length=0)
    for text, row in zip(ax.get_yticklabels(), rows, strict=True):
        text.set_fontweight("normal" if row.contrast else "bold")


def _label(row: Mapping[Hashable, Any]) -> str:
    """Name of a contrast and its pairs; one that is long is broken between its sides."""
    pairs = f"\N{NO-BREAK SPACE}({row['n_pairs']})"
    if row["factor"] == "named":
        return textwrap.fill(f"{row['contrast']}{pairs}", LABEL_LETTERS)
    a, b = (str(row[side]).replace("_", " ") for side in ("level_a", "level_b"))
    second = f"−\N{NO-BREAK SPACE}{b}{pairs}"
    if len(f"{a} {second}") <= LABEL_LETTERS:
        return f"{a} {second}"
    return "\n".join(textwrap.fill(side, LABEL_LETTERS) for side in (a, second))


def _handles(data: pd.DataFrame) -> list[Line2D]:
    found = [
        Line2D([], [], color=colour, marker=marker, linestyle="-", linewidth=1, label=label)
        for name, (colour, marker, _, label) in METHODS.items()
        if (data["method"] == name).any()
    ]
    alpha = f"{data['alpha'].iloc[0]:g}"
    look: dict[str, Any] = {"color": style.INK, "marker": "o", "linestyle": "", "markersize": 4}
    found.append(Line2D([], [], **look, label=f"filled: q ≤ {alpha} over people"))
    found.append(
        Line2D(
            [],
            [],
            color=style.INK,
            marker=STAR,
            linestyle="",
            markersize=5,
            label=f"q ≤ {alpha} over people and models",
        )
    )
    return found
