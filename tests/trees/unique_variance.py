"""Stores of unique variance beside synthetic encoding stores, with the same truth and draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from gradbrain.store import open_store, write_store
from gradbrain.vocabulary.roles import BASELINE, LEARNING, NUISANCE, TIME

#: What estimates become where all variance is a signal's: by scaled and by flat plants.
HELD = {"scaled": 1.0, "flat": 0.5}
CROSS_VARIANCE, DOSE_VARIANCE = 1e-6, 1e-4
EXPLAINABLE, EXPLAINED = 0.4, 0.3


def write_unique(
    fits: Sequence[Path], suffix: str = ".unique", explainable: float = EXPLAINABLE, **attrs
) -> list[Path]:
    """Write a store of unique variance for each subject of some encoding stores.

    Estimates and null draws are those of the rows ``unique_r2`` of the fits, so that both are of
    one truth.

    Parameters
    ----------
    fits
        Encoding stores, of any number of data sets and subjects.
    suffix
        Of the folder beside the first fit of a subject.
    explainable
        Noise ceiling of every unit; NaN for responses that have none.
    **attrs
        Attributes that are to be other than those of the fits.

    Returns
    -------
    list of Path
        One per subject.
    """
    of_subject = defaultdict(list)
    for path in fits:
        store = open_store(path, kind="encoding").load()
        of_subject[store.attrs["dataset"], store.attrs["subject"]].append((path, store))
    paths = []
    for pairs in of_subject.values():
        pairs.sort(key=lambda pair: float(pair[1].attrs["depth"]))
        first = pairs[0][0]
        paths.append(first.with_name(f"{first.stem}{suffix}.zarr"))
        content = unique_content([store for _, store in pairs], explainable)
        write_store(paths[-1], content.assign_attrs(attrs), kind="unique")
    return paths


def unique_content(fits: Sequence[xr.Dataset], explainable: float = EXPLAINABLE) -> xr.Dataset:
    """Content of the store of one subject, beside the fits of all its layers."""
    first = fits[0]
    is_unique = (first["measure"].values == "unique_r2") & ~np.isin(
        first["role"].values, [BASELINE, NUISANCE]
    )
    rows = np.flatnonzero(is_unique)
    identity = {
        name: first[name].values[rows].astype(str)
        for name in ("signal", "role", "rule", "objective")
    }
    component = np.stack([fit["unit_score"].values[rows] for fit in fits])
    null = np.stack([fit["null"].values[:, rows] for fit in fits], axis=1)
    learning = (identity["role"] == LEARNING)[None, None, :, None]

    def moment(values: Sequence[float]) -> tuple:
        per_kernel = np.reshape(values, (-1, 1, 1, 1)) * np.ones((1, *component.shape))
        of_learning = np.where(learning, per_kernel, np.nan)
        return ("kernel", "layer", "signal", "unit"), of_learning, {"missing_allowed": True}

    n_units = component.shape[-1]
    coords = {
        "layer": [fit.attrs["layer"] for fit in fits],
        "depth": ("layer", [float(fit.attrs["depth"]) for fit in fits]),
        "signal": identity["signal"],
        **{name: ("signal", identity[name]) for name in ("role", "rule", "objective")},
        "kernel": list(HELD),
        "unit": ("unit", first["unit"].values.astype(str)),
    }
    if first.attrs["axis"] == TIME:
        coords["unit_time"] = ("unit", first["unit_time"].values)
    shared = ("study", "dataset", "subject", "modality", "axis", "model", "signal_set", "stimuli")
    return xr.Dataset(
        {
            "component": (("layer", "signal", "unit"), component),
            "null": (("draw", "layer", "signal", "unit"), null),
            "held": moment(list(HELD.values())),
            "cross_variance": moment([CROSS_VARIANCE] * 2),
            "dose_variance": moment([DOSE_VARIANCE] * 2),
            "new_share": (("layer", "signal"), np.full(component.shape[:2], 0.5)),
            "explained": ("unit", np.full(n_units, EXPLAINED)),
            "explainable": ("unit", np.full(n_units, explainable), {"missing_allowed": True}),
        },
        coords=coords,
        attrs={
            **{key: first.attrs[key] for key in shared},
            "n_images": 100,
            "n_unit_targets": [1] * n_units,
            "settings": {},
            "features_digests": {fit.attrs["layer"]: fit.attrs["features_digest"] for fit in fits},
            "nuisance_digests": [],
            "responses_digest": first.attrs["responses_digest"],
        },
    )
