"""Verdicts on the three simulated brains of this study, beside what was planted in them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradbrain.figures import style
from gradbrain.figures.claims_overview import rounded
from gradbrain.figures.inputs import FigureInputs, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.reasons import REASONS
from gradbrain.vocabulary.roles import CONTROL, ROI, TIME

TITLE = "What was planted in three brains, and what was found"
INPUTS = ("claims",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "prediction",
    "y": "estimate",
    "series": "verdict",
    "panels": ("brain", "model", "axis", "variant"),
    "text": ("signal", "unit", "q", "planted"),
}

#: Brain -> its data sets, in the order of the rows.
BRAINS: dict[str, tuple[str, str]] = {
    "feedforward": ("simulated_fmri_feedforward", "simulated_meg_feedforward"),
    "backpropagation": ("simulated_fmri_backprop", "simulated_meg_backprop"),
    "the paper's pattern": ("simulated_fmri_paper_pattern", "simulated_meg_paper_pattern"),
}

#: Columns: prediction, variant, axis of the data set; of the claims that carry a verdict.
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("A1", "raw", ROI),
    ("A1", "raw", TIME),
    ("P1", "raw", ROI),
    ("P1", "raw", TIME),
    ("C1", "unique", ROI),
    ("C1", "unique", TIME),
    ("C2", "unique", ROI),
    ("C2", "unique", TIME),
    ("P2", "unique", ROI),
    ("P3", "unique", TIME),
    ("P4", "unique", TIME),
    ("P5", "unique", ROI),
)
_HOLDS_GRADIENTS = {"A1": "supported", "P1": "supported", "C1": "supported", "C2": "supported"}
#: What the truth of each brain is, as a verdict. Where no learning signal was planted C1 and C2 are
#: `not supported`, and there is no order to be judged; `open`: nothing that was planted decides it.
PLANTED: dict[str, Mapping[str, str]] = {
    "feedforward": {
        **{"A1": "supported", "P1": "supported", "C1": "not supported", "C2": "not supported"},
        **dict.fromkeys(("P2", "P3", "P4", "P5"), "not supported"),
    },
    # The same share everywhere, of which activations leave here more and there less.
    "backpropagation": _HOLDS_GRADIENTS
    | {"P2": "open", "P3": "supported", "P4": "supported", "P5": "supported"},
    "the paper's pattern": _HOLDS_GRADIENTS
    | {"P2": "supported", "P3": "supported", "P4": "contradicted", "P5": "contradicted"},
}
#: Width of the labels of rows, and height of those of columns, in cells.
LABELS, HEADINGS = 1.8, 0.8
AXIS_LABELS = {ROI: "fMRI", TIME: "MEG"}


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Claims of the columns, each with its brain, what was planted, and whether that was found."""
    claims = inputs.table("claims")
    claims = claims[claims["role"] != CONTROL]
    rows = []
    for brain, datasets in BRAINS.items():
        for prediction, variant, axis in COLUMNS:
            own = claims[
                claims["dataset"].isin(datasets)
                & (claims["prediction"] == prediction)
                & (claims["variant"] == variant)
                & (claims["axis"] == axis)
            ]
            rows.append(own.assign(brain=brain, planted=PLANTED[brain][prediction]))
    data = pd.concat(rows, ignore_index=True)
    require_rows(data, figure="three_brains", what="claims about the three simulated brains")
    found = data["verdict"].eq(data["planted"])
    found |= data["planted"].eq("not supported") & data["verdict"].ne("supported")
    found |= data["planted"].eq("open")
    columns = ["brain", "prediction", "variant", "axis", "dataset", "model", "signal"]
    columns += ["estimate", "unit", "q", "q_opposite", "n", "verdict", "reason", "planted"]
    return data.assign(as_planted=found)[[*columns, "as_planted"]]


