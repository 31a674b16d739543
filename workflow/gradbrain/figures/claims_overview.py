"""All predictions at a glance: verdict, estimate and q per data set, model and signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradbrain.figures import style
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows

TITLE = "Verdicts on all predictions"
INPUTS = ("claims",)
MODALITIES = ("fmri", "meg")
SPACES = ()

COLUMNS = [
    "prediction",
    "dataset",
    "model",
    "signal",
    "variant",
    "estimate",
    "unit",
    "q",
    "q_opposite",
    "n",
    "verdict",
]

#: Width of the row labels, in cells.
LABELS = 4.4

#: Columns of the overview, grouped: what raw scores say, then what the unique part says.
GROUPS: dict[str, list[tuple[str, str]]] = {
    "alone (raw scores)": [(name, "raw") for name in ("A1", "P1", "P2", "P3", "P4", "P5", "C2")],
    "unique part": [
        *((name, "unique") for name in ("C1", "C2")),
        *((name, "unique") for name in ("P1", "P2", "P3", "P4", "P5")),
    ],
}


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Rows of the claims table, checked for their verdicts and predictions."""
    claims = inputs.table("claims")
    require_rows(claims, figure="claims_overview", what="claims")
    for column, known in (("verdict", style.VERDICTS), ("prediction", style.PREDICTIONS)):
        unknown = sorted(set(claims[column].astype(str)) - set(known))
        if unknown:
            raise FigureError(
                f"claims table: unknown {column} {unknown}; expected one of {list(known)}"
            )
    return claims[COLUMNS].sort_values(
        ["dataset", "model", "signal", "prediction", "variant"], ignore_index=True
    )


