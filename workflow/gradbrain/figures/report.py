"""The report of a study: one HTML page with verdicts, figures, counts and settings.

The page needs nothing beside itself to be read; the PDF and CSV of a figure are linked where
they lie. It holds nothing that varies from run to run: same results, same bytes.
"""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gradbrain.config.plugins import Plugins
from gradbrain.figures import style
from gradbrain.figures.claims_overview import (
    cell_text,
    explanations,
    overview_cells,
    overview_columns,
    overview_rows,
)
from gradbrain.figures.declarations import FigureError, declaration
from gradbrain.figures.inputs import with_text
from gradbrain.figures.names import Names
from gradbrain.figures.sensitivity import sentences
from gradbrain.store import open_store, read_table
from gradbrain.store.intervals import FEW_GROUPS_WORDS
from gradbrain.vocabulary import reasons
from gradbrain.vocabulary.roles import ACTIVATION
from gradbrain.vocabulary.verdicts import AGREEMENTS

FOLDER = Path(__file__).resolve().parent

#: Figures in the order of the argument; others follow by name.
FIGURE_ORDER = (
    "encoding_by_region",
    "best_layer_by_distance",
    "cortical_map",
    "encoding_over_time",
    "peak_time_by_depth",
    "sensor_topography",
    "control_comparison",
    "unique_share",
    "signal_reliability",
    "rsa_summary",
    "rsa_of_predictions",
    "claims_overview",
    "specification_curve",
)

#: Verdict on A1 -> what it says, where no learning signal was taken.
ORDER_OF_ACTIVATIONS = {
    "supported": "follows the hierarchy of the brain (A1 supported)",
    "contradicted": "runs against the hierarchy of the brain (A1 contradicted)",
    "undetermined": "is not shown to follow the hierarchy of the brain (A1 undetermined)",
    "descriptive": "is that of a control, an untrained model (A1 descriptive)",
}
#: In the place of a cell of the table of verdicts that a row above spans.
SPANNED = "spanned"

#: With more penalties than this share on its edge the grid is too narrow for a fit.
EDGE_SHARE_LIMIT = 0.1

REFERENCES = (
    "Raugel et al. 2026. Misalignment Between Backpropagation and the Hierarchy of Brain "
    "Responses to Images. arXiv:2605.28693. (The question and the predictions.)",
    "Raugel et al. 2025. arXiv:2508.18226. (The encoding pipeline, the spatial and the temporal "
    "score.)",
    "Dupré la Tour et al. 2022. Feature-space selection with banded ridge regression. NeuroImage "
    "264:119728. (Banded ridge, split of explained variance.)",
)


