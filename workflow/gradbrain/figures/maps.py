"""Read the stores of per-target maps: one data set at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gradbrain.figures.declarations import FigureError
from gradbrain.vocabulary.measures import MAPPED, variants_of
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

#: Attributes of the group of a data set that figures need.
ATTRIBUTES = ("modality", "axis", "space", "n_subjects")


@dataclass(frozen=True)
class SignalMap:
    """Scores of one signal, alone or its unique part, on one data set.

    Attributes
    ----------
    identity
        Data set, modality, axis, model, signal with role, rule and objective, and variant: the
        columns that name it in a table.
    score
        Dimensions ``layer`` and ``target``, or ``layer``, ``time`` and ``sensor``; NaN where
        unknown.
    """

    identity: Mapping[str, str]
    score: xr.DataArray


@dataclass(frozen=True)
class DatasetMaps:
    """Maps of one data set and model, averaged over subjects.

    Attributes
    ----------
    dataset, model
        Names of both.
    attrs
        Attributes of the group: ``modality``, ``axis``, ``space``, ``n_subjects`` and others.
    depth
        Relative depth of each layer, shape ``(n_layers,)``.
    layers
        Names of the layers, in the same order.
    maps
        The group: ``score`` with its coordinates.
    """

    dataset: str
    model: str
    attrs: Mapping[str, Any]
    depth: np.ndarray
    layers: tuple[str, ...]
    maps: xr.Dataset

    @property
    def space(self) -> str:
        """Where targets live: ``fsaverage5``, ``sensors``, ``virtual`` and the like."""
        return str(self.attrs["space"])

    @property
    def n_subjects(self) -> int:
        """People whose scores were averaged."""
        return int(self.attrs["n_subjects"])

    def coordinate(self, name: str) -> np.ndarray:
        """Values of a coordinate, e.g. ``vertex``, ``time``, ``sensor_x``.

        Raises
        ------
        FigureError
            If the store does not have it.
        """
        if name not in self.maps.coords:
            raise FigureError(
                f"maps store of {self.model}: data set {self.dataset!r} has no coordinate "
                f"{name!r}; it has {sorted(map(str, self.maps.coords))}"
            )
        return self.maps[name].values

    def signals(self) -> Iterator[SignalMap]:
        """Go through activation and learning signals: r of each alone, then unique parts.

        What holds no score at all is left out: an activation has no unique part.
        """
        along = [self.maps[name].values for name in ("signal", "role", "rule", "objective")]
        score = self.maps["score"].load()
        variant_of = variants_of(MAPPED)
        for j, measure in enumerate(map(str, self.maps["measure"].values)):
            for i, (signal, role, rule, objective) in enumerate(zip(*along, strict=True)):
                part = score.isel(signal=i, measure=j, drop=True)
                if (
                    measure not in variant_of
                    or role not in (ACTIVATION, LEARNING)
                    or not np.isfinite(part.values).any()
                ):
                    continue
                identity = {
                    "dataset": self.dataset,
                    "modality": str(self.attrs["modality"]),
                    "axis": str(self.attrs["axis"]),
                    "model": self.model,
                    "signal": str(signal),
                    "role": str(role),
                    "rule": str(rule),
                    "objective": str(objective),
                    "variant": variant_of[measure],
                }
                yield SignalMap(identity, part)


def dataset_maps(tree: xr.DataTree, study: str) -> Iterator[DatasetMaps]:
    """Go through the data sets of a maps store.

    Parameters
    ----------
    tree
        A store of kind ``maps``: a group for each data set.
    study
        The study to which it must belong.

    Raises
    ------
    FigureError
        If the store is of another study or lacks what figures need.
    """
    found = tree.attrs.get("study", study)
    if found != study:
        raise FigureError(f"maps store of study {found!r}; expected {study!r}")
    missing = [] if "model" in tree.attrs else ["model"]
    missing += [name for name in ("layer", "depth") if name not in tree.coords]
    if missing:
        raise FigureError(f"maps store: lacks {missing}; build it again with collect_maps")
    for dataset, group in sorted(tree.children.items()):
        lacking = [name for name in ATTRIBUTES if name not in group.attrs]
        if lacking:
            raise FigureError(
                f"maps store of {tree.attrs['model']}: its group {dataset!r} does not say "
                f"{', '.join(lacking)}; build it again with collect_maps"
            )
        yield DatasetMaps(
            dataset=dataset,
            model=str(tree.attrs["model"]),
            attrs={str(name): value for name, value in group.attrs.items()},
            depth=np.asarray(tree.coords["depth"].values, dtype=float),
            layers=tuple(map(str, tree.coords["layer"].values)),
            maps=group.to_dataset(),
        )
