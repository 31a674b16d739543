"""Features and responses of one fit, read from their stores, checked and aligned."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings, NuisanceBand
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.measures import LayerFits
from gradbrain.encoding.scores import UnitLayout
from gradbrain.encoding.splits import OuterSplit, outer_splits
from gradbrain.store import FeatureStore, SignalIdentity, open_features, open_layers, open_store
from gradbrain.store.feature_signals import SHARED, check_unique
from gradbrain.vocabulary.artefacts import SENSOR_COORDINATES, TARGET_COORDINATES
from gradbrain.vocabulary.roles import NUISANCE, TIME

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
# Targets that are turned around at once.
TARGET_BLOCK = 1000


@dataclass(frozen=True)
class LayerFeatures:
    """Signals of one layer, and what they are held against.

    Attributes
    ----------
    signals
        Dict of SignalIdentity to array of shape (n_images, n_features). The activation first, then
        the others in the order of the signal set.
    activations
        Dict of str to array of shape (n_images, n_features_of_layer). Activations by layer, of the
        stores that were given; without pairs that of the layer alone.
    layers
        All layers of the model that are part of the study, in depth order.
    attrs
        Attributes of the layer's store.
    nuisance
        Dict of SignalIdentity to array of shape (n_images, n_features). Nuisance bands, in the
        order of the settings.
    nuisance_digests
        Digests of their stores.
    paired
        Whether signals are fitted beside activations as well; claims read none of these fits.
    for_claims
        Whether fits without pairs have those scores alone that claims read.
    """

    signals: dict[SignalIdentity, FLOATS]
    activations: dict[str, FLOATS]
    layers: list[str]
    attrs: dict[str, Any]
    nuisance: dict[SignalIdentity, FLOATS] = field(default_factory=dict)
    nuisance_digests: list[str] = field(default_factory=list)
    paired: bool = True
    for_claims: bool = False

    @property
    def fits(self) -> LayerFits:
        """Which of the bands are fitted together."""
        activation, *others = self.signals
        return LayerFits(
            activation,
            tuple(others),
            tuple(self.nuisance),
            self.paired,
            self.for_claims and not self.paired,
        )

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return str(self.attrs["layer"])


@dataclass(frozen=True)
class ModelFeatures:
    """Signals of all layers of a model, and what they are held against.

    Attributes
    ----------
    layers
        In depth order.
    depths
        Relative depth of each.
    signals
        All but the activation, in the order of the signal set.
    activations
        Dict of str to array of shape (n_images, n_features). Activations by layer.
    attrs
        What the stores share: model, signal set and stimulus set.
    digests
        Digest of every store, by layer.
    nuisance
        Dict of SignalIdentity to array of shape (n_images, n_features). Nuisance bands, in the
        order of the settings.
    nuisance_digests
        Digests of their stores.
    """

    layers: list[str]
    depths: list[float]
    signals: list[SignalIdentity]
    activations: dict[str, FLOATS]
    attrs: dict[str, str]
    digests: dict[str, str]
    _stores: dict[str, FeatureStore] = field(repr=False)
    nuisance: dict[SignalIdentity, FLOATS] = field(default_factory=dict)
    nuisance_digests: list[str] = field(default_factory=list)

    def values(self, layer: str, signal: SignalIdentity) -> FLOATS:
        """Read a signal of a layer, shape (n_images, n_features)."""
        return self._stores[layer].values(signal)


@dataclass(frozen=True)
class ImageGroups:
    """Images of a response store, ordered by group, then by id.

    Nothing then depends on their order in the store.

    Attributes
    ----------
    image_ids, groups
        Arrays of shape (n_images,), str.
    test_images
        Array of shape (n_images,), bool, or None. Images that the data set sets apart, shown more
        often; None where all are alike.
    n_repeats
        Shape (n_images,), int. Presentations behind each row.
    order
        Shape (n_images,). Row of every image in the store.
    digest
        Digest of the response store.
    folds
        Array of shape (n_images,), int, or None. Outer folds of the study's own; None where groups
        decide.
    """

    image_ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    test_images: NDArray[np.bool_] | None
    n_repeats: NDArray[np.int64]
    order: NDArray[np.intp]
    digest: str
    folds: NDArray[np.intp] | None = None

    def splits(self, settings: EncodingSettings) -> list[OuterSplit]:
        """List the outer folds, and the split that holds out the test images."""
        return outer_splits(
            self.groups, settings.n_folds, settings.seed, self.test_images, self.folds
        )

    def settings(self, settings: EncodingSettings) -> EncodingSettings:
        """Settings with as many outer folds as the study's own are, where it has some."""
        if self.folds is None:
            return settings
        return settings.model_copy(update={"n_folds": int(self.folds.max()) + 1})


