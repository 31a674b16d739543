"""Statistics of the hierarchy with the draws and maps behind them: a table and a store beside it.

The table has one row per statistic; the store has the same rows, in a group per data set, with
their draws and maps as labelled arrays. One stage writes them and others read them, by this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gradbrain.store.errors import DamageError, StoreError
from gradbrain.store.tables import read_table, table_facts, write_table
from gradbrain.store.zarr_store import open_tree, write_tree

TABLE, DRAWS = "hierarchy", "hierarchy_draws"
DRAWS_DIGEST = "draws_digest"
# Columns of the table that label the rows of the store; `layer` is a dimension there.
ROW_LABELS: tuple[str, ...] = (
    "subject",
    "signal",
    "role",
    "rule",
    "objective",
    "variant",
    "statistic",
    "roi",
    "best_layer",
    "control",
)


@dataclass(frozen=True)
class Statistics:
    """Statistics of any number of models and data sets.

    Attributes
    ----------
    table
        Columns of the kind ``hierarchy``; its index counts the rows of `boot` and `null`.
    boot, null
        Shape (n_rows, n_draws): each statistic on resampled and on permuted images.
    maps
        Row -> (layer, unit) scores behind a statistic at peaks; NaN for units of others.
    expected
        Row -> (kernel, layer, unit): what the map of a statistic of unique variance becomes where
        all explainable variance is the signal's.
    """

    table: pd.DataFrame
    boot: NDArray[np.float64]
    null: NDArray[np.float64]
    maps: Mapping[int, xr.DataArray]
    expected: Mapping[int, xr.DataArray] = field(default_factory=dict)

    def of(self, rows: pd.DataFrame) -> Statistics:
        """Statistics of some rows of the table, in their order, counted from 0 again."""
        places = rows.index.to_numpy()
        kept, expected = (
            {row: items[place] for row, place in enumerate(places) if place in items}
            for items in (self.maps, self.expected)
        )
        table = rows.reset_index(drop=True)
        return Statistics(table, self.boot[places], self.null[places], kept, expected)


def write_statistics(
    table_path: Path,
    draws_path: Path,
    statistics: Statistics,
    *,
    attrs: Mapping[str, Any],
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write the statistics of one model: its table, and its draws and maps.

    Parameters
    ----------
    table_path, draws_path
        Where both go.
    statistics
        Of one model, for any number of data sets; the index of the table counts from 0.
    attrs
        Attributes of the store.
    provenance
        Facts that vary from run to run.
    """
    table = statistics.table
    if list(table.index) != list(range(len(table))):
        raise StoreError(f"{table_path}: the rows of the statistics must be counted from 0")
    nodes = {"/": xr.Dataset(attrs=dict(attrs))}
    for dataset, rows in table.groupby("dataset", sort=True):
        nodes[f"/{dataset}"] = _group(statistics, rows)
    tree = xr.DataTree.from_dict(nodes)
    digest = write_tree(draws_path, tree, kind=DRAWS, provenance=provenance)
    # Snakemake compares files by content, folders by time: the table tells whether draws changed.
    write_table(table_path, table, kind=TABLE, facts={DRAWS_DIGEST: digest}, provenance=provenance)


def _group(statistics: Statistics, rows: pd.DataFrame) -> xr.Dataset:
    places = rows.index.to_numpy()
    missing = {"missing_allowed": True}
    variables: dict[str, Any] = {
        "boot": (("row", "draw"), statistics.boot[places], missing),
        "null": (("row", "draw"), statistics.null[places], missing),
    }
    labels = {name: ("row", rows[name].to_numpy().astype(str)) for name in ROW_LABELS}
    labels["layer_of_row"] = ("row", rows["layer"].to_numpy().astype(str))
    coords: dict[str, Any] = {"row": ("row", places), **labels}
    owners = [place for place in places if place in statistics.maps]
    if owners:
        # Subjects may lack a region that others have.
        maps = [statistics.maps[place] for place in owners]
        units = list(dict.fromkeys(unit for item in maps for unit in item["unit"].values))
        layers = maps[0]["layer"].values
        variables["map"] = (
            ("map_row", "layer", "unit"),
            np.stack([_placed(item, layers, units) for item in maps]),
            missing,
        )
        expected = [statistics.expected.get(place) for place in owners]
        known = [item for item in expected if item is not None]
        if known:
            blank = np.full((known[0].sizes["kernel"], len(layers), len(units)), np.nan)
            filled = [blank if item is None else _placed(item, layers, units) for item in expected]
            dims = ("map_row", "kernel", "layer", "unit")
            variables["expected"] = (dims, np.stack(filled), missing)
            coords["kernel"] = ("kernel", known[0]["kernel"].values.astype(str))
        coords |= {
            "map_of": ("map_row", np.array(owners)),
            "layer": ("layer", layers.astype(str)),
            "unit": ("unit", np.array(units).astype(str)),
        }
    return xr.Dataset(variables, coords=coords)


