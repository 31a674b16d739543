"""The page of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gradbrain.config.plugins import Plugins
from gradbrain.figures import style
from gradbrain.figures.claims_overview import cell_text, explanations
from gradbrain.figures.declarations import FigureError, declaration
from gradbrain.figures.inputs import with_text
from gradbrain.figures.names import Names
from gradbrain.figures.report.answer import answer
from gradbrain.figures.report.conclusions import (
    conclusions,
    reliability_lines,
    second_opinion_lines,
)
from gradbrain.figures.report.data_counts import data_counts, sources
from gradbrain.figures.report.embedded import data_uri, report_figures
from gradbrain.figures.report.libraries import datatables, plotly
from gradbrain.figures.report.numbers import number, remarks, share, sortable
from gradbrain.figures.report.score_tables import heat_maps, mean_scores, score_rows
from gradbrain.figures.report.surface import surface
from gradbrain.figures.report.verdict_matrix import SPANNED, predictions, verdict_matrix
from gradbrain.figures.sensitivity import sentences
from gradbrain.store import Study, read_table
from gradbrain.vocabulary import reasons
from gradbrain.vocabulary.artefacts import artefact
from gradbrain.vocabulary.intervals import FEW_GROUPS_WORDS
from gradbrain.vocabulary.measures import EDGE_SHARE_LIMIT

FOLDER = Path(__file__).resolve().parent


REFERENCES = (
    "Raugel et al. 2026. Misalignment Between Backpropagation and the Hierarchy of Brain "
    "Responses to Images. arXiv:2605.28693. (The question and the predictions.)",
    "Raugel et al. 2025. arXiv:2508.18226. (The encoding pipeline, the spatial and the temporal "
    "score.)",
    "Dupré la Tour et al. 2022. Feature-space selection with banded ridge regression. NeuroImage "
    "264:119728. (Banded ridge, split of explained variance.)",
)


def results_of(study: Study, plugins: Plugins) -> dict[str, Any]:
    """Name what the page of an opened study is made of: arguments of :func:`render_report`.

    Parameters
    ----------
    study
        Its results.
    plugins
        Where its figures, and with them their captions, are looked up.

    Raises
    ------
    FigureError
        The study holds no settings, entries or claims, or a figure has no caption.
    """
    one = {}
    for kind in ("config", "entries", "claims"):
        paths = study.paths(kind)
        if not paths:
            raise FigureError(
                f"{study.folder}: holds no {artefact(kind).template}; a report needs it: run the "
                f"rule {artefact(kind).rule}"
            )
        one[kind] = paths[0]
    drawn = {name: figure.files["png"] for name, figure in study.figures.items()}
    optional = {kind: study.paths(kind) for kind in ("universes", "specification_curve")}
    optional["second_opinions"] = study.paths("second_opinions")
    return {
        "study": study.name,
        **one,
        "figures": list(drawn.values()),
        "captions": [declaration(name, plugins).caption for name in drawn],
        "responses": study.paths("responses"),
        "scores": study.paths("scores"),
        "maps": study.paths("maps"),
        **{kind: paths[0] if paths else None for kind, paths in optional.items()},
    }


def render_report(
    *,
    study: str,
    config: Path,
    claims: Path,
    entries: Path,
    figures: Sequence[Path],
    captions: Sequence[Path],
    output: Path,
    plugins: Sequence[Path] = (),
    responses: Sequence[Path] = (),
    scores: Sequence[Path] = (),
    maps: Sequence[Path] = (),
    universes: Path | None = None,
    specification_curve: Path | None = None,
    second_opinions: Path | None = None,
) -> str:
    """Write the page of a study.

    Parameters
    ----------
    study
        Name of the study.
    config
        The resolved configuration, YAML.
    claims
        The table of claims.
    entries
        What is shown to readers of models, signals, data sets and modalities (``entries.csv``).
    figures
        PNG files, beside which PDF and CSV lie.
    captions
        Files `<figure>.rst`.
    output
        Where the page will lie; files too large for it are linked from there.
    plugins
        Modules of figures that are not in the library.
    responses
        Response stores, for counts, licences and citations.
    scores
        Score tables of the models: shown as means over subjects, and read for the share of
        penalties at the edge of the grid and the ceiling between subjects.
    maps
        Map stores of the models, for the cortical surface that can be turned.
    universes, specification_curve
        Choices and claims of a multiverse, for the sentences on what verdicts hang on.
    second_opinions
        The claims by dissimilarities of held-out predictions.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    FigureError
        If a figure or caption is missing, or the config is of another study.
    StoreError
        If a table or store cannot be read.
    """
    settings = _read_config(config, study)
    table = with_text(read_table(claims, kind="claims"))
    names = Names.read(entries)
    means = mean_scores(scores)
    shown = report_figures(figures, captions, output, names, Plugins(files=plugins))
    page = _environment(names).get_template("report.html.jinja")
    return page.render(
        study=study,
        few_groups=FEW_GROUPS_WORDS,
        title=settings.get("title") or "",
        answer=answer(table),
        counts=table["verdict"]
        .value_counts()
        .reindex(list(style.VERDICTS), fill_value=0)
        .to_dict(),
        verdicts=style.VERDICTS,
        explanations=explanations(table),
        conclusions=conclusions(table, names),
        reliabilities=reliability_lines(table, names),
        matrix=verdict_matrix(table, names),
        sensitivity=_sensitivity(universes, specification_curve, names),
        second=_second(second_opinions, names),
        predictions=predictions(table),
        statistics=settings.get("statistics", {}),
        figures=shown,
        points={figure.name: figure.points for figure in shown if figure.points},
        drawn={path.stem for path in figures},
        spanned=SPANNED,
        alone=sorted(set(table.loc[table["n_subjects"] == 1, "dataset"])),
        claims=list(table.itertuples()),
        claims_file=data_uri(claims.read_bytes(), "csv"),
        scores=score_rows(means, names),
        heat_maps=heat_maps(means, names),
        surface=surface(maps, study, names),
        plotly=plotly(),
        datatables=datatables(),
        data=data_counts(responses, scores),
        edge_share_limit=EDGE_SHARE_LIMIT,
        sources=sources(responses),
        references=REFERENCES,
        config=config.read_text(encoding="utf-8"),
    )


def _sensitivity(
    universes: Path | None, specification_curve: Path | None, names: Names
) -> list[dict[str, object]]:
    """Sentences on which choice moves which verdict; none where no choice was varied."""
    if universes is None or specification_curve is None:
        return []
    claims = with_text(read_table(specification_curve, kind="specification_curve"))
    return sentences(claims, with_text(read_table(universes, kind="universes")), names)


def _second(path: Path | None, names: Names) -> list[dict[str, Any]]:
    """Agreement of second opinions; none where none were asked for."""
    if path is None:
        return []
    return second_opinion_lines(with_text(read_table(path, kind="second_opinions")), names)


def _environment(names: Names) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    environment.filters["sortable"] = sortable
    environment.filters["cell_text"] = cell_text
    environment.filters["share"] = share
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f} %"
    environment.filters["signal"] = lambda name: names.label("signal", name)
    environment.filters["model"] = lambda name: names.label("model", name)
    environment.filters["modality"] = lambda name: names.label("modality", name)
    environment.filters["dataset"] = names.dataset_label
    environment.filters["remarks"] = remarks
    environment.filters["subjects"] = lambda claim: reasons.subjects(claim.n, claim.n_subjects)
    environment.filters["unit"] = lambda unit: {"R2": "R²"}.get(unit, unit)
    return environment


def _read_config(path: Path, study: str) -> dict[str, Any]:
    if not path.is_file():
        raise FigureError(
            f"{path}: there is no resolved configuration; run the rule that writes it"
        )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = settings.get("study") if isinstance(settings, dict) else None
    if found != study:
        raise FigureError(f"{path}: key study is {found!r}; expected {study!r}, the study reported")
    return settings
