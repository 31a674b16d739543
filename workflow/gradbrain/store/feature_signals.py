"""Feature stores as stages read them: opened, their signals told apart, aligned to other images.

A signal says who it is by the coordinates of its store. Its name is a key and nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.store.errors import DamageError, StoreError
from gradbrain.store.magnitude import MagnitudeColumns
from gradbrain.store.stimuli_identity import check_same_pictures
from gradbrain.store.zarr_store import open_tree, read_made_from
from gradbrain.vocabulary.artefacts import SIGNALS
from gradbrain.vocabulary.roles import ACTIVATION

KIND = "features"
MAGNITUDE = "magnitude"
COSINE = "cosine_with_backprop"
# What the layers of a model have in common, and what else where their stores say it.
SHARED = ("model", "signal_set", "stimuli")
SHARED_DIGESTS = ("weights_digest", "calibration_digest", "precision")
#: Normalisation of a signal set whose signals have their magnitude as a feature.
WITH_MAGNITUDE = "unit_and_magnitude"


@dataclass(frozen=True)
class SignalIdentity:
    """Who a signal is.

    Attributes
    ----------
    name
        Its key; any.
    role
        What the claims take it for, or ``baseline`` or ``nuisance`` where it is held against
        signals.
    rule
        Its credit-assignment rule.
    objective
        Its objective; ``""`` where it has none.
    """

    name: str
    role: str
    rule: str = ""
    objective: str = ""


@dataclass(frozen=True)
class FeatureStore:
    """The signals of one layer, read lazily.

    Attributes
    ----------
    path
        The store.
    attrs
        Its attributes.
    image_ids
        Shape (n_images,): image of every row.
    signals
        Its signals, in the order of the signal set.
    """

    path: Path
    attrs: dict[str, Any]
    image_ids: NDArray[np.str_]
    signals: tuple[SignalIdentity, ...]
    _arrays: xr.Dataset
    _lengths: xr.DataArray
    _cosines: xr.DataArray | None = None
    _rows: NDArray[np.intp] | None = None

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return str(self.attrs["layer"])

    @property
    def activation(self) -> SignalIdentity:
        """Its activation, found by role.

        Raises
        ------
        StoreError
            There is none, or several.
        """
        found = [signal for signal in self.signals if signal.role == ACTIVATION]
        if len(found) != 1:
            roles = {signal.name: signal.role for signal in self.signals}
            raise StoreError(
                f"{self.path}: {len(found)} signals have the role {ACTIVATION!r} "
                f"({', '.join(signal.name for signal in found)}), expected one; roles are {roles}: "
                "correct the signal set"
            )
        return found[0]

    def signal(self, name: str) -> SignalIdentity:
        """Signal of a name.

        Raises
        ------
        StoreError
            The store has no such signal.
        """
        for signal in self.signals:
            if signal.name == name:
                return signal
        raise StoreError(
            f"{self.path}: holds no signal {name!r}, only "
            f"{', '.join(signal.name for signal in self.signals)}"
        )

    def values(self, signal: SignalIdentity) -> NDArray[np.floating]:
        """Features of a signal, shape (n_images, n_features).

        With `normalise: unit_and_magnitude` the columns of the log magnitude are the last ones of
        all signals but the activation.

        Raises
        ------
        StoreError
            As for :meth:`directions`.
        """
        directions = self._directions(signal)
        columns = self.magnitude_columns(signal)
        if columns is not None:
            directions = columns.beside(directions, self._magnitude(signal))
        return self._aligned(directions)

    def magnitude(self, signal: SignalIdentity) -> NDArray[np.floating]:
        """Length of a signal before normalisation and projection, shape (n_images,)."""
        return self._aligned(self._magnitude(signal))

    def _magnitude(self, signal: SignalIdentity) -> NDArray[np.floating]:
        return self._lengths.sel(signal=signal.name).values

    def cosine_with_backprop(self, signal: SignalIdentity) -> NDArray[np.floating]:
        """Cosine of a signal with the backpropagated gradient of each image, shape (n_images,).

        NaN where the signal set had nothing to compare the signal with.
        """
        if self._cosines is None:
            return np.full(len(self.image_ids), np.nan, dtype=np.float32)
        return self._aligned(self._cosines.sel(signal=signal.name).values)

    def magnitude_columns(self, signal: SignalIdentity) -> MagnitudeColumns | None:
        """How the log magnitude of a signal stands beside its direction; None where it does not.

        Taken over all images of the store, whatever rows are asked for.
        """
        entry = self.attrs.get("signal_set_entry") or {}
        own = {one["name"]: one.get("normalise") for one in entry.get("signals", [])}
        scaled = own.get(signal.name) or entry.get("normalise")
        if signal.role == ACTIVATION or scaled != WITH_MAGNITUDE:
            return None
        return MagnitudeColumns.of(self._directions(signal), self._magnitude(signal))

    def directions(self, signal: SignalIdentity) -> NDArray[np.floating]:
        """Features of a signal without its magnitude, shape (n_images, n_features).

        Raises
        ------
        StoreError
            The array is missing, has another shape, or holds values that are not finite.
        """
        return self._aligned(self._directions(signal))

    def _directions(self, signal: SignalIdentity) -> NDArray[np.floating]:
        if signal.name not in self._arrays:
            raise DamageError(
                self.path,
                f"names the signal {signal.name!r}, which its group {SIGNALS!r} does not hold",
            )
        values = self._arrays[signal.name].values
        if values.ndim != 2 or values.shape[1] == 0:
            raise DamageError(
                self.path,
                f"signal {signal.name!r} has shape {values.shape}, expected (image, "
                "feature) with at least one feature",
            )
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise DamageError(
                self.path,
                f"{signal.name!r} holds {bad} NaN or infinite of {values.size} "
                f"values, expected none",
            )
        return values

    def of_images(self, image_ids: NDArray[np.str_], wanted_by: Path) -> FeatureStore:
        """The same store with a row for every one of some images, in their order.

        Parameters
        ----------
        image_ids
            Shape (n_images,).
        wanted_by
            Response store or stimulus table that the images are of, named in errors.

        Raises
        ------
        StoreError
            An image is missing, or they are other pictures with the same ids.
        """
        check_same_pictures(self.path, self.attrs, read_made_from(wanted_by), wanted_by)
        rows = rows_of_images(self.path, self.image_ids, image_ids, wanted_by)
        return replace(
            self,
            image_ids=self.image_ids[rows],
            _rows=rows if self._rows is None else self._rows[rows],
        )

    def _aligned(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        return values if self._rows is None else values[self._rows]


def open_features(path: str | os.PathLike[str]) -> FeatureStore:
    """Open a feature store, or refuse it.

    Parameters
    ----------
    path
        The store.

    Raises
    ------
    StoreError
        As for :func:`gradbrain.store.open_tree`; or image ids repeat, or it has no signals.
    """
    path = Path(path)
    tree = open_tree(path, kind=KIND)
    root = tree.to_dataset(inherit=False)
    if SIGNALS not in tree.children:
        raise DamageError(path, f"has no group {SIGNALS!r} of signals")
    image_ids = root["image_id"].values.astype(str)
    check_unique(path, image_ids)
    names = root["signal"].values.astype(str)
    labels = [root[name].values.astype(str) for name in ("signal", "role", "rule", "objective")]
    return FeatureStore(
        path=path,
        attrs=dict(root.attrs),
        image_ids=image_ids,
        signals=tuple(SignalIdentity(*map(str, label)) for label in zip(*labels, strict=True)),
        # Without the coordinates of the root, so that a signal may have the name of one.
        _arrays=tree.children[SIGNALS].to_dataset(inherit=False),
        _lengths=root[MAGNITUDE].assign_coords(signal=names),
        _cosines=root[COSINE].assign_coords(signal=names) if COSINE in root else None,
    )


def open_layers(
    paths: Sequence[Path],
    image_ids: NDArray[np.str_] | None = None,
    wanted_by: Path | None = None,
) -> list[FeatureStore]:
    """Open the feature stores of layers of one model, in the order of their depth.

    Parameters
    ----------
    paths
        Stores of one model, signal set and stimulus set, each of another layer.
    image_ids, wanted_by
        Images whose rows are read, and what they are of, as for :meth:`FeatureStore.of_images`;
        left out, the images of each store.

    Raises
    ------
    StoreError
        There is none, one cannot be read or lacks images, a layer is there twice, or they are not
        of one network.
    """
    if not paths:
        raise StoreError("no feature store was given: give those of all layers of the model")
    stores = sorted(map(open_features, paths), key=lambda store: float(store.attrs["depth"]))
    for key in SHARED:
        found = sorted({str(store.attrs[key]) for store in stores})
        if len(found) > 1:
            raise StoreError(
                f"feature stores of different {key}s were given ({', '.join(found)}): give all "
                "layers of one model, one signal set and one stimulus set"
            )
    first = stores[0]
    for key in SHARED_DIGESTS:
        for store in stores:
            own, other = first.attrs.get(key), store.attrs.get(key)
            if own != other:
                raise StoreError(
                    f"{first.path} and {store.path} were extracted with different {key} "
                    f"({str(own)[:12]}, {str(other)[:12]}): layers of one network must share it; "
                    "remove the older stores and extract them again"
                )
    layers = [store.layer for store in stores]
    repeated = sorted({layer for layer in layers if layers.count(layer) > 1})
    if repeated:
        raise StoreError(
            f"two feature stores of layer {', '.join(repeated)} were given: give each layer once"
        )
    if image_ids is None or wanted_by is None:
        return stores
    return [store.of_images(image_ids, wanted_by) for store in stores]


def rows_of_images(
    path: Path, available: NDArray[np.str_], wanted: NDArray[np.str_], wanted_by: Path
) -> NDArray[np.intp]:
    """Find the row of every wanted image in a store.

    Parameters
    ----------
    path
        The store, named in errors.
    available
        Shape (n_rows,): its image ids.
    wanted
        Shape (n_images,).
    wanted_by
        Response store that the wanted images are of, named in errors.

    Returns
    -------
    array of shape (n_images,)

    Raises
    ------
    StoreError
        An id occurs twice or an image is missing.
    """
    check_unique(path, available)
    order = np.argsort(available)
    places = np.searchsorted(available, wanted, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    missing = wanted[available[rows] != wanted]
    if missing.size:
        raise StoreError(
            f"{path} lacks {missing.size} of the {wanted.size} images of {wanted_by}, first "
            f"{', '.join(missing[:5])}: make it for the stimulus set of these responses"
        )
    return rows


def check_unique(path: Path, image_ids: NDArray[np.str_]) -> None:
    """Refuse a store that holds an image twice.

    Raises
    ------
    StoreError
        An id occurs more than once.
    """
    names, counts = np.unique(image_ids, return_counts=True)
    repeated = names[counts > 1]
    if repeated.size:
        raise StoreError(
            f"{path}: {repeated.size} image ids occur more than once, first "
            f"{', '.join(repeated[:5])}; expected one row per distinct image: average repeats first"
        )