def _placed(item: xr.DataArray, layers: NDArray[Any], units: Sequence[Any]) -> NDArray[np.float64]:
    """Values (..., layer, unit) of a map at the layers and units of all; NaN where it has none.

    By hand: alignment by labels took half of the time of a hierarchy.
    """
    row = {name: place for place, name in enumerate(layers)}
    column = {name: place for place, name in enumerate(units)}
    rows = np.array([row[name] for name in item["layer"].values])
    columns = np.array([column[name] for name in item["unit"].values])
    values = item.transpose(..., "layer", "unit").values
    placed = np.full((*values.shape[:-2], len(layers), len(units)), np.nan)
    placed[..., rows[:, None], columns] = values
    return placed


def read_statistics(tables: Sequence[Path], draws: Sequence[Path]) -> Statistics:
    """Read and join the statistics of several models.

    Parameters
    ----------
    tables, draws
        Table and store of each model, in the same order.

    Raises
    ------
    StoreError
        A file is missing or unreadable, a store is not that of its table, or the stores hold
        different numbers of draws.
    """
    if len(tables) != len(draws) or not tables:
        raise StoreError(
            f"{len(tables)} tables of statistics and {len(draws)} stores of their draws were "
            "given; expected one of each for every model"
        )
    parts = [_read(Path(table), Path(store)) for table, store in zip(tables, draws, strict=True)]
    counts = sorted({part.boot.shape[1] for part in parts})
    if len(counts) > 1:
        raise StoreError(
            f"{', '.join(map(str, draws))}: hold {counts} draws; fit all models of the study with "
            "the same encoding.n_draws"
        )
    maps: dict[int, xr.DataArray] = {}
    expected: dict[int, xr.DataArray] = {}
    start = 0
    for part in parts:
        maps |= {start + row: item for row, item in part.maps.items()}
        expected |= {start + row: item for row, item in part.expected.items()}
        start += len(part.table)
    table = pd.concat([part.table for part in parts], ignore_index=True)
    boots, nulls = [part.boot for part in parts], [part.null for part in parts]
    # Draws of hundreds of models are gigabytes: each is let go when it is joined.
    parts.clear()
    return Statistics(
        table=table,
        boot=_joined(boots),
        null=_joined(nulls),
        maps=maps,
        expected=expected,
    )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays one below the other; the list is emptied."""
    found = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    start = 0
    for place in range(len(parts)):
        part, parts[place] = parts[place], found[:0]
        found[start : start + len(part)] = part
        start += len(part)
    parts.clear()
    return found


def _read(table_path: Path, draws_path: Path) -> Statistics:
    table = read_table(table_path, kind=TABLE)
    tree = open_tree(draws_path, kind=DRAWS)
    groups = [node.to_dataset() for node in tree.children.values()]
    n_rows = sum(group.sizes["row"] for group in groups)
    if table_facts(table_path).get(DRAWS_DIGEST) != tree.attrs["digest"]:
        raise DamageError(
            draws_path,
            f"its content is not that which {table_path} was written with: they are "
            f"of different runs",
        )
    counts = sorted({group.sizes["draw"] for group in groups})
    boot = np.full((n_rows, counts[0]), np.nan)
    null = np.full((n_rows, counts[0]), np.nan)
    maps: dict[int, xr.DataArray] = {}
    expected: dict[int, xr.DataArray] = {}
    for group in groups:
        rows = group["row"].values
        boot[rows], null[rows] = group["boot"].values, group["null"].values
        if "map" in group:
            maps |= _by_row(group, "map")
        if "expected" in group:
            found = _by_row(group, "expected")
            expected |= {row: item for row, item in found.items() if np.isfinite(item.values).any()}
    return Statistics(table, boot, null, maps, expected)


def _by_row(group: xr.Dataset, name: str) -> dict[int, xr.DataArray]:
    """Row -> its array."""
    values = group[name].values
    # One array with labels is made and lends them to the others: to copy them is costly.
    blank = group[name].isel(map_row=0, drop=True).load()
    return {
        int(row): blank.copy(deep=False, data=own)
        for row, own in zip(group["map_of"].values, values, strict=True)
    }
