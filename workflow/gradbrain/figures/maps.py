"""Read the stores of per-target maps: one data set at a time, with plain names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from gradbrain.figures import layout
from gradbrain.figures.declarations import FigureError

_VARIANTS = {"r": "raw", "unique_r2": "unique"}


@dataclass(frozen=True)
class DatasetMaps:
    """Maps of one data set and model, averaged over subjects.

    Attributes
    ----------
    dataset, model, modality
        Names.
    space
        Where targets live: ``fsaverage5``, ``sensors``, ``virtual`` and the like.
    depth
        Relative depth of each layer, shape ``(n_layers,)``.
    quantities
        Activation and learning signals that the store holds, raw ones first.
    score
        Dimensions ``quantity`` (``signal/variant``), ``layer``, ``target``.
    onset_source
        What told when images came on; ``""`` where there is one onset.
    coordinates
        Name to array of shape ``(n_targets,)``, e.g. ``vertex``, ``time``, ``sensor_x``.
    """

    dataset: str
    model: str
    modality: str
    space: str
    depth: np.ndarray
    quantities: list[layout.Quantity]
    score: xr.DataArray
    coordinates: dict[str, np.ndarray]
    onset_source: str = ""

    def coordinate(self, name: str) -> np.ndarray:
        """Values of a coordinate, shape ``(n_targets,)``.

        Raises
        ------
        FigureError
            If the store does not have it.
        """
        if name not in self.coordinates:
            raise FigureError(
                f"maps store of {self.model}: data set {self.dataset!r} has no coordinate "
                f"{name!r}; it has {sorted(self.coordinates)}"
            )
        return self.coordinates[name]

    def of(self, quantity: layout.Quantity) -> np.ndarray:
        """Scores of one quantity, shape ``(n_layers, n_targets)``; NaN where unknown."""
        part = self.score.sel(quantity=f"{quantity.signal}/{quantity.variant}")
        return part.transpose("layer", "target").values


def dataset_maps(store: xr.Dataset, study: str) -> Iterator[DatasetMaps]:
    """Go through the data sets of a maps store.

    Parameters
    ----------
    store
        A store of kind ``maps``: per data set ``d`` the variable
        ``score_<d>(layer, map_signal, map_measure, target_<d>)`` and coordinates named
        ``<coordinate>_<d>``.
    study
        The study to which it must belong.

    Raises
    ------
    FigureError
        If the store is of another study or lacks what figures need.
    """
    found = store.attrs.get("study", study)
    if found != study:
        raise FigureError(f"maps store of study {found!r}; expected {study!r}")
    missing = [name for name in ("model", "roles", "datasets") if name not in store.attrs]
    if missing or "depth" not in store.coords:
        missing += [] if "depth" in store.coords else ["depth(layer)"]
        raise FigureError(f"maps store: lacks {missing}; build it again with collect_maps")
    for name in sorted(map(str, store.data_vars)):
        if name.startswith("score_"):
            yield _one_dataset(store, name.removeprefix("score_"))


def _one_dataset(store: xr.Dataset, dataset: str) -> DatasetMaps:
    target = f"target_{dataset}"
    suffix = f"_{dataset}"
    coordinates = {
        str(name).removesuffix(suffix): store[name].values
        for name in store.coords
        if str(name).endswith(suffix) and store[name].dims == (target,)
    }
    score = store[f"score_{dataset}"].load()
    roles = store.attrs["roles"]
    about = store.attrs["datasets"].get(dataset, {})
    if not {"modality", "space"} <= set(about):
        raise FigureError(
            f"maps store: its attribute datasets says {about} about {dataset!r}; expected modality "
            "and space; build it again with collect_maps"
        )
    keys, parts, quantities = [], [], []
    for measure, variant in _VARIANTS.items():
        for signal in map(str, store["map_signal"].values):
            role = roles.get(signal, "learning")
            part = score.sel(map_signal=signal, map_measure=measure)
            # An activation has no unique part, and a masked target no score.
            if role == "control" or not np.isfinite(part.values).any():
                continue
            quantities.append(layout.Quantity(signal, role, variant))
            keys.append(f"{signal}/{variant}")
            parts.append(part.drop_vars(["map_signal", "map_measure"]))
    if not parts:
        raise FigureError(f"maps store: score_{dataset} holds no finite value")
    joined = xr.concat(parts, dim="quantity", coords="minimal", compat="override")
    joined = joined.assign_coords(quantity=keys).rename({target: "target"})
    return DatasetMaps(
        dataset=dataset,
        model=str(store.attrs["model"]),
        modality=about["modality"],
        space=about["space"],
        depth=np.asarray(store["depth"].values, dtype=float),
        quantities=quantities,
        score=joined,
        coordinates=coordinates,
        onset_source=about.get("onset_source", ""),
    )
