"""All models of one outer fold, scored as soon as they are fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.measures import (
    GAIN,
    PART,
    Fit,
    LayerFits,
    SignalFit,
    name_of_test_images,
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
    regression
        Regression of one fold.
    scorer
        Scores the predictions of held-out images.
    layer
        Which bands are fitted together, and what is scored of them.
    weights
        What is tried where the baseline has nuisance bands.
    normalised
        Whether single bands are scored relative to the noise ceiling as well.
    saved
        Targets whose predictions are kept; those of all others are given up as soon as they are
        scored.
    rdms
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
        return self._run(test_images=False)

    def run_test_images(self) -> Scores:
        """Fit and score single bands and unique parts on the test images of a data set.

        Returns
        -------
        dict of (signal, measure) to Score
            Measures are those of test images.
        """
        scores, _ = self._run(test_images=True)
        return {
            (signal, name_of_test_images(measure)): score
            for (signal, measure), score in scores.items()
        }

    def _run(self, *, test_images: bool) -> tuple[Scores, Fits]:
        layer = self._layer
        scores: Scores = {}
        fits: Fits = {}
        # Predictions that later fits are held against.
        references: dict[SignalIdentity, FLOATS] = {}
        for signal in layer.singles:
            for planned in layer.of_signal(
                signal, normalised=self._normalised, test_images=test_images
            ):
                fit = self._fit(planned)
                prediction = fit.prediction
                fits[planned.bands] = fit.predicting(self._saved)
                if self._rdms is not None:
                    self._rdms.add(planned.bands, prediction)
                self._score(planned, prediction, fit.parts, references, scores)
            if layer.pairs and signal in (layer.reference("joint"), layer.reference("full")):
                references[signal] = prediction
            if signal not in layer.lasting:
                self._regression.forget(signal)
        return scores, fits

    def _fit(self, planned: SignalFit) -> BandFit:
        """Fit some bands; those of the baseline are within reach of the search beside it."""
        bands, baseline = planned.bands, self._layer.baseline
        if len(bands) == 1:
            return self._regression.single(*bands)
        if bands == baseline:
            return self._regression.mixture(bands, self._weights.base)
        if len(bands) == 2:
            return self._regression.pair(*bands)
        return self._regression.extension(baseline, planned.signal, self._weights)

    def _score(
        self,
        planned: SignalFit,
        prediction: FLOATS,
        parts: Sequence[FLOATS],
        references: dict[SignalIdentity, FLOATS],
        scores: Scores,
    ) -> None:
        signal, left = planned.signal, iter(parts)
        of_prediction = [row for row in planned.measures if row.of not in (PART, GAIN)]
        found = self._scorer.scores(prediction, [row.of for row in of_prediction])
        for row, score in zip(of_prediction, found, strict=True):
            scores[signal, row.name] = score
        own = {row.of: row.name for row in of_prediction}
        for row in planned.measures:
            if row.of == PART:
                scores[signal, row.name] = self._scorer.split(next(left), prediction)
            elif row.of == GAIN:
                reference = self._layer.reference(planned.name)
                gain = scores[signal, own[R2.name]] - scores[reference, R2.name]
                scores[signal, row.name] = self._scorer.gain(
                    references[reference], prediction, gain
                )
