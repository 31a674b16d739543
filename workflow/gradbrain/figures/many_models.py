"""Results of more models than a figure can show one by one: means of trained and of untrained ones.

Layers of different networks are joined by their relative depth, in tenths. Files are read one after
the other, and no more is held than the means. Claims are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gradbrain.figures.declarations import FigureError
from gradbrain.figures.names import Names
from gradbrain.store import Statistics, open_tree, read_statistics, read_table, with_text
from gradbrain.vocabulary.artefacts import artefact, columns_of
from gradbrain.vocabulary.measures import JUDGED, R2, UNIQUE_R2, variants_of
from gradbrain.vocabulary.roles import CONTROL

#: As many models are shown one by one.
MOST_MODELS = 8
#: Parts of relative depth that layers are joined in.
N_DEPTHS = 10
#: Numbers that say what a row is of, and are no means.
_PLACES = ("roi_rank", "distance_mm", "time", "layer_index", "depth")
#: Numbers of which the smallest stands for all models.
_COUNTS = ("n", "n_groups", "n_folds", "n_targets", "n_images", "n_subjects", "n_time_subjects")
#: Numbers of scores that no figure shows.
_NOT_SHOWN = (
    *("boot_low", "boot_high", "edge_share", "n_masked", "band_weight", "n_targets"),
    *("n_groups", "intersubject_r2", "reliability", "unique_reliability"),
)
#: Measures that some figure shows.
_SHOWN_MEASURES = (*variants_of(JUDGED), R2.name, UNIQUE_R2.name)
#: Of tests, which have no mean.
_TESTED = ("p", "p_min", "absent_p")


def are_many(kind: str, paths: Sequence[Path]) -> bool:
    """Whether results of a kind are of more models than figures show one by one.

    Parameters
    ----------
    kind
        As ``docs/artefacts.md`` names it.
    paths
        All of them.
    """
    if "model" not in artefact(kind).keys:
        return False
    return len({_model_of(kind, Path(path)) for path in paths}) > MOST_MODELS


def _model_of(kind: str, path: Path) -> str:
    """Model of a result, by its place: the file or the folder in which it lies."""
    return path.stem if Path(artefact(kind).template).stem == "{model}" else path.parent.name


def _groups(kind: str, paths: Sequence[Path], names: Names) -> dict[str, list[Path]]:
    """Files of trained and of untrained models, by what their mean is called."""
    found: dict[str, list[Path]] = {}
    for title, trained in (("trained", True), ("untrained", False)):
        own = [path for path in paths if names.is_trained(_model_of(kind, Path(path))) == trained]
        if own:
            n = len({_model_of(kind, Path(path)) for path in own})
            found[f"{title} models, mean of {n}"] = own
    return found


def depth_place(depth: NDArray[np.float64]) -> NDArray[np.int64]:
    """Part of relative depth that a layer lies in, from 0."""
    # 0.2 times ten is a little more than 2.
    return np.clip(np.ceil(depth * N_DEPTHS - 1e-9) - 1, 0, N_DEPTHS - 1).astype(int)


def depth_name(place: int) -> str:
    """What stands in the place of a layer."""
    return f"depth {place / N_DEPTHS:.1f}–{(place + 1) / N_DEPTHS:.1f}"


def mean_table(kind: str, paths: Sequence[Path], names: Names) -> pd.DataFrame:
    """Read tables of many models and average them.

    Parameters
    ----------
    kind
        What they hold.
    paths
        The tables.
    names
        Which models are trained.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind. ``model`` says what the mean is of; p of tests is NaN.
    """
    parts = []
    for title, own in _groups(kind, paths, names).items():
        mean = _Mean()
        for path in own:
            frame = with_text(_shown(kind, read_table(path, kind=kind)))
            mean.add(_joined_by_depth(frame.assign(model=title)))
        parts.append(mean.table()[0])
    found = pd.concat(parts, ignore_index=True)
    return found[[name for name in columns_of(kind) if name in found]]


def _shown(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that some figure shows: of scores, some measures."""
    if kind != "scores":
        return frame
    # Controls have figures of their own, which are drawn from statistics.
    shown = frame["measure"].isin(_SHOWN_MEASURES) & (frame["role"] != CONTROL)
    return frame.loc[shown, [name for name in frame if name not in _NOT_SHOWN]]


