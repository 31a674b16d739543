"""Colours, scales and words of all figures; those of registry entries come with the entries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, to_rgba
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
# Cortex without a value: gyrus, sulcus. Cool and flat, where scales are warm or strong.
BARE_CORTEX = ("#C3C7CC", "#AAB0B7")
# Places with a value that say nothing, e.g. without a best layer.
NOTHING = "#FFFFFF"

#: Width of a page of two columns in inches (183 mm): no figure is wider, so that none is printed
#: smaller than it was drawn.
PAGE = 7.2
#: Points of the smallest text.
SMALLEST_TEXT = 6.0

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


@cache
def depth_colours() -> Colormap:
    """Colours of relative depth from 0 (input) to 1 (output).

    Viridis without its lightest tenth, which vanishes as a line on white.
    """
    viridis = matplotlib.colormaps["viridis"]
    shades = [viridis(0.9 * step / 255) for step in range(256)]
    return LinearSegmentedColormap.from_list("depth", shades, N=256)


#: Lightness falls evenly from zero on, by as much on both sides: orange above, purple below.
_ABOVE = ("#FFF8E1", "#F8BC55", "#E0752D", "#A53B1E", "#4A1219")
_BELOW = ("#FFF8E1", "#C5B8DE", "#947ABF", "#614192", "#2D1150")
_N_COLOURS = 128


def score_colours(low: float, high: float) -> Colormap:
    """Colours of scores from `low` to `high`: the sign by the hue, the size by the lightness.

    Zero is nearly white, and a score is as dark as one of the other sign and the same size.

    Parameters
    ----------
    low, high
        Ends of the scale: ``low <= 0 < high``.
    """
    size = max(high, -low)
    above = LinearSegmentedColormap.from_list("above", _ABOVE)
    below = LinearSegmentedColormap.from_list("below", _BELOW)
    shares = np.linspace(low, high, _N_COLOURS) / size
    colours = np.where((shares >= 0)[:, None], above(np.abs(shares)), below(np.abs(shares)))
    return ListedColormap(colours, name="score").with_extremes(bad=NOTHING)


def score_range(
    values: np.ndarray, *, at_least: float, percentile: float = 100.0
) -> tuple[float, float]:
    """Ends of the scale of some scores: zero lies on it, and below it what is negative.

    Parameters
    ----------
    values
        Scores; NaN is left out.
    at_least
        Of the upper end: noise about zero does not fill the scale.
    percentile
        Of scores of a sign, where the scale ends: a few of noise do not dim all others.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    above, below = known[known > 0], -known[known < 0]
    high = max(at_least, float(np.percentile(above, percentile)) if len(above) else 0.0)
    low = float(np.percentile(below, percentile)) if len(below) else 0.0
    return -low, high


def extended(values: np.ndarray, low: float, high: float) -> str:
    """Which ends of a colour bar are pointed: beyond which values lie."""
    known = np.asarray(values, dtype=float)
    ends = {
        (False, False): "neither",
        (True, False): "min",
        (False, True): "max",
        (True, True): "both",
    }
    return ends[bool((known < low).any()), bool((known > high).any())]


def rgba(colour: str) -> np.ndarray:
    """Colour as four numbers from 0 to 1."""
    return np.array(to_rgba(colour))


def signed(value: float, digits: int = 2) -> str:
    """Number with its sign, a real minus rather than a hyphen; no sign where it rounds to 0."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]
