"""The idea of the study: both passes of a network, and what each prediction would look like.

Everything but the verdicts below the panels is a drawing, made of a few curves and of no data.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from numpy.typing import NDArray

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names

TITLE = "The idea: what backpropagation in the brain would look like"
INPUTS = ("claims",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "prediction",
    "y": "estimate",
    "series": "verdict",
    "panels": ("dataset", "model", "signal", "variant"),
    "text": ("unit", "q"),
}

COLUMNS = [*layout.KEYS, "prediction", "estimate", "unit", "q", "n", "n_subjects", "verdict"]
#: Axis and title of the rows of panels -> predictions from left to right.
ROWS: dict[tuple[str, str], tuple[str, ...]] = {
    ("roi", "in cortex"): ("A1", "P1", "P2", "P5"),
    ("time", "over time"): ("A1", "P1", "P3", "P4"),
    ("", "beside controls"): ("C1", "C2"),
}
#: Colours of what runs forwards and of what is sent back, in this drawing alone.
FORWARD, BACKWARD = style.BLUE, style.VERMILION
DEPTHS = np.array([0.1, 0.4, 0.7, 1.0])
REGIONS = np.linspace(0, 1, 50)
TIMES = np.linspace(0, 1, 80)
#: Inches: margin, network, width and height of a panel, between them, below one.
MARGIN, NETWORK, WIDTH, HEIGHT, BETWEEN, BELOW = 0.15, 1.75, 1.28, 0.85, 0.3, 0.5


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Claims, whose verdicts are counted below the drawing of each prediction."""
    claims = inputs.table("claims")
    require_rows(claims, figure="idea", what="claims")
    order = ["dataset", "model", "signal", "prediction", "variant"]
    return claims[COLUMNS].sort_values(order, ignore_index=True)


def _bump(x: NDArray[np.float64], centre: float, width: float = 0.16) -> NDArray[np.float64]:
    return np.exp(-((x - centre) ** 2) / (2 * width**2))


def plot_network(*, ax: Axes) -> Axes:
    """Draw a network with its forward and its backward pass, and the brain's regions below.

    Parameters
    ----------
    ax
        Where to draw; one unit is an inch.
    """
    places = 1.35 + 1.05 * np.arange(len(DEPTHS))
    for place, depth in zip(places, DEPTHS, strict=True):
        ax.add_patch(
            Rectangle((place - 0.22, 0.45), 0.44, 0.6, facecolor=layout.depth_colour(depth), lw=0)
        )
    ends = [places[0] - 0.95, *places, places[-1] + 0.95]
    for left, right in pairwise(ends):
        start, stop = left + 0.28, right - 0.28
        _arrow(ax, (start, 0.9), (stop, 0.9), FORWARD, "-")
        if left != ends[0]:
            _arrow(ax, (stop, 0.6), (start, 0.6), BACKWARD, (0, (3, 1.5)))
    ax.text(ends[0], 0.75, "image", ha="center", va="center", fontsize=7.5)
    ax.text(ends[-1], 0.75, "objective", ha="center", va="center", fontsize=7.5)
    middle = (places[0] + places[-1]) / 2
    said = (
        (1.15, "forward pass: the activation of each layer", FORWARD, "bottom"),
        (0.37, "backward pass: the learning signal that reaches each layer", BACKWARD, "top"),
    )
    for height, text, colour, side in said:
        ax.text(middle, height, text, ha="center", va=side, fontsize=7.5, color=colour)
    ax.text(
        middle,
        0.12,
        "Both are used to predict the brain's responses to the same images.",
        ha="center",
        va="top",
        fontsize=7,
    )
    ax.set_xlim(0, style.PAGE - 2 * MARGIN)
    ax.set_ylim(0, NETWORK - 0.35)
    ax.axis("off")
    return ax


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    stop: tuple[float, float],
    colour: str,
    line: str | tuple[int, tuple[float, float]],
) -> None:
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, stop, color=colour, lw=1.3, linestyle=line, **look))


