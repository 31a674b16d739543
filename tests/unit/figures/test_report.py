"""The report: verdicts first, self-contained, honest counts, the same bytes each time."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import write_report
import yaml
from markupsafe import Markup, escape
from trees.invented_study import SHOWN_SCORE

from gradbrain.figures import style
from gradbrain.figures.declarations import FigureError, Points, figure_names
from gradbrain.figures.inputs import with_text
from gradbrain.figures.report import (
    conclusions as said_by,
)
from gradbrain.figures.report import (
    data_counts,
    embedded,
    libraries,
    numbers,
    points,
    score_tables,
    surface,
)
from gradbrain.figures.report import (
    page as report,
)
from gradbrain.figures.report import (
    verdict_matrix as matrices,
)
from gradbrain.figures.report.answer import answer
from gradbrain.store import read_table, write_table

CAPTIONS = Path(report.__file__).parents[3] / "report"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.references += [value for key, value in attrs if key in ("href", "src")]
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(autouse=True)
def own_libraries(monkeypatch):
    """Leave out the megabytes of libraries, which are the same in all pages; or write them in."""
    empty = libraries.Library("none", "0", Markup(), Markup(), "")
    with monkeypatch.context() as patch:
        patch.setattr(report, "plotly", lambda: empty)
        patch.setattr(report, "datatables", lambda: empty)

        def render(results):
            patch.undo()
            return report.render_report(**results)

        yield render


@pytest.fixture
def results(tmp_path, claims, study):
    """Files of a study from which a report can be written."""
    (tmp_path / "figures").mkdir()
    figures = []
    for name in ("control_comparison", "encoding_by_region"):
        figures.append(tmp_path / "figures" / f"{name}.png")
        figures[-1].write_bytes(PIXEL)
    write_table(tmp_path / "claims.csv", claims, kind="claims")
    settings = {
        "study": "invented",
        "title": "An <invented> study",
        "statistics": {"alpha": 0.05, "smallest_unique_share": 0.05},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return {
        "study": "invented",
        "config": tmp_path / "config.yaml",
        "claims": tmp_path / "claims.csv",
        "entries": study["entries"][0],
        "figures": figures,
        "captions": sorted(CAPTIONS.glob("*.rst")),
        "output": tmp_path / "report.html",
    }


def test_the_script_writes_the_page_and_the_same_bytes_twice(results):
    listed = []
    for key, value in results.items():
        listed += [f"--{key}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    write_report.main(listed)
    first = results["output"].read_bytes()
    write_report.main(listed)
    assert results["output"].read_bytes() == first
    assert first.startswith(b"<!DOCTYPE html>")


def test_verdicts_come_first_and_figures_in_the_order_of_the_argument(results):
    page = report.render_report(**results)
    places = [
        page.index(f'id="{name}"')
        for name in ("verdicts", "encoding_by_region", "control_comparison", "settings", "citing")
    ]
    assert places == sorted(places)


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(results):
    page = Page(report.render_report(**results))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for reference in page.references:
        assert not re.match(r"(https?:)?//", reference)
        if reference.startswith("#"):
            assert reference[1:] in page.ids


def test_the_contents_lead_to_every_section_and_figure(results, count_stores):
    responses, scores = count_stores
    text = report.render_report(**results, responses=responses, scores=scores)
    contents = Page(text[text.index("<nav") : text.index("</nav>") + len("</nav>")])
    sections = re.findall(r'<section id="(\w+)"', text)
    figures = re.findall(r'<figure id="(\w+)"', text)
    assert len(figures) == 2
    assert {"#" + name for name in [*sections, *figures]} <= set(contents.references)
    assert {reference[1:] for reference in contents.references} <= set(Page(text).ids)


def test_each_figure_has_its_caption_beside_it(results):
    text = report.render_report(**results)
    for name in ("control_comparison", "encoding_by_region"):
        figure = text[text.index(f'<figure id="{name}"') :].partition("</figure>")[0]
        first = (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8").splitlines()[0]
        assert first.strip("*") in figure


def test_figures_and_their_files_are_in_the_page(results, tmp_path):
    content = {"pdf": b"%PDF-1.7 invented", "csv": b"signal,value\nactivation,0.25\n"}
    for ending, written in content.items():
        (tmp_path / "figures" / f"encoding_by_region.{ending}").write_bytes(written)
    page = Page(report.render_report(**results))
    images = [text for text in page.references if text.startswith("data:image/png;base64,")]
    assert [base64.b64decode(text.partition(",")[2]) for text in images] == [PIXEL, PIXEL]
    for media, written in (("application/pdf", "pdf"), ("text/csv;charset=utf-8", "csv")):
        address = f"data:{media};base64,{base64.b64encode(content[written]).decode()}"
        assert address in page.references


def test_a_large_table_is_packed_and_what_is_too_large_is_linked(tmp_path, monkeypatch):
    path = tmp_path / "figures" / "scores.csv"
    path.parent.mkdir()
    path.write_bytes(b"signal,value\n" + b"activation,0.25\n" * 40_000)
    found = embedded.linked_file(path, "data", tmp_path / "report.html")
    assert found.name == "scores.csv.gz"
    packed = base64.b64decode(found.href.partition(",")[2])
    assert gzip.decompress(packed) == path.read_bytes()
    assert found == embedded.linked_file(path, "data", tmp_path / "report.html")
    monkeypatch.setattr(embedded, "LARGEST", 100)
    linked = embedded.linked_file(path, "data", tmp_path / "report.html")
    assert (linked.name, linked.href) == ("scores.csv", "figures/scores.csv")
    assert "not in this page" in linked.label


def test_the_alternative_text_says_what_is_seen(results, tmp_path):
    table = "signal,variant,value\nactivation,raw,0.1\nactivation,raw,0.3\nactivation,raw,0.5\n"
    (tmp_path / "figures" / "encoding_by_region.csv").write_text(table)
    page = report.render_report(**results)
    assert "Median value (lowest to highest): activation (alone) 0.3 (0.1 to 0.5)." in page
    (tmp_path / "figures" / "control_comparison.csv").write_text("verdict\nsupported\nsupported\n")
    assert "Verdicts: 2 supported." in report.render_report(**results)


def test_the_page_carries_its_libraries_with_their_licences(results, own_libraries):
    page = own_libraries(results)
    for library in (libraries.plotly(), libraries.datatables()):
        assert library.script in page and library.style in page
        assert "Permission is hereby granted" in library.licence
    assert len(page) < 25_000_000


def test_cells_lead_to_figures_that_are_on_the_page(results):
    page = Page(report.render_report(**results))
    assert page.references.count("#control_comparison") > 0
    assert "control_comparison" in page.ids


def test_a_cell_whose_figure_was_not_drawn_leads_nowhere(results):
    results["figures"] = results["figures"][1:]
    page = Page(report.render_report(**results))
    assert "#control_comparison" not in page.references


def test_text_of_tables_and_config_is_escaped(results, claims):
    claims["sentence"] = '<script>alert("x")</script>'
    write_table(results["claims"], claims, kind="claims")
    page = report.render_report(**results)
    assert '<script>alert("x")' not in page
    assert "An &lt;invented&gt; study" in page


def test_counts_of_verdicts_are_those_of_the_table(results, claims):
    page = report.render_report(**results)
    for verdict in style.VERDICTS:
        count = int((claims["verdict"] == verdict).sum())
        assert re.search(rf"{verdict}</span> {count}\b", page)
        # In the table of verdicts, and in that of all claims.
        assert page.count(f'<a class="cell {verdict}"') == count
        assert page.count(f'<span class="badge {verdict}">{verdict}</span>') == count


def test_a_claim_on_the_activation_is_one_cell_beside_all_learning_signals(claims, names):
    matrix = matrices.verdict_matrix(claims, names)
    place = [column["name"] for column in matrix["columns"]].index("A1")
    column = [row["cells"][place] for row in matrix["rows"]]
    cells = [cell for cell in column if cell != matrices.SPANNED]
    assert len(cells) == (claims["prediction"] == "A1").sum()
    assert sum(cell.n_rows for cell in cells) == len(matrix["rows"])


def test_missing_numbers_are_dashes_and_never_nan(results, claims):
    claims.loc[:, ["estimate", "ci_low", "ci_high", "p", "q"]] = np.nan
    write_table(results["claims"], claims, kind="claims")
    page = report.render_report(**results)
    assert not re.search(r">[^<]*\bnan\b", page)
    assert "no test" in page


def test_a_cell_without_a_test_says_why(results, claims):
    claims.loc[:, ["estimate", "q", "q_opposite"]] = np.nan
    write_table(results["claims"], claims.assign(reason="too_few"), kind="claims")
    page = report.render_report(**results)
    assert "no test</strong><small>in &lt; 2 subjects</small>" in page
    assert "says why (in &lt; 2 subjects: fewer than two subjects have the statistic)." in page
    assert "activations do not. (fewer than two subjects have the statistic)" in page


def test_the_part_of_cortex_that_a_claim_speaks_of_is_shown(results, claims):
    claims["coverage"] = claims["axis"].map({"roi": "visual cortex", "time": ""})
    write_table(results["claims"], claims.assign(reason="not_c1"), kind="claims")
    page = report.render_report(**results)
    part = "speaks of the part of cortex that was recorded: visual cortex"
    whole, some = (
        "C1 is not supported for this signal",
        f"C1 is not supported for this signal; {part}",
    )
    # In the table of all claims, and in that of verdicts.
    n_some, n_all = int((claims["axis"] == "roi").sum()), len(claims)
    assert page.count(f"<small>{some}</small>") == n_some
    assert page.count(f"<small>{whole}</small>") == n_all - n_some
    assert f"({some})" in page


@pytest.mark.parametrize(
    ("verdicts", "said", "unsaid"),
    [
        ({"C1": "undetermined"}, "order in space and time is not judged", "exceeds"),
        ({"C1": "contradicted"}, "than is of interest (C1 contradicted)", "exceeds"),
        ({"C1": "supported", "C2": "undetermined"}, "nothing speaks for its learning", "exceeds"),
        ({"C1": "supported", "C2": "contradicted"}, "control (C2 contradicted)", "not shown"),
        (
            {"C1": "supported", "C2": "supported", "P3": "undetermined", "P4": "undetermined"},
            "its order is not known (P3, P4 undetermined)",
            "opposite",
        ),
        (
            {"C1": "supported", "C2": "supported", "P4": "supported", "P3": "contradicted"},
            "backpropagation predicts (P4 supported); its order is the opposite (P3 contradicted)",
            "undetermined",
        ),
    ],
)
def test_conclusions_follow_from_the_verdicts(claims, names, verdicts, said, unsaid):
    rows = claims[(claims["dataset"] == "simulated_meg_backprop")]
    rows = rows[rows["model"] == rows["model"].iloc[0]]
    rows = rows[(rows["prediction"] == "P1") | rows["prediction"].isin(verdicts)].copy()
    unique = (rows["variant"] == "unique") & rows["prediction"].isin(verdicts)
    rows.loc[unique, "verdict"] = rows.loc[unique, "prediction"].map(verdicts)
    (only,) = said_by.conclusions(rows, names)
    assert said in only["sentence"]
    assert unsaid not in only["sentence"]
    assert only["sentence"].startswith("predicts responses above chance")


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (
            {("P1", "raw"): "undetermined"},
            "is not shown to predict responses (P1 undetermined), and is not shown to add to the "
            "activations of all layers (C1 undetermined): its order in space and time is not "
            "judged",
        ),
        (
            {("P1", "raw"): "supported"},
            "predicts responses above chance (P1 supported), but is not shown to add to the "
            "activations of all layers (C1 undetermined): its order in space and time is not "
            "judged",
        ),
        (
            {("P1", "raw"): "contradicted"},
            "predicts responses below chance (P1 contradicted), and is not shown to add to the "
            "activations of all layers (C1 undetermined): its order in space and time is not "
            "judged",
        ),
        (
            {
                ("P1", "raw"): "undetermined",
                ("C1", "unique"): "supported",
                ("C2", "unique"): "supported",
            },
            "is not shown to predict responses (P1 undetermined); yet it adds to the activations "
            "(C1 supported) and exceeds its best control (C2 supported)",
        ),
    ],
)
def test_halves_of_a_conclusion_are_joined_as_they_relate(claims, names, verdicts, sentence):
    rows = claims[(claims["dataset"] == "simulated_meg_backprop")]
    rows = rows[rows["model"] == rows["model"].iloc[0]]
    keys = list(zip(rows["prediction"], rows["variant"], strict=True))
    rows = rows[[key in verdicts for key in keys]].copy()
    rows["verdict"] = [verdicts[key] for key in keys if key in verdicts]
    assert [row["sentence"] for row in said_by.conclusions(rows, names)] == [sentence]


def test_second_opinions_are_told_beside_the_first_and_change_nothing(results, study, names):
    plain = report.render_report(**results)
    text = report.render_report(**results, second_opinions=study["second_opinions"][0])
    assert 'id="second"' not in plain and "A second opinion" in text
    opinions = with_text(read_table(study["second_opinions"][0], kind="second_opinions"))
    lines = said_by.second_opinion_lines(opinions, names)
    (line,) = [
        line
        for line in lines
        if line["dataset"] == "objects92" and line["model"] == "mobilenetv2_100_imagenet1k"
    ]
    said = {part["name"]: part["claims"] for part in line["parts"]}
    assert said == {
        "agrees": ["A1 (raw: supported, supported)", "P1 (raw: supported, supported)"],
        "first only": ["P2 (raw: supported, undetermined)"],
    }
    assert "P2 (raw: supported, undetermined)" in text
    # Cells and counts are those of the claims.
    cells = [re.findall(r'class="cell \w+"', page) for page in (plain, text)]
    assert cells[0] == cells[1]
    page = Page(text)
    assert page.open == [] and len(page.ids) == len(set(page.ids))


def test_the_report_says_how_well_a_signal_repeats_itself(results, claims, names):
    lines = said_by.reliability_lines(claims, names)
    # One line for all data sets of which the same is to be said.
    assert [len(line["datasets"]) for line in lines] == [3, 3]
    expected = "repeats itself with .93 (.80 in what activations do not predict)"
    assert {line["sentence"] for line in lines} == {expected}
    assert expected in report.render_report(**results)
    none = claims.assign(reliability=np.nan, unique_reliability=np.nan, least_reliable="")
    assert said_by.reliability_lines(none, names) == []


def test_the_report_says_what_is_not_judged_and_why(claims, names):
    rows = claims[claims["dataset"] == "objects92"]
    rows = rows[rows["model"] == rows["model"].iloc[0]].copy()
    c2 = rows["prediction"] == "C2"
    rows.loc[c2, ["control", "least_reliable"]] = "gradient_shuffled_dino"
    rows.loc[c2, ["reliability", "reason"]] = [0.31, "unreliable_signal"]
    (line,) = said_by.reliability_lines(rows, names)
    assert line["sentence"] == (
        "repeats itself with .93 (.80 in what activations do not predict); its control shuffled "
        "cotangent (DINO) repeats itself with .31 (.80 in what activations do not predict): C2 "
        "not judged"
    )
    own = rows["role"] == "learning"
    rows.loc[own & ~c2, ["reliability", "reason"]] = [0.36, "unreliable_signal"]
    assert said_by.reliability_lines(rows, names)[0]["sentence"].startswith(
        "repeats itself with .36 (.80 in what activations do not predict): P1, P2, P5 and C1 not "
        "judged; its control"
    )
    assert said_by.conclusions(rows, names)[0]["sentence"] == (
        "does not repeat itself between two draws of its views, and is not judged: draw more of "
        "them"
    )


def test_data_are_counted_per_subject(results, count_stores):
    responses, scores = count_stores
    (row,) = data_counts.data_counts(responses, scores)
    assert (row["subjects"], row["images"], row["targets"], row["masked"]) == (2, "4", "7–9", "3")
    assert (row["fits"], row["edge_fits"], row["edge_share"]) == (3, 1, 0.134)
    page = report.render_report(**results, responses=responses, scores=scores)
    assert "<td>fMRI</td>" in page
    assert re.search(r">3</td>\s*<td[^>]*>1</td>\s*<td[^>]*>13.4 %</td>", page)
    assert "Cichy et al. 2014" in page
    assert "CC BY 4.0" in page


def test_the_ceiling_between_subjects_is_told_or_that_there_is_none(
    results, count_stores, tmp_path
):
    responses, (first, *_) = count_stores
    assert data_counts.data_counts(responses, [first])[0]["ceiling"] is None
    assert '<td class="number">none</td>' in report.render_report(
        **results, responses=responses, scores=[first]
    )
    table = pd.DataFrame(
        {"dataset": "objects92", "model": "a", "layer": "l", "subject": "s", "edge_share": 0.0,
         "n_masked": 0,
         "roi": ["EVC", "EVC", "IT", "IT"],
         **SHOWN_SCORE, "time": np.nan, "intersubject_r": [0.2, 0.4, 0.5, 0.0]}
    )  # fmt: skip
    write_table(tmp_path / "scores.parquet", table)
    scores = [tmp_path / "scores.parquet"]
    assert data_counts.data_counts(responses, scores)[0]["ceiling"] == pytest.approx(0.3)
    assert '<td class="number">0.30</td>' in report.render_report(
        **results, responses=responses, scores=scores
    )


def test_without_stores_there_is_no_data_section(results):
    page = report.render_report(**results)
    assert 'id="data"' not in page
    assert 'href="#data"' not in page


def test_a_figure_without_caption_is_an_error_that_names_the_file(results, tmp_path):
    results["captions"] = [tmp_path / "another.rst"]
    with pytest.raises(FigureError, match=r"encoding_by_region\.rst: the caption is missing"):
        report.render_report(**results)


def test_a_figure_that_is_no_png_is_refused(results):
    results["figures"][0].write_bytes(b"not an image")
    with pytest.raises(FigureError, match=r"control_comparison\.png: is not a PNG"):
        report.render_report(**results)


def test_the_config_of_another_study_is_refused(results):
    results["study"] = "other"
    with pytest.raises(FigureError, match="key study is 'invented'; expected 'other'"):
        report.render_report(**results)


@pytest.mark.parametrize("name", figure_names())
def test_every_figure_has_a_caption_of_at_least_four_sentences(name):
    text = (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8")
    html = embedded.caption_html(text)
    assert "system-message" not in html
    assert len([line for line in text.splitlines() if line.endswith(".") or "**" in line]) >= 4


def test_no_caption_is_left_over():
    assert {path.stem for path in CAPTIONS.glob("*.rst")} == set(figure_names())


def test_numbers_have_three_digits_and_a_real_minus():
    assert numbers.number(-0.01234) == "−0.0123"
    assert numbers.number(np.float64(212.34)) == "212"
    assert numbers.number(float("nan")) == "–"
    assert style.signed(-0.0004) == "0.00"
    assert style.signed(-0.126) == "−0.13"
    assert numbers.share(0.0004) == "< 0.001"
    assert numbers.share(0.0156) == "0.016"


def row(prediction, verdict, *, signal="gradient_dino", reason="", detectable=np.nan):
    return {
        "dataset": "objects92", "model": "net", "signal": signal, "role": "learning",
        "variant": "unique", "prediction": prediction, "verdict": verdict, "reason": reason,
        "detectable_share": detectable,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        ({"C1": "supported", "C2": "supported", "P5": "supported"}, "Yes"),
        ({"C1": "supported", "C2": "supported", "P5": "contradicted"}, "No"),
        ({"C1": "supported", "C2": "contradicted", "P5": "supported"}, "No"),
        ({"C1": "contradicted"}, "No"),
        ({"C1": "supported", "C2": "supported", "P5": "undetermined"}, "Undecided"),
        ({"C1": "undetermined", "P5": "contradicted"}, "Undecided"),
    ],
)
def test_the_answer_follows_from_the_verdicts(verdicts, word):
    claims = pd.DataFrame([row(name, verdict) for name, verdict in verdicts.items()])
    assert answer(claims).startswith(f"{word}: of the only test ")


POINTS = Points(
    x="depth", y="value", y_label="score", low="low", high="high", series="signal",
    panels=("dataset", "roi"), text=("subject", "time"),
)  # fmt: skip


def points_table(n_subjects=2):
    rows = [
        {"dataset": "brain", "modality": "fmri", "signal": signal, "subject": f"s{subject}",
         "roi": roi, "depth": depth, "value": depth + subject, "low": np.nan, "high": np.nan,
         "time": np.nan}
        for subject in range(n_subjects)
        for signal in ("activation", "gradient_dino")
        for roi in ("V1", "LO")
        for depth in (0.25, 0.5)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def told(shown, place):
    """What the page says of one point: label -> value."""
    found = {}
    for column in shown["columns"].values():
        numbers, levels = column.get("numbers"), column.get("levels")
        found[column["label"]] = numbers[place] if numbers else levels[column["codes"][place]]
    return found


def test_points_tell_the_rows_of_the_table(tmp_path, names):
    table = points_table()
    table.to_csv(tmp_path / "a_figure.csv", index=False)
    shown = points.points(tmp_path / "a_figure.csv", POINTS, names)
    assert shown["n"] == len(table) and not shown["average"]
    # What is empty throughout is no choice, no interval and not told.
    assert (shown["low"], shown["high"], shown["text"]) == ("", "", ["subject"])
    assert shown["panels"] == ["dataset", "roi"]
    for place in (0, 5, 15):
        row = table.iloc[place]
        assert told(shown, place) == {
            "depth": row["depth"],
            "score": row["value"],
            "signal": names.label("signal", row["signal"]),
            "dataset": names.dataset_label("brain", "fmri"),
            "roi": row["roi"],
            "subject": row["subject"],
        }
    colours = shown["columns"]["signal"]["colours"]
    assert colours == [names.colour("signal", name) for name in ("activation", "gradient_dino")]


def test_of_too_many_points_subjects_are_averaged(tmp_path, names, monkeypatch):
    table = points_table(n_subjects=3)
    table.to_csv(tmp_path / "a_figure.csv", index=False)
    monkeypatch.setattr(points, "MOST", len(table) - 1)
    shown = points.points(tmp_path / "a_figure.csv", POINTS, names)
    assert shown["average"] and shown["n"] == len(table) / 3 and shown["text"] == []
    assert told(shown, 1)["score"] == pytest.approx(0.5 + 1)
    monkeypatch.setattr(points, "MOST", 2)
    assert points.points(tmp_path / "a_figure.csv", POINTS, names) is None


YES = {"C1": "supported", "C2": "supported", "P5": "supported"}
NO = {"C1": "contradicted"}
OPEN = {"C1": "undetermined"}


@pytest.mark.parametrize(
    ("tests", "start"),
    [
        (
            (YES, YES),
            "Yes: of 2 tests (a learning signal of one model on one data set), 2 say that",
        ),
        ((YES, OPEN), "Yes, in part: of 2 tests"),
        ((NO, NO), "No: of 2 tests"),
        ((NO, OPEN, OPEN), "No, in part: of 3 tests"),
        ((YES, NO), "Mixed: of 2 tests"),
        ((YES, NO, OPEN), "Mixed: of 3 tests"),
        ((OPEN, OPEN), "Undecided: of 2 tests"),
    ],
)
def test_several_tests_give_one_word(tests, start):
    claims = pd.DataFrame(
        [
            row(name, verdict, signal=f"signal_{number}")
            for number, verdicts in enumerate(tests)
            for name, verdict in verdicts.items()
        ]
    )
    said = answer(claims)
    assert said.startswith(start)
    yes, no = tests.count(YES), tests.count(NO)
    says = "says" if yes == 1 else "say"
    assert f"{yes} {says} that responses follow backpropagation and {no} that they do not" in said


def test_the_answer_is_one_sentence_with_its_power():
    claims = pd.DataFrame(
        [
            row("C1", "supported", detectable=0.07),
            row("C2", "undetermined"),
            row("C1", "undetermined", signal="other", detectable=0.12),
            row("C1", "undetermined", signal="third"),
        ]
    )
    assert answer(claims) == (
        "Undecided: of 3 tests (a learning signal of one model on one data set), 0 say that "
        "responses follow backpropagation and 0 that they do not; 1 signal adds to the activations "
        "(C1) and 0 more than their best control (C2); a unique part of 7 % to 12 % of the "
        "explainable variance would have been found with a probability of 80 % (1 of 3 tests do "
        "not tell), and smaller ones may have been missed."
    ).replace("7 % to", "7 to")


def test_untrained_models_do_not_answer(claims):
    rows = pd.DataFrame([row("C1", "descriptive", reason="untrained")])
    assert answer(rows).startswith("No learning signal was tested")


def test_the_answer_opens_the_page(results, claims):
    page = report.render_report(**results)
    assert page.index(escape(answer(claims))) < page.index("<nav")


def test_maps_of_single_layers_are_those_of_the_store(study, names):
    found = surface.surface(study["maps"], "invented", names)
    for side, mesh in found["mesh"].items():
        points = np.frombuffer(base64.b64decode(mesh["y"]), "<f4")
        faces = np.frombuffer(base64.b64decode(mesh["i"]), "<u2")
        assert (len(points), len(faces)) == (10242, 20480), side
    first = found["sets"][0]
    maps = next(iter(surface._on_cortex(study["maps"][0], "invented")))
    signal = next(maps.signals())
    for side in ("left", "right"):
        vertices = np.frombuffer(base64.b64decode(first["vertices"][side]), "<u2")
        own = np.array(
            [surface.hemisphere_of(name) == side for name in maps.coordinate("hemisphere")]
        )
        own &= maps.coordinate("vertex") < 10242
        np.testing.assert_array_equal(vertices, maps.coordinate("vertex")[own])
        steps = np.frombuffer(base64.b64decode(first["maps"][0]["values"][side]), "<i2")
        expected = signal.score.transpose("layer", "target").values[0][own]
        known = np.isfinite(expected)
        np.testing.assert_allclose(steps[known] * found["step"], expected[known], atol=5e-5)
        assert (steps[~known] == found["unknown"]).all()


def test_of_too_many_maps_layers_are_left_out_and_named(study, names, monkeypatch):
    whole = surface.surface(study["maps"], "invented", names)
    assert whole["omitted"] == []
    monkeypatch.setattr(surface, "LARGEST", 2000)
    some = surface.surface(study["maps"], "invented", names)
    assert some["omitted"]
    assert len(some["sets"][0]["maps"]) < len(whole["sets"][0]["maps"])


def test_rows_of_scores_are_means_over_subjects(count_stores, names):
    means = score_tables.mean_scores(count_stores[1])
    rows = score_tables.score_rows(means, names)
    assert [(one["mean"], one["highest"], one["place"]) for one in rows] == [
        (0.25, 0.25, "EVC")
    ] * 2
    plot = score_tables.heat_maps(means, names)[0]
    assert plot["choices"][0]["figure"]["data"][0]["z"] == [[0.25]]
    assert "0.25" in plot["alt"]
