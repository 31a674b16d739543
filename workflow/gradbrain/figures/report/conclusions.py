"""What verdicts amount to, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gradbrain.figures.claims_overview import overview_rows
from gradbrain.figures.names import Names
from gradbrain.figures.report.numbers import hundredths
from gradbrain.vocabulary import reasons
from gradbrain.vocabulary.roles import ACTIVATION
from gradbrain.vocabulary.verdicts import AGREEMENTS

#: Verdict on A1 -> what it says, where no learning signal was taken.
ORDER_OF_ACTIVATIONS = {
    "supported": "follows the hierarchy of the brain (A1 supported)",
    "contradicted": "runs against the hierarchy of the brain (A1 contradicted)",
    "undetermined": "is not shown to follow the hierarchy of the brain (A1 undetermined)",
    "descriptive": "is that of a control, an untrained model (A1 descriptive)",
}


_UNRELIABLE = (
    "does not repeat itself between two draws of its views, and is not judged: draw more of them"
)


def conclusions(claims: pd.DataFrame, names: Names) -> list[dict[str, str]]:
    """Say in one sentence per data set, model and learning signal what its verdicts amount to.

    Returns
    -------
    list of dict
        ``dataset``, ``modality``, ``model``, ``signal``, ``sentence``, a predicate that wants its
        subject.
    """
    found = []
    for dataset, model, signal in overview_rows(claims, names):
        rows = claims[
            (claims["dataset"] == dataset)
            & (claims["model"] == model)
            & (claims["signal"] == signal)
        ]
        unreliable = (rows["reason"] == reasons.UNRELIABLE_SIGNAL.code).all()
        keys = zip(rows["prediction"], rows["variant"], strict=True)
        verdict_of = dict(zip(keys, rows["verdict"], strict=True))
        found.append(
            {
                "dataset": dataset,
                "modality": rows["modality"].iloc[0],
                "model": model,
                "signal": signal,
                "sentence": _UNRELIABLE if unreliable else _conclusion(verdict_of),
            }
        )
    return found


def _conclusion(verdict_of: dict[tuple[str, str], str]) -> str:
    """A sentence that names the verdicts as the cells do, each with its prediction."""
    if ("P1", "raw") not in verdict_of:
        return ORDER_OF_ACTIVATIONS[verdict_of.get(("A1", "raw"), "undetermined")]
    found = verdict_of.get(("P1", "raw"), "")
    predicts = {
        "supported": "predicts responses above chance (P1 supported)",
        "contradicted": "predicts responses below chance (P1 contradicted)",
    }.get(found, "is not shown to predict responses (P1 undetermined)")
    gain = verdict_of.get(("C1", "unique"))
    if gain != "supported":
        then = ", but" if found == "supported" else ", and"
        adds = {
            "contradicted": "adds no more to the activations of all layers than is of interest "
            "(C1 contradicted)",
        }.get(str(gain), "is not shown to add to the activations of all layers (C1 undetermined)")
        return f"{predicts}{then} {adds}: its order in space and time is not judged"
    beyond = {
        "supported": "adds to the activations (C1 supported) and exceeds its best control "
        "(C2 supported)",
        "contradicted": "adds to the activations (C1 supported), but no more than its best control "
        "(C2 contradicted): its learning content is not what adds",
    }.get(
        verdict_of.get(("C2", "unique"), ""),
        "adds to the activations (C1 supported), but is not shown to exceed its best control "
        "(C2 undetermined): nothing speaks for its learning content",
    )
    # Together with the activations a signal may add what it does not predict alone.
    parts = [predicts, beyond if found == "supported" else f"yet it {beyond}"]
    order = {
        verdict: [
            name for name in ("P3", "P4", "P5") if verdict_of.get((name, "unique")) == verdict
        ]
        for verdict in ("supported", "contradicted", "undetermined")
    }
    said = {
        "supported": "its order is what backpropagation predicts ({} supported)",
        "contradicted": "its order is the opposite ({} contradicted)",
        "undetermined": "its order is not known ({} undetermined)",
    }
    parts += [said[verdict].format(", ".join(own)) for verdict, own in order.items() if own]
    return "; ".join(parts)


def second_opinion_lines(opinions: pd.DataFrame, names: Names) -> list[dict[str, Any]]:
    """Say per data set, model and signal which claims a second opinion shares.

    Parameters
    ----------
    opinions
        The table of second opinions.
    names
        The order of data sets, models and signals.

    Returns
    -------
    list of dict
        ``dataset``, ``modality``, ``model``, ``signal``, ``parts``: agreement,
        its meaning and the claims, the activation's among them.
    """
    found = []
    for dataset, model, signal in overview_rows(opinions, names):
        own = opinions[(opinions["dataset"] == dataset) & (opinions["model"] == model)]
        own = own[(own["signal"] == signal) | (own["role"] == ACTIVATION)]
        said = {
            name: [
                f"{row['prediction']} ({row['variant']}: {row['first_verdict']}, {row['verdict']})"
                for row in own[own["agreement"] == name].to_dict("records")
            ]
            for name in AGREEMENTS
        }
        parts = [
            {"name": name.replace("_", " "), "meaning": AGREEMENTS[name], "claims": claims}
            for name, claims in said.items()
            if claims
        ]
        if parts:
            modality = own["modality"].iloc[0]
            found.append(
                {
                    "dataset": dataset,
                    "modality": modality,
                    "model": model,
                    "signal": signal,
                    "parts": parts,
                }
            )
    return found


def reliability_lines(claims: pd.DataFrame, names: Names) -> list[dict[str, Any]]:
    """Say of each signal that depends on chance how well it repeats itself.

    Returns
    -------
    list of dict
        ``model``, ``signal``, ``datasets`` (pairs of data set and modality of which the same is to
        be said), ``sentence``, a predicate that wants its subject.
    """
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for dataset, model, signal in overview_rows(claims, names):
        rows = claims[
            (claims["dataset"] == dataset)
            & (claims["model"] == model)
            & (claims["signal"] == signal)
        ]
        sentence = _reliability(rows, names)
        if sentence:
            place = (dataset, str(rows["modality"].iloc[0]))
            found.setdefault((model, signal, sentence), []).append(place)
    return [
        {"model": model, "signal": signal, "sentence": sentence, "datasets": datasets}
        for (model, signal, sentence), datasets in found.items()
    ]


def _reliability(rows: pd.DataFrame, names: Names) -> str:
    """Reliability of one signal, and of a control that repeats itself worse; ``""`` if none."""
    said: dict[str, str] = {}
    # The signal is in every row, and a control in those that compare it with one.
    for row in rows.sort_values("control", key=lambda control: control != "").to_dict("records"):
        value, unique = (hundredths(row[name]) for name in ("reliability", "unique_reliability"))
        if not value or row["least_reliable"] in said:
            continue
        own = row["least_reliable"] == row["signal"]
        who = "" if own else f"its control {names.label('signal', row['least_reliable'])} "
        rest = f" ({unique} in what activations do not predict)" if unique else ""
        said[row["least_reliable"]] = (
            f"{who}repeats itself with {value}{rest}{_unjudged(rows, row)}"
        )
    return "; ".join(said.values())


def _unjudged(rows: pd.DataFrame, row: Mapping[Any, Any]) -> str:
    """Say which predictions have no verdict because of the least reliable signal of a row."""
    same = rows["least_reliable"] == row["least_reliable"]
    own = rows[same & (rows["reason"] == reasons.UNRELIABLE_SIGNAL.code)]
    if own.empty:
        return ""
    return ": not judged" if len(own) == len(rows) else f": {_and(own['prediction'])} not judged"


def _and(predictions: pd.Series) -> str:
    """Names of predictions, each once, in words."""
    *some, last = dict.fromkeys(predictions)
    return f"{', '.join(some)} and {last}" if some else str(last)