Features = TypeVar("Features", LayerFeatures, ModelFeatures)


@dataclass(frozen=True)
class TargetUnits:
    """Which unit every target of a response store belongs to.

    Units are the regions of ``roi_order``, or the times.

    Attributes
    ----------
    names
        Names of the units, in their order.
    unit
        Shape (n_targets,). Unit of every target, in the order of the store; −1 for none.
    coords
        Dict of str to array of shape (n_targets,). Coordinates of targets.
    time
        Shape (n_units,). Seconds from image onset; None along regions.
    reliable
        Shape (n_targets,), bool. Targets that are not below the noise ceiling that was asked for.
    """

    names: list[str]
    unit: NDArray[np.intp]
    coords: dict[str, NDArray[Any]]
    time: FLOATS | None
    reliable: NDArray[np.bool_]

    @property
    def unit_of_reliable(self) -> NDArray[np.intp]:
        """Unit of every target, −1 also for those that are not reliable."""
        return np.where(self.reliable, self.unit, -1)


@dataclass(frozen=True)
class Responses:
    """Responses of one subject, targets of a unit side by side.

    Attributes
    ----------
    values
        Array of shape (n_targets, n_images), float32.
    images
        Identifiers of images and the groups that stay together.
    layout
        Units that targets belong to, and what is said per unit.
    target_order
        Shape (n_targets,). Position in the store of every row of `values`.
    target_coords
        Dict of str to array of shape (n_targets,). Coordinates of targets, in the order of the
        store.
    unit_time
        Shape (n_units,). Seconds from image onset; None along regions.
    n_unreliable
        Targets below the noise ceiling that was asked for; they belong to no unit.
    reliable
        Shape (n_targets,), bool. Targets that are not, in the order of the store.
    ceiling
        Shape (n_targets,). Noise ceilings in the order of `values`, NaN where unknown or below the
        floor of normalisation; None where no target of a unit has one.
    noise_ceiling
        Shape (n_targets,). The same whatever the floor; None where the store has none.
    n_below_floor
        Targets of units whose ceiling is unknown or below that floor.
    attrs
        Attributes of the response store.
    """

    values: FLOATS
    images: ImageGroups
    layout: UnitLayout
    target_order: NDArray[np.intp]
    target_coords: dict[str, NDArray[Any]]
    unit_time: FLOATS | None
    n_unreliable: int
    reliable: NDArray[np.bool_]
    ceiling: FLOATS | None
    noise_ceiling: FLOATS | None
    n_below_floor: int
    attrs: dict[str, Any]

    @property
    def rotation_invariant(self) -> bool:
        """Whether only rotation-invariant results may be drawn."""
        return bool(self.attrs["rotation_invariant"])

    @property
    def image_ids(self) -> NDArray[np.str_]:
        """Ids of the images, shape (n_images,)."""
        return self.images.image_ids

    @property
    def groups(self) -> NDArray[np.str_]:
        """Groups of the images, shape (n_images,)."""
        return self.images.groups

    @property
    def test_images(self) -> NDArray[np.bool_] | None:
        """Which images the data set sets apart, shape (n_images,)."""
        return self.images.test_images

    @property
    def test_ceiling(self) -> FLOATS | None:
        """Noise ceiling of every target for the average over the repeats of test images.

        With c the ceiling of the average over all images, whose noise variance is proportional to
        A = mean(1/n), signal over noise of one presentation is cA / (1 − c); the ceiling for the
        test images follows from it and their own A (Spearman 1910 and Brown 1910, *British
        Journal of Psychology* 3, for the mean of n repeats; Allen et al. 2022, *Nature
        Neuroscience* 25:116–126, for mixtures of n).
        """
        if self.ceiling is None or self.test_images is None:
            return None
        shares = 1.0 / np.maximum(self.images.n_repeats, 1)
        with np.errstate(divide="ignore"):
            signal = self.ceiling * shares.mean() / (1.0 - self.ceiling)
        return 1.0 / (1.0 + shares[self.test_images].mean() / signal)


