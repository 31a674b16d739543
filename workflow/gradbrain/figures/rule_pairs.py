"""What the signal of each learning rule explains beside that of each other one."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import student_interval
from gradbrain.figures.names import Names
from gradbrain.vocabulary.intervals import INTERVAL

TITLE = "What learning rules explain beside one another"
INPUTS = ("rule_pairs",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "signal",
    "y": "share",
    "low": "ci_low",
    "high": "ci_high",
    "series": "role",
    "panels": ("dataset", "model", "other"),
    "text": ("unit", "n", "above_null"),
}

COLUMNS = [*layout.SOURCE, "other", "share", "unit", "ci_low", "ci_high", "n", "above_null"]
#: Inches: width of a cell, of the smallest panel, of a gap between panels, of the names of signals
#: beside a line of panels, of what stands around a panel without its title, of a line of a title
#: and of the legend.
CELL, PANEL, GAP, LABELS, AROUND, TITLE_LINE, LEGEND = 0.36, 2.0, 0.25, 1.45, 0.6, 0.14, 0.35
#: Inches: smallest height of a cell, of a line of a name beside it and of the gap to the next name.
CELL_HEIGHT, LABEL_LINE, LABEL_GAP = 0.26, 0.1, 0.03
#: Letters of a line of a name, and what it never breaks: the number behind it.
LABEL_LETTERS, NUMBER = 24, "  "
#: More signals leave no room for decimals, or for numbers: then there is a colour bar.
MOST_DECIMAL, MOST_NUMBERS = 14, 24
#: What stands below all panels, the second part where there are numbers; letters of an inch of it.
LEGEND_LETTERS_PER_INCH = 17
LEGEND_TEXT = (
    "Cells: percent that the signal of the row explains beside the signal of the column and all "
    "activations."
)
LEGEND_BOLD = f" Bold: the {INTERVAL} over people lies above zero."


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Mean over layers, regions or times and subjects of what each signal explains beside another.

    Times up to the onset of the image hold nothing of it, and take no part.

    ``share`` is of what can be explained or, where no noise ceiling is known, of all variance (as
    ``unit`` says), with Student's interval over subjects. ``above_null`` is the share of estimates
    of single layers and units that exceed permuted images in 95 % of draws; of signals that explain
    nothing there are .05. No place is chosen: what is at one of them alone is small here.
    """
    pairs = inputs.table("rule_pairs")
    pairs = pairs[~(pairs["time"] <= 0)]
    require_rows(pairs, figure="rule_pairs", what="pairs of signals")
    rows = []
    for key, own in pairs.groupby([*layout.SOURCE, "other"], sort=False):
        known = bool(own["explainable"].notna().all()) and own["explainable"].mean() > 0
        of_people = own.groupby("subject")[["component", "explainable"]].mean()
        # A ratio of means: of one person the ceiling may be near zero.
        whole = float(of_people["explainable"].mean()) if known else 1.0
        values = of_people["component"].to_numpy() / whole
        low, high = student_interval(values, inputs.settings)
        rows.append(
            dict(zip([*layout.SOURCE, "other"], key, strict=True))
            | {
                "share": values.mean(),
                "unit": "share of the explainable" if known else "share of the variance",
                "ci_low": low,
                "ci_high": high,
                "n": len(values),
                "above_null": (own["component"] > own["null_high"]).mean(),
            }
        )
    data = pd.DataFrame(rows)[COLUMNS]
    return data.sort_values([*layout.SOURCE, "other"], ignore_index=True)


