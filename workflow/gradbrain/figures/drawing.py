"""Draw a figure of the library, or a plug-in, from results."""

from __future__ import annotations

import logging
import textwrap

import pandas as pd
from matplotlib.figure import Figure

from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins
from gradbrain.figures import style
from gradbrain.figures.declarations import (
    Declaration,
    FigureError,
    NothingToDraw,
    declaration,
)
from gradbrain.figures.heading import add_heading, heading
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.layout import empty_figure
from gradbrain.store import Study

log = logging.getLogger(__name__)


def draw(
    study: Study, name: str, *, plugins: Plugins = LIBRARY_PLUGINS
) -> tuple[Figure, pd.DataFrame]:
    """Draw a figure of an opened study anew.

    Parameters
    ----------
    study
        Its results.
    name
        Name of the figure.
    plugins
        Where it is looked up.

    Returns
    -------
    matplotlib.figure.Figure, pandas.DataFrame
        The figure, and the numbers behind it.

    Raises
    ------
    NothingToDraw
        The results hold nothing for it.
    GradbrainError
        There is no such figure, or results that it needs are missing.
    """
    what = declaration(name, plugins, where="name")
    return draw_declared(what, FigureInputs.of(study, what.reads))


def draw_declared(
    what: Declaration, inputs: FigureInputs, *, may_be_empty: bool = False
) -> tuple[Figure, pd.DataFrame]:
    """Draw a declared figure from given results.

    Parameters
    ----------
    what
        The figure.
    inputs
        Results that it declares.
    may_be_empty
        Draw a figure that says so where there is nothing to draw.

    Returns
    -------
    matplotlib.figure.Figure, pandas.DataFrame
        The figure, and the numbers behind it.

    Raises
    ------
    NothingToDraw
        There is nothing to draw, and `may_be_empty` is false.
    FigureError
        Its ``POINTS`` name columns that its table has not.
    """
    module = what.plugin.load()
    with style.applied():
        try:
            data = module.select(inputs)
            _check_points(what, data)
            names = inputs.names.including(data)
            whole = module.figure(data, names)
            add_heading(whole, heading(inputs.study, data, names))
            return whole, data
        except NothingToDraw as error:
            if not may_be_empty:
                raise
            log.warning("%s", error)
            return empty_figure(textwrap.fill(str(error), 90))


def _check_points(what: Declaration, data: pd.DataFrame) -> None:
    """Refuse a figure whose points the report could not show."""
    missing = [name for name in what.points.columns if name not in data] if what.points else []
    if missing:
        raise FigureError(
            f"{what.plugin.path}: POINTS names the column(s) {missing}, which select() does not "
            f"give; it gives {list(data)}"
        )
