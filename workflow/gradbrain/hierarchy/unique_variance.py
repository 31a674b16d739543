"""Unique variance of the signals of one subject, read from the stores of ``measure_unique``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.store import open_store, rebuild_hint

#: Moments of a plant, as store and hierarchy tables name them.
MOMENTS = ("held", "cross_variance", "dose_variance")
#: How the weights of a plant are drawn: along ``kernel``.
KERNELS = ("scaled", "flat")


@dataclass(frozen=True)
class UniqueVariance:
    """Unique variance of the signals of one subject, as a share of the responses' variance.

    Attributes
    ----------
    component
        Signal -> shape (layer, unit): estimates.
    null
        Signal -> shape (draw, layer, unit): the same with permuted responses.
    moments
        (moment, signal) -> shape (kernel, layer, unit): of brains that hold the signal; NaN for
        controls.
    explainable
        Shape (unit,): mean noise ceiling; NaN where not known.
    explained
        Shape (unit,): what all activations explain.
    """

    component: Mapping[str, np.ndarray]
    null: Mapping[str, np.ndarray]
    moments: Mapping[tuple[str, str], np.ndarray]
    explainable: np.ndarray
    explained: np.ndarray

    def scattered(self, signal: str, whose: Sequence[str]) -> np.ndarray:
        """Draw estimates for a brain that holds what was estimated.

        A quadratic form of resampled images would be one of images with themselves; null draws
        about the estimate have its spread where nothing is held, to which that of what is held is
        added (of learning signals, whose moments are known). What is held is drawn for each person
        and signal on its own: a mean over people would keep the spread of one of them otherwise.

        Parameters
        ----------
        signal
            One of those that were estimated.
        whose
            What tells these draws from all others: data set, subject and model, and what the signal
            is, but not its name.

        Returns
        -------
        numpy.ndarray
            Shape (draw, layer, unit).
        """
        component, null = self.component[signal], self.null[signal]
        held = np.clip(component, 0.0, 1.0)
        place = KERNELS.index("scaled")
        cross, dose = (
            np.nan_to_num(np.maximum(self.moments[moment, signal][place], 0.0))
            for moment in ("cross_variance", "dose_variance")
        )
        spread = np.sqrt(4.0 * held * (1.0 - held) * cross + held**2 * dose)
        seed = "\x1f".join(("scattered", *whose)).encode()
        noise = np.random.default_rng([*seed]).standard_normal(null.shape)
        return component + null - null.mean(axis=0) + spread * noise


def read_unique(paths: Sequence[Path]) -> dict[tuple[str, str], tuple[Path, xr.Dataset]]:
    """Open the stores of one model, one per subject.

    Parameters
    ----------
    paths
        Stores of the kind ``unique``.

    Returns
    -------
    dict
        (data set, subject) -> path and store.

    Raises
    ------
    HierarchyError
        A subject is there twice.
    """
    found: dict[tuple[str, str], tuple[Path, xr.Dataset]] = {}
    for path in paths:
        store = open_store(path, kind="unique")
        key = (store.attrs["dataset"], store.attrs["subject"])
        if key in found:
            raise HierarchyError(
                f"{path}: holds the unique variance of subject {key[1]!r}, as {found[key][0]} "
                "does; give one store for each subject"
            )
        found[key] = (path, store)
    return found


def unique_variance(
    path: Path, store: xr.Dataset, fits: Sequence[tuple[Path, xr.Dataset]], signals: Sequence[str]
) -> UniqueVariance:
    """Lay out the unique variance of a subject as its fits are.

    Parameters
    ----------
    path, store
        Of the kind ``unique``.
    fits
        Path and encoding store of every layer, in the order of their depth.
    signals
        Names of the signals that must be there.

    Returns
    -------
    UniqueVariance

    Raises
    ------
    HierarchyError
        The store is of another model, study or responses, or lacks a layer, signal or unit.
    """
    _check(path, store, fits, signals)
    first = fits[0][1]
    layers = [fit.attrs["layer"] for _, fit in fits]
    ordered = store.sel(layer=layers, unit=first["unit"].values.astype(str))
    of_signal = {name: ordered.sel(signal=name) for name in signals}
    return UniqueVariance(
        component={name: own["component"].values for name, own in of_signal.items()},
        null={name: own["null"].values for name, own in of_signal.items()},
        moments={
            (moment, name): own[moment].sel(kernel=list(KERNELS)).values
            for name, own in of_signal.items()
            for moment in MOMENTS
        },
        explainable=ordered["explainable"].values,
        explained=ordered["explained"].values,
    )


def _check(
    path: Path, store: xr.Dataset, fits: Sequence[tuple[Path, xr.Dataset]], signals: Sequence[str]
) -> None:
    rebuild = rebuild_hint(path)
    first_path, first = fits[0]
    for key in ("study", "model", "signal_set", "stimuli", "responses_digest"):
        if store.attrs[key] != first.attrs[key]:
            raise HierarchyError(
                f"{path}: its {key} is {store.attrs[key]!r}, that of {first_path} "
                f"{first.attrs[key]!r}. {rebuild}"
            )
    digests = store.attrs["features_digests"]
    for fit_path, fit in fits:
        layer = fit.attrs["layer"]
        if digests.get(layer) != fit.attrs["features_digest"]:
            raise HierarchyError(
                f"{path}: was made of other features of layer {layer!r} than {fit_path}, or "
                f"without them; it holds {', '.join(digests)}. {rebuild}"
            )
    if store.sizes["draw"] != first.sizes["draw"]:
        raise HierarchyError(
            f"{path}: holds {store.sizes['draw']} draws, {first_path} {first.sizes['draw']}; "
            f"make both with the same encoding.n_draws. {rebuild}"
        )
    wanted = {"signal": signals, "unit": first["unit"].values.astype(str)}
    for name, values in wanted.items():
        missing = sorted(set(map(str, values)) - set(map(str, store[name].values)))
        if missing:
            raise HierarchyError(f"{path}: lacks the {name}(s) {missing}. {rebuild}")
