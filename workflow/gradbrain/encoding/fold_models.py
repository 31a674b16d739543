"""All models of one outer fold, scored as soon as they are fitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.measures import (
    ALL_ACTIVATIONS,
    FULL_MEASURES,
    JOINT_MEASURES,
    NORMALISED_MEASURES,
    OTHER_ACTIVATIONS,
    RAW_MEASURES,
    REWEIGHTING_MEASURE,
    SPLIT_MEASURES,
    TRIPLE_MEASURES,
    triple_fit,
)
from gradbrain.encoding.regression import BandFit, FoldRegression
from gradbrain.encoding.scores import FoldScorer, Score

FLOATS = NDArray[np.floating]


class FoldModels:
    """All models of one outer fold, scored as soon as they are fitted.

    Parameters
    ----------
    regression : FoldRegression
    scorer : FoldScorer
    activation : str
    others : list of str
        The other signals.
    normalised : bool
        Whether single bands are scored relative to the noise ceiling as well.
    simplex : array of shape (n_candidates, 3), optional
        Weights of the layer's activation, the other layers' and a signal; fitted where given.
    saved : array of int, optional
        Targets whose predictions are kept; those of all others are given up as soon as they are
        scored.
    """

    def __init__(
        self,
        regression: FoldRegression,
        scorer: FoldScorer,
        activation: str,
        others: list[str],
        *,
        normalised: bool = False,
        simplex: FLOATS | None = None,
        saved: NDArray[np.intp] | None = None,
    ):
        self._regression = regression
        self._scorer = scorer
        self._activation = activation
        self._others = others
        self._normalised = normalised
        self._simplex = simplex
        self._saved = np.empty(0, dtype=np.intp) if saved is None else saved

    def run(self) -> tuple[dict[tuple[str, str], Score], dict[str, BandFit]]:
        """Fit and score every single band, pair and triple.

        Returns
        -------
        scores : dict of (signal, measure) to Score
        fits : dict of fit name to BandFit
            With the predictions of the saved targets only.
        """
        scores: dict[tuple[str, str], Score] = {}
        fits: dict[str, BandFit] = {}
        baselines = self._baselines(scores, fits)
        self._score_reweighting(baselines[ALL_ACTIVATIONS], scores, fits)
        for name in self._others:
            self._score_single(name, scores, fits)
            self._score_joint(name, baselines, scores, fits)
            self._score_full(name, baselines, scores, fits)
            if self._simplex is not None:
                self._score_triple(name, self._simplex, scores, fits)
            self._regression.forget(name)
        return scores, fits

    def run_test_images(self) -> dict[tuple[str, str], Score]:
        """Fit and score single bands and unique parts on the test images of a data set.

        Returns
        -------
        dict of (signal, measure) to Score
            Measures carry the prefix ``test_``.
        """
        scores: dict[tuple[str, str], Score] = {}
        fits: dict[str, BandFit] = {}
        baselines = self._baselines(scores, fits)
        for name in self._others:
            self._score_single(name, scores, fits)
            self._score_full(name, baselines, scores, fits)
            self._regression.forget(name)
        return {(signal, f"test_{measure}"): score for (signal, measure), score in scores.items()}

    def _baselines(
        self, scores: dict[tuple[str, str], Score], fits: dict[str, BandFit]
    ) -> dict[str, FLOATS]:
        """Predictions of what signals are compared with, by band."""
        return {
            name: self._score_single(name, scores, fits)
            for name in (self._activation, ALL_ACTIVATIONS)
        }

    def _score_single(
        self, name: str, scores: dict[tuple[str, str], Score], fits: dict[str, BandFit]
    ) -> FLOATS:
        fit = self._regression.single(name)
        fits[name] = fit.predicting(self._saved)
        measures: tuple[str, ...] = RAW_MEASURES
        found: tuple[Score, ...]
        if self._normalised:
            measures += NORMALISED_MEASURES
            found = self._scorer.normalised(fit.prediction)
        else:
            found = self._scorer.prediction(fit.prediction)
        for measure, score in zip(measures, found, strict=True):
            scores[name, measure] = score
        return fit.prediction

    def _score_pair(
        self,
        bands: tuple[str, str],
        measures: tuple[str, str, str],
        baseline: FLOATS,
        scores: dict[tuple[str, str], Score],
        fits: dict[str, BandFit],
    ) -> BandFit:
        """Activations with a signal: r and R² of both, and what the signal adds to R²."""
        activations, name = bands
        fit = self._regression.pair(activations, name)
        fits[f"{activations}+{name}"] = fit.predicting(self._saved)
        r, r2, unique = measures
        scores[name, r], scores[name, r2] = self._scorer.prediction(fit.prediction)
        gain = scores[name, r2] - scores[activations, "r2"]
        scores[name, unique] = self._scorer.gain(baseline, fit.prediction, gain)
        return fit

    def _score_reweighting(
        self,
        baseline: FLOATS,
        scores: dict[tuple[str, str], Score],
        fits: dict[str, BandFit],
    ) -> None:
        """All layers' activations with those of this layer once more."""
        name = self._activation
        fit = self._regression.pair(ALL_ACTIVATIONS, name)
        fits[f"{ALL_ACTIVATIONS}+{name}"] = fit.predicting(self._saved)
        _, r2 = self._scorer.prediction(fit.prediction)
        gain = r2 - scores[ALL_ACTIVATIONS, "r2"]
        scores[name, REWEIGHTING_MEASURE] = self._scorer.gain(baseline, fit.prediction, gain)

    def _score_full(
        self,
        name: str,
        baselines: dict[str, FLOATS],
        scores: dict[tuple[str, str], Score],
        fits: dict[str, BandFit],
    ) -> None:
        """All layers' activations with the signal: full scores and the unique part."""
        baseline = baselines[ALL_ACTIVATIONS]
        self._score_pair((ALL_ACTIVATIONS, name), FULL_MEASURES, baseline, scores, fits)

    def _score_joint(
        self,
        name: str,
        baselines: dict[str, FLOATS],
        scores: dict[tuple[str, str], Score],
        fits: dict[str, BandFit],
    ) -> None:
        """The layer's activation with the signal: joint scores, split, gain over the activation."""
        bands, baseline = (self._activation, name), baselines[self._activation]
        fit = self._score_pair(bands, JOINT_MEASURES, baseline, scores, fits)
        for part, measure in zip(fit.parts, SPLIT_MEASURES, strict=True):
            scores[name, measure] = self._scorer.split(part, fit.prediction)

    def _score_triple(
        self,
        name: str,
        simplex: FLOATS,
        scores: dict[tuple[str, str], Score],
        fits: dict[str, BandFit],
    ) -> None:
        """Three bands: scores of their joint prediction and its split between them."""
        bands = (self._activation, OTHER_ACTIVATIONS, name)
        fit = self._regression.mixture(bands, simplex)
        fits[triple_fit(self._activation, name)] = fit.predicting(self._saved)
        joint = fit.prediction
        found = [
            *self._scorer.prediction(joint),
            *(self._scorer.split(part, joint) for part in fit.parts),
        ]
        for measure, score in zip(TRIPLE_MEASURES, found, strict=True):
            scores[name, measure] = score
