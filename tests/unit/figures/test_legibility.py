"""All figures can be read: no text is cut, hidden by another or small, and no page is wide."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text
from trees.invented_study import FMRI, MEG, SIGNALS, Invented, Place, Signal, inputs_of, write_study

from gradbrain.config.registries import Registries
from gradbrain.figures import idea, layout, model_contrasts, style
from gradbrain.figures.declarations import declaration, figure_names
from gradbrain.figures.drawing import draw_declared
from gradbrain.figures.heading import add_heading, heading
from gradbrain.figures.inputs import FigureInputs

ROOT = Path(__file__).resolve().parents[3]
ALL = figure_names()
#: Figures that put all signals into one panel or on one axis.
OF_SIGNALS = (
    "claims_overview",
    "control_comparison",
    "model_contrasts",
    "rsa_summary",
    "rule_alikeness",
    "rule_ranking",
    "signal_reliability",
    "unique_share",
)
MODELS = {
    "vit_large_patch16_dinov3": (
        "vision transformer, large, with registers, distilled on images of the web, 518 px",
        "trained",
    ),
    "convnextv2_untrained_1": ("ConvNeXt-V2 tiny, untrained, second initialisation", "untrained"),
}  # fmt: skip
SECOND = {
    "alignment": Signal(
        "learning", "feedback_alignment", "dino", "feedback alignment with fixed random weights"
    ),
    "prop": Signal(
        "learning", "difference_target_propagation", "dino", "difference target propagation (DINO)"
    ),
}
PLACES = {
    FMRI: Place("fmri", "roi", "fsaverage5", "natural scenes, 7 T fMRI, all people and sessions"),
    MEG: Place("meg", "time", "sensors", "objects and their concepts, MEG, four people"),
}
#: Pixels by which the boxes of two texts may touch: they hold the room of letters that reach up
#: or down, whatever letters there are.
TOUCH = 2.0


@pytest.fixture(scope="module")
def wordy(tmp_path_factory) -> FigureInputs:
    """Three learning signals, all of whose names are long."""
    invented = Invented(signals=SIGNALS | SECOND, models=MODELS, places=PLACES)
    return inputs_of(write_study(tmp_path_factory.mktemp("wordy"), invented))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> FigureInputs:
    """All learning rules and controls of the library, in one network and one data set."""
    entries = Registries([ROOT / "config"]).signal_set("learning_rules", where="test").signals
    learning = tuple(entry.name for entry in entries if entry.role == "learning")
    signals = {
        entry.name: Signal(
            entry.role,
            entry.rule,
            entry.objective or "",
            entry.label,
            control_of=learning if entry.role == "control" else (),
        )
        for entry in entries
    }
    (model,) = list(MODELS.items())[:1]
    invented = Invented(signals=signals, models=dict([model]), places={FMRI: PLACES[FMRI]})
    return inputs_of(write_study(tmp_path_factory.mktemp("crowded"), invented))


@dataclass(frozen=True)
class Box:
    """A rectangle that may be turned: where a text is drawn, in pixels."""

    text: str
    centre: np.ndarray
    half: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, text: Text) -> Box:
        angle = text.get_rotation()
        around = text.get_window_extent()
        text.set_rotation(0)
        plain = text.get_window_extent()
        text.set_rotation(angle)
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        half = np.maximum(0, np.array([plain.width, plain.height]) / 2 - TOUCH / 2)
        centre = np.array([around.x0 + around.x1, around.y0 + around.y1]) / 2
        return cls(text.get_text(), centre, half, np.array([[cos, sin], [-sin, cos]]))

    @property
    def corners(self) -> np.ndarray:
        signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        return self.centre + (signs * self.half) @ self.axes

    def overlaps(self, other: Box) -> bool:
        """Whether no line parts the two (separating axis theorem)."""
        for axis in (*self.axes, *other.axes):
            own, others = self.corners @ axis, other.corners @ axis
            if own.max() <= others.min() or others.max() <= own.min():
                return False
        return True


def drawn_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Texts that are drawn, and no labels of ticks that lie beyond an axis."""
    with style.applied():
        figure.set_dpi(150)
        figure.draw_without_rendering()
        found: dict[int, Text] = {}
        plain = Text.draw

        def draw(self, renderer, *args, **kwargs):
            if self.get_visible() and self.get_text().strip():
                found[id(self)] = self
            return plain(self, renderer, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Text, "draw", draw)
            figure.draw_without_rendering()
    return list(found.values())


