"""From the statistics of subjects to one verdict per prediction, data set, model and signal.

Families
    q is Benjamini–Hochberg over all models and all signals of one credit-assignment rule that the
    same prediction and variant is about in a data set: what holds in one data set, or of one rule,
    does not depend on which others were studied, and the p of few subjects cannot pass a family of
    everything. Rows that are gated (their signal has
    no unique part, C1) are not judged, and take no part in a family: the families are tested in
    the order C1, then the rest (Yekutieli 2008).
Verdicts
    ``supported`` if q in the stated direction is at most alpha; ``contradicted`` if q of the
    opposite one-sided test is; else ``undetermined``. C1 and C2 are tests of a share of the
    explainable variance against the smallest one of interest: ``contradicted`` says that a share
    of that size would have been seen (:mod:`gradbrain.hierarchy.unique_share`); without a noise
    ceiling that is above zero nothing is. ``descriptive`` rows are
    what the paper reads and carry no verdict: raw scores cannot tell a gradient from any other
    function of the image. Nor do untrained models where a prediction speaks of pretrained ones:
    they are controls for it, and no part of its family.
Whom they speak of
    ``population``: people like these, where at least ``min_subjects`` have the statistic; else
    ``these_subjects``. Of a larger data set in which fewer have it, those who have it are tested
    as strictly as all would be, but speak for themselves alone. The signs of people say nothing
    about other images or other models than those of the row.
Reliability
    A row whose signal, or a control that it is held against, does not repeat itself between two
    draws of its views has no verdict, whatever its test says: what is not in a signal cannot be
    found in a brain, and an unreliable control is easily exceeded. Such rows take no part in a
    family.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.config.schema import ReliabilitySettings, StatisticsSettings
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.order import order_of_claim
from gradbrain.hierarchy.predictions import (
    PREDICTIONS,
    SPATIAL_R,
    SPATIAL_RANK_R,
    Prediction,
    statistics_of,
)
from gradbrain.hierarchy.reliability import Reliabilities, Reliability, least_reliable
from gradbrain.hierarchy.statistics import (
    TestResult,
    bootstrap_test,
    common_maps,
    false_discovery_q,
    image_permutation_test,
    sign_flip_at_peaks,
    sign_flip_test,
    strictest,
)
from gradbrain.hierarchy.unique_share import GroupShare, PersonShare
from gradbrain.hierarchy.unique_variance import MOMENTS
from gradbrain.store import Statistics
from gradbrain.store.intervals import ImageSample, interval_of_mean
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import FEW_GROUPS, FEW_GROUPS_NOTE
from gradbrain.vocabulary.measures import Variant
from gradbrain.vocabulary.reasons import (
    FEW_PLACES,
    NO_CEILING,
    NO_CONTROL,
    NO_ERROR,
    NO_LATENCY,
    NO_NULL,
    NO_POWER,
    NOT_C1,
    TOO_FEW,
    UNDEFINED,
    UNRELIABLE_SIGNAL,
    UNTRAINED,
)

Key = tuple[str, str, str]
#: Statistics of peak times, which exist where layers are above chance on average over subjects.
LATENCIES = ("temporal_r", "peak_lag_ms")
#: What a share is of where some people have noise ceilings and the others are left out.
CEILING_OF_SOME = "ceiling_of_some"
#: Reasons for which a row has no verdict though it may have a p; it takes no part in its family.
WITHOUT_VERDICT = (UNRELIABLE_SIGNAL.code, FEW_PLACES.code)
# Columns of the statistics that say what a claim is about, and are the same in all its rows.
ABOUT = ("dataset", "modality", "axis", "model", "signal", "role", "rule", "objective")


def judge(
    statistics: Statistics,
    settings: StatisticsSettings,
    *,
    study: str,
    untrained: Collection[str] = (),
    reliabilities: Reliabilities | None = None,
    thresholds: ReliabilitySettings | None = None,
    predictions: Sequence[Prediction] = PREDICTIONS,
) -> pd.DataFrame:
    """Test every prediction on every data set, model and signal.

    Parameters
    ----------
    statistics
        Of the models of the study.
    settings
        Level, margin, number of subjects for population inference, bootstrap draws, seed.
    study
        Name of the study; statistics of another one are refused.
    untrained
        Models whose weights were not learnt.
    reliabilities
        How well signals that depend on chance repeat themselves; others are taken as reliable.
    thresholds
        Reliabilities below which signals are not judged; the defaults where left out.
    predictions
        What is predicted; all of it, by whatever statistics can answer.

    Returns
    -------
    pandas.DataFrame
        One row per prediction, data set, model, signal and variant, with the columns of
        ``claims.csv``.

    Raises
    ------
    HierarchyError
        Statistics are of another study, there twice, or none that any prediction reads.
    """
    _check(statistics.table, study)
    context = _Context(settings, thresholds or ReliabilitySettings(), reliabilities or {})
    rows = [row for prediction in predictions for row in _tests(statistics, prediction, context)]
    claims = pd.DataFrame.from_records(rows)
    if claims.empty:
        raise HierarchyError(
            f"study {study!r}: its hierarchy tables hold no statistic that any prediction reads; "
            f"they have {sorted(statistics.table['statistic'].unique())}"
        )
    claims = _with_verdicts(claims, predictions, settings.alpha, untrained)
    order = [prediction.name for prediction in PREDICTIONS]
    rank = claims["prediction"].map(order.index)
    keys = ["dataset", "model", "rank", "signal", "variant"]
    claims = claims.assign(rank=rank).sort_values(keys, kind="stable", ignore_index=True)
    return claims[list(columns_of("claims"))]


@dataclass(frozen=True)
class _Context:
    """What all rows are judged by."""

    settings: StatisticsSettings
    thresholds: ReliabilitySettings
    reliabilities: Reliabilities

    def reliability(self, row: Mapping[Any, Any], chosen: pd.DataFrame) -> Reliability:
        """Of the signal of a row or of a control in it, whichever repeats itself worse."""
        compared = dict.fromkeys([row["signal"], *chosen["control"]])
        return least_reliable(self.reliabilities, row["dataset"], row["model"], compared)


def verdict(
    prediction: Prediction,
    variant: Variant,
    q: float,
    q_opposite: float,
    alpha: float,
    *,
    open_: bool,
    reliable: bool = True,
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
    reliable
        Whether the signals of the row repeat themselves.
    """
    if variant in prediction.descriptive:
        return "descriptive"
    if not reliable or (variant in prediction.gated and not open_):
        return "undetermined"
    if q <= alpha:
        return "supported"
    if q_opposite <= alpha:
        return "contradicted"
    return "undetermined"


