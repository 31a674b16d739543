"""Gather what the encoding jobs of one model wrote: its score table and its maps."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config import GradbrainError
from gradbrain.encoding.places import is_shared, place_coordinates
from gradbrain.store import open_store, read_table
from gradbrain.store.columns import (
    CEILING_COLUMNS,
    INTERSUBJECT_MEASURES,
    JOINED_SCORE_COLUMNS,
    SCORE_COLUMNS,
    SENSOR_COORDINATES,
    TARGET_COORDINATES,
)

log = logging.getLogger(__name__)

MAP_MEASURES = ("r", "unique_r2")
MAP_COORDINATES = (*TARGET_COORDINATES, *SENSOR_COORDINATES)


class CollectError(GradbrainError):
    """Results of encoding jobs that do not belong together, or of which some are missing."""


def collect_scores(paths: Sequence[Path], ceilings: Sequence[Path] = ()) -> pd.DataFrame:
    """Join the score tables of all layers and subjects of one model.

    Parameters
    ----------
    paths
        Tables that ``fit_encoding`` wrote, one per layer and subject.
    ceilings
        Tables that ``compute_ceilings`` wrote, one per data set whose subjects share images and
        targets.

    Returns
    -------
    pandas.DataFrame
        The columns of ``JOINED_SCORE_COLUMNS``, sorted; ``layer_index`` counts the layers given,
        by depth. ``intersubject_r`` and ``intersubject_r2`` say how well the other subjects
        predict the same subject at the same region or time; NaN where there is no such ceiling.

    Raises
    ------
    CollectError
        Several studies or models are mixed, a job's rows are there twice, or a subject lacks a
        layer that others have.
    """
    if not paths:
        raise CollectError("no score table was given; give those of all layers and subjects")
    wanted = [name for name in SCORE_COLUMNS if name != "layer_index"]
    frame = pd.concat([read_table(path, columns=wanted) for path in paths], ignore_index=True)
    for key in ("study", "model"):
        found = sorted(frame[key].unique())
        if len(found) > 1:
            raise CollectError(f"score tables of several {key}s were given: {found}")
    identity = ["dataset", "subject", "layer", "signal", "measure", "roi", "time"]
    if frame.duplicated(identity).any():
        twice = frame.loc[frame.duplicated(identity), identity].iloc[0].to_dict()
        raise CollectError(f"score tables hold the same score twice: {twice}")
    jobs = frame[["dataset", "subject", "layer"]].drop_duplicates()
    _check_layers(
        {
            (str(dataset), str(subject)): set(own["layer"])
            for (dataset, subject), own in jobs.groupby(["dataset", "subject"])
        }
    )
    depths = frame.groupby("layer")["depth"].first().reset_index()
    order = list(depths.sort_values(["depth", "layer"])["layer"])
    frame["layer_index"] = frame["layer"].map(order.index).astype("int64")
    keys = ["dataset", "subject", "layer_index", "signal", "measure", "roi_rank", "roi", "time"]
    frame = _with_ceilings(frame, [read_table(path, columns=CEILING_COLUMNS) for path in ceilings])
    joined = frame[list(JOINED_SCORE_COLUMNS)]
    return joined.sort_values(keys, kind="stable", ignore_index=True)


def _with_ceilings(scores: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the ceilings between subjects next to the scores of the same subject and unit."""
    unit = ["dataset", "subject", "roi", "time"]
    for name in INTERSUBJECT_MEASURES:
        rows = [table.loc[table["measure"] == name, [*unit, "value"]] for table in tables]
        known = [table for table in rows if len(table)]
        if not known:
            scores = scores.assign(**{name: np.nan})
            continue
        ceiling = pd.concat(known).rename(columns={"value": name})
        scores = scores.merge(ceiling, on=unit, how="left", validate="many_to_one")
    return scores


def _check_layers(layers: dict[tuple[str, str], set[str]]) -> None:
    everything = set().union(*layers.values())
    for (dataset, subject), own in sorted(layers.items()):
        missing = sorted(everything - own)
        if missing:
            raise CollectError(
                f"{dataset}, {subject}: lacks layer(s) {missing}, which other subjects have; fit "
                "them first (snakemake encoding)"
            )


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


