"""The encoding models of one layer and one subject: fits, scores and draws over outer folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.backend import make_backend
from gradbrain.encoding.bands import Band, make_band
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.estimator import simplex_candidates
from gradbrain.encoding.inputs import LayerFeatures, Responses, read_features, read_responses
from gradbrain.encoding.regression import BandFit, ClosedFormRegression, FoldRegression
from gradbrain.encoding.scores import FoldScorer, Score, UnitLayout
from gradbrain.encoding.solver import Search, penalty_grid
from gradbrain.encoding.splits import grouped_folds

logger = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
ALL_ACTIVATIONS = "all_activations"
PAIR_MEASURES = (
    "joint_r",
    "joint_r2",
    "split_activation_r2",
    "split_signal_r2",
    "full_r",
    "full_r2",
    "unique_r2",
    "layer_unique_r2",
)
RAW_MEASURES = ("r", "r2")
NORMALISED_MEASURES = ("r_normalised", "r2_normalised")
OTHER_ACTIVATIONS = "other_activations"
TRIPLE_MEASURES = (
    "triple_r",
    "triple_r2",
    "triple_split_activation_r2",
    "triple_split_others_r2",
    "triple_split_signal_r2",
)
EDGE_SHARE_WARNING = 0.1


def score_rows(
    activation: str, others: list[str], *, normalised: bool = False, third_band: bool = False
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

    Returns
    -------
    list of (str, str)
    """
    singles = (activation, ALL_ACTIVATIONS, *others)
    rows = [(signal, measure) for signal in singles for measure in RAW_MEASURES]
    rows += [(signal, measure) for signal in others for measure in PAIR_MEASURES]
    if normalised:
        rows += [(signal, measure) for signal in singles for measure in NORMALISED_MEASURES]
    if third_band:
        rows += [(signal, measure) for signal in others for measure in TRIPLE_MEASURES]
    return rows


def fit_rows(activation: str, others: list[str], *, third_band: bool = False) -> list[str]:
    """Names of the fits: single bands, pairs as ``first+second``, then triples."""
    pairs = [f"{first}+{name}" for name in others for first in (activation, ALL_ACTIVATIONS)]
    triples = [triple_fit(activation, name) for name in others] if third_band else []
    return [activation, ALL_ACTIVATIONS, *others, *pairs, *triples]


def triple_fit(activation: str, signal: str) -> str:
    """Name of the fit of the layer's activation, the other layers' and the signal."""
    return f"{activation}+{OTHER_ACTIVATIONS}+{signal}"


# Three bands leave the rest to the third.
SECOND_BAND = "the second band of a fit; 0 where there is none"
FULL_MEASURES = ("full_r", "full_r2", "unique_r2")


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
    if measure in RAW_MEASURES + NORMALISED_MEASURES:
        return signal
    if measure in TRIPLE_MEASURES:
        return triple_fit(activation, signal)
    first = ALL_ACTIVATIONS if measure in FULL_MEASURES else activation
    return f"{first}+{signal}"


