"""Specification curves: each claim under all choices, sorted, with the choices below.

After Simonsohn, Simmons & Nelson 2020, *Nature Human Behaviour* 4:1208–1214.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.figures.sensitivity import BASE, CLAIM
from gradbrain.vocabulary.intervals import INTERVAL

TITLE = "Every verdict under other choices of analysis"
INPUTS = ("universes", "specification_curve")
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "level_label",
    "y": "estimate",
    "x_label": "choice",
    "low": "ci_low",
    "high": "ci_high",
    "series": "verdict",
    "panels": ("dataset", "model", "signal", "prediction", "variant", "factor_label"),
    "text": ("universe", "kind", "unit"),
}

CHOICE = ("factor", "factor_label", "factor_order", "level", "level_label", "level_order")
COLUMNS = [
    *CLAIM,
    *(
        "axis",
        "role",
        "rule",
        "universe",
        "kind",
        "estimate",
        "unit",
        "ci_low",
        "ci_high",
        "reference",
        "verdict",
        "n_subjects",
    ),
    *CHOICE,
]
#: Inches: of a panel, its curve, a level of its matrix, the labels of levels.
WIDTH, CURVE, LEVEL, LABELS = 1.85, 1.25, 0.12, 1.6
PANELS_PER_ROW = 3
#: Inches of a column of the legend.
LEGEND = 1.5
#: Letters of a line: of the title of a panel, of the label of a level.
TITLE_LETTERS, LEVEL_LETTERS = 24, 34
#: Inches of a line of such a title.
TITLE_LINE = 0.13
#: Looks of what an estimate must exceed, and of its interval.
REFERENCE: dict[str, Any] = {"color": style.INK, "lw": 0.6, "ls": (0, (3, 2))}
BOUNDS: dict[str, Any] = {"color": style.FAINT, "lw": 1.2}
#: A point without a verdict of weight is still to be seen on white.
EDGE = {"undetermined": style.MUTED}


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Claims that carry a verdict, once for each universe and factor."""
    claims, universes = inputs.table("specification_curve"), inputs.table("universes")
    judged = claims[claims["verdict"] != "descriptive"]
    known = judged[np.isfinite(judged["estimate"])]
    require_rows(known, figure="specification_curve", what="claims with a verdict")
    # The gate of C1 closes other claims in some universes; what was never tested shows nothing.
    order = {name: place for place, name in enumerate(style.PREDICTIONS)}
    found = known.merge(universes, on="universe", validate="many_to_many")
    found = found.assign(place=found["prediction"].map(order))
    keys = ["dataset", "model", "place", "signal", "variant", "universe", "factor_order"]
    return found.sort_values(keys, ignore_index=True)[COLUMNS]


def in_order(claim: pd.DataFrame) -> list[str]:
    """Universes of one claim, by estimate; ties by name."""
    once = claim.drop_duplicates("universe")
    return list(once.sort_values(["estimate", "universe"])["universe"])


