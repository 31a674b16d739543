"""Figures: the same bytes from the same data, honest panels, errors that say what is missing."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import plot_figure
import pytest
import xarray as xr
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats
from trees.invented_study import FMRI, MEG, PAIR, TRAINED, inputs_of, write_hierarchy

from gradbrain.config import GradbrainError
from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures import (
    best_layer_by_distance,
    claims_overview,
    control_comparison,
    cortex,
    cortical_map,
    encoding_by_region,
    encoding_over_time,
    intervals,
    layout,
    peak_time_by_depth,
    rsa_of_predictions,
    rsa_summary,
    rule_alikeness,
    rule_pairs,
    rule_ranking,
    sensor_topography,
    signal_reliability,
    style,
    training_angles,
)
from gradbrain.figures.declarations import FigureError, declaration, figure_names
from gradbrain.figures.drawing import draw_declared
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Names
from gradbrain.figures.save import save_figure
from gradbrain.store import StoreError, read_statistics, read_table, write_table
from gradbrain.store.intervals import ImageSample, interval_of_mean
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.reasons import REASONS

ALL = figure_names()
WORKFLOW = Path(style.__file__).parents[2]


def new_axes():
    return Figure().add_subplot()


def one_panel(data: pd.DataFrame, dataset: str, signal: str, variant: str) -> pd.DataFrame:
    model = sorted(set(data["model"]))[0]
    wanted = (data["dataset"] == dataset) & (data["model"] == model)
    return data[wanted & (data["signal"] == signal) & (data["variant"] == variant)]


# --- declarations ------------------------------------------------------------------------------


def test_the_figures_of_the_design_exist():
    assert set(ALL) == {
        "idea",
        "encoding_by_region",
        "encoding_over_time",
        "best_layer_by_distance",
        "peak_time_by_depth",
        "cortical_map",
        "sensor_topography",
        "control_comparison",
        "variance_parts",
        "unique_share",
        "rsa_summary",
        "rsa_of_predictions",
        "fusion",
        "signal_reliability",
        "training_angles",
        "rule_alikeness",
        "rule_pairs",
        "rule_ranking",
        "model_contrasts",
        "claims_overview",
        "claims_by_model",
        "specification_curve",
    }


@pytest.mark.parametrize("name", ALL)
def test_declarations_read_from_source_are_those_of_the_module(name):
    said = declaration(name)
    module = importlib.import_module(f"gradbrain.figures.{name}")
    assert said.inputs == module.INPUTS
    assert said.title == module.TITLE
    assert said.axes == module.AXES
    assert said.spaces == module.SPACES


def test_declarations_are_read_without_a_plotting_library():
    code = (
        "import sys; from gradbrain.figures.declarations import declaration; "
        "declaration('cortical_map'); "
        "print([m for m in ('matplotlib', 'nilearn', 'mne', 'pandas') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=WORKFLOW
    )
    assert printed.stdout.strip() == "[]"


def test_a_surface_figure_applies_to_surface_data_only():
    surface = declaration("cortical_map")
    assert surface.applies_to("roi", "fsaverage5")
    assert not surface.applies_to("roi", "virtual")
    assert not surface.applies_to("time", "sensors")
    assert declaration("rsa_summary").applies_to("time", "sensors")
    assert not declaration("sensor_topography").applies_to("time", "contacts")
    assert not declaration("rsa_summary").applies_to(None, "none")


def test_an_unknown_figure_is_refused_with_the_names_there_are():
    with pytest.raises(GradbrainError, match=r"no figure 'pie_chart'.*encoding_by_region"):
        declaration("pie_chart")


def test_a_module_that_draws_no_figure_is_no_figure():
    with pytest.raises(GradbrainError, match="no figure 'style'"):
        declaration("style")


# --- files -------------------------------------------------------------------------------------


def arguments(name: str, files: dict[str, list[Path]], stem: Path) -> list[str]:
    listed = ["--figure", name, "--study", "invented", "--output-stem", str(stem)]
    for kind, paths in files.items():
        listed += [f"--{kind.replace('_', '-')}", *map(str, paths)]
    return listed


def module_of(name: str):
    return importlib.import_module(f"gradbrain.figures.{name}")


def with_changed_statistics(
    files: dict[str, list[Path]],
    folder: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
) -> FigureInputs:
    """Statistics of the first model with rows changed or left out, written and read again."""
    found = read_statistics(files["hierarchy"][:1], files["hierarchy_draws"][:1])
    part = found.of(change(found.table.copy()))
    written, store = write_hierarchy(folder / "changed", "model", part)
    return replace(inputs_of(files), hierarchy=(written,), hierarchy_draws=(store,))


def only_first_model(files: dict[str, list[Path]]) -> dict[str, list[Path]]:
    return {kind: paths[:1] for kind, paths in files.items()}


@pytest.mark.parametrize("name", ALL)
def test_same_data_give_the_same_three_files(name, study, tmp_path):
    results = only_first_model(study)
    for stem in ("first", "second"):
        plot_figure.main(arguments(name, results, tmp_path / stem))
    files = [f"{s}.{e}" for s in ("first", "second") for e in ("pdf", "png", "csv")]
    digests = [f".{name}.sha256" for name in files]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, *digests])
    for ending, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("csv", b"dataset,")):
        first = (tmp_path / f"first.{ending}").read_bytes()
        assert first == (tmp_path / f"second.{ending}").read_bytes()
        if ending != "csv":
            assert first.startswith(magic)
    assert len(pd.read_csv(tmp_path / "first.csv")) > 0


def test_places_on_the_page_are_settled_before_any_file_is_written(tmp_path):
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    ax.set_title("a title that takes room")
    save_figure(figure, pd.DataFrame({"a": [1]}), tmp_path / "settled")
    bounds = np.array(ax.get_position(original=True).bounds)
    np.testing.assert_allclose(bounds, bounds.round(5), rtol=0, atol=1e-12)
    assert bounds[1] + bounds[3] < 0.98


def test_each_file_is_drawn_once(tmp_path, monkeypatch):
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    figure.colorbar(ScalarMappable(), ax=ax)
    drawn = []
    plain = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, to: (drawn.append(to), plain(self, to)))
    with rc_context({"figure.constrained_layout.use": True}):
        save_figure(figure, pd.DataFrame({"a": [1]}), tmp_path / "once")
    assert len(drawn) == 2


@pytest.mark.parametrize("name", ALL)
def test_no_part_of_a_figure_makes_a_picture_of_the_whole_page(name, figure_inputs):
    drawn, _ = draw_declared(declaration(name), figure_inputs)
    assert not drawn.findobj(lambda artist: artist.get_visible() and artist.get_rasterized())


@pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
def test_a_colour_bar_is_filled_as_matplotlib_fills_it(orientation):
    pages = []
    for fill in (lambda bar: None, layout.fill_bar):
        figure = Figure(figsize=(3, 3), dpi=100)
        scale = ScalarMappable(Normalize(-0.3, 1), style.score_colours(-0.3, 1))
        fill(figure.colorbar(scale, cax=figure.add_axes((0.2, 0.2, 0.6, 0.6)),
                             orientation=orientation, extend="both"))  # fmt: skip
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pages.append(np.asarray(canvas.buffer_rgba()).astype(int))
    # Colours are rounded in another place.
    np.testing.assert_allclose(pages[1], pages[0], rtol=0, atol=1)


def test_drawing_leaves_the_style_of_others_alone(study, tmp_path):
    before = dict(matplotlib.rcParams)
    plot_figure.main(arguments("claims_overview", study, tmp_path / "claims_overview"))
    assert dict(matplotlib.rcParams) == before


# A column of each kind of table that figures of it cannot do without.
NEEDED = {
    "scores": "value",
    "hierarchy": "value",
    "rsa": "rho",
    "prediction_rsa": "ceiling_low",
    "fusion": "common",
    "claims": "verdict",
    "reliability": "reliability",
    "training": "angle",
    "alikeness": "cosine",
    "rule_pairs": "component",
    "universes": "level_label",
    "specification_curve": "verdict",
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ALL for kind in declaration(name).inputs if kind in NEEDED],
)
def test_a_missing_column_is_named(name, kind, study, tmp_path):
    source = study[kind][0]
    damaged = tmp_path / source.name
    write_table(damaged, read_table(source).drop(columns=NEEDED[kind]))
    with pytest.raises(StoreError, match=NEEDED[kind]):
        plot_figure.main(
            arguments(name, only_first_model(study) | {kind: [damaged]}, tmp_path / "figure")
        )
    assert not list(tmp_path.glob("figure*"))


@pytest.mark.parametrize("name", ALL)
def test_a_result_that_was_not_given_is_named(name, study, tmp_path):
    for kind in declaration(name).inputs:
        given = {other: paths for other, paths in study.items() if other != kind}
        with pytest.raises(FigureError, match=f"--{kind.replace('_', '-')} "):
            plot_figure.main(arguments(name, given, tmp_path / "figure"))


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("encoding_by_region", "time"),
        ("encoding_over_time", "roi"),
        ("best_layer_by_distance", "time"),
        ("peak_time_by_depth", "roi"),
    ],
)
def test_a_study_without_fitting_data_is_told_so(name, lacking, study, tmp_path):
    table = read_table(study["scores"][0])
    scores = tmp_path / "part.parquet"
    write_table(scores, table[table["axis"] == lacking])
    changed = with_changed_statistics(study, tmp_path, lambda rows: rows[rows["axis"] == lacking])
    inputs = replace(changed, scores=(scores,))
    with pytest.raises(FigureError, match=r"nothing to draw.*figures\.names"):
        module_of(name).select(inputs)


def test_results_of_another_study_are_refused(study, tmp_path):
    given = arguments("encoding_by_region", study, tmp_path / "figure")
    given[given.index("invented")] = "other"
    with pytest.raises(FigureError, match=r"\['invented'\], expected 'other'"):
        plot_figure.main(given)


@pytest.mark.parametrize("name", ALL)
def test_a_figure_refuses_a_table_that_it_did_not_select(name):
    with pytest.raises(GradbrainError, match=f"'{name}'.*lacks the column"):
        module_of(name).figure(pd.DataFrame({"dataset": ["a"]}), Names())


# --- style -------------------------------------------------------------------------------------


def luminance(colour) -> float:
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_depth_grows_lighter_all_the_way():
    values = [luminance(style.depth_colours()(x)) for x in np.linspace(0, 1, 64)]
    # Resampled to 8 bits, neighbouring shades may tie but never fall noticeably.
    assert np.diff(values).min() > -1e-3
    assert values[-1] - values[0] > 0.4


def lightness(colour) -> float:
    """CIE L* of a colour, in steps that look alike, from 0 (black) to 100."""
    y = luminance(colour)
    return 116 * y ** (1 / 3) - 16 if y > 216 / 24389 else y * 24389 / 27


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.4), (-0.1, 0.4), (-0.4, 0.4), (-0.3, 0.02)])
def test_scores_grow_darker_evenly_away_from_zero_on_both_sides(low, high):
    colours = style.score_colours(low, high)
    size = max(high, -low)
    for end in (end for end in (low, high) if end):
        n = max(2, int(16 * abs(end) / size))
        scores = np.linspace(0, end, n)
        shades = [lightness(colours((score - low) / (high - low))) for score in scores]
        # Zero is nearly white, and a score of the largest size would be nearly black.
        assert shades[0] > 93
        steps = -np.diff(shades) / (abs(end) / size / (n - 1))
        assert steps.min() > 40 and steps.max() < 120


def test_scores_of_the_same_size_and_other_sign_differ_in_hue_and_not_in_lightness():
    colours = style.score_colours(-1.0, 1.0)
    for size in (0.3, 0.6, 0.9):
        below, above = (np.array(to_rgb(colours(0.5 + sign * size / 2))) for sign in (-1, 1))
        assert abs(lightness(below) - lightness(above)) < 6
        # Told apart by who sees no red or no green: more blue than yellow, or less.
        assert below[2] - below[:2].mean() > 0.1
        assert above[:2].mean() - above[2] > 0.1


def test_white_text_is_legible_on_verdicts():
    for fill, ink, _ in style.VERDICTS.values():
        bright, dark = sorted((luminance(fill), luminance(ink)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3.0


# --- numbers behind the figures ------------------------------------------------------------------


SETTINGS = StatisticsSettings()


def test_interval_without_draws_is_students():
    values = np.random.default_rng(0).normal(size=7)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    np.testing.assert_allclose(
        intervals.student_interval(np.append(values, np.nan), SETTINGS), (low, high), rtol=1e-12
    )


def subjects_of(
    n: int, random: np.random.Generator, n_draws: int = 30
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of a statistic of `n` subjects in a table that is not sorted, and its draws."""
    value = random.uniform(-1, 1, n)
    units = value + random.normal(0, 0.1, n)
    rows = pd.DataFrame(
        {
            "subject": [f"s{i:02d}" for i in random.permutation(n)],
            "group": "a",
            "value": value,
            "value_at_units": units,
            "n_groups": 100,
            "n_folds": 5,
        }
    )
    return rows, units[:, None] + random.normal(0, 0.2, (n, n_draws))


