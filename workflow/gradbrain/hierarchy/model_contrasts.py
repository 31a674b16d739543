"""Controlled comparisons: whether people tell models apart that differ in one factor.

In the manner of Conwell et al. 2024 (*Nature Communications* 15:9383): each person is predicted
from both sides of every pair, so that the difference of the two is the person's own, and people
are what is sampled. A side is scored at the layer that the *other* people choose
(:mod:`gradbrain.hierarchy.best_layer_scores`). All else is *ours*:

Tests are two-sided, since no direction is stated beforehand. ``p`` speaks of people like these and
of the models that were compared: the signs of the people's mean over pairs are flipped, which six
people are needed for (``statistics.min_subjects``); fewer are described, and the row says why.
People who choose each other's layers are no independent witnesses, so that Student's t with the
variance of the jackknife, which repeats the choice without each of them, must hold as well: flips
alone pass up to .24 where there is nothing (docs/calibration.md). Where three pairs or more share a
contrast, ``p_over_models`` speaks of other models too: people and pairs are both random and cross.

q is Benjamini–Hochberg over all contrasts of a data set, by the same kind of score, role and
variant; rows of single regions are a family of their own. Described and not tested are a signal
that does not repeat itself in one of the models, and unique parts: what a signal adds to all
layers' activations depends on how well these are fitted, which differs between models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.config.model_factors import Contrast, ModelFacts, Pair
from gradbrain.config.schema import ReliabilitySettings, StatisticsSettings
from gradbrain.hierarchy.best_layer_scores import ABOUT, EVERYWHERE
from gradbrain.hierarchy.reliability import Reliabilities, least_reliable
from gradbrain.hierarchy.statistics import (
    CrossedMean,
    TestResult,
    false_discovery_q,
    sign_flip_test,
    strictest,
    student_mean,
)
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import (
    BY_DISSIMILARITY,
    JUDGED,
    RHO,
    Measure,
    Variant,
    variants_of,
)
from gradbrain.vocabulary.reasons import FEW_PEOPLE, FIT_OF_ACTIVATIONS, UNRELIABLE_SIGNAL
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

#: Kind of score -> variant -> the measure that models are compared by.
METHODS: dict[str, Mapping[Variant, Measure]] = {
    "encoding": JUDGED,
    "rsa": {"raw": RHO},
    "encoding_rsa": BY_DISSIMILARITY.judged,
}
#: Roles of signals that models are compared by; controls say nothing of a model.
COMPARED = (ACTIVATION, LEARNING)
#: Of fewer pairs their variance is a guess.
FEWEST_PAIRS = 3
FAMILY = ["dataset", "method", "role", "variant", "everywhere"]


def comparable(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows of a table of scores that models are compared by, named by variant and value.

    Parameters
    ----------
    table
        Of kind ``scores``, ``rsa`` or ``prediction_rsa``.
    method
        ``encoding``, ``rsa`` or ``encoding_rsa``.
    """
    if method == "rsa":
        found = table.assign(variant="raw", value=table["rho"])
    else:
        found = table.assign(variant=table["measure"].map(variants_of(METHODS[method])))
    # Activations have no unique part.
    unique_of_activation = (found["variant"] == "unique") & (found["role"] == ACTIVATION)
    kept = found["role"].isin(COMPARED) & found["variant"].notna() & ~unique_of_activation
    return found[kept]