def _check(table: pd.DataFrame, study: str) -> None:
    found = sorted(table["study"].unique())
    if found != [study]:
        raise HierarchyError(f"hierarchy tables belong to the studies {found}, expected {study!r}")
    key = ["dataset", "subject", "model", "signal", "variant", "statistic"]
    key += ["layer", "roi", "best_layer", "control"]
    if table.duplicated(key).any():
        twice = table.loc[table.duplicated(key), key].iloc[0].to_dict()
        raise HierarchyError(f"hierarchy tables hold the same statistic twice: {twice}")


def _tests(statistics: Statistics, prediction: Prediction, context: _Context) -> list[dict]:
    """Rows of one prediction, tested but without q and verdict."""
    rows, settings = [], context.settings
    about = statistics.table[statistics.table["role"] == prediction.role]
    for _, own in about.groupby(["dataset", "model", "signal"], sort=True):
        axis = own["axis"].iloc[0]
        for variant in prediction.variants if axis in prediction.statistics else ():
            names = statistics_of(prediction, axis, settings.distance)
            chosen = statistic_rows(own[own["variant"] == variant], names, settings)
            row = {
                "prediction": prediction.name,
                **own.iloc[0][list(ABOUT)].to_dict(),
                "variant": variant,
                "direction": prediction.direction,
                "figure": prediction.figures[axis],
                "source": prediction.source,
                "sentence": prediction.sentence,
                "statistic": names[0],
                "coverage": _coverage(own) if prediction.over_cortex else "",
                "n_subjects": own["subject"].nunique(),
            }
            margin = variant in prediction.margin
            reference = settings.smallest_unique_share if margin else 0.0
            asked = _Question(prediction, reference, row["n_subjects"], settings, margin)
            row |= _answer(statistics, chosen, asked)
            if row["reason"] == NO_CONTROL.code and not row["objective"]:
                row["reason"] = NO_ERROR.code
            found = context.reliability(row, chosen)
            if found.is_below(context.thresholds, variant):
                row["reason"] = UNRELIABLE_SIGNAL.code
            rows.append(
                row
                | {
                    "reliability": found.whole,
                    "unique_reliability": found.unique,
                    "least_reliable": found.signal,
                    "reliability_threshold": context.thresholds.threshold,
                }
            )
    return rows


