"""The encoding models of one layer and one subject: fits, scores and draws over outer folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.assemble import assemble_store
from gradbrain.encoding.averages import Averages, saved_targets
from gradbrain.encoding.backend import make_backend
from gradbrain.encoding.bands import Band, make_band
from gradbrain.encoding.baseline import Baseline, read_baseline
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.estimator import simplex_candidates
from gradbrain.encoding.fold_models import FoldModels
from gradbrain.encoding.grid_edge import EDGE_SHARE_WARNING
from gradbrain.encoding.inputs import LayerFeatures, Responses, read_features, read_responses
from gradbrain.encoding.measures import (
    ALL_ACTIVATIONS,
    OTHER_ACTIVATIONS,
    fit_rows,
    score_rows,
    triple_fit,
)
from gradbrain.encoding.regression import ClosedFormRegression, FoldRegression
from gradbrain.encoding.scores import FoldScorer, UnitLayout
from gradbrain.encoding.solver import Search, Selection, penalty_grid
from gradbrain.encoding.splits import OuterSplit, grouped_folds, outer_splits

logger = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
# Share of images with another one in their group up to which groups do not bear on the choice.
FEW_IN_GROUPS = 0.1
# Targets whose responses are standardised at once, in float64.
TARGET_BLOCK = 1000


def make_search(settings: EncodingSettings, layout: UnitLayout, groups: NDArray[np.str_]) -> Search:
    """Turn settings into what the solver tries inside the training images of a fold.

    Parameters
    ----------
    settings : EncodingSettings
    layout : UnitLayout
        Targets of a unit share their hyperparameters where `settings` says so, and always where
        responses are known up to a rotation. Targets outside all units share theirs.
    groups : array of shape (n_train,)
        Groups of the training images, which inner folds do not split.

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
    settings : EncodingSettings
    groups : array of shape (n_train,)
        Groups of the training images.

    Returns
    -------
    selection : {"gcv", "loo", "kfold"}
    n_inner_folds : int
        As set; where the choice is ours, no more than there are groups.
    """
    if settings.selection != "auto":
        return settings.selection, settings.n_inner_folds
    sizes = np.unique(groups, return_counts=True)[1]
    if sizes[sizes > 1].sum() <= FEW_IN_GROUPS * len(groups):
        return "gcv", settings.n_inner_folds
    return "kfold", max(2, min(settings.n_inner_folds, len(sizes)))


def make_regression(
    bands: Mapping[str, Band], responses: FLOATS, search: Search, settings: EncodingSettings
) -> FoldRegression:
    """Bind the solver that the settings name to the data of one fold.

    Parameters
    ----------
    bands : mapping of str to Band
    responses : array of shape (n_targets, n_train)
        Centred by the training mean.
    search : Search
    settings : EncodingSettings

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
    backend = make_backend(settings.backend, settings.device)
    return ClosedFormRegression(bands, responses, search, settings.n_band_weights, backend)


def make_bands(
    features: LayerFeatures,
    split: OuterSplit,
    settings: EncodingSettings,
    baseline: Baseline | None = None,
) -> dict[str, Band]:
    """Standardise every signal of the layer and all layers' activations in one fold.

    Parameters
    ----------
    features : LayerFeatures
    split : OuterSplit
    settings : EncodingSettings
    baseline : Baseline, optional
        Components of all layers' activations; taken here where they are not given.

    Returns
    -------
    dict of str to Band
    """
    train, test, dtype = split.train, split.held_out, np.dtype(settings.dtype)

    def joined(layers: list[FLOATS]) -> Band:
        return make_band(
            np.concatenate([values[train] for values in layers], axis=1),
            np.concatenate([values[test] for values in layers], axis=1),
            n_components=settings.baseline_components,
            dtype=dtype,
        )

    bands = {
        name: make_band(
            values[train],
            values[test],
            dtype=dtype,
            # An activation that is the same for all images is a mistake, a signal may be.
            allow_constant=name != features.activation,
        )
        for name, values in features.signals.items()
    }
    for name, values in features.signals.items():
        if bands[name].n_constant == values.shape[1]:
            logger.warning(
                "signal %s is the same for all images of a fold: it predicts nothing", name
            )
    if baseline is None:
        bands[ALL_ACTIVATIONS] = joined(list(features.activations.values()))
    else:
        bands[ALL_ACTIVATIONS] = baseline.band(split)
    if settings.third_band:
        bands[OTHER_ACTIVATIONS] = joined(features.other_activations)
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
    values : array of shape (n_targets, n_images)
    train, test : arrays of int
    centre_only : bool
        Responses known up to a rotation are centred only.
    dtype : dtype
        Of the results; statistics are taken in float64.

    Returns
    -------
    train_responses : array of shape (n_targets, n_train)
    test_responses : array of shape (n_targets, n_test)
    mean, scale : arrays of shape (n_targets, 1), float64
        In the units of `values`; a target that is constant in training keeps its scale.
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
            deviation = np.sqrt(squares / len(train))[:, None]
            scale[block] = np.where(deviation > 0, deviation, 1.0)
            rows /= scale[block]
        held_in[block], held_out[block] = rows[:, train], rows[:, test]
    return held_in, held_out, mean, scale


