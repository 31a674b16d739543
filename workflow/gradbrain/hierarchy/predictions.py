"""What is predicted, in which direction, and who says so: stated before any data is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Variant = Literal["raw", "unique"]

ABSTRACT = "Raugel et al. 2026, abstract (arXiv:2605.28693)"
OURS = "ours"

_PREDICT = (
    "“backpropagated gradients can reliably predict both fMRI and MEG signals, specifically in "
    "higher-level visual cortex and for later latencies”"
)
_DIVERGE = (
    "“both the order in which gradients are computed and their spatial organization diverge from "
    "the temporal and spatial hierarchies of the human brain”"
)


@dataclass(frozen=True)
class Prediction:
    """One prediction: a statistic, its direction and the sentence that it comes from.

    Attributes
    ----------
    name
        A1, P1 to P5, C1, C2.
    statistics
        Modality -> statistics of the hierarchy tables that can answer it, the first present is
        taken.
    role
        Signals that it is about.
    direction
        ``"greater"`` or ``"less"`` than the reference.
    variants
        Variants that become rows.
    descriptive
        Variants whose rows carry no verdict.
    gated
        Variants that are judged only where C1 is supported.
    margin
        Variants whose reference is the smallest unique R² of interest and not zero.
    figures
        Modality -> figure that shows it.
    null
        What the null hypothesis says. ``nothing``: the signal predicts nothing (beyond what it is
        compared with), so that images can be permuted as well as subjects' signs. ``order``: best
        places or times have no order over layers. ``lag``: two signals that predict peak together.
    over_cortex
        Whether it speaks of all of cortex, so that its row must say where only a part of cortex
        was recorded.
    source, sentence
        Who says so, and what.
    """

    name: str
    statistics: dict[str, tuple[str, ...]]
    role: str
    direction: Literal["greater", "less"]
    variants: tuple[Variant, ...]
    figures: dict[str, str]
    source: str
    sentence: str
    descriptive: frozenset[str] = frozenset()
    gated: frozenset[str] = frozenset()
    margin: frozenset[str] = frozenset()
    null: Literal["nothing", "order", "lag"] = "nothing"
    over_cortex: bool = False


_SPATIAL = ("spatial_r", "spatial_difference")
_BOTH: tuple[Variant, ...] = ("raw", "unique")
_RAW, _UNIQUE = frozenset({"raw"}), frozenset({"unique"})

PREDICTIONS: tuple[Prediction, ...] = (
    Prediction(
        name="A1",
        statistics={"fmri": _SPATIAL, "meg": ("temporal_r",)},
        role="activation",
        direction="greater",
        variants=("raw",),
        figures={"fmri": "best_layer_by_distance", "meg": "peak_time_by_depth"},
        over_cortex=True,
        null="order",
        source=ABSTRACT,
        sentence="“forward activations of pretrained models reliably map onto the cortical "
        "hierarchy of visual processing”: best layer rises with distance from V1, peak time with "
        "depth.",
    ),
    Prediction(
        name="P1",
        statistics={"fmri": ("score_at_peak",), "meg": ("score_at_peak",)},
        role="learning",
        direction="greater",
        variants=_BOTH,
        gated=_UNIQUE,
        figures={"fmri": "encoding_by_region", "meg": "encoding_over_time"},
        over_cortex=True,
        source=ABSTRACT,
        sentence=f"Learning signals predict responses above chance. The abstract: {_PREDICT}.",
    ),
    Prediction(
        name="P2",
        statistics={"fmri": ("high_minus_early_normalised", "high_minus_early")},
        role="learning",
        direction="greater",
        variants=_BOTH,
        gated=_UNIQUE,
        figures={"fmri": "encoding_by_region"},
        source=ABSTRACT,
        sentence="Learning signals predict higher visual cortex better than early visual cortex. "
        f"The abstract: {_PREDICT}.",
    ),
    Prediction(
        name="P3",
        statistics={"meg": ("peak_lag_ms",)},
        role="learning",
        direction="greater",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        figures={"meg": "peak_time_by_depth"},
        null="lag",
        source=ABSTRACT,
        sentence="Each layer's learning signal peaks later than its activation (ours). "
        f"The abstract: {_PREDICT}.",
    ),
    Prediction(
        name="P4",
        statistics={"meg": ("temporal_r",)},
        role="learning",
        direction="less",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        figures={"meg": "peak_time_by_depth"},
        null="order",
        source=ABSTRACT,
        sentence="Were the brain to backpropagate, signals would come last layer first: their "
        f"peak time would fall with depth (ours). The abstract reports the contrary: {_DIVERGE}.",
    ),
    Prediction(
        name="P5",
        statistics={"fmri": _SPATIAL},
        role="learning",
        direction="greater",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        figures={"fmri": "best_layer_by_distance"},
        over_cortex=True,
        null="order",
        source=ABSTRACT,
        sentence="Were the brain to backpropagate, a layer's signal would sit where its "
        "activation sits: its best layer would rise with distance from V1 (ours). The abstract "
        f"reports the contrary: {_DIVERGE}.",
    ),
    Prediction(
        name="C1",
        statistics={"fmri": ("beyond_reweighting",), "meg": ("beyond_reweighting",)},
        role="learning",
        direction="greater",
        variants=("unique",),
        margin=_UNIQUE,
        figures={"fmri": "control_comparison", "meg": "control_comparison"},
        over_cortex=True,
        source=OURS,
        sentence="The learning signal explains variance that the activations of all layers do "
        "not, nor another weighting of them (the best layer offered a second time), by more than "
        "the smallest unique R² of interest.",
    ),
    Prediction(
        name="C2",
        statistics={"fmri": ("control_difference",), "meg": ("control_difference",)},
        role="learning",
        direction="greater",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        margin=_UNIQUE,
        figures={"fmri": "control_comparison", "meg": "control_comparison"},
        source=OURS,
        sentence="The learning signal does so beyond the best control that shares all but its "
        "learning content (fixed cotangent, shuffled cotangent, feature norm).",
    ),
)

BY_NAME = {prediction.name: prediction for prediction in PREDICTIONS}