def statistic_rows(
    own: pd.DataFrame, statistics: tuple[str, ...], settings: StatisticsSettings
) -> pd.DataFrame:
    """Choose the statistic that answers, by the primary method.

    Parameters
    ----------
    own
        Statistics of one data set, model, signal and variant.
    statistics
        Names of those that can answer; the first present is taken.
    settings
        Definition of best layers.

    Returns
    -------
    pandas.DataFrame
        One row per subject, and control; empty where none is present.
    """
    present = [name for name in statistics if (own["statistic"] == name).any()]
    if not present:
        return own.iloc[:0]
    chosen = own[own["statistic"] == present[0]]
    if (chosen["best_layer"] != "").any():
        chosen = chosen[chosen["best_layer"] == settings.best_layer]
    # Controls stay in the order of the signal set, whatever they are called.
    return chosen.sort_values("subject", kind="stable")


@dataclass(frozen=True)
class _Question:
    """A prediction as it is asked of one signal in one data set.

    Attributes
    ----------
    prediction
        What is tested.
    reference
        What the estimate must exceed.
    n_subjects
        Subjects of the data set, whether or not they have the statistic.
    settings
        Of the tests.
    is_share
        Whether it is asked of a share of the explainable variance.
    """

    prediction: Prediction
    reference: float
    n_subjects: int
    settings: StatisticsSettings
    is_share: bool = False

    @property
    def population(self) -> bool:
        """Whether the data set is a sample of people: whoever has a value is tested as one."""
        return self.n_subjects >= self.settings.min_subjects


def _answer(statistics: Statistics, rows: pd.DataFrame, asked: _Question) -> dict:
    """Estimate, interval and test of a prediction; of several controls all must be exceeded.

    The row shows the control that leaves the smallest difference, p is the largest over controls
    (intersection-union), the lower bound of the share the smallest, which goes with it, and p in
    the opposite direction the smallest, times their number. What
    was not tested was not exceeded: where a control has no p the row is that control's, with its
    reason, and no other.
    """
    controls = list(dict.fromkeys(rows["control"])) if len(rows) else []
    if len(controls) < 2:
        return _test(statistics, rows, asked)
    answers = [_test(statistics, rows[rows["control"] == control], asked) for control in controls]
    untested = [answer for answer in answers if not np.isfinite(answer["p"])]
    if untested:
        return untested[0]
    shown = min(answers, key=lambda answer: (np.isnan(answer["estimate"]), answer["estimate"]))
    opposite = len(answers) * min(answer["p_opposite"] for answer in answers)
    return shown | {
        "p": max(answer["p"] for answer in answers),
        "p_opposite": min(1.0, opposite),
        "p_min": max(answer["p_min"] for answer in answers),
        "lower_share": float(np.min([answer["lower_share"] for answer in answers])),
    }


def _test(statistics: Statistics, rows: pd.DataFrame, asked: _Question) -> dict:
    """Estimate, interval and one-sided test of one statistic over subjects."""
    known = rows[np.isfinite(rows["value"])]
    n, settings = len(known), asked.settings
    n_groups = int(rows["n_groups"].min()) if len(rows) else 0
    speaks_for_people = asked.population and n >= settings.min_subjects
    found = {
        "estimate": float(known["value"].mean()) if n else np.nan,
        "unit": rows["unit"].iloc[0] if len(rows) else "",
        "n": n,
        "inference": "population" if speaks_for_people else "these_subjects",
        "reference": asked.reference,
        "control": rows["control"].iloc[0] if len(rows) else "",
        "ci_low": np.nan,
        "ci_high": np.nan,
        "n_groups": n_groups,
        "interval_note": "",
        "p": np.nan,
        "p_min": np.nan,
        "p_opposite": np.nan,
        "explainable": np.nan,
        "explainable_source": "",
        "lower_share": np.nan,
        "upper_share": np.nan,
        "detectable_share": np.nan,
        "reason": _too_little(rows, n, asked),
    }
    if len(rows):
        found["statistic"] = rows["statistic"].iloc[0]
    if found["reason"]:
        return found
    if int(known["n_groups"].min()) < FEW_GROUPS:
        found["interval_note"] = FEW_GROUPS_NOTE
    if asked.is_share:
        return found | _share(statistics, known, asked)
    low, high = _interval(statistics, known, asked.population)
    result = _tested(statistics, known, asked)
    reason = "" if np.isfinite(result.p) else NO_NULL.code
    if asked.prediction.null == "order":
        sign = 1.0 if asked.prediction.direction == "greater" else -1.0
        ordered = order_of_claim(statistics, known, sign=sign, seed=settings.seed)
        result = strictest([result, ordered])
        reason = FEW_PLACES.code if ordered.p_min > settings.alpha else reason
    return found | {
        "ci_low": low,
        "ci_high": high,
        "p": result.p,
        "p_min": result.p_min,
        "p_opposite": result.p_opposite,
        "reason": reason,
    }