class SplitFits:
    """What the fits of all outer splits share.

    Parameters
    ----------
    features : LayerFeatures
    responses : Responses
    settings : EncodingSettings
    baseline : Baseline, optional
        Components of all layers' activations.
    """

    def __init__(
        self,
        features: LayerFeatures,
        responses: Responses,
        settings: EncodingSettings,
        baseline: Baseline | None = None,
    ):
        self._features = features
        self._responses = responses
        self._settings = settings
        self._baseline = baseline
        self._layout = responses.layout
        self._normalised = responses.ceiling is not None
        others, third = features.others, settings.third_band
        self._rows = score_rows(
            features.activation,
            others,
            normalised=self._normalised,
            third_band=third,
            test_images=responses.test_images is not None,
        )
        self._fits = fit_rows(features.activation, others, third_band=third)
        self._saved = saved_targets(self._layout, settings.save_predictions)
        self._simplex = None
        if third:
            self._simplex = simplex_candidates(3, settings.n_simplex_draws, settings.seed)

    def run(self) -> Averages:
        """Fit, score and draw over all outer splits."""
        settings, groups = self._settings, self._responses.groups
        averages = Averages.zeros(
            len(self._rows),
            len(self._fits),
            settings.n_draws,
            self._layout,
            third_band=settings.third_band,
        )
        averages.predictions = np.zeros((len(self._fits), len(groups), len(self._saved)))
        splits = outer_splits(groups, settings.n_folds, settings.seed, self._responses.test_images)
        warn_of_lone_groups(groups, splits)
        for split in splits:
            if split.test_images:
                self._score_test_images(split, averages)
            else:
                self._score_fold(split, averages)
        averages.count_shared_pairs(
            [row for row, (_, measure) in enumerate(self._rows) if not measure.startswith("test_")]
        )
        return averages

    def _score_fold(self, split: OuterSplit, averages: Averages) -> None:
        settings, activation = self._settings, self._features.activation
        models, scorer, mean, scale = self._models(split, self._responses.ceiling)
        scores, fits = models.run()
        share = 1.0 / settings.n_folds
        for row, measured in enumerate(self._rows):
            if measured in scores:
                averages.add_score(row, scores[measured], scorer, share)
        for row, fit_name in enumerate(self._fits):
            averages.add_fit(row, fits[fit_name], share)
            predicted = fits[fit_name].prediction * scale[self._saved] + mean[self._saved]
            averages.predictions[row][split.held_out] = predicted.T
        for name in self._features.others:
            of_pairs = {
                f"{activation}+{name}": "joint_r",
                f"{ALL_ACTIVATIONS}+{name}": "full_r",
                **({triple_fit(activation, name): "triple_r"} if settings.third_band else {}),
            }
            for fit_name, measure in of_pairs.items():
                averages.count_edges(fits[fit_name], scores[name, measure], self._layout)

    def _score_test_images(self, split: OuterSplit, averages: Averages) -> None:
        models, scorer, _, _ = self._models(split, self._responses.test_ceiling)
        scores = models.run_test_images()
        for row, measured in enumerate(self._rows):
            if measured in scores:
                averages.add_score(row, scores[measured], scorer, 1.0)

    def _models(
        self, split: OuterSplit, ceiling: FLOATS | None
    ) -> tuple[FoldModels, FoldScorer, FLOATS, FLOATS]:
        """Models of a split, their scorer, and mean and scale of its training responses."""
        settings, features, groups = self._settings, self._features, self._responses.groups
        train_responses, test_responses, mean, scale = scale_responses(
            self._responses.values,
            split.train,
            split.held_out,
            centre_only=self._layout.pooled,
            dtype=np.dtype(settings.dtype),
        )
        search = make_search(settings, self._layout, groups[split.train])
        bands = make_bands(features, split, settings, self._baseline)
        regression = make_regression(bands, train_responses, search, settings)
        draws = draw_images(groups[split.held_out], settings.n_draws, settings.seed, split.number)
        scorer = FoldScorer(test_responses, self._layout, draws, ceiling)
        models = FoldModels(
            regression,
            scorer,
            features.activation,
            features.others,
            normalised=self._normalised,
            simplex=self._simplex,
            saved=self._saved,
        )
        return models, scorer, mean, scale


