"""Join space and time: which region is like which time, and how much of it a layer shares.

Fusion by similarity (Cichy, Pantazis & Oliva 2014, *Nature Neuroscience* 17:455): dissimilarities
of a region, from people in a scanner, are correlated with those of a time, from other people, who
saw the same images. What of that a layer of a network shares is the commonality of the three
(Hebart et al. 2018, *eLife* 7:e32816): the variance of the ranks at that time that region and layer
explain both. It may be below zero, where one hides what the other explains.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.schema import RsaSettings
from gradbrain.rsa.compare import Unit, brain_ranks, model_ranks
from gradbrain.rsa.errors import RsaError
from gradbrain.rsa.permutation import block_permutations, permutation_p, permuted_correlations
from gradbrain.store import open_store
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import NULL_PERCENTILE
from gradbrain.vocabulary.roles import ROI, TIME

log = logging.getLogger(__name__)

#: What dissimilarities are taken between: averages over the images of a group, or test images.
CONCEPTS, TEST_IMAGES = "concepts", "test_images"
FEWEST_ITEMS = 4
MOST_ITEMS = 1500


@dataclass(frozen=True)
class Items:
    """What dissimilarities are taken between.

    Attributes
    ----------
    level
        ``concepts`` or ``test_images``.
    image_ids
        Shape (n_images,), str. Images behind them, those of an item side by side.
    starts
        Shape (n_items,), int. Place of the first image of each item.
    """

    level: str
    image_ids: np.ndarray
    starts: np.ndarray

    def average(self, patterns: np.ndarray) -> np.ndarray:
        """Average patterns of images, shape (n_images, …), over those of an item."""
        counts = np.diff(np.append(self.starts, len(self.image_ids)))
        sums = np.add.reduceat(patterns, self.starts, axis=0, dtype=np.float64)
        return sums / counts.reshape(-1, *(1 for _ in patterns.shape[1:]))


@dataclass(frozen=True)
class Group:
    """Ranked dissimilarities of the people of a data set.

    Attributes
    ----------
    attrs
        Attributes of the first person's responses.
    units
        Regions, or times, that all people have.
    ranks
        Shape (n_pairs, n_units). Mean over people, centred and scaled to unit length.
    reliability
        Shape (n_units,). Of that mean; NaN of one person.
    n_people
        How many people.
    """

    attrs: Mapping[str, Any]
    units: list[Unit]
    ranks: np.ndarray
    reliability: np.ndarray
    n_people: int


def fuse(
    features: Sequence[Path],
    space: Sequence[Path],
    time: Sequence[Path],
    settings: RsaSettings,
    *,
    study: str,
) -> pd.DataFrame:
    """Fuse a data set along regions with one along time, through all layers of a model.

    Parameters
    ----------
    features
        Feature stores of all layers of a model, for the images that both saw.
    space, time
        Response stores of the people of the two data sets.
    settings
        Number of permutations and their seed.
    study
        Name of the study, kept in the table.

    Returns
    -------
    DataFrame
        Columns of the kind ``fusion``.

    Raises
    ------
    RsaError
        A data set is of the other axis, or they share too few images.
    StoreError
        A store cannot be read, or lacks images.
    """
    stores = [[open_store(path, kind="responses") for path in paths] for paths in (space, time)]
    for people, paths, axis in zip(stores, (space, time), (ROI, TIME), strict=True):
        for store, path in zip(people, paths, strict=True):
            if store.attrs["axis"] != axis:
                raise RsaError(
                    f"{path}: lies along {store.attrs['axis']!r}, expected {axis!r}; give the data "
                    "sets in their order, space and time"
                )
    tables = [
        _fuse_level(items, features, stores, (space, time), settings, study)
        for items in items_of([*stores[0], *stores[1]], settings.seed)
    ]
    if not tables:
        raise RsaError(
            f"{space[0]} and {time[0]} share too few images: fusion takes {FEWEST_ITEMS} groups of "
            "images, or test images, at the least; take `images: shared` in the study"
        )
    return pd.concat(tables, ignore_index=True)


def items_of(stores: Sequence[xr.Dataset], seed: int) -> list[Items]:
    """Choose what dissimilarities are taken between, of the images that all people saw.

    Parameters
    ----------
    stores
        Responses of all people of both data sets.
    seed
        Of the choice among more than 1,500 groups.

    Returns
    -------
    list of Items
        Groups of images and, where both data sets repeat some on their own, test images; those
        with too few are left out.
    """
    tables = [_images(store) for store in stores]
    shared = set(tables[0].index).intersection(*(table.index for table in tables[1:]))
    first = tables[0].loc[[name for name in tables[0].index if name in shared]]
    groups = np.unique(first["group"].to_numpy())
    if len(groups) > MOST_ITEMS:
        groups = np.random.default_rng(seed).choice(groups, MOST_ITEMS, replace=False)
    found = [_items(CONCEPTS, first[first["group"].isin(set(groups))])]
    repeated = [table for table in tables if table["test"].any()]
    if len(repeated) == len(tables):
        test = set.intersection(*(set(table.index[table["test"]]) for table in tables))
        own = first[first.index.isin(test)]
        found.append(_items(TEST_IMAGES, own.assign(group=own.index)))
    for items in found:
        log.info("%s: %d of %d images", items.level, len(items.starts), len(items.image_ids))
    return [items for items in found if len(items.starts) >= FEWEST_ITEMS]


def _images(store: xr.Dataset) -> pd.DataFrame:
    image_ids = store["image_id"].values.astype(str)
    test = store["test_image"].values if "test_image" in store else np.zeros(len(image_ids), bool)
    return pd.DataFrame(
        {"group": store["group"].values.astype(str), "test": test.astype(bool)}, index=image_ids
    )


def _items(level: str, table: pd.DataFrame) -> Items:
    table = table.sort_values("group", kind="stable")
    starts = np.flatnonzero(~table["group"].duplicated().to_numpy())
    return Items(level, table.index.to_numpy(dtype=str), starts)


def _fuse_level(
    items: Items,
    features: Sequence[Path],
    stores: Sequence[Sequence[xr.Dataset]],
    paths: Sequence[Sequence[Path]],
    settings: RsaSettings,
    study: str,
) -> pd.DataFrame:
    space, time = (
        group_ranks(people, own, items) for people, own in zip(stores, paths, strict=True)
    )
    labels, layers = model_ranks(features, items.image_ids, paths[0][0], items.average)
    known = np.concatenate([space.ranks, layers], axis=1)
    n_regions, n_items = len(space.units), len(items.starts)
    observed = (known.T @ time.ranks).astype(np.float64)
    of_layer = (layers.T @ space.ranks).astype(np.float64)
    names = [str(number) for number in range(n_items)]
    drawn = permuted_correlations(
        known, time.ranks, block_permutations(names, settings.n_draws, settings.seed)
    )
    rho, null = observed[:n_regions], drawn[:, :n_regions]
    common = commonality(rho, observed[n_regions:], of_layer)
    common_null = commonality(null, drawn[:, n_regions:], of_layer)
    with np.errstate(invalid="ignore"):
        ceiling = np.sqrt(space.reliability[:, None] * time.reliability)
    p = permutation_p(rho, null)
    high = np.percentile(null, NULL_PERCENTILE, axis=0)
    common_high = np.percentile(common_null, NULL_PERCENTILE, axis=0)
    constant = {
        "study": study,
        "level": items.level,
        "dataset": space.attrs["dataset"],
        "modality": space.attrs["modality"],
        "time_dataset": time.attrs["dataset"],
        "time_modality": time.attrs["modality"],
        "onset_source": time.attrs.get("onset_source", ""),
        "n_items": n_items,
        "n_images": len(items.image_ids),
        "n_subjects": space.n_people,
        "n_time_subjects": time.n_people,
    }
    records = [
        {
            **constant,
            **label,
            "roi": region.roi,
            "roi_rank": region.roi_rank,
            "time": moment.time,
            "rho": rho[j, k],
            "rho_null_high": high[j, k],
            "p": p[j, k],
            "ceiling": ceiling[j, k],
            "common": common[i, j, k],
            "common_null_high": common_high[i, j, k],
        }
        for i, label in enumerate(labels)
        for j, region in enumerate(space.units)
        for k, moment in enumerate(time.units)
    ]
    return pd.DataFrame.from_records(records, columns=list(columns_of("fusion")))


def commonality(rho: np.ndarray, layer_time: np.ndarray, layer_region: np.ndarray) -> np.ndarray:
    """Variance at a time that a region and a layer explain both.

    ``r²(time, region) + r²(time, layer) − R²(time; region, layer)`` (Seibold & McPhee 1979,
    *American Educational Research Journal* 16:427), of standardised ranks.

    Parameters
    ----------
    rho
        Shape (..., n_regions, n_times).
    layer_time
        Shape (..., n_layers, n_times).
    layer_region
        Shape (n_layers, n_regions).

    Returns
    -------
    ndarray, shape (..., n_layers, n_regions, n_times)
        NaN where region and layer have the same ranks.
    """
    region, layer = rho[..., None, :, :], layer_time[..., :, None, :]
    both = layer_region[:, :, None]
    rest = 1 - both**2
    with np.errstate(divide="ignore", invalid="ignore"):
        together = (region**2 + layer**2 - 2 * region * layer * both) / rest
    return np.where(rest > 1e-9, region**2 + layer**2 - together, np.nan)


def group_ranks(stores: Sequence[xr.Dataset], paths: Sequence[Path], items: Items) -> Group:
    """Average the ranked dissimilarities of people, and estimate how reliable the mean is.

    With r the mean correlation between two people, that of the mean over n is
    n r / (1 + (n - 1) r) (Spearman 1910 and Brown 1910, *British Journal of Psychology* 3).

    Parameters
    ----------
    stores, paths
        Responses of the people, and where they lie.
    items
        What dissimilarities are taken between.

    Returns
    -------
    Group
    """
    people = [_ranks_of(store, path, items) for store, path in zip(stores, paths, strict=True)]
    shared = [unit for unit in people[0] if all(unit in person for person in people)]
    if not shared:
        raise RsaError(f"{paths[0]} and the others of its data set share no region or time")
    ranks = np.stack([[person[unit] for unit in shared] for person in people])
    mean = ranks.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean, axis=1)
    n_people = len(people)
    reliability = np.full(len(shared), np.nan)
    if n_people > 1:
        # Of vectors of unit length: |mean|² = (1 + (n − 1) r) / n.
        between = (n_people * length**2 - 1) / (n_people - 1)
        reliability = np.clip(n_people * between / (1 + (n_people - 1) * between), 0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = (mean / length[:, None]).T
    return Group(stores[0].attrs, shared, scaled.astype(np.float32), reliability, n_people)


def _ranks_of(store: xr.Dataset, path: Path, items: Items) -> dict[Unit, np.ndarray]:
    """Ranked dissimilarities of one person, by region or time (to the microsecond)."""
    rows = pd.Index(store["image_id"].values.astype(str)).get_indexer(pd.Index(items.image_ids))
    averaged = items.average(store["response"].values[rows]).astype(np.float32)
    dims = ("item", *store["response"].dims[1:])
    kept = [name for name in ("roi", "time") if name in store.coords]
    patterns = xr.Dataset(
        {"response": (dims, averaged)},
        coords={name: store[name] for name in kept},
        attrs=store.attrs,
    ).rename(item="image")
    units, ranks = brain_ranks(patterns, path)
    known = {
        Unit(unit.roi, unit.roi_rank, -1.0 if np.isnan(unit.time) else round(unit.time, 6)): own
        for unit, own in zip(units, ranks.T, strict=True)
    }
    return {unit: own for unit, own in known.items() if np.isfinite(own).all()}
