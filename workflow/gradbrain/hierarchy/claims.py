"""From the statistics of subjects to one verdict per prediction, data set, model and signal.

Families
    q is Benjamini–Hochberg over all models and signals of a data set that the same prediction and
    variant is about: what holds in one data set does not depend on which others were studied, and
    the p of few subjects cannot pass a family of everything. Rows that are gated (their signal has
    no unique part, C1) are not judged, and take no part in a family: the families are tested in
    the order C1, then the rest (Yekutieli 2008).
Verdicts
    ``supported`` if q in the stated direction is at most alpha; ``contradicted`` if q of the
    opposite one-sided test is; else ``undetermined``. For rows with a margin (C1, C2) the latter
    says that the effect is smaller than the smallest effect of interest. ``descriptive`` rows are
    what the paper reads and carry no verdict: raw scores cannot tell a gradient from any other
    function of the image.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.predictions import BY_NAME, PREDICTIONS, Prediction
from gradbrain.hierarchy.statistics import (
    TestResult,
    bootstrap_interval,
    bootstrap_test,
    false_discovery_q,
    image_permutation_test,
    sign_flip_at_peaks,
    sign_flip_test,
    strictest,
)
from gradbrain.store.columns import CLAIM_COLUMNS

log = logging.getLogger(__name__)

NOT_C1 = "not judged: C1 is not supported for this signal"
ABSENT = "the hierarchy tables hold no such statistic (C2: the signal set has no control)"
TOO_FEW = "fewer than two subjects have this statistic"
PART_OF_CORTEX = "speaks of the part of cortex that was recorded: {}"
NO_NULL = "the statistic is undefined on permuted images"
Key = tuple[str, str, str]


def judge(
    tables: Sequence[pd.DataFrame], settings: StatisticsSettings, *, study: str
) -> pd.DataFrame:
    """Test every prediction on every data set, model and signal.

    Parameters
    ----------
    tables
        Hierarchy tables of the models of the study.
    settings
        Level, margin, number of subjects for population inference, bootstrap draws, seed.
    study
        Name of the study; tables of another one are refused.

    Returns
    -------
    pandas.DataFrame
        One row per prediction, data set, model, signal and variant, with the columns of
        ``claims.csv``.

    Raises
    ------
    HierarchyError
        There is no table, or one of another study.
    """
    frame = _joined(tables, study)
    rows = [row for prediction in PREDICTIONS for row in _tests(frame, prediction, settings)]
    claims = pd.DataFrame.from_records(rows)
    if claims.empty:
        raise HierarchyError(
            f"study {study!r}: its hierarchy tables hold no statistic that any prediction reads; "
            f"they have {sorted(frame['statistic'].unique())}"
        )
    claims = _with_coverage(_with_verdicts(claims, settings.alpha))
    order = [prediction.name for prediction in PREDICTIONS]
    rank = claims["prediction"].map(order.index)
    keys = ["dataset", "model", "rank", "signal", "variant"]
    claims = claims.assign(rank=rank).sort_values(keys, kind="stable", ignore_index=True)
    return claims[list(CLAIM_COLUMNS)]


def verdict(
    prediction: Prediction, variant: str, q: float, q_opposite: float, alpha: float, *, open_: bool
) -> str:
    """Verdict of one row.

    Parameters
    ----------
    prediction, variant
        What is judged.
    q, q_opposite
        In the stated and in the opposite direction; NaN where there was no test.
    alpha
        Level.
    open_
        Whether C1 is supported for the same data set, model and signal.
    """
    if variant in prediction.descriptive:
        return "descriptive"
    if variant in prediction.gated and not open_:
        return "undetermined"
    if q <= alpha:
        return "supported"
    if q_opposite <= alpha:
        return "contradicted"
    return "undetermined"


def _joined(tables: Sequence[pd.DataFrame], study: str) -> pd.DataFrame:
    if not tables:
        raise HierarchyError("no hierarchy table was given; give those of all models of the study")
    frame = pd.concat(tables, ignore_index=True)
    found = sorted(frame["study"].unique())
    if found != [study]:
        raise HierarchyError(f"hierarchy tables belong to the studies {found}, expected {study!r}")
    key = ["dataset", "subject", "model", "signal", "variant", "statistic"]
    key += ["layer", "roi", "best_layer", "control"]
    if frame.duplicated(key).any():
        twice = frame.loc[frame.duplicated(key), key].iloc[0].to_dict()
        raise HierarchyError(f"hierarchy tables hold the same statistic twice: {twice}")
    return frame


def _tests(frame: pd.DataFrame, prediction: Prediction, settings: StatisticsSettings) -> list[dict]:
    """Rows of one prediction, tested but without q and verdict."""
    rows = []
    about = frame[frame["role"] == prediction.role]
    for (dataset, model, signal), own in about.groupby(["dataset", "model", "signal"], sort=True):
        modality = own["modality"].iloc[0]
        for variant in prediction.variants if modality in prediction.statistics else ():
            chosen = _statistic_rows(
                own[own["variant"] == variant], prediction.statistics[modality], settings
            )
            row = {
                "prediction": prediction.name,
                "dataset": dataset,
                "model": model,
                "signal": signal,
                "variant": variant,
                "direction": prediction.direction,
                "figure": prediction.figures[modality],
                "source": prediction.source,
                "sentence": prediction.sentence,
                "statistic": prediction.statistics[modality][0],
                "coverage": _coverage(own) if prediction.over_cortex else "",
            }
            margin = variant in prediction.margin
            reference = settings.smallest_unique_r2 if margin else 0.0
            rows.append(row | _answer(chosen, prediction, reference, settings))
    return rows


def _statistic_rows(
    own: pd.DataFrame, statistics: tuple[str, ...], settings: StatisticsSettings
) -> pd.DataFrame:
    """One row per subject, and control: the statistic that answers, by the primary method."""
    present = [name for name in statistics if (own["statistic"] == name).any()]
    if not present:
        return own.iloc[:0]
    chosen = own[own["statistic"] == present[0]]
    if (chosen["best_layer"] != "").any():
        chosen = chosen[chosen["best_layer"] == settings.best_layer]
    return chosen.sort_values(["control", "subject"])


def _answer(
    rows: pd.DataFrame, prediction: Prediction, reference: float, settings: StatisticsSettings
) -> dict:
    """Estimate, interval and test of a prediction; of several controls all must be exceeded.

    The row shows the control that leaves the smallest difference, p is the largest over controls
    (intersection-union), and p in the opposite direction the smallest, times their number.
    """
    controls = list(dict.fromkeys(rows["control"])) if len(rows) else []
    if len(controls) < 2:
        return _test(rows, prediction, reference, settings)
    answers = [
        _test(rows[rows["control"] == control], prediction, reference, settings)
        for control in controls
    ]
    shown = min(answers, key=lambda answer: (np.isnan(answer["estimate"]), answer["estimate"]))
    tested = [answer for answer in answers if np.isfinite(answer["p"])]
    if len(tested) < len(answers):
        return shown
    opposite = len(tested) * min(answer["p_opposite"] for answer in tested)
    return shown | {
        "p": max(answer["p"] for answer in tested),
        "p_opposite": min(1.0, opposite),
        "p_min": max(answer["p_min"] for answer in tested),
    }


def _test(
    rows: pd.DataFrame, prediction: Prediction, reference: float, settings: StatisticsSettings
) -> dict:
    """Estimate, interval and one-sided test of one statistic over subjects."""
    known = rows[np.isfinite(rows["value"])]
    n = len(known)
    # The kind of inference follows from the study, not from who has a finite value.
    population = len(rows) >= settings.min_subjects
    found = {
        "estimate": float(known["value"].mean()) if n else np.nan,
        "unit": rows["unit"].iloc[0] if len(rows) else "",
        "n": n,
        "inference": "population" if population else "these_subjects",
        "reference": reference,
        "control": rows["control"].iloc[0] if len(rows) else "",
        "ci_low": np.nan,
        "ci_high": np.nan,
        "p": np.nan,
        "p_min": np.nan,
        "p_opposite": np.nan,
        "note": TOO_FEW if len(rows) else ABSENT,
    }
    if len(rows):
        found["statistic"] = rows["statistic"].iloc[0]
    if n < 2:
        return found
    low, high = _interval(known, population, settings)
    result = _tested(known, prediction, reference, population, settings.seed)
    return found | {
        "ci_low": low,
        "ci_high": high,
        "p": result.p,
        "p_min": result.p_min,
        "p_opposite": result.p_opposite,
        "note": "" if np.isfinite(result.p) else NO_NULL,
    }


def _tested(
    known: pd.DataFrame, prediction: Prediction, reference: float, population: bool, seed: int
) -> TestResult:
    """Test one statistic by subjects' signs, by images, or by both.

    Subjects who saw the same images share what these predict by chance, and their signs do not
    know it: a prediction whose null hypothesis is that nothing is predicted must also exceed
    permuted images.
    """
    sign = 1.0 if prediction.direction == "greater" else -1.0
    tests = []
    if population:
        tests.append(_flipped(known, sign, reference, seed))
    if not population and prediction.null == "lag":
        # Permuted images predict nothing, and peak anywhere: no null for when signals peak.
        boot = sign * _stacked(known["boot"]).mean(axis=0)
        tests.append(bootstrap_test(boot, sign * reference))
    elif not population or prediction.null == "nothing":
        # Permutations were made at the level of units, so the statistic is read there too.
        null = sign * _stacked(known["null"]).mean(axis=0)
        estimate = sign * (known["value_at_units"].mean() - reference)
        tests.append(image_permutation_test(estimate, null))
    return strictest(tests)


def _flipped(known: pd.DataFrame, sign: float, reference: float, seed: int) -> TestResult:
    """Flip the signs of subjects, with the choice of their places where they choose any."""
    if not known["map_units"].map(len).all():
        return sign_flip_test(sign * (known["value"].to_numpy() - reference), seed=seed)
    units = sorted({unit for names in known["map_units"] for unit in names})
    maps = np.full((len(known), int(known["n"].iloc[0]), len(units)), np.nan)
    for place, (values, names) in enumerate(zip(known["map"], known["map_units"], strict=True)):
        columns = [units.index(name) for name in names]
        maps[place][:, columns] = np.reshape(values, (-1, len(names)))
    return sign_flip_at_peaks(sign * (maps - reference), seed=seed)


def _interval(
    known: pd.DataFrame, population: bool, settings: StatisticsSettings
) -> tuple[float, float]:
    values = known["value"].to_numpy()
    shift = values - known["value_at_units"].to_numpy()
    boot = _stacked(known["boot"]) + shift[:, None]
    if known["statistic"].iloc[0] in ("spatial_r", "temporal_r"):
        boot = np.clip(boot, -1.0, 1.0)
    return bootstrap_interval(
        values,
        list(boot),
        resample_subjects=population,
        n_boot=settings.n_boot,
        seed=settings.seed,
    )


def _stacked(draws: pd.Series) -> np.ndarray:
    """Draws of all subjects, shape (subject, draw); they must be as many for each."""
    arrays = [np.asarray(values, dtype=float) for values in draws]
    counts = sorted({len(values) for values in arrays})
    if len(counts) > 1:
        raise HierarchyError(
            f"subjects of one data set have {counts} draws each; fit all of them with the same "
            "encoding.n_draws"
        )
    return np.stack(arrays)


def _with_verdicts(claims: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Add q and verdicts: C1 first, since it opens the rows that are gated."""
    claims = claims.assign(q=np.nan, q_opposite=np.nan, verdict="")
    gate: set[Key] = set()
    names = ["C1", *(name for name in BY_NAME if name != "C1")]
    for name in names:
        for variant in BY_NAME[name].variants:
            own = (claims["prediction"] == name) & (claims["variant"] == variant)
            for dataset in sorted(set(claims["dataset"][own])):
                claims = _judge_family(claims, own & (claims["dataset"] == dataset), gate, alpha)
        if name == "C1":
            supported = claims[(claims["prediction"] == "C1") & (claims["verdict"] == "supported")]
            gate = set(map(_key, supported.to_dict("records")))
    return claims


