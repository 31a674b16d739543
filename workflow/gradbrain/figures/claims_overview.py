"""All predictions at a glance: verdict, estimate and q per data set, model and signal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradbrain.figures import layout, style
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.reasons import REASONS
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

TITLE = "Verdicts on all predictions"
INPUTS = ("claims",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "prediction",
    "y": "estimate",
    "series": "signal",
    "panels": ("dataset", "model", "variant"),
    "text": ("unit", "q", "verdict", "reason"),
}

COLUMNS = [
    "prediction",
    *layout.KEYS,
    "estimate",
    "unit",
    "q",
    "q_opposite",
    "n",
    "n_subjects",
    "verdict",
    "reason",
    "coverage",
]

#: Width of the row labels, and height of a group's headings, in cells.
LABELS = 2.9
HEADINGS = 1.6
#: Of the text below the tables: letters that surely fit into an inch, and height of a line.
LETTERS_PER_INCH = 18
LINE = 0.13

#: Data set, model and signal of a row of the overview; the same with prediction and variant.
Row = tuple[str, str, str]
Place = tuple[str, str, str, str, str]

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
    known: dict[str, Iterable[str]] = {
        "verdict": style.VERDICTS,
        "prediction": style.PREDICTIONS,
        "reason": ["", *REASONS],
    }
    for column, allowed in known.items():
        unknown = sorted(set(claims[column]) - set(allowed))
        if unknown:
            raise FigureError(
                f"claims table: unknown {column} {unknown}; expected one of {list(allowed)}"
            )
    order = ["dataset", "model", "signal", "prediction", "variant"]
    return claims[COLUMNS].sort_values(order, ignore_index=True)


def overview_rows(data: pd.DataFrame, names: Names) -> list[Row]:
    """Data set, model and learning signal of each row of the overview, from top to bottom.

    The activation has no row of its own unless no learning signal was taken.
    """
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    rows: list[Row] = []
    for dataset in names.order_datasets(axis_of):
        of_dataset = data[data["dataset"] == dataset]
        for model in names.order_models(of_dataset["model"]):
            own = of_dataset[of_dataset["model"] == model]
            role_of = dict(zip(own["signal"], own["role"], strict=True))
            learning = [signal for signal, role in role_of.items() if role == LEARNING]
            signals = names.order_signals(learning or role_of, role_of)
            rows += [(dataset, model, signal) for signal in signals]
    return rows


@dataclass(frozen=True)
class Cell:
    """A claim where it is drawn.

    Attributes
    ----------
    claim
        A row of the claims.
    n_rows
        Rows of the overview that the cell spans, from its own downwards: what is predicted of the
        activation is one claim, whatever the number of learning signals beside it.
    """

    claim: Any
    n_rows: int = 1


def overview_cells(data: pd.DataFrame, rows: Sequence[Row]) -> dict[Place, Cell]:
    """Claims by the row of the overview that they begin in, prediction and variant: each once.

    Parameters
    ----------
    data
        Claims.
    rows
        From :func:`overview_rows`.
    """
    cells: dict[Place, Cell] = {}
    for claim in data.itertuples():
        own = [row for row in rows if row[:2] == (claim.dataset, claim.model)]
        covered = own if claim.role == ACTIVATION else [(*own[0][:2], str(claim.signal))]
        cells[(*covered[0], str(claim.prediction), str(claim.variant))] = Cell(claim, len(covered))
    return cells


def overview_columns(data: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Group, prediction and variant of each column of the overview, from left to right."""
    present = set(zip(data["prediction"], data["variant"], strict=True))
    return [
        (group, prediction, variant)
        for group, members in GROUPS.items()
        for prediction, variant in members
        if (prediction, variant) in present
    ]


