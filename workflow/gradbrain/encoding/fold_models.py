"""All models of one outer fold, scored as soon as they are fitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.measures import (
    ALL_ACTIVATIONS,
    FULL_MEASURES,
    JOINT_MEASURES,
    SPLIT_MEASURES,
    TEST_MEASURE,
    Fit,
    LayerFits,
)
from gradbrain.encoding.prediction_rsa import FoldRdms
from gradbrain.encoding.regression import BandFit, FoldRegression
from gradbrain.encoding.scores import FoldScorer, Score
from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.measures import R2

FLOATS = NDArray[np.floating]
Scores = dict[tuple[SignalIdentity, str], Score]
Fits = dict[Fit, BandFit]


class FoldModels:
    """All models of one outer fold, scored as soon as they are fitted.

    Parameters
    ----------
    regression : FoldRegression
    scorer : FoldScorer
    layer : LayerFits
        Which bands are fitted together.
    weights : BandWeights
        What is tried where the baseline has nuisance bands.
    normalised : bool
        Whether single bands are scored relative to the noise ceiling as well.
    saved : array of int, optional
        Targets whose predictions are kept; those of all others are given up as soon as they are
        scored.
    rdms : FoldRdms, optional
        Takes the dissimilarities of predictions.
    """

    def __init__(
        self,
        regression: FoldRegression,
        scorer: FoldScorer,
        layer: LayerFits,
        weights: BandWeights,
        *,
        normalised: bool = False,
        saved: NDArray[np.intp] | None = None,
        rdms: FoldRdms | None = None,
    ):
        self._regression = regression
        self._scorer = scorer
        self._layer = layer
        self._weights = weights
        self._normalised = normalised
        self._rdms = rdms
        self._saved = np.empty(0, dtype=np.intp) if saved is None else saved

    def run(self) -> tuple[Scores, Fits]:
        """Fit and score every band alone, and every signal with activations.

        Returns
        -------
        scores : dict of (signal, measure) to Score
        fits : dict of bands to BandFit
            With the predictions of the saved targets only.
        """
        scores: Scores = {}
        fits: Fits = {}
        if not self._layer.paired:
            self._score_singles(scores, fits)
            return scores, fits
        activation, baseline = self._references(scores, fits)
        for signal in self._layer.others:
            self._score_alone(signal, scores, fits)
            self._score_joint(signal, activation, scores, fits)
            self._score_full(signal, baseline, scores, fits)
            self._regression.forget(signal)
        return scores, fits

    def run_test_images(self) -> Scores:
        """Fit and score single bands and unique parts on the test images of a data set.

        Returns
        -------
        dict of (signal, measure) to Score
            Measures are those of test images.
        """
        scores: Scores = {}
        fits: Fits = {}
        if self._layer.paired:
            _, baseline = self._references(scores, fits)
            for signal in self._layer.others:
                self._score_alone(signal, scores, fits)
                self._score_full(signal, baseline, scores, fits)
                self._regression.forget(signal)
        else:
            self._score_singles(scores, fits)
        return {(signal, TEST_MEASURE[name]): score for (signal, name), score in scores.items()}

    def _score_singles(self, scores: Scores, fits: Fits) -> None:
        """Every signal alone, and nothing else."""
        for signal in self._layer.singles:
            self._score_alone(signal, scores, fits)
            self._regression.forget(signal)

    def _references(self, scores: Scores, fits: Fits) -> tuple[FLOATS, FLOATS]:
        """Predictions of what signals are compared with: the layer's activation, the baseline."""
        activation = self._score_alone(self._layer.activation, scores, fits)
        baseline = self._score_alone(ALL_ACTIVATIONS, scores, fits)
        for signal in self._layer.nuisance:
            self._score_alone(signal, scores, fits)
        return activation, baseline

    def _score_alone(self, signal: SignalIdentity, scores: Scores, fits: Fits) -> FLOATS:
        bands = self._layer.alone(signal)
        if len(bands) == 1:
            fit = self._regression.single(signal)
        else:
            fit = self._regression.mixture(bands, self._weights.base)
        self._take(bands, fit, fits)
        measures = self._layer.measures(signal, normalised=self._normalised)
        found = self._scorer.scores(fit.prediction, measures)
        for measure, score in zip(measures, found, strict=True):
            scores[signal, measure] = score
        return fit.prediction

    def _take(self, bands: Fit, fit: BandFit, fits: Fits) -> None:
        """Keep what is stored of a fit, and the dissimilarities of its predictions."""
        fits[bands] = fit.predicting(self._saved)
        if self._rdms is not None:
            self._rdms.add(bands, fit.prediction)

    def _fit_full(self, signal: SignalIdentity) -> BandFit:
        """The baseline with a signal; its bands on their own are within reach of the search."""
        baseline = self._layer.baseline
        if len(baseline) == 1:
            return self._regression.pair(*baseline, signal)
        return self._regression.extension(baseline, signal, self._weights)

    def _score_full(
        self, signal: SignalIdentity, baseline: FLOATS, scores: Scores, fits: Fits
    ) -> None:
        """The baseline with the signal: full scores and the unique part."""
        fit = self._fit_full(signal)
        self._take(self._layer.full(signal), fit, fits)
        self._score_gain(signal, fit, FULL_MEASURES, (ALL_ACTIVATIONS, baseline), scores)

    def _score_joint(
        self, signal: SignalIdentity, activation: FLOATS, scores: Scores, fits: Fits
    ) -> None:
        """The layer's activation with the signal: joint scores, split, gain over the activation."""
        bands = self._layer.joint(signal)
        fit = self._regression.pair(*bands)
        fits[bands] = fit.predicting(self._saved)
        self._score_gain(signal, fit, JOINT_MEASURES, (self._layer.activation, activation), scores)
        for part, measure in zip(fit.parts, SPLIT_MEASURES, strict=True):
            scores[signal, measure] = self._scorer.split(part, fit.prediction)

    def _score_gain(
        self,
        signal: SignalIdentity,
        fit: BandFit,
        measures: tuple[str, str, str],
        reference: tuple[SignalIdentity, FLOATS],
        scores: Scores,
    ) -> None:
        """Score r and R² of a fit, and what its signal adds to the R² of a reference."""
        r, r2, unique = measures
        compared, prediction = reference
        scores[signal, r], scores[signal, r2] = self._scorer.prediction(fit.prediction)
        gain = scores[signal, r2] - scores[compared, R2.name]
        scores[signal, unique] = self._scorer.gain(prediction, fit.prediction, gain)
