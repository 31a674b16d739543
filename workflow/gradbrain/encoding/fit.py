"""The encoding models of one layer and one subject: fits, scores and draws over outer folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.assemble import assemble_store
from gradbrain.encoding.averages import Averages, saved_targets
from gradbrain.encoding.backend import Backend, make_backend
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.bands import Band, make_band
from gradbrain.encoding.baseline import Baseline, read_baseline
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.fold_models import FoldModels
from gradbrain.encoding.inputs import (
    LayerFeatures,
    Responses,
    read_features,
    read_nuisance,
    read_responses,
)
from gradbrain.encoding.measures import ALL_ACTIVATIONS
from gradbrain.encoding.prediction_rsa import FoldRdms, RdmAverages
from gradbrain.encoding.regression import ClosedFormRegression, FoldRegression
from gradbrain.encoding.scores import FoldScorer, UnitLayout
from gradbrain.encoding.solver import Search, Selection, penalty_grid
from gradbrain.encoding.splits import OuterSplit, grouped_folds, many_share_groups
from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.measures import EDGE_SHARE_LIMIT

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
# Of a constant's mean in float64, relative, whatever the number of images.
ROUNDING_OF_MEAN = 1e-12
# Targets whose responses are standardised at once, in float64.
TARGET_BLOCK = 1000


def make_search(settings: EncodingSettings, layout: UnitLayout, groups: NDArray[np.str_]) -> Search:
    """Turn settings into what the solver tries inside the training images of a fold.

    Parameters
    ----------
    settings
        Section ``encoding`` of the study.
    layout
        Targets of a unit share their hyperparameters where `settings` says so, and always where
        responses are known up to a rotation. Targets outside all units share theirs.
    groups
        Shape (n_train,). Groups of the training images, which inner folds do not split.

    Returns
    -------
    Search
    """
    target_groups = None
    if layout.pooled or settings.penalty_scope == "roi":
        unit_of_target = np.searchsorted(layout.stops, np.arange(layout.n_targets), side="right")
        target_groups = unit_of_target.astype(np.intp)
    selection, n_inner_folds = choose_selection(settings, groups)
    inner_folds = None
    if selection == "kfold" or settings.solver == "himalaya":
        inner_folds = grouped_folds(
            groups, n_inner_folds, settings.seed, setting="encoding.n_inner_folds"
        )
    return Search(
        penalties=penalty_grid(
            settings.log10_penalty_min, settings.log10_penalty_max, settings.n_penalties
        ),
        selection=selection,
        inner_folds=inner_folds,
        target_groups=target_groups,
        target_batch=settings.target_batch,
    )


def choose_selection(settings: EncodingSettings, groups: NDArray[np.str_]) -> tuple[Selection, int]:
    """Decide how hyperparameters are chosen, and with how many inner folds.

    Generalised cross-validation and leave-one-out take the errors of all images for independent.
    Images of a group (crops of one photograph, pictures of one category) share what the features
    do not explain; then either picks far too small a penalty, and folds that keep groups together
    do not (``benchmarks/bench_selection.py``). A few pairs, such as a picture that a data set holds
    twice, change nothing.

    Parameters
    ----------
    settings
        Section ``encoding`` of the study.
    groups
        Shape (n_train,). Groups of the training images.

    Returns
    -------
    selection : {"gcv", "loo", "kfold"}
    n_inner_folds : int
        As set; where the choice is ours, no more than there are groups.
    """
    if settings.selection != "auto":
        return settings.selection, settings.n_inner_folds
    if not many_share_groups(groups):
        return "gcv", settings.n_inner_folds
    return "kfold", max(2, min(settings.n_inner_folds, len(np.unique(groups))))


def make_regression(
    bands: Mapping[Any, Band],
    responses: FLOATS,
    search: Search,
    settings: EncodingSettings,
    backend: Backend | None = None,
) -> FoldRegression:
    """Bind the solver that the settings name to the data of one fold.

    Parameters
    ----------
    bands
        Name of each band → its features.
    responses
        Shape (n_targets, n_train). Centred by the training mean.
    search
        How penalties and weights of bands are searched.
    settings
        Section ``encoding`` of the study.
    backend
        In the place of the one that the settings name.

    Returns
    -------
    FoldRegression
    """
    if settings.solver == "himalaya":
        # By name: a module in an import statement would be an input of fits that do not use it.
        reference = import_module("gradbrain.encoding.himalaya_reference")
        regression: FoldRegression = reference.HimalayaRegression(
            bands, responses, search, settings.n_band_weights
        )
        return regression
    if backend is None:
        backend = make_backend(settings.backend, settings.device)
    return ClosedFormRegression(bands, responses, search, settings.n_band_weights, backend)


def make_bands(
    features: LayerFeatures,
    split: OuterSplit,
    settings: EncodingSettings,
    baseline: Baseline | None = None,
) -> dict[SignalIdentity, Band]:
    """Standardise every signal of the layer and what it is held against, if anything, in one fold.

    Parameters
    ----------
    features
        Features of the layers, in the order of the images.
    split
        Images to learn from and images held out.
    settings
        Section ``encoding`` of the study.
    baseline
        Components of all layers' activations; taken here where they are not given.

    Returns
    -------
    dict of SignalIdentity to Band
    """
    train, test, dtype = split.train, split.held_out, np.dtype(settings.dtype)
    activation = features.fits.activation
    bands = {
        signal: make_band(
            values[train],
            values[test],
            dtype=dtype,
            # An activation that is the same for all images is a mistake, a signal may be.
            allow_constant=signal != activation,
        )
        for signal, values in features.signals.items()
    }
    for signal, values in features.signals.items():
        if bands[signal].n_constant == values.shape[1]:
            log.warning(
                "signal %s is the same for all images of a fold: it predicts nothing", signal.name
            )
    if not features.paired:
        return bands
    if baseline is None:
        layers = features.activations.values()
        bands[ALL_ACTIVATIONS] = make_band(
            np.concatenate([values[train] for values in layers], axis=1),
            np.concatenate([values[test] for values in layers], axis=1),
            n_components=settings.baseline_components,
            dtype=dtype,
        )
    else:
        bands[ALL_ACTIVATIONS] = baseline.band(split)
    for signal, values in features.nuisance.items():
        bands[signal] = make_band(values[train], values[test], dtype=dtype)
    return bands


def scale_responses(
    values: FLOATS,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    *,
    centre_only: bool,
    dtype: np.dtype,
) -> tuple[FLOATS, FLOATS, FLOATS, FLOATS]:
    """Centre, and unless told otherwise standardise, responses with training statistics.

    Parameters
    ----------
    values
        Shape (n_targets, n_images).
    train, test
        Indices of the training images and of those held out.
    centre_only
        Responses known up to a rotation are centred only.
    dtype
        Of the results; statistics are taken in float64.

    Returns
    -------
    train_responses : array of shape (n_targets, n_train)
    test_responses : array of shape (n_targets, n_test)
    mean, scale : arrays of shape (n_targets, 1), float64
        In the units of `values`; a target that does not vary in training keeps its scale.
    """
    held_in = np.empty((len(values), len(train)), dtype=dtype)
    held_out = np.empty((len(values), len(test)), dtype=dtype)
    mean, scale = np.empty((len(values), 1)), np.ones((len(values), 1))
    for start in range(0, len(values), TARGET_BLOCK):
        block = slice(start, start + TARGET_BLOCK)
        rows = values[block].astype(np.float64)
        mean[block] = rows[:, train].mean(axis=1, keepdims=True)
        rows -= mean[block]
        if not centre_only:
            squares = np.einsum("ij,ij->i", rows[:, train], rows[:, train])
            variance = (squares / len(train))[:, None]
            # A constant leaves the rounding of its mean, which must not become the scale.
            known = variance > np.square(ROUNDING_OF_MEAN * mean[block])
            scale[block] = np.where(known, np.sqrt(variance), 1.0)
            rows /= scale[block]
        held_in[block], held_out[block] = rows[:, train], rows[:, test]
    return held_in, held_out, mean, scale


class SplitFits:
    """What the fits of all outer splits share.

    Parameters
    ----------
    features
        Features of the layers, in the order of the images.
    responses
        Responses of a subject to the images.
    settings
        Section ``encoding`` of the study.
    baseline
        Components of all layers' activations.
    backend
        In the place of the one that the settings name.
    bands
        Bands of every split, kept here for fits of the same layer to others who saw the same
        images.
    rsa
        How dissimilarities of held-out predictions are compared; they are not where left out.
    """

    def __init__(
        self,
        features: LayerFeatures,
        responses: Responses,
        settings: EncodingSettings,
        baseline: Baseline | None = None,
        backend: Backend | None = None,
        bands: dict[int, dict[SignalIdentity, Band]] | None = None,
        rsa: RsaSettings | None = None,
    ):
        if rsa is not None and not features.paired:
            raise EncodingError(
                "dissimilarities are compared beside those that all layers' activations predict, "
                "and these fits are of signals alone: fit pairs, or give no section rsa"
            )
        self._bands = bands
        self._rsa = rsa
        self._features = features
        self._responses = responses
        self._settings = settings
        self._baseline = baseline
        self._backend = backend
        self._layout = responses.layout
        self._normalised = responses.ceiling is not None
        self._layer = features.fits
        self._rows = self._layer.rows(
            normalised=self._normalised, test_images=responses.test_images is not None
        )
        self._saved = saved_targets(self._layout, settings.save_predictions)
        self._weights = BandWeights.of(len(self._layer.baseline), settings)

    def run(self) -> Averages:
        """Fit, score and draw over all outer splits."""
        settings, groups = self._settings, self._responses.groups
        n_fits = len(self._layer.fits)
        folds = self._responses.images.folds
        if folds is not None and (folds < 0).any() and settings.save_predictions:
            raise EncodingError(
                f"encoding.save_predictions: {np.count_nonzero(folds < 0)} images are never held "
                "out (fold `train` of the study's folds), and have no prediction to keep; leave "
                "the key out"
            )
        averages = Averages.zeros(len(self._rows), n_fits, settings.n_draws, self._layout)
        averages.predictions = np.zeros((n_fits, len(groups), len(self._saved)))
        if self._rsa is not None:
            averages.rdms = RdmAverages.zeros(
                self._layer.rdm_rows, settings.n_draws, len(self._layout.names)
            )
        splits = self._responses.images.splits(settings)
        warn_of_lone_groups(groups, splits)
        for split in splits:
            if split.test_images:
                self._score_test_images(split, averages)
            else:
                self._score_fold(split, averages)
        averages.divide_by_known()
        if averages.rdms is not None:
            averages.rdms.divide_by_known()
        averages.count_shared_pairs(
            [place for place, row in enumerate(self._rows) if not row.of_test_images]
        )
        return averages

    def _score_fold(self, split: OuterSplit, averages: Averages) -> None:
        models, scorer, mean, scale, rdms = self._models(
            split, self._responses.ceiling, averages.rdms
        )
        scores, fits = models.run()
        if averages.rdms is not None and rdms is not None:
            averages.rdms.add(rdms, self._layer.baseline)
        share = 1.0 / self._settings.n_folds
        averages.masked_folds += scorer.masked
        for place, row in enumerate(self._rows):
            if not row.of_test_images:
                averages.add_score(place, scores[row.signal, row.measure], scorer, share)
        for place, bands in enumerate(self._layer.fits):
            averages.add_fit(place, fits[bands], share)
            predicted = fits[bands].prediction * scale[self._saved] + mean[self._saved]
            averages.predictions[place][split.held_out] = predicted.T
        for signal in self._layer.singles:
            for bands, measure in self._layer.edge_fits(signal):
                averages.count_edges(signal, fits[bands], scores[signal, measure], self._layout)

    def _score_test_images(self, split: OuterSplit, averages: Averages) -> None:
        models, scorer, *_ = self._models(split, self._responses.test_ceiling)
        scores = models.run_test_images()
        for place, row in enumerate(self._rows):
            if row.of_test_images:
                averages.add_score(place, scores[row.signal, row.measure], scorer, 1.0)

    def _models(
        self, split: OuterSplit, ceiling: FLOATS | None, compared: RdmAverages | None = None
    ) -> tuple[FoldModels, FoldScorer, FLOATS, FLOATS, FoldRdms | None]:
        """Models of a split, their scorer, mean and scale of its training responses, its RDMs."""
        settings, features, groups = self._settings, self._features, self._responses.groups
        train_responses, test_responses, mean, scale = scale_responses(
            self._responses.values,
            split.train,
            split.held_out,
            centre_only=self._layout.pooled,
            dtype=np.dtype(settings.dtype),
        )
        search = make_search(settings, self._layout, groups[split.train])
        bands = None if self._bands is None else self._bands.get(split.number)
        if bands is None:
            bands = make_bands(features, split, settings, self._baseline)
        if self._bands is not None:
            self._bands[split.number] = bands
        regression = make_regression(bands, train_responses, search, settings, self._backend)
        draws = draw_images(groups[split.held_out], settings.n_draws, settings.seed, split.number)
        variance = np.einsum("ij,ij->i", train_responses, train_responses) / len(split.train)
        scorer = FoldScorer(test_responses, self._layout, draws, ceiling, variance)
        rdms = None
        if compared is not None and self._rsa is not None:
            rdms = FoldRdms(
                self._responses,
                split,
                test_responses,
                scale,
                rows=compared.rows,
                max_images=self._rsa.max_images,
                n_draws=settings.n_draws,
                seed=settings.seed,
            )
        models = FoldModels(
            regression,
            scorer,
            self._layer,
            self._weights,
            normalised=self._normalised,
            saved=self._saved,
            rdms=rdms,
        )
        return models, scorer, mean, scale, rdms


def warn_of_lone_groups(groups: NDArray[np.str_], splits: list[OuterSplit]) -> None:
    """Warn where a fold's images are one group: groups are whole in draws, so none differs.

    Parameters
    ----------
    groups
        Shape (n_images,).
    splits
        Images to learn from and images held out, of each fold.
    """
    lone = [split.number for split in splits if len(np.unique(groups[split.held_out])) < 2]
    if lone:
        log.warning(
            "outer folds %s hold one group of images each: their bootstrap and null draws equal "
            "the score itself, so intervals are too narrow and p values too large; use fewer "
            "folds or finer groups",
            lone,
        )


def warn_of_masked_targets(averages: Averages, subject: str) -> None:
    """Warn of targets that do not vary in a fold, and have no score in it.

    Parameters
    ----------
    averages
        Sums over images that averages are made from.
    subject
        Name of the subject.
    """
    n_masked = int(np.count_nonzero(averages.masked_folds))
    if n_masked:
        log.warning(
            "%s: %d of %d targets do not vary over the images of some outer fold (%d targets times "
            "folds) and are left out of it; is there a session or run in which they are dead?",
            subject,
            n_masked,
            len(averages.masked_folds),
            int(averages.masked_folds.sum()),
        )


def fit_encoding(
    *,
    features: list[Path],
    layer: str,
    responses: Path,
    settings: EncodingSettings,
    study: str,
    baseline: Path | None = None,
    nuisance: Sequence[Path] = (),
    backend: Backend | None = None,
    rsa: RsaSettings | None = None,
) -> xr.Dataset:
    """Fit the encoding models of one layer and subject.

    Parameters
    ----------
    features
        Feature stores of all layers of the model, in depth order; with a baseline, that of the
        layer is enough.
    layer
        Name of the layer.
    responses
        Response store of the subject.
    settings
        Section ``encoding`` of the study.
    study
        Name of the study.
    baseline
        Components of all layers' activations, as `reduce_activations` made them.
    nuisance
        Feature stores of the bands of `settings.nuisance`, in their order; not read where signals
        are fitted alone (`settings.variance_partitioning`).
    backend
        In the place of the one that the settings name, for fits that share decompositions.
    rsa
        How dissimilarities of held-out predictions are compared, which takes fits beside
        activations; they are not where left out.

    Returns
    -------
    xarray.Dataset
        Content of the encoding store.
    """
    brain = read_responses(responses, settings.min_noise_ceiling, settings.ceiling_floor)
    settings = brain.images.settings(settings)
    layer_features = read_features(
        features, layer, brain.image_ids, responses, paired=settings.variance_partitioning
    )
    components = None
    if settings.variance_partitioning:
        layer_features = read_nuisance(
            nuisance, settings.nuisance, layer_features, brain.image_ids, responses
        )
    if baseline is not None:
        components = read_baseline(
            baseline,
            layer_attrs=layer_features.attrs,
            images=brain.images,
            responses=responses,
            settings=settings,
        )
        layer_features = replace(layer_features, layers=components.layers)
    return fit_layer(
        layer_features, brain, settings, study, baseline=components, backend=backend, rsa=rsa
    )


def fit_layer(
    features: LayerFeatures,
    brain: Responses,
    settings: EncodingSettings,
    study: str,
    *,
    baseline: Baseline | None = None,
    backend: Backend | None = None,
    bands: dict[int, dict[SignalIdentity, Band]] | None = None,
    rsa: RsaSettings | None = None,
) -> xr.Dataset:
    """Fit the encoding models of one layer and subject, as `fit_encoding` does, to what was read.

    Parameters
    ----------
    features
        Without pairs (`paired`), signals are fitted alone.
    brain
        Responses of the simulated brain.
    settings
        Section ``encoding`` of the study.
    study
        Name of the study.
    baseline, backend, bands, rsa
        As for `SplitFits`.

    Returns
    -------
    xarray.Dataset
        Content of the encoding store.
    """
    layer = features.layer
    settings = brain.images.settings(settings)
    averages = SplitFits(features, brain, settings, baseline, backend, bands, rsa).run()
    warn_of_masked_targets(averages, str(brain.attrs["subject"]))
    edge_share = averages.edge_share(features.fits.others)
    if edge_share > EDGE_SHARE_LIMIT:
        log.warning(
            "%s, %s: %.0f %% of the penalties of targets predicted above zero lie on the edge of "
            "the grid 1e%g to 1e%g: widen encoding.log10_penalty_min and log10_penalty_max",
            brain.attrs["subject"],
            layer,
            100 * edge_share,
            settings.log10_penalty_min,
            settings.log10_penalty_max,
        )
    return assemble_store(averages, features, brain, settings, study)
