"""Names of contrasts in the figure of controlled comparisons, and what its marks say."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradbrain.figures import model_contrasts as figure
from gradbrain.figures import style


@pytest.fixture
def data(figure_inputs) -> pd.DataFrame:
    """One signal of one data set, compared in three ways."""
    rows = figure.select(figure_inputs)
    first = rows.iloc[0]
    same = (rows["dataset"] == first["dataset"]) & (rows["signal"] == first["signal"])
    return rows[same & (rows["variant"] == "raw")].reset_index(drop=True)


def labels(data: pd.DataFrame, **cells) -> list[str]:
    return [row.label for row in figure.rows_of(data.assign(**cells))]


def joined(label: str) -> str:
    return label.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def test_both_sides_of_a_contrast_are_named_however_long(data):
    long = "a_network_with_a_very_long_name_trained_on_images_of_birds"
    heading, label = labels(data, level_a=long, level_b=f"{long}_too", n_pairs=7)
    assert heading == figure.FACTORS["diet"]
    assert joined(label) == f"{long} − {long}_too (7)".replace("_", " ")
    assert max(map(len, label.split("\n"))) <= figure.LABEL_LETTERS


def test_a_long_name_is_broken_between_the_sides_and_a_short_one_is_not(data):
    _, short = labels(data, level_a="dino", level_b="clip", n_pairs=7)
    assert joined(short) == "dino − clip (7)" and "\n" not in short
    _, long = labels(data, level_a="masked_autoencoder", level_b="supervised", n_pairs=7)
    assert [joined(line) for line in long.split("\n")] == [
        "masked autoencoder", "− supervised (7)",
    ]  # fmt: skip


def test_rows_follow_one_another_and_hold_their_names(data):
    long = data.assign(contrast="another", level_a="many words " * 9)
    rows = figure.rows_of(pd.concat([data, long]))
    for row, below in pairwise(rows):
        assert below.top == pytest.approx(row.top + row.height)
    for row in rows[1:]:
        assert row.height >= figure.LABEL_LINE * len(row.label.split("\n"))


def drawn(data: pd.DataFrame, **cells) -> Axes:
    changed = data.assign(**cells)
    with style.applied():
        ax = Figure().subplots()
        return figure.plot_model_contrasts(changed, ax=ax, rows=figure.rows_of(changed))


def test_filled_markers_hold_over_people_and_stars_over_models(data):
    for q, q_over_models in ((0.01, 0.01), (0.01, 0.5), (0.5, 0.5)):
        lines = drawn(data, q=q, q_over_models=q_over_models).lines
        stars = [line for line in lines if line.get_marker() == figure.STAR]
        known = {marker for _, marker, _, _ in figure.METHODS.values()}
        markers = [line for line in lines if line.get_marker() in known]
        assert len(markers) == len(data) == 3
        assert len(stars) == (3 if q_over_models < 0.05 else 0)
        assert all((line.get_markerfacecolor() != "white") == (q < 0.05) for line in markers)