def collect_maps(paths: Sequence[Path]) -> xr.Dataset:
    """Average the per-target scores of one model over subjects, per data set.

    Targets that are the same place in all subjects (fsaverage vertices, MNI voxels, sensors at a
    time, regions of rotation-invariant data) are averaged over the subjects who have them; the
    others are kept subject by subject.

    Parameters
    ----------
    paths
        Encoding stores of all layers and subjects.

    Returns
    -------
    xarray.Dataset
        Per data set d ``score_<d>(layer, map_signal, map_measure, target_<d>)``, the mean over
        subjects; ``best_layer_<d>(map_signal, map_measure, target_<d>)``, depth of the layer
        where that mean is highest; ``n_subjects_<d>(target_<d>)``. NaN where a signal has no such
        measure (activations have no unique part).

    Raises
    ------
    CollectError
        Several studies or models are mixed, a job is there twice, or a subject lacks a layer.
    """
    stores = [LayerStore(path, open_store(path, kind="encoding")) for path in paths]
    _check_stores(stores)
    depth_of = {item.layer: float(item.store.attrs["depth"]) for item in stores}
    layers = sorted(depth_of, key=lambda layer: (depth_of[layer], layer))
    roles: dict[str, str] = {}
    for item in stores:
        roles |= item.store.attrs["roles"]
    signals = list(roles)
    by_dataset: dict[str, list[LayerStore]] = defaultdict(list)
    for item in stores:
        by_dataset[item.dataset].append(item)
    depths = np.array([depth_of[layer] for layer in layers])
    variables: dict[str, xr.Variable] = {}
    about: dict[str, dict] = {}
    for dataset in sorted(by_dataset):
        items = by_dataset[dataset]
        variables |= _dataset_maps(dataset, items, layers, depths, signals)
        first = items[0].store.attrs
        about[dataset] = {
            key: first[key]
            for key in ("modality", "space", "rotation_invariant", "onset_source")
            if key in first
        } | {"n_subjects": len({item.subject for item in items})}
    coordinates = [name for name in variables if not name.startswith(("score_", "best_layer_"))]
    maps = xr.Dataset(
        variables,
        coords={
            "layer": ("layer", np.array(layers, dtype=str)),
            "depth": ("layer", depths),
            "map_signal": ("map_signal", np.array(signals, dtype=str)),
            "map_measure": ("map_measure", np.array(MAP_MEASURES, dtype=str)),
        },
        attrs={
            "study": stores[0].store.attrs["study"],
            "model": stores[0].store.attrs["model"],
            "roles": roles,
            "datasets": about,
            "spaces": {dataset: facts.get("space", "") for dataset, facts in about.items()},
        },
    )
    return maps.set_coords(coordinates)


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
    _check_layers(layers)


def _dataset_maps(
    dataset: str,
    items: Sequence[LayerStore],
    layers: Sequence[str],
    depths: np.ndarray,
    signals: Sequence[str],
) -> dict[str, xr.Variable]:
    """Maps and target coordinates of one data set, by the names they have in the store."""
    targets = _targets(items)
    index = pd.MultiIndex.from_frame(targets[_identity(items[0])])
    shape = (len(layers), len(signals), len(MAP_MEASURES), len(targets))
    total, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for item in items:
        places = index.get_indexer(pd.MultiIndex.from_frame(_target_frame(item)[_identity(item)]))
        values = item.store["score"].values
        layer = layers.index(item.layer)
        rows = zip(item.store["signal"].values, item.store["measure"].values, strict=True)
        for row, (signal, measure) in enumerate(rows):
            if signal in signals and measure in MAP_MEASURES:
                cell = (layer, signals.index(signal), MAP_MEASURES.index(measure))
                known = np.isfinite(values[row])
                total[cell][places[known]] += values[row][known]
                count[cell][places[known]] += 1
    score = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    known = np.isfinite(score).all(axis=0)
    best = np.where(known, depths[np.where(known, score, 0.0).argmax(axis=0)], np.nan)
    dim, missing = f"target_{dataset}", {"missing_allowed": True}
    names = ("map_signal", "map_measure", dim)
    maps = {
        f"score_{dataset}": xr.Variable(("layer", *names), score.astype(np.float32), missing),
        f"best_layer_{dataset}": xr.Variable(names, best.astype(np.float32), missing),
        f"n_subjects_{dataset}": xr.Variable((dim,), targets["n_subjects"].to_numpy()),
    }
    for name in (*MAP_COORDINATES, "subject"):
        if name in targets:
            values = targets[name].to_numpy()
            values = values.astype(str) if values.dtype.kind in "OTU" else values
            maps[f"{name}_{dataset}"] = xr.Variable((dim,), values, missing)
    return maps


def _identity(item: LayerStore) -> list[str]:
    """Coordinates that tell whether two targets are the same place."""
    store = item.store
    if store.attrs.get("rotation_invariant", False):
        return ["roi"]
    modality, space = store.attrs["modality"], str(store.attrs.get("space", ""))
    coordinates = {str(name): store[name].values for name in store.coords}
    place = place_coordinates(modality, space, coordinates)
    shared = is_shared(space) or modality == "meg"
    return place if shared else ["subject", *place]


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
