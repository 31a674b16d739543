"""Colours, scales and words of all figures; those of registry entries come with the entries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import matplotlib
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.style import context as style_context

from gradbrain.vocabulary.roles import ACTIVATION, CONTROL, LEARNING
from gradbrain.vocabulary.verdicts import Verdict

# Okabe & Ito (2008): told apart under all common forms of colour blindness.
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#AA4499"
GREEN = "#009E73"
ORANGE = "#E69F00"
SKY = "#56B4E9"

INK = "#333333"
MUTED = "#8A8A8A"
FAINT = "#D9D9D9"
# How well subjects predict one another: what models are measured against, behind their scores.
CEILING = "#666666"
CEILING_BAND = "#E6E6E6"

#: Role -> colours of signals that have none of their own, by their place among signals of the role.
PALETTES: dict[str, tuple[str, ...]] = {
    ACTIVATION: (BLUE, SKY),
    LEARNING: (VERMILION, PURPLE, ORANGE, GREEN, "#882255", "#999933", "#CC6677", SKY),
    # Controls share one family of muted tones and differ by marker: they are one question.
    CONTROL: ("#5B6770", "#8FA3B3", "#A3917F", "#7A7A7A"),
}
CONTROL_MARKERS = ("s", "D", "^", "v", "P", "X", "<", ">", "p", "h")

#: Verdicts in the order of the legend: colour of the cell, colour of its text, mark.
VERDICTS: dict[Verdict, tuple[str, str, str]] = {
    "supported": ("#0B7A75", "#FFFFFF", "✓"),
    "contradicted": ("#D55E00", "#FFFFFF", "✗"),
    "undetermined": ("#E3E3E0", "#333333", "?"),
    "descriptive": ("#FFFFFF", "#555555", "·"),
}

#: Predictions in the order of the design, with a title of a few words.
PREDICTIONS: dict[str, str] = {
    "A1": "activations\nin order",
    "P1": "signal predicts\nresponses",
    "P2": "higher more\nthan early",
    "P3": "peaks after\nactivation",
    "P4": "last layer\nfirst",
    "P5": "sits where its\nactivation sits",
    "C1": "adds to\nactivations",
    "C2": "beyond best\ncontrol",
}

VARIANT_LABELS = {"raw": "alone", "unique": "unique part"}


@contextmanager
def applied() -> Iterator[None]:
    """Draw under the style of this project, and restore what was set before."""
    style_file = resources.files("gradbrain.figures") / "gradbrain.mplstyle"
    with resources.as_file(style_file) as path, style_context(["default", path]):
        yield


def depth_colours() -> Colormap:
    """Colours of relative depth from 0 (input) to 1 (output).

    Viridis without its lightest tenth, which vanishes as a line on white.
    """
    viridis = matplotlib.colormaps["viridis"]
    shades = [viridis(0.9 * step / 255) for step in range(256)]
    return LinearSegmentedColormap.from_list("depth", shades, N=256)


def score_colours() -> Colormap:
    """Colours of a score whose size matters, not its sign; below the scale: light grey."""
    return matplotlib.colormaps["cividis"].with_extremes(under="#E4E4E4", bad="#FFFFFF")


def signed(value: float, digits: int = 2) -> str:
    """Number with its sign, a real minus rather than a hyphen; no sign where it rounds to 0."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]
