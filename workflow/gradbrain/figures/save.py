"""Write a figure as PDF, PNG and the CSV behind it: same data, same bytes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure, FigureBase

from gradbrain.store import atomic_path

#: Without a date and a program version the file depends on its content alone.
_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}
PNG_DPI = 150
#: Digits of places on the page, as shares of it, and what keeps binary fractions from ties.
PLACES = 5
TIE_BREAK = 1.7e-6
# It tells of every glyph that it writes.
logging.getLogger("fontTools").setLevel(logging.WARNING)


def save_figure(figure: Figure, data: pd.DataFrame, stem: Path) -> list[Path]:
    """Write ``stem.pdf``, ``stem.png`` and ``stem.csv``, each in one step.

    Parameters
    ----------
    figure
        The figure.
    data
        The table behind it; floats are written with six significant digits.
    stem
        Path without ending.

    Returns
    -------
    list of Path
        The three files.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    # Once laid out, no layout is sought again, whatever a user's own settings are.
    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        _settle_layout(figure)
        for ending, metadata in _METADATA.items():
            path = stem.with_name(f"{stem.name}.{ending}")
            with atomic_path(path, digested=True) as temporary:
                figure.savefig(temporary, format=ending, dpi=PNG_DPI, metadata=metadata)
            written.append(path)
    path = stem.with_name(f"{stem.name}.csv")
    with atomic_path(path, digested=True) as temporary:
        data.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    return [*written, path]


def _settle_layout(figure: Figure) -> None:
    """Lay the figure out once, for all formats, in places that do not vary in the last bit.

    The solver of constrained layouts depends on addresses in memory: what it finds differs by
    1e-13, which a PDF shows where a rounded digit turns.
    """
    figure.set_dpi(PNG_DPI)
    engine = figure.get_layout_engine()
    if engine is None:  # its places are as they were given
        return
    engine.execute(figure)
    # "none" would leave an engine that does nothing, for which every file is drawn twice.
    figure.set_layout_engine(None)
    _settle_parts(figure)
    for ax in figure.axes:
        bounds = np.array(ax.get_position(original=True).bounds)
        # Binary fractions, which layouts like, lie half way between rounded values: not so
        # when shifted.
        ax.set_position(tuple(np.round(bounds + TIE_BREAK, PLACES)))


def _settle_parts(figure: FigureBase) -> None:
    """The same for the parts of a figure, in which axes have their places."""
    for part in figure.subfigs:
        box = part.bbox_relative
        box.p0, box.p1 = (np.round(point + TIE_BREAK, PLACES) for point in (box.p0, box.p1))
        _settle_parts(part)