def read_responses(
    path: Path, min_noise_ceiling: float | None = None, ceiling_floor: float = 0.1
) -> Responses:
    """Read the responses of a subject and lay their targets out by unit.

    Units are the regions of ``roi_order``, or the times.

    Parameters
    ----------
    path
        File to read.
    min_noise_ceiling
        Targets whose ceiling is lower, or unknown, belong to no unit.
    ceiling_floor
        Targets whose ceiling is lower, or unknown, have no part in normalised scores.

    Returns
    -------
    Responses

    Raises
    ------
    EncodingError
        If values are not finite, a target is constant or no target is left.
    StoreError
        If image ids repeat.
    """
    store = open_store(path, kind="responses")
    return lay_out_responses(path, store, min_noise_ceiling, ceiling_floor)


def lay_out_responses(
    path: Path,
    store: xr.Dataset,
    min_noise_ceiling: float | None = None,
    ceiling_floor: float = 0.1,
) -> Responses:
    """Lay the responses of a subject out by unit, as `read_responses` does.

    Parameters
    ----------
    path
        Named in errors.
    store
        Content of a response store, with its digest.
    min_noise_ceiling, ceiling_floor
        As for `read_responses`.

    Returns
    -------
    Responses

    Raises
    ------
    EncodingError, StoreError
        As for `read_responses`.
    """
    images = _image_groups(path, store)
    response = store["response"].values
    _check_finite(path, "response", response)
    targets = _target_units(path, store, min_noise_ceiling)
    names, unit = targets.names, targets.unit_of_reliable
    response = response.reshape(len(images.image_ids), -1)
    _check_constant(path, response)
    n_unreliable = int(np.count_nonzero(unit != targets.unit))
    counts = np.bincount(unit[unit >= 0], minlength=len(names))
    if not counts.any():
        raise EncodingError(
            f"{path}: none of its {unit.size} targets belongs to a unit: {n_unreliable} have a "
            f"noise ceiling below encoding.min_noise_ceiling = {min_noise_ceiling} or none, the "
            f"others lie outside roi_order = {store.attrs.get('roi_order')}"
        )
    if (counts == 0).any():
        empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
        log.warning("%s: no reliable target is left in %s", path, ", ".join(empty))
    kept = np.flatnonzero(counts)
    order = np.argsort(np.where(unit < 0, len(names), unit), kind="stable")
    layout = UnitLayout(
        names=tuple(names[index] for index in kept),
        stops=np.cumsum(counts[kept]),
        n_targets=unit.size,
        pooled=bool(store.attrs["rotation_invariant"]),
    )
    ceiling = _ceilings(store, ceiling_floor)[order]
    known = _ceilings(store, -np.inf)[order] if "noise_ceiling" in store else None
    in_units = ceiling[: int(counts.sum())]
    return Responses(
        values=_by_target(response, images.order, order),
        images=images,
        layout=layout,
        target_order=order,
        target_coords=targets.coords,
        unit_time=None if targets.time is None else targets.time[kept],
        n_unreliable=n_unreliable,
        reliable=targets.reliable,
        ceiling=ceiling if np.isfinite(in_units).any() else None,
        noise_ceiling=known,
        n_below_floor=int(np.count_nonzero(np.isnan(in_units))),
        attrs=dict(store.attrs),
    )


