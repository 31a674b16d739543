"""Where in cortex a layer is best predicted: best layers and their order over regions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from gradbrain.hierarchy.correlation import correlation_with

METHODS = ("argmax", "centre_of_mass")
#: Level of the test that a region is above chance.
LEVEL = 0.05


def best_layer_depth(scores: np.ndarray, depths: np.ndarray, method: str) -> np.ndarray:
    """Depth of the layer that predicts each target or region best.

    Parameters
    ----------
    scores
        Shape (..., layer, target).
    depths
        Shape (layer,), relative, in [0, 1].
    method
        ``"argmax"``: depth of the layer with the highest score (Raugel et al. 2025), the mean
        depth where several share it. ``"centre_of_mass"``: mean depth weighted by the positive part
        of the scores (*ours*), which moves less when two layers are nearly alike.

    Returns
    -------
    numpy.ndarray
        Shape (..., target); NaN where no score is positive: the best of layers that all predict
        nothing is a matter of chance.

    Raises
    ------
    ValueError
        The method is unknown.
    """
    if method == "argmax":
        known = np.where(np.isfinite(scores), scores, -np.inf)
        top = known.max(axis=-2, keepdims=True)
        best = (known == top) & (top > 0)
        count = best.sum(axis=-2)
        total = np.einsum("...lt,l->...t", best, depths)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if method == "centre_of_mass":
        weights = np.nan_to_num(np.clip(scores, 0.0, None), nan=0.0)
        mass = weights.sum(axis=-2)
        moment = np.einsum("...lt,l->...t", weights, depths)
        return np.where(mass > 0, moment / np.where(mass > 0, mass, 1.0), np.nan)
    raise ValueError(f"best-layer method {method!r} is unknown; choose one of {METHODS}")


def regions_above_chance(scores: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Regions whose best layer scores above zero and above chance.

    As with peak times, the maximum over layers is compared with such maxima over permuted images: a
    region passes where (b + 1) / (draws + 1) is at most .05, b draws being as large.

    Parameters
    ----------
    scores
        Shape (layer, region).
    null
        Shape (draw, layer, region).

    Returns
    -------
    numpy.ndarray
        Shape (region,), bool.
    """
    best = scores.max(axis=0)
    as_large = (~(null.max(axis=1) < best)).sum(axis=0)
    return (best > 0) & ((1 + as_large) / (1 + len(null)) <= LEVEL)


def mean_by_region(values: np.ndarray, regions: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Mean over the targets of each region.

    Parameters
    ----------
    values
        Shape (..., target); NaN is left out.
    regions
        Shape (target,): region of each target.
    names
        Regions asked for.

    Returns
    -------
    numpy.ndarray
        Shape (..., region); NaN for a region without a known value.
    """
    return np.stack([_mean_known(values[..., regions == name]) for name in names], axis=-1)


def high_minus_early(
    values: np.ndarray, names: Sequence[str], early: Sequence[str], high: Sequence[str]
) -> np.ndarray:
    """Mean over the higher regions minus mean over the early ones.

    Parameters
    ----------
    values
        Shape (..., region), a score or a depth.
    names
        Region of each column.
    early, high
        The regions at both poles.

    Returns
    -------
    numpy.ndarray
        Shape (...); NaN where a pole holds no known region.
    """
    poles = [np.isin(np.asarray(names), list(pole)) for pole in (high, early)]
    return _mean_known(values[..., poles[0]]) - _mean_known(values[..., poles[1]])


def has_distances(names: Sequence[str], distances: dict[str, float]) -> bool:
    """Whether enough regions have a distance for a correlation: more than three."""
    return sum(name in distances for name in names) > 3


def spatial_correlation(
    region_depth: np.ndarray,
    names: Sequence[str],
    distances: Mapping[str, float],
    *,
    rank: bool = False,
) -> np.ndarray:
    """Pearson correlation over regions of distance from V1 and best layer (Raugel et al. 2025).

    Parameters
    ----------
    region_depth
        Shape (..., region): depth of the best layer.
    names
        Region of each column.
    distances
        Region -> mm from V1's centroid; regions without one are left out.
    rank
        Whether to take the rank of the distance in its place: among the regions that have both a
        distance and a best layer, map by map (*ours*). A region that is not in the correlation
        would leave a gap between the ranks of those that are.

    Returns
    -------
    numpy.ndarray
        Shape (...).
    """
    mm = np.array([distances.get(name, np.nan) for name in names], dtype=float)
    along = distance_ranks(mm, np.isfinite(region_depth)) if rank else mm
    return correlation_with(along, region_depth)


def distance_ranks(mm: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Ranks of regions by distance among those that are known, from 1; ties share their mean.

    Parameters
    ----------
    mm
        Shape (region,): mm from V1's centroid; NaN where not known.
    known
        Shape (..., region): which regions count, of any number of maps.

    Returns
    -------
    numpy.ndarray
        Shape (..., region); NaN for regions that do not count or have no distance.
    """
    counts = known & np.isfinite(mm)
    order = np.argsort(mm, kind="stable")
    along = mm[order]
    up_to = np.cumsum(counts[..., order], axis=-1)
    up_to = np.concatenate([np.zeros((*up_to.shape[:-1], 1), dtype=int), up_to], axis=-1)
    below, through = (up_to[..., np.searchsorted(along, mm, side)] for side in ("left", "right"))
    return np.where(counts, (below + through + 1) / 2, np.nan)


def _mean_known(values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as documented
        return np.nanmean(values, axis=-1)
