"""A figure of one's own: mean score of each signal after the image came on."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

TITLE = "Mean score after image onset"
INPUTS = ("scores",)
AXES = ("time",)
SPACES = ()


def select(inputs) -> pd.DataFrame:
    """Mean r per modality and signal."""
    scores = inputs.table("scores")
    rows = scores[(scores["measure"] == "r") & (scores["time"] > 0)]
    return rows.groupby(["modality", "signal", "role"], as_index=False)["value"].mean()


def figure(data: pd.DataFrame, names) -> Figure:
    """Draw a bar for each signal."""
    whole = Figure(figsize=(4, 3), layout="constrained")
    ax = whole.subplots()
    ax.barh([names.label("signal", name) for name in data["signal"]], data["value"])
    ax.set_xlabel("Pearson r")
    return whole