def read_image_groups(path: Path) -> ImageGroups:
    """Read which images a subject saw, without reading responses.

    Parameters
    ----------
    path
        Response store.

    Returns
    -------
    ImageGroups

    Raises
    ------
    StoreError
        If image ids repeat.
    """
    return _image_groups(path, open_store(path, kind="responses"))


def read_targets(path: Path, min_noise_ceiling: float | None = None) -> TargetUnits:
    """Read which targets a subject has, without reading responses.

    Parameters
    ----------
    path
        Response store.
    min_noise_ceiling
        Targets whose ceiling is lower, or unknown, are not reliable.

    Returns
    -------
    TargetUnits

    Raises
    ------
    EncodingError
        If a region of ``roi_order`` has no target.
    """
    return _target_units(path, open_store(path, kind="responses"), min_noise_ceiling)


def _target_units(path: Path, store: xr.Dataset, min_noise_ceiling: float | None) -> TargetUnits:
    reliable = _reliable_targets(store, min_noise_ceiling)
    if store.attrs["axis"] == TIME:
        return TargetUnits(*_time_units(store), reliable)
    return TargetUnits(*_region_units(path, store), None, reliable)


def _image_groups(path: Path, store: xr.Dataset) -> ImageGroups:
    image_ids = store["image_id"].values.astype(str)
    check_unique(path, image_ids)
    groups = store["group"].values.astype(str)
    order = np.lexsort((image_ids, groups))
    test_images = None
    if "test_image" in store:
        marked = store["test_image"].values.astype(bool)
        # Where all or none are marked there is nothing to set apart.
        test_images = marked[order] if 0 < marked.sum() < len(marked) else None
    repeats = store["n_repeats"].values if "n_repeats" in store else np.ones(len(order))
    return ImageGroups(
        image_ids=image_ids[order],
        groups=groups[order],
        test_images=test_images,
        n_repeats=repeats.astype(np.int64)[order],
        order=order,
        digest=str(store.attrs["digest"]),
        folds=store["fold"].values.astype(np.intp)[order] if "fold" in store else None,
    )


