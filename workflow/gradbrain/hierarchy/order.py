"""Whether an order over regions or layers exceeds that of arbitrary maps that people share.

Signs of people tell whether their maps agree on an order, not whether the map had to have one: a
map that is arbitrary but common to all people has an order by chance in either direction, and
everybody shows it. Here the places of the map, the same for all people, take each other's values,
and the order must exceed that of such maps. Places that are alike are no independent witnesses: a
smooth map over four regions is monotone by chance far more often than one in 24. So places are
not permuted freely but in the order of random maps that are as smooth as scores are where nothing
is predicted (*ours*; for the smoothness of maps as a null see Alexander-Bloch et al. 2018,
*NeuroImage* 178:540–551, who rotate the sphere, and Burt et al. 2020, *NeuroImage* 220:117038,
who draw maps of a given smoothness). How alike two places are is read off the permuted images:
places whose scores rise and fall together there respond to the same images (regions) or predict
alike (layers).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from gradbrain.hierarchy.correlation import correlation_with
from gradbrain.hierarchy.predictions import SPATIAL_R, SPATIAL_RANK_R
from gradbrain.hierarchy.spatial import high_minus_early, spatial_correlation
from gradbrain.hierarchy.statistics import TestResult
from gradbrain.hierarchy.temporal import without_each
from gradbrain.store import Statistics

N_MAPS = 10_000
#: Unit of the maps behind peak times.
ALL_TIMES = "all"
#: Peak times of averages over people, of which each has a part.
PEAK_OF_GROUP = "peak_time_jackknifed"
#: Statistic of an order -> statistic of its places, and the column that names these.
PLACES_OF = {
    SPATIAL_R: ("best_layer_depth", "roi"),
    SPATIAL_RANK_R: ("best_layer_depth", "roi"),
    "spatial_difference": ("best_layer_depth", "roi"),
    "temporal_r": (PEAK_OF_GROUP, "layer"),
}
Order = Callable[[np.ndarray], np.ndarray]


def draw_correlations(draws: np.ndarray) -> np.ndarray:
    """Correlation between places over draws.

    Parameters
    ----------
    draws
        Shape (..., draw, place).

    Returns
    -------
    numpy.ndarray
        Shape (..., place, place); 0 beside a place that does not vary or is not known.
    """
    centred = draws - draws.mean(axis=-2, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=-2, keepdims=True))
    usable = np.isfinite(norm) & (norm > 0)
    unit = np.where(usable, centred, 0.0) / np.where(usable, norm, 1.0)
    return np.swapaxes(unit, -1, -2) @ unit


def order_of_claim(
    statistics: Statistics, known: pd.DataFrame, *, sign: float, seed: int
) -> TestResult:
    """Test the order that a claim is about against maps that people share.

    Parameters
    ----------
    statistics
        With the best layers of regions, or peak times of layers, and the maps behind them.
    known
        Rows of the order, one per person.
    sign
        −1 where the order is to fall.
    seed
        Of the random maps.
    """
    first = known.iloc[0]
    statistic, column = PLACES_OF[first["statistic"]]
    table = statistics.table
    same = ["dataset", "model", "signal", "variant", "best_layer"]
    rows = table[(table["statistic"] == statistic) & table["subject"].isin(known["subject"])]
    rows = rows[(rows[same] == first[same]).all(axis=1)]
    places = list(dict.fromkeys(rows[column]))
    people = [own.set_index(column) for _, own in rows.groupby("subject", sort=True)]
    maps = np.stack([own["value"].reindex(places).to_numpy(dtype=float) for own in people])
    if statistic == PEAK_OF_GROUP:
        maps = without_each(maps)
    orders = [_order(own, places, first["statistic"]) for own in people]

    def order(values: np.ndarray) -> np.ndarray:
        found = [one(values[..., k, :]) for k, one in enumerate(orders)]
        return sign * np.stack(found, axis=-1)

    return order_test(maps, order, _similarity(statistics, rows, places, column), seed=seed)


def _order(own: pd.DataFrame, places: list[str], statistic: str) -> Order:
    """The order of one person, of maps (..., place)."""
    if statistic == "spatial_difference":
        early, high = (list(own.index[own["pole"] == pole]) for pole in ("early", "high"))
        return lambda values: high_minus_early(values, places, early, high)
    if statistic == "temporal_r":
        depth = own["depth"].reindex(places).to_numpy(dtype=float)
        return lambda values: correlation_with(depth, values)
    return partial(
        spatial_correlation,
        names=places,
        distances={str(roi): float(mm) for roi, mm in own["distance_mm"].dropna().items()},
        rank=statistic == SPATIAL_RANK_R,
    )


def _similarity(
    statistics: Statistics, rows: pd.DataFrame, places: list[str], column: str
) -> np.ndarray:
    """How alike places are, (place, place): mean over people, nearest correlation matrix."""
    total = np.zeros((len(places), len(places)))
    count = np.zeros_like(total)
    for row, place in zip(rows.index, rows[column], strict=True):
        found = statistics.maps[row]
        found = found.mean("layer") if column == "roi" else found.sel(unit=ALL_TIMES)
        values = found.to_series().reindex(places).to_numpy(dtype=float)
        has, at = np.isfinite(values), places.index(place)
        total[at, has] += values[has]
        count[at, has] += 1
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    # Of other people for other pairs it need not be a correlation matrix.
    eigenvalues, vectors = np.linalg.eigh((mean + mean.T) / 2)
    clipped = (vectors * np.clip(eigenvalues, 0.0, None)) @ vectors.T
    clipped += 1e-9 * np.eye(len(places))
    scale = np.sqrt(np.diag(clipped))
    return np.asarray(clipped / np.outer(scale, scale))


def order_test(
    maps: np.ndarray,
    order: Order,
    similarity: np.ndarray,
    *,
    seed: int = 0,
) -> TestResult:
    """Test an order against maps whose places take each other's values, the same for all people.

    Parameters
    ----------
    maps
        Shape (subject, place): depth of a region's best layer, or peak time of a layer; NaN where
        a subject has none. A gap travels with the place.
    order
        Gives of maps (..., subject, place) their order, shape (..., subject), times the direction.
    similarity
        Shape (place, place): correlation between places where there is no order. The identity
        permutes places freely.
    seed
        Seed of the maps.

    Returns
    -------
    TestResult
        ``p_min`` is the p of these values in the best of all orders. NaN throughout if the
        statistic is undefined.
    """
    observed = _mean(order(maps))
    if not np.isfinite(observed):
        return TestResult(np.nan, np.nan, np.nan)
    present = np.isfinite(maps).any(axis=0)
    places = np.flatnonzero(present)
    mean = np.array([_mean(maps[:, place]) for place in places])
    by_value = places[np.argsort(mean, kind="stable")]
    random = np.random.default_rng(seed)
    kept = similarity[np.ix_(places, places)]
    smooth = random.multivariate_normal(np.zeros(len(places)), kept, size=N_MAPS, method="eigh")
    ranks = smooth.argsort(axis=1).argsort(axis=1)
    best = _best(maps, order, places, by_value)
    columns = np.tile(np.arange(maps.shape[1]), (N_MAPS, 1))
    columns[:, places] = by_value[ranks]
    values = _mean(order(maps[:, columns].swapaxes(0, 1)), axis=-1)
    values = values[np.isfinite(values)]
    tie = 1e-9
    total = 1 + len(values)
    above = (1 + np.sum(values >= observed - tie)) / total
    below = (1 + np.sum(values <= observed + tie)) / total
    smallest = (1 + np.sum(values >= max(best, float(observed)) - tie)) / total
    return TestResult(p=float(above), p_opposite=float(below), p_min=float(smallest))


def _best(maps: np.ndarray, order: Order, places: np.ndarray, by_value: np.ndarray) -> float:
    """The order of the maps when places take each other's values in the best way."""
    n_people, n_places = maps.shape
    # What a place adds: the order of maps in which it alone differs.
    single = np.where(np.isin(np.arange(n_places), places), np.eye(n_places), np.nan)[places]
    adds = _mean(order(np.repeat(single[:, None], n_people, axis=1)), axis=-1)
    columns = np.arange(n_places)
    columns[places[np.argsort(adds, kind="stable")]] = by_value
    return float(_mean(order(maps[:, columns])))


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
