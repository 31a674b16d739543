"""Responses of one subject as a labelled data set: assembled, masked and checked in one place.

Small ones are assembled in memory, of regions by :func:`target_responses`, along time by
:func:`sensor_responses`. Those of a hundred thousand targets are made block by block
(:class:`TargetBlocks`) and go straight to their store, masked and checked by the same rules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.errors import DatasetError
from gradbrain.store import ColumnStore
from gradbrain.vocabulary.artefacts import TARGET_COORDINATES
from gradbrain.vocabulary.roles import ROI, TIME, Axis

REQUIRED_ATTRIBUTES = (
    "dataset",
    "subject",
    "modality",
    "axis",
    "sensors",
    "units",
    "space",
    "rotation_invariant",
    "roi_order",
    "early_rois",
    "high_rois",
    "onset_s",
    "n_masked_targets",
    "licence",
    "citation",
    "preprocessing",
)
#: Axis -> dimensions of what is told of each target, such as its noise ceiling.
TARGET_DIMS: Mapping[Axis, tuple[str, ...]] = {ROI: ("target",), TIME: ("time", "sensor")}
#: Axis -> what its stores hold besides the responses.
REQUIRED_VARIABLES: Mapping[Axis, tuple[str, ...]] = {
    ROI: ("image_id", "group", "n_repeats", "noise_ceiling", "roi"),
    TIME: ("image_id", "group", "n_repeats", "noise_ceiling", "time", "sensor"),
}
#: Unit of responses where neither the data set nor its modality says one.
UNKNOWN_UNIT = "arbitrary units"


@dataclass(frozen=True, kw_only=True)
class TargetBlocks:
    """Responses of voxels or vertices that are made block by block, never all at once.

    Attributes
    ----------
    stimuli
        The stimulus table.
    n_repeats
        Shape (n_images,), int. Presentations behind each row.
    targets
        One row per target that is measured, usable or not; columns as for
        :func:`target_responses`.
    noise_ceiling
        Shape (n_targets,). As for :func:`target_responses`.
    attrs
        Attributes; ``n_masked_targets`` is added.
    blocks
        Each of shape (n_images, any number). Float32 responses of the targets in their order,
        repeats averaged; rows in the order of `stimuli`.
    test_image
        Shape (n_images,), bool. As for :func:`target_responses`.
    fold
        Shape (n_images,), int. Outer folds of a study's own; an adapter knows none.
    """

    stimuli: pd.DataFrame
    n_repeats: np.ndarray
    targets: pd.DataFrame
    noise_ceiling: np.ndarray
    attrs: Mapping[str, Any]
    blocks: Iterator[np.ndarray]
    test_image: np.ndarray | None = None
    fold: np.ndarray | None = None


def write_target_blocks(
    path: str | os.PathLike[str],
    source: TargetBlocks,
    *,
    provenance: dict[str, Any] | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> tuple[int, int]:
    """Write responses as their blocks arrive; nothing stays behind where one fails.

    Targets that are constant or not finite are left out and counted.

    Returns
    -------
    n_targets, n_masked
        Targets written, and left out.

    Raises
    ------
    DatasetError
        As for :func:`check_responses`, or blocks are of another number of targets than announced.
    """
    usable = np.zeros(len(source.targets), dtype=bool)
    received = 0
    with ColumnStore(
        path,
        kind="responses",
        name="response",
        dims=("image", "target"),
        n_rows=len(source.stimuli),
        max_columns=len(source.targets),
    ) as store:
        for block in source.blocks:
            keep = _varies(block)
            usable[received : received + len(keep)] = keep
            received += len(keep)
            store.append(block if keep.all() else block[:, keep])
        if received != len(usable):
            raise DatasetError(
                f"responses of {source.attrs.get('subject', '?')!r}: {received} targets were "
                f"read, {len(usable)} are listed"
            )
        rest = _without_response(source, usable)
        check_responses(rest, source.stimuli)
        store.finish(rest, provenance=provenance, made_from=made_from)
    return int(usable.sum()), int((~usable).sum())


def _varies(block: np.ndarray) -> np.ndarray:
    """Targets whose values are finite and not all the same, shape (n_targets,)."""
    # NaN and infinity pass through minimum and maximum; neither needs a copy of the block.
    low, high = block.min(axis=0), block.max(axis=0)
    return np.isfinite(low) & np.isfinite(high) & (low < high)


def _without_response(source: TargetBlocks, usable: np.ndarray) -> xr.Dataset:
    """Everything of a response store but the responses themselves."""
    targets = source.targets[usable]
    ceiling = np.asarray(source.noise_ceiling, dtype=np.float32)[usable]
    dataset = xr.Dataset(
        {"noise_ceiling": ("target", ceiling)},
        coords={
            **image_coordinates(source.stimuli, source.n_repeats, source.test_image, source.fold),
            **{name: ("target", targets[name].to_numpy()) for name in TARGET_COORDINATES},
        },
        attrs={**source.attrs, "n_masked_targets": int((~usable).sum())},
    )
    _allow_missing(dataset)
    return dataset


def target_responses(
    response: np.ndarray,
    targets: pd.DataFrame,
    *,
    stimuli: pd.DataFrame,
    n_repeats: np.ndarray | int,
    noise_ceiling: np.ndarray,
    attrs: Mapping[str, Any],
    test_image: np.ndarray | None = None,
) -> xr.Dataset:
    """Assemble responses of voxels or vertices.

    Parameters
    ----------
    response
        Shape (n_images, n_targets). Repeats averaged; rows in the order of `stimuli`.
    targets
        One row per target: ``roi``, ``hemisphere``, ``x``, ``y``, ``z`` (mm; NaN where the data
        have no positions), ``vertex`` (−1 where there is none).
    stimuli
        The stimulus table.
    n_repeats
        Presentations behind each row.
    noise_ceiling
        Shape (n_targets,). Explainable share of variance of the average; NaN where it cannot be
        estimated.
    attrs
        Attributes; ``n_masked_targets`` is added.
    test_image
        Shape (n_images,), bool. Images of a test set with many repeats, which is scored on its own
        as well.

    Returns
    -------
    Dataset
        Targets that are constant or not finite are left out and counted.
    """
    dataset = xr.Dataset(
        {
            "response": (("image", "target"), np.asarray(response, dtype=np.float32)),
            "noise_ceiling": ("target", np.asarray(noise_ceiling, dtype=np.float32)),
        },
        coords={
            **image_coordinates(stimuli, n_repeats, test_image),
            **{name: ("target", targets[name].to_numpy()) for name in TARGET_COORDINATES},
        },
        attrs=dict(attrs),
    )
    return leave_out_unusable(dataset, "target")


def sensor_responses(
    response: np.ndarray,
    sensors: pd.DataFrame,
    *,
    time: np.ndarray,
    stimuli: pd.DataFrame,
    n_repeats: np.ndarray | int,
    noise_ceiling: np.ndarray,
    attrs: Mapping[str, Any],
    test_image: np.ndarray | None = None,
) -> xr.Dataset:
    """Assemble responses of sensors over time.

    Parameters
    ----------
    response
        Shape (n_images, n_times, n_sensors). Repeats averaged; rows in the order of `stimuli`.
    sensors
        ``sensor`` (name) and, where they have a place in a flat layout, ``sensor_x``,
        ``sensor_y``; NaN for sensors without one.
    time
        Shape (n_times,). Seconds from image onset.
    stimuli, n_repeats, attrs, test_image
        As for :func:`target_responses`.
    noise_ceiling
        Shape (n_times, n_sensors). As for :func:`target_responses`.

    Returns
    -------
    Dataset
        Sensors that are constant or not finite at any time are left out and counted.
    """
    dataset = xr.Dataset(
        {
            "response": (("image", "time", "sensor"), np.asarray(response, dtype=np.float32)),
            "noise_ceiling": (("time", "sensor"), np.asarray(noise_ceiling, dtype=np.float32)),
        },
        coords={
            **image_coordinates(stimuli, n_repeats, test_image),
            "time": ("time", np.asarray(time, dtype=np.float64)),
            "sensor": ("sensor", sensors["sensor"].to_numpy(dtype=np.str_)),
            **{
                name: ("sensor", sensors[name].to_numpy())
                for name in ("sensor_x", "sensor_y")
                if name in sensors.columns
            },
        },
        attrs=dict(attrs),
    )
    return leave_out_unusable(dataset, "sensor")


def describe(
    entry: DatasetEntry,
    subject: str,
    *,
    space: str,
    preprocessing: str,
    units: str | None = None,
    rotation_invariant: bool = False,
    roi_order: Sequence[str] = (),
    early_rois: Sequence[str] = (),
    high_rois: Sequence[str] = (),
    onset_s: float = 0.0,
) -> dict[str, Any]:
    """Make the attributes that every response store carries.

    Parameters
    ----------
    entry
        Entry of the data set; what kind of measurement it is stands in its modality.
    subject
        Participant.
    space
        Space that the targets live in.
    preprocessing
        What was done to the responses, in words.
    units
        Unit of the responses; None: that of the modality.
    rotation_invariant
        Whether only results may be drawn that a rotation of the targets leaves as they are.
    roi_order, early_rois, high_rois
        Regions from low to high, and the two poles.
    onset_s
        Image onset on the time axis.

    Raises
    ------
    DatasetError
        The data set holds images only.
    """
    modality = entry.modality
    if modality is None:
        raise DatasetError(
            f"data set {entry.name!r}: modality is 'none': it holds images only; name the modality "
            "of its responses in datasets.yaml"
        )
    return {
        "dataset": entry.name,
        "subject": subject,
        "modality": modality.name,
        "axis": modality.axis,
        "sensors": modality.sensors,
        "units": units or modality.unit or UNKNOWN_UNIT,
        "space": space,
        "rotation_invariant": rotation_invariant,
        "roi_order": list(roi_order),
        "early_rois": list(early_rois),
        "high_rois": list(high_rois),
        "onset_s": onset_s,
        "licence": entry.licence,
        "citation": entry.citation,
        "preprocessing": preprocessing,
    }


def region_distances(targets: pd.DataFrame, reference: str) -> dict[str, float]:
    """Measure how far each region lies from a reference region.

    Euclidean distance between centroids within a hemisphere, averaged over the hemispheres in
    which both regions have targets (Raugel et al. 2025).

    Parameters
    ----------
    targets
        ``roi``, ``hemisphere``, ``x``, ``y``, ``z`` (mm).
    reference
        Region to measure from, V1.

    Returns
    -------
    dict
        Region -> distance in mm; targets outside any region (``""``) are left out.

    Raises
    ------
    DatasetError
        The reference region has no targets, or shares no hemisphere with a region.
    """
    named = targets[targets["roi"] != ""]
    centroids = named.groupby(["hemisphere", "roi"], sort=False)[["x", "y", "z"]].mean()
    origin = centroids[centroids.index.get_level_values("roi") == reference].droplevel("roi")
    if origin.empty:
        raise DatasetError(f"distances: the reference region {reference!r} has no targets")
    distances = {}
    for roi in named["roi"].unique():
        own = centroids[centroids.index.get_level_values("roi") == roi].droplevel("roi")
        shared = own.index.intersection(origin.index)
        if shared.empty:
            raise DatasetError(f"distances: {roi!r} and {reference!r} have no hemisphere in common")
        offsets = own.loc[shared].to_numpy() - origin.loc[shared].to_numpy()
        distances[str(roi)] = float(np.linalg.norm(offsets, axis=1).mean())
    return distances


def check_responses(dataset: xr.Dataset, stimuli: pd.DataFrame) -> None:
    """Refuse responses that break the contract.

    Where the responses themselves are streamed to their store, `dataset` is all the rest of it;
    the store refuses values that are not finite.

    Raises
    ------
    DatasetError
        An attribute or variable is missing, responses lie along another axis than their modality,
        rows are not the stimuli, a value is not finite, a region is named that has no targets, or
        no target is left.
    """
    where = f"responses of {dataset.attrs.get('subject', '?')!r}"
    missing = [name for name in REQUIRED_ATTRIBUTES if name not in dataset.attrs]
    if missing:
        raise DatasetError(f"{where}: lack the attribute(s) {', '.join(missing)}")
    _check_layout(dataset, where)
    if list(dataset["image_id"].values) != list(stimuli["image_id"]):
        raise DatasetError(
            f"{where}: {dataset.sizes['image']} rows do not match the {len(stimuli)} images of "
            "the stimulus table, in order; make the stimulus table again"
        )
    if "response" in dataset:
        bad = int(dataset["response"].size - np.isfinite(dataset["response"].values).sum())
        if bad:
            raise DatasetError(f"{where}: {bad} values are not finite")
    if not dataset["noise_ceiling"].size:
        raise DatasetError(
            f"{where}: no target is left, {dataset.attrs['n_masked_targets']} were constant or "
            "not finite; check the source files"
        )
    named = [*dataset.attrs["roi_order"], *dataset.attrs["early_rois"], *dataset.attrs["high_rois"]]
    shared = sorted(set(dataset.attrs["early_rois"]) & set(dataset.attrs["high_rois"]))
    if shared:
        raise DatasetError(
            f"{where}: early_rois and high_rois both name {', '.join(shared)}; a region belongs to "
            "one of them or to neither"
        )
    absent = sorted(set(named) - set(map(str, dataset["roi"].values))) if named else []
    if absent:
        raise DatasetError(f"{where}: no target lies in the region(s) {', '.join(absent)}")


def _check_layout(dataset: xr.Dataset, where: str) -> None:
    axis = dataset.attrs["axis"]
    missing = [name for name in REQUIRED_VARIABLES.get(axis, ()) if name not in dataset.variables]
    if "noise_ceiling" not in dataset.variables:
        raise DatasetError(
            f"{where}: lack the variable noise_ceiling; give NaN where it cannot be estimated"
        )
    found = dataset["noise_ceiling"].dims
    if found != TARGET_DIMS.get(axis):
        raise DatasetError(
            f"{where}: are laid out by ({', '.join(map(str, found))}), but the modality "
            f"{dataset.attrs['modality']!r} has the axis {axis!r}, which is "
            + " or ".join(f"{name!r}: ({', '.join(dims)})" for name, dims in TARGET_DIMS.items())
            + "; correct `modality` in datasets.yaml"
        )
    if missing:
        raise DatasetError(
            f"{where}: lack the variable(s) {', '.join(missing)}; target_responses and "
            "sensor_responses of gradbrain.datasets.responses write all that is needed"
        )


def image_coordinates(
    stimuli: pd.DataFrame,
    n_repeats: np.ndarray | int,
    test_image: np.ndarray | None,
    fold: np.ndarray | None = None,
) -> dict[str, Any]:
    """Coordinates along ``image`` of a response store.

    Parameters
    ----------
    stimuli
        The stimulus table.
    n_repeats
        Presentations behind each row.
    test_image
        Shape (n_images,), bool. Images of a test set.
    fold
        Shape (n_images,), int. Outer folds of the study's own; -1: trained on, never held out.
    """
    marked = {} if test_image is None else {"test_image": ("image", np.asarray(test_image, bool))}
    if fold is not None:
        marked["fold"] = ("image", np.asarray(fold, dtype=np.int64))
    return {
        **marked,
        "image_id": ("image", stimuli["image_id"].to_numpy(dtype=np.str_)),
        "group": ("image", stimuli["group"].to_numpy(dtype=np.str_)),
        "n_repeats": ("image", np.broadcast_to(n_repeats, len(stimuli)).astype(np.int64)),
    }


def leave_out_unusable(dataset: xr.Dataset, dimension: str) -> xr.Dataset:
    """Leave out and count targets that are constant over images or hold NaN.

    Parameters
    ----------
    dataset
        With ``response``, whose last dimension is `dimension`.
    dimension
        ``target`` or ``sensor``.

    Returns
    -------
    Dataset
        With the attribute ``n_masked_targets``.
    """
    values = np.moveaxis(dataset["response"].values, -1, 0)
    # NaN differs from itself: a target that holds one is caught by the second test.
    constant = (values == values[:, :1]).all(axis=1)
    unusable = constant.reshape(len(values), -1).any(axis=1)
    unusable |= ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if unusable.any():
        dataset = dataset.isel({dimension: np.flatnonzero(~unusable)})
    dataset.attrs["n_masked_targets"] = int(unusable.sum())
    _allow_missing(dataset)
    return dataset


def _allow_missing(dataset: xr.Dataset) -> None:
    """Say where NaN means unknown."""
    for name in ("x", "y", "z", "sensor_x", "sensor_y", "noise_ceiling"):
        if name in dataset.variables and bool(np.isnan(dataset[name].values).any()):
            dataset[name].attrs["missing_allowed"] = True