def _joined_by_depth(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with parts of depth in the place of layers, where they are of one."""
    if "depth" not in frame:
        return frame
    depth = frame["depth"].to_numpy(dtype=float)
    known = np.isfinite(depth)
    place = depth_place(np.where(known, depth, 0.0))
    labels = np.array([depth_name(i) for i in range(N_DEPTHS)], dtype=object)
    joined = {
        "layer": np.where(known, labels[place], ""),
        "depth": np.where(known, (place + 0.5) / N_DEPTHS, np.nan),
    }
    if "layer_index" in frame:
        joined["layer_index"] = place
    tests = {name: np.nan for name in _TESTED if name in frame}
    same_as = {"same_as": ""} if "same_as" in frame else {}
    return frame.assign(**joined, **tests, **same_as)


def _split(frame: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Columns that rows are grouped by, that are averaged, and of which the least is taken."""
    numbers = [
        str(name)
        for name in frame.columns
        if pd.api.types.is_numeric_dtype(frame[name]) and name not in _PLACES
    ]
    least = [name for name in numbers if name in _COUNTS]
    averaged = [name for name in numbers if name not in _COUNTS]
    return [str(name) for name in frame.columns if name not in numbers], averaged, least


class _Mean:
    """Running mean of the rows of tables that are alike in all but their numbers."""

    def __init__(self) -> None:
        self._hashes = pd.Index([], dtype=np.uint64)
        self._keys: list[pd.DataFrame] = []
        self._columns: tuple[list[str], list[str], list[str]] | None = None
        self._sums = self._counts = np.zeros((0, 0))
        self._least = np.zeros((0, 0))

    def add(self, frame: pd.DataFrame, draws: NDArray[np.float64] | None = None) -> None:
        """Add the rows of a table and, of shape ``(n_rows, n_draws)``, their draws."""
        if self._columns is None:
            self._columns = _split(frame)
        keys, averaged, least = self._columns
        values = frame[averaged].to_numpy(dtype=float)
        if draws is not None:
            values = np.hstack([values, draws])
        places = self._places(frame, keys, values.shape[1], len(least))
        known = np.isfinite(values)
        np.add.at(self._sums, places, np.where(known, values, 0.0))
        np.add.at(self._counts, places, known)
        np.fmin.at(self._least, places, frame[least].to_numpy(dtype=float))

    def _places(
        self, frame: pd.DataFrame, keys: list[str], n_values: int, n_least: int
    ) -> NDArray[np.int64]:
        """Where the rows are added up: new ones are given a place."""
        # Rows are told apart by a hash of 64 bits: to compare twenty columns of text takes longer
        # than all else.
        hashes = pd.util.hash_pandas_object(frame[keys], index=False).to_numpy()
        new, first = np.unique(hashes, return_index=True)
        first = np.sort(first[self._hashes.get_indexer(pd.Index(new)) < 0])
        if len(first):
            self._hashes = self._hashes.append(pd.Index(hashes[first]))
            self._keys.append(frame[keys].iloc[first])
            blank, least = np.zeros((len(first), n_values)), np.full((len(first), n_least), np.nan)
            if len(self._keys) == 1:
                self._sums, self._counts, self._least = blank, blank.copy(), least
            else:
                self._sums = np.concatenate([self._sums, blank])
                self._counts = np.concatenate([self._counts, blank])
                self._least = np.concatenate([self._least, least])
        return np.asarray(self._hashes.get_indexer(pd.Index(hashes)))

    def table(self) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """Means in the order in which rows came first, and those of their draws; NaN of none."""
        assert self._columns is not None
        _, averaged, least = self._columns
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self._sums / self._counts
        found = pd.concat(self._keys, ignore_index=True)
        n = len(averaged)
        numbers = pd.DataFrame(means[:, :n], columns=averaged)
        counts = pd.DataFrame(self._least, columns=least)
        return pd.concat([found, numbers, counts], axis=1), means[:, n:]


def mean_statistics(tables: Sequence[Path], draws: Sequence[Path], names: Names) -> Statistics:
    """Read statistics of many models and average them, draw by draw.

    Draws of images are the same for all models, so that the mean of their draws is a draw of the
    mean.

    Parameters
    ----------
    tables, draws
        Table and store of each model, in the same order.
    names
        Which models are trained.

    Returns
    -------
    Statistics
        Without maps.
    """
    store_of = dict(zip(tables, draws, strict=True))
    found = []
    for title, own in _groups("hierarchy", tables, names).items():
        mean = _Mean()
        for path in own:
            one = read_statistics([path], [store_of[path]])
            mean.add(_joined_by_depth(with_text(one.table).assign(model=title)), one.boot)
        found.append(mean.table())
    table = pd.concat([part for part, _ in found], ignore_index=True)
    boot = np.concatenate([part for _, part in found])
    return Statistics(table, boot, np.full_like(boot, np.nan), {})


def mean_maps(paths: Sequence[Path], names: Names) -> list[xr.DataTree]:
    """Open maps of many models and average them, a tree for trained and one for untrained ones.

    Parameters
    ----------
    paths
        Stores of kind ``maps``.
    names
        Which models are trained.

    Raises
    ------
    FigureError
        Models were fitted to other targets or signals than the first.
    """
    return [_mean_tree(title, own) for title, own in _groups("maps", paths, names).items()]


def _mean_tree(title: str, paths: Sequence[Path]) -> xr.DataTree:
    first = open_tree(paths[0], kind="maps")
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, NDArray[np.float64]] = {}
    for path in paths:
        tree = open_tree(path, kind="maps")
        places = depth_place(np.asarray(tree.coords["depth"].values, dtype=float))
        for dataset, group in tree.children.items():
            score = group["score"].transpose("layer", ...).values
            if dataset not in sums:
                sums[dataset] = np.zeros((N_DEPTHS, *score.shape[1:]))
                counts[dataset] = np.zeros((N_DEPTHS, *score.shape[1:]))
            if score.shape[1:] != sums[dataset].shape[1:]:
                raise FigureError(
                    f"{path}: scores of {dataset!r} have the shape {score.shape[1:]}, those of "
                    f"{paths[0]} have {sums[dataset].shape[1:]}; figures of more than "
                    f"{MOST_MODELS} models average maps of the same signals and targets"
                )
            known = np.isfinite(score)
            np.add.at(sums[dataset], places, np.where(known, score, 0.0))
            np.add.at(counts[dataset], places, known)
    used = np.flatnonzero(
        np.any([count.reshape(N_DEPTHS, -1).any(axis=1) for count in counts.values()], axis=0)
    )
    root = xr.Dataset(
        coords={
            "layer": ("layer", np.array([depth_name(int(place)) for place in used])),
            "depth": ("layer", (used + 0.5) / N_DEPTHS),
        },
        attrs={**first.attrs, "model": title},
    )
    nodes = {"/": root}
    for dataset, total in sums.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (total / counts[dataset])[used]
        own = first.children[dataset].to_dataset(inherit=False)
        dims = own["score"].transpose("layer", ...).dims
        kept = own.drop_vars(["score", "best_layer"], errors="ignore")
        nodes[f"/{dataset}"] = kept.assign(score=(dims, means))
    return xr.DataTree.from_dict(nodes)