def plot_specification_curve(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw the estimates of one claim over its universes, the smallest first.

    Parameters
    ----------
    data
        Rows of one claim: ``universe``, ``kind``, ``estimate``, ``ci_low``, ``ci_high``,
        ``reference``, ``verdict``.
    ax
        Where to draw.
    """
    require_columns(data, COLUMNS, figure="specification_curve")
    once = data.drop_duplicates("universe").set_index("universe").loc[in_order(data)]
    places = np.arange(len(once))
    ax.axhline(once["reference"].iloc[0], **REFERENCE, zorder=1)
    ax.vlines(places, once["ci_low"], once["ci_high"], **BOUNDS, zorder=2)
    for verdict, (fill, _, _) in style.VERDICTS.items():
        own = (once["verdict"] == verdict).to_numpy()
        edge = EDGE.get(verdict, fill)
        ax.scatter(
            places[own], once["estimate"][own], s=9, color=fill, edgecolor=edge, lw=0.5, zorder=3
        )
    base = np.flatnonzero(once["kind"] == BASE)
    ax.scatter(
        base, once["estimate"].iloc[base], s=42, facecolor="none", edgecolor=style.INK, lw=0.9,
        zorder=4,
    )  # fmt: skip
    ax.set_xlim(-1, len(once))
    ax.tick_params(labelbottom=False, bottom=False, labelsize=7)
    return ax


def plot_choices(
    data: pd.DataFrame, *, ax: Axes, labelled: bool, levels: pd.DataFrame | None = None
) -> Axes:
    """Draw the matrix of choices below a curve: a row per level, a column per universe.

    Parameters
    ----------
    data
        One claim: a row per universe and factor.
    ax
        Where to draw.
    labelled
        Whether levels are named.
    levels
        Rows, as :func:`levels_of` has them: of all claims, where panels stand side by side and
        share their names; those of the claim by default.
    """
    place = {name: index for index, name in enumerate(in_order(data))}
    levels = levels_of(data) if levels is None else levels
    row = {
        key: index for index, key in enumerate(zip(levels["factor"], levels["level"], strict=True))
    }
    colours = data["verdict"].map(lambda verdict: EDGE.get(verdict, style.VERDICTS[verdict][0]))
    rows = [row[key] for key in zip(data["factor"], data["level"], strict=True)]
    columns = data["universe"].map(place)
    ax.scatter(columns, rows, s=5, marker="s", c=list(colours), lw=0)
    starts = np.flatnonzero(levels["level_order"] == 0)
    for start in starts[1:]:
        ax.axhline(start - 0.5, color=style.FAINT, lw=0.6)
    ax.set_xlim(-1, len(place))
    ax.set_ylim(len(levels) - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks(range(len(levels)) if labelled else [])
    if labelled:
        ax.set_yticklabels(level_labels(levels), fontsize=6.5, linespacing=0.95)
    ax.tick_params(length=0)
    for side in ("top", "right", "bottom", "left"):
        ax.spines[side].set_visible(False)
    return ax


def levels_of(data: pd.DataFrame) -> pd.DataFrame:
    """Levels of all factors, in the order of the config."""
    order = ["factor_order", "level_order"]
    return data[list(CHOICE)].drop_duplicates().sort_values(order, ignore_index=True)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Draw the curves of all claims: a block per data set and model, a panel per claim."""
    require_columns(data, COLUMNS, figure="specification_curve")
    rows = _blocks(data, names)
    blocks = [list(own.groupby(list(CLAIM), sort=False)) for _, own in rows]
    titles = {
        keys: _title(dict(zip(CLAIM, map(str, keys), strict=True)), own, names)
        for claims in blocks
        for keys, own in claims
    }
    levels = levels_of(data)
    labels = level_labels(levels)
    matrix = LEVEL * len(labels) * max(label.count("\n") + 1 for label in labels)
    above = 0.12 + TITLE_LINE * max(title.count("\n") + 1 for title in titles.values())
    panel = above + CURVE + 0.08 + matrix + 0.15
    width = LABELS + WIDTH * min(PANELS_PER_ROW, max(map(len, blocks)))
    letters = int(layout.BOLD_LETTERS_PER_INCH * width)
    heads = [textwrap.fill(head, letters) for head, _ in rows]
    heights = [0.2 + layout.TITLE_LINE * (head.count("\n") + 1) for head in heads]
    lines = [layout.n_lines(len(claims), PANELS_PER_ROW) for claims in blocks]
    page = layout.Page(width, sum(lines) * panel + sum(heights) + 0.65)
    top = 0.0
    for head, claims, height, count in zip(heads, blocks, heights, lines, strict=True):
        page.text(0.05, top + 0.1, head, fontsize=9, fontweight="bold")
        top += height
        for place, (keys, own) in enumerate(claims):
            line, column = divmod(place, PANELS_PER_ROW)
            left, upper = LABELS + column * WIDTH + 0.35, top + line * panel + above
            curve = page.axes(left, upper, WIDTH - 0.45, CURVE)
            plot_specification_curve(own, ax=curve)
            curve.set_title(titles[keys], fontsize=7.5)
            choices = page.axes(left, upper + CURVE + 0.08, WIDTH - 0.45, matrix)
            plot_choices(own, ax=choices, labelled=column == 0, levels=levels)
        top += count * panel
    _legend(page.figure)
    return page.figure


def level_labels(levels: pd.DataFrame) -> list[str]:
    """Labels of the rows of the matrix: the first level of a factor names the factor too."""
    names = [
        f"{level.factor_label}: {level.level_label}" if level.level_order == 0
        else str(level.level_label)
        for level in levels.itertuples()
    ]  # fmt: skip
    return [textwrap.fill(name, LEVEL_LETTERS) for name in names]


def _blocks(data: pd.DataFrame, names: Names) -> list[tuple[str, pd.DataFrame]]:
    """Heading and rows of every data set and model, claims in order of prediction and signal."""
    data = _by_claim(data, names)
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    found = []
    for dataset in names.order_datasets(axis_of):
        of_dataset = data[data["dataset"] == dataset]
        for model in names.order_models(of_dataset["model"]):
            head = (
                f"{names.dataset_label(dataset, modality_of[dataset])} · "
                f"{names.label('model', model)}"
            )
            found.append((head, of_dataset[of_dataset["model"] == model]))
    return found


def _by_claim(data: pd.DataFrame, names: Names) -> pd.DataFrame:
    """Rows by prediction, then by signal in the order of the entries."""
    roles = dict(zip(data["signal"], data["role"], strict=True))
    orders = {
        "prediction": list(style.PREDICTIONS),
        "signal": names.order_signals(roles, roles),
    }
    return data.sort_values(
        list(orders),
        key=lambda column: column.map(orders[str(column.name)].index),
        kind="stable",
        ignore_index=True,
    )


def _title(claim: dict[str, str], own: pd.DataFrame, names: Names) -> str:
    # Titles are as wide as their panel; the caption says what shares are of.
    short = {"R2": "R²", "share of the explainable": "share"}
    unit = short.get(own["unit"].iloc[0], own["unit"].iloc[0])
    what = style.PREDICTIONS[claim["prediction"]].replace("\n", " ")
    variant = style.VARIANT_LABELS[claim["variant"]]
    signal = names.label("signal", claim["signal"])
    parts = [f"{claim['prediction']} {what}", f"{variant}, {unit}", signal]
    return "\n".join(textwrap.fill(part, TITLE_LETTERS) for part in parts)


def _legend(whole: Figure) -> None:
    handles = [
        Line2D(
            [], [], ls="", marker="o", ms=4, mfc=fill, mec=EDGE.get(verdict, fill), label=verdict
        )
        for verdict, (fill, _, _) in style.VERDICTS.items()
        if verdict != "descriptive"
    ]
    ring = Line2D(
        [], [], ls="", marker="o", ms=7, mfc="none", mec=style.INK, label="the study as it is"
    )
    rest = [
        Line2D([], [], **BOUNDS, label=INTERVAL),
        Line2D([], [], **REFERENCE, label="to be exceeded"),
    ]
    columns = int(whole.get_figwidth() / LEGEND)
    whole.legend(
        handles=[*handles, ring, *rest], loc="lower left", ncols=columns, fontsize=7, frameon=False
    )
