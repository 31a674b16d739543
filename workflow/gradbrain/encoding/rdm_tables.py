"""Tidy scores of dissimilarities per region or time, with the ceilings of subjects beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.encoding.tables import JOB_COLUMNS, columns_of_units
from gradbrain.store.intervals import ImageSample, score_interval
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import NULL_PERCENTILE

CEILINGS = ["ceiling_low", "ceiling_high"]
UNIT = ["dataset", "subject", "roi", "time"]


def tidy_rdms(store: xr.Dataset) -> pd.DataFrame:
    """List the scores of dissimilarities of a fit, one row per signal, measure and unit.

    Parameters
    ----------
    store
        Content of an encoding store that holds them.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``prediction_rsa`` but for the ceilings.
    """
    attrs = store.attrs
    n_rows, n_units = store.sizes["rdm_row"], store.sizes["unit"]
    images = ImageSample(attrs["n_rdm_groups"], attrs["settings"]["n_folds"])
    low, high = score_interval(store["rdm_score"].values, store["rdm_boot"].values, images)
    return pd.DataFrame(
        {
            **{key: attrs[key] for key in JOB_COLUMNS},
            **{
                name: np.repeat(store[f"rdm_{name}"].values.astype(str), n_units)
                for name in ("signal", "role", "rule", "objective", "measure")
            },
            **{
                name: np.tile(values, n_rows)
                for name, values in columns_of_units(store).items()
                if name in ("roi", "roi_rank", "time")
            },
            "value": store["rdm_score"].values.ravel(),
            "boot_low": low.ravel(),
            "boot_high": high.ravel(),
            "n_groups": attrs["n_rdm_groups"],
            "null_high": np.percentile(store["rdm_null"].values, NULL_PERCENTILE, axis=0).ravel(),
        }
    )


def with_ceilings(table: pd.DataFrame, ceilings: pd.DataFrame) -> pd.DataFrame:
    """Put the ceilings of a subject's units beside their scores; NaN where there are none.

    Parameters
    ----------
    table
        Of :func:`tidy_rdms`.
    ceilings
        Columns of the kind ``rdm_ceilings``.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``prediction_rsa``.
    """
    if ceilings.empty:
        joined = table.assign(**dict.fromkeys(CEILINGS, np.nan))
    else:
        # Times that differ in the last bit would find no partner.
        keyed = [frame.assign(time=frame["time"].round(6)) for frame in (table, ceilings)]
        keyed[1] = keyed[1].astype({"roi": keyed[0]["roi"].dtype})
        joined = keyed[0].merge(keyed[1][[*UNIT, *CEILINGS]], on=UNIT, how="left", validate="m:1")
        joined = joined.assign(time=table["time"].to_numpy())
    return joined[list(columns_of("prediction_rsa"))]
