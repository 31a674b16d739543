"""Scores of the models, averaged over subjects: a table of few rows, and heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.figures import style
from gradbrain.figures.inputs import with_text
from gradbrain.figures.names import Names
from gradbrain.store import read_table
from gradbrain.vocabulary.measures import UNIQUE_VARIANCE, R
from gradbrain.vocabulary.roles import ACTIVATION, CONTROL, LEARNING

MEASURES = {measure.name: measure for measure in (R, UNIQUE_VARIANCE)}
#: What names a panel of scores, and within it a cell.
PANEL = ["dataset", "modality", "model", "measure", "signal", "role"]
CELL = ["layer", "depth", "roi", "time", "roi_rank"]
COLUMNS = [*PANEL, *CELL, "axis", "subject", "value"]


def mean_scores(paths: Sequence[Path]) -> pd.DataFrame:
    """Average r and unique variance over subjects.

    Parameters
    ----------
    paths
        Score tables, one per model.

    Returns
    -------
    pandas.DataFrame
        ``PANEL``, ``CELL``, axis, value (mean over subjects) and n_subjects.
    """
    roles = (ACTIVATION, LEARNING, CONTROL)
    found = []
    for path in paths:
        table = with_text(read_table(path, COLUMNS))
        table = table[table["measure"].isin(MEASURES) & table["role"].isin(roles)]
        means = table.groupby([*PANEL, "axis", *CELL], dropna=False, sort=False)["value"]
        found.append(means.agg(value="mean", n_subjects="count").reset_index())
    if not found:
        return pd.DataFrame(columns=[*PANEL, "axis", *CELL, "value", "n_subjects"])
    joined = pd.concat(found, ignore_index=True)
    return joined[joined["value"].notna()]


def score_rows(scores: pd.DataFrame, names: Names) -> list[dict[str, Any]]:
    """Per layer of each signal: the mean over regions or times, and the highest with its place.

    Parameters
    ----------
    scores
        Of :func:`mean_scores`.
    names
        Labels.
    """
    rows = []
    for _, part in scores.groupby([*PANEL, "layer"], sort=False):
        best = part.sort_values("value").iloc[-1]
        rows.append(
            {
                "dataset": names.dataset_label(best["dataset"], best["modality"]),
                "model": names.label("model", best["model"]),
                "signal": names.label("signal", best["signal"]),
                "measure": MEASURES[best["measure"]].label,
                "layer": best["layer"],
                "depth": float(best["depth"]),
                "mean": float(part["value"].mean()),
                "highest": float(best["value"]),
                "place": _place(best),
                "subjects": int(part["n_subjects"].max()),
            }
        )
    return rows


def _place(row: Any) -> str:
    return row["roi"] or f"{1000 * row['time']:.0f} ms"


def heat_maps(scores: pd.DataFrame, names: Names) -> list[dict[str, Any]]:
    """Layers by regions or times, one plot per data set, model and measure.

    Returns
    -------
    list of dict
        ``title``, ``alt``, and ``choices``, one for each signal: ``label`` and ``figure``, a plot
        of plotly.
    """
    found = []
    for key, part in scores.groupby(PANEL[:4], sort=False):
        dataset, modality, model, measure = map(str, key)
        title = (
            f"{names.dataset_label(dataset, modality)}, {names.label('model', model)}: "
            f"{MEASURES[measure].label}"
        )
        high = max(float(part["value"].max()), 1e-6)
        role_of = dict(zip(part["signal"], part["role"], strict=True))
        choices = [
            {
                "label": names.label("signal", signal),
                "figure": _heat_map(part[part["signal"] == signal], MEASURES[measure].label, high),
            }
            for signal in names.order_signals(role_of, role_of)
        ]
        best = part.sort_values("value").iloc[-1]
        alt = (
            f"Heat map of {MEASURES[measure].label}, layers by "
            f"{'regions' if best['roi'] else 'times'}; of all signals the highest is "
            f"{style.signed(float(best['value']))} for {names.label('signal', best['signal'])}, "
            f"layer {best['layer']}, at {_place(best)}."
        )
        found.append({"title": title, "alt": alt, "choices": choices})
    return found


def _heat_map(part: pd.DataFrame, label: str, high: float) -> dict[str, Any]:
    part = part.assign(place=[_place(row) for row in part.to_dict("records")])
    part = part.sort_values(["depth", "roi_rank", "time"])
    wide = part.pivot_table(index="layer", columns="place", values="value", sort=False)
    places = part.sort_values(["roi_rank", "time"])["place"].unique()
    wide = wide.reindex(columns=places)
    values = [
        [None if not np.isfinite(value) else float(f"{value:.4g}") for value in row]
        for row in wide.to_numpy()
    ]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": list(map(str, wide.columns)),
                "y": list(map(str, wide.index)),
                "z": values,
                "zmin": 0,
                "zmax": high,
                "colorscale": "Cividis",
                "colorbar": {"title": {"text": label}, "thickness": 12},
                "hovertemplate": f"layer %{{y}}<br>%{{x}}<br>{label} %{{z:.4f}}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"type": "category"},
            "yaxis": {"type": "category", "title": {"text": "layer, first below"}},
            "height": 320,
        },
    }
