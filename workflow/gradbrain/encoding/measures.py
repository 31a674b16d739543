"""Names of fits and of the scores that are taken of them, in the order of the store."""

from __future__ import annotations

ALL_ACTIVATIONS = "all_activations"
# Of a signal with its layer's activation, and with those of all layers: r and R² of both, and what
# the signal adds to R².
JOINT_MEASURES = ("joint_r", "joint_r2", "layer_unique_r2")
FULL_MEASURES = ("full_r", "full_r2", "unique_r2")
# Of the activation: what it adds to R² when it is offered a second time, beside those of all layers
# that hold it already. It brings nothing new, only another weighting of the layers, and with it
# what a signal may be worth that is a function of activations.
REWEIGHTING_MEASURE = "reweighting_r2"
SPLIT_MEASURES = ("split_activation_r2", "split_signal_r2")
# In the order of the store.
PAIR_MEASURES = (*JOINT_MEASURES[:2], *SPLIT_MEASURES, *FULL_MEASURES, JOINT_MEASURES[2])
RAW_MEASURES = ("r", "r2")
NORMALISED_MEASURES = ("r_normalised", "r2_normalised")
# Of the test images of a data set, predicted from all its other images.
TEST_MEASURES = ("test_r", "test_r2")
TEST_NORMALISED_MEASURES = ("test_r_normalised", "test_r2_normalised")
TEST_FULL_MEASURES = ("test_full_r", "test_full_r2", "test_unique_r2")
OTHER_ACTIVATIONS = "other_activations"
TRIPLE_MEASURES = (
    "triple_r",
    "triple_r2",
    "triple_split_activation_r2",
    "triple_split_others_r2",
    "triple_split_signal_r2",
)


def score_rows(
    activation: str,
    others: list[str],
    *,
    normalised: bool = False,
    third_band: bool = False,
    test_images: bool = False,
) -> list[tuple[str, str]]:
    """Rows of the score store as (signal, measure), in their order.

    Parameters
    ----------
    activation : str
    others : list of str
        The other signals.
    normalised : bool
        Whether there are noise ceilings to normalise by.
    third_band : bool
        Whether three bands are fitted as well.
    test_images : bool
        Whether the data set's test images are scored on their own.

    Returns
    -------
    list of (str, str)
    """
    singles = (activation, ALL_ACTIVATIONS, *others)
    rows = [(signal, measure) for signal in singles for measure in RAW_MEASURES]
    rows.append((activation, REWEIGHTING_MEASURE))
    rows += [(signal, measure) for signal in others for measure in PAIR_MEASURES]
    if normalised:
        rows += [(signal, measure) for signal in singles for measure in NORMALISED_MEASURES]
    if third_band:
        rows += [(signal, measure) for signal in others for measure in TRIPLE_MEASURES]
    if test_images:
        measures = TEST_MEASURES + (TEST_NORMALISED_MEASURES if normalised else ())
        rows += [(signal, measure) for signal in singles for measure in measures]
        rows += [(signal, measure) for signal in others for measure in TEST_FULL_MEASURES]
    return rows


def fit_rows(activation: str, others: list[str], *, third_band: bool = False) -> list[str]:
    """Names of the fits: single bands, pairs as ``first+second``, then triples."""
    pairs = [f"{first}+{name}" for name in others for first in (activation, ALL_ACTIVATIONS)]
    triples = [triple_fit(activation, name) for name in others] if third_band else []
    again = f"{ALL_ACTIVATIONS}+{activation}"
    return [activation, ALL_ACTIVATIONS, *others, again, *pairs, *triples]


def triple_fit(activation: str, signal: str) -> str:
    """Name of the fit of the layer's activation, the other layers' and the signal."""
    return f"{activation}+{OTHER_ACTIVATIONS}+{signal}"


def fit_of_row(signal: str, measure: str, activation: str) -> str:
    """Name of the fit that a row of scores is of, or that it compares with another.

    Parameters
    ----------
    signal, measure : str
        The row.
    activation : str

    Returns
    -------
    str
    """
    measure = measure.removeprefix("test_")
    if measure in RAW_MEASURES + NORMALISED_MEASURES:
        return signal
    if measure in TRIPLE_MEASURES:
        return triple_fit(activation, signal)
    of_all = (*FULL_MEASURES, REWEIGHTING_MEASURE)
    first = ALL_ACTIVATIONS if measure in of_all else activation
    return f"{first}+{signal}"
