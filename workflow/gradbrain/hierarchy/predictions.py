"""What is predicted, in which direction, and who says so: stated before any data is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradbrain.hierarchy.peak_units import OWN_PEAK
from gradbrain.vocabulary.measures import Variant
from gradbrain.vocabulary.reasons import NO_CONTROL, NO_STATISTIC, Reason
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING, ROI, TIME, Axis, Role

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
        Axis -> statistics of the hierarchy tables that can answer it, the first present is
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
        Variants that are tested as shares of the explainable variance, against the smallest one
        of interest (:mod:`gradbrain.hierarchy.unique_share`).
    figures
        Axis -> figure that shows it.
    null
        What the null hypothesis says. ``nothing``: the signal predicts nothing (beyond what it is
        compared with), so that images can be permuted as well as subjects' signs. ``order``: best
        places or times have no order over layers. ``lag``: two signals that predict peak together.
    over_cortex
        Whether it speaks of all of cortex, so that its row must say where only a part of cortex
        was recorded.
    pretrained
        Whether it speaks of pretrained models only, for which untrained ones are controls.
    absent
        Why a signal may have none of the statistics.
    source, sentence
        Who says so, and what.
    """

    name: str
    statistics: dict[Axis, tuple[str, ...]]
    role: Role
    direction: Literal["greater", "less"]
    variants: tuple[Variant, ...]
    figures: dict[Axis, str]
    source: str
    sentence: str
    descriptive: frozenset[Variant] = frozenset()
    gated: frozenset[Variant] = frozenset()
    margin: frozenset[Variant] = frozenset()
    null: Literal["nothing", "order", "lag"] = "nothing"
    over_cortex: bool = False
    pretrained: bool = False
    absent: Reason = NO_STATISTIC


#: Best layers of regions against their distance from V1, in mm and as its rank.
SPATIAL_R, SPATIAL_RANK_R = "spatial_r", "spatial_rank_r"
_SPATIAL = (SPATIAL_R, "spatial_difference")


def _at_peak(statistic: str) -> dict[Axis, tuple[str, ...]]:
    """A statistic at the places that others choose or, of a lone subject, its own."""
    names = (statistic, OWN_PEAK[statistic])
    return {ROI: names, TIME: names}


_BOTH: tuple[Variant, ...] = ("raw", "unique")
_RAW: frozenset[Variant] = frozenset({"raw"})
_UNIQUE: frozenset[Variant] = frozenset({"unique"})

PREDICTIONS: tuple[Prediction, ...] = (
    Prediction(
        name="A1",
        statistics={ROI: _SPATIAL, TIME: ("temporal_r",)},
        role=ACTIVATION,
        direction="greater",
        variants=("raw",),
        figures={ROI: "best_layer_by_distance", TIME: "peak_time_by_depth"},
        over_cortex=True,
        pretrained=True,
        null="order",
        source=ABSTRACT,
        sentence="“forward activations of pretrained models reliably map onto the cortical "
        "hierarchy of visual processing”: best layer rises with distance from V1, peak time with "
        "depth.",
    ),
    Prediction(
        name="P1",
        statistics=_at_peak("score_at_peak"),
        role=LEARNING,
        direction="greater",
        variants=_BOTH,
        gated=_UNIQUE,
        figures={ROI: "encoding_by_region", TIME: "encoding_over_time"},
        over_cortex=True,
        source=ABSTRACT,
        sentence=f"Learning signals predict responses above chance. The abstract: {_PREDICT}.",
    ),
    Prediction(
        name="P2",
        statistics={ROI: ("high_minus_early_normalised", "high_minus_early")},
        role=LEARNING,
        direction="greater",
        variants=_BOTH,
        gated=_UNIQUE,
        figures={ROI: "encoding_by_region"},
        source=ABSTRACT,
        sentence="Learning signals predict higher visual cortex better than early visual cortex. "
        f"The abstract: {_PREDICT}.",
    ),
    Prediction(
        name="P3",
        statistics={TIME: ("peak_lag_ms",)},
        role=LEARNING,
        direction="greater",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        figures={TIME: "peak_time_by_depth"},
        null="lag",
        source=ABSTRACT,
        sentence="Each layer's learning signal peaks later than its activation (ours). "
        f"The abstract: {_PREDICT}.",
    ),
    Prediction(
        name="P4",
        statistics={TIME: ("temporal_r",)},
        role=LEARNING,
        direction="less",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        figures={TIME: "peak_time_by_depth"},
        null="order",
        source=ABSTRACT,
        sentence="Were the brain to backpropagate, signals would come last layer first: their "
        f"peak time would fall with depth (ours). The abstract reports the contrary: {_DIVERGE}.",
    ),
    Prediction(
        name="P5",
        statistics={ROI: _SPATIAL},
        role=LEARNING,
        direction="greater",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        figures={ROI: "best_layer_by_distance"},
        over_cortex=True,
        null="order",
        source=ABSTRACT,
        sentence="Were the brain to backpropagate, a layer's signal would sit where its "
        "activation sits: its best layer would rise with distance from V1 (ours). The abstract "
        f"reports the contrary: {_DIVERGE}.",
    ),
    Prediction(
        name="C1",
        statistics=_at_peak("unique_variance"),
        role=LEARNING,
        direction="greater",
        variants=("unique",),
        margin=_UNIQUE,
        figures={ROI: "control_comparison", TIME: "control_comparison"},
        over_cortex=True,
        source=OURS,
        sentence="The learning signal explains variance that the activations of all layers do "
        "not: more than the smallest share of the explainable variance that is of interest.",
    ),
    Prediction(
        name="C2",
        statistics=_at_peak("control_difference"),
        role=LEARNING,
        direction="greater",
        variants=_BOTH,
        descriptive=_RAW,
        gated=_UNIQUE,
        margin=_UNIQUE,
        figures={ROI: "control_comparison", TIME: "control_comparison"},
        # Every learning signal has the statistic once for each of its controls.
        absent=NO_CONTROL,
        source=OURS,
        sentence="The learning signal does so beyond the best control that shares all but its "
        "learning content (fixed cotangent, shuffled cotangent, feature norm).",
    ),
)

BY_NAME = {prediction.name: prediction for prediction in PREDICTIONS}


def statistics_of(prediction: Prediction, axis: Axis, distance: str) -> tuple[str, ...]:
    """Statistics that can answer a prediction, the first present is taken.

    Parameters
    ----------
    prediction, axis
        What is asked, and along what scores are laid out.
    distance
        ``statistics.distance``: whether distances count in mm or by rank.
    """
    named = {SPATIAL_R: SPATIAL_RANK_R} if distance == "rank" else {}
    return tuple(named.get(name, name) for name in prediction.statistics[axis])
