"""Verdicts of all models in one panel: a row per model, a column per prediction."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.names import Names
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

TITLE = "Verdicts of all models"
INPUTS = ("claims",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "model",
    "y": "estimate",
    "series": "verdict",
    "panels": ("dataset", "signal", "prediction", "variant"),
    "text": ("unit", "q", "n"),
}

COLUMNS = [*layout.KEYS, "prediction", "estimate", "unit", "q", "n", "n_subjects", "verdict"]
#: Verdicts of weight, and how much of the width of a cell they fill: told apart in grey, too.
FILLED = {"supported": 1.0, "contradicted": 0.45, "undetermined": 1.0}
#: More models have no name each: they are sorted by how many predictions they support.
MOST_NAMED = 40
#: Inches: margins, a column, the gap between groups, names of models, those of groups of models.
MARGIN, COLUMN, GAP, NAMED, UNNAMED = 0.1, 0.235, 0.16, 1.8, 0.55
#: Inches of a line of text, of the rows of few models, of all rows of many.
LINE, ROW, ALL_ROWS = 0.115, 0.17, 7.0
#: Letters of small text that fit into an inch.
LETTERS = 18


@dataclass(frozen=True, eq=False)
class Group:
    """Columns that belong together: one data set and learning signal.

    Attributes
    ----------
    dataset, signal
        Names of both.
    columns
        Variant and prediction of each.
    cells
        Verdicts, a row per model and a column per prediction; NaN where there is no claim.
    """

    dataset: str
    signal: str
    columns: tuple[tuple[str, str], ...]
    cells: pd.DataFrame

    @property
    def width(self) -> float:
        """In inches."""
        return COLUMN * len(self.columns)


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Claims that carry a verdict."""
    claims = inputs.table("claims")
    judged = claims[claims["verdict"] != "descriptive"]
    require_rows(judged, figure="claims_by_model", what="claims that carry a verdict")
    order = ["dataset", "model", "signal", "prediction", "variant"]
    return judged[COLUMNS].sort_values(order, ignore_index=True)


def ordered_models(data: pd.DataFrame, names: Names) -> list[str]:
    """Trained models, then untrained ones: as the study lists them or, of many, the best first."""
    models = names.order_models(data["model"])
    if len(models) <= MOST_NAMED:
        return models
    supported = (data["verdict"] == "supported").groupby(data["model"]).sum()
    return sorted(models, key=lambda name: (not names.is_trained(name), -supported[name]))


def groups_of(data: pd.DataFrame, names: Names) -> list[Group]:
    """Groups of columns, by data set and learning signal; that of the activation is in each."""
    models = ordered_models(data, names)
    axis_of = dict(zip(data["dataset"], data["axis"], strict=True))
    found = []
    for dataset in names.order_datasets(axis_of):
        own = data[data["dataset"] == dataset]
        role_of = dict(zip(own["signal"], own["role"], strict=True))
        learning = [signal for signal, role in role_of.items() if role == LEARNING]
        for signal in names.order_signals(learning or role_of, role_of):
            rows = own[(own["signal"] == signal) | (own["role"] == ACTIVATION)]
            table = rows.pivot_table(
                index="model", columns=["variant", "prediction"], values="verdict", aggfunc="first"
            )
            columns = tuple(
                (variant, prediction)
                for variant in style.VARIANT_LABELS
                for prediction in ("A1", "C1", "C2", "P1", "P2", "P3", "P4", "P5")
                if (variant, prediction) in table
            )
            cells = table.reindex(index=models, columns=pd.MultiIndex.from_tuples(columns))
            found.append(Group(dataset, signal, columns, cells))
    return found


def plot_claims_by_model(group: Group, *, ax: Axes, row: float) -> Axes:
    """Draw the cells of a group of columns.

    Parameters
    ----------
    group
        Verdicts.
    ax
        Where to draw; one unit is a cell.
    row
        Height of a row in inches: cells that are high enough have a mark.
    """
    cells, marked = group.cells.to_numpy(dtype=object), row >= LINE
    for verdict, share in FILLED.items():
        fill, ink, mark = style.VERDICTS[verdict]  # type: ignore[index]
        places = np.argwhere(cells == verdict)
        width, height = (0.92, 0.9) if marked else (0.9 * share, 1.0)
        patches = [Rectangle((x + 0.05, y), width, height) for y, x in places]
        ax.add_collection(PatchCollection(patches, facecolor=fill, linewidth=0))
        for y, x in places if marked else ():
            ax.text(x + 0.5, y + 0.47, mark, ha="center", va="center", color=ink, fontsize=6.5)
    for x in range(len(group.columns)):
        ax.text(
            x + 0.5,
            len(cells) + 0.06 / row,
            _count(cells[:, x]),
            ha="center",
            va="top",
            rotation=90,
            fontsize=6,
        )
    ax.set_xlim(0, len(group.columns))
    ax.set_ylim(len(cells), 0)
    ax.axis("off")
    return ax


def _count(verdicts: np.ndarray) -> str:
    """How many models support a prediction, and how many contradict it, of those with a claim."""
    n = {name: int((verdicts == name).sum()) for name in FILLED}
    against = f", {n['contradicted']} ✗" if n["contradicted"] else ""
    return f"{n['supported']} ✓{against} of {sum(n.values())}"


