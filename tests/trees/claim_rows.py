"""Rows of statistics that claims are tested on, without the scores behind them."""

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.order import ALL_TIMES, PLACES_OF
from gradbrain.store import Statistics
from gradbrain.vocabulary.artefacts import columns_of

SETTINGS = StatisticsSettings()
N_DRAWS = 199
# What statistics of unique variance come with, and half of what they are of.
EXPLAINABLE = 0.4
MOMENTS = {"held_scaled": 1.0, "held_flat": 0.5}
MOMENTS |= dict.fromkeys(["cross_variance_scaled", "cross_variance_flat"], 1e-6)
MOMENTS |= dict.fromkeys(["dose_variance_scaled", "dose_variance_flat"], 1e-4)


def rows(
    statistic, values, *, signal="gradient_dino", variant="raw", modality="meg", n=5, **labels
):
    """Rows of statistics: one per subject, image draws without noise."""
    role = labels.get("role", "learning")
    facts = {
        "study": "test",
        "dataset": "brain",
        "modality": modality,
        "axis": {"fmri": "roi", "meg": "time"}[modality],
        "coverage": "",
        "model": "net",
        "signal": signal,
        "role": role,
        "rule": "activation" if role == "activation" else "backprop",
        "objective": "" if role == "activation" else "dino",
        "variant": variant,
        "statistic": statistic,
        "unit": "share" if variant == "unique" else "r",
        "n": n,
        "layer": "",
        "depth": np.nan,
        "roi": "",
        "distance_mm": np.nan,
        "n_groups": 100,
        "n_folds": 5,
        "pole": "",
        "best_layer": "",
        "control": "",
        "onset_source": "",
        **dict.fromkeys(["explainable", "explained", "absent_p", "upper_share", *MOMENTS], np.nan),
        "null": 0.00001 * np.arange(-99, 100),
        "map": None,
    }
    return pd.DataFrame(
        [
            facts
            | {
                "subject": f"s{k:02d}",
                "value": value,
                "value_at_units": value,
                "boot": np.full(N_DRAWS, value),
            }
            | labels
            for k, value in enumerate(values)
        ]
    )


PLACES = [f"place{number}" for number in range(6)]


def with_places(frame):
    """Add what an order is of: six regions or layers that are not alike, in order or against it."""
    added = []
    for row in frame[frame["statistic"].isin(PLACES_OF)].to_dict("records"):
        statistic, column = PLACES_OF[row["statistic"]]
        for number, place in enumerate(PLACES):
            dims = {"layer": ["any"], "unit": PLACES}
            if column == "layer":
                dims = {"layer": PLACES, "unit": [ALL_TIMES]}
            alike = xr.DataArray(
                (np.arange(6) == number).reshape(*map(len, dims.values())).astype(float),
                dims=tuple(dims),
                coords=dims,
            )
            value = np.nan if np.isnan(row["value"]) else np.sign(row["value"]) * number
            facts = {"statistic": statistic, column: place, "value": value, "map": alike}
            position = {"depth" if column == "layer" else "distance_mm": float(number)}
            added.append(row | facts | position)
    return pd.concat([frame, pd.DataFrame(added)], ignore_index=True) if added else frame


def shares(statistic, values, **labels):
    """Rows of unique variance: a small one is ruled out, a large one is not."""
    margin = SETTINGS.smallest_unique_share
    is_small = np.mean(values) < margin * EXPLAINABLE
    bounds = {"absent_p": 0.001, "upper_share": 0.5 * margin} if is_small else {}
    facts = {"absent_p": 1.0, "upper_share": 1.0, "explainable": EXPLAINABLE, "explained": 0.3}
    return rows(statistic, values, variant="unique", **(facts | MOMENTS | bounds | labels))


def statistics(*tables):
    """Statistics of such rows, as they are read from files."""
    frame = with_places(pd.concat(tables, ignore_index=True))
    return Statistics(
        table=frame[list(columns_of("hierarchy"))],
        boot=np.stack(frame["boot"]),
        null=np.stack(frame["null"]),
        maps={row: one for row, one in frame["map"].items() if one is not None},
    )
