"""Counts, ceilings and sources of the data of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradbrain.store import open_store, read_table
from gradbrain.vocabulary.measures import EDGE_SHARE_LIMIT


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


def sources(responses: Sequence[Path]) -> list[str]:
    """Citations of the data sets, each once."""
    found = {
        str(open_store(path, kind="responses").attrs.get("citation", "")) for path in responses
    }
    return sorted(found - {""})
