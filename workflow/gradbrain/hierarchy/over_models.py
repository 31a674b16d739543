"""Claims about models in general: people and models are both a sample, and cross.

A row of the claims speaks of one model. Here a prediction is asked of all trained models of a study
together: every person is predicted from every model, and the effect must be larger than what
people *and* models differ by (:func:`gradbrain.hierarchy.statistics.crossed_mean`; how it behaves
without effect stands in docs/calibration.md). Where people choose each other's places they are no
independent witnesses, so that the flips of their signs, which repeat the choice, are asked as well.
An order must also exceed that of maps that people share, in at least half of the models: twice the
median of their p, valid however they depend on each other (Rüger 1978, *Metrika* 25:171). The
largest p counts. The rows are offered beside the verdicts and have none of their own: whether the
models of a study are a sample of what one wants to speak of is for its authors to say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.claims import statistic_rows
from gradbrain.hierarchy.order import order_of_claim
from gradbrain.hierarchy.predictions import PREDICTIONS, Prediction, statistics_of
from gradbrain.hierarchy.statistics import (
    TestResult,
    common_maps,
    crossed_mean,
    false_discovery_q,
    sign_flip_at_peaks,
    strictest,
)
from gradbrain.store import Statistics
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import Variant
from gradbrain.vocabulary.reasons import UNRELIABLE_SIGNAL

#: Of fewer models, or people, their variance is a guess.
FEWEST = 3
KEYS = ["prediction", "dataset", "model", "signal", "variant"]
FAMILY = ["prediction", "dataset", "rule", "variant"]


def over_models(
    statistics: Statistics,
    claims: pd.DataFrame,
    settings: StatisticsSettings,
    *,
    untrained: Collection[str] = (),
) -> pd.DataFrame:
    """Test every prediction over the trained models of a study.

    Parameters
    ----------
    statistics
        Of the models of the study.
    claims
        Table of :func:`gradbrain.hierarchy.claims.judge` for them, which says in which models a
        signal does not repeat itself: these are left out.
    settings
        Margin, methods, seed.
    untrained
        Models whose weights were not learnt; they have no part.

    Returns
    -------
    pandas.DataFrame
        The columns of ``claims_over_models.csv``; one row per prediction, data set, signal and
        variant that three models and three people of all of them have. Empty of fewer models.
    """
    unreliable = {
        tuple(row)
        for row in claims.loc[claims["reason"] == UNRELIABLE_SIGNAL.code, KEYS].to_numpy()
    }
    table = statistics.table
    trained = table[~table["model"].isin(list(untrained))]
    rows = [
        row
        for prediction in PREDICTIONS
        for variant in prediction.variants
        for row in _rows(statistics, trained, prediction, variant, settings, unreliable)
    ]
    found = pd.DataFrame.from_records(rows, columns=list(columns_of("claims_over_models")))
    for family in found.groupby(FAMILY, sort=True).groups.values():
        for p, q in (("p", "q"), ("p_opposite", "q_opposite")):
            found.loc[family, q] = false_discovery_q(found.loc[family, p].to_numpy(dtype=float))
    return found


def _rows(
    statistics: Statistics,
    trained: pd.DataFrame,
    prediction: Prediction,
    variant: Variant,
    settings: StatisticsSettings,
    unreliable: Collection[tuple],
) -> Iterator[dict[str, Any]]:
    """Rows of one prediction and variant."""
    about = trained[(trained["role"] == prediction.role) & (trained["variant"] == variant)]
    for (dataset, signal), own in about.groupby(["dataset", "signal"], sort=True):
        first = own.iloc[0]
        if first["axis"] not in prediction.statistics:
            continue
        names = statistics_of(prediction, first["axis"], settings.distance)
        answers = pd.concat(
            [own.iloc[:0]]
            + [
                statistic_rows(one, names, settings)
                for model, one in own.groupby("model", sort=True)
                if (prediction.name, dataset, model, signal, variant) not in unreliable
            ]
        )
        tested = [
            _against(statistics, one, prediction, variant, settings)
            for _, one in answers.groupby("control", sort=True)
        ]
        # Of several controls all must be exceeded: the row is of the one that is exceeded least.
        found = [one for one in tested if one is not None]
        if not found or len(found) < len(tested):
            continue
        opposite = len(found) * min(one["p_opposite"] for one in found)
        yield {
            "prediction": prediction.name,
            "variant": variant,
            "direction": prediction.direction,
            **first[["dataset", "modality", "axis", "signal", "role", "rule", "objective"]],
            **max(found, key=lambda one: one["p"]),
            "p_opposite": min(1.0, opposite),
        }


def _against(
    statistics: Statistics,
    rows: pd.DataFrame,
    prediction: Prediction,
    variant: Variant,
    settings: StatisticsSettings,
) -> dict[str, Any] | None:
    """Estimate and test of rows of all models with one control; None of too few."""
    sign = 1.0 if prediction.direction == "greater" else -1.0
    is_share = variant in prediction.margin
    reference = settings.smallest_unique_share if is_share else 0.0
    table = rows.pivot(index="subject", columns="model", values="value")
    scale = pd.Series(1.0, index=table.columns)
    if is_share:
        ceilings = rows["explainable"].notna().all()
        available = "explainable" if ceilings else "explained"
        scale = rows.groupby("model")[available].mean().reindex(table.columns)
    # Of those who have it in all models that anybody has it in.
    table = table.loc[:, table.notna().any() & (scale > 0)].dropna()
    if min(table.shape) < FEWEST:
        return None
    values = sign * (table / scale[table.columns] - reference).to_numpy()
    found = crossed_mean(values)
    tests = [found.test]
    maps = _maps(statistics, rows, table, scale)
    if maps is not None:
        flipped = sign * (maps - reference)
        tests.append(sign_flip_at_peaks(flipped, below_zero=is_share, seed=settings.seed))
    if prediction.null == "order":
        tests.append(_ordered(statistics, rows, table, sign, settings.seed))
    ends = sorted(sign * end + reference for end in (found.low, found.high))
    return {
        "control": rows["control"].iloc[0],
        "statistic": rows["statistic"].iloc[0],
        "unit": "share of the explainable" if is_share else rows["unit"].iloc[0],
        "n_models": table.shape[1],
        "n_subjects": len(table),
        "models": ", ".join(table.columns),
        "estimate": sign * found.estimate + reference,
        "ci_low": ends[0],
        "ci_high": ends[1],
        "reference": reference,
        "p": strictest(tests).p,
        # Flips that keep what lies below a margin test no opposite.
        "p_opposite": max(test.p_opposite for test in tests if np.isfinite(test.p_opposite)),
    }


def _ordered(
    statistics: Statistics, rows: pd.DataFrame, table: pd.DataFrame, sign: float, seed: int
) -> TestResult:
    """Test the order in each model against maps that people share; twice the median p."""
    known = rows[rows["subject"].isin(table.index)]
    tests = [
        order_of_claim(statistics, known[known["model"] == model], sign=sign, seed=seed)
        for model in table.columns
    ]
    return TestResult(
        *(
            min(1.0, 2.0 * float(np.median([getattr(test, name) for test in tests])))
            for name in ("p", "p_opposite", "p_min")
        )
    )


def _maps(
    statistics: Statistics, rows: pd.DataFrame, table: pd.DataFrame, scale: pd.Series
) -> np.ndarray | None:
    """Maps behind values at peaks, (subject, layer of any model, unit); None without them."""
    place = {
        (row["model"], row["subject"]): index
        for index, row in zip(rows.index, rows.to_dict("records"), strict=True)
    }
    wanted = [[place[model, person] for person in table.index] for model in table.columns]
    if any(index not in statistics.maps for own in wanted for index in own):
        return None
    layers = [
        common_maps([statistics.maps[index] / scale[model] for index in own])
        for model, own in zip(table.columns, wanted, strict=True)
    ]
    widest = max(one.shape[-1] for one in layers)
    padded = [
        np.pad(one, [(0, 0), (0, 0), (0, widest - one.shape[-1])], constant_values=np.nan)
        for one in layers
    ]
    return np.concatenate(padded, axis=1)