def plot_three_brains(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw one row per brain: the verdict by the first trained network, below it the others'.

    Parameters
    ----------
    data
        As :func:`select` returns it.
    ax
        Where to draw; one unit is one cell.
    names
        Order of models.
    """
    models = names.order_models(data["model"])
    for j, (prediction, _, axis) in enumerate(COLUMNS):
        ax.text(j + 0.5, -0.6, f"{prediction} {AXIS_LABELS[axis]}", ha="center", weight="bold")
        ax.text(j + 0.5, -0.5, style.PREDICTIONS[prediction], ha="center", va="top", fontsize=7)
    brains = list(dict.fromkeys(data["brain"]))
    for i, brain in enumerate(brains):
        ax.text(-LABELS, i + 0.4, brain, va="center", weight="bold", fontsize=9)
        for j, column in enumerate(COLUMNS):
            of_cell = data["brain"].eq(brain)
            for name, value in zip(("prediction", "variant", "axis"), column, strict=True):
                of_cell &= data[name].eq(value)
            _draw_cell(data[of_cell].set_index("model"), models, j, i, ax=ax)
    ax.set_xlim(-LABELS, len(COLUMNS) + 0.05)
    ax.set_ylim(len(brains) + 0.05, -HEADINGS)
    ax.axis("off")
    return ax


def _draw_cell(claims: pd.DataFrame, models: list[str], x: int, y: int, *, ax: Axes) -> None:
    width = 0.94 / max(1, len(models) - 1)
    for place, model in enumerate(models):
        if model not in claims.index:
            continue
        claim = claims.loc[model]
        fill, ink, mark = style.VERDICTS[claim["verdict"]]
        if place:
            left = x + 0.03 + (place - 1) * width
            ax.add_patch(Rectangle((left, y + 0.76), width - 0.03, 0.18, facecolor=fill))
            ax.text(
                left + (width - 0.03) / 2,
                y + 0.85,
                mark,
                color=ink,
                fontsize=6,
                ha="center",
                va="center",
            )
            continue
        ax.add_patch(Rectangle((x + 0.03, y + 0.05), 0.94, 0.68, facecolor=fill))
        sizes = (8 if np.isfinite(claim["estimate"]) else 6, 6.5)
        words = (f"{mark} {_estimate(claim)}", f"planted: {_planted_mark(claim['planted'])}")
        for height, text, size in zip((0.27, 0.56), words, sizes, strict=True):
            ax.text(x + 0.5, y + height, text, color=ink, fontsize=size, ha="center", va="center")
        if not claim["as_planted"]:
            ax.add_patch(
                Rectangle((x + 0.03, y + 0.05), 0.94, 0.68, fill=False, ec=style.INK, lw=1.4)
            )


def _estimate(claim: pd.Series) -> str:
    if not np.isfinite(claim["estimate"]):
        return REASONS[claim["reason"]].short if claim["reason"] else "no test"
    return f"{rounded(claim['estimate'])}{' ms' if claim['unit'] == 'ms' else ''}"


def _planted_mark(planted: str) -> str:
    words = {"not supported": "not ✓", "open": "open"}
    return words.get(planted) or style.VERDICTS[planted][2]


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Draw the table, with a legend of verdicts and of networks."""
    height = 0.92 * (data["brain"].nunique() + HEADINGS)
    whole = Figure(figsize=(12.4, height + 0.4))
    place = (0.01, 0.4 / (height + 0.4), 0.98, height / (height + 0.4))
    plot_three_brains(data, ax=whole.add_axes(place), names=names)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=style.VERDICTS[verdict][0], label=f"{mark}  {verdict}")
        for verdict, (_, _, mark) in style.VERDICTS.items()
        if verdict != "descriptive" or data["verdict"].eq(verdict).any()
    ]
    handles.append(
        Rectangle((0, 0), 1, 1, fill=False, ec=style.INK, lw=1.4, label="not as planted")
    )
    whole.legend(handles=handles, loc="lower left", ncols=len(handles), borderaxespad=0.4)
    whole.text(0.99, 0.02, _networks(data, names), ha="right", va="bottom", fontsize=7)
    return whole


def _networks(data: pd.DataFrame, names: Names) -> str:
    """Say which networks the cells are of."""
    first, *others = (names.label("model", model) for model in names.order_models(data["model"]))
    lines = [f"large: {first}"]
    if others:
        lines.append(f"small: {' · '.join(others)}")
    return "\n".join(lines)