def plot_prediction(prediction: str, axis: str, *, ax: Axes) -> Axes:
    """Draw what a prediction would look like.

    Parameters
    ----------
    prediction
        ``A1``, ``P1`` to ``P5``, ``C1`` or ``C2``.
    axis
        ``roi``, ``time``, or empty for controls.
    ax
        Where to draw; no axis has a scale.
    """
    _DRAWINGS[prediction, axis](ax)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def _best_layers_rise(ax: Axes) -> None:
    _line(ax, REGIONS, 0.1 + 0.8 * REGIONS, FORWARD)
    _label(ax, "early → higher region", "best layer")


def _signal_sits_with_activation(ax: Axes) -> None:
    _line(ax, REGIONS, 0.12 + 0.8 * REGIONS, FORWARD)
    _line(ax, REGIONS, 0.05 + 0.8 * REGIONS, BACKWARD)
    _label(ax, "early → higher region", "best layer")


def _above_chance_in_cortex(ax: Axes) -> None:
    _chance(ax)
    _line(ax, REGIONS, np.full_like(REGIONS, 0.6), BACKWARD)
    _label(ax, "early → higher region", "score")


def _higher_more_than_early(ax: Axes) -> None:
    _chance(ax)
    _line(ax, REGIONS, 0.3 + 0.55 * REGIONS, BACKWARD)
    _label(ax, "early → higher region", "score")


def _peaks_rise(ax: Axes) -> None:
    for depth in DEPTHS:
        curve = _bump(TIMES, 0.2 + 0.5 * depth, 0.1)
        ax.plot(TIMES, curve, color=layout.depth_colour(depth), lw=1.4)
    _label(ax, "time →", "score")


def _peaks_fall(ax: Axes) -> None:
    for depth in DEPTHS:
        curve = _bump(TIMES, 0.85 - 0.5 * depth, 0.1)
        ax.plot(TIMES, curve, color=layout.depth_colour(depth), lw=1.4, linestyle=(0, (3, 1.5)))
    _label(ax, "time →", "score")


def _above_chance_in_time(ax: Axes) -> None:
    _chance(ax)
    _line(ax, TIMES, 0.85 * _bump(TIMES, 0.65, 0.12), BACKWARD)
    _label(ax, "time →", "score")


def _later_than_activation(ax: Axes) -> None:
    _line(ax, TIMES, 0.9 * _bump(TIMES, 0.3, 0.11), FORWARD)
    _line(ax, TIMES, 0.75 * _bump(TIMES, 0.65, 0.11), BACKWARD)
    _label(ax, "time →", "score of a layer")


def _adds_to_activations(ax: Axes) -> None:
    ax.bar([0, 1], [0.6, 0.6], color=FORWARD, width=0.5)
    ax.bar([1], [0.25], bottom=[0.6], color=BACKWARD, width=0.5, hatch="///", edgecolor="white")
    ax.set_xlim(-0.6, 1.6)
    _label(ax, "activations   and signal", "explained")


def _beyond_best_control(ax: Axes) -> None:
    ax.bar([0], [0.8], color=BACKWARD, width=0.5, hatch="///", edgecolor="white")
    ax.bar([1, 2, 3], [0.35, 0.25, 0.12], color=style.PALETTES["control"][:3], width=0.5)
    ax.set_xlim(-0.6, 3.6)
    _label(ax, "signal     its controls", "unique part")


_DRAWINGS: dict[tuple[str, str], Callable[[Axes], None]] = {
    ("A1", "roi"): _best_layers_rise,
    ("P1", "roi"): _above_chance_in_cortex,
    ("P2", "roi"): _higher_more_than_early,
    ("P5", "roi"): _signal_sits_with_activation,
    ("A1", "time"): _peaks_rise,
    ("P1", "time"): _above_chance_in_time,
    ("P3", "time"): _later_than_activation,
    ("P4", "time"): _peaks_fall,
    ("C1", ""): _adds_to_activations,
    ("C2", ""): _beyond_best_control,
}