def plot_claims_overview(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw the tables of verdicts: above, on signals alone; below, on their unique part.

    Parameters
    ----------
    data
        Claims: ``prediction``, ``dataset``, ``axis``, ``model``, ``signal``, ``role``,
        ``variant``, ``estimate``, ``unit``, ``q``, ``n``, ``verdict``, ``reason`` and others.
    ax
        Where to draw; one unit is one cell.
    names
        Labels of data sets, models and signals.
    """
    require_columns(data, COLUMNS, figure="claims_overview")
    rows, columns = overview_rows(data, names), overview_columns(data)
    cells = overview_cells(data, rows)
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    groups = list(dict.fromkeys(group for group, _, _ in columns))
    for place, group in enumerate(groups):
        members = [column[1:] for column in columns if column[0] == group]
        top = place * (HEADINGS + len(rows)) + HEADINGS
        _draw_headings(group, members, top, ax=ax)
        _draw_row_labels(rows, len(members), top, modality_of, ax=ax, names=names)
        for i, row in enumerate(rows):
            for j, member in enumerate(members):
                cell = cells.get((*row, *member))
                if cell is not None:
                    _draw_cell(cell, j, top + i, ax=ax)
    ax.set_xlim(-LABELS, _n_columns(columns) + 0.05)
    ax.set_ylim(len(groups) * (HEADINGS + len(rows)) + 0.1, 0)
    ax.axis("off")
    return ax


def _n_columns(columns: list[tuple[str, str, str]]) -> int:
    """Columns of the widest group."""
    groups = [group for group, _, _ in columns]
    return max(map(groups.count, groups))


def _draw_cell(cell: Cell, x: float, y: float, *, ax: Axes) -> None:
    claim = cell.claim
    fill, ink, mark = style.VERDICTS[claim.verdict]
    edge = "#C9C9C9" if claim.verdict == "descriptive" else fill
    height = cell.n_rows - 0.12
    ax.add_patch(
        Rectangle((x + 0.03, y + 0.06), 0.94, height, facecolor=fill, edgecolor=edge, linewidth=0.7)
    )
    y += (cell.n_rows - 1) / 2
    estimate, test = cell_text(claim)
    for place, text, size, weight in ((0.36, estimate, 8, "bold"), (0.7, test, 7, "normal")):
        ax.text(
            x + 0.5,
            y + place,
            f"{mark} {text}" if text == estimate else text,
            ha="center",
            va="center",
            color=ink,
            fontsize=size,
            fontweight=weight,
        )


def cell_text(claim: Any) -> tuple[str, str]:
    """What a cell says of a claim: its estimate and q, or that there is no test, and why.

    Parameters
    ----------
    claim
        Has ``estimate``, ``unit``, ``q``, ``q_opposite``, ``n``, ``n_subjects``, ``verdict`` and
        ``reason``. Where it rests on some subjects only, it says on how many.
    """
    reason = REASONS[claim.reason].short if claim.reason else ""
    if not np.isfinite(claim.estimate):
        return "no test", reason
    estimate = f"{rounded(claim.estimate)} {'ms' if claim.unit == 'ms' else ''}".strip()
    decisive = claim.q_opposite if claim.verdict == "contradicted" else claim.q
    if np.isfinite(decisive):
        some = f", {claim.n}/{claim.n_subjects}" if claim.n < claim.n_subjects else ""
        return estimate, f"q {_short(decisive)}{some}"
    return estimate, reason or "no test"


def explanations(data: pd.DataFrame) -> str:
    """What the short reasons of the cells mean, each once."""
    said = {text for claim in data.itertuples() for text in cell_text(claim)}
    meant = [reason for reason in REASONS.values() if reason.short in said]
    some = data[(data["n"] < data["n_subjects"]) & data["q"].notna()]
    part = (f"{claim.n}/{claim.n_subjects}" for claim in some.head(1).itertuples())
    return "; ".join(
        [
            *(f"{reason.short}: {reason.sentence}" for reason in meant),
            *(f"{n} and the like: so many of the subjects have the statistic" for n in part),
        ]
    )


def rounded(estimate: float) -> str:
    """Estimate in as many digits as a cell can hold."""
    digits = 0 if abs(estimate) >= 10 else 2 if abs(estimate) >= 0.1 else 3
    return style.signed(estimate, digits)


def _short(q: float) -> str:
    return "< .001" if q < 0.001 else f"= {q:.3f}".replace("0.", ".")


def _draw_headings(group: str, members: list[tuple[str, str]], top: float, *, ax: Axes) -> None:
    ax.text(0.03, top - 1.28, group, fontsize=9, fontweight="bold", color=style.INK)
    ax.plot([0.03, len(members) - 0.03], [top - 1.18] * 2, color=style.INK, lw=0.8)
    for j, (prediction, _) in enumerate(members):
        ax.text(j + 0.5, top - 0.8, prediction, ha="center", fontsize=9, fontweight="bold")
        ax.text(
            j + 0.5,
            top - 0.7,
            style.PREDICTIONS[prediction],
            ha="center",
            va="top",
            fontsize=7,
            color=style.INK,
            linespacing=1.15,
        )


def _draw_row_labels(
    rows: list[tuple[str, str, str]],
    n_columns: int,
    top: float,
    modality_of: Mapping[str, str],
    *,
    ax: Axes,
    names: Names,
) -> None:
    previous = ("", "")
    for i, (dataset, model, signal) in enumerate(rows):
        y = top + i
        if (dataset, model) != previous:
            ax.plot([-LABELS, n_columns], [y, y], color=style.FAINT, lw=0.6, clip_on=False)
            name = names.dataset_label(dataset, modality_of[dataset])
            ax.text(-LABELS, y + 0.12, name, va="top", fontsize=7.5, fontweight="bold")
            ax.text(-LABELS, y + 0.4, names.label("model", model), va="top", fontsize=7.5)
        previous = (dataset, model)
        ax.text(-LABELS, y + 0.68, names.label("signal", signal), va="top", fontsize=7.5)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Draw the overview, with a legend of verdicts."""
    require_columns(data, COLUMNS, figure="claims_overview")
    columns = overview_columns(data)
    n_groups = len({group for group, _, _ in columns})
    width = 0.95 * (_n_columns(columns) + LABELS + 0.05)
    height = 0.58 * (n_groups * (HEADINGS + len(overview_rows(data, names))) + 0.1)
    said = textwrap.wrap(explanations(data), int(LETTERS_PER_INCH * width))
    below = LINE * max(0, len(said) - 1)
    whole = Figure(figsize=(width + 0.2, height + 0.7 + below))
    size = whole.get_size_inches()
    place = (0.1 / size[0], (0.6 + below) / size[1], width / size[0], height / size[1])
    ax = whole.add_axes(place)
    plot_claims_overview(data, ax=ax, names=names)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=fill, edgecolor="#C9C9C9", label=f"{mark}  {verdict}")
        for verdict, (fill, _, mark) in style.VERDICTS.items()
    ]
    whole.legend(handles=handles, loc="lower left", ncols=len(handles), borderaxespad=0.4)
    whole.text(0.1 / size[0], 0.38 / size[1], "\n".join(said), fontsize=7, va="bottom")
    return whole
