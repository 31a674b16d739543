"""What controlled comparisons read and write: scores model by model, pairs, factors."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from gradbrain.config.model_factors import Contrast, ModelFacts
from gradbrain.hierarchy.best_layer_scores import COLUMNS, best_layer_scores
from gradbrain.hierarchy.model_contrasts import comparable
from gradbrain.hierarchy.reliability import Reliability, reliabilities_of
from gradbrain.store import read_table
from gradbrain.vocabulary.artefacts import columns_of

log = logging.getLogger(__name__)

#: Columns of each kind of table that are read, beside those that all have.
_OWN_COLUMNS = {"scores": ("measure", "value"), "prediction_rsa": ("measure", "value")}
_OF_RELIABILITY = ("layer", "reliability", "unique_reliability")


def read_scores(
    models: Sequence[str],
    subjects: Sequence[str],
    *,
    scores: Path,
    rsa: Path | None = None,
    prediction_rsa: Path | None = None,
) -> tuple[dict[str, pd.DataFrame], dict[tuple[str, str, str], Reliability]]:
    """Read what models are compared by, one model at a time: a few numbers of each are kept.

    Parameters
    ----------
    models, subjects
        Of the study.
    scores
        Folder that holds ``<model>.parquet`` of kind ``scores``.
    rsa
        Folder that holds ``<model>/<subject>.parquet``; None: no classical RSA.
    prediction_rsa
        Folder that holds ``<model>.parquet`` of kind ``prediction_rsa``; None where the study has
        none.

    Returns
    -------
    tuple
        Method -> table of :func:`gradbrain.hierarchy.best_layer_scores.best_layer_scores`, and
        (data set, model, signal) -> reliability.
    """
    found: dict[str, list[pd.DataFrame]] = {"encoding": [], "rsa": [], "encoding_rsa": []}
    reliabilities: dict[tuple[str, str, str], Reliability] = {}
    for number, model in enumerate(models, start=1):
        table = _read(scores / f"{model}.parquet", "scores", _OF_RELIABILITY)
        reliabilities |= reliabilities_of(table)
        found["encoding"].append(best_layer_scores(comparable(table, "encoding")))
        if rsa is not None:
            parts = [_read(rsa / model / f"{name}.parquet", "rsa", ("rho",)) for name in subjects]
            table = pd.concat(parts, ignore_index=True)
            found["rsa"].append(best_layer_scores(comparable(table, "rsa")))
        if prediction_rsa is not None:
            table = _read(prediction_rsa / f"{model}.parquet", "prediction_rsa")
            found["encoding_rsa"].append(best_layer_scores(comparable(table, "encoding_rsa")))
        if number % 20 == 0 or number == len(models):
            log.info("read %d of %d models", number, len(models))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items() if parts}
    return tables, reliabilities


def _read(path: Path, kind: str, more: Iterable[str] = ()) -> pd.DataFrame:
    """Columns of a table that comparisons use; no others are decoded."""
    columns = dict.fromkeys(["study", *COLUMNS, *_OWN_COLUMNS.get(kind, ()), *more])
    return read_table(path, tuple(columns), kind=kind, only=True)


def factor_table(models: Sequence[ModelFacts], contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """What sets the models apart, and in how many contrasts each has a part."""
    counts = Counter(
        name
        for contrast in contrasts
        for name in {name for pair in contrast.pairs for name in (*pair.a, *pair.b)}
    )
    rows = [asdict(model) | {"n_contrasts": counts[model.model]} for model in models]
    table = pd.DataFrame.from_records(rows, columns=list(columns_of("model_factors")))
    whole = {name: table[name].astype("Int64") for name in ("step", "year")}
    return table.assign(**whole)


def pair_table(contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """Every model of every pair, a row each."""
    rows = [
        {
            "contrast": contrast.name,
            "factor": contrast.factor,
            "pair": number,
            "side": side,
            "level": level,
            "model": model,
        }
        for contrast in contrasts
        for number, pair in enumerate(contrast.pairs)
        for side, level, models in (("a", contrast.a, pair.a), ("b", contrast.b, pair.b))
        for model in models
    ]
    return pd.DataFrame.from_records(rows, columns=list(columns_of("model_pairs")))