@dataclass
class Averages:
    """Means over outer folds of everything that is stored.

    Attributes
    ----------
    score : array of shape (n_rows, n_scored)
    unit_score : array of shape (n_rows, n_units)
    boot, null : arrays of shape (n_draws, n_rows, n_units)
    hyperparameters : dict of str to array of shape (n_fits, n_targets)
    edge_hits, edge_total : int
        Choices on the edge of the penalty grid, and choices, over reliable targets of pair fits.
    predictions : array of shape (n_fits, n_images, n_saved)
    """

    score: FLOATS
    unit_score: FLOATS
    boot: FLOATS
    null: FLOATS
    hyperparameters: dict[str, FLOATS]
    edge_hits: int = 0
    edge_total: int = 0
    predictions: FLOATS = field(default_factory=lambda: np.empty((0, 0, 0)))

    @classmethod
    def zeros(
        cls,
        n_rows: int,
        n_fits: int,
        n_draws: int,
        layout: UnitLayout,
        *,
        third_band: bool = False,
    ) -> Averages:
        """Start with nothing added."""
        kept = ["penalty_log10", "band_weight", "effective_dof"]
        if third_band:
            kept.append("second_band_weight")
        n_units = len(layout.names)
        return cls(
            score=np.zeros((n_rows, layout.n_scored)),
            unit_score=np.zeros((n_rows, n_units)),
            boot=np.zeros((n_draws, n_rows, n_units)),
            null=np.zeros((n_draws, n_rows, n_units)),
            hyperparameters={name: np.zeros((n_fits, layout.n_targets)) for name in kept},
        )

    @property
    def edge_share(self) -> float:
        """Share of reliable targets whose penalty lies on the edge of the grid."""
        return self.edge_hits / self.edge_total if self.edge_total else 0.0


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
    ):
        self._regression = regression
        self._scorer = scorer
        self._activation = activation
        self._others = others
        self._normalised = normalised
        self._simplex = simplex

    def run(self) -> tuple[dict[tuple[str, str], Score], dict[str, BandFit]]:
        """Fit and score every single band and pair.

        Returns
        -------
        scores : dict of (signal, measure) to Score
        fits : dict of fit name to BandFit
        """
        scores: dict[tuple[str, str], Score] = {}
        fits: dict[str, BandFit] = {}
        for name in (self._activation, ALL_ACTIVATIONS, *self._others):
            fits[name] = self._regression.single(name)
            predicted = fits[name].prediction
            measures: tuple[str, ...] = RAW_MEASURES
            found: tuple[Score, ...]
            if self._normalised:
                measures += NORMALISED_MEASURES
                found = self._scorer.normalised(predicted)
            else:
                found = self._scorer.prediction(predicted)
            for measure, score in zip(measures, found, strict=True):
                scores[name, measure] = score
        for name in self._others:
            self._score_joint(name, scores, fits)
            self._score_full(name, scores, fits)
            if self._simplex is not None:
                self._score_triple(name, self._simplex, scores, fits)
        return scores, fits

    def _score_joint(
        self, name: str, scores: dict[tuple[str, str], Score], fits: dict[str, BandFit]
    ) -> None:
        """The layer's activation with the signal: joint scores, split, gain over the activation."""
        fit = self._regression.pair(self._activation, name)
        fits[f"{self._activation}+{name}"] = fit
        joint = fit.prediction
        scores[name, "joint_r"], scores[name, "joint_r2"] = self._scorer.prediction(joint)
        for part, measure in zip(
            fit.parts, ("split_activation_r2", "split_signal_r2"), strict=True
        ):
            scores[name, measure] = self._scorer.split(part, joint)
        scores[name, "layer_unique_r2"] = self._scorer.gain(
            fits[self._activation].prediction,
            joint,
            scores[name, "joint_r2"] - scores[self._activation, "r2"],
        )

    def _score_full(
        self, name: str, scores: dict[tuple[str, str], Score], fits: dict[str, BandFit]
    ) -> None:
        """All layers' activations with the signal: full scores and the unique part."""
        fit = self._regression.pair(ALL_ACTIVATIONS, name)
        fits[f"{ALL_ACTIVATIONS}+{name}"] = fit
        full = fit.prediction
        scores[name, "full_r"], scores[name, "full_r2"] = self._scorer.prediction(full)
        scores[name, "unique_r2"] = self._scorer.gain(
            fits[ALL_ACTIVATIONS].prediction,
            full,
            scores[name, "full_r2"] - scores[ALL_ACTIVATIONS, "r2"],
        )

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
        fits[triple_fit(self._activation, name)] = fit
        joint = fit.prediction
        found = [
            *self._scorer.prediction(joint),
            *(self._scorer.split(part, joint) for part in fit.parts),
        ]
        for measure, score in zip(TRIPLE_MEASURES, found, strict=True):
            scores[name, measure] = score


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
    inner_folds = None
    if settings.selection == "kfold" or settings.solver == "himalaya":
        inner_folds = grouped_folds(groups, settings.n_inner_folds, settings.seed)
    return Search(
        penalties=penalty_grid(
            settings.log10_penalty_min, settings.log10_penalty_max, settings.n_penalties
        ),
        selection=settings.selection,
        inner_folds=inner_folds,
        target_groups=target_groups,
        target_batch=settings.target_batch,
    )


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
        from gradbrain.encoding.himalaya_reference import HimalayaRegression

        return HimalayaRegression(bands, responses, search, settings.n_band_weights)
    backend = make_backend(settings.backend, settings.device)
    return ClosedFormRegression(bands, responses, search, settings.n_band_weights, backend)