def test_interval_is_that_of_the_claims():
    rows, boot = subjects_of(8, np.random.default_rng(1))
    rows.loc[3, "value"] = np.nan
    boot[4, :5] = np.nan
    drawn = intervals.with_bootstrap_interval(rows, boot, ["group"], SETTINGS, within=(-1.0, 1.0))
    known = rows[rows["value"].notna()]
    claimed = interval_of_mean(
        known["value"].to_numpy(),
        boot[known.index],
        ImageSample(100, 5),
        population=True,
        within=(-1.0, 1.0),
    )
    assert set(zip(drawn["ci_low"], drawn["ci_high"], strict=True)) == {claimed}


def test_interval_takes_the_draws_of_its_own_rows():
    rows, boot = subjects_of(12, np.random.default_rng(4))
    part = rows.iloc[[7, 2, 9, 4, 11, 0]]
    found = intervals.with_bootstrap_interval(part, boot, ["group"], SETTINGS)
    alone = part.reset_index(drop=True)
    expected = intervals.with_bootstrap_interval(alone, boot[part.index], ["group"], SETTINGS)
    np.testing.assert_array_equal(found["ci_low"], expected["ci_low"])


@pytest.mark.parametrize(
    ("n", "min_subjects", "drawn"), [(6, 6, 1), (5, 6, 0), (4, 2, 1), (3, 2, 0)]
)
def test_means_of_too_few_subjects_have_no_interval(n, min_subjects, drawn):
    settings = StatisticsSettings(min_subjects=min_subjects)
    rows, boot = subjects_of(n, np.random.default_rng(2))
    found = intervals.with_bootstrap_interval(rows, boot, ["group"], settings)
    assert found["ci_low"].notna().all() == bool(drawn)
    low, high = intervals.student_interval(rows["value"].to_numpy(), settings)
    assert np.isfinite([low, high]).all() == bool(drawn)


def test_without_draws_there_is_no_bootstrap_interval():
    rows, boot = subjects_of(6, np.random.default_rng(3), n_draws=0)
    found = intervals.with_bootstrap_interval(rows, boot, ["group"], SETTINGS)
    assert found[["ci_low", "ci_high"]].isna().all(axis=None)


def of_subjects(files: dict[str, list[Path]], n: int, folder: Path) -> FigureInputs:
    """The first subjects of each data set, in the tables that have any."""

    def first(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["subject"].str[-2:].astype(int) <= n]

    scores = folder / "scores.parquet"
    write_table(scores, first(read_table(files["scores"][0])))
    return replace(with_changed_statistics(files, folder, first), scores=(scores,))


def bars(figure: Figure) -> list[np.ndarray]:
    """Ends of all intervals, in data coordinates: vertical lines in collections."""
    return [
        segment
        for collection in figure.findobj(LineCollection)
        for segment in collection.get_segments()
    ]


