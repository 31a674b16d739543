"""The line above every figure: of which study it is, and of how many people."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from gradbrain.figures import layout, style
from gradbrain.figures.names import Names

#: Points of its text, letters of it that fit into an inch, inches of a line and around all lines.
SIZE, LETTERS_PER_INCH, LINE, AROUND = 7.0, 18, 0.13, 0.1


def add_heading(figure: Figure, text: str) -> None:
    """Make room above all that is drawn, and write into it.

    Parameters
    ----------
    figure
        With or without a layout engine, not yet laid out.
    text
        Is broken where it is too long.
    """
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(text, int(LETTERS_PER_INCH * (width - 0.2)))
    lines = [line.replace(layout.KEPT, " ") for line in lines]
    band = LINE * len(lines) + AROUND
    share = height / (height + band)
    figure.set_size_inches(width, height + band)
    if figure.get_layout_engine() is not None:
        figure.get_layout_engine().set(rect=(0, 0, 1, share))  # type: ignore[call-arg, union-attr]
    else:
        _move_down(figure, share)
    figure.text(
        0.1 / width,
        1 - 0.06 / (height + band),
        "\n".join(lines),
        va="top",
        fontsize=SIZE,
        color=style.INK,
    )


def _move_down(figure: Figure, share: float) -> None:
    """Keep what is drawn by hand in its place and size, counted from the lower edge."""
    for ax in figure.axes:
        left, bottom, width, height = ax.get_position(original=True).bounds
        ax.set_position((left, bottom * share, width, height * share))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, y * share))


def heading(study: str, data: pd.DataFrame, names: Names) -> str:
    """Say which study a figure is of, and how many people each data set has.

    A figure that counts no people says of how many images it is, where its table tells.

    Parameters
    ----------
    study
        Its name.
    data
        The table behind the figure: people are counted in ``subject`` or told by ``n_subjects``
        or ``n``, images by ``n_images``.
    names
        Labels of data sets.
    """
    return layout.SEPARATOR.join([f"study {study}", *_counts(data, names)])


def _counts(data: pd.DataFrame, names: Names) -> list[str]:
    """Number of people of each data set, or of images, as far as the table tells."""
    people = next((name for name in ("subject", "n_subjects", "n") if name in data), None)
    if people is None:
        return [f"{_n(_range(data['n_images']))} images"] if "n_images" in data else []
    if not {"dataset", "modality"} <= set(data):
        return []
    modality_of = dict(zip(data["dataset"], data["modality"], strict=True))
    axis_of = dict(zip(data["dataset"], data.get("axis", data["modality"]), strict=True))
    found = []
    for dataset in names.order_datasets(axis_of):
        own = data.loc[data["dataset"] == dataset, people]
        n = str(own.nunique()) if people == "subject" else _range(own)
        found.append(f"{names.dataset_label(dataset, modality_of[dataset])}: {_n(n)}")
    return found


def _n(count: str) -> str:
    """A count that no line parts."""
    return " ".join(("n", "=", count)).replace(" ", layout.KEPT)


def _range(counts: pd.Series) -> str:
    """A count, or the lowest and the highest of several."""
    known = counts.dropna().astype(int)
    return "–".join(map(str, dict.fromkeys([known.min(), known.max()])))
