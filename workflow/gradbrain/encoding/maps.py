"""Maps of one model: the scores of its layers per target, averaged over subjects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gradbrain.encoding.collect import CollectError, check_layers
from gradbrain.encoding.places import is_shared, place_coordinates
from gradbrain.store import SignalIdentity, open_store
from gradbrain.vocabulary.artefacts import SENSOR_COORDINATES, TARGET_COORDINATES
from gradbrain.vocabulary.measures import MAPPED
from gradbrain.vocabulary.roles import ROLES, TIME

MEASURES = tuple(measure.name for measure in MAPPED.values())
MAP_COORDINATES = (*TARGET_COORDINATES, *SENSOR_COORDINATES)
# What a group says about its data set.
ABOUT = ("dataset", "modality", "axis", "space", "sensors", "rotation_invariant", "onset_source")
MISSING = {"missing_allowed": True}


@dataclass(frozen=True)
class LayerStore:
    """One encoding store with what names it."""

    path: Path
    store: xr.Dataset

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.store.attrs["dataset"])

    @property
    def subject(self) -> str:
        """Name of the subject."""
        return str(self.store.attrs["subject"])

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return str(self.store.attrs["layer"])

    @property
    def rows(self) -> list[tuple[SignalIdentity, str]]:
        """Signal and measure of every row of scores."""
        labels = ("signal", "role", "rule", "objective", "measure")
        columns = [self.store[name].values.astype(str).tolist() for name in labels]
        return [(SignalIdentity(*who), measure) for *who, measure in zip(*columns, strict=True)]


def collect_maps(paths: Sequence[Path]) -> xr.DataTree:
    """Average the per-target scores of one model over subjects, per data set.

    Targets that are the same place in all subjects (fsaverage vertices, MNI voxels, sensors outside
    the head at a time, regions of rotation-invariant data) are averaged over the subjects who have
    them; the others are kept subject by subject.

    Parameters
    ----------
    paths
        Encoding stores of all layers and subjects.

    Returns
    -------
    xarray.DataTree
        A group per data set with ``score(layer, signal, measure, target)``, the mean over subjects;
        ``best_layer(signal, measure, target)``, depth of the layer where that mean is highest;
        ``n_subjects(target)``. Along time, (time, sensor) stand in the place of target. NaN where a
        signal has no such measure (activations have no unique part), and where nobody has a sensor
        at a time.

    Raises
    ------
    CollectError
        Several studies or models are mixed, a job is there twice, or a subject lacks a layer.
    """
    stores = [LayerStore(path, open_store(path, kind="encoding")) for path in paths]
    _check_stores(stores)
    depth_of = {item.layer: float(item.store.attrs["depth"]) for item in stores}
    layers = sorted(depth_of, key=lambda layer: (depth_of[layer], layer))
    by_dataset: dict[str, list[LayerStore]] = defaultdict(list)
    for item in stores:
        by_dataset[item.dataset].append(item)
    depths = np.array([depth_of[layer] for layer in layers])
    first = stores[0].store.attrs
    root = xr.Dataset(
        coords={"layer": ("layer", np.array(layers, dtype=str)), "depth": ("layer", depths)},
        attrs={key: first[key] for key in ("study", "model")},
    )
    groups = {
        f"/{dataset}": _dataset_maps(by_dataset[dataset], layers, depths)
        for dataset in sorted(by_dataset)
    }
    return xr.DataTree.from_dict({"/": root, **groups})


def _check_stores(stores: Sequence[LayerStore]) -> None:
    if not stores:
        raise CollectError("no encoding store was given; give those of all layers and subjects")
    for key in ("study", "model"):
        found = sorted({item.store.attrs[key] for item in stores})
        if len(found) > 1:
            raise CollectError(f"encoding stores of several {key}s were given: {found}")
    layers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in stores:
        own = layers[item.dataset, item.subject]
        if item.layer in own:
            raise CollectError(
                f"{item.path}: layer {item.layer!r} of {item.dataset}, {item.subject} was "
                "already given by another store"
            )
        own.add(item.layer)
    check_layers(layers)


def _dataset_maps(
    items: Sequence[LayerStore], layers: Sequence[str], depths: NDArray[np.float64]
) -> xr.Dataset:
    """Maps of one data set: the group that holds them."""
    signals = list(
        dict.fromkeys(who for item in items for who, _ in item.rows if who.role in ROLES)
    )
    targets = _targets(items)
    score = _mean_scores(items, layers, signals, targets)
    known = np.isfinite(score).all(axis=0)
    best = np.where(known, depths[np.where(known, score, 0.0).argmax(axis=0)], np.nan)
    place = _Grid.of(targets) if _over_time(items[0]) else _List(targets)
    labels = {
        name: ("signal", np.array([getattr(who, field) for who in signals], dtype=str))
        for name, field in (
            ("signal", "name"),
            ("role", "role"),
            ("rule", "rule"),
            ("objective", "objective"),
        )
    }
    names = ("signal", "measure", *place.dims)
    attrs = items[0].store.attrs
    return xr.Dataset(
        {
            "score": (("layer", *names), place.lay_out(score.astype(np.float32)), MISSING),
            "best_layer": (names, place.lay_out(best.astype(np.float32)), MISSING),
            "n_subjects": (place.dims, place.lay_out(targets["n_subjects"].to_numpy(), fill=0)),
        },
        coords={**labels, "measure": ("measure", np.array(MEASURES, dtype=str)), **place.coords},
        attrs={
            **{key: attrs[key] for key in ABOUT if key in attrs},
            "n_subjects": len({item.subject for item in items}),
        },
    )


def _mean_scores(
    items: Sequence[LayerStore],
    layers: Sequence[str],
    signals: Sequence[SignalIdentity],
    targets: pd.DataFrame,
) -> NDArray[np.float64]:
    """Mean over the subjects who have a target, shape (layer, signal, measure, target)."""
    index = pd.MultiIndex.from_frame(targets[_identity(items[0])])
    shape = (len(layers), len(signals), len(MEASURES), len(targets))
    total, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for item in items:
        places = index.get_indexer(pd.MultiIndex.from_frame(_target_frame(item)[_identity(item)]))
        values = item.store["score"].values
        layer = layers.index(item.layer)
        for row, (signal, measure) in enumerate(item.rows):
            if signal in signals and measure in MEASURES:
                cell = (layer, signals.index(signal), MEASURES.index(measure))
                known = np.isfinite(values[row])
                total[cell][places[known]] += values[row][known]
                count[cell][places[known]] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class _List:
    """Targets side by side."""

    targets: pd.DataFrame
    dims: tuple[str, ...] = ("target",)

    @property
    def coords(self) -> dict[str, Any]:
        """Coordinates along targets."""
        return _coordinates(self.targets, "target")

    def lay_out(self, values: NDArray[Any], fill: float = np.nan) -> NDArray[Any]:
        """Leave (..., target) as it is."""
        return values


@dataclass(frozen=True)
class _Grid:
    """Targets that are sensors at times, laid out as a grid of both.

    Attributes
    ----------
    times
        Shape (n_times,).
    sensors
        A row per sensor, with the subject where subjects have sensors of their own.
    time, sensor
        Shape (n_targets,). Place of every target.
    """

    times: NDArray[np.float64]
    sensors: pd.DataFrame
    time: NDArray[np.intp]
    sensor: NDArray[np.intp]
    dims: tuple[str, ...] = ("time", "sensor")

    @classmethod
    def of(cls, targets: pd.DataFrame) -> _Grid:
        """Find the places of targets, times and sensors sorted."""
        names = [name for name in ("subject", "sensor") if name in targets]
        sensors = targets.drop_duplicates(names).sort_values(names, ignore_index=True)
        times, time = np.unique(targets["time"].to_numpy(), return_inverse=True)
        index = pd.MultiIndex.from_frame(sensors[names])
        sensor = index.get_indexer(pd.MultiIndex.from_frame(targets[names]))
        return cls(times, sensors.drop(columns="time"), time, sensor)

    @property
    def coords(self) -> dict[str, Any]:
        """Coordinates along times and sensors."""
        return {"time": ("time", self.times), **_coordinates(self.sensors, "sensor")}

    def lay_out(self, values: NDArray[Any], fill: float = np.nan) -> NDArray[Any]:
        """Turn (..., target) into (..., time, sensor)."""
        shape = (*values.shape[:-1], len(self.times), len(self.sensors))
        grid = np.full(shape, fill, dtype=values.dtype)
        grid[..., self.time, self.sensor] = values
        return grid


def _coordinates(places: pd.DataFrame, dim: str) -> dict[str, Any]:
    coords = {}
    for name in (*MAP_COORDINATES, "subject"):
        if name in places:
            values = places[name].to_numpy()
            text = values.dtype.kind in "OTU"
            coords[name] = (dim, values.astype(str) if text else values, MISSING)
    return coords


def _over_time(item: LayerStore) -> bool:
    """Whether targets are sensors at times; those of pooled scores are the times themselves."""
    attrs = item.store.attrs
    return attrs["axis"] == TIME and not attrs["rotation_invariant"]


def _identity(item: LayerStore) -> list[str]:
    """Coordinates that tell whether two targets are the same place."""
    store = item.store
    if store.attrs.get("rotation_invariant", False):
        return ["roi"]
    space = str(store.attrs["space"])
    coordinates = {str(name): store[name].values for name in store.coords}
    place = place_coordinates(store.attrs["axis"], space, coordinates)
    return place if is_shared(space) else ["subject", *place]


def _target_frame(item: LayerStore) -> pd.DataFrame:
    """Coordinates of the targets of one store, a row each."""
    store = item.store
    columns = {
        name: store[name].values
        for name in MAP_COORDINATES
        if name in store.coords and store[name].dims == ("target",)
    }
    return pd.DataFrame({"subject": item.subject, **columns}, index=range(store.sizes["target"]))


def _targets(items: Sequence[LayerStore]) -> pd.DataFrame:
    """All targets of a data set, sorted by identity, with the number of subjects who have each."""
    identity = _identity(items[0])
    first = {item.subject: item for item in reversed(items)}
    frames = [_target_frame(first[subject]) for subject in sorted(first)]
    missing = sorted(set(identity) - set(frames[0].columns))
    if missing:
        raise CollectError(
            f"{items[0].path}: its targets have no coordinate {missing}, which tells them apart; "
            f"they have {sorted(frames[0].columns)}"
        )
    for (subject, item), frame in zip(sorted(first.items()), frames, strict=True):
        if frame.duplicated(identity).any():
            raise CollectError(
                f"{item.path}: targets of {subject} share the same {identity}, e.g. "
                f"{frame.loc[frame.duplicated(identity), identity].iloc[0].to_dict()}"
            )
    joined = pd.concat(frames, ignore_index=True)
    counts = joined.groupby(identity, sort=True).size().rename("n_subjects").reset_index()
    whole = joined.drop_duplicates(identity).sort_values(identity, ignore_index=True)
    whole["n_subjects"] = counts["n_subjects"].to_numpy(dtype=np.int64)
    return whole if "subject" in identity else whole.drop(columns="subject")
