"""Features and responses of one fit, read from their stores, checked and brought into line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.scores import UnitLayout
from gradbrain.store import open_store

logger = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
TARGET_COORDINATES = ("roi", "hemisphere", "x", "y", "z", "vertex")


@dataclass(frozen=True)
class LayerFeatures:
    """Signals of one layer, and the activations of every layer of its model.

    Attributes
    ----------
    signals : dict of str to array of shape (n_images, n_features)
        The activation first, then the others in the order of the signal set.
    activation : str
        Name of the activation among them.
    activations : list of arrays of shape (n_images, n_features_of_layer)
        Activations of all layers, in depth order.
    layer_index : int
        Position of the layer among them.
    attrs : dict
        Attributes of the layer's store.
    """

    signals: dict[str, FLOATS]
    activation: str
    activations: list[FLOATS]
    layer_index: int
    attrs: dict[str, Any]

    @property
    def others(self) -> list[str]:
        """Signals other than the activation."""
        return [name for name in self.signals if name != self.activation]

    @property
    def other_activations(self) -> list[FLOATS]:
        """Activations of the other layers, in depth order."""
        return [
            values for index, values in enumerate(self.activations) if index != self.layer_index
        ]


@dataclass(frozen=True)
class Responses:
    """Responses of one subject, targets of a unit side by side.

    Attributes
    ----------
    values : array of shape (n_targets, n_images)
        Images ordered by group, then by id, so that nothing depends on their order in the store.
    image_ids, groups : arrays of shape (n_images,), str
    layout : UnitLayout
    target_order : array of shape (n_targets,)
        Position in the store of every row of `values`.
    target_coords : dict of str to array of shape (n_targets,)
        Coordinates of targets, in the order of the store.
    unit_time : array of shape (n_units,) or None
        Seconds from image onset; None for fMRI.
    n_unreliable : int
        Targets below the noise ceiling that was asked for; they belong to no unit.
    reliable : array of shape (n_targets,), bool
        Targets that are not, in the order of the store.
    ceiling : array of shape (n_targets,) or None
        Noise ceilings in the order of `values`, NaN where unknown or below the floor of
        normalisation; None where no target of a unit has one.
    n_below_floor : int
        Targets of units whose ceiling is unknown or below that floor.
    attrs : dict
        Attributes of the response store.
    """

    values: FLOATS
    image_ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    layout: UnitLayout
    target_order: NDArray[np.intp]
    target_coords: dict[str, NDArray[Any]]
    unit_time: FLOATS | None
    n_unreliable: int
    reliable: NDArray[np.bool_]
    ceiling: FLOATS | None
    n_below_floor: int
    attrs: dict[str, Any]

    @property
    def rotation_invariant(self) -> bool:
        """Whether only rotation-invariant results may be drawn."""
        return bool(self.attrs["rotation_invariant"])


def read_responses(
    path: Path, min_noise_ceiling: float | None = None, ceiling_floor: float = 0.1
) -> Responses:
    """Read the responses of a subject and lay their targets out by unit.

    Units are the regions of ``roi_order`` (fMRI) or the times (MEG).

    Parameters
    ----------
    path : Path
    min_noise_ceiling : float, optional
        Targets whose ceiling is lower, or unknown, belong to no unit.
    ceiling_floor : float
        Targets whose ceiling is lower, or unknown, have no part in normalised scores.

    Returns
    -------
    Responses

    Raises
    ------
    EncodingError
        If values are not finite, a target is constant, image ids repeat or no target is left.
    """
    store = open_store(path, kind="responses")
    image_ids = store["image_id"].values.astype(str)
    _check_unique(path, image_ids)
    groups = store["group"].values.astype(str)
    response = store["response"]
    _check_finite(path, "response", response.values)
    if store.attrs["modality"] == "meg":
        names, unit, coords, unit_time = _time_units(store)
    else:
        names, unit, coords = _region_units(path, store)
        unit_time = None
    images = np.lexsort((image_ids, groups))
    values = response.values.reshape(len(image_ids), -1)
    _check_constant(path, values)
    reliable = _reliable_targets(store, min_noise_ceiling)
    n_unreliable = int(np.count_nonzero(~reliable & (unit >= 0)))
    unit = np.where(reliable, unit, -1)
    counts = np.bincount(unit[unit >= 0], minlength=len(names))
    if not counts.any():
        raise EncodingError(
            f"{path}: none of its {unit.size} targets belongs to a unit: {n_unreliable} have a "
            f"noise ceiling below encoding.min_noise_ceiling = {min_noise_ceiling} or none, the "
            f"others lie outside roi_order = {store.attrs.get('roi_order')}"
        )
    if (counts == 0).any():
        empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
        logger.warning("%s: no reliable target is left in %s", path, ", ".join(empty))
    kept = np.flatnonzero(counts)
    order = np.argsort(np.where(unit < 0, len(names), unit), kind="stable")
    layout = UnitLayout(
        names=tuple(names[index] for index in kept),
        stops=np.cumsum(counts[kept]),
        n_targets=unit.size,
        pooled=bool(store.attrs["rotation_invariant"]),
    )
    ceiling = _ceilings(store, ceiling_floor)[order]
    in_units = ceiling[: int(counts.sum())]
    return Responses(
        values=np.ascontiguousarray(values[images].T[order], dtype=np.float64),
        image_ids=image_ids[images],
        groups=groups[images],
        layout=layout,
        target_order=order,
        target_coords=coords,
        unit_time=None if unit_time is None else unit_time[kept],
        n_unreliable=n_unreliable,
        reliable=reliable,
        ceiling=ceiling if np.isfinite(in_units).any() else None,
        n_below_floor=int(np.count_nonzero(np.isnan(in_units))),
        attrs=dict(store.attrs),
    )


def _time_units(
    store: xr.Dataset,
) -> tuple[list[str], NDArray[np.intp], dict[str, NDArray[Any]], FLOATS]:
    time = store["time"].values.astype(np.float64)
    n_sensors = store.sizes["sensor"]
    coords = {"time": np.repeat(time, n_sensors)}
    for name in ("sensor", "sensor_x", "sensor_y"):
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
    paths: Sequence[Path], layer: str, image_ids: NDArray[np.str_], responses: Path
) -> LayerFeatures:
    """Read all signals of a layer and the activations of all layers, aligned to the responses.

    Parameters
    ----------
    paths : sequence of Path
        Feature stores of all layers of a model, in depth order.
    layer : str
        The layer whose signals are fitted.
    image_ids : array of shape (n_images,)
        Images of the responses, in the order that the features take.
    responses : Path
        Response store, named in errors.

    Returns
    -------
    LayerFeatures

    Raises
    ------
    EncodingError
        If the layer is not among the stores or there twice, stores are of different models, an
        image is missing, ids repeat or values are not finite.
    """
    stores = [open_store(path, kind="features") for path in paths]
    layers = [str(store.attrs["layer"]) for store in stores]
    if layers.count(layer) != 1:
        raise EncodingError(
            f"layer {layer!r} is in {layers.count(layer)} of the {len(layers)} feature stores, "
            f"expected in one; they hold {layers}"
        )
    for key in ("model", "signal_set", "stimuli"):
        found = sorted({str(store.attrs[key]) for store in stores})
        if len(found) > 1:
            raise EncodingError(
                f"feature stores of different {key}s were given ({', '.join(found)}): give all "
                "layers of one model, one signal set and one stimulus set"
            )
    index = layers.index(layer)
    activations = []
    signals: dict[str, FLOATS] = {}
    for number, (path, store) in enumerate(zip(paths, stores, strict=True)):
        rows = _align(path, store["image_id"].values.astype(str), image_ids, responses)
        activation = _activation_name(path, store)
        names = [activation]
        if number == index:
            names += [name for name in store.attrs["roles"] if name != activation]
        for name in names:
            values = _signal(path, store, name)[rows]
            if number == index:
                signals[name] = values
            if name == activation:
                activations.append(values)
    return LayerFeatures(
        signals=signals,
        activation=next(iter(signals)),
        activations=activations,
        layer_index=index,
        attrs=dict(stores[index].attrs),
    )


def _activation_name(path: Path, store: xr.Dataset) -> str:
    names = [name for name, role in store.attrs["roles"].items() if role == "activation"]
    if len(names) != 1:
        raise EncodingError(
            f"{path}: {len(names)} signals have the role 'activation' ({', '.join(names)}), "
            f"expected one; roles are {dict(store.attrs['roles'])}: correct the signal set"
        )
    return str(names[0])


def _signal(path: Path, store: xr.Dataset, name: str) -> FLOATS:
    if name not in store:
        raise EncodingError(
            f"{path}: its roles name the signal {name!r}, which it does not hold: extract it again"
        )
    values = store[name].values
    if values.ndim != 2 or values.shape[1] == 0:
        raise EncodingError(
            f"{path}: signal {name!r} has shape {values.shape}, expected (image, feature) with at "
            "least one feature: extract it again"
        )
    _check_finite(path, name, values)
    return values


def _align(
    path: Path, available: NDArray[np.str_], wanted: NDArray[np.str_], responses: Path
) -> NDArray[np.intp]:
    """Row of every wanted image."""
    _check_unique(path, available)
    order = np.argsort(available)
    places = np.searchsorted(available, wanted, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    missing = wanted[available[rows] != wanted]
    if missing.size:
        raise EncodingError(
            f"{path} lacks {missing.size} of the {wanted.size} images of {responses}, first "
            f"{', '.join(missing[:5])}: extract features for the stimulus set of these responses"
        )
    return rows


def _check_unique(path: Path, image_ids: NDArray[np.str_]) -> None:
    names, counts = np.unique(image_ids, return_counts=True)
    repeated = names[counts > 1]
    if repeated.size:
        raise EncodingError(
            f"{path}: {repeated.size} image ids occur more than once, first "
            f"{', '.join(repeated[:5])}; expected one row per distinct image: average repeats first"
        )


def _check_finite(path: Path, name: str, values: FLOATS) -> None:
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise EncodingError(
            f"{path}: {name!r} holds {bad} NaN or infinite of {values.size} values, expected none: "
            "mask such targets in the adapter, or extract the signal again"
        )


def _check_constant(path: Path, values: FLOATS) -> None:
    constant = int(np.count_nonzero((values == values[:1]).all(axis=0)))
    if constant:
        raise EncodingError(
            f"{path}: {constant} of {values.shape[1]} targets are constant over all images; mask "
            "them in the adapter"
        )
