"""The fits of a layer and the scores that are taken of them, in the order of the store.

Bands are told apart by who their signals are, never by name alone: a signal of the study may be
called as anything that stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.measures import R2, R_NORMALISED, UNIQUE_R2, R
from gradbrain.vocabulary.roles import BASELINE

#: All layers' activations, as a band and as what the tables of scores hold signals against.
ALL_ACTIVATIONS = SignalIdentity("all_activations", BASELINE)
#: Bands of a fit, in the order of their weights.
Fit = tuple[SignalIdentity, ...]

RAW_MEASURES = (R.name, R2.name)
NORMALISED_MEASURES = (R_NORMALISED.name, "r2_normalised")
# What statistics read of a signal alone, and (True) of the activation alone.
CLAIMED = {False: (R.name, R_NORMALISED.name), True: (R.name, R_NORMALISED.name, R2.name)}
# Of a signal with its layer's activation, and with the baseline: r and R² of both, and what the
# signal adds to R².
JOINT_MEASURES = ("joint_r", "joint_r2", "layer_unique_r2")
FULL_MEASURES = ("full_r", "full_r2", UNIQUE_R2.name)
SPLIT_MEASURES = ("split_activation_r2", "split_signal_r2")
# In the order of the store.
PAIR_MEASURES = (*JOINT_MEASURES[:2], *SPLIT_MEASURES, *FULL_MEASURES, JOINT_MEASURES[2])
# Of the test images of a data set, predicted from all its other images.
TEST_MEASURE = {
    measure: f"test_{measure}" for measure in (*RAW_MEASURES, *NORMALISED_MEASURES, *FULL_MEASURES)
}


@dataclass(frozen=True)
class ScoreRow:
    """A row of the scores.

    Attributes
    ----------
    signal : SignalIdentity
    measure : str
    fit : tuple of SignalIdentity
        Bands of the fit that the score is of, or that it compares with another.
    of_test_images : bool
        Whether it is of the test images alone, and not a mean over outer folds.
    """

    signal: SignalIdentity
    measure: str
    fit: Fit
    of_test_images: bool = False


@dataclass(frozen=True)
class LayerFits:
    """The fits of a layer, by the signals whose bands they have.

    Attributes
    ----------
    activation : SignalIdentity
        Activation of the layer.
    others : tuple of SignalIdentity
        The other signals of the layer.
    nuisance : tuple of SignalIdentity
        Bands that stand beside all layers' activations in the baseline.
    paired : bool
        Whether signals are fitted beside activations as well. Without, every signal is fitted
        alone, which is all that claims read.
    for_claims : bool
        Whether fits without pairs have those scores alone that claims read, `CLAIMED`: draws of a
        score take longer than the fit.
    """

    activation: SignalIdentity
    others: tuple[SignalIdentity, ...]
    nuisance: tuple[SignalIdentity, ...] = ()
    paired: bool = True
    for_claims: bool = False

    @property
    def baseline(self) -> Fit:
        """What unique parts are measured against."""
        return (ALL_ACTIVATIONS, *self.nuisance)

    def alone(self, signal: SignalIdentity) -> Fit:
        """The fit whose scores are those of a signal alone."""
        return self.baseline if signal == ALL_ACTIVATIONS else (signal,)

    def joint(self, signal: SignalIdentity) -> Fit:
        """The layer's activation with a signal."""
        return (self.activation, signal)

    def full(self, signal: SignalIdentity) -> Fit:
        """The baseline with a signal."""
        return (*self.baseline, signal)

    @property
    def singles(self) -> tuple[SignalIdentity, ...]:
        """Signals that are scored alone, in the order of the store."""
        if not self.paired:
            return (self.activation, *self.others)
        return (self.activation, ALL_ACTIVATIONS, *self.nuisance, *self.others)

    @property
    def fits(self) -> list[Fit]:
        """Bands of all fits, in the order of the store."""
        paired = self.others if self.paired else ()
        pairs = [fit for name in paired for fit in (self.joint(name), self.full(name))]
        return [*map(self.alone, self.singles), *pairs]

    def rows(self, *, normalised: bool = False, test_images: bool = False) -> list[ScoreRow]:
        """Rows of the scores, in the order of the store.

        Parameters
        ----------
        normalised : bool
            Whether there are noise ceilings to normalise by.
        test_images : bool
            Whether the data set's test images are scored on their own.

        Returns
        -------
        list of ScoreRow
        """
        rows = self._alone(RAW_MEASURES)
        for signal in self.others if self.paired else ():
            rows += [
                ScoreRow(
                    signal,
                    measure,
                    self.full(signal) if measure in FULL_MEASURES else self.joint(signal),
                )
                for measure in PAIR_MEASURES
            ]
        if normalised:
            rows += self._alone(NORMALISED_MEASURES)
        if test_images:
            rows += self._of_test_images(normalised=normalised)
        return rows

    def measures(self, signal: SignalIdentity, *, normalised: bool) -> tuple[str, ...]:
        """Scores that a signal has alone, in the order of the store."""
        measures = RAW_MEASURES + (NORMALISED_MEASURES if normalised else ())
        if not self.for_claims:
            return measures
        return tuple(name for name in measures if name in CLAIMED[signal == self.activation])

    def _alone(self, measures: tuple[str, ...]) -> list[ScoreRow]:
        return [
            ScoreRow(signal, measure, self.alone(signal))
            for signal in self.singles
            for measure in self.measures(signal, normalised=True)
            if measure in measures
        ]

    def _of_test_images(self, *, normalised: bool) -> list[ScoreRow]:
        rows = self._alone(RAW_MEASURES + (NORMALISED_MEASURES if normalised else ()))
        rows += [
            ScoreRow(signal, measure, self.full(signal))
            for signal in (self.others if self.paired else ())
            for measure in FULL_MEASURES
        ]
        return [ScoreRow(row.signal, TEST_MEASURE[row.measure], row.fit, True) for row in rows]

    def edge_fits(self, signal: SignalIdentity) -> list[tuple[Fit, str]]:
        """Fits whose penalties are counted for a signal, with the measure of their r.

        Parameters
        ----------
        signal : SignalIdentity

        Returns
        -------
        list of (fit, measure)
            Those in which a learning signal or control stands beside activations; of all others
            their own.
        """
        if signal in self.others and self.paired:
            return [(self.joint(signal), JOINT_MEASURES[0]), (self.full(signal), FULL_MEASURES[0])]
        return [(self.alone(signal), R.name)]


def fit_label(fit: Fit) -> str:
    """Words for a fit, for readers alone."""
    return "+".join(band.name for band in fit)