def compare_models(
    scores: Mapping[str, pd.DataFrame],
    contrasts: Sequence[Contrast],
    models: Sequence[ModelFacts],
    settings: StatisticsSettings,
    *,
    study: str,
    reliabilities: Reliabilities | None = None,
    thresholds: ReliabilitySettings | None = None,
) -> pd.DataFrame:
    """Test every contrast on every data set, signal, kind of score and region.

    Parameters
    ----------
    scores
        Method -> table of :func:`gradbrain.hierarchy.best_layer_scores.best_layer_scores` of all
        models.
    contrasts
        Of the study.
    models
        What is known of the models.
    settings
        Number of subjects for population inference, seed.
    study
        Name of the study.
    reliabilities
        How well signals that depend on chance repeat themselves.
    thresholds
        Reliabilities below which signals are not tested; the defaults where left out.

    Returns
    -------
    pandas.DataFrame
        The columns of ``model_contrasts.csv``.
    """
    thresholds = thresholds or ReliabilitySettings()
    facts = {model.model: model for model in models}
    keys = [name for name in ABOUT if name not in ("model", "objective")]
    rows: list[dict[str, Any]] = []
    for method, table in scores.items():
        for key, own in table.groupby([*keys, "roi"], sort=True):
            about: dict[str, Any] = dict(zip([*keys, "roi"], key, strict=True))
            variant: Variant = about["variant"]
            labels = {
                "study": study,
                **about,
                "objective": _objective(own),
                "method": method,
                "measure": METHODS[method][variant].name,
                "unit": METHODS[method][variant].unit,
                "best_layer": own["best_layer"].iloc[0],
            }
            values = own.pivot(index="subject", columns="model", values=["value", "without"])
            unreliable = {
                model
                for model in values["value"].columns
                if about["role"] == LEARNING
                and least_reliable(
                    reliabilities or {}, about["dataset"], model, [about["signal"]]
                ).is_below(thresholds, variant)
            }
            untested = FIT_OF_ACTIVATIONS.code if variant == "unique" else ""
            tested = _tested(values, contrasts, settings, unreliable, facts, untested)
            rows += [labels | row for row in tested]
    found = pd.DataFrame.from_records(rows, columns=list(columns_of("model_contrasts")))
    return _with_q(found)


def _objective(own: pd.DataFrame) -> str:
    """Objective of a signal; ``""`` where models differ in it."""
    objectives = own["objective"].unique()
    return str(objectives[0]) if len(objectives) == 1 else ""


def _tested(
    values: pd.DataFrame,
    contrasts: Sequence[Contrast],
    settings: StatisticsSettings,
    unreliable: set[str],
    facts: Mapping[str, ModelFacts],
    untested: str,
) -> Iterator[dict[str, Any]]:
    """A row for each contrast that people have both sides of."""
    names, n_subjects = list(values["value"].columns), len(values)
    place = {name: index for index, name in enumerate(names)}
    array = values["value"].to_numpy(dtype=float)
    without = _stacked(values["without"], n_subjects)
    for contrast in contrasts:
        pairs = [
            pair for pair in contrast.pairs if all(name in place for name in (*pair.a, *pair.b))
        ]
        if not pairs:
            continue
        sides = _of_sides(array, pairs, place)  # (side, subject, pair)
        # A pair that nobody has takes no part, nor a person who lacks one of the others.
        has = np.isfinite(sides).all(axis=0).any(axis=0)
        if not has.any():
            continue
        pairs = [pair for pair, kept in zip(pairs, has, strict=True) if kept]
        people = np.isfinite(sides[..., has]).all(axis=(0, 2))
        if not people.any():
            continue
        sides = sides[:, people][..., has]
        left_out = _of_sides(without, pairs, place)[:, people][:, :, people]
        used = {name for pair in pairs for name in (*pair.a, *pair.b)}
        yield {
            "contrast": contrast.name,
            "factor": contrast.factor,
            "level_a": contrast.a,
            "level_b": contrast.b,
            "n_models_a": len({name for pair in pairs for name in pair.a}),
            "n_models_b": len({name for pair in pairs for name in pair.b}),
            "parameters_a": _mean_parameters([pair.a for pair in pairs], facts),
            "parameters_b": _mean_parameters([pair.b for pair in pairs], facts),
            "mean_a": float(sides[0].mean()),
            "mean_b": float(sides[1].mean()),
            **_test(
                sides[0] - sides[1],
                # (subject left out, pair): the mean over all others.
                _mean_of_others(left_out[0] - left_out[1]),
                n_subjects,
                settings,
                reason=UNRELIABLE_SIGNAL.code if used & unreliable else untested,
            ),
        }


def _stacked(without: Any, n_subjects: int) -> np.ndarray:
    """Values of each subject (column) without each other (row), (left out, subject, model)."""
    absent = np.full(n_subjects, np.nan)
    return np.stack(
        [
            np.stack([one if isinstance(one, np.ndarray) else absent for one in own])
            for own in without.to_numpy().T
        ],
        axis=-1,
    ).swapaxes(0, 1)