def _line(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], colour: str) -> None:
    ax.plot(x, y, color=colour, lw=1.6, linestyle="-" if colour == FORWARD else (0, (3, 1.5)))
    ax.set_ylim(0, 1.05)


def _chance(ax: Axes) -> None:
    ax.axhspan(-0.2, 0.15, color=style.CEILING_BAND, lw=0)
    ax.text(0.05, 0.05, "chance", fontsize=6, color=style.INK)


def _label(ax: Axes, below: str, beside: str) -> None:
    ax.set_xlabel(below, fontsize=6.5, labelpad=2)
    ax.set_ylabel(beside, fontsize=6.5, labelpad=2)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange the network above a row of panels in cortex, over time and beside controls."""
    require_columns(data, COLUMNS, figure="idea")
    del names  # the drawing is of any study
    row = HEIGHT + BELOW + 0.3
    page = layout.Page(style.PAGE, NETWORK + row * len(ROWS) + 0.05)
    page.text(MARGIN, 0.08, "A drawing, not data", fontsize=9, fontweight="bold")
    plot_network(ax=page.axes(MARGIN, 0.3, style.PAGE - 2 * MARGIN, NETWORK - 0.35))
    left = MARGIN + 0.45
    for place, ((axis, title), predictions) in enumerate(ROWS.items()):
        top = NETWORK + place * row
        middle = top + 0.3 + HEIGHT / 2
        page.text(MARGIN, middle, title, fontsize=8, fontweight="bold", rotation=90, va="center")
        for column, prediction in enumerate(predictions):
            at = left + column * (WIDTH + BETWEEN)
            ax = page.axes(at, top + 0.3, WIDTH, HEIGHT)
            plot_prediction(prediction, axis, ax=ax)
            what = style.PREDICTIONS[prediction].replace("\n", " ")
            page.text(at, top + 0.1, f"{prediction}: {what}", fontsize=7)
            said = counted(data, prediction, axis)
            page.text(at, top + 0.3 + HEIGHT + 0.2, said, fontsize=6.5, linespacing=1.1)
    _draw_key(page, left + 2 * (WIDTH + BETWEEN), NETWORK + (len(ROWS) - 1) * row + 0.3)
    return page.figure


def counted(data: pd.DataFrame, prediction: str, axis: str) -> str:
    """Verdicts of the study on a prediction: on the unique part, if any is; else on raw scores.

    Parameters
    ----------
    data
        Claims.
    prediction
        Which.
    axis
        Of data sets that are counted; empty for all.
    """
    own = data[(data["prediction"] == prediction) & (data["verdict"] != "descriptive")]
    own = own[own["axis"] == axis] if axis else own
    if (own["variant"] == "unique").any():
        own = own[own["variant"] == "unique"]
    if own.empty:
        return "no verdict in this study"
    n = own["verdict"].value_counts()
    parts = [
        f"{n[verdict]} {mark}" for verdict, (_, _, mark) in style.VERDICTS.items() if verdict in n
    ]
    return f"this study: {', '.join(parts)}"


def _draw_key(page: layout.Page, left: float, top: float) -> None:
    """Explain colours and marks where the last row has no panels."""
    dashes = (0, (3, 1.5))
    lines = [
        Line2D([], [], color=FORWARD, lw=1.6, label="activation"),
        Line2D([], [], color=BACKWARD, lw=1.6, linestyle=dashes, label="learning signal"),
        *(
            Line2D([], [], color=style.depth_colours()(float(depth)), lw=3, label=label)
            for depth, label in zip(DEPTHS, ("first layer", "", "", "last layer"), strict=True)
            if label
        ),
    ]
    marks = ", ".join(f"{mark} {verdict}" for verdict, (_, _, mark) in style.VERDICTS.items()
                      if verdict != "descriptive")  # fmt: skip
    page.figure.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(left / page.width, 1 - top / page.height),
        borderaxespad=0,
        ncols=2,
    )
    page.text(left, top + HEIGHT + 0.2, f"verdicts on models and data\n{marks}", fontsize=6.5)
