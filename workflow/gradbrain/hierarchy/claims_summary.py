"""The claims as a page for readers: one table per data set and model."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.predictions import PREDICTIONS
from gradbrain.vocabulary.intervals import FEW_GROUPS_NOTE, FEW_GROUPS_WORDS
from gradbrain.vocabulary.measures import JUDGED
from gradbrain.vocabulary.reasons import PART_OF_CORTEX, sentence, subjects
from gradbrain.vocabulary.verdicts import VERDICTS

HOW_TO_READ = (
    "Each cell gives the verdict, the estimate, its 95 % interval and q; `raw` is the signal "
    "alone, `unique` what it adds to the activations of all layers, and only the latter can tell a "
    "gradient from any other function of the image."
)
#: Of more models the page counts verdicts, in the place of a table for each.
MANY_MODELS = 16
OVER_MODELS = (
    "Each trained model predicts each person. Estimate and interval are of other people *and* "
    "other models, as far as these are a sample of them; p must hold over both (Student's t with "
    "the variance of either, and flips of people where they choose each other's places). Rows are "
    "not gated by C1, and have no verdict."
)
ONE_SUBJECT = (
    "nobody else says where a layer is to be scored, so that each is scored at its own best region "
    "or time. Such estimates are above zero whatever there is; permuted images, which choose for "
    "themselves as well, make the test a fair one."
)


def summary_page(
    claims: pd.DataFrame,
    settings: StatisticsSettings,
    *,
    study: str,
    over_models: pd.DataFrame | None = None,
) -> str:
    """Write the claims of a study as Markdown.

    Parameters
    ----------
    claims
        Table of :func:`gradbrain.hierarchy.claims.judge`.
    settings
        The settings that it was made with.
    study
        Name of the study.
    over_models
        Table of :func:`gradbrain.hierarchy.over_models.over_models`; shown where it has rows.

    Returns
    -------
    str
        The page, ending in a newline.
    """
    parts = [
        f"# Claims of the study {study}",
        HOW_TO_READ,
        f"Supported: q ≤ {settings.alpha:g} in the direction stated beforehand (one-sided); "
        f"contradicted: the same in the opposite direction. C1 and C2 must exceed "
        f"{settings.smallest_unique_share:.0%} of the explainable variance. Unique rows are judged "
        "only where C1 is supported. "
        f"Population: sign flips over at least {settings.min_subjects} subjects, and permuted "
        "images where the question is whether anything is predicted (the larger p counts): it "
        "speaks of people, for these images and this model. These subjects: permuted or, for lags, "
        "resampled images within fewer; it speaks of nobody else. q: Benjamini–Hochberg over the "
        "judged rows of the same prediction, variant and rule in a data set.",
        *_alone(claims),
        f"{len(claims)} claims: {_counted(claims)}.",
        "## Predictions",
        *(f"- **{p.name}** {p.sentence} ({p.source})" for p in PREDICTIONS),
    ]
    together = []
    if over_models is not None and len(over_models):
        together = ["## Over models", OVER_MODELS, _table_over_models(over_models)]
    n_models = claims["model"].nunique()
    if n_models > MANY_MODELS:
        # A table for each would be read by nobody.
        parts += [*together, *_of_many(claims, n_models)]
    else:
        for (dataset, model), rows in claims.groupby(["dataset", "model"], sort=True):
            parts += [f"## {dataset} × {model}", _table(rows)]
            parts += [*_parts_of_cortex(rows), *_seen(rows)]
        parts += together
    return "\n\n".join(_tightened(parts)) + "\n"


def _of_many(claims: pd.DataFrame, n_models: int) -> list[str]:
    """Of how many models each prediction has which verdict, with the range of estimates."""
    parts = [
        "## Verdicts by model",
        f"The study has {n_models} models: `claims.csv` has a row for each, and this page counts "
        "them. Quartiles are of the estimates over models.",
    ]
    for dataset, rows in claims.groupby("dataset", sort=True):
        lines = [
            f"| | signal | variant | {' | '.join(VERDICTS)} | median | quartiles |",
            "|---|---|---|" + "---|" * len(VERDICTS) + "---|---|",
        ]
        for prediction in PREDICTIONS:
            about = rows[rows["prediction"] == prediction.name]
            for (signal, variant), own in about.groupby(["signal", "variant"], sort=True):
                counts = own["verdict"].value_counts()
                known = own["estimate"].dropna()
                low, middle, high = (
                    np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
                )
                numbers = " | ".join(str(counts.get(verdict, 0)) for verdict in VERDICTS)
                lines.append(
                    f"| {prediction.name} | {signal} | {variant} | {numbers} | {_number(middle)} | "
                    f"{_number(low)} to {_number(high)} |"
                )
        parts += [f"### {dataset}", "\n".join(lines)]
    return parts


def _alone(claims: pd.DataFrame) -> list[str]:
    """Say what is different about data sets of one subject; nothing where there are none."""
    alone = claims.loc[claims["n_subjects"] == 1, "dataset"].unique()
    return [f"One subject ({', '.join(alone)}): {ONE_SUBJECT}"] if len(alone) else []


def _seen(claims: pd.DataFrame) -> list[str]:
    """Say of each signal what its unique part can be at most, and what would have been found."""
    known = claims[(claims["prediction"] == "C1") & claims["upper_share"].notna()]
    return [what_was_seen(row) for row in known.to_dict("records")]


def what_was_seen(row: Mapping[Hashable, Any]) -> str:
    """Sentence on the bounds of a unique share and the smallest one that would be found.

    Parameters
    ----------
    row
        A row of the claims of C1, with bounds.

    Returns
    -------
    str
    """
    found = (
        f"the smallest share that would be found with a probability of 80 % is "
        f"{row['detectable_share']:.0%}"
        if np.isfinite(row["detectable_share"])
        else "no share would be found with a probability of 80 %"
    )
    return (
        f"{row['signal']}: between {row['lower_share']:.0%} and {row['upper_share']:.0%} of the "
        f"explainable variance (bounds of 95 %, one-sided each; explainable: "
        f"{row['explainable']:.2g} of the responses' variance); {found}."
    )


def _counted(claims: pd.DataFrame) -> str:
    """How many claims have which verdict."""
    counts = claims["verdict"].value_counts()
    return ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)


def _parts_of_cortex(rows: pd.DataFrame) -> list[str]:
    """Say which rows speak of a part of cortex only; one sentence per part."""
    return [
        f"{', '.join(dict.fromkeys(own['prediction']))}: {PART_OF_CORTEX.format(part)}."
        for part, own in rows.groupby("coverage", sort=True)
        if part
    ]


def _tightened(parts: list[str]) -> list[str]:
    """Join neighbouring list items into one block."""
    blocks: list[str] = []
    for part in parts:
        if part.startswith("- ") and blocks and blocks[-1].startswith("- "):
            blocks[-1] += f"\n{part}"
        else:
            blocks.append(part)
    return blocks


def _table(rows: pd.DataFrame) -> str:
    lines = ["| | signal | raw | unique |", "|---|---|---|---|"]
    for prediction in PREDICTIONS:
        about = rows[rows["prediction"] == prediction.name]
        for signal, own in about.groupby("signal", sort=True):
            cells = [_cell(own[own["variant"] == variant]) for variant in JUDGED]
            lines.append(f"| {prediction.name} | {signal} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _table_over_models(rows: pd.DataFrame) -> str:
    """Estimate, interval and q of each row, data sets and predictions in order."""
    lines = [
        "| data | | signal | variant | estimate | q | q of the opposite | people × models |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.sort_values("dataset", kind="stable").to_dict("records"):
        low, middle, high = (_number(row[name]) for name in ("ci_low", "estimate", "ci_high"))
        unit = "" if row["unit"] == "depth" else f" {row['unit']}"
        against = f", against {row['control']}" if row["control"] else ""
        lines.append(
            f"| {row['dataset']} | {row['prediction']} | {row['signal']}{against} | "
            f"{row['variant']} | {middle}{unit} [{low}, {high}] | {row['q']:.2g} | "
            f"{row['q_opposite']:.2g} | {row['n_subjects']} × {row['n_models']} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    """Three significant digits; what rounds to nothing at three decimals is 0; – for none."""
    if not np.isfinite(value):
        return "–"
    return "0" if abs(value) < 5e-4 else f"{value:.3g}"


def decisive_q(row: pd.Series) -> str:
    """The q, or without a family the p, that the verdict of a row follows from, and its direction.

    Parameters
    ----------
    row
        Of ``claims.csv``.

    Returns
    -------
    str
        Of the opposite direction where that one decided.
    """
    if row["verdict"] == "contradicted":
        return f"q of the opposite = {row['q_opposite']:.2g}"
    return f"q = {row['q']:.2g}" if np.isfinite(row["q"]) else f"p = {row['p']:.2g}"


def _cell(rows: pd.DataFrame) -> str:
    return "" if rows.empty else cell_of(rows.iloc[0])


def cell_of(row: pd.Series) -> str:
    """Verdict, estimate, interval and q of a claim, in Markdown.

    Parameters
    ----------
    row
        Of ``claims.csv``.
    """
    who = f", n = {subjects(row['n'], row['n_subjects'])}"
    if row["reason"]:
        return f"{estimate_of(row)} ({sentence(row['reason'])}){who}"
    speaks = row["inference"].replace("_", " ")
    return f"{estimate_of(row)}, {decisive_q(row)}{who}, {speaks}"


def estimate_of(row: pd.Series) -> str:
    """Verdict, estimate, interval and control of a claim, in Markdown.

    Parameters
    ----------
    row
        Of ``claims.csv``.
    """
    unit = "" if row["unit"] == "depth" else f" {row['unit']}"
    estimate, low, high = (_number(row[name]) for name in ("estimate", "ci_low", "ci_high"))
    note = f", {FEW_GROUPS_WORDS}" if row["interval_note"] == FEW_GROUPS_NOTE else ""
    number = f" {estimate}{unit} [{low}, {high}{note}]" if np.isfinite(row["estimate"]) else ""
    control = f", against {row['control']}" if row["control"] and number else ""
    return f"**{row['verdict']}**{number}{control}"
