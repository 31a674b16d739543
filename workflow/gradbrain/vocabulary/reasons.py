"""Why a claim has no verdict of its own: codes that travel, and the words that readers see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why a row of the claims carries no test or no verdict.

    Attributes
    ----------
    code
        As the column ``reason`` has it; never parsed.
    short
        A few words, for a cell of a figure.
    sentence
        For readers of tables and of the report.
    """

    code: str
    short: str
    sentence: str


NOT_C1 = Reason("not_c1", "not judged", "C1 is not supported for this signal")
NO_CONTROL = Reason("no_control", "no control", "the signal set holds no control of this signal")
NO_ERROR = Reason(
    "no_error",
    "no error",
    "the rule of this signal has no objective, and so no error that a control could lack: compare "
    "with an untrained network",
)
NO_STATISTIC = Reason(
    "no_statistic", "no statistic", "the hierarchy tables hold no statistic that could answer"
)
TOO_FEW = Reason("too_few", "in < 2 subjects", "fewer than two subjects have the statistic")
UNDEFINED = Reason(
    "undefined",
    "undefined",
    "no subject has the statistic: too few layers, regions or times are predicted above chance",
)
UNTRAINED = Reason(
    "untrained",
    "untrained",
    "the prediction speaks of pretrained models, and an untrained one is a control for it",
)
NO_NULL = Reason("no_null", "no null", "the statistic is undefined on permuted images")
UNRELIABLE_SIGNAL = Reason(
    "unreliable_signal",
    "unreliable signal",
    "the signal, or a control that it is held against, does not repeat itself between two draws of "
    "its views, masks or perturbations",
)

FEW_PLACES = Reason(
    "few_places",
    "too few places",
    "of so few regions or layers, or of such that are so alike, no order could be told from that "
    "of an arbitrary map",
)
NO_LATENCY = Reason(
    "no_latency",
    "no latency",
    "too few layers are above chance on average over subjects for an order or a lag of peaks",
)
NO_CEILING = Reason(
    "no_ceiling",
    "no ceiling",
    "how much of the responses could be explained is not known, or not above zero, so that nothing "
    "can be called too small",
)
NO_POWER = Reason(
    "no_power",
    "no power",
    "a share as large as the margin could neither be found nor ruled out at this size",
)

REWEIGHTING = Reason(
    "reweighting",
    "reweighting",
    "of second opinions: a fit that weights activations otherwise shows as much in a brain without "
    "the signal, so that dissimilarities have no test of unique parts",
)

FEW_PEOPLE = Reason(
    "few_people",
    "too few people",
    "of comparisons of models: the signs of fewer people than statistics.min_subjects tell no "
    "difference",
)

FIT_OF_ACTIVATIONS = Reason(
    "fit_of_activations",
    "not tested",
    "of comparisons of models: what a signal adds to all layers' activations depends on how well "
    "these are fitted, which differs between models, so that unique parts are described",
)

REASONS: dict[str, Reason] = {
    reason.code: reason
    for reason in (
        *(NOT_C1, NO_CONTROL, NO_ERROR, NO_STATISTIC, TOO_FEW, UNDEFINED, NO_NULL),
        *(UNTRAINED, UNRELIABLE_SIGNAL, FEW_PLACES, NO_LATENCY, NO_CEILING, NO_POWER),
        REWEIGHTING,
        FEW_PEOPLE,
        FIT_OF_ACTIVATIONS,
    )
}

#: Of the rows that speak of all of cortex where only a part of it was recorded.
PART_OF_CORTEX = "speaks of the part of cortex that was recorded: {}"


def sentence(code: str) -> str:
    """Words for readers; ``""`` for a row that has no reason.

    Raises
    ------
    KeyError
        There is no such code.
    """
    return REASONS[code].sentence if code else ""


def subjects(n: int, of: int) -> str:
    """How many subjects a row rests on, and of how many where some lack the statistic."""
    return f"{n}" if n == of else f"{n} of {of}"
