"""A figure of one's own: a module in a folder of plug-ins, with its caption beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plot_figure
import pytest
import write_report
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import Plugins
from gradbrain.figures.declarations import FigureError, declaration, figure_names

MODULE = """
from matplotlib.figure import Figure

TITLE = "Mean score of each signal"
INPUTS = ("scores",)
AXES = ("roi", "time")
SPACES = ()


def select(inputs):
    return inputs.table("scores").groupby(["signal", "role"], as_index=False)["value"].mean()


def figure(data, names):
    whole = Figure()
    ax = whole.add_subplot()
    colours = [names.colour("signal", name) for name in data["signal"]]
    ax.bar([names.label("signal", name) for name in data["signal"]], data["value"], color=colours)
    return whole
"""
CAPTION = "**Mean scores.** A bar is a signal, and its height the mean over everything."


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of plug-ins with one figure."""
    own = tmp_path / "my_plugins" / "figures"
    own.mkdir(parents=True)
    (own / "mean_scores.py").write_text(MODULE, encoding="utf-8")
    (own / "mean_scores.rst").write_text(CAPTION, encoding="utf-8")
    return own.parent


def arguments(folder: Path, study: dict[str, list[Path]], stem: Path) -> list[str]:
    return [
        *("--figure", "mean_scores", "--study", "invented", "--output-stem", str(stem)),
        *("--entries", str(study["entries"][0])),
        *("--scores", *map(str, study["scores"])),
        *("--plugins", str(folder / "figures" / "mean_scores.py")),
    ]


def test_it_is_found_beside_those_of_the_library(folder):
    plugins = Plugins([folder])
    assert set(figure_names(plugins)) == {"mean_scores", *figure_names()}
    found = declaration("mean_scores", plugins)
    assert found.caption == folder / "figures" / "mean_scores.rst"
    assert found.title == "Mean score of each signal"
    assert found.applies_to("roi", "virtual")
    with pytest.raises(GradbrainError, match="no figure 'mean_scores'"):
        declaration("mean_scores")


@pytest.mark.parametrize("name", figure_names())
def test_captions_of_the_library_lie_with_the_report(name):
    assert declaration(name).caption.parts[-3:] == ("workflow", "report", f"{name}.rst")


def test_it_is_drawn_and_reported_like_any_other(folder, study, tmp_path, claims):
    stem = tmp_path / "figures" / "mean_scores"
    plot_figure.main(arguments(folder, study, stem))
    drawn = pd.read_csv(stem.with_suffix(".csv"))
    assert "gradient_dino" in set(drawn["signal"])
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"study": "invented"}), encoding="utf-8")
    write_report.main(
        [
            *("--study", "invented", "--config", str(config)),
            *("--claims", str(study["claims"][0]), "--entries", str(study["entries"][0])),
            *("--figures", str(stem.with_suffix(".png"))),
            *("--captions", str(folder / "figures" / "mean_scores.rst")),
            *("--plugins", str(folder / "figures" / "mean_scores.py")),
            *("--output", str(tmp_path / "report.html")),
        ]
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h3>Mean score of each signal</h3>" in page
    assert "<strong>Mean scores.</strong>" in page


def test_it_is_refused_without_its_caption(folder, study, tmp_path):
    caption = folder / "figures" / "mean_scores.rst"
    caption.unlink()
    with pytest.raises(FigureError, match=r"no caption .*figures/mean_scores\.rst"):
        declaration("mean_scores", Plugins([folder]))
    with pytest.raises(FigureError, match="no caption"):
        plot_figure.main(arguments(folder, study, tmp_path / "figure"))
    assert not list(tmp_path.glob("figure*"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('AXES = ("roi", "time")', 'MODALITIES = ("fmri",)', r"lacks AXES"),
        ('AXES = ("roi", "time")', 'AXES = ("fmri",)', r"AXES is \('fmri',\); expected some of"),
        ('AXES = ("roi", "time")', "AXES = ()", r"AXES is \(\); expected some of"),
        ('INPUTS = ("scores",)', 'INPUTS = ("score",)', r"INPUTS .*'scores'"),
        ('INPUTS = ("scores",)', 'INPUTS = "scores"', r"INPUTS is 'scores'; expected a tuple"),
        ('INPUTS = ("scores",)', 'INPUTS = ("hierarchy_draws",)', r"without 'hierarchy'"),
        ('INPUTS = ("scores",)', "INPUTS = tuple(['scores'])", r"INPUTS: not written as literals"),
        ('"Mean score of each signal"', "7", r"TITLE is 7; expected one line of text"),
    ],
)
def test_declarations_that_planning_cannot_read_are_refused(folder, old, new, said):
    # Under a name of its own: what was read of a module is kept.
    module = folder / "figures" / f"wrong_{abs(hash((old, new)))}.py"
    module.write_text(MODULE.replace(old, new), encoding="utf-8")
    module.with_suffix(".rst").write_text(CAPTION, encoding="utf-8")
    with pytest.raises(GradbrainError, match=said):
        declaration(module.stem, Plugins([folder]))


def test_a_figure_of_the_name_of_one_of_the_library_is_refused(folder):
    module = folder / "figures" / "rsa_summary.py"
    module.write_text(MODULE, encoding="utf-8")
    with pytest.raises(GradbrainError, match="another figure 'rsa_summary'"):
        Plugins([folder])


def test_a_figure_with_nothing_to_draw_says_so_where_nobody_named_it(folder, study, tmp_path):
    module = folder / "figures" / "mean_scores.py"
    needs = "from gradbrain.figures.inputs import require_rows\n" + MODULE.replace(
        "    return inputs.table",
        "    require_rows(inputs.table('scores').iloc[:0], figure='mean_scores', what='scores')\n"
        "    return inputs.table",
    )
    module.write_text(needs, encoding="utf-8")
    stem = tmp_path / "drawn"
    with pytest.raises(FigureError, match="the results hold no scores"):
        plot_figure.main(arguments(folder, study, stem))
    assert not stem.with_suffix(".png").exists()
    plot_figure.main([*arguments(folder, study, stem), "--may-be-empty"])
    assert "the results hold no scores" in pd.read_csv(stem.with_suffix(".csv"))["note"][0]
    assert stem.with_suffix(".png").stat().st_size > 0


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ('{"x": "signal"}', r"POINTS is {'x': 'signal'}; expected a dict with x and y and any of"),
        ('{"x": "signal", "y": 3}', r"POINTS\['y'\] is 3; expected text"),
        (
            '{"x": "signal", "y": "value", "panels": "role"}',
            r"POINTS\['panels'\] is 'role'; expected a tuple of names",
        ),
    ],
)
def test_points_that_are_no_declaration_are_refused(folder, points, message):
    module = folder / "figures" / "mean_scores.py"
    module.write_text(MODULE + f"\nPOINTS = {points}\n", encoding="utf-8")
    with pytest.raises(FigureError, match=message):
        declaration("mean_scores", Plugins([folder]))


def test_points_of_columns_that_the_table_lacks_are_told_when_it_is_drawn(folder, study, tmp_path):
    module = folder / "figures" / "mean_scores.py"
    stem = tmp_path / "figures" / "mean_scores"
    module.write_text(MODULE + '\nPOINTS = {"x": "signal", "y": "height"}\n', encoding="utf-8")
    with pytest.raises(FigureError, match=r"names the column\(s\) \['height'\], which select"):
        plot_figure.main(arguments(folder, study, stem))
    assert not stem.with_suffix(".csv").exists()
