"""The answer of a study in one sentence, made from its claims with their power."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradbrain.vocabulary import reasons
from gradbrain.vocabulary.roles import LEARNING

#: Predictions on the order of a unique part; each is asked where its modality allows.
ORDER = ("P3", "P4", "P5")


def answer(claims: pd.DataFrame) -> str:
    """Say in one sentence whether responses follow the learning signals, and what was missed.

    A test is one learning signal of a trained model on one data set. It says yes where the unique
    part exceeds activations (C1) and its best control (C2) and its order is supported; no where C1,
    C2 or the order is contradicted; else it is undecided. The rule is *ours*; how often it says
    what was planted in simulated brains stands in docs/calibration.md.

    Parameters
    ----------
    claims
        The table of claims.

    Returns
    -------
    str
        HTML-free text that ends with a full stop.
    """
    judged = claims[
        (claims["role"] == LEARNING)
        & (claims["variant"] == "unique")
        & (claims["reason"] != reasons.UNTRAINED.code)
    ]
    tests = [rows for _, rows in judged.groupby(["dataset", "model", "signal"], sort=False)]
    if not tests:
        return "No learning signal was tested: this study says nothing on backpropagation."
    found = [_verdict(rows) for rows in tests]
    n, yes, no = len(found), found.count("yes"), found.count("no")
    word = {(True, False): "Yes", (False, True): "No", (True, True): "Mixed"}.get(
        (yes > 0, no > 0), "Undecided"
    )
    if 0 < yes + no < n and word != "Mixed":
        word += ", in part"
    adds, beyond = (sum(_is(rows, name, "supported") for rows in tests) for name in ("C1", "C2"))
    count = "the only test" if n == 1 else f"{n} tests"
    says, signals = ("says" if yes == 1 else "say"), ("signal adds" if adds == 1 else "signals add")
    whose = "its" if beyond == 1 else "their"
    return (
        f"{word}: of {count} (a learning signal of one model on one data set), {yes} {says} that "
        f"responses follow backpropagation and {no} that they do not; {adds} {signals} to the "
        f"activations (C1) and {beyond} more than {whose} best control (C2){_power(tests)}."
    )


def _verdict(rows: pd.DataFrame) -> str:
    order = rows.loc[rows["prediction"].isin(ORDER), "verdict"]
    if any(_is(rows, name, "contradicted") for name in ("C1", "C2")):
        return "no"
    if not _is(rows, "C1", "supported"):
        return "undecided"
    if (order == "contradicted").any():
        return "no"
    if _is(rows, "C2", "supported") and (order == "supported").any():
        return "yes"
    return "undecided"


def _is(rows: pd.DataFrame, prediction: str, verdict: str) -> bool:
    return bool(((rows["prediction"] == prediction) & (rows["verdict"] == verdict)).any())


def _power(tests: list[pd.DataFrame]) -> str:
    """The smallest unique parts that would be found: the range over tests, and where unknown."""
    smallest = [
        float(rows.loc[rows["prediction"] == "C1", "detectable_share"].max()) for rows in tests
    ]
    known = [share for share in smallest if np.isfinite(share)]
    if not known:
        return "; how small a unique part would have been found is not known"
    low, high = (f"{100 * share:.0f}" for share in (min(known), max(known)))
    span = f"{low} %" if low == high else f"{low} to {high} %"
    without = len(tests) - len(known)
    rest = f" ({without} of {len(tests)} tests do not tell)" if without else ""
    return (
        f"; a unique part of {span} of the explainable variance would have been found with a "
        f"probability of 80 %{rest}, and smaller ones may have been missed"
    )