def _share(statistics: Statistics, known: pd.DataFrame, asked: _Question) -> dict:
    """Estimate, bounds and test of a share of the explainable variance.

    People without a noise ceiling where the others have one are left out: of them no share is
    known, and what activations explain is another unit.
    """
    with_ceiling = np.isfinite(known["explainable"].to_numpy(dtype=float))
    ceilings, n = bool(with_ceiling.any()), int(with_ceiling.sum())
    some = ceilings and n < len(known)
    if some:
        known = known[with_ceiling]
    explainable = known["explainable" if ceilings else "explained"].to_numpy(dtype=float)
    source: dict = {"explainable": float(explainable.mean()), "unit": "share of the explainable"}
    source["explainable_source"] = (
        CEILING_OF_SOME if some else "ceiling" if ceilings else "explained"
    )
    if some:
        enough = asked.population and n >= asked.settings.min_subjects
        source |= {"n": n, "inference": "population" if enough else "these_subjects"}
        source["n_groups"] = int(known["n_groups"].min())
    if some and n == 1:
        return source | {"estimate": np.nan, "reason": TOO_FEW.code}
    if not explainable.mean() > 0:
        return source | {"estimate": np.nan, "reason": NO_CEILING.code}
    people = [
        PersonShare(
            component=float(row["value"]),
            null=statistics.null[place],
            explainable=float(available),
            **{name: (row[f"{name}_scaled"], row[f"{name}_flat"]) for name in MOMENTS},
        )
        for place, row, available in zip(
            known.index, known.to_dict("records"), explainable, strict=True
        )
    ]
    maps = [
        (statistics.maps[place], statistics.expected[place])
        for place in known.index
        if place in statistics.expected
    ]
    group = GroupShare(people, asked.population, tuple(maps), seed=asked.settings.seed)
    found = group.judge(asked.reference)
    test, upper = found.test, float(known["upper_share"].iloc[0])
    # Nothing is too small a share of what may not be there.
    known_ceiling = ceilings and found.ceiling_low > 0
    reason = ""
    if not known_ceiling:
        reason = NO_CEILING.code
    elif found.lower <= asked.reference <= upper:
        reason = NO_POWER.code
    return source | {
        "estimate": found.estimate,
        "ci_low": found.low,
        "ci_high": found.high,
        "lower_share": found.lower,
        "upper_share": upper if known_ceiling else np.nan,
        "detectable_share": found.detectable if known_ceiling else np.nan,
        "p": test.p if known_ceiling or not ceilings else np.nan,
        "p_min": test.p_min,
        "p_opposite": float(known["absent_p"].iloc[0]) if known_ceiling else np.nan,
        "reason": reason,
    }


def _too_little(rows: pd.DataFrame, n: int, asked: _Question) -> str:
    """Why nothing can be tested; ``""`` where it can. One subject is enough where it is all."""
    if not len(rows):
        return asked.prediction.absent.code
    if n == 0:
        return NO_LATENCY.code if rows["statistic"].iloc[0] in LATENCIES else UNDEFINED.code
    return TOO_FEW.code if n == 1 and asked.n_subjects > 1 else ""


def _tested(statistics: Statistics, known: pd.DataFrame, asked: _Question) -> TestResult:
    """Test one statistic by subjects' signs, by images, or by both.

    Subjects who saw the same images share what these predict by chance, and their signs do not
    know it: a prediction whose null hypothesis is that nothing is predicted must also exceed
    permuted images, and a lag must stand on resampled ones.
    """
    prediction, reference, population = asked.prediction, asked.reference, asked.population
    sign = 1.0 if prediction.direction == "greater" else -1.0
    tests = []
    if population:
        tests.append(_flipped(statistics, known, sign, reference, asked.settings.seed))
    if prediction.null == "lag":
        # Permuted images predict nothing, and peak anywhere: no null for when signals peak.
        boot = sign * statistics.boot[known.index].mean(axis=0)
        boot = ImageSample.of_fewest(known).widen(boot, population=population)
        tests.append(bootstrap_test(boot, sign * reference))
    elif not population or prediction.null == "nothing":
        # Permutations were made at the level of units, so the statistic is read there too.
        null = sign * statistics.null[known.index].mean(axis=0)
        estimate = sign * (known["value_at_units"].mean() - reference)
        tests.append(image_permutation_test(estimate, null))
    return strictest(tests)