@dataclass(frozen=True)
class ReportFigure:
    """A figure as it stands in the report.

    Attributes
    ----------
    name, title
        Name of its module and its one-line title.
    image
        The PNG as a data URI.
    size
        Width and height in CSS pixels (the PNG has 150 dots per inch).
    caption
        HTML.
    links
        Ending to path relative to the report.
    """

    name: str
    title: str
    image: str
    size: tuple[int, int]
    caption: Markup
    links: dict[str, str]


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
        Where the page will lie; links are relative to it.
    plugins
        Modules of figures that are not in the library.
    responses
        Response stores, for counts, licences and citations.
    scores
        Score tables of the models, for the share of penalties at the edge of the grid and the
        ceiling between subjects.
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
    page = _environment(names).get_template("report.html.jinja")
    return page.render(
        study=study,
        few_groups=FEW_GROUPS_WORDS,
        title=settings.get("title") or "",
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
        predictions=_predictions(table),
        statistics=settings.get("statistics", {}),
        figures=_report_figures(figures, captions, output, Plugins(files=plugins)),
        drawn={path.stem for path in figures},
        spanned=SPANNED,
        alone=sorted(set(table.loc[table["n_subjects"] == 1, "dataset"])),
        claims=list(table.itertuples()),
        data=data_counts(responses, scores),
        edge_share_limit=EDGE_SHARE_LIMIT,
        sources=_sources(responses),
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


def second_opinion_lines(opinions: pd.DataFrame, names: Names) -> list[dict[str, Any]]:
    """Say per data set, model and signal which claims a second opinion shares.

    Parameters
    ----------
    opinions
        The table of second opinions.
    names
        The order of data sets, models and signals.

    Returns
    -------
    list of dict
        ``dataset``, ``modality``, ``model``, ``signal``, ``parts``: agreement,
        its meaning and the claims, the activation's among them.
    """
    found = []
    for dataset, model, signal in overview_rows(opinions, names):
        own = opinions[(opinions["dataset"] == dataset) & (opinions["model"] == model)]
        own = own[(own["signal"] == signal) | (own["role"] == ACTIVATION)]
        said = {
            name: [
                f"{row['prediction']} ({row['variant']}: {row['first_verdict']}, {row['verdict']})"
                for row in own[own["agreement"] == name].to_dict("records")
            ]
            for name in AGREEMENTS
        }
        parts = [
            {"name": name.replace("_", " "), "meaning": AGREEMENTS[name], "claims": claims}
            for name, claims in said.items()
            if claims
        ]
        if parts:
            modality = own["modality"].iloc[0]
            found.append(
                {
                    "dataset": dataset,
                    "modality": modality,
                    "model": model,
                    "signal": signal,
                    "parts": parts,
                }
            )
    return found


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


def number(value: Any) -> str:
    """Three significant digits with a real minus; a dash where there is no number."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3g}".replace("-", "−")


def share(value: float) -> str:
    """A p or q in three digits, small ones as a bound; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def remarks(claim: Any) -> str:
    """Why a claim has no verdict, and of what part of subjects or cortex it speaks; or ``""``.

    Parameters
    ----------
    claim
        Has ``reason``, ``n``, ``n_subjects`` and ``coverage``.
    """
    some = 0 < claim.n < claim.n_subjects
    who = f"{claim.n_subjects - claim.n} of {claim.n_subjects} subjects lack it" if some else ""
    part = reasons.PART_OF_CORTEX.format(claim.coverage) if claim.coverage else ""
    return "; ".join(filter(None, (reasons.sentence(claim.reason), who, part)))


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


def _report_figures(
    paths: Sequence[Path], captions: Sequence[Path], output: Path, plugins: Plugins
) -> list[ReportFigure]:
    rank = {name: place for place, name in enumerate(FIGURE_ORDER)}
    ordered = sorted(paths, key=lambda path: (rank.get(path.stem, len(rank)), path.stem))
    by_figure = {caption.stem: caption for caption in captions}
    return [_report_figure(path, by_figure, output, plugins) for path in ordered]


def _report_figure(
    path: Path, captions: dict[str, Path], output: Path, plugins: Plugins
) -> ReportFigure:
    caption = captions.get(path.stem, Path(f"{path.stem}.rst"))
    for needed, what in ((path, "figure"), (caption, "caption")):
        if not needed.is_file():
            raise FigureError(f"{needed}: the {what} is missing; draw or write it first")
    content = path.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise FigureError(f"{path}: is not a PNG file; draw the figure again")
    # Width and height follow the signature and the header of the first chunk.
    width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
    beside = {ending: path.with_suffix(f".{ending}") for ending in ("pdf", "csv")}
    return ReportFigure(
        name=path.stem,
        title=declaration(path.stem, plugins).title,
        image=f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}",
        size=(round(width * 96 / 150), round(height * 96 / 150)),
        caption=caption_html(caption.read_text(encoding="utf-8")),
        links={
            ending: Path(os.path.relpath(file, output.parent)).as_posix()
            for ending, file in beside.items()
        },
    )