BY_SUBJECT = [best_layer_by_distance, peak_time_by_depth, control_comparison, encoding_by_region]


@pytest.mark.parametrize("module", BY_SUBJECT)
def test_two_subjects_are_dots_with_a_mean_and_no_interval(module, study, names, tmp_path):
    data = module.select(of_subjects(study, 2, tmp_path))
    drawn = module.figure(data, names)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert bars(drawn) == []
    assert not any("±" in text or "[" in text for text in texts)
    assert "mean (too few subjects for an interval)" in texts
    assert "one subject" in texts
    assert data[["ci_low", "ci_high"]].isna().all(axis=None)


@pytest.mark.parametrize("module", BY_SUBJECT)
def test_intervals_of_enough_subjects_stay_within_the_axes(module, figure_inputs, names):
    drawn = module.figure(module.select(figure_inputs), names)
    assert len(bars(drawn)) > 0
    for ax in drawn.axes:
        low, high = ax.get_ylim()
        for segment in [s for c in ax.findobj(LineCollection) for s in c.get_segments()]:
            assert low <= segment[:, 1].min()
            assert segment[:, 1].max() <= high


@pytest.mark.parametrize("module", BY_SUBJECT)
def test_a_dot_per_subject(module, figure_inputs, names):
    data = module.select(figure_inputs)
    (block, *_) = layout.blocks(data, names)
    drawn = module.figure(block.data, names)
    if module is encoding_by_region:
        units = data[data["dataset"] == block.dataset].groupby(["signal", "variant"])["roi"]
        expected = block.data["subject"].nunique() * int(units.nunique().sum())
    else:
        # The activation stands in each panel of a learning signal, of which there is one.
        expected = len(block.data)
    dots = [c for c in drawn.findobj(PathCollection) if to_hex(c.get_facecolor()[0]) == "#ffffff"]
    best = [c for c in dots if to_hex(c.get_edgecolor()[0]) == "#222222"]
    assert sum(len(c.get_offsets()) for c in dots) - sum(len(c.get_offsets()) for c in best) == (
        expected
    )


def test_best_layers_have_intervals_within_depth(figure_inputs, names):
    data = best_layer_by_distance.select(figure_inputs)
    assert data["ci_low"].min() >= 0
    assert data["ci_high"].max() <= 1
    assert data["score_high"][data["score_statistic"] == "spatial_r"].max() <= 1
    ax = best_layer_by_distance.plot_best_layer_by_distance(
        one_panel(data, FMRI, "activation", "raw"), ax=new_axes(), names=names
    )
    assert ax.get_ylim() == pytest.approx((-0.04, 1.04))
    assert re.fullmatch(r"r = \+\d\.\d\d \[\S+, \S+\], n = 6", ax.texts[0].get_text())


def test_the_spatial_score_is_by_rank_where_claims_are(study, names, tmp_path):
    def by_both(table):
        by_rank = table[table["statistic"] == "spatial_r"]
        by_rank = by_rank.assign(statistic="spatial_rank_r", value=by_rank["value"] - 0.3)
        return pd.concat([table, by_rank])

    inputs = with_changed_statistics(study, tmp_path, by_both)
    in_mm = best_layer_by_distance.select(inputs)
    ranks = replace(inputs, settings=StatisticsSettings(distance="rank"))
    data = best_layer_by_distance.select(ranks)
    of_regions = data["score_statistic"] == "spatial_rank_r"
    assert (of_regions == (in_mm["score_statistic"] == "spatial_r")).all() and of_regions.any()
    np.testing.assert_allclose(data["score"][of_regions], in_mm["score"][of_regions] - 0.3)
    panel = one_panel(data, FMRI, "activation", "raw")
    assert re.match(r"r of ranks = [+−]0\.\d\d \[", best_layer_by_distance.score_text(panel))


def test_two_layers_are_points_and_their_want_of_r_is_told_once(study, names, tmp_path):
    def two_layers(table):
        peaks = table["statistic"].isin(["peak_time", "peak_time_jackknifed"])
        table.loc[table["statistic"] == "temporal_r", "value"] = np.nan
        return table[~peaks | table["layer"].isin(["blocks.0", "blocks.4"])]

    inputs = with_changed_statistics(study, tmp_path, two_layers)
    drawn = peak_time_by_depth.figure(peak_time_by_depth.select(inputs), names)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert texts.count("no r: fewer than 3 layers peak") == 1
    assert "activation" in texts
    lines = [line for ax in drawn.axes for line in ax.lines if len(line.get_xdata()) > 1]
    assert {line.get_linestyle() for line in lines} == {"None"}


def test_raw_is_r_and_unique_is_never_of_the_activation(figure_inputs):
    data = encoding_by_region.select(figure_inputs)
    assert set(zip(data["signal"], data["variant"], strict=True)) == {
        ("activation", "raw"),
        ("gradient_dino", "raw"),
        ("gradient_dino", "unique"),
    }


def test_region_map_shows_means_over_subjects_and_marks_the_best_layer(figure_inputs):
    panel = one_panel(encoding_by_region.select(figure_inputs), FMRI, "activation", "raw")
    ax = encoding_by_region.plot_encoding_by_region(panel, ax=new_axes())
    means = panel.groupby(["depth", "roi_rank"])["value"].mean().unstack()
    np.testing.assert_allclose(ax.images[0].get_array(), means.to_numpy())
    marks = ax.collections[0].get_offsets()
    np.testing.assert_array_equal(marks[:, 1], means.to_numpy().argmax(axis=0))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["V1", "V2", "V3", "V4", "LO", "PHC"]


def test_a_region_that_nothing_predicts_has_no_best_layer(figure_inputs):
    panel = one_panel(encoding_by_region.select(figure_inputs), FMRI, "activation", "raw").copy()
    panel.loc[panel["roi"] == "V1", "value"] = -0.01
    # As high as permuted images come.
    second = panel["roi"] == "V2"
    panel.loc[second, "value"] = 0.9 * panel.loc[second, "null_high"]
    ax = encoding_by_region.plot_encoding_by_region(panel, ax=new_axes())
    np.testing.assert_array_equal(ax.collections[0].get_offsets()[:, 0], [2, 3, 4, 5])
    unknown = panel.assign(null_high=np.nan)
    ax = encoding_by_region.plot_encoding_by_region(unknown, ax=new_axes())
    np.testing.assert_array_equal(ax.collections[0].get_offsets()[:, 0], [1, 2, 3, 4, 5])


def test_time_courses_have_a_line_per_layer_and_dots_above_chance_only(figure_inputs):
    panel = one_panel(encoding_over_time.select(figure_inputs), MEG, "activation", "raw").copy()
    first = panel["layer"] == "blocks.0"
    panel.loc[first, "value"] = 0.5 * panel.loc[first, "null_high"]
    ax = encoding_over_time.plot_encoding_over_time(panel, ax=new_axes())
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    courses = [
        line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 2
    ]
    assert len(courses) == 5
    assert len(dots) == 4
    np.testing.assert_allclose(courses[0].get_xdata(), 1000 * np.sort(panel["time"].unique()))
    assert len({to_hex(line.get_color()) for line in courses}) == 5


def test_the_highest_of_many_times_has_a_dot_only_where_all_times_together_are_tested(
    figure_inputs,
):
    panel = one_panel(encoding_over_time.select(figure_inputs), MEG, "activation", "raw").copy()
    panel["value"] = 2 * panel["null_high"]

    def dots(**changed):
        ax = encoding_over_time.plot_encoding_over_time(panel.assign(**changed), ax=new_axes())
        return sum(line.get_marker() == "o" for line in ax.lines)

    assert dots(p=0.2, p_min=0.01) == 0
    assert dots(p=0.04, p_min=0.01) == 5
    # One subject: no time could pass.
    assert dots(p=1.0, p_min=1.0) == dots(p=np.nan, p_min=np.nan) == 5


