"""Encoding scores of one subject over all layers of a model, read from the encoding stores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.store import open_store

#: Variant of a prediction -> measure of the encoding stores that it is read from.
MEASURES = {"raw": "r", "unique": "unique_r2"}
UNITS = {"raw": "r", "unique": "R2"}
#: Of the activation: what offering it a second time adds to those of all layers.
REWEIGHTING = "reweighting_r2"


@dataclass(frozen=True)
class SubjectScores:
    """Encoding scores of one subject, with layers in the order of their depth.

    Attributes
    ----------
    study, dataset, subject, modality, model
        Whose scores these are.
    layers, depths
        Names and relative depths, shape (layer,).
    roles
        Signal -> ``activation``, ``learning`` or ``control``.
    units
        Names of the regions, low to high, or times as text.
    unit_time
        Shape (unit,): s from image onset; NaN for regions.
    early_rois, high_rois
        Regions contrasted by the high-minus-early statistics.
    coverage
        Part of cortex that was recorded, in words; ``""`` where the data set names none.
    roi_distance
        Region -> mm from V1's centroid; empty where unknown.
    target_roi
        Shape (target,): region of each target; empty for MEG.
    unit_score
        (signal, measure) -> shape (layer, unit): means over the targets of a unit.
    boot, null
        (signal, measure) -> shape (draw, layer, unit): the same on resampled and on permuted
        images, with draws shared by all layers and signals.
    target_score
        (signal, measure) -> shape (layer, target); empty for MEG.
    onset_source
        What told when images came on, where a data set tells it twice.
    """

    study: str
    dataset: str
    subject: str
    modality: str
    model: str
    layers: tuple[str, ...]
    depths: np.ndarray
    roles: dict[str, str]
    units: tuple[str, ...]
    unit_time: np.ndarray
    early_rois: tuple[str, ...]
    high_rois: tuple[str, ...]
    coverage: str
    roi_distance: dict[str, float]
    target_roi: np.ndarray
    unit_score: dict[tuple[str, str], np.ndarray]
    boot: dict[tuple[str, str], np.ndarray]
    null: dict[tuple[str, str], np.ndarray]
    target_score: dict[tuple[str, str], np.ndarray]
    onset_source: str = ""

    def variants(self, signal: str) -> list[str]:
        """Variants that exist for a signal: activations have no unique part."""
        return ["raw"] if self.roles[signal] == "activation" else ["raw", "unique"]

    @property
    def activation(self) -> str:
        """Name of the activation among the signals."""
        return next(signal for signal, role in self.roles.items() if role == "activation")

    @property
    def after_onset(self) -> np.ndarray:
        """Units that enter means: regions all, times those after image onset. Shape (unit,)."""
        return self.unit_time > 0 if self.modality == "meg" else np.ones(len(self.units), bool)


def read_subjects(paths: Sequence[Path]) -> list[SubjectScores]:
    """Read the encoding stores of one model, for any number of data sets and subjects.

    Parameters
    ----------
    paths
        One store per layer and subject.

    Returns
    -------
    list of SubjectScores
        Sorted by data set and subject.

    Raises
    ------
    HierarchyError
        Several studies or models are mixed, a layer is missing for a subject or there twice, or
        the stores of a subject disagree on signals, units or draws.
    """
    if not paths:
        raise HierarchyError("no encoding store was given; give those of all layers and subjects")
    stores: dict[tuple[str, str], list[tuple[Path, xr.Dataset]]] = defaultdict(list)
    for path in paths:
        store = open_store(path, kind="encoding")
        stores[store.attrs["dataset"], store.attrs["subject"]].append((path, store))
    for pairs in stores.values():
        pairs.sort(key=lambda pair: (float(pair[1].attrs["depth"]), pair[1].attrs["layer"]))
    _check_complete(stores)
    return [_read_subject(stores[key]) for key in sorted(stores)]


def _check_complete(stores: dict[tuple[str, str], list[tuple[Path, xr.Dataset]]]) -> None:
    """Refuse mixed models or studies, and subjects whose layers are not those of the others."""
    everything = [store for pairs in stores.values() for _, store in pairs]
    for key in ("study", "model"):
        found = sorted({store.attrs[key] for store in everything})
        if len(found) > 1:
            raise HierarchyError(f"encoding stores of several {key}s were given: {found}")
    layers = {store.attrs["layer"] for store in everything}
    for (dataset, subject), pairs in stores.items():
        own = [store.attrs["layer"] for _, store in pairs]
        if len(set(own)) < len(own):
            twice = sorted({layer for layer in own if own.count(layer) > 1})
            raise HierarchyError(f"{dataset}, {subject}: layer(s) {twice} were given twice")
        missing = sorted(layers - set(own))
        if missing:
            raise HierarchyError(
                f"{dataset}, {subject}: lacks layer(s) {missing} of model "
                f"{pairs[0][1].attrs['model']!r}, which other subjects have; fit them first "
                "(snakemake encoding)"
            )


def _read_subject(pairs: Sequence[tuple[Path, xr.Dataset]]) -> SubjectScores:
    first_path, first = pairs[0]
    attrs = first.attrs
    for path, store in pairs[1:]:
        _check_same_layout(first_path, first, path, store)
    roles = {
        signal: role
        for signal, role in attrs["roles"].items()
        if role in ("activation", "learning", "control")
    }
    if list(roles.values()).count("activation") != 1:
        raise HierarchyError(
            f"{first_path}: its signals have the roles {roles}, expected one activation; add it "
            "to the signal set"
        )
    keys = _wanted_rows(first_path, first, roles)
    rows = list(keys.values())
    unit_score = np.stack([store["unit_score"].values[rows] for _, store in pairs], axis=1)
    boot = np.stack([store["boot"].values[:, rows] for _, store in pairs], axis=2)
    null = np.stack([store["null"].values[:, rows] for _, store in pairs], axis=2)
    meg = attrs["modality"] == "meg"
    target = (
        np.empty((len(rows), len(pairs), 0))
        if meg
        else np.stack([store["score"].values[rows] for _, store in pairs], axis=1)
    )
    units = tuple(map(str, first["unit"].values))
    return SubjectScores(
        **{key: attrs[key] for key in ("study", "dataset", "subject", "modality", "model")},
        layers=tuple(store.attrs["layer"] for _, store in pairs),
        depths=np.array([float(store.attrs["depth"]) for _, store in pairs]),
        roles=roles,
        units=units,
        unit_time=_seconds_from_onset(first) if meg else np.full(len(units), np.nan),
        # A data set that names no poles contrasts the two ends of its order.
        early_rois=tuple(attrs.get("early_rois") or units[:1]),
        high_rois=tuple(attrs.get("high_rois") or units[-1:]),
        coverage=str(attrs.get("coverage", "")),
        roi_distance={} if meg else _distances(attrs),
        target_roi=np.empty(0, dtype=str) if meg else _regions_of_targets(first),
        unit_score={key: unit_score[i].astype(float) for i, key in enumerate(keys)},
        boot={key: boot[:, i].astype(float) for i, key in enumerate(keys)},
        null={key: null[:, i].astype(float) for i, key in enumerate(keys)},
        target_score={key: target[i].astype(float) for i, key in enumerate(keys)},
        onset_source=str(attrs.get("onset_source", "")),
    )


def _seconds_from_onset(store: xr.Dataset) -> np.ndarray:
    return store["unit_time"].values.astype(float) - float(store.attrs.get("onset_s", 0.0))


def _regions_of_targets(store: xr.Dataset) -> np.ndarray:
    """Region of each target; ``""`` for those below the noise ceiling that was asked for."""
    regions = store["roi"].values.astype(str)
    if "reliable" in store:
        regions = np.where(store["reliable"].values.astype(bool), regions, "")
    return regions


def _distances(attrs: dict) -> dict[str, float]:
    found = {roi: float(mm) for roi, mm in (attrs.get("roi_distance") or {}).items()}
    return {roi: mm for roi, mm in found.items() if np.isfinite(mm)}


def _wanted_rows(
    path: Path, store: xr.Dataset, roles: dict[str, str]
) -> dict[tuple[str, str], int]:
    """(signal, measure) -> row of the store, for all that the statistics read."""
    found = {
        (str(signal), str(measure)): row
        for row, (signal, measure) in enumerate(
            zip(store["signal"].values, store["measure"].values, strict=True)
        )
    }
    wanted = [(signal, "r") for signal in roles]
    activation = next(signal for signal, role in roles.items() if role == "activation")
    wanted += [(activation, "r2"), (activation, REWEIGHTING)]
    wanted += [(signal, "unique_r2") for signal, role in roles.items() if role != "activation"]
    missing = [key for key in wanted if key not in found]
    if missing:
        raise HierarchyError(
            f"{path}: lacks the score row(s) {missing}; it has {sorted(found)}. Fit it again: "
            f"rm -r {path} && snakemake {path}"
        )
    # Where responses have noise ceilings.
    wanted += [key for signal in roles if (key := (signal, "r_normalised")) in found]
    return {key: found[key] for key in wanted}


def _check_same_layout(first_path: Path, first: xr.Dataset, path: Path, store: xr.Dataset) -> None:
    for name in ("signal", "measure", "unit"):
        if not np.array_equal(first[name].values, store[name].values):
            raise HierarchyError(
                f"{path}: its {name}s are not those of {first_path}, another layer of the same "
                "subject; fit both with the same signal set and responses"
            )
    for name in ("boot", "null"):
        if first.sizes["draw"] != store.sizes["draw"] or first[name].dims != store[name].dims:
            raise HierarchyError(
                f"{path}: {name} has shape {store[name].shape}, that of {first_path} is "
                f"{first[name].shape}; fit both with the same encoding.n_draws"
            )
    if first["score"].shape != store["score"].shape:
        raise HierarchyError(
            f"{path}: scores {store['score'].shape} (row, target), {first_path} "
            f"{first['score'].shape}; both must come from the same responses"
        )
