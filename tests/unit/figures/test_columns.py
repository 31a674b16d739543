"""Every column of the numbers behind a figure is explained in the reference."""

from __future__ import annotations

import pytest

from gradbrain.figures.declarations import declaration, figure_names
from gradbrain.vocabulary.artefacts import ARTEFACTS

EXPLAINED = {column.name for item in ARTEFACTS.values() for column in item.columns}


@pytest.mark.parametrize("name", figure_names())
def test_columns_of_a_figure_are_explained(name, figure_inputs):
    data = declaration(name).plugin.load().select(figure_inputs)
    assert set(data.columns) <= EXPLAINED


def test_no_column_is_explained_that_no_figure_has(figure_inputs):
    drawn = {
        column
        for name in figure_names()
        for column in declaration(name).plugin.load().select(figure_inputs).columns
    }
    own = {column.name for column in ARTEFACTS["figure"].columns}
    # A figure that has nothing to draw says so in a column of its own.
    assert own - drawn == {"note"}