def ceiling_line(ax):
    """Where the ceiling between subjects is drawn; None where it is not."""
    lines = [line for line in ax.lines if line.get_label() == "average of the other subjects"]
    assert len(lines) <= 1
    return lines[0] if lines else None


def test_ceilings_between_subjects_are_drawn_behind_scores_that_they_bound(figure_inputs, names):
    times = encoding_over_time.select(figure_inputs)
    panel = one_panel(times, MEG, "activation", "raw")
    ax = encoding_over_time.plot_encoding_over_time(panel, ax=new_axes())
    line = ceiling_line(ax)
    mean = panel.groupby("time")["ceiling"].mean()
    np.testing.assert_allclose(line.get_xdata(), 1000 * mean.index)
    np.testing.assert_allclose(line.get_ydata(), mean)
    courses = [other for other in ax.lines if other.get_linestyle() == "-"]
    assert line.get_zorder() < min(other.get_zorder() for other in courses if other.get_xdata()[0])
    regions = encoding_by_region.select(figure_inputs)
    panel = one_panel(regions, FMRI, "gradient_dino", "raw")
    line = ceiling_line(encoding_by_region.plot_region_profile(panel, ax=new_axes(), names=names))
    np.testing.assert_allclose(line.get_ydata(), panel.groupby("roi_rank")["ceiling"].mean())


def test_unique_parts_and_data_sets_without_shared_targets_have_no_ceiling(figure_inputs, names):
    regions = encoding_by_region.select(figure_inputs)
    for dataset, variant in ((FMRI, "unique"), (PAIR, "raw")):
        panel = one_panel(regions, dataset, "gradient_dino", variant)
        assert (
            ceiling_line(encoding_by_region.plot_region_profile(panel, ax=new_axes(), names=names))
            is None
        )
    panel = one_panel(encoding_over_time.select(figure_inputs), MEG, "gradient_dino", "unique")
    ax = encoding_over_time.plot_encoding_over_time(panel, ax=new_axes())
    assert ceiling_line(ax) is None


@pytest.mark.parametrize(
    "module",
    [encoding_over_time, peak_time_by_depth, rsa_summary, rsa_of_predictions, sensor_topography],
)
def test_figures_of_latencies_name_what_told_the_onset(module, figure_inputs, names):
    data = module.select(figure_inputs)
    data = data[(data["dataset"] == MEG) & (data["model"] == data["model"].min())]
    assert set(data["onset_source"]) == {""}
    for source, named in (("", False), ("UPPT001", True)):
        drawn = module.figure(data.assign(onset_source=source), names)
        texts = [text.get_text() for text in drawn.findobj(Text)]
        assert any("onset: UPPT001" in text for text in texts) == named


def layer_lines(ax):
    """Lines of layers, without that of the null, of zero and of the image's onset."""
    return [line for line in ax.lines if line.get_linestyle() == "-" and line.get_zorder() >= 2]


def ceiling_of_dissimilarities(ax):
    """Vertices of the band of the noise ceiling; None where it is not drawn."""
    bands = [
        band for band in ax.collections if to_hex(band.get_edgecolor()[0]) == style.CEILING.lower()
    ]
    assert len(bands) <= 1
    return bands[0].get_paths()[0].vertices if bands else None


def test_dissimilarities_of_predictions_are_means_over_subjects_below_their_ceiling(figure_inputs):
    data = rsa_of_predictions.select(figure_inputs)
    assert set(data["role"]) == {"activation", "learning"}
    panel = one_panel(data, FMRI, "gradient_dino", "raw")
    ax = rsa_of_predictions.plot_prediction_rsa(panel, ax=new_axes())
    lines = layer_lines(ax)
    assert len(lines) == panel["depth"].nunique() == 5
    for line, (_, layer) in zip(lines, panel.groupby("depth"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), layer.groupby("roi_rank")["value"].mean())
    assert [text.get_text() for text in ax.get_xticklabels()] == ["V1", "V2", "V3", "V4", "LO",
                                                                  "PHC"]  # fmt: skip
    band, ceiling = ceiling_of_dissimilarities(ax), panel.groupby("roi_rank")
    assert band[:, 1].min() == pytest.approx(ceiling["ceiling_low"].mean().min())
    assert band[:, 1].max() == pytest.approx(ceiling["ceiling_high"].mean().max())


def test_partial_correlations_and_data_without_a_ceiling_have_none(figure_inputs, names):
    data = rsa_of_predictions.select(figure_inputs)
    for dataset, variant in ((FMRI, "unique"), (PAIR, "raw")):
        panel = one_panel(data, dataset, "gradient_dino", variant)
        ax = rsa_of_predictions.plot_prediction_rsa(panel, ax=new_axes())
        assert len(layer_lines(ax)) == 5 and ceiling_of_dissimilarities(ax) is None
        # Nor have partial correlations a chance level.
        (null,) = (line for line in ax.lines if line.get_color() == style.MUTED)
        assert np.isfinite(null.get_ydata()).all() == (variant == "raw")
    drawn = rsa_of_predictions.figure(data[data["dataset"] == MEG], names)
    labels = [ax.get_ylabel() for ax in drawn.findobj(Axes) if ax.get_ylabel()]
    assert labels.count("RDM correlation (r)") == labels.count("partial RDM\ncorrelation (r)") == 2


def test_regions_without_distances_stand_side_by_side(figure_inputs, names):
    data = best_layer_by_distance.select(figure_inputs)
    pair = one_panel(data, PAIR, "activation", "raw")
    ax = best_layer_by_distance.plot_best_layer_by_distance(pair, ax=new_axes(), names=names)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["EVC", "IT"]
    assert ax.texts[0].get_text().startswith("Δ depth = +0.80")
    along = one_panel(data, FMRI, "activation", "raw")
    ax = best_layer_by_distance.plot_best_layer_by_distance(along, ax=new_axes(), names=names)
    assert ax.get_xlabel() == "distance from V1 (mm)"
    assert ax.texts[0].get_text().startswith("r = +")


def test_best_layers_are_those_of_the_studys_definition(figure_inputs, study, tmp_path):
    def marked(table):
        table.loc[table["best_layer"] == "centre_of_mass", "value"] = 0.123
        return table

    settings = figure_inputs.settings.model_copy(update={"best_layer": "centre_of_mass"})
    inputs = replace(with_changed_statistics(study, tmp_path, marked), settings=settings)
    assert set(best_layer_by_distance.select(inputs)["best_layer_depth"]) == {0.123}
    inputs = replace(inputs, settings=figure_inputs.settings)
    assert 0.123 not in set(best_layer_by_distance.select(inputs)["best_layer_depth"])


def test_the_axis_of_peak_times_ends_where_peaks_do_and_not_where_intervals_do(
    figure_inputs, names
):
    data = peak_time_by_depth.select(figure_inputs)
    subjects = data["subject"].unique()
    few = data[data["subject"].isin(subjects[:2])].copy()
    far = few["subject"] == subjects[1]
    few.loc[far, "own_peak_time_ms"] += 300.0
    # What a subject has of an average may lie anywhere, and is not drawn.
    few.loc[far, "peak_time_ms"] += 3000.0
    few.loc[~far, "peak_time_ms"] -= 3000.0
    drawn = peak_time_by_depth.figure(few, names)
    peaks = few["own_peak_time_ms"]
    for ax in drawn.axes:
        low, high = ax.get_ylim()
        assert low > peaks.min() - 0.25 * np.ptp(peaks)
        assert high < peaks.max() + 0.25 * np.ptp(peaks)


def test_peak_times_are_in_milliseconds_and_other_units_are_refused(study, tmp_path):
    def in_samples(table):
        table.loc[table["statistic"] == "peak_time_jackknifed", "unit"] = "samples"
        return table

    table = read_table(study["hierarchy"][0], kind="hierarchy")
    shown = (table["statistic"] == "peak_time") & table["role"].isin(["activation", "learning"])
    data = peak_time_by_depth.select(with_changed_statistics(study, tmp_path, lambda rows: rows))
    np.testing.assert_allclose(
        np.sort(data["peak_time_ms"]), np.sort(1000 * table.loc[shown, "value"].to_numpy())
    )
    with pytest.raises(FigureError, match=r"unit \['samples'\]"):
        peak_time_by_depth.select(with_changed_statistics(study, tmp_path, in_samples))