def caption_html(restructured_text: str) -> Markup:
    """Turn a caption into HTML; markup that docutils does not understand is an error."""
    parts = publish_parts(
        restructured_text,
        writer="html5",
        settings_overrides={
            "report_level": 3,
            "halt_level": 3,
            "file_insertion_enabled": False,
            "raw_enabled": False,
        },
    )
    return Markup(parts["body"].strip())  # docutils escapes, and raw HTML is disabled


def _predictions(claims: pd.DataFrame) -> list[dict[str, str]]:
    """Each prediction with its sentence and source, in the order of the style."""
    first = {row["prediction"]: row for row in claims.to_dict("records")}
    return [
        {"name": name, "sentence": first[name]["sentence"], "source": first[name]["source"]}
        for name in style.PREDICTIONS
        if name in first
    ]


def verdict_matrix(claims: pd.DataFrame, names: Names) -> dict[str, Any]:
    """Verdicts as a table: rows are learning signals, columns predictions.

    Parameters
    ----------
    claims
        The table of claims.
    names
        The order of data sets, models and signals.

    Returns
    -------
    dict
        ``groups``: name and number of columns; ``columns``: prediction and its short title;
        ``rows``: data set, modality, model, signal, and per column a cell, None where nothing
        applies, or `SPANNED` where a cell of a row above reaches down.
    """
    columns, places = overview_columns(claims), overview_rows(claims, names)
    cells = overview_cells(claims, places)
    modality_of = dict(zip(claims["dataset"], claims["modality"], strict=True))
    groups: dict[str, int] = {}
    for group, _, _ in columns:
        groups[group] = groups.get(group, 0) + 1
    starts = np.cumsum([0, *groups.values()])[:-1].tolist()
    rows, spanned = [], [0] * len(columns)
    for dataset, model, signal in places:
        own: list[Any] = []
        for j, (_, name, variant) in enumerate(columns):
            cell = cells.get((dataset, model, signal, name, variant))
            own.append(SPANNED if spanned[j] else cell)
            spanned[j] = cell.n_rows - 1 if cell else max(0, spanned[j] - 1)
        rows.append(
            {
                "dataset": dataset,
                "modality": modality_of[dataset],
                "model": model,
                "signal": signal,
                "cells": own,
            }
        )
    return {
        "groups": groups,
        "starts": starts,
        "columns": [
            {"name": name, "title": style.PREDICTIONS[name].replace("\n", " ")}
            for _, name, _ in columns
        ],
        "rows": rows,
    }


def conclusions(claims: pd.DataFrame, names: Names) -> list[dict[str, str]]:
    """Say in one sentence per data set, model and learning signal what its verdicts amount to.

    Returns
    -------
    list of dict
        ``dataset``, ``modality``, ``model``, ``signal``, ``sentence``, a predicate that wants its
        subject.
    """
    found = []
    for dataset, model, signal in overview_rows(claims, names):
        rows = claims[
            (claims["dataset"] == dataset)
            & (claims["model"] == model)
            & (claims["signal"] == signal)
        ]
        unreliable = (rows["reason"] == reasons.UNRELIABLE_SIGNAL.code).all()
        keys = zip(rows["prediction"], rows["variant"], strict=True)
        verdict_of = dict(zip(keys, rows["verdict"], strict=True))
        found.append(
            {
                "dataset": dataset,
                "modality": rows["modality"].iloc[0],
                "model": model,
                "signal": signal,
                "sentence": _UNRELIABLE if unreliable else _conclusion(verdict_of),
            }
        )
    return found


_UNRELIABLE = (
    "does not repeat itself between two draws of its views, and is not judged: draw more of them"
)