def fit_folds(
    features: LayerFeatures,
    responses: Responses,
    settings: EncodingSettings,
    baseline: Baseline | None = None,
) -> Averages:
    """Fit, score and draw over all outer splits.

    Parameters
    ----------
    features : LayerFeatures
    responses : Responses
    settings : EncodingSettings
    baseline : Baseline, optional
        Components of all layers' activations; taken anew where they are not given.

    Returns
    -------
    Averages
    """
    return SplitFits(features, responses, settings, baseline).run()


def warn_of_lone_groups(groups: NDArray[np.str_], splits: list[OuterSplit]) -> None:
    """Warn where a fold's images are one group: groups are whole in draws, so none differs.

    Parameters
    ----------
    groups : array of shape (n_images,)
    splits : list of OuterSplit
    """
    lone = [split.number for split in splits if len(np.unique(groups[split.held_out])) < 2]
    if lone:
        logger.warning(
            "outer folds %s hold one group of images each: their bootstrap and null draws equal "
            "the score itself, so intervals are too narrow and p values too large; use fewer "
            "folds or finer groups",
            lone,
        )


def fit_encoding(
    *,
    features: list[Path],
    layer: str,
    responses: Path,
    settings: EncodingSettings,
    study: str,
    baseline: Path | None = None,
) -> xr.Dataset:
    """Fit the encoding models of one layer and subject.

    Parameters
    ----------
    features : list of Path
        Feature stores of all layers of the model, in depth order; with a baseline, that of the
        layer is enough unless `settings.third_band` asks for the others.
    layer : str
    responses : Path
    settings : EncodingSettings
    study : str
    baseline : Path, optional
        Components of all layers' activations, as `reduce_activations` made them.

    Returns
    -------
    xarray.Dataset
        Content of the encoding store.
    """
    brain = read_responses(responses, settings.min_noise_ceiling, settings.ceiling_floor)
    layer_features = read_features(features, layer, brain.image_ids, responses)
    components = None
    if baseline is not None:
        components = read_baseline(
            baseline,
            layer_attrs=layer_features.attrs,
            images=brain.images,
            responses=responses,
            settings=settings,
        )
        layer_features = replace(layer_features, layers=components.layers)
    if settings.third_band and not layer_features.other_activations:
        raise EncodingError(
            f"encoding.third_band needs the activations of other layers, and {layer} is the only "
            f"layer of {layer_features.attrs['model']} that was given: take more layers or set "
            "third_band: false"
        )
    averages = fit_folds(layer_features, brain, settings, components)
    if averages.edge_share > EDGE_SHARE_WARNING:
        logger.warning(
            "%s, %s: %.0f %% of the penalties of targets predicted above zero lie on the edge of "
            "the grid 1e%g to 1e%g: widen encoding.log10_penalty_min and log10_penalty_max",
            brain.attrs["subject"],
            layer,
            100 * averages.edge_share,
            settings.log10_penalty_min,
            settings.log10_penalty_max,
        )
    return assemble_store(averages, layer_features, brain, settings, study)