def _of_sides(values: np.ndarray, pairs: Sequence[Pair], place: Mapping[str, int]) -> np.ndarray:
    """Means over the models of each side, (side, ..., pair), of values (..., model)."""
    return np.stack(
        [
            np.stack([values[..., [place[name] for name in side]].mean(axis=-1) for side in sides])
            for sides in ((pair.a, pair.b) for pair in pairs)
        ],
        axis=-1,
    )


def _mean_of_others(values: np.ndarray) -> np.ndarray:
    """Mean over subjects but the one left out, of values (left out, subject, pair)."""
    n = len(values)
    itself = np.eye(n, dtype=bool)[..., None]
    return np.where(itself, 0.0, values).sum(axis=1) / max(n - 1, 1)


def _mean_parameters(sides: Sequence[Sequence[str]], facts: Mapping[str, ModelFacts]) -> float:
    """Parameters of one side in millions, geometric mean over models; NaN where unknown."""
    known = [facts[name].parameters for side in sides for name in side if name in facts]
    if not known or None in known:
        return np.nan
    return float(np.exp(np.mean(np.log(np.array(known, dtype=float)))))


def _test(
    differences: np.ndarray,
    left_out: np.ndarray,
    n_subjects: int,
    settings: StatisticsSettings,
    *,
    reason: str,
) -> dict[str, Any]:
    """Estimate, interval and tests.

    Parameters
    ----------
    differences
        Shape (subject, pair).
    left_out
        Shape (subject, pair): their mean without each subject.
    reason
        Code of why they are not tested; ``""`` where they are.
    """
    n, n_pairs = differences.shape
    row: dict[str, Any] = {
        "n_pairs": n_pairs,
        "n": n,
        "n_subjects": n_subjects,
        "estimate": float(differences.mean()),
        "inference": "these_subjects",
    }
    if n < settings.min_subjects:
        reason = FEW_PEOPLE.code
    if reason:
        return row | {"reason": reason}
    flipped = sign_flip_test(differences.mean(axis=1), seed=settings.seed)
    over_people = jackknife_mean(differences, left_out)
    row |= {
        "inference": "population",
        "reason": "",
        "ci_low": over_people.low,
        "ci_high": over_people.high,
        "p": two_sided(strictest([flipped, over_people.test])),
        "p_min": min(1.0, 2 * flipped.p_min),
    }
    if n_pairs >= FEWEST_PAIRS:
        over_models = jackknife_mean(differences, left_out, over_pairs=True)
        row |= {
            "models_low": over_models.low,
            "models_high": over_models.high,
            "p_over_models": two_sided(over_models.test),
        }
    return row


def jackknife_mean(
    differences: np.ndarray, left_out: np.ndarray, *, over_pairs: bool = False
) -> CrossedMean:
    """Mean over people, whose variance is that of the jackknife, and its Student's test.

    Parameters
    ----------
    differences
        Shape (subject, pair).
    left_out
        Shape (subject, pair): the mean of the others' differences, with the choices that they make
        without the subject.
    over_pairs
        Whether pairs are a sample too: the variance of their means is added, and degrees of freedom
        are those of the fewer.
    """
    n, n_pairs = differences.shape
    variance = (n - 1) ** 2 / n * left_out.mean(axis=1).var(ddof=1)
    degrees = n - 1
    if over_pairs:
        variance += differences.mean(axis=0).var(ddof=1) / n_pairs
        degrees = min(n, n_pairs) - 1
    return student_mean(float(differences.mean()), float(np.sqrt(variance)), degrees)


def two_sided(test: TestResult) -> float:
    """Two-sided p of a pair of one-sided ones."""
    return min(1.0, 2 * min(test.p, test.p_opposite))


def _with_q(rows: pd.DataFrame) -> pd.DataFrame:
    """Add q over each family, of both tests."""
    rows = rows.assign(everywhere=rows["roi"] == EVERYWHERE)
    for family in rows.groupby(FAMILY, sort=True).groups.values():
        for p, q in (("p", "q"), ("p_over_models", "q_over_models")):
            rows.loc[family, q] = false_discovery_q(rows.loc[family, p].to_numpy(dtype=float))
    return rows[list(columns_of("model_contrasts"))]