def check(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that a figure can be read on a page of two columns."""
    texts = drawn_texts(figure, monkeypatch)
    assert figure.get_figwidth() <= style.PAGE + 1e-6
    assert min(text.get_fontsize() for text in texts) >= style.SMALLEST_TEXT - 1e-6
    boxes = [Box.of(text) for text in texts]
    width, height = figure.get_size_inches() * figure.dpi
    cut = [box.text for box in boxes if (box.corners < 0).any() or
           (box.corners > [width, height]).any()]  # fmt: skip
    assert cut == []
    reach = [np.abs(box.corners - box.centre).max() for box in boxes]
    near = (
        (one, other)
        for (one, a), (other, b) in combinations(zip(boxes, reach, strict=True), 2)
        if np.abs(one.centre - other.centre).max() < a + b
    )
    assert [(one.text, other.text) for one, other in near if one.overlaps(other)] == []


@pytest.mark.parametrize("name", ALL)
def test_long_names_are_neither_cut_nor_hidden_and_no_text_is_small(name, wordy, monkeypatch):
    drawn, _ = draw_declared(declaration(name), wordy)
    check(drawn, monkeypatch)


@pytest.mark.parametrize("name", OF_SIGNALS)
def test_names_of_thirty_signals_are_neither_cut_nor_hidden(name, crowded, monkeypatch):
    drawn, _ = draw_declared(declaration(name), crowded)
    check(drawn, monkeypatch)


@pytest.mark.parametrize("name", ALL)
def test_texts_of_the_invented_study_are_neither_cut_nor_hidden(name, figure_inputs, monkeypatch):
    drawn, _ = draw_declared(declaration(name), figure_inputs)
    check(drawn, monkeypatch)


@pytest.mark.parametrize("n", [12, model_contrasts.MOST_ROWS])
def test_names_of_many_contrasts_are_neither_cut_nor_hidden(n, wordy, monkeypatch):
    data = model_contrasts.select(wordy)
    factors = list(model_contrasts.FACTORS)
    copies = [
        data.assign(contrast=f"all of the transformers against networks {i}",
                    factor=factors[i * len(factors) // n], q=0.01, q_over_models=0.01, not_drawn=30)
        for i in range(n)
    ]  # fmt: skip
    with style.applied():
        drawn = model_contrasts.figure(pd.concat(copies), wordy.names.including(data))
    check(drawn, monkeypatch)


def test_overlaps_and_cuts_are_found(monkeypatch):
    figure = Figure(figsize=(4, 3))
    figure.text(0.5, 0.5, "one text")
    check(figure, monkeypatch)
    over = figure.text(0.55, 0.5, "another")
    with pytest.raises(AssertionError, match="another"):
        check(figure, monkeypatch)
    over.set_position((0.95, 0.2))
    with pytest.raises(AssertionError, match="another"):
        check(figure, monkeypatch)
    over.set_position((0.2, 0.2))
    over.set_fontsize(5)
    with pytest.raises(AssertionError, match=r"5\.0"):
        check(figure, monkeypatch)


# Their tables count neither people nor images.
WITHOUT_COUNTS = ("rule_alikeness", "training_angles")


@pytest.mark.parametrize("name", [name for name in ALL if name not in WITHOUT_COUNTS])
def test_every_figure_says_its_study_and_how_many_people(name, figure_inputs):
    drawn, data = draw_declared(declaration(name), figure_inputs)
    said = drawn.texts[-1].get_text().replace("\n", " ")
    assert said.startswith("study invented")
    assert said.count("n = ") == (data["dataset"].nunique() if "dataset" in data else 1)


@pytest.mark.parametrize("name", ["fusion", "encoding_by_region"])
def test_no_line_of_the_title_of_a_block_begins_with_a_separator(name, wordy):
    drawn, _ = draw_declared(declaration(name), wordy)
    titles = [part.get_suptitle() for part in drawn.subfigs]
    assert any("·" in title and "\n" in title for title in titles)
    assert not [title for title in titles if "\n·" in title]


def test_a_number_and_its_unit_stand_on_one_line():
    title = f"simulated fMRI{layout.SEPARATOR}EfficientNet-Lite0, 128 px"
    lines = layout.fill(title, 42).splitlines()
    assert lines == ["simulated fMRI  ·  EfficientNet-Lite0,", "128 px"]


def test_a_figure_without_people_says_of_how_many_images_it_is(figure_inputs):
    drawn, data = draw_declared(declaration("signal_reliability"), figure_inputs)
    assert f"n = {data['n_images'].iloc[0]} images" in drawn.texts[-1].get_text()


def test_no_line_of_a_heading_begins_with_a_separator_or_parts_a_count(figure_inputs):
    data = declaration("claims_overview").plugin.load().select(figure_inputs)
    text = heading("invented", data, figure_inputs.names.including(data))
    for width in np.linspace(3, 7, 41):
        drawn = Figure(figsize=(width, 2))
        add_heading(drawn, text)
        lines = drawn.texts[-1].get_text().split("\n")
        assert len(lines) > 1
        assert not [line for line in lines if line.lstrip().startswith(("·", "=", "6"))]
        assert " ".join(lines).count("n = 6") == 3


@pytest.mark.parametrize("name", ["unique_share", "signal_reliability"])
def test_all_panels_below_one_another_have_numbers(name, figure_inputs, monkeypatch):
    drawn, _ = draw_declared(declaration(name), figure_inputs)
    texts = {id(text) for text in drawn_texts(drawn, monkeypatch)}
    assert len(drawn.axes) > 1
    for ax in drawn.axes:
        assert [label for label in ax.get_xticklabels() if id(label) in texts]


NAMED_IN_LEGENDS = {
    "unique_share": {"smallest share of interest"},
    "encoding_over_time": {
        "95th percentile of permuted images",
        "average of the other subjects",
        "highest score, where above chance",
        "above chance (p ≤ .05), a row per layer",
    },
    "rsa_summary": {"95th percentile of permuted images"},
    "rsa_of_predictions": {
        "95th percentile of permuted images",
        "noise ceiling, lower to upper edge",
    },
    "fusion": {"region and time, without a layer", "most that reliability allows"},
    "rule_alikeness": {"another rule", "counts as the gradient, if at every layer"},
    "specification_curve": {"95 % interval", "to be exceeded"},
    "variance_parts": {"95 % interval of a mean", "mean, 95 % interval"},
}


@pytest.mark.parametrize("name", NAMED_IN_LEGENDS)
def test_what_is_drawn_is_named_on_the_page(name, figure_inputs):
    drawn, _ = draw_declared(declaration(name), figure_inputs)
    said = {
        text.get_text().replace("\n", " ")
        for legend in drawn.findobj(Legend)
        for text in legend.get_texts()
    }
    assert NAMED_IN_LEGENDS[name] <= said


def test_regions_have_a_tick_each_above_their_maps(figure_inputs):
    drawn, _ = draw_declared(declaration("encoding_by_region"), figure_inputs)
    maps = [ax for ax in drawn.axes if ax.images and ax.images[0].get_array().ndim == 2]
    profiles = [ax for ax in drawn.axes if ax.get_title(loc="left")]
    assert len(maps) == len(profiles) > 0
    for profile, below in zip(profiles, maps, strict=True):
        np.testing.assert_array_equal(profile.get_xticks(), below.get_xticks())


def test_all_arrows_of_the_idea_have_a_shaft():
    ax = Figure().add_subplot()
    idea.plot_network(ax=ax)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    lengths = [abs(np.diff(np.array(arrow._posA_posB)[:, 0]))[0] for arrow in arrows]
    assert min(lengths) > 0.3
