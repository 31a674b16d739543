"""Figures of studies whose signals, rules and modalities are other than the shipped ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import plot_figure
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from trees.invented_study import (
    FMRI,
    MEG,
    PAIR,
    SIGNALS,
    TRAINED,
    Invented,
    Place,
    Signal,
    inputs_of,
    write_study,
)

from gradbrain.figures import claims_overview, layout, specification_curve, style
from gradbrain.figures.declarations import FigureError, declaration, figure_names
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Names
from gradbrain.vocabulary.artefacts import artefact

# How networks learnt is one of models alone, and how alike signals are one of learning signals.
OTHERS = {"training", "alikeness", "rule_pairs"}
ALL = [name for name in figure_names() if not OTHERS & set(declaration(name).inputs)]
# Rendering surfaces takes long, and their signals come by the same way as those of other maps.
# The idea is a drawing of any study, and names none of its signals.
DRAWN = [name for name in ALL if name not in ("cortical_map", "idea")]
ONE_MODEL = {TRAINED: ("MobileNetV2, ImageNet-1k", "trained")}
# Reliability is one of images and signals, and names no data set.
OVER_TIME = [
    name
    for name in ALL
    if "time" in declaration(name).axes
    and "reliability" not in declaration(name).inputs
    and name != "idea"
]


def select(name: str, inputs: FigureInputs) -> pd.DataFrame:
    return declaration(name).plugin.load().select(inputs)


def drawn(name: str, data: pd.DataFrame, names: Names):
    with style.applied():
        return declaration(name).plugin.load().figure(data, names)


def texts(figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


def said(figure) -> str:
    return "\n".join(texts(figure))


def colours(figure) -> set[str]:
    return {to_hex(line.get_color()).upper() for ax in figure.axes for line in ax.lines}


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> FigureInputs:
    """Signals whose names say something else than they are."""
    signals = {
        "gradient_of_nothing": Signal("activation", "activation", label="what layers hold"),
        "all_activations": Signal("learning", "feedback_alignment", "dino"),
        "magnitude": Signal("learning", "feedback_alignment", "entropy", label="second"),
        "activation": Signal("control", "perturbation", control_of=("all_activations",)),
        "null": Signal("control", control_of=("all_activations", "magnitude")),
    }
    invented = Invented(signals=signals, models=ONE_MODEL)
    return inputs_of(write_study(tmp_path_factory.mktemp("odd"), invented))


@pytest.mark.parametrize("name", ALL)
def test_signals_may_be_called_anything(name, odd):
    data = select(name, odd)
    expected = {"gradient_of_nothing", "all_activations", "magnitude"}
    if name in ("control_comparison", "signal_reliability"):
        expected = {"all_activations", "magnitude", "activation", "null"}
    if name in ("unique_share", "variance_parts"):
        expected = {"all_activations", "magnitude"}
    assert set(data["signal"]) == expected
    # What all signals are held against has the name of one of them, and is never drawn.
    assert "baseline" not in set(data["role"])
    if name in ("encoding_by_region", "encoding_over_time"):
        assert data["value"].max() < 1


@pytest.mark.parametrize("name", DRAWN)
def test_signals_of_any_name_are_drawn_by_their_labels(name, odd):
    shown = said(drawn(name, select(name, odd), odd.names))
    assert "all activations" in shown
    assert "second" in shown
    assert "gradient_of_nothing" not in shown


@pytest.fixture(scope="module")
def electric(tmp_path_factory) -> FigureInputs:
    """A cap of electrodes, whose places are shared, and contacts inside the head, which are not."""
    places = {
        "lab_pilot": Place("eeg", "time", "sensors"),
        "contacts": Place("ieeg", "time", "contacts", "epilepsy patients"),
    }
    invented = Invented(places=places, models=ONE_MODEL)
    return inputs_of(write_study(tmp_path_factory.mktemp("electric"), invented))


@pytest.mark.parametrize("name", OVER_TIME)
def test_other_modalities_over_time_are_drawn_under_their_labels(name, electric):
    data = select(name, electric)
    shown = said(drawn(name, data, electric.names)).replace("\n", " ")
    assert "lab pilot (EEG)" in shown
    assert ("epilepsy patients" in shown) == (name != "sensor_topography")
    assert set(data["modality"]) == ({"eeg"} if name == "sensor_topography" else {"eeg", "ieeg"})


def test_contacts_inside_the_head_have_no_topography(electric, tmp_path):
    places = {"contacts": Place("ieeg", "time", "contacts")}
    inputs = inputs_of(write_study(tmp_path, Invented(places=places, models=ONE_MODEL)))
    with pytest.raises(FigureError, match="no maps over sensors with flat positions"):
        select("sensor_topography", inputs)


def test_sensors_that_subjects_do_not_share_have_no_topography(electric):
    class Own(FigureInputs):
        def map_stores(self):
            (tree,) = super().map_stores()
            group = tree["lab_pilot"].to_dataset(inherit=False)
            tree["lab_pilot"] = group.assign_coords(
                subject=("sensor", ["s01"] * group.sizes["sensor"])
            )
            return [tree]

    fields = {name: getattr(electric, name) for name in electric.__dataclass_fields__}
    with pytest.raises(FigureError, match="no maps over sensors"):
        select("sensor_topography", Own(**fields))


def test_electrodes_without_a_place_are_left_out_of_topographies(electric):
    class Lost(FigureInputs):
        def map_stores(self):
            (tree,) = super().map_stores()
            group = tree["lab_pilot"].to_dataset(inherit=False)
            x = group["sensor_x"].values.copy()
            x[:3] = float("nan")
            tree["lab_pilot"] = group.assign_coords(sensor_x=("sensor", x))
            return [tree]

    fields = {name: getattr(electric, name) for name in electric.__dataclass_fields__}
    whole, part = select("sensor_topography", electric), select("sensor_topography", Lost(**fields))
    kept = whole[~whole["sensor"].isin(["S000", "S001", "S002"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, kept)


SECOND_RULE = {
    "aligned": Signal("learning", "feedback_alignment", "dino"),
    "aligned_noise": Signal("control", "feedback_alignment", control_of=("aligned",)),
}


@pytest.fixture(scope="module")
def one_rule(tmp_path_factory) -> FigureInputs:
    invented = Invented(models=ONE_MODEL)
    return inputs_of(write_study(tmp_path_factory.mktemp("one_rule"), invented))


@pytest.fixture(scope="module")
def two_rules(tmp_path_factory) -> FigureInputs:
    invented = Invented(signals=SECOND_RULE | SIGNALS, models=ONE_MODEL)
    return inputs_of(write_study(tmp_path_factory.mktemp("two_rules"), invented))


@pytest.mark.parametrize("name", ALL)
def test_signals_of_a_second_rule_leave_the_rows_of_others_as_they_were(name, one_rule, two_rules):
    before, after = select(name, one_rule), select(name, two_rules)
    new = after["signal"].isin(list(SECOND_RULE))
    assert new.any()
    pd.testing.assert_frame_equal(after[~new].reset_index(drop=True), before, check_exact=True)
    assert set(after.loc[new, "rule"]) == {"feedback_alignment"}


def relabelled(names: Names, **signals: dict[str, str]) -> Names:
    return Names(
        tuple(
            replace(entry, **signals.get(entry.name, {})) if entry.kind == "signal" else entry
            for entry in names.entries
        )
    )


@pytest.mark.parametrize("name", DRAWN)
def test_a_label_changes_the_figure_and_nothing_behind_it(name, one_rule):
    names = relabelled(one_rule.names, gradient_dino={"label": "quite another name"})
    data = select(name, one_rule)
    pd.testing.assert_frame_equal(select(name, replace(one_rule, names=names)), data)
    for shown, changed in ((one_rule.names, False), (names, True)):
        text = said(drawn(name, data, shown))
        assert ("quite another name" in text) == changed
        assert ("gradient (DINO)" in text) != changed


@pytest.mark.parametrize(
    "name",
    ["best_layer_by_distance", "peak_time_by_depth", "control_comparison", "encoding_by_region"],
)
def test_a_colour_changes_the_figure_and_nothing_behind_it(name, one_rule):
    names = relabelled(one_rule.names, gradient_dino={"colour": "#123456"})
    data = select(name, one_rule)
    pd.testing.assert_frame_equal(select(name, replace(one_rule, names=names)), data)
    for shown, changed in ((one_rule.names, False), (names, True)):
        found = colours(drawn(name, data, shown))
        assert ("#123456" in found) == changed
        assert ("#D55E00" in found) != changed


LONG = "difference target propagation through the layers of a network"


@pytest.mark.parametrize(
    "name",
    [
        "encoding_by_region",
        "encoding_over_time",
        "rsa_summary",
        "best_layer_by_distance",
        "sensor_topography",
    ],
)
def test_long_labels_do_not_run_into_one_another(name, two_rules):
    longer = {key: {"label": f"{LONG} {key}"} for key in ("activation", "aligned", "gradient_dino")}
    names = relabelled(two_rules.names, **longer)
    figure = drawn(name, select(name, two_rules), names)
    with style.applied():
        figure.draw_without_rendering()
    titles = [text for text in figure.findobj(Text) if text.get_text().startswith(LONG[:10])]
    boxes = [text.get_window_extent() for text in titles]
    assert len(boxes) > 4
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_the_files_of_a_figure_differ_by_the_words_and_not_by_the_numbers(tmp_path):
    signals = SIGNALS | {"gradient_dino": replace(SIGNALS["gradient_dino"], label="renamed")}
    for folder, invented in (("as_it_was", SIGNALS), ("renamed", signals)):
        files = write_study(tmp_path / folder, Invented(signals=invented, models=ONE_MODEL))
        given = [f"--{kind}={files[kind][0]}" for kind in ("hierarchy", "entries")]
        given += [f"--hierarchy-draws={files['hierarchy_draws'][0]}", "--study=invented"]
        stem = tmp_path / folder / "figure"
        plot_figure.main([*given, "--figure=control_comparison", f"--output-stem={stem}"])
    first, second = tmp_path / "as_it_was", tmp_path / "renamed"
    assert (first / "figure.csv").read_bytes() == (second / "figure.csv").read_bytes()
    assert (first / "figure.png").read_bytes() != (second / "figure.png").read_bytes()


def test_blocks_stand_in_the_order_of_the_entries(one_rule):
    data = select("rsa_summary", one_rule)
    assert [block.dataset for block in layout.blocks(data, one_rule.names)] == [FMRI, PAIR, MEG]
    turned = [
        replace(entry, order=-entry.order) if entry.kind == "dataset" else entry
        for entry in one_rule.names.entries
    ]
    # Regions stand before times, and within both the order is that of the entries.
    names = Names(tuple(turned))
    assert [block.dataset for block in layout.blocks(data, names)] == [PAIR, FMRI, MEG]
    claims = select("claims_overview", one_rule)
    modality_of = dict(zip(claims["dataset"], claims["modality"], strict=True))
    rows = claims_overview.overview_rows(claims, names)
    assert [dataset for dataset, _, _ in rows] == [PAIR, FMRI, MEG]
    curves = specification_curve.figure(select("specification_curve", one_rule), names)
    heads = [text.get_text().split(" · ")[0] for text in curves.texts]
    labels = [names.dataset_label(name, modality_of[name]) for name in (PAIR, FMRI, MEG)]
    assert list(dict.fromkeys(heads)) == labels


#: What a folder of results holds that was copied for its figures alone.
FOR_FIGURES = ("scores", "maps", "hierarchy", "hierarchy_draws", "claims")
FROM_THESE = [name for name in figure_names() if set(declaration(name).inputs) <= set(FOR_FIGURES)]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """A folder with scores, maps, hierarchy and claims of an invented study, and nothing else."""
    folder = tmp_path_factory.mktemp("copied") / "results" / "invented"
    files = write_study(tmp_path_factory.mktemp("whole"), Invented(models=ONE_MODEL))
    for kind in FOR_FIGURES:
        for path in files[kind]:
            keys = {"model": path.stem} if "model" in artefact(kind).keys else {}
            place = folder / artefact(kind).path(**keys).removeprefix("results/{study}/")
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    return folder


def test_figures_of_the_argument_need_no_other_results():
    assert set(figure_names()) - set(FROM_THESE) == {
        "signal_reliability",
        "training_angles",
        "rule_alikeness",
        "rule_pairs",
        "rule_ranking",
        "model_contrasts",
        "rsa_summary",
        "rsa_of_predictions",
        "fusion",
        "specification_curve",
    }


@pytest.mark.parametrize("name", FROM_THESE)
def test_a_folder_of_scores_maps_hierarchy_and_claims_is_enough(name, copied, tmp_path):
    kept = sorted(path.name for path in copied.iterdir() if not path.name.startswith("."))
    assert kept == ["claims.csv", "hierarchy", "maps", "scores"]
    given = ["--figure", name, "--results", str(copied), "--output-stem", str(tmp_path / name)]
    plot_figure.main(given)
    assert (tmp_path / f"{name}.pdf").stat().st_size > 0
    assert len(pd.read_csv(tmp_path / f"{name}.csv")) > 0


def test_a_figure_whose_results_were_not_copied_says_which(copied, tmp_path):
    given = ["--figure=rsa_summary", f"--results={copied}", f"--output-stem={tmp_path / 'figure'}"]
    with pytest.raises(FigureError, match="needs results of kind 'rsa'"):
        plot_figure.main(given)