def test_a_layer_without_a_peak_has_no_row(study, tmp_path):
    def one_less(table):
        of_layer = table["layer"] == "blocks.2"
        gone = (table["statistic"] == "peak_time_jackknifed") & of_layer
        # Nobody's own peak of another layer is above chance.
        gone |= (table["statistic"] == "peak_time") & (table["layer"] == "blocks.4")
        table.loc[gone, "value"] = np.nan
        return table

    data = peak_time_by_depth.select(with_changed_statistics(study, tmp_path, one_less))
    assert "blocks.2" not in set(data["layer"])
    alone = data[data["layer"] == "blocks.4"]
    assert len(alone) and alone["own_peak_time_ms"].isna().all()
    assert alone["peak_time_ms"].notna().all()


@pytest.mark.parametrize("nobody", [False, True])
def test_regions_and_subjects_without_a_best_layer_are_left_out(study, names, tmp_path, nobody):
    """Where no region is above chance in a person, or in anybody, there is nothing to draw."""

    def without(table):
        lost = (table["statistic"] == "best_layer_depth") & (table["variant"] == "unique")
        if not nobody:
            lost &= table["subject"].str.endswith("s01")
        table.loc[lost, "value"] = np.nan
        return table

    data = best_layer_by_distance.select(with_changed_statistics(study, tmp_path, without))
    assert best_layer_by_distance.figure(data, names).axes


def test_an_interval_counts_the_subjects_who_have_a_value(study, tmp_path):
    def of_two(table):
        lost = (table["statistic"] == "best_layer_depth") & ~table["subject"].str.endswith(
            ("s01", "s02")
        )
        table.loc[lost, "value"] = np.nan
        return table

    data = best_layer_by_distance.select(with_changed_statistics(study, tmp_path, of_two))
    assert data["best_layer_depth"].notna().any()
    assert data[["ci_low", "ci_high"]].isna().all(axis=None)


def test_what_the_claims_judge_stands_beside_unique_parts(figure_inputs, names):
    data = control_comparison.select(figure_inputs)
    for _, block in data.groupby(["dataset", "model"]):
        assert control_comparison.places_of(block, names)[:2] == [
            ("gradient_dino", "unique"),
            ("gradient_dino", "beyond_control"),
        ]
        judged = block[(block["quantity"] == "unique") & (block["role"] == "learning")]
        np.testing.assert_allclose(judged["variance"], 0.03)
        # The margin is a share of what can be explained, or of what is where nobody knows.
        available = 0.3 if block["dataset"].iloc[0] == PAIR else 0.4
        np.testing.assert_allclose(block["margin"], 0.05 * available)
        assert set(block.loc[block["role"] == "control", "quantity"]) == {"unique"}


def test_the_control_shown_leaves_the_smallest_difference(study, tmp_path):
    def fixed_is_best(table):
        table.loc[table["control"] == "gradient_fixed_cotangent", "value"] = 0.001
        return table

    data = control_comparison.select(with_changed_statistics(study, tmp_path, fixed_is_best))
    shown = data[data["quantity"] == "beyond_control"]
    assert set(shown["control"]) == {"gradient_fixed_cotangent"}
    np.testing.assert_allclose(shown["variance"], 0.001)


def test_topographies_are_taken_at_each_layers_own_peak(figure_inputs):
    data = sensor_topography.select(figure_inputs)
    store = figure_inputs.map_stores()[0]
    panel = data[(data["model"] == store.attrs["model"]) & (data["variant"] == "raw")]
    panel = panel[panel["signal"] == "activation"]
    assert sorted(set(panel["layer"])) == ["blocks.0", "blocks.2", "blocks.4"]
    score = store[MEG].to_dataset()["score"].sel(signal="activation", measure="r")
    for layer, rows in panel.groupby("layer"):
        own = score.sel(layer=layer)
        mean = own.mean("sensor").sel(time=own["time"] > 0)
        peak = float(mean["time"][mean.argmax("time")])
        assert set(rows["time"]) == {peak}
        assert len(rows) == rows["sensor"].nunique() == 40
        drawn = rows.set_index("sensor")["value"].loc[own["sensor"].values]
        np.testing.assert_array_equal(drawn, own.sel(time=peak))


def test_cortical_map_takes_the_best_layer_of_the_mean_score(figure_inputs):
    data = cortical_map.select(figure_inputs)
    store = figure_inputs.map_stores()[0]
    maps = store[FMRI].to_dataset()
    score = maps["score"].sel(signal="gradient_dino", measure="unique_r2").values
    panel = data[(data["model"] == store.attrs["model"]) & (data["variant"] == "unique")]
    place = pd.MultiIndex.from_arrays([maps["hemisphere"].values, maps["vertex"].values])
    panel = panel.set_index(["hemisphere", "vertex"]).loc[place]
    np.testing.assert_allclose(panel["score"], score.max(axis=0))
    depth = store["depth"].values[score.argmax(axis=0)]
    np.testing.assert_allclose(panel["best_layer"], np.where(score.max(axis=0) > 0, depth, np.nan))


def test_a_vertex_that_fsaverage5_does_not_have_is_refused(figure_inputs):
    data = cortical_map.select(figure_inputs).copy()
    data.loc[data.index[0], ["hemisphere", "vertex"]] = ["left", 10242]
    look = cortical_map.looks(data)[0]
    with pytest.raises(FigureError, match="vertex 10242 in the left hemisphere"):
        cortical_map.vertex_colours(data, look, "left")


def test_of_fsaverage_the_vertices_that_fsaverage5_shares_are_shown(figure_inputs):
    def on_fsaverage(store):
        maps = store[FMRI].to_dataset(inherit=False)
        beyond = maps["vertex"].values.copy()
        beyond[::2] += 10242
        maps = maps.assign_coords(vertex=("target", beyond)).assign_attrs(space="fsaverage")
        return xr.DataTree.from_dict({"/": store.to_dataset(), f"/{FMRI}": maps})

    class OnFsaverage(FigureInputs):
        def map_stores(self):
            return [on_fsaverage(store) for store in super().map_stores()]

    whole = cortical_map.select(figure_inputs)
    fields = {name: getattr(figure_inputs, name) for name in figure_inputs.__dataclass_fields__}
    shown = cortical_map.select(OnFsaverage(**fields))
    assert declaration("cortical_map").applies_to("roi", "fsaverage")
    assert len(shown) == len(whole) // 2
    assert shown["vertex"].max() < cortical_map.VERTICES_PER_HEMISPHERE


def test_colours_of_scores_end_at_a_percentile_and_not_at_an_outlier(figure_inputs):
    data = one_panel(cortical_map.select(figure_inputs), FMRI, "gradient_dino", "unique").copy()
    data["score"] = np.linspace(-0.05, 0.1, len(data))
    low, high = cortical_map.score_range(data)
    data.loc[data.index[-1], "score"] = 9.0
    assert cortical_map.score_range(data) == pytest.approx((low, high), abs=1e-3)
    assert (low, high) == (pytest.approx(-0.0475, abs=1e-3), pytest.approx(0.095, abs=1e-3))
    nothing = cortical_map.score_range(data.assign(score=-0.01))
    assert nothing == (pytest.approx(-0.01), layout.UNIQUE_RANGE[1])


