"""The claims as a page for readers: one table per data set and model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.claims import PART_OF_CORTEX
from gradbrain.hierarchy.predictions import PREDICTIONS

HOW_TO_READ = (
    "Each cell gives the verdict, the estimate, its 95 % interval and q; `raw` is the signal "
    "alone, `unique` what it adds to the activations of all layers, and only the latter can tell a "
    "gradient from any other function of the image."
)


def summary_page(claims: pd.DataFrame, settings: StatisticsSettings, *, study: str) -> str:
    """Write the claims of a study as Markdown.

    Parameters
    ----------
    claims
        Table of :func:`gradbrain.hierarchy.claims.judge`.
    settings
        The settings that it was made with.
    study
        Name of the study.

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
        f"{settings.smallest_unique_r2:g} R². Unique rows are judged only where C1 is supported. "
        f"Population: sign flips over at least {settings.min_subjects} subjects; these subjects: "
        "permutations of the images within fewer. q: Benjamini–Hochberg over the rows of the "
        "same prediction and variant that are judged.",
        "## Predictions",
        *(f"- **{p.name}** {p.sentence} ({p.source})" for p in PREDICTIONS),
    ]
    for (dataset, model), rows in claims.groupby(["dataset", "model"], sort=True):
        parts += [f"## {dataset} × {model}", _table(rows), *_parts_of_cortex(rows)]
    return "\n\n".join(_tightened(parts)) + "\n"


def _parts_of_cortex(rows: pd.DataFrame) -> list[str]:
    """Say which rows speak of a part of cortex only; one sentence per part."""
    start = PART_OF_CORTEX.format("")
    parts = rows["note"].str.partition(start)[2]
    return [
        f"{', '.join(dict.fromkeys(own['prediction']))}: {start}{part}."
        for part, own in rows.groupby(parts, sort=True)
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
            cells = [_cell(own[own["variant"] == variant]) for variant in ("raw", "unique")]
            lines.append(f"| {prediction.name} | {signal} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    if not np.isfinite(row["estimate"]):
        return f"**{row['verdict']}** ({row['note']})"
    unit = "" if row["unit"] == "depth" else f" {row['unit']}"
    number = f"{row['estimate']:.3g}{unit} [{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
    q = f"q = {row['q']:.2g}" if np.isfinite(row["q"]) else f"p = {row['p']:.2g}"
    control = f", against {row['control']}" if row["control"] else ""
    who = "population" if row["inference"] == "population" else "these subjects"
    return f"**{row['verdict']}** {number}{control}, {q}, n = {row['n']}, {who}"