def make_bands(
    features: LayerFeatures,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    settings: EncodingSettings,
) -> dict[str, Band]:
    """Standardise every signal of the layer and all layers' activations in one fold.

    Parameters
    ----------
    features : LayerFeatures
    train, test : arrays of int
        Images of the fold.
    settings : EncodingSettings

    Returns
    -------
    dict of str to Band
    """
    dtype = np.dtype(settings.dtype)
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
    bands[ALL_ACTIVATIONS] = make_band(
        np.concatenate([values[train] for values in features.activations], axis=1),
        np.concatenate([values[test] for values in features.activations], axis=1),
        n_components=settings.baseline_components,
        dtype=dtype,
    )
    if settings.third_band:
        bands[OTHER_ACTIVATIONS] = make_band(
            np.concatenate([values[train] for values in features.other_activations], axis=1),
            np.concatenate([values[test] for values in features.other_activations], axis=1),
            n_components=settings.baseline_components,
            dtype=dtype,
        )
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

    Returns
    -------
    train_responses : array of shape (n_targets, n_train)
    test_responses : array of shape (n_targets, n_test)
    mean, scale : arrays of shape (n_targets, 1)
        In the units of `values`; a target that is constant in training keeps its scale.
    """
    held_in = values[:, train]
    mean = held_in.mean(axis=1, keepdims=True)
    held_in = held_in - mean
    scale = np.ones_like(mean)
    if not centre_only:
        deviation = np.sqrt(np.einsum("ij,ij->i", held_in, held_in) / len(train))[:, None]
        scale = np.where(deviation > 0, deviation, 1.0)
    return (
        np.ascontiguousarray(held_in / scale, dtype=dtype),
        np.ascontiguousarray((values[:, test] - mean) / scale, dtype=dtype),
        mean,
        scale,
    )


def fit_folds(
    features: LayerFeatures, responses: Responses, settings: EncodingSettings
) -> Averages:
    """Fit, score and draw over all outer folds.

    Parameters
    ----------
    features : LayerFeatures
    responses : Responses
    settings : EncodingSettings

    Returns
    -------
    Averages
    """
    activation, others = features.activation, features.others
    layout, ceiling = responses.layout, responses.ceiling
    normalised = ceiling is not None
    third = settings.third_band
    rows = score_rows(activation, others, normalised=normalised, third_band=third)
    fit_names = fit_rows(activation, others, third_band=third)
    simplex = simplex_candidates(3, settings.n_simplex_draws, settings.seed) if third else None
    averages = Averages.zeros(len(rows), len(fit_names), settings.n_draws, layout, third_band=third)
    saved = saved_targets(layout, settings.save_predictions)
    averages.predictions = np.zeros((len(fit_names), responses.values.shape[1], len(saved)))
    folds = grouped_folds(responses.groups, settings.n_folds, settings.seed)
    warn_of_lone_groups(responses.groups, folds)
    for fold in range(settings.n_folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        train_responses, test_responses, mean, scale = scale_responses(
            responses.values,
            train,
            test,
            centre_only=layout.pooled,
            dtype=np.dtype(settings.dtype),
        )
        search = make_search(settings, layout, responses.groups[train])
        bands = make_bands(features, train, test, settings)
        regression = make_regression(bands, train_responses, search, settings)
        draws = draw_images(responses.groups[test], settings.n_draws, settings.seed, fold)
        scorer = FoldScorer(test_responses, layout, draws, ceiling)
        scores, fits = FoldModels(
            regression, scorer, activation, others, normalised=normalised, simplex=simplex
        ).run()
        _add_scores(averages, [scores[row] for row in rows], scorer, settings.n_folds)
        _add_fits(averages, [fits[name] for name in fit_names], settings.n_folds)
        for name in others:
            _count_edges(averages, fits[f"{activation}+{name}"], scores[name, "joint_r"], layout)
            _count_edges(
                averages, fits[f"{ALL_ACTIVATIONS}+{name}"], scores[name, "full_r"], layout
            )
            if third:
                triple = fits[triple_fit(activation, name)]
                _count_edges(averages, triple, scores[name, "triple_r"], layout)
        for number, name in enumerate(fit_names):
            predicted = fits[name].prediction[saved] * scale[saved] + mean[saved]
            averages.predictions[number][test] = predicted.T
    return averages


def warn_of_lone_groups(groups: NDArray[np.str_], folds: NDArray[np.intp]) -> None:
    """Warn where a fold's images are one group: groups are whole in draws, so none differs.

    Parameters
    ----------
    groups : array of shape (n_images,)
    folds : array of shape (n_images,)
    """
    lone = [int(fold) for fold in np.unique(folds) if len(np.unique(groups[folds == fold])) < 2]
    if lone:
        logger.warning(
            "outer folds %s hold one group of images each: their bootstrap and null draws equal "
            "the score itself, so intervals are too narrow and p values too large; use fewer "
            "folds or finer groups",
            lone,
        )


def saved_targets(layout: UnitLayout, regions: tuple[str, ...]) -> NDArray[np.intp]:
    """Rows of the targets in the regions whose predictions are kept.

    Parameters
    ----------
    layout : UnitLayout
    regions : tuple of str
        Names of units; names that this subject lacks are passed over, as a study may hold data
        sets with different regions.

    Returns
    -------
    array of int
    """
    kept = [
        np.arange(targets.start, targets.stop)
        for name, targets in zip(layout.names, layout.slices, strict=True)
        if name in regions
    ]
    return np.concatenate(kept) if kept else np.empty(0, dtype=np.intp)


def _add_scores(averages: Averages, scores: list[Score], scorer: FoldScorer, n_folds: int) -> None:
    for row, score in enumerate(scores):
        averages.score[row] += score.point / n_folds
        averages.unit_score[row] += scorer.unit_mean(score.point) / n_folds
        averages.boot[:, row] += score.boot / n_folds
        averages.null[:, row] += score.null / n_folds


def _add_fits(averages: Averages, fits: list[BandFit], n_folds: int) -> None:
    for row, fit in enumerate(fits):
        averages.hyperparameters["penalty_log10"][row] += fit.log10_penalty / n_folds
        averages.hyperparameters["band_weight"][row] += fit.band_weight / n_folds
        averages.hyperparameters["effective_dof"][row] += fit.degrees_of_freedom / n_folds
        if "second_band_weight" in averages.hyperparameters and len(fit.band_weights) > 1:
            averages.hyperparameters["second_band_weight"][row] += fit.band_weights[1] / n_folds


def _count_edges(averages: Averages, fit: BandFit, score: Score, layout: UnitLayout) -> None:
    """Count penalties on the grid's edge, over targets that are predicted above zero."""
    on_edge = fit.on_edge
    if layout.pooled:
        # All targets of a unit share one penalty: its first stands for it.
        on_edge = on_edge[[targets.start for targets in layout.slices]]
    predicted = score.point > 0
    averages.edge_hits += int(np.count_nonzero(on_edge & predicted))
    averages.edge_total += int(np.count_nonzero(predicted))