def test_each_signal_has_two_lines_of_both_hemispheres_from_three_sides_in_one_scale(
    figure_inputs, names
):
    data = cortical_map.select(figure_inputs)
    data = data[(data["model"] == data["model"].min())]
    drawn = cortical_map.figure(data, names)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert [texts.count(name) for name in cortex.VIEWS] == [2, 2, 2]
    assert [texts.count(name) for name in cortex.HEMISPHERES] == [3, 3]
    brains = [
        image
        for ax in drawn.axes
        for image in ax.images
        # Of the pictures of colour bars one side is a pixel.
        if image.get_array().ndim == 3 and 1 not in image.get_array().shape[:2]
    ]  # fmt: skip
    assert len(brains) == 3 * 2 * 6
    scales = [
        extent / n
        for image in brains
        for n, extent in zip(
            image.get_array().shape[:2], image.get_window_extent().size[::-1], strict=True
        )
    ]  # fmt: skip
    np.testing.assert_allclose(scales, scales[0], rtol=1e-9)
    assert drawn.get_figwidth() <= style.PAGE


def map_of(hemisphere: str, values: np.ndarray, column: str = "score") -> pd.DataFrame:
    """A table of values of all vertices, without those that are NaN."""
    known = np.flatnonzero(np.isfinite(values))
    rows = {"hemisphere": hemisphere, "vertex": known, column: values[known], "variant": "raw"}
    return pd.DataFrame(rows)


def drawn_colours(data: pd.DataFrame, look: cortical_map.Look, view: str) -> np.ndarray:
    """Pixels of the left hemisphere that show brain, shape (n, 3), and their vertices."""
    colours = cortical_map.vertex_colours(data, look, "left")
    pixels = cortex.picture("left", view, colours)
    seen = cortex.seen_vertices("left", view)
    brain = seen != cortex.BESIDE
    assert (pixels[..., 3][brain] == 255).all()
    return pixels[brain][:, :3] / 255, seen[brain]


@pytest.mark.parametrize("view", cortex.VIEWS)
def test_where_three_in_ten_vertices_have_no_value_three_tenths_of_the_surface_are_bare(view):
    random = np.random.default_rng(0)
    values = random.uniform(0.1, 0.4, cortex.VERTICES_PER_HEMISPHERE)
    values[random.random(len(values)) < 0.3] = np.nan
    data = map_of("left", values)
    pixels, vertices = drawn_colours(data, cortical_map.looks(data)[0], view)
    bare = np.array([style.rgba(colour)[:3] for colour in style.BARE_CORTEX])
    grey = (np.abs(pixels[:, None] - bare).max(axis=-1) < 1 / 255).any(axis=1)
    np.testing.assert_array_equal(grey, np.isnan(values[vertices]))
    assert grey.mean() == pytest.approx(0.3, abs=0.03)