def _coverage(own: pd.DataFrame) -> str:
    """Part of cortex that was recorded, in the words of the data set; ``""`` for all of it."""
    return "; ".join(sorted(set(own["coverage"]) - {""}))


def _with_coverage(claims: pd.DataFrame) -> pd.DataFrame:
    """Say in the note of a row what part of cortex it can speak of."""
    notes = [
        "; ".join(filter(None, (note, PART_OF_CORTEX.format(coverage) if coverage else "")))
        for note, coverage in zip(claims["note"], claims["coverage"], strict=True)
    ]
    return claims.assign(note=notes)


def _judge_family(
    claims: pd.DataFrame, family: pd.Series, gate: set[Key], alpha: float
) -> pd.DataFrame:
    """Fill q, q_opposite, verdict and note of one prediction and variant in one data set."""
    rows = claims[family]
    if rows.empty:
        return claims
    prediction, variant = BY_NAME[rows["prediction"].iloc[0]], rows["variant"].iloc[0]
    open_ = np.array([_key(row) in gate for row in rows.to_dict("records")])
    judged = open_ if variant in prediction.gated else np.ones(len(rows), dtype=bool)
    q, q_opposite = (
        false_discovery_q(np.where(judged, rows[column].to_numpy(dtype=float), np.nan))
        for column in ("p", "p_opposite")
    )
    note = [
        text if fine or text else NOT_C1 for text, fine in zip(rows["note"], judged, strict=True)
    ]
    claims.loc[family, "q"] = q
    claims.loc[family, "q_opposite"] = q_opposite
    claims.loc[family, "note"] = note
    claims.loc[family, "verdict"] = [
        verdict(prediction, variant, q[i], q_opposite[i], alpha, open_=bool(open_[i]))
        for i in range(len(rows))
    ]
    return claims


def _key(row: dict) -> Key:
    return row["dataset"], row["model"], row["signal"]