def _conclusion(verdict_of: dict[tuple[str, str], str]) -> str:
    """A sentence that names the verdicts as the cells do, each with its prediction."""
    if ("P1", "raw") not in verdict_of:
        return ORDER_OF_ACTIVATIONS[verdict_of.get(("A1", "raw"), "undetermined")]
    found = verdict_of.get(("P1", "raw"), "")
    predicts = {
        "supported": "predicts responses above chance (P1 supported)",
        "contradicted": "predicts responses below chance (P1 contradicted)",
    }.get(found, "is not shown to predict responses (P1 undetermined)")
    gain = verdict_of.get(("C1", "unique"))
    if gain != "supported":
        then = ", but" if found == "supported" else ", and"
        adds = {
            "contradicted": "adds no more to the activations of all layers than is of interest "
            "(C1 contradicted)",
        }.get(str(gain), "is not shown to add to the activations of all layers (C1 undetermined)")
        return f"{predicts}{then} {adds}: its order in space and time is not judged"
    beyond = {
        "supported": "adds to the activations (C1 supported) and exceeds its best control "
        "(C2 supported)",
        "contradicted": "adds to the activations (C1 supported), but no more than its best control "
        "(C2 contradicted): its learning content is not what adds",
    }.get(
        verdict_of.get(("C2", "unique"), ""),
        "adds to the activations (C1 supported), but is not shown to exceed its best control "
        "(C2 undetermined): nothing speaks for its learning content",
    )
    # Together with the activations a signal may add what it does not predict alone.
    parts = [predicts, beyond if found == "supported" else f"yet it {beyond}"]
    order = {
        verdict: [
            name for name in ("P3", "P4", "P5") if verdict_of.get((name, "unique")) == verdict
        ]
        for verdict in ("supported", "contradicted", "undetermined")
    }
    said = {
        "supported": "its order is what backpropagation predicts ({} supported)",
        "contradicted": "its order is the opposite ({} contradicted)",
        "undetermined": "its order is not known ({} undetermined)",
    }
    parts += [said[verdict].format(", ".join(own)) for verdict, own in order.items() if own]
    return "; ".join(parts)


def reliability_lines(claims: pd.DataFrame, names: Names) -> list[dict[str, Any]]:
    """Say of each signal that depends on chance how well it repeats itself.

    Returns
    -------
    list of dict
        ``model``, ``signal``, ``datasets`` (pairs of data set and modality of which the same is to
        be said), ``sentence``, a predicate that wants its subject.
    """
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for dataset, model, signal in overview_rows(claims, names):
        rows = claims[
            (claims["dataset"] == dataset)
            & (claims["model"] == model)
            & (claims["signal"] == signal)
        ]
        sentence = _reliability(rows, names)
        if sentence:
            place = (dataset, str(rows["modality"].iloc[0]))
            found.setdefault((model, signal, sentence), []).append(place)
    return [
        {"model": model, "signal": signal, "sentence": sentence, "datasets": datasets}
        for (model, signal, sentence), datasets in found.items()
    ]


def _reliability(rows: pd.DataFrame, names: Names) -> str:
    """Reliability of one signal, and of a control that repeats itself worse; ``""`` if none."""
    said: dict[str, str] = {}
    # The signal is in every row, and a control in those that compare it with one.
    for row in rows.sort_values("control", key=lambda control: control != "").to_dict("records"):
        value, unique = (_hundredths(row[name]) for name in ("reliability", "unique_reliability"))
        if not value or row["least_reliable"] in said:
            continue
        own = row["least_reliable"] == row["signal"]
        who = "" if own else f"its control {names.label('signal', row['least_reliable'])} "
        rest = f" ({unique} in what activations do not predict)" if unique else ""
        said[row["least_reliable"]] = (
            f"{who}repeats itself with {value}{rest}{_unjudged(rows, row)}"
        )
    return "; ".join(said.values())


def _unjudged(rows: pd.DataFrame, row: Mapping[Any, Any]) -> str:
    """Say which predictions have no verdict because of the least reliable signal of a row."""
    same = rows["least_reliable"] == row["least_reliable"]
    own = rows[same & (rows["reason"] == reasons.UNRELIABLE_SIGNAL.code)]
    if own.empty:
        return ""
    return ": not judged" if len(own) == len(rows) else f": {_and(own['prediction'])} not judged"