def _flipped(
    statistics: Statistics, known: pd.DataFrame, sign: float, reference: float, seed: int
) -> TestResult:
    """Flip the signs of subjects, with the choice of their places where they choose any."""
    found = [statistics.maps[row] for row in known.index if row in statistics.maps]
    if len(found) < len(known):
        return sign_flip_test(sign * (known["value"].to_numpy() - reference), seed=seed)
    return sign_flip_at_peaks(sign * (common_maps(found) - reference), seed=seed)


def _interval(statistics: Statistics, known: pd.DataFrame, population: bool) -> tuple[float, float]:
    correlation = known["statistic"].iloc[0] in (SPATIAL_R, SPATIAL_RANK_R, "temporal_r")
    return interval_of_mean(
        known["value"].to_numpy(),
        statistics.boot[known.index],
        ImageSample.of_fewest(known),
        population=population,
        within=(-1.0, 1.0) if correlation else (-np.inf, np.inf),
    )


def _with_verdicts(
    claims: pd.DataFrame,
    predictions: Sequence[Prediction],
    alpha: float,
    untrained: Collection[str],
) -> pd.DataFrame:
    """Add q and verdicts: C1 first, since it opens the rows that are gated."""
    claims = claims.assign(q=np.nan, q_opposite=np.nan, verdict="")
    gate: set[Key] = set()
    for prediction in sorted(predictions, key=lambda one: one.name != "C1"):
        asked = claims["prediction"] == prediction.name
        if prediction.pretrained:
            controls = asked & claims["model"].isin(list(untrained))
            claims.loc[controls, "verdict"] = "descriptive"
            claims.loc[controls & (claims["reason"] == ""), "reason"] = UNTRAINED.code
            asked = asked & ~controls
        for variant in prediction.variants:
            own = asked & (claims["variant"] == variant)
            for _, family in claims[own].groupby(["dataset", "rule"], sort=True):
                rows = claims.index.isin(family.index)
                claims = _judge_family(claims, rows, prediction, gate, alpha)
        if prediction.name == "C1":
            supported = claims[(claims["prediction"] == "C1") & (claims["verdict"] == "supported")]
            gate = set(map(_key, supported.to_dict("records")))
    return claims


def _coverage(own: pd.DataFrame) -> str:
    """Part of cortex that was recorded, in the words of the data set; ``""`` for all of it."""
    return "; ".join(sorted(set(own["coverage"]) - {""}))


def _judge_family(
    claims: pd.DataFrame, family: np.ndarray, prediction: Prediction, gate: set[Key], alpha: float
) -> pd.DataFrame:
    """Fill q, q_opposite, verdict and reason of the rows of one family."""
    rows = claims[family]
    variant = rows["variant"].iloc[0]
    open_ = np.array([_key(row) in gate for row in rows.to_dict("records")])
    reliable = ~rows["reason"].isin(WITHOUT_VERDICT).to_numpy()
    judged = reliable & (open_ | (variant not in prediction.gated))
    q, q_opposite = (
        false_discovery_q(np.where(judged, rows[column].to_numpy(dtype=float), np.nan))
        for column in ("p", "p_opposite")
    )
    reason = [
        code if fine or code else NOT_C1.code
        for code, fine in zip(rows["reason"], judged, strict=True)
    ]
    claims.loc[family, "q"] = q
    claims.loc[family, "q_opposite"] = q_opposite
    claims.loc[family, "reason"] = reason
    claims.loc[family, "verdict"] = [
        verdict(
            prediction,
            variant,
            q[i],
            q_opposite[i],
            alpha,
            open_=bool(open_[i]),
            reliable=bool(reliable[i]),
        )
        for i in range(len(rows))
    ]
    # What stands in the way of one verdict does not of the other.
    decided = family & claims["verdict"].isin(["supported", "contradicted"])
    claims.loc[decided, "reason"] = ""
    return claims


def _key(row: dict) -> Key:
    return row["dataset"], row["model"], row["signal"]