def overview_rows(data: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Data set, model and learning signal of each row of the overview, from top to bottom.

    A1 concerns the activation, which has no row of its own unless no learning signal was taken.
    """
    rows: list[tuple[str, str, str]] = []
    for dataset in sorted(set(data["dataset"])):
        of_dataset = data[data["dataset"] == dataset]
        for model in style.order_models(of_dataset["model"]):
            signals = set(of_dataset.loc[of_dataset["model"] == model, "signal"])
            learning = signals - {"activation"} or signals
            roles = dict.fromkeys(learning, "learning")
            rows += [(dataset, model, signal) for signal in style.order_signals(learning, roles)]
    return rows


def overview_columns(data: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Group, prediction and variant of each column of the overview, from left to right."""
    present = set(zip(data["prediction"], data["variant"], strict=True))
    return [
        (group, prediction, variant)
        for group, members in GROUPS.items()
        for prediction, variant in members
        if (prediction, variant) in present
    ]


def plot_claims_overview(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw the table of verdicts.

    Parameters
    ----------
    data
        Claims: ``prediction``, ``dataset``, ``model``, ``signal``, ``variant``, ``estimate``,
        ``unit``, ``q``, ``n``, ``verdict``.
    ax
        Where to draw; one unit is one cell.
    """
    require_columns(data, COLUMNS, figure="claims_overview")
    rows, columns = overview_rows(data), overview_columns(data)
    cells = {
        (row.dataset, row.model, row.signal, row.prediction, row.variant): row
        for row in data.itertuples()
    }
    places = _column_places(columns)
    for i, (dataset, model, signal) in enumerate(rows):
        for place, (_, prediction, variant) in zip(places, columns, strict=True):
            about = "activation" if prediction == "A1" else signal
            claim = cells.get((dataset, model, about, prediction, variant))
            if claim is not None:
                _draw_cell(claim, place, i, ax=ax)
    _draw_headings(rows, columns, places, ax=ax)
    ax.set_xlim(-0.1, places[-1] + 1.1)
    ax.set_ylim(len(rows) + 0.1, -1.6)
    ax.axis("off")
    return ax


def _column_places(columns: list[tuple[str, str, str]]) -> list[float]:
    """Left edge of each column, with a gap between groups."""
    groups = list(dict.fromkeys(group for group, _, _ in columns))
    return [j + 0.25 * groups.index(group) for j, (group, _, _) in enumerate(columns)]


def _draw_cell(claim: Any, x: float, y: float, *, ax: Axes) -> None:
    fill, ink, mark = style.VERDICTS[claim.verdict]
    edge = "#C9C9C9" if claim.verdict == "descriptive" else fill
    ax.add_patch(
        Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, facecolor=fill, edgecolor=edge, linewidth=0.7)
    )
    estimate = "–" if not np.isfinite(claim.estimate) else rounded(claim.estimate)
    unit = "ms" if claim.unit == "ms" else ""
    ax.text(
        x + 0.5,
        y + 0.38,
        f"{mark} {estimate} {unit}".strip(),
        ha="center",
        va="center",
        color=ink,
        fontsize=7.5,
        fontweight="bold",
    )
    decisive = claim.q_opposite if claim.verdict == "contradicted" else claim.q
    q = f"q {_short(decisive)}" if np.isfinite(decisive) else "not judged"
    ax.text(x + 0.5, y + 0.7, q, ha="center", va="center", color=ink, fontsize=6)


def rounded(estimate: float) -> str:
    """Estimate in as many digits as a cell can hold."""
    digits = 0 if abs(estimate) >= 10 else 2 if abs(estimate) >= 0.1 else 3
    return style.signed(estimate, digits)


def _short(q: float) -> str:
    return "< .001" if q < 0.001 else f"= {q:.3f}".replace("0.", ".")


def _draw_headings(
    rows: list[tuple[str, str, str]],
    columns: list[tuple[str, str, str]],
    places: list[float],
    *,
    ax: Axes,
) -> None:
    for place, (_, prediction, _) in zip(places, columns, strict=True):
        ax.text(place + 0.5, -0.68, prediction, ha="center", fontsize=9, fontweight="bold")
        ax.text(
            place + 0.5,
            -0.6,
            style.PREDICTIONS[prediction],
            ha="center",
            va="top",
            fontsize=5.6,
            color=style.INK,
            linespacing=1.15,
        )
    for group in dict.fromkeys(group for group, _, _ in columns):
        members = [p for p, column in zip(places, columns, strict=True) if column[0] == group]
        ax.plot([members[0] + 0.03, members[-1] + 0.97], [-1.1, -1.1], color=style.INK, lw=0.8)
        middle = (members[0] + members[-1] + 1) / 2
        ax.text(middle, -1.2, group, ha="center", fontsize=8, color=style.INK)
    previous = ("", "")
    for i, (dataset, model, signal) in enumerate(rows):
        if (dataset, model) != previous:
            ax.plot([-LABELS, places[-1] + 1], [i, i], color=style.FAINT, lw=0.6, clip_on=False)
            name = style.dataset_label(dataset)
            ax.text(-LABELS, i + 0.16, name, va="top", fontsize=7, fontweight="bold")
            ax.text(-LABELS, i + 0.54, style.model_label(model), va="top", fontsize=7)
        label = style.signal_label(signal).replace(" (", "\n(")
        ax.text(-0.12, i + 0.5, label, ha="right", va="center", fontsize=7, linespacing=1.2)
        previous = (dataset, model)


def figure(data: pd.DataFrame) -> Figure:
    """Draw the overview with the legend of verdicts below."""
    require_columns(data, COLUMNS, figure="claims_overview")
    n_rows, columns = len(overview_rows(data)), overview_columns(data)
    cell_width, cell_height, below = 0.72, 0.44, 0.4
    table_width = _column_places(columns)[-1] + 1
    span = LABELS + table_width + 0.3
    width, height = cell_width * span, cell_height * (n_rows + 1.7) + below
    whole = Figure(figsize=(width, height))
    ax = whole.add_axes(
        (
            (LABELS + 0.1) / span,
            below / height,
            (table_width + 0.2) / span,
            1 - (below + 0.05) / height,
        )
    )
    plot_claims_overview(data, ax=ax)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=fill, edgecolor="#C9C9C9", label=f"{mark}  {verdict}")
        for verdict, (fill, _, mark) in style.VERDICTS.items()
    ]
    whole.legend(handles=handles, loc="lower right", ncols=len(handles), borderaxespad=0.8)
    return whole
