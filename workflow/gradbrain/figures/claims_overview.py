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

#: Width of the row labels, in cells, and of a cell in inches.
LABELS = 2.3
CELL = 0.74
#: Heights in inches: of a group's headings, of a cell at least, of a line of labels.
HEADINGS, HEIGHT, LABEL_LINE = 1.0, 0.56, 0.115
#: Letters of a line: of a label, of what stands in a cell, of the few words on a prediction.
LABEL_LETTERS, CELL_LETTERS, TITLE_LETTERS = 29, 12, 13
#: Of the text below the tables: letters that surely fit into an inch, and height of a line.
LETTERS_PER_INCH = 17
LINE = 0.13
#: More rows are counted by data set and signal; every model has a row in `claims_by_model`.
MOST_ROWS = 40

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
        Where to draw; one unit is a cell from left to right, and an inch from top to bottom.
    names
        Labels of data sets, models and signals.
    """
    require_columns(data, COLUMNS, figure="claims_overview")
    rows, columns = overview_rows(data, names), overview_columns(data)
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    height = row_height(row_labels(rows, modality_of, names))
    cells = overview_cells(data, rows)
    groups = list(dict.fromkeys(group for group, _, _ in columns))
    end = 0.0
    for group in groups:
        members = [column[1:] for column in columns if column[0] == group]
        asked = {place[:2] for place in cells if place[3:] in members}
        # Of a model without a learning signal nothing is claimed of a unique part.
        own = [row for row in rows if row[:2] in asked]
        top = end + HEADINGS
        _draw_headings(group, members, top, ax=ax)
        _draw_row_labels(row_labels(own, modality_of, names), len(members), top, height, ax=ax)
        for i, row in enumerate(own):
            for j, member in enumerate(members):
                cell = cells.get((*row, *member))
                if cell is not None:
                    _draw_cell(cell, j, top + i * height, height, ax=ax)
        end = top + height * len(own)
    ax.set_xlim(-LABELS, _n_columns(columns) + 0.05)
    ax.set_ylim(end + 0.06, 0)
    ax.axis("off")
    return ax


def row_labels(
    rows: Sequence[Row], modality_of: Mapping[str, str], names: Names
) -> list[tuple[list[str], list[str]]]:
    """Lines of the label of each row, the bold ones first: data set; model and signal.

    Data set and model are named once for all signals.
    """
    found: list[tuple[list[str], list[str]]] = []
    previous = ("", "")
    for dataset, model, signal in rows:
        bold: list[str] = []
        plain: list[str] = []
        if (dataset, model) != previous:
            label = names.dataset_label(dataset, modality_of[dataset])
            # Bold letters are wider.
            bold = textwrap.wrap(label, LABEL_LETTERS - 4)
            plain = textwrap.wrap(names.label("model", model), LABEL_LETTERS) if model else []
        plain += textwrap.wrap(names.label("signal", signal), LABEL_LETTERS)
        found.append((bold, plain))
        previous = (dataset, model)
    return found


def row_height(labels: Sequence[tuple[list[str], list[str]]]) -> float:
    """Height of all rows in inches: of a cell, or of the label with most lines."""
    return max(HEIGHT, 0.1 + LABEL_LINE * max(len(bold) + len(plain) for bold, plain in labels))


def _n_columns(columns: list[tuple[str, str, str]]) -> int:
    """Columns of the widest group."""
    groups = [group for group, _, _ in columns]
    return max(map(groups.count, groups))


def _draw_cell(cell: Cell, x: float, top: float, row: float, *, ax: Axes) -> None:
    claim = cell.claim
    fill, ink, mark = style.VERDICTS[claim.verdict]
    edge = "#C9C9C9" if claim.verdict == "descriptive" else fill
    height = cell.n_rows * row - 0.07
    ax.add_patch(
        Rectangle(
            (x + 0.03, top + 0.035), 0.94, height, facecolor=fill, edgecolor=edge, linewidth=0.7
        )
    )
    middle = top + cell.n_rows * row / 2
    estimate, test = cell_text(claim)
    test = textwrap.fill(test, CELL_LETTERS)
    for shift, text, size, weight, side in (
        (-0.03, f"{mark} {estimate}", 7.5, "bold", "bottom"),
        (0.0, test, 7, "normal", "top"),
    ):
        ax.text(
            x + 0.5,
            middle + shift,
            text,
            ha="center",
            va=side,
            color=ink,
            fontsize=size,
            fontweight=weight,
            linespacing=1.0,
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
    ax.text(0.03, top - 0.82, group, fontsize=9, fontweight="bold", color=style.INK)
    ax.plot([0.03, len(members) - 0.03], [top - 0.77] * 2, color=style.INK, lw=0.8)
    for j, (prediction, _) in enumerate(members):
        ax.text(j + 0.5, top - 0.57, prediction, ha="center", fontsize=9, fontweight="bold")
        ax.text(
            j + 0.5,
            top - 0.53,
            textwrap.fill(style.PREDICTIONS[prediction].replace("\n", " "), TITLE_LETTERS),
            ha="center",
            va="top",
            fontsize=7,
            color=style.INK,
            linespacing=1.05,
        )


def _draw_row_labels(
    labels: Sequence[tuple[list[str], list[str]]],
    n_columns: int,
    top: float,
    height: float,
    *,
    ax: Axes,
) -> None:
    for i, (bold, plain) in enumerate(labels):
        y = top + i * height
        if bold:
            ax.plot([-LABELS, n_columns], [y, y], color=style.FAINT, lw=0.6, clip_on=False)
        for line, text in enumerate([*bold, *plain]):
            weight = "bold" if line < len(bold) else "normal"
            ax.text(
                -LABELS,
                y + 0.05 + LABEL_LINE * line,
                text,
                va="top",
                fontsize=7,
                fontweight=weight,
            )


@dataclass(frozen=True)
class Count:
    """How often each verdict was given on a prediction.

    Attributes
    ----------
    verdicts
        Verdict -> number of models, in the order of the legend.
    estimate
        Median over models, in words; empty where none is known.
    """

    verdicts: Mapping[str, int]
    estimate: str


def counts_of(data: pd.DataFrame) -> dict[Place, Count]:
    """Verdicts of many models, by data set, signal, prediction and variant.

    What is predicted of the activation stands in the row of the first learning signal.
    """
    found: dict[Place, Count] = {}
    for (dataset, role, signal, prediction, variant), own in data.groupby(
        ["dataset", "role", "signal", "prediction", "variant"]
    ):
        n = own["verdict"].value_counts()
        known = own["estimate"].dropna()
        unit = " ms" if (own["unit"] == "ms").all() else ""
        count = Count(
            {verdict: int(n[verdict]) for verdict in style.VERDICTS if verdict in n},
            f"{rounded(float(known.median()))}{unit}" if len(known) else "",
        )
        row = "" if role == ACTIVATION else str(signal)
        found[str(dataset), "", row, str(prediction), str(variant)] = count
    return found


def plot_counts(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw the same tables for many models: how many support or contradict a prediction.

    Parameters
    ----------
    data, ax, names
        As for :func:`plot_claims_overview`.
    """
    require_columns(data, COLUMNS, figure="claims_overview")
    rows = list(dict.fromkeys((row[0], "", row[2]) for row in overview_rows(data, names)))
    columns, counts = overview_columns(data), counts_of(data)
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    labels = row_labels(rows, modality_of, names)
    height = max(0.2 + 4 * LABEL_LINE, row_height(labels))
    groups = list(dict.fromkeys(group for group, _, _ in columns))
    table = HEADINGS + height * len(rows)
    for place, group in enumerate(groups):
        members = [column[1:] for column in columns if column[0] == group]
        top = place * table + HEADINGS
        _draw_headings(group, members, top, ax=ax)
        _draw_row_labels(labels, len(members), top, height, ax=ax)
        for i, row in enumerate(rows):
            first = i == 0 or rows[i - 1][0] != row[0]
            for j, member in enumerate(members):
                own = counts.get((*row, *member))
                if own is None and first:
                    own = counts.get((row[0], "", "", *member))
                if own is not None:
                    _draw_count(own, j, top + i * height, ax=ax)
    ax.set_xlim(-LABELS, _n_columns(columns) + 0.05)
    ax.set_ylim(len(groups) * table + 0.06, 0)
    ax.axis("off")
    return ax


