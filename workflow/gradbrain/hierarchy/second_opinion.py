"""A second opinion on the claims, by the dissimilarities of held-out predictions.

The same predictions, tests and families, read from other scores: correlations of dissimilarities
and, of unique parts, partial correlations given the dissimilarities that all layers' activations
predict. A second opinion has q values of its own and changes no verdict; it says whether a claim
hangs on how closeness to the brain is measured.

Only A1 and the raw rows of P1 and P2 are tested. Of unique parts there are estimates and no test: a
signal that is a function of activations lets the fit weight these otherwise, and its partial
correlation is far above zero in brains that hold activations alone (docs/calibration.md). So C1, C2
and all unique rows are descriptive here, as the raw rows of P3, P4 and P5 are in the claims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from gradbrain.config.schema import ReliabilitySettings, StatisticsSettings
from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.claims_summary import cell_of, estimate_of
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.predictions import BY_NAME, PREDICTIONS, Prediction
from gradbrain.hierarchy.reliability import Reliabilities
from gradbrain.store import Statistics
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.reasons import REWEIGHTING
from gradbrain.vocabulary.roles import ROI, TIME
from gradbrain.vocabulary.verdicts import AGREEMENTS, Agreement

FIGURE = "rsa_of_predictions"
#: Columns of tests.
TESTS = ("p", "p_min", "q", "p_opposite", "q_opposite")
KEYS = ["prediction", "dataset", "model", "signal", "variant"]


def _by_dissimilarity(prediction: Prediction) -> Prediction:
    """The same prediction in terms of dissimilarities, without verdicts on unique parts."""
    return replace(
        prediction,
        # A unique variance is none of theirs; what is left at the same places answers for it.
        statistics=BY_NAME["P1" if prediction.name == "C1" else prediction.name].statistics,
        margin=frozenset(),
        gated=frozenset(),
        descriptive=prediction.descriptive | {"unique"},
        figures=dict.fromkeys((ROI, TIME), FIGURE),
    )


#: The predictions as dissimilarities can answer them.
PREDICTIONS_BY_DISSIMILARITY = tuple(map(_by_dissimilarity, PREDICTIONS))
#: Prediction and variant of the rows that carry a test.
TESTED = {
    (prediction.name, variant)
    for prediction in PREDICTIONS_BY_DISSIMILARITY
    for variant in prediction.variants
    if variant not in prediction.descriptive
}


def agreement(first: str, second: str) -> Agreement:
    """What a second verdict is to the first; ``""`` where one of the two is none.

    Parameters
    ----------
    first, second
        Verdicts.
    """
    if "descriptive" in (first, second):
        return ""
    decided = [verdict != "undetermined" for verdict in (first, second)]
    if all(decided):
        return "agrees" if first == second else "disagrees"
    return "first_only" if decided[0] else "second_only" if decided[1] else "neither"


def second_opinions(
    claims: pd.DataFrame,
    statistics: Statistics,
    settings: StatisticsSettings,
    *,
    study: str,
    untrained: Collection[str] = (),
    reliabilities: Reliabilities | None = None,
    thresholds: ReliabilitySettings | None = None,
) -> pd.DataFrame:
    """Judge every claim by dissimilarities, in families of its own.

    Parameters
    ----------
    claims
        The claims of the study, which are not changed.
    statistics
        Of dissimilarities (:mod:`gradbrain.hierarchy.rdm_scores`), of the same models.
    settings, study, untrained, reliabilities, thresholds
        As for :func:`gradbrain.hierarchy.claims.judge`.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``second_opinions``; one row per claim.

    Raises
    ------
    HierarchyError
        The statistics are not of the same data sets, models and signals as the claims.
    """
    second = judge(
        statistics,
        settings,
        study=study,
        untrained=untrained,
        reliabilities=reliabilities,
        thresholds=thresholds,
        predictions=PREDICTIONS_BY_DISSIMILARITY,
    )
    second = _without_tests(second)
    first = claims[[*KEYS, "verdict"]].rename(columns={"verdict": "first_verdict"})
    joined = second.merge(first, on=KEYS, how="outer", indicator=True, validate="1:1")
    alone = joined[joined["_merge"] != "both"]
    if len(alone):
        raise HierarchyError(
            f"{len(alone)} of {len(joined)} claims are in one of both tables only, the first "
            f"{alone[KEYS].iloc[0].to_dict()}: make both of the same fits"
        )
    said = [
        agreement(*pair) for pair in zip(joined["first_verdict"], joined["verdict"], strict=True)
    ]
    joined = first[KEYS].merge(joined.assign(agreement=said), on=KEYS)
    return joined[list(columns_of("second_opinions"))]


def _without_tests(opinions: pd.DataFrame) -> pd.DataFrame:
    """Take p and q from the rows that are described, and say why there are none."""
    kept = [key in TESTED for key in zip(opinions["prediction"], opinions["variant"], strict=True)]
    described = ~np.array(kept)
    opinions = opinions.copy()
    opinions.loc[described, list(TESTS)] = np.nan
    beside = (opinions["variant"] == "unique") | (opinions["prediction"] == "C2")
    # What has no estimate says why by itself.
    estimated = opinions["estimate"].notna()
    opinions.loc[described & beside & estimated, "reason"] = REWEIGHTING.code
    return opinions


def counted(opinions: pd.DataFrame) -> str:
    """How many claims that carry a verdict have which agreement, in words."""
    counts = Counter(opinions["agreement"])
    said = ", ".join(
        f"{counts[name]} {name.replace('_', ' ')} ({meaning})"
        for name, meaning in AGREEMENTS.items()
        if counts[name]
    )
    return said or "none"


def second_page(opinions: pd.DataFrame, *, study: str) -> str:
    """Write the second opinions as Markdown.

    Parameters
    ----------
    opinions
        Of :func:`second_opinions`.
    study
        Name of the study.

    Returns
    -------
    str
        The page, ending in a newline.
    """
    lines = [
        f"# Second opinions on the claims of the study {study}",
        "By representational similarity of held-out predictions: correlations of squared distances "
        "between images and, of unique parts, partial correlations given what all layers' "
        "activations predict. q is corrected among second opinions; no verdict is changed by "
        "them. Unique parts and differences to controls are described and not tested, since a fit "
        "that weights activations otherwise shows as much in a brain without the signal.",
        f"Of the claims that are tested twice: {counted(opinions)}.",
    ]
    for (dataset, model), rows in opinions.groupby(["dataset", "model"], sort=True):
        table = ["| | signal | variant | first | second | |", "|---|---|---|---|---|---|"]
        for place in rows.index:
            row = rows.loc[place]
            tested = (row["prediction"], row["variant"]) in TESTED
            table.append(
                f"| {row['prediction']} | {row['signal']} | {row['variant']} "
                f"| {row['first_verdict']} | {(cell_of if tested else estimate_of)(row)} "
                f"| {row['agreement'].replace('_', ' ')} |"
            )
        lines += [f"## {dataset} × {model}", "\n".join(table)]
    return "\n\n".join(lines) + "\n"
