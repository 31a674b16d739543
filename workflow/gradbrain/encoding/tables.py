"""Tidy scores per region or time, the small table beside every encoding store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gradbrain.store.intervals import ImageSample, score_interval
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import NULL_PERCENTILE
from gradbrain.vocabulary.roles import TIME

# Columns that are the same in all rows of a job, from the attributes of its store.
JOB_COLUMNS = (
    *("study", "dataset", "subject", "modality", "axis", "onset_source"),
    *("model", "layer", "depth", "layer_index"),
)
# Coordinates along the rows of scores.
ROW_COLUMNS = ("signal", "role", "rule", "objective", "measure", "edge_share")


def tidy_scores(store: xr.Dataset) -> pd.DataFrame:
    """List the scores of every signal, measure and unit, one row each.

    Parameters
    ----------
    store
        Content of an encoding store.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``fit_scores``. ``boot_low`` and ``boot_high`` are the 95 % interval
        by the bootstrap draws of images, ``null_high`` the 95th percentile of the null draws.
        The role of all layers' activations is ``baseline``. ``band_weight`` is the mean weight of
        the first band over the unit's targets, in the fit that the row is of (1 for a single band);
        ``edge_share`` that of the signal's fits: the share of targets predicted above zero whose
        penalty lies on the edge of the grid.
    """
    attrs = store.attrs
    n_rows, n_units = store.sizes["score_row"], store.sizes["unit"]
    images = ImageSample(attrs["n_groups"], attrs["settings"]["n_folds"])
    low, high = score_interval(store["unit_score"].values, store["boot"].values, images)
    per_unit = columns_of_units(store)
    table = {
        **{key: attrs[key] for key in JOB_COLUMNS},
        **{name: np.repeat(store[name].values, n_units) for name in ROW_COLUMNS},
        **{name: np.tile(values, n_rows) for name, values in per_unit.items()},
        "value": store["unit_score"].values.ravel(),
        "boot_low": low.ravel(),
        "boot_high": high.ravel(),
        "n_groups": attrs["n_groups"],
        "null_high": np.percentile(store["null"].values, NULL_PERCENTILE, axis=0).ravel(),
        "band_weight": store["unit_band_weight"].values[store["row_fit"].values].ravel(),
    }
    return pd.DataFrame(table, columns=list(columns_of("fit_scores")))


def columns_of_units(store: xr.Dataset) -> dict[str, NDArray[Any]]:
    """What tables say of every unit.

    Parameters
    ----------
    store
        Content of an encoding store.

    Returns
    -------
    dict of str to array of shape (n_units,)
        Column -> values.
    """
    attrs = store.attrs
    units = store["unit"].values.astype(str)
    by_time = attrs["axis"] == TIME
    rank = {str(name): index for index, name in enumerate(attrs["roi_order"])}
    distance = attrs.get("roi_distance", {})
    return {
        "roi": np.where(by_time, "", units),
        "roi_rank": np.array([-1 if by_time else rank[name] for name in units]),
        "distance_mm": np.array([float(distance.get(name, np.nan)) for name in units]),
        "time": store["unit_time"].values if by_time else np.full(len(units), np.nan),
        "n_targets": np.asarray(attrs["n_unit_targets"]),
        "n_masked": np.asarray(attrs["n_unit_masked"]),
    }
