"""Tidy scores per region or time, the small table beside every encoding store."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.encoding.measures import ALL_ACTIVATIONS
from gradbrain.store.columns import SCORE_COLUMNS


def tidy_scores(store: xr.Dataset) -> pd.DataFrame:
    """List the scores of every signal, measure and unit, one row each.

    Parameters
    ----------
    store : xarray.Dataset
        Content of an encoding store.

    Returns
    -------
    pandas.DataFrame
        Columns `SCORE_COLUMNS`. ``boot_low`` and ``boot_high`` hold the central 95 % of the
        bootstrap draws, ``null_high`` the 95th percentile of the null draws. The role of all
        layers' activations is ``baseline``. ``band_weight`` is the mean weight of the first band
        over the unit's targets, in the fit that the row is of (1 for a single band);
        ``edge_share`` that of the whole job: the share of targets predicted above zero whose
        penalty lies on the edge of the grid.
    """
    attrs = store.attrs
    signals, measures = store["signal"].values.astype(str), store["measure"].values.astype(str)
    units = store["unit"].values.astype(str)
    n_rows, n_units = len(signals), len(units)
    roles = {**attrs["roles"], ALL_ACTIVATIONS: "baseline"}
    low, high = np.percentile(store["boot"].values, [2.5, 97.5], axis=0)
    by_time = "unit_time" in store
    rank = {str(name): index for index, name in enumerate(attrs["roi_order"])}
    distance = attrs.get("roi_distance", {})
    per_unit = {
        "roi": np.where(by_time, "", units),
        "roi_rank": np.array([-1 if by_time else rank[name] for name in units]),
        "distance_mm": np.array([float(distance.get(name, np.nan)) for name in units]),
        "time": store["unit_time"].values if by_time else np.full(n_units, np.nan),
        "n_targets": np.asarray(attrs["n_unit_targets"]),
    }
    fits = list(store["fit"].values.astype(str))
    fit_of_row = [fits.index(name) for name in store["row_fit"].values.astype(str)]
    table = {
        **{key: attrs[key] for key in SCORE_COLUMNS[:8]},
        "signal": np.repeat(signals, n_units),
        "role": np.repeat([roles[name] for name in signals], n_units),
        "measure": np.repeat(measures, n_units),
        "unit_kind": "time" if by_time else "roi",
        "onset_source": attrs["onset_source"],
        **{name: np.tile(values, n_rows) for name, values in per_unit.items()},
        "value": store["unit_score"].values.ravel(),
        "boot_low": low.ravel(),
        "boot_high": high.ravel(),
        "null_high": np.percentile(store["null"].values, 95, axis=0).ravel(),
        "edge_share": float(attrs["edge_share"]),
        "band_weight": store["unit_band_weight"].values[fit_of_row].ravel(),
    }
    return pd.DataFrame(table, columns=list(SCORE_COLUMNS))