def _by_target(
    response: FLOATS, images: NDArray[np.intp], targets: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Turn (n_images, n_targets) into (n_targets, n_images), both reordered, block by block."""
    values = np.empty((len(targets), len(images)), dtype=np.float32)
    for start in range(0, len(targets), TARGET_BLOCK):
        block = targets[start : start + TARGET_BLOCK]
        values[start : start + TARGET_BLOCK] = response[images[:, None], block].T
    return values


def _time_units(
    store: xr.Dataset,
) -> tuple[list[str], NDArray[np.intp], dict[str, NDArray[Any]], FLOATS]:
    time = store["time"].values.astype(np.float64)
    n_sensors = store.sizes["sensor"]
    coords = {"time": np.repeat(time, n_sensors)}
    for name in SENSOR_COORDINATES[1:]:
        if name in store:
            coords[name] = np.tile(store[name].values, len(time))
    names = [f"{value:.6g}" for value in time]
    return names, np.repeat(np.arange(len(time)), n_sensors), coords, time


def _region_units(
    path: Path, store: xr.Dataset
) -> tuple[list[str], NDArray[np.intp], dict[str, NDArray[Any]]]:
    roi = store["roi"].values.astype(str)
    names = [str(name) for name in store.attrs["roi_order"]]
    absent = sorted(set(names) - set(roi))
    if not names or absent:
        raise EncodingError(
            f"{path}: roi_order = {names}, of which {absent or 'nothing'} has no target; found "
            f"regions {sorted(set(roi))}: correct the response adapter"
        )
    position = {name: index for index, name in enumerate(names)}
    unit = np.array([position.get(name, -1) for name in roi], dtype=np.intp)
    coords = {name: store[name].values for name in TARGET_COORDINATES if name in store}
    return names, unit, coords


def _reliable_targets(store: xr.Dataset, threshold: float | None) -> NDArray[np.bool_]:
    n_targets = int(np.prod(store["response"].shape[1:]))
    if threshold is None or "noise_ceiling" not in store:
        return np.ones(n_targets, dtype=bool)
    return store["noise_ceiling"].values.reshape(-1) >= threshold


def _ceilings(store: xr.Dataset, floor: float) -> FLOATS:
    """Noise ceiling of every target; NaN where it is unknown or below the floor."""
    if "noise_ceiling" not in store:
        return np.full(int(np.prod(store["response"].shape[1:])), np.nan)
    ceiling = store["noise_ceiling"].values.reshape(-1).astype(np.float64)
    return np.where(ceiling >= floor, ceiling, np.nan)


def read_features(
    paths: Sequence[Path],
    layer: str,
    image_ids: NDArray[np.str_],
    responses: Path,
    *,
    paired: bool = True,
) -> LayerFeatures:
    """Read all signals of a layer and the activations of all layers, aligned to the responses.

    Parameters
    ----------
    paths
        Feature stores of all layers of a model, in depth order.
    layer
        The layer whose signals are fitted.
    image_ids
        Shape (n_images,). Images of the responses, in the order that the features take.
    responses
        Response store, named in errors.
    paired
        Whether signals are fitted beside activations as well; without, the activation of the layer
        alone is read.

    Returns
    -------
    LayerFeatures

    Raises
    ------
    EncodingError
        If the layer is not among the stores.
    StoreError
        As for :func:`gradbrain.store.open_layers`; or values are not finite.
    """
    stores = {store.layer: store for store in open_layers(paths, image_ids, responses)}
    if layer not in stores:
        raise EncodingError(
            f"layer {layer!r} is in 0 of the {len(stores)} feature stores, expected in one; they "
            f"hold {', '.join(stores)}"
        )
    own = stores[layer]
    read = stores if paired else {layer: own}
    activations = {name: store.values(store.activation) for name, store in read.items()}
    others = [signal for signal in own.signals if signal != own.activation]
    return LayerFeatures(
        signals={
            own.activation: activations[layer],
            **{signal: own.values(signal) for signal in others},
        },
        activations=activations,
        layers=list(stores),
        attrs=own.attrs,
        paired=paired,
    )


def read_model_features(
    paths: Sequence[Path], image_ids: NDArray[np.str_], responses: Path
) -> ModelFeatures:
    """Open all signals of all layers of a model, aligned to the responses.

    Parameters
    ----------
    paths
        Feature stores of all layers, in depth order.
    image_ids
        Shape (n_images,). Images of the responses, in the order that the features take.
    responses
        Response store, named in errors.

    Returns
    -------
    ModelFeatures

    Raises
    ------
    EncodingError
        As for `read_features`, or if layers hold different signals.
    StoreError
        As for `read_features`.
    """
    stores = {store.layer: store for store in open_layers(paths, image_ids, responses)}
    first, *further = stores.values()
    signals = [signal for signal in first.signals if signal != first.activation]
    for store in further:
        if [signal for signal in store.signals if signal != store.activation] != signals:
            raise EncodingError(
                f"{store.path}: holds the signals "
                f"{', '.join(signal.name for signal in store.signals)}, {first.path} "
                f"{', '.join(signal.name for signal in first.signals)}: give all layers of one "
                "signal set"
            )
    return ModelFeatures(
        layers=list(stores),
        depths=[float(store.attrs["depth"]) for store in stores.values()],
        signals=signals,
        activations={name: store.values(store.activation) for name, store in stores.items()},
        attrs={key: str(first.attrs[key]) for key in SHARED},
        digests={name: str(store.attrs["digest"]) for name, store in stores.items()},
        _stores=stores,
    )


def read_nuisance(
    paths: Sequence[Path],
    bands: Sequence[NuisanceBand],
    features: Features,
    image_ids: NDArray[np.str_],
    responses: Path,
) -> Features:
    """Read the nuisance bands of a study, aligned to the responses.

    Parameters
    ----------
    paths
        A feature store for each band, in their order.
    bands
        ``encoding.nuisance``.
    features
        Of the layer or model that is fitted.
    image_ids
        Shape (n_images,). Images of the responses, in the order that the bands take.
    responses
        Response store, named in errors.

    Returns
    -------
    LayerFeatures or ModelFeatures
        `features` with the bands.

    Raises
    ------
    EncodingError
        If stores are not as many as bands, or one is not that of its band.
    StoreError
        As for `read_features`.
    """
    names = [band.name for band in bands]
    if len(paths) != len(bands):
        raise EncodingError(
            f"encoding.nuisance names {len(bands)} bands ({', '.join(names) or 'none'}), and "
            f"{len(paths)} feature stores were given for them: give --nuisance one store for each, "
            "in their order"
        )
    values, digests = {}, []
    for path, band in zip(paths, bands, strict=True):
        store = open_features(path)
        _check_nuisance(store, band, features.attrs)
        signal = store.activation if band.signal is None else store.signal(band.signal)
        identity = SignalIdentity(band.name, NUISANCE, signal.rule, signal.objective)
        values[identity] = store.of_images(image_ids, responses).values(signal)
        digests.append(str(store.attrs["digest"]))
    return replace(features, nuisance=values, nuisance_digests=digests)


def read_model_and_subject(
    features: Sequence[Path],
    responses: Path,
    settings: EncodingSettings,
    nuisance: Sequence[Path] = (),
) -> tuple[ModelFeatures, Responses]:
    """Read all layers of a model, nuisance bands and the responses of one subject.

    Parameters
    ----------
    features
        Feature stores of all layers of the model, in depth order.
    responses
        Response store of the subject.
    settings
        Ceilings of the targets that are kept, nuisance bands.
    nuisance
        A feature store for each band, in their order.

    Returns
    -------
    ModelFeatures, Responses
        Of the same images in the same order.

    Raises
    ------
    EncodingError
        If stores do not belong together.
    StoreError
        If one lacks an image.
    """
    brain = read_responses(responses, settings.min_noise_ceiling, settings.ceiling_floor)
    model = read_model_features(features, brain.image_ids, responses)
    model = read_nuisance(nuisance, settings.nuisance, model, brain.image_ids, responses)
    return model, brain


def _check_nuisance(store: FeatureStore, band: NuisanceBand, fitted: Mapping[str, Any]) -> None:
    expected = {
        "model": band.model,
        "layer": band.layer,
        "signal_set": band.signal_set or str(fitted["signal_set"]),
        "stimuli": str(fitted["stimuli"]),
    }
    found = {key: str(store.attrs[key]) for key in expected}
    wrong = [
        f"{key} {found[key]!r}, expected {value!r}"
        for key, value in expected.items()
        if found[key] != value
    ]
    if wrong:
        raise EncodingError(
            f"{store.path}: is not the store of the nuisance band {band.name!r} "
            f"(encoding.nuisance): it is of {'; '.join(wrong)}: give --nuisance the stores of "
            "the bands in their order, for the stimuli of these responses"
        )


def _check_finite(path: Path, name: str, values: FLOATS) -> None:
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise EncodingError(
            f"{path}: {name!r} holds {bad} NaN or infinite of {values.size} values, expected none: "
            "mask such targets in the adapter"
        )


def _check_constant(path: Path, values: FLOATS) -> None:
    constant = int(np.count_nonzero(values.max(axis=0) == values.min(axis=0)))
    if constant:
        raise EncodingError(
            f"{path}: {constant} of {values.shape[1]} targets are constant over all images; mask "
            "them in the adapter"
        )