def _draw_count(count: Count, x: float, top: float, *, ax: Axes) -> None:
    """Draw shares of verdicts as a bar; below it the median estimate and the numbers."""
    total, at = sum(count.verdicts.values()), x + 0.05
    for verdict, n in count.verdicts.items():
        fill, _, _ = style.VERDICTS[verdict]  # type: ignore[index]
        width = 0.9 * n / total
        ax.add_patch(
            Rectangle(
                (at, top + 0.06), width, 0.1, facecolor=fill, edgecolor="#C9C9C9", linewidth=0.5
            )
        )
        at += width
    lines = [count.estimate] + [
        f"{n} {style.VERDICTS[verdict][2]}"  # type: ignore[index]
        for verdict, n in count.verdicts.items()
    ]
    for line, text in enumerate(lines):
        weight = "normal" if line else "bold"
        y = top + 0.19 + LABEL_LINE * line
        ax.text(x + 0.5, y, text, ha="center", va="top", fontsize=7, fontweight=weight)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Draw the overview, with a legend of verdicts; of many models their number."""
    require_columns(data, COLUMNS, figure="claims_overview")
    rows, columns = overview_rows(data, names), overview_columns(data)
    many = len(rows) > MOST_ROWS
    plot = plot_counts if many else plot_claims_overview
    width = CELL * (_n_columns(columns) + LABELS + 0.05)
    said = textwrap.wrap(COUNTED if many else explanations(data), int(LETTERS_PER_INCH * width))
    below = 0.4 + LINE * len(said)
    # The height of the tables is known when they are drawn.
    drawn = plot(data, ax=Figure().add_subplot(), names=names)
    height = float(drawn.get_ylim()[0])
    page = layout.Page(width + 0.2, height + below)
    plot(data, ax=page.axes(0.1, 0, width, height), names=names)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=fill, edgecolor="#C9C9C9", label=f"{mark}  {verdict}")
        for verdict, (fill, _, mark) in style.VERDICTS.items()
    ]
    page.figure.legend(handles=handles, loc="lower left", ncols=len(handles), borderaxespad=0.4)
    page.text(0.1, height + 0.04, "\n".join(said), fontsize=7)
    return page.figure


#: What stands below the tables of many models.
COUNTED = (
    "Each cell counts the verdicts of all models on a prediction, below the median of their "
    "estimates; the figure of verdicts by model shows each."
)
