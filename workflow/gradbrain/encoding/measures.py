"""The fits of a layer and the scores that are taken of them, in the order of the store.

The tables below say of every measure which fit it is of and what of that fit it scores. The rows of
the store, what a fold scores, the fits whose dissimilarities are compared and those whose penalties
are counted on the edge of the grid follow from them.

Bands are told apart by who their signals are, never by name alone: a signal of the study may be
called as anything that stands here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.measures import (
    FULL_RDM_R,
    R2,
    R_NORMALISED,
    RDM_R,
    UNIQUE_R2,
    UNIQUE_RDM_R,
    R,
)
from gradbrain.vocabulary.roles import BASELINE

#: All layers' activations, as a band and as what the tables of scores hold signals against.
ALL_ACTIVATIONS = SignalIdentity("all_activations", BASELINE)
#: Bands of a fit, in the order of their weights.
Fit = tuple[SignalIdentity, ...]
#: Fits of a signal: by itself, beside its layer's activation, beside the baseline.
FitName = Literal["alone", "joint", "full"]
# What measures score beside predictions: the share of R² that a band bears, in the order of the
# bands, and what the signal adds to the R² of the fit that it is held against.
PART, GAIN = "part", "gain"


@dataclass(frozen=True)
class FitMeasure:
    """A measure of a fit.

    Attributes
    ----------
    name
        As the column ``measure`` has it.
    fit
        Which bands stand beside the signal.
    of
        The measure of a prediction that it is, whatever the fit; or `PART`, or `GAIN`.
    claimed
        Of which signals statistics read it where signals are fitted alone: of the layer's
        activation (True), of its others (False).
    """

    name: str
    fit: FitName
    of: str
    claimed: tuple[bool, ...] = ()


# Each table in the order of the store.
RAW = (
    FitMeasure(R.name, "alone", R.name, (False, True)),
    FitMeasure(R2.name, "alone", R2.name, (True,)),
)
PAIRS = (
    FitMeasure("joint_r", "joint", R.name),
    FitMeasure("joint_r2", "joint", R2.name),
    FitMeasure("split_activation_r2", "joint", PART),
    FitMeasure("split_signal_r2", "joint", PART),
    FitMeasure("full_r", "full", R.name),
    FitMeasure("full_r2", "full", R2.name),
    FitMeasure(UNIQUE_R2.name, "full", GAIN),
    FitMeasure("layer_unique_r2", "joint", GAIN),
)
NORMALISED = (
    FitMeasure(R_NORMALISED.name, "alone", R_NORMALISED.name, (False, True)),
    FitMeasure("r2_normalised", "alone", "r2_normalised"),
)
RDMS = (
    FitMeasure(RDM_R.name, "alone", RDM_R.name),
    FitMeasure(FULL_RDM_R.name, "full", RDM_R.name),
    FitMeasure(UNIQUE_RDM_R.name, "full", UNIQUE_RDM_R.name),
)
RAW_MEASURES = tuple(row.name for row in RAW)
NORMALISED_MEASURES = tuple(row.name for row in NORMALISED)


@dataclass(frozen=True)
class ScoreRow:
    """A row of the scores.

    Attributes
    ----------
    signal
        Which signal.
    measure
        Name of the measure.
    fit
        Bands of the fit that the score is of, or that it compares with another.
    of_test_images
        Whether it is of the test images alone, and not a mean over outer folds.
    """

    signal: SignalIdentity
    measure: str
    fit: Fit
    of_test_images: bool = False


@dataclass(frozen=True)
class SignalFit:
    """A fit of a signal, and what is scored of it.

    Attributes
    ----------
    signal
        Which signal.
    name
        Name of the fit.
    bands
        Signals that are bands of the fit.
    measures
        Measures to score.
    """

    signal: SignalIdentity
    name: FitName
    bands: Fit
    measures: tuple[FitMeasure, ...]


@dataclass(frozen=True)
class LayerFits:
    """The fits of a layer, by the signals whose bands they have.

    Attributes
    ----------
    activation
        Activation of the layer.
    others
        The other signals of the layer.
    nuisance
        Bands that stand beside all layers' activations in the baseline.
    paired
        Whether signals are fitted beside activations as well. Without, every signal is fitted
        alone, which is all that claims read.
    for_claims
        Whether fits without pairs have those scores alone that claims read: draws of a score take
        longer than the fit.
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

    @property
    def lasting(self) -> Fit:
        """Signals whose bands stand in fits of others as well."""
        return (self.activation, *self.baseline) if self.paired else ()

    @property
    def singles(self) -> Fit:
        """Signals that are scored alone, in the order of the store."""
        return (*(self.lasting or (self.activation,)), *self.others)

    @property
    def pairs(self) -> Fit:
        """Signals that are fitted beside activations, in the order of the store."""
        return self.others if self.paired else ()

    def bands(self, name: FitName, signal: SignalIdentity) -> Fit:
        """Bands of the fit of a name of a signal."""
        if name == "alone":
            return self.baseline if signal == ALL_ACTIVATIONS else (signal,)
        return (*((self.activation,) if name == "joint" else self.baseline), signal)

    def reference(self, name: FitName) -> SignalIdentity:
        """Whose fit alone the fit of a name is held against."""
        return self.activation if name == "joint" else ALL_ACTIVATIONS

    def of_signal(
        self, signal: SignalIdentity, *, normalised: bool = False, test_images: bool = False
    ) -> list[SignalFit]:
        """Fits of a signal with what is scored of them, in the order in which they are made.

        Parameters
        ----------
        signal
            Which signal.
        normalised
            Whether there are noise ceilings to normalise by.
        test_images
            Whether it is the test images that are scored.

        Returns
        -------
        list of SignalFit
        """
        table = [*RAW, *(NORMALISED if normalised else ()), *PAIRS]
        names: list[FitName] = ["alone"]
        if signal in self.pairs:
            names += ["full"] if test_images else ["joint", "full"]
        return [
            SignalFit(
                signal,
                name,
                self.bands(name, signal),
                tuple(row for row in table if row.fit == name and self._is_scored(signal, row)),
            )
            for name in names
        ]

    def _is_scored(self, signal: SignalIdentity, measure: FitMeasure) -> bool:
        every = self.paired or not self.for_claims
        return every or (signal == self.activation) in measure.claimed

    @property
    def fits(self) -> list[Fit]:
        """Bands of all fits, in the order of the store: signals alone, then beside activations."""
        every = [fit for signal in self.singles for fit in self.of_signal(signal)]
        return [fit.bands for fit in sorted(every, key=lambda fit: fit.name != "alone")]

    def rows(self, *, normalised: bool = False, test_images: bool = False) -> list[ScoreRow]:
        """Rows of the scores, in the order of the store.

        Parameters
        ----------
        normalised
            Whether there are noise ceilings to normalise by.
        test_images
            Whether the data set's test images are scored on their own.

        Returns
        -------
        list of ScoreRow
        """
        relative = NORMALISED if normalised else ()
        rows = [
            *self._rows(self.singles, RAW),
            *self._rows(self.pairs, PAIRS),
            *self._rows(self.singles, relative),
        ]
        if test_images:
            full = [row for row in PAIRS if row.fit == "full"]
            rows += self._rows(self.singles, (*RAW, *relative), test_images=True)
            rows += self._rows(self.pairs, full, test_images=True)
        return rows

    @property
    def rdm_rows(self) -> list[ScoreRow]:
        """Rows of the scores of dissimilarities: signals alone, then beside the baseline."""
        singles = [signal for signal in self.singles if signal not in self.nuisance]
        return self._rows(singles, RDMS[:1]) + self._rows(self.pairs, RDMS[1:])

    def _rows(
        self,
        signals: Iterable[SignalIdentity],
        table: Iterable[FitMeasure],
        *,
        test_images: bool = False,
    ) -> list[ScoreRow]:
        name = name_of_test_images if test_images else str
        return [
            ScoreRow(signal, name(row.name), self.bands(row.fit, signal), test_images)
            for signal in signals
            for row in table
            if self._is_scored(signal, row)
        ]

    def edge_fits(self, signal: SignalIdentity) -> list[tuple[Fit, str]]:
        """Fits whose penalties are counted for a signal, with the measure of their r.

        Parameters
        ----------
        signal
            Which signal.

        Returns
        -------
        list of (fit, measure)
            Those in which a learning signal or control stands beside activations; of all others
            their own.
        """
        alone, *beside = self.of_signal(signal)
        return [
            (fit.bands, row.name)
            for fit in beside or [alone]
            for row in fit.measures
            if row.of == R.name
        ]


def name_of_test_images(measure: str) -> str:
    """A measure of the test images of a data set, predicted from all its other images."""
    return f"test_{measure}"


def fit_label(fit: Fit) -> str:
    """Words for a fit, for readers alone."""
    return "+".join(band.name for band in fit)