def test_no_vertex_takes_its_colour_from_others():
    values = np.full(cortex.VERTICES_PER_HEMISPHERE, np.nan)
    visible = np.unique(cortex.seen_vertices("left", "lateral"))
    one = int(visible[len(visible) // 2])
    values[one] = 0.3
    data = map_of("left", values)
    pixels, vertices = drawn_colours(data, cortical_map.looks(data)[0], "lateral")
    coloured = np.ptp(pixels, axis=1) > 0.1
    np.testing.assert_array_equal(coloured, vertices == one)
    assert coloured.any()


def test_scores_below_zero_are_drawn_as_such_and_zero_as_neither():
    front = cortex.hemisphere_mesh("left")[0][:, 1]
    values = np.select([front > 20, front < -40], [-0.05, 0.2], default=0.0)
    data = map_of("left", values)
    look = cortical_map.looks(data)[0]
    assert look.low == pytest.approx(-0.05) and look.high == pytest.approx(0.2)
    pixels, vertices = drawn_colours(data, look, "lateral")
    bluer = pixels[:, 2] - pixels[:, :2].mean(axis=1)
    shown = values[vertices]
    assert (bluer[shown < 0] > 0.05).all()
    assert (bluer[shown > 0] < -0.05).all()
    assert (pixels[shown == 0].min(axis=1) > 0.8).all()


def test_a_vertex_without_a_best_layer_is_white_and_one_without_a_value_is_grey():
    front = cortex.hemisphere_mesh("left")[0][:, 1]
    data = map_of("left", np.where(front > 20, np.nan, 0.5), "best_layer").assign(score=0.1)
    data.loc[front[data["vertex"]] < -40, ["best_layer", "score"]] = [np.nan, -0.1]
    look = cortical_map.looks(data)[1]
    pixels, vertices = drawn_colours(data, look, "lateral")
    white = (pixels == 1).all(axis=1)
    grey = np.ptp(pixels, axis=1) < 0.06
    np.testing.assert_array_equal(white, front[vertices] < -40)
    np.testing.assert_array_equal(grey & ~white, front[vertices] > 20)


def test_views_show_the_sides_that_they_are_named_after():
    for hemisphere, outside in (("left", -1), ("right", 1)):
        points, _ = cortex.hemisphere_mesh(hemisphere)
        middle = points - points.mean(axis=0)
        seen = {view: cortex.seen_vertices(hemisphere, view) for view in cortex.VIEWS}
        mean = {
            view: middle[np.unique(own[own != cortex.BESIDE])].mean(axis=0)
            for view, own in seen.items()
        }
        assert outside * mean["lateral"][0] > 10
        assert outside * mean["medial"][0] < -10
        assert mean["ventral"][2] < -8
        # The front of the brain is to the left in the lateral view of the left hemisphere.
        for view, sign in (("lateral", outside), ("medial", -outside), ("ventral", outside)):
            rows, columns = np.nonzero(seen[view] != cortex.BESIDE)
            forwards = middle[seen[view][rows, columns], 1]
            assert sign * np.corrcoef(columns, forwards)[0, 1] > 0.9
        # The lateral side is up in the ventral view, and what is high in the others.
        for view, axis, sign in (("ventral", 0, outside), ("lateral", 2, 1), ("medial", 2, 1)):
            rows, columns = np.nonzero(seen[view] != cortex.BESIDE)
            upwards = middle[seen[view][rows, columns], axis]
            assert sign * np.corrcoef(rows, upwards)[0, 1] < -0.8


# --- overview of claims --------------------------------------------------------------------------


def test_overview_has_a_cell_per_claim_in_the_colour_of_its_verdict(claims, names):
    ax = claims_overview.plot_claims_overview(claims, ax=new_axes(), names=names)
    drawn = pd.Series([to_hex(patch.get_facecolor()).upper() for patch in ax.patches])
    expected = claims["verdict"].map({name: look[0] for name, look in style.VERDICTS.items()})
    assert drawn.value_counts().to_dict() == expected.value_counts().to_dict()


@pytest.mark.parametrize("reasons", [[], ["not_c1", "too_few"], list(REASONS)])
def test_overview_keeps_all_of_its_text_on_the_page(claims, names, reasons):
    for row, reason in enumerate(reasons):
        claims.loc[row, ["estimate", "q"]] = np.nan
        claims.loc[row, "reason"] = reason
    with style.applied():
        figure = claims_overview.figure(claims, names)
        box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


def test_a_model_without_a_learning_signal_has_no_row_below_unique_part(claims, names):
    activation = claims[(claims["role"] == "activation") & (claims["variant"] == "raw")].iloc[:1]
    alone = activation.assign(model="statistics")
    claims = pd.concat([claims, alone], ignore_index=True)
    assert {"raw", "unique"} <= set(claims["variant"])
    ax = claims_overview.plot_claims_overview(claims, ax=new_axes(), names=names)
    said = [text.get_text() for text in ax.texts]
    assert said.count("statistics") == 1


def test_dots_of_panels_with_one_range_keep_a_distance_from_its_ends():
    figure = Figure()
    wide, narrow = figure.subplots(1, 2)
    wide.plot([0.04, 0.45], "o")
    narrow.scatter([0, 1], [-0.025, 0.07])
    # An area that is drawn beyond the panel decides nothing, nor do marks above it.
    narrow.scatter([0, 1], [1.1, 1.2], transform=narrow.get_xaxis_transform(), clip_on=False)
    limits = narrow.get_ylim()
    narrow.fill_between([0, 1], -1, 0.01)
    narrow.set_ylim(limits)
    layout.share_limits([wide, narrow])
    low, high = narrow.get_ylim()
    assert low > -0.1 and high < 0.6
    assert low <= -0.025 - 0.04 * (high - low)
    assert high >= 0.45 + 0.04 * (high - low)
    assert wide.get_ylim() == (low, high)


@pytest.mark.parametrize(
    ("reason", "estimate", "shown"),
    [
        ("too_few", np.nan, ("✓ no test", "in < 2 subjects")),
        ("no_control", np.nan, ("✓ no test", "no control")),
        ("no_statistic", np.nan, ("✓ no test", "no statistic")),
        ("not_c1", 0.3, ("✓ +0.30", "not judged")),
        ("no_null", 0.3, ("✓ +0.30", "no null")),
        ("unreliable_signal", 0.3, ("✓ +0.30", "unreliable signal")),
        ("", np.nan, ("✓ no test", "")),
    ],
)
def test_a_claim_without_a_test_says_why(claims, names, reason, estimate, shown):
    claims.loc[0, ["estimate", "q"]] = [estimate, np.nan]
    claims.loc[0, "reason"] = reason
    ax = claims_overview.plot_claims_overview(claims.iloc[:1], ax=new_axes(), names=names)
    written = [text.get_text().replace("\n", " ") for text in ax.texts]
    assert shown[0] in written
    assert shown[1] in written
    said = claims_overview.explanations(claims.iloc[:1])
    assert said.startswith(shown[1])
    assert bool(said) == bool(shown[1])


def test_reasons_fit_into_their_cells(claims, names):
    rows = claims.iloc[: len(REASONS)].assign(reason=list(REASONS), estimate=np.nan, q=np.nan)
    with style.applied():
        figure = claims_overview.figure(rows, names)
        figure.draw_without_rendering()
    (ax,) = figure.axes
    short = {reason.short for reason in REASONS.values()}
    found = [text for text in ax.texts if text.get_text().replace("\n", " ") in short]
    assert {text.get_text().replace("\n", " ") for text in found} == short
    for text in found:
        box = text.get_window_extent().transformed(ax.transData.inverted())
        assert box.width <= 0.94
        # In inches from top to bottom; the other half of the cell holds the estimate.
        assert abs(box.height) <= claims_overview.HEIGHT / 2


def test_overview_is_no_wider_than_a_page_and_has_no_tiny_text(claims, names):
    with style.applied():
        drawn = claims_overview.figure(claims, names)
    assert drawn.get_figwidth() <= 10
    assert min(text.get_fontsize() for text in drawn.findobj(Text) if text.get_text()) >= 7


def test_an_unknown_verdict_or_reason_is_refused(claims, tmp_path):
    path = tmp_path / "claims.csv"
    for column, value, known in (("verdict", "maybe", "supported"), ("reason", "why", "not_c1")):
        write_table(path, claims.assign(**{column: value}))
        with pytest.raises(FigureError, match=rf"unknown {column} \['{value}'\].*{known}"):
            claims_overview.select(FigureInputs(study="invented", claims=(path,)))


def test_angles_fall_while_a_network_learns_and_the_correction_is_told(study, names):
    inputs = FigureInputs(study="invented", training=tuple(study["training"]))
    data = training_angles.select(inputs)
    own = data[data["model"] == sorted(set(data["model"]))[0]]
    ax = training_angles.plot_training_angles(own, ax=new_axes())
    lines = {
        (line.get_linestyle(), tuple(line.get_ydata()))
        for line in ax.lines
        if len(line.get_ydata()) > 2
    }
    assert ("-", (90.0, 70.0, 40.0)) in lines and ("--", (100.0, 100.0, 100.0)) in lines
    right = training_angles.plot_reconstruction(own, ax=new_axes())
    assert [tuple(line.get_ydata()) for line in right.lines] == [(0.0, 0.2, 0.5)] * 2
    drawn = training_angles.figure(data, names)
    said = {text.get_text() for text in drawn.findobj(Text)}
    assert "targets without the correction for imperfect inverses" in said
    plain = data[data["correction"] == "corrected"].assign(correction="")
    said = {text.get_text() for text in training_angles.figure(plain, names).findobj(Text)}
    assert "targets without the correction for imperfect inverses" not in said


def test_signals_that_count_as_the_gradient_are_marked(study, names):
    inputs = FigureInputs(study="invented", alikeness=tuple(study["alikeness"]))
    data = rule_alikeness.select(inputs)
    assert set(data["role"]) == {"learning"}
    own = data[data["model"] == sorted(set(data["model"]))[0]]
    gradient = rule_alikeness.gradient_of(own)
    others = sorted(set(own["signal"]) - {gradient})
    ax = rule_alikeness.plot_cosine_over_depth(own, ax=new_axes(), names=names)
    drawn = {line.get_label(): tuple(line.get_ydata()) for line in ax.lines}
    for signal in others:
        expected = own[(own["signal"] == signal) & (own["other"] == gradient)]
        assert drawn[names.label("signal", signal)] == tuple(
            expected.sort_values("depth")["cosine"]
        )
    marked = own.assign(same_as=np.where(own["signal"] == others[0], gradient, ""))
    matrix = rule_alikeness.plot_alikeness(marked, ax=new_axes(), names=names)
    labels = {label.get_text() for label in matrix.get_yticklabels()}
    assert f"{names.label('signal', others[0])} =" in labels
    assert names.label("signal", gradient) in labels
    shown = np.asarray(matrix.images[0].get_array())
    assert np.isnan(np.diag(shown)).all() and np.allclose(shown, shown.T, equal_nan=True)


def rules_of(study, **changed):
    kinds = ("claims", "hierarchy", "hierarchy_draws", "alikeness")
    given = {kind: tuple(study[kind]) for kind in kinds} | changed
    return FigureInputs(study="invented", **given)


@pytest.fixture
def more_rules(claims, tmp_path):
    """Claims on three learning rules: unique shares of .1, .3 and .2, time and place by rule."""
    shares = {"first": 0.1, "second": 0.3, "third": 0.2}
    of_gradient = claims[claims["signal"] == "gradient_dino"]
    parts = []
    for name, share in shares.items():
        own = of_gradient.assign(signal=name, rule=name)
        is_share = own["prediction"] == "C1"
        own["estimate"] = np.where(is_share, share, own["estimate"])
        own["ci_low"], own["ci_high"] = own["estimate"] - 0.05, own["estimate"] + 0.05
        own["detectable_share"] = np.where(is_share, 0.25, np.nan)
        own["reference"] = np.where(is_share, 0.05, np.nan)
        parts.append(own)
    path = tmp_path / "claims.csv"
    write_table(path, pd.concat(parts), kind="claims")
    return path


def test_rules_are_ranked_by_their_unique_part_and_controls_have_no_rank(study, more_rules, names):
    data = rule_ranking.select(rules_of(study, claims=(more_rules,)))
    own = data[(data["dataset"] == FMRI) & (data["model"] == TRAINED)]
    ranks = own[own["role"] == "learning"].groupby("signal")["rank"].unique()
    assert {name: list(rank) for name, rank in ranks.items()} == {
        "first": [3], "second": [1], "third": [2]
    }  # fmt: skip
    assert own[own["role"] == "control"]["rank"].isna().all()
    signals = rule_ranking.ordered_signals(own, names)
    assert signals[:3] == ["second", "third", "first"]
    controls = {"gradient_feature_norm", "gradient_fixed_cotangent", "gradient_shuffled_dino"}
    assert set(signals[3:]) == controls
    assert rule_ranking.label(own, "third", names) == "third  2"
    assert rule_ranking.label(own, signals[3], names).startswith("control: ")
    # Shares of the explainable variance, as those of claims are: .005 of .4.
    unique = own[(own["criterion"] == "unique part") & (own["role"] == "control")]
    np.testing.assert_allclose(unique["estimate"], 0.005 / 0.4)
    assert unique["ci_low"].notna().all()
    (criterion,) = (one for one in rule_ranking.CRITERIA if one.name == "unique part")
    ax = rule_ranking.plot_criterion(own, criterion, ax=new_axes(), names=names)
    rows = {
        (round(line.get_xdata()[0], 6), line.get_ydata()[0])
        for line in ax.lines
        if line.get_marker() == "o"
    }
    assert rows == {(30.0, 0), (20.0, 1), (10.0, 2)}
    strokes = [line for line in ax.lines if line.get_marker() == "|"]
    assert [line.get_xdata()[0] for line in strokes] == [25.0] * 3


def test_a_rule_whose_unique_part_is_not_known_has_no_rank(study, more_rules, names, tmp_path):
    table = read_table(more_rules)
    is_share = table["prediction"] == "C1"
    path = tmp_path / "unknown.csv"
    rules = ["first", "second", "third"]
    # Those that are known stand above the others, whose order is that of the registry.
    for unknown, ranks, order in (
        (["second"], [2.0, np.nan, 1.0], ["third", "first", "second"]),
        (rules, [np.nan] * 3, rules),
    ):
        lost = is_share & table["signal"].isin(unknown)
        write_table(path, table.assign(estimate=table["estimate"].mask(lost)), kind="claims")
        data = rule_ranking.select(rules_of(study, claims=(path,)))
        own = data[(data["dataset"] == FMRI) & (data["model"] == TRAINED)]
        found = own.drop_duplicates("signal").set_index("signal")["rank"]
        np.testing.assert_array_equal(found[rules], ranks)
        assert rule_ranking.label(own, "second", names) == "second  –"
        assert rule_ranking.ordered_signals(own, names)[:3] == order


def test_the_rule_that_trained_a_network_is_named_in_bold_and_only_there(
    study, more_rules, names, tmp_path
):
    table = read_table(more_rules)
    claims, training = tmp_path / "taught.csv", tmp_path / "training.parquet"
    rules = {"first": "teaching_signal", "second": "backprop", "third": "hebbian"}
    write_table(claims, table.assign(rule=table["signal"].map(rules)), kind="claims")

    def bold(trained_by):
        row = dict.fromkeys(columns_of("training"), 0.0)
        row |= {"model": TRAINED, "learning_rule": trained_by, "layer": "a", "correction": ""}
        write_table(training, pd.DataFrame([row | {"seed": 0, "step": 0}]), kind="training")
        data = rule_ranking.select(rules_of(study, claims=(claims,), training=(training,)))
        data = data[data["dataset"] == FMRI]
        of_models = data.groupby("model")["trained_by"].unique()
        assert list(of_models[TRAINED]) == [trained_by]
        assert all(list(found) == [""] for found in of_models.drop(TRAINED))
        texts = rule_ranking.figure(data, names).findobj(Text)
        return {
            text.get_text()
            for text in texts
            if text.get_fontweight() == "bold" and text.get_text()[-1:].isdigit()
        }

    assert bold("kolen_pollack") == {"first: kolen pollack  3"}
    assert bold("backprop") == {"first: backprop  3", "second  1"}


def test_rules_that_are_one_with_the_gradient_stand_below_it_without_a_rank(
    study, more_rules, names, tmp_path
):
    table = read_table(study["alikeness"][0])
    rows = table.head(1).assign(signal="second", same_as="first", model=TRAINED)
    path = tmp_path / "same.parquet"
    write_table(path, pd.concat([table, rows]), kind="alikeness")
    inputs = rules_of(study, claims=(more_rules,), alikeness=(path,))
    data = rule_ranking.select(inputs)
    own = data[(data["dataset"] == FMRI) & (data["model"] == TRAINED)]
    assert rule_ranking.ordered_signals(own, names)[:3] == ["third", "first", "second"]
    assert rule_ranking.label(own, "second", names) == "second  ="
    assert rule_ranking.label(own, "third", names) == "third  1"
    # With the images of another stimulus set it is another rule.
    others = rows.assign(stimuli="others", same_as="")
    write_table(path, pd.concat([table, rows, others]), kind="alikeness")
    assert not rule_ranking.same_as(read_table(path))


@pytest.mark.parametrize(("dataset", "lacking"), [(FMRI, "no time"), (MEG, "no regions")])
def test_a_ranking_says_what_data_along_one_axis_cannot_answer(
    dataset, lacking, study, more_rules, names
):
    data = rule_ranking.select(rules_of(study, claims=(more_rules,)))
    data = data[data["dataset"] == dataset]
    drawn = rule_ranking.figure(data, names)
    said = [text.get_text() for text in drawn.findobj(Text)]
    panels = 1 if dataset == MEG else 2
    models = data["model"].nunique()
    assert sum(f": {lacking}" in text for text in said) == panels * models
    assert "second  1" in said


def test_pairs_of_rules_are_means_over_times_after_onset(study, tmp_path):
    tables = []
    for number, path in enumerate(study["rule_pairs"]):
        table = read_table(path)
        before = table["time"] <= 0
        assert before.any()
        tables.append(tmp_path / f"{number}.parquet")
        table.loc[before, "component"] += 1.0
        table.loc[before, "null_high"] -= 1.0
        write_table(tables[-1], table, kind="rule_pairs")
    found, expected = (
        rule_pairs.select(FigureInputs(study="invented", rule_pairs=tuple(paths)))
        for paths in (tables, study["rule_pairs"])
    )
    pd.testing.assert_frame_equal(found, expected)


def test_pairs_of_rules_are_shares_of_what_can_be_explained(study, names):
    data = rule_pairs.select(FigureInputs(study="invented", rule_pairs=tuple(study["rule_pairs"])))
    own = data[(data["dataset"] == FMRI) & (data["model"] == TRAINED)]
    shares = own.set_index(["signal", "other"])["share"]
    # .02 and .001 of .4, people about it by a tenth and in both directions.
    assert shares["gradient_dino", "gradient_feature_norm"] == pytest.approx(0.05)
    assert shares["gradient_feature_norm", "gradient_dino"] == pytest.approx(0.0025)
    # Nobody knows the ceiling of virtual voxels.
    virtual = data[(data["dataset"] == PAIR) & (data["model"] == TRAINED)]
    virtual = virtual.set_index(["signal", "other"])
    assert set(virtual["unit"]) == {"share of the variance"}
    assert virtual.loc[("gradient_dino", "gradient_feature_norm"), "share"] == pytest.approx(0.02)
    assert (own["ci_low"] < own["share"]).all()
    ax = rule_pairs.plot_pairs(own, ax=new_axes(), names=names)
    bold = {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"}
    assert "+5.0" in bold
    order = [label.get_text().rsplit("  ", 1)[0] for label in ax.get_yticklabels()]
    assert order[0] == names.label("signal", "gradient_dino")
    shown = np.asarray(ax.images[0].get_array())
    assert np.isnan(np.diag(shown)).all()
    assert shown[0, 1] == pytest.approx(5.0) and shown[1, 0] == pytest.approx(0.25)


def test_reliability_is_drawn_over_depth_with_what_a_verdict_asks_for(study, names):
    inputs = FigureInputs(
        study="invented", reliability=tuple(study["reliability"]), claims=tuple(study["claims"])
    )
    data = signal_reliability.select(inputs)
    assert set(data["threshold"]) == {0.9}
    own = data[data["model"] == data["model"].iloc[0]]
    ax = signal_reliability.plot_signal_reliability(own, "reliability", ax=new_axes(), names=names)
    colour = names.colour("signal", "gradient_dino")
    (mean,) = [
        line for line in ax.lines if line.get_color() == colour and line.get_marker() != "None"
    ]
    # The mean of two stimulus sets; the last layer, where the signal does not vary, has no point.
    np.testing.assert_allclose(mean.get_ydata()[:-1], 0.93)
    assert np.isnan(mean.get_ydata()[-1])
    assert [line for line in ax.lines if set(line.get_ydata()) == {0.9}]
    unique = signal_reliability.plot_signal_reliability(
        own, "unique_reliability", ax=new_axes(), names=names
    )
    assert not [line for line in unique.lines if set(line.get_ydata()) == {0.9}]