def fit_encoding(
    *,
    features: list[Path],
    layer: str,
    responses: Path,
    settings: EncodingSettings,
    study: str,
) -> xr.Dataset:
    """Fit the encoding models of one layer and subject.

    Parameters
    ----------
    features : list of Path
        Feature stores of all layers of the model, in depth order.
    layer : str
    responses : Path
    settings : EncodingSettings
    study : str

    Returns
    -------
    xarray.Dataset
        Content of the encoding store.
    """
    brain = read_responses(responses, settings.min_noise_ceiling, settings.ceiling_floor)
    layer_features = read_features(features, layer, brain.image_ids, responses)
    if settings.third_band and not layer_features.other_activations:
        raise EncodingError(
            f"encoding.third_band needs the activations of other layers, and {layer} is the only "
            f"layer of {layer_features.attrs['model']}: take more layers or set third_band: false"
        )
    averages = fit_folds(layer_features, brain, settings)
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


def assemble_store(
    averages: Averages,
    features: LayerFeatures,
    responses: Responses,
    settings: EncodingSettings,
    study: str,
) -> xr.Dataset:
    """Label the averages as the encoding store, targets in the order of the response store.

    Parameters
    ----------
    averages : Averages
    features : LayerFeatures
    responses : Responses
    settings : EncodingSettings
    study : str

    Returns
    -------
    xarray.Dataset
    """
    layout = responses.layout
    rows = score_rows(
        features.activation,
        features.others,
        normalised=responses.ceiling is not None,
        third_band=settings.third_band,
    )
    fits = fit_rows(features.activation, features.others, third_band=settings.third_band)
    target_coords = _target_coords(responses)

    def stored(values: FLOATS) -> FLOATS:
        return _in_store_order(values, responses).astype(np.float32)

    # Only normalised scores may be missing: where no ceiling is known, or it is below the floor.
    measured: dict[str, tuple[tuple[str, ...], FLOATS]] = {
        "score": (("score_row", "target"), stored(averages.score)),
        "unit_score": (("score_row", "unit"), averages.unit_score.astype(np.float32)),
        "boot": (("draw", "score_row", "unit"), averages.boot.astype(np.float32)),
        "null": (("draw", "score_row", "unit"), averages.null.astype(np.float32)),
    }
    variables: dict[str, Any] = {
        name: (dims, values, _missing_allowed(values) if responses.ceiling is not None else {})
        for name, (dims, values) in measured.items()
    }
    for name, values in averages.hyperparameters.items():
        if layout.pooled:
            values = values[:, [targets.start for targets in layout.slices]]
        # himalaya does not tell the degrees of freedom.
        attrs = {"missing_allowed": True} if name == "effective_dof" else {}
        variables[name] = (("fit", "target"), stored(values), attrs)
    of_units = [
        averages.hyperparameters["band_weight"][:, own].mean(axis=1) for own in layout.slices
    ]
    variables["unit_band_weight"] = (
        ("fit", "unit"),
        np.stack(of_units, axis=1).astype(np.float32),
    )
    coords: dict[str, Any] = {
        "signal": ("score_row", np.array([signal for signal, _ in rows])),
        "measure": ("score_row", np.array([measure for _, measure in rows])),
        "row_fit": (
            "score_row",
            np.array([fit_of_row(*row, features.activation) for row in rows]),
        ),
        "unit": ("unit", np.array(layout.names)),
        "fit": ("fit", np.array(fits)),
        **{
            name: ("target", values, _missing_allowed(values))
            for name, values in target_coords.items()
        },
    }
    if responses.unit_time is not None:
        coords["unit_time"] = ("unit", responses.unit_time)
    saved = saved_targets(layout, settings.save_predictions)
    if len(saved):
        variables["prediction"] = (
            ("fit", "image", "saved_target"),
            averages.predictions.astype(np.float32),
        )
        coords["image_id"] = ("image", responses.image_ids)
        # Position of each saved target in the response store.
        coords["saved_target"] = ("saved_target", responses.target_order[saved])
    return xr.Dataset(
        variables, coords=coords, attrs=_attributes(averages, features, responses, settings, study)
    )


