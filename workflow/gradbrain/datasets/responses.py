"""Responses of one subject as a labelled data set: assembled, masked and checked in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.errors import DatasetError

TARGET_COORDINATES = ("roi", "hemisphere", "x", "y", "z", "vertex")
REQUIRED_ATTRIBUTES = (
    "dataset",
    "subject",
    "modality",
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


def fmri_responses(
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
    response : ndarray, shape (n_images, n_targets)
        Repeats averaged; rows in the order of `stimuli`.
    targets : DataFrame
        One row per target: ``roi``, ``hemisphere``, ``x``, ``y``, ``z`` (mm; NaN where the data
        have no positions), ``vertex`` (−1 where there is none).
    stimuli : DataFrame
        The stimulus table.
    n_repeats
        Presentations behind each row.
    noise_ceiling : ndarray, shape (n_targets,)
        Explainable share of variance of the average; NaN where it cannot be estimated.
    attrs
        Attributes; ``n_masked_targets`` is added.
    test_image : ndarray of bool, shape (n_images,), optional
        Images of a test set with many repeats, which is scored on its own as well.

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
            **_image_coordinates(stimuli, n_repeats, test_image),
            **{name: ("target", targets[name].to_numpy()) for name in TARGET_COORDINATES},
        },
        attrs=dict(attrs),
    )
    return _finish(dataset, "target")


def meg_responses(
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
    response : ndarray, shape (n_images, n_times, n_sensors)
        Repeats averaged; rows in the order of `stimuli`.
    sensors : DataFrame
        ``sensor`` (name), ``sensor_x``, ``sensor_y`` (flat layout).
    time : ndarray, shape (n_times,)
        Seconds from image onset.
    stimuli, n_repeats, attrs, test_image
        As for :func:`fmri_responses`.
    noise_ceiling : ndarray, shape (n_times, n_sensors)
        As for :func:`fmri_responses`.

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
            **_image_coordinates(stimuli, n_repeats, test_image),
            "time": ("time", np.asarray(time, dtype=np.float64)),
            "sensor": ("sensor", sensors["sensor"].to_numpy(dtype=np.str_)),
            "sensor_x": ("sensor", sensors["sensor_x"].to_numpy()),
            "sensor_y": ("sensor", sensors["sensor_y"].to_numpy()),
        },
        attrs=dict(attrs),
    )
    return _finish(dataset, "sensor")


def describe(
    entry: DatasetEntry,
    subject: str,
    *,
    units: str,
    space: str,
    preprocessing: str,
    rotation_invariant: bool = False,
    roi_order: Sequence[str] = (),
    early_rois: Sequence[str] = (),
    high_rois: Sequence[str] = (),
    onset_s: float = 0.0,
) -> dict[str, Any]:
    """Make the attributes that every response store carries."""
    return {
        "dataset": entry.name,
        "subject": subject,
        "modality": entry.modality,
        "units": units,
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
    targets : DataFrame
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

    Raises
    ------
    DatasetError
        An attribute is missing, rows are not the stimuli, a value is not finite, a region is
        named that has no targets, or no target is left.
    """
    where = f"responses of {dataset.attrs.get('subject', '?')!r}"
    missing = [name for name in REQUIRED_ATTRIBUTES if name not in dataset.attrs]
    if missing:
        raise DatasetError(f"{where}: lack the attribute(s) {', '.join(missing)}")
    if list(dataset["image_id"].values) != list(stimuli["image_id"]):
        raise DatasetError(
            f"{where}: {dataset.sizes['image']} rows do not match the {len(stimuli)} images of "
            "the stimulus table, in order; make the stimulus table again"
        )
    bad = int(dataset["response"].size - np.isfinite(dataset["response"].values).sum())
    if bad:
        raise DatasetError(f"{where}: {bad} values are not finite")
    if not dataset["response"].size:
        raise DatasetError(
            f"{where}: no target is left, {dataset.attrs['n_masked_targets']} were constant or "
            "not finite; check the source files"
        )
    named = [*dataset.attrs["roi_order"], *dataset.attrs["early_rois"], *dataset.attrs["high_rois"]]
    absent = sorted(set(named) - set(map(str, dataset["roi"].values))) if named else []
    if absent:
        raise DatasetError(f"{where}: no target lies in the region(s) {', '.join(absent)}")


def _image_coordinates(
    stimuli: pd.DataFrame, n_repeats: np.ndarray | int, test_image: np.ndarray | None
) -> dict[str, Any]:
    marked = {} if test_image is None else {"test_image": ("image", np.asarray(test_image, bool))}
    return {
        **marked,
        "image_id": ("image", stimuli["image_id"].to_numpy(dtype=np.str_)),
        "group": ("image", stimuli["group"].to_numpy(dtype=np.str_)),
        "n_repeats": ("image", np.broadcast_to(n_repeats, len(stimuli)).astype(np.int64)),
    }


def _finish(dataset: xr.Dataset, dimension: str) -> xr.Dataset:
    """Leave out and count targets that are constant over images or hold NaN."""
    values = np.moveaxis(dataset["response"].values, -1, 0)
    # NaN differs from itself: a target that holds one is caught by the second test.
    constant = (values == values[:, :1]).all(axis=1)
    unusable = constant.reshape(len(values), -1).any(axis=1)
    unusable |= ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    usable = np.flatnonzero(~unusable)
    dataset = dataset.isel({dimension: usable})
    dataset.attrs["n_masked_targets"] = int(unusable.sum())
    for name in ("x", "y", "z", "noise_ceiling"):
        if name in dataset.variables and bool(np.isnan(dataset[name].values).any()):
            dataset[name].attrs["missing_allowed"] = True
    return dataset