def _room_for_counts(groups: list[Group]) -> float:
    """Inches below the rows that the longest count takes, which is turned."""
    cells = [group.cells.to_numpy(dtype=object) for group in groups]
    longest = max(len(_count(own[:, x])) for own in cells for x in range(own.shape[1]))
    return 0.25 + longest / LETTERS


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange the groups of columns side by side, in as many lines as they need."""
    require_columns(data, COLUMNS, figure="claims_by_model")
    groups, models = groups_of(data, names), ordered_models(data, names)
    named = len(models) <= MOST_NAMED
    labels = [textwrap.fill(names.label("model", name), int(LETTERS * NAMED)) for name in models]
    most_lines = max(label.count("\n") + 1 for label in labels)
    row = max(ROW, LINE * most_lines) if named else ALL_ROWS / len(models)
    left = MARGIN + (NAMED if named else UNNAMED)
    lines = _lines(groups, style.PAGE - left - MARGIN)
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    heads = {group: _head(group, modality_of, names) for group in groups}
    head = LINE * (3.5 + max(text.count("\n") for text in heads.values()))
    line = head + row * len(models) + _room_for_counts(groups)
    page = layout.Page(style.PAGE, line * len(lines) + (0.3 if named else 0.5))
    for place, members in enumerate(lines):
        top, at = place * line + head, left
        if named:
            for i, label in enumerate(labels):
                middle = top + (i + 0.45) * row
                page.text(MARGIN, middle, label, fontsize=6.5, va="center", linespacing=0.95)
        else:
            _name_groups(page, models, top, row, names)
        for group in members:
            page.text(at, top - head + 0.04, heads[group], fontsize=6.5)
            _name_columns(page, group, at, top)
            ax = page.axes(at, top, group.width, row * len(models))
            plot_claims_by_model(group, ax=ax, row=row)
            at += max(group.width, _head_width(group)) + GAP
    _add_legend(page.figure, marked=row >= LINE, named=named)
    return page.figure


def _head_width(group: Group) -> float:
    """Inches that the name of a group takes: narrow groups are as wide as it."""
    return max(group.width, 1.4)


def _head(group: Group, modality_of: dict[str, str], names: Names) -> str:
    """Name of data set and signal, in lines."""
    letters = int(LETTERS * _head_width(group))
    parts = (
        names.dataset_label(group.dataset, modality_of[group.dataset]),
        names.label("signal", group.signal),
    )
    return "\n".join(textwrap.fill(part, letters) for part in parts)


def _lines(groups: list[Group], width: float) -> list[list[Group]]:
    """Groups that stand side by side within a width."""
    found: list[list[Group]] = [[]]
    free = width
    for group in groups:
        needed = _head_width(group)
        if found[-1] and needed > free:
            found.append([])
            free = width
        found[-1].append(group)
        free -= needed + GAP
    return found


def _name_columns(page: layout.Page, group: Group, left: float, top: float) -> None:
    """Name the predictions above their columns, and what they rest on above these."""
    for place, (_, prediction) in enumerate(group.columns):
        middle = left + (place + 0.5) * COLUMN
        page.text(middle, top - 0.03, prediction, fontsize=6.5, ha="center", va="bottom")
    variants = [variant for variant, _ in group.columns]
    for variant in dict.fromkeys(variants):
        start, n = variants.index(variant), variants.count(variant)
        label = style.VARIANT_LABELS[variant]
        # A name that is wider than its columns would run into the next.
        shown = label if n * COLUMN * LETTERS >= len(label) else label[: int(n * COLUMN * LETTERS)]
        middle = left + (start + n / 2) * COLUMN
        page.text(
            middle, top - 0.03 - LINE, shown, fontsize=6.5, ha="center", va="bottom",
            fontweight="bold",
        )  # fmt: skip


def _name_groups(
    page: layout.Page, models: list[str], top: float, row: float, names: Names
) -> None:
    """Name trained and untrained models beside their rows, and part them by a line."""
    n_trained = sum(map(names.is_trained, models))
    for start, end, what in ((0, n_trained, "trained"), (n_trained, len(models), "untrained")):
        if end > start:
            middle = top + row * (start + end) / 2
            text = f"{end - start} {what}\nmodels"
            page.text(MARGIN, middle, text, fontsize=7, rotation=90, va="center")
            page.axes(MARGIN + 0.32, top + row * start, 0.02, row * (end - start)).set(
                facecolor=style.MUTED, xticks=[], yticks=[]
            )


def _add_legend(whole: Figure, *, marked: bool, named: bool) -> None:
    handles = [
        Rectangle(
            (0, 0),
            1 if marked else FILLED[verdict],
            1,
            facecolor=style.VERDICTS[verdict][0],  # type: ignore[index]
            label=f"{style.VERDICTS[verdict][2]}  {verdict}"  # type: ignore[index]
            + (" (half a cell)" if verdict == "contradicted" and not marked else ""),
        )
        for verdict in FILLED
    ]
    title = None if named else "models stand by how many predictions they support"
    whole.legend(
        handles=handles,
        loc="lower left",
        ncols=len(handles),
        borderaxespad=0.4,
        title=title,
        title_fontsize=7,
        alignment="left",
    )
