"""Measures of encoding scores that more than one stage reads, and the variants built on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: ``raw``: the signal alone; ``unique``: what it adds to all layers' activations.
Variant = Literal["raw", "unique"]


@dataclass(frozen=True)
class Measure:
    """A measure of encoding scores.

    Attributes
    ----------
    name
        As the column ``measure`` has it.
    unit
        ``"r"``, ``"R2"``, ``"r / ceiling"`` or ``"rho"``.
    label
        For axes of figures.
    meaning
        One line for the reference.
    """

    name: str
    unit: str
    label: str
    meaning: str


R = Measure("r", "r", "Pearson r", "Pearson r of held-out prediction and response")
R2 = Measure("r2", "R2", "R²", "held-out R², relative to predicting the training mean")
UNIQUE_R2 = Measure(
    "unique_r2",
    "R2",
    "unique R²",
    "held-out R² of all layers' activations with the signal, minus that without it",
)
UNIQUE_VARIANCE = Measure(
    "unique_variance",
    "share",
    "unique variance",
    "variance component of the signal beside those of all layers' activations, as a share of the "
    "responses' variance",
)
R_NORMALISED = Measure(
    "r_normalised", "r / ceiling", "r / noise ceiling", "r over the square root of the ceiling"
)
INTERSUBJECT_R = Measure(
    "intersubject_r", "r", "r between subjects", "r of the other subjects' mean and a subject"
)
INTERSUBJECT_R2 = Measure(
    "intersubject_r2", "R2", "R² between subjects", "the share that the other subjects explain"
)
RDM_R = Measure(
    "rdm_r",
    "r",
    "RDM correlation",
    "Pearson r of squared distances between images, of held-out predictions and of responses",
)
FULL_RDM_R = Measure(
    "full_rdm_r",
    "r",
    "RDM correlation",
    "the same of all layers' activations with the signal",
)
UNIQUE_RDM_R = Measure(
    "unique_rdm_r",
    "r",
    "partial RDM correlation",
    "the same, partial: given the squared distances that all layers' activations predict",
)
RHO = Measure("rho", "rho", "Spearman ρ", "Spearman correlation of two dissimilarity matrices")

#: Variant -> the measure that statistics and claims read it from, and figures of scores show.
JUDGED: dict[Variant, Measure] = {"raw": R, "unique": UNIQUE_VARIANCE}


@dataclass(frozen=True)
class Reading:
    """Which measures statistics are read from.

    Attributes
    ----------
    judged
        Variant -> the measure of a signal.
    squared
        Variants whose measure is a share of variance, so that the activation's r is squared (and
        keeps its sign) where peaks of both are compared: 95 % of the largest square is reached for
        a shorter time than 95 % of the largest r. (A held-out R² may be negative where r is not.)
    """

    judged: Mapping[Variant, Measure]
    squared: frozenset[Variant] = frozenset()


#: By how well responses are predicted, and by which images they tell apart.
BY_SCORE = Reading(JUDGED, frozenset({"unique"}))
BY_DISSIMILARITY = Reading({"raw": RDM_R, "unique": UNIQUE_RDM_R})

#: Variant -> the measure that maps show it by: a single target has no variance component.
MAPPED: dict[Variant, Measure] = {"raw": R, "unique": UNIQUE_R2}
INTERSUBJECT_MEASURES: tuple[str, ...] = (INTERSUBJECT_R.name, INTERSUBJECT_R2.name)

#: Cosine with the backpropagated gradient above which, at every layer, a signal counts as it.
SAME_AS_GRADIENT = 0.9

#: With more penalties than this share on its edge the grid is too narrow for a fit; a share of the
#: targets predicted above zero.
EDGE_SHARE_LIMIT = 0.1


def variants_of(measures: Mapping[Variant, Measure]) -> dict[str, Variant]:
    """Name of a measure -> the variant that it measures."""
    return {measure.name: variant for variant, measure in measures.items()}