def _and(predictions: pd.Series) -> str:
    """Names of predictions, each once, in words."""
    *some, last = dict.fromkeys(predictions)
    return f"{', '.join(some)} and {last}" if some else str(last)


def _hundredths(value: float) -> str:
    """A number from −1 to 1 in two digits, without its leading zero; ``""`` where unknown."""
    if not np.isfinite(value):
        return ""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def data_counts(responses: Sequence[Path], scores: Sequence[Path]) -> list[dict[str, Any]]:
    """Count subjects, images and targets per data set.

    Parameters
    ----------
    responses
        Response stores of the study.
    scores
        Score tables of the models of the study.

    Returns
    -------
    list of dict
        Per data set: ``subjects``; the ranges ``images``, ``targets`` and ``masked`` over
        subjects as text; ``modality``; ``fits``, the number of layers, models and subjects fitted;
        ``masked_in_folds``, the range over subjects of targets that do not vary in some outer fold;
        ``edge_share``, the largest share over fits and their signals of targets predicted above
        zero whose penalty lies on the edge of the grid, or None; ``edge_fits``, the number of fits
        where that share is above a tenth for any signal; ``ceiling``, r between subjects at the
        region or time where its mean over subjects is highest, or None where subjects do not share
        images and targets;
        ``licence`` and ``preprocessing``.
    """
    stores = [open_store(path, kind="responses") for path in responses]
    edges: dict[str, list[float]] = {}
    dead: dict[str, dict[str, int]] = {}
    ceilings: dict[str, float] = {}
    unit = ["dataset", "roi", "time"]
    for path in scores:
        table = read_table(
            path,
            [*unit, "model", "layer", "subject", "edge_share", "intersubject_r", "n_masked"],
        )
        # The same in all fits of a subject: responses are dead, whatever predicts them.
        masked = table.groupby([*unit, "subject"], dropna=False)["n_masked"].max()
        totals = masked.groupby(["dataset", "subject"]).sum().reset_index()
        for row in totals.to_dict("records"):
            dead.setdefault(str(row["dataset"]), {})[str(row["subject"])] = int(row["n_masked"])
        # Each signal has the share of the fits that hold it.
        fits = table.groupby(["dataset", "model", "layer", "subject"])["edge_share"].max().dropna()
        for dataset, shares in fits.groupby("dataset"):
            edges.setdefault(str(dataset), []).extend(map(float, shares))
        # The same for all models: a subject's others are no matter of a model.
        means = table.groupby(unit, dropna=False)["intersubject_r"].mean().dropna()
        ceilings |= {str(name): float(r) for name, r in means.groupby("dataset").max().items()}
    counts = []
    for dataset in sorted({str(store.attrs["dataset"]) for store in stores}):
        own = [store for store in stores if store.attrs["dataset"] == dataset]
        shapes = [dict(store["response"].sizes) for store in own]
        targets = [math.prod(shape.values()) // shape["image"] for shape in shapes]
        counts.append(
            {
                "dataset": dataset,
                "modality": str(own[0].attrs["modality"]),
                "subjects": len(own),
                "images": _range([shape["image"] for shape in shapes]),
                "targets": _range(targets),
                "masked": _range([int(store.attrs.get("n_masked_targets", 0)) for store in own]),
                "masked_in_folds": _range(list(dead.get(dataset, {"": 0}).values())),
                "fits": len(edges.get(dataset, [])),
                "edge_fits": sum(share > EDGE_SHARE_LIMIT for share in edges.get(dataset, [])),
                "edge_share": max(edges.get(dataset, []), default=None),
                "ceiling": ceilings.get(dataset),
                "licence": str(own[0].attrs.get("licence", "")),
                "preprocessing": str(own[0].attrs.get("preprocessing", "")),
            }
        )
    return counts


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _sources(responses: Sequence[Path]) -> list[str]:
    """Citations of the data sets, each once."""
    found = {
        str(open_store(path, kind="responses").attrs.get("citation", "")) for path in responses
    }
    return sorted(found - {""})