def plot_pairs(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw a matrix: what the signal of a row explains beside that of a column, in percent.

    Parameters
    ----------
    data
        One data set and model with the columns of :data:`COLUMNS`.
    ax
        Where to draw; cells whose interval lies above zero are bold.
    names
        Order and labels of signals.
    """
    require_columns(data, COLUMNS, figure="rule_pairs")
    roles = dict(zip(data["signal"], data["role"], strict=True))
    order = names.order_signals(roles, roles)
    cells = data.set_index(["signal", "other"])
    matrix = np.array(
        [[100 * cells["share"].get((row, column), np.nan) for column in order] for row in order]
    )
    limit = max(1.0, float(np.nanmax(np.abs(matrix))))
    ax.imshow(matrix, vmin=-limit, vmax=limit, cmap="RdBu_r", interpolation="nearest")
    # No signal stands beside itself: that is no zero.
    ax.set_facecolor(style.FAINT)
    digits = 1 if len(order) <= MOST_DECIMAL else 0
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value) and len(order) <= MOST_NUMBERS:
            found = cells["ci_low"].get((order[row], order[column]), np.nan) > 0
            ax.text(
                column,
                row,
                style.signed(value, digits),
                ha="center",
                va="center",
                fontsize=style.SMALLEST_TEXT,
                fontweight="bold" if found else "normal",
                color="white" if abs(value) > 0.65 * limit else style.INK,
            )
    ax.grid(visible=False)
    labels = [_label(name, place, names) for place, name in enumerate(order)]
    ax.set_yticks(range(len(order)), labels=labels, fontsize=6.5, linespacing=1.0)
    ax.set_xticks(range(len(order)), labels=[str(place + 1) for place in range(len(order))])
    ax.tick_params(axis="x", labelsize=6.5)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    return ax


def _label(signal: str, place: int, names: Names) -> str:
    """Name of a signal in lines, and the number of its column."""
    kept = NUMBER.replace(" ", "\N{NO-BREAK SPACE}")
    label = f"{names.label('signal', signal)}{kept}{place + 1}"
    return textwrap.fill(label, LABEL_LETTERS).replace(kept, NUMBER)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a panel per data set and model, the models of a data set in one line if they fit."""
    require_columns(data, COLUMNS, figure="rule_pairs")
    items = layout.blocks(data, names)
    most = max(block.data["signal"].nunique() for block in items)
    room = style.PAGE - LABELS
    panel = min(max(PANEL, CELL * most), room - GAP)
    per_line = _per_line(items, int(room / (panel + GAP)))
    wide = min(len(items), per_line)
    titles = [_title(block, names, panel) for block in items]
    lines = layout.n_lines(len(items), per_line)
    around = AROUND + TITLE_LINE * max(title.count("\n") + 1 for title in titles)
    width = max(4.4, LABELS + (panel + GAP) * wide)
    height = lines * (around + _cell_height(items, names) * most)
    whole = Figure(figsize=(width, height + LEGEND), layout="constrained")
    axes = layout.panels(whole, len(items), per_line=per_line)[0]
    same = len({frozenset(block.data["signal"]) for block in items}) == 1
    for ax, block, title in zip(axes, items, titles, strict=True):
        plot_pairs(block.data, ax=ax, names=names)
        ax.set_title(title, fontsize=8)
        unit = block.data["unit"].iloc[0].replace("share", "%")
        ax.set_xlabel(f"beside signal ({unit})", fontsize=7)
        if block.data["signal"].nunique() > MOST_NUMBERS:
            bar = whole.colorbar(ax.images[0], ax=ax, aspect=30, pad=0.01, fraction=0.03)
            bar.set_label(unit, fontsize=7)
            bar.ax.tick_params(labelsize=6.5)
            layout.fill_bar(bar)
            bar.outline.set_visible(False)
        if same and not layout.starts_line(ax):
            numbers = [text.get_text().rsplit(NUMBER, 1)[1] for text in ax.get_yticklabels()]
            ax.set_yticks(ax.get_yticks(), labels=numbers)
    text = LEGEND_TEXT + (LEGEND_BOLD if most <= MOST_NUMBERS else "")
    said = textwrap.fill(text, int(LEGEND_LETTERS_PER_INCH * width))
    whole.supxlabel(said, x=0.01, ha="left", fontsize=7)
    return whole


def _cell_height(items: list[layout.Block], names: Names) -> float:
    """Inches of a cell that has room for the name of most lines beside it."""
    signals = {signal for block in items for signal in block.data["signal"]}
    most = max(_label(signal, len(signals), names).count("\n") + 1 for signal in signals)
    return max(CELL_HEIGHT, LABEL_LINE * most + LABEL_GAP)


def _per_line(items: list[layout.Block], fitting: int) -> int:
    """Panels side by side: all models of one or several data sets, where so many fit."""
    models = len({block.model for block in items})
    return max(1, fitting // models * models if fitting >= models else fitting)


def _title(block: layout.Block, names: Names, width: float) -> str:
    """Data set and model, each in lines that are no wider than a panel."""
    letters = int(layout.LETTERS_PER_INCH * width)
    return "\n".join(textwrap.fill(part, letters) for part in block.title(names).split("  ·  ", 1))