def _in_store_order(values: FLOATS, responses: Responses) -> FLOATS:
    """Undo the sorting of targets by unit along the last axis."""
    if responses.layout.pooled:
        return values
    stored = np.empty_like(values)
    stored[..., responses.target_order] = values
    return stored


def _target_coords(responses: Responses) -> dict[str, NDArray[Any]]:
    if responses.layout.pooled:
        names = np.array(responses.layout.names)
        # Units hold reliable targets only.
        return {"roi": names, "reliable": np.ones(len(names), dtype=bool)}
    return {**responses.target_coords, "reliable": responses.reliable}


def _missing_allowed(values: NDArray[Any]) -> dict[str, bool]:
    holds_nan = values.dtype.kind == "f" and bool(np.isnan(values).any())
    return {"missing_allowed": True} if holds_nan else {}


def _attributes(
    averages: Averages,
    features: LayerFeatures,
    responses: Responses,
    settings: EncodingSettings,
    study: str,
) -> dict[str, Any]:
    brain, layer = responses.attrs, features.attrs
    attrs = {
        "study": study,
        **{key: brain[key] for key in ("dataset", "subject", "modality", "space")},
        **{key: layer[key] for key in ("model", "layer", "depth", "signal_set", "stimuli")},
        "layer_index": features.layer_index,
        "n_layers": len(features.activations),
        "n_images": len(responses.image_ids),
        "n_groups": len(np.unique(responses.groups)),
        "n_targets": responses.layout.n_targets,
        "n_unit_targets": responses.layout.sizes.tolist(),
        "n_unreliable_targets": responses.n_unreliable,
        "n_targets_below_ceiling_floor": responses.n_below_floor,
        "edge_share": averages.edge_share,
        "rotation_invariant": responses.rotation_invariant,
        **{key: list(brain[key]) for key in ("roi_order", "early_rois", "high_rois")},
        "onset_s": brain["onset_s"],
        "roles": dict(layer["roles"]),
        "objectives": dict(layer["objectives"]),
        "band_weight_of": "the first band of a fit; the second has the rest",
        **({"second_band_weight_of": SECOND_BAND} if settings.third_band else {}),
        # A device is a resource: no result depends on it.
        "settings": settings.model_dump(mode="json", exclude={"device"}),
        "features_digest": layer["digest"],
        "responses_digest": brain["digest"],
    }
    if "roi_distance" in brain:
        attrs["roi_distance"] = dict(brain["roi_distance"])
    return attrs
