"""Differences between models that differ in one factor, one row per contrast."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

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
#: Contrasts that a panel has room for; those of most pairs are drawn, and the rest is counted.
MOST_ROWS = 36
#: Method -> colour, marker, place beside the row, label.
METHODS = {
    "encoding": (style.BLUE, "o", -0.24, "encoding score"),
    "rsa": (style.ORANGE, "D", 0.0, "classical RSA"),
    "encoding_rsa": (style.GREEN, "^", 0.24, "RSA of held-out predictions"),
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
PANEL = 2.0
LABEL_LETTERS = 34


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


def rows_of(data: pd.DataFrame) -> list[tuple[str, str]]:
    """Lines of a panel from top to bottom: (factor, "") for a heading, (factor, contrast)."""
    lines: list[tuple[str, str]] = []
    for factor, contrast in dict.fromkeys(zip(data["factor"], data["contrast"], strict=True)):
        if not lines or lines[-1][0] != factor:
            lines.append((factor, ""))
        lines.append((factor, contrast))
    return lines


def plot_model_contrasts(data: pd.DataFrame, *, ax: Axes, lines: Sequence[tuple[str, str]]) -> Axes:
    """Draw the mean difference over subjects of each contrast, and its 95 % interval.

    Parameters
    ----------
    data
        One signal and variant of one data set: ``contrast``, ``method``, ``estimate``, ``ci_low``,
        ``ci_high``, ``q``, ``alpha``.
    ax
        Where to draw.
    lines
        Of :func:`rows_of`, the same for all panels of a data set.
    """
    require_columns(data, COLUMNS, figure="model_contrasts")
    place = {contrast: number for number, (_, contrast) in enumerate(lines) if contrast}
    ax.axvline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    for number, (_, contrast) in enumerate(lines):
        if not contrast:
            ax.axhspan(number - 0.5, number + 0.5, color="#F4F4F2", linewidth=0, zorder=0)
    for row in data.to_dict("records"):
        colour, marker, offset, _ = METHODS[row["method"]]
        height = place[row["contrast"]] + offset
        if np.isfinite(row["ci_low"]):
            ax.plot([row["ci_low"], row["ci_high"]], [height] * 2, color=colour, linewidth=1.0)
        passed = row["q"] <= row["alpha"]
        ax.plot(
            row["estimate"],
            height,
            marker=marker,
            markersize=3.8,
            markerfacecolor=colour if passed else "white",
            markeredgecolor=colour,
            markeredgewidth=0.8,
            linestyle="",
            zorder=4,
        )
        if row["q_over_models"] <= row["alpha"]:
            end = max(row["estimate"], np.nan_to_num(row["ci_high"], nan=row["estimate"]))
            ax.annotate(
                "*",
                (end, height),
                xytext=(2, -4.2),
                textcoords="offset points",
                color=colour,
                fontsize=8,
            )
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_yticks([])
    ax.margins(x=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    return ax


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set, a column per signal and variant."""
    require_columns(data, COLUMNS, figure="model_contrasts")
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    datasets = names.order_datasets(axis_of)
    blocks = [data[data["dataset"] == dataset] for dataset in datasets]
    heights = [0.95 + 0.2 * len(rows_of(block)) for block in blocks]
    n_columns = max(len(layout.quantities(block, names)) for block in blocks)
    whole = Figure(
        figsize=(2.7 + (PANEL + 0.1) * n_columns, sum(heights) + 0.45), layout="constrained"
    )
    parts = whole.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights, hspace=0.02)
    for part, block in zip(parts[:, 0], blocks, strict=True):
        _draw_block(part, block, names)
    whole.legend(handles=_handles(data), loc="outside lower left", ncols=3)
    return whole


def _draw_block(part: SubFigure, block: pd.DataFrame, names: Names) -> None:
    """One data set: names of contrasts at the left, a panel per signal and variant."""
    lines, quantities = rows_of(block), layout.quantities(block, names)
    first = block.iloc[0]
    left_out = int(first["not_drawn"])
    fewest, most = block["n"].min(), block["n"].max()
    people = f"n = {fewest}" if fewest == most else f"n = {fewest} to {most}"
    more = f"; {left_out} contrasts of fewer pairs are in the table" if left_out else ""
    label = names.dataset_label(first["dataset"], first["modality"])
    part.suptitle(f"{label}  ·  {people}{more}", x=0.01, ha="left", fontsize=9.5)
    axes = part.subplots(1, len(quantities), squeeze=False)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        own = layout.of_quantity(block, quantity)
        plot_model_contrasts(own, ax=ax, lines=lines)
        ax.set_title(quantity.title(names, PANEL))
        units = ", ".join(dict.fromkeys(own["unit"].replace({"R2": "R²", "rho": "ρ"})))
        ax.set_xlabel(f"difference ({units})")
    n_pairs = dict(zip(block["contrast"], block["n_pairs"], strict=True))
    sides = dict(
        zip(block["contrast"], zip(block["level_a"], block["level_b"], strict=True), strict=True)
    )
    axes[0].set_yticks(
        range(len(lines)),
        labels=[_label(line, sides, n_pairs) for line in lines],
    )
    for text, (_, contrast) in zip(axes[0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if contrast else "bold")
    axes[0].tick_params(axis="y", length=0)


def _label(
    line: tuple[str, str], sides: dict[str, tuple[str, str]], n_pairs: dict[str, int]
) -> str:
    """A heading, or the two sides of a contrast and its pairs."""
    factor, contrast = line
    if not contrast:
        return FACTORS[factor]
    named = contrast if factor == "named" else " − ".join(map(_spaced, sides[contrast]))
    return f"{textwrap.shorten(named, LABEL_LETTERS, placeholder='…')}  ({n_pairs[contrast]})"


def _spaced(level: str) -> str:
    return str(level).replace("_", " ")


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
            marker="$*$",
            linestyle="",
            markersize=5,
            label=f"q ≤ {alpha} over people and models",
        )
    )
    return found
