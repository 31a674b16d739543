"""Encoding scores of one subject over all layers of a model, read from the encoding stores."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from gradbrain.config.schema import SignalSet
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.unique_variance import UniqueVariance, read_unique, unique_variance
from gradbrain.store import open_store, rebuild_hint
from gradbrain.vocabulary.measures import (
    BY_SCORE,
    R2,
    R_NORMALISED,
    UNIQUE_VARIANCE,
    R,
    Reading,
    Variant,
)
from gradbrain.vocabulary.roles import ACTIVATION, ROLES, TIME, Axis, Role

log = logging.getLogger(__name__)

# Coordinates of a store that say what signal a row is of.
IDENTITY = ("signal", "role", "rule", "objective")


@dataclass(frozen=True)
class Signal:
    """What a signal is, whatever it is called.

    Attributes
    ----------
    role
        What the claims take it for.
    rule, objective
        Credit-assignment rule, and objective (``""`` where it has none).
    controls
        Names of its controls, in the order of the signal set.
    """

    role: Role
    rule: str
    objective: str
    controls: tuple[str, ...] = ()


@dataclass(frozen=True)
class SubjectScores:
    """Encoding scores of one subject, with layers in the order of their depth.

    Attributes
    ----------
    study, dataset, subject, modality, model
        Whose scores these are.
    axis
        What scores are laid out along: ``roi`` or ``time``.
    layers, depths
        Names and relative depths, shape (layer,).
    signals
        Name -> what the signal is, in the order of the signal set.
    units
        Names of the regions, low to high, or times as text.
    unit_time
        Shape (unit,): s from image onset; NaN for regions.
    early_rois, high_rois
        Regions contrasted by the high-minus-early statistics; both empty where there are no two
        poles: a single region, or poles that share one.
    coverage
        Part of cortex that was recorded, in words; ``""`` where the data set names none.
    roi_distance
        Region -> mm from V1's centroid; empty where unknown.
    target_roi
        Shape (target,): region of each target; empty along time.
    unit_score
        (signal, measure) -> shape (layer, unit): means over the targets of a unit.
    boot, null
        (signal, measure) -> shape (draw, layer, unit): the same on resampled and on permuted
        images, with draws shared by all layers and signals.
    target_score
        (signal, measure) -> shape (layer, target); empty along time.
    onset_source
        What told when images came on, where a data set tells it twice.
    n_groups, n_folds
        Groups of images that are never split, and outer folds of the fits.
    unique
        Unique variance of the signals; None where there are none but the activation, or where
        scores are not read by it.
    reading
        Measures that statistics are read from.
    """

    study: str
    dataset: str
    subject: str
    modality: str
    axis: Axis
    model: str
    layers: tuple[str, ...]
    depths: np.ndarray
    signals: dict[str, Signal]
    units: tuple[str, ...]
    unit_time: np.ndarray
    early_rois: tuple[str, ...]
    high_rois: tuple[str, ...]
    coverage: str
    roi_distance: dict[str, float]
    target_roi: np.ndarray
    unit_score: dict[tuple[str, str], np.ndarray]
    boot: dict[tuple[str, str], np.ndarray]
    null: dict[tuple[str, str], np.ndarray]
    target_score: dict[tuple[str, str], np.ndarray]
    onset_source: str = ""
    n_groups: int = 0
    n_folds: int = 0
    unique: UniqueVariance | None = None
    reading: Reading = BY_SCORE

    def variants(self, signal: str) -> list[Variant]:
        """Variants that exist for a signal: activations have no unique part."""
        return ["raw"] if self.signals[signal].role == ACTIVATION else ["raw", "unique"]

    @property
    def has_poles(self) -> bool:
        """Whether the subject has a region at either end of the hierarchy."""
        return all(set(pole) & set(self.units) for pole in (self.early_rois, self.high_rois))

    def pole_of(self, roi: str) -> str:
        """``early`` or ``high`` where a region is contrasted, else ``""``."""
        return "early" if roi in self.early_rois else "high" if roi in self.high_rois else ""

    @property
    def activation(self) -> str:
        """Name of the activation among the signals."""
        return _activation(self.signals)

    @property
    def after_onset(self) -> np.ndarray:
        """Units that enter means: regions all, times those after image onset. Shape (unit,)."""
        return self.unit_time > 0 if self.axis == TIME else np.ones(len(self.units), bool)


def read_subjects(
    paths: Sequence[Path], signal_set: SignalSet, unique: Sequence[Path] = ()
) -> list[SubjectScores]:
    """Read the encoding stores of one model, for any number of data sets and subjects.

    Parameters
    ----------
    paths
        One store per layer and subject.
    signal_set
        The signals of the stores, which says what controls what.
    unique
        Stores of ``measure_unique``, one per subject; none where the set has no other signal than
        the activation.

    Returns
    -------
    list of SubjectScores
        Sorted by data set and subject. Rows of other roles (all layers' activations, nuisance
        bands) are left out.

    Raises
    ------
    HierarchyError
        Several studies or models are mixed, a layer is missing for a subject or there twice, the
        stores disagree on signals, units or draws, or their signals are not those of the set.
    """
    if not paths:
        raise HierarchyError("no encoding store was given; give those of all layers and subjects")
    fits = [(path, open_store(path, kind="encoding")) for path in paths]
    return subject_scores(fits, signal_set, read_unique(unique))


def subject_scores(
    fits: Sequence[tuple[Path, xr.Dataset]],
    signal_set: SignalSet,
    unique: Mapping[tuple[str, str], tuple[Path, xr.Dataset]],
) -> list[SubjectScores]:
    """Lay out the encoding results of one model, read from stores or just fitted.

    Parameters
    ----------
    fits
        Content of an encoding store per layer and subject, with the path named in errors.
    signal_set
        The signals of the fits, which says what controls what.
    unique
        (data set, subject) -> path and content of the store of ``measure_unique``.

    Returns
    -------
    list of SubjectScores
        As :func:`read_subjects` has them.

    Raises
    ------
    HierarchyError
        As for :func:`read_subjects`.
    """
    found = fits_by_subject(fits, signal_set)
    others = [name for name, one in found[0][0].signals.items() if one.role != ACTIVATION]
    keys = [(subject.dataset, subject.subject) for subject, _ in found]
    missing = sorted(set(keys) - set(unique)) if others else []
    if missing:
        raise HierarchyError(
            f"no store of unique variance was given for {missing[0][0]}, {missing[0][1]}; make it "
            "(snakemake claims does) and give it with --unique"
        )
    if not others:
        return [subject for subject, _ in found]
    return [
        _with_unique(subject, unique_variance(*unique[key], stores, others))
        for key, (subject, stores) in zip(keys, found, strict=True)
    ]


def fits_by_subject(
    fits: Sequence[tuple[Path, xr.Dataset]], signal_set: SignalSet
) -> list[tuple[SubjectScores, list[tuple[Path, xr.Dataset]]]]:
    """Lay out the encoding scores of one model without its unique variance.

    Parameters
    ----------
    fits
        Content of an encoding store per layer and subject, with the path named in errors.
    signal_set
        The signals of the fits, which says what controls what.

    Returns
    -------
    list of (SubjectScores, fits of the subject in the order of depth)
        Sorted by data set and subject.

    Raises
    ------
    HierarchyError
        As for :func:`read_subjects`.
    """
    signals = _signals_of(signal_set)
    stores: dict[tuple[str, str], list[tuple[Path, xr.Dataset]]] = defaultdict(list)
    for path, store in fits:
        _check_signals(path, store, signals, signal_set.name)
        stores[store.attrs["dataset"], store.attrs["subject"]].append((path, store))
    for pairs in stores.values():
        pairs.sort(key=lambda pair: (float(pair[1].attrs["depth"]), pair[1].attrs["layer"]))
    _check_complete(stores)
    _check_draws(stores)
    _warn_of_unpaired_draws(stores)
    return [(_read_subject(stores[key], signals), stores[key]) for key in sorted(stores)]


def _with_unique(subject: SubjectScores, unique: UniqueVariance) -> SubjectScores:
    """Put unique variance beside the scores of the fits, as one more measure."""
    names = {name: (name, UNIQUE_VARIANCE.name) for name in unique.component}
    brain = (subject.dataset, subject.subject, subject.model)
    whose = {name: (*brain, *identity) for name, identity in _identities(subject.signals).items()}
    return replace(
        subject,
        unit_score=subject.unit_score | {key: unique.component[n] for n, key in names.items()},
        boot=subject.boot | {key: unique.scattered(n, whose[n]) for n, key in names.items()},
        null=subject.null | {key: unique.null[n] for n, key in names.items()},
        unique=unique,
    )


def _identities(signals: Mapping[str, Signal]) -> dict[str, tuple[str, str, str, str]]:
    """Name -> role, rule and objective, and which of several that are alike in these three."""
    found: dict[str, tuple[str, str, str, str]] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    for name, signal in signals.items():
        kind = (signal.role, signal.rule, signal.objective)
        found[name] = (*kind, str(seen[kind]))
        seen[kind] += 1
    return found


def _signals_of(signal_set: SignalSet) -> dict[str, Signal]:
    """Name -> identity and controls of the signals of a set."""
    activations = [signal.name for signal in signal_set.signals if signal.role == ACTIVATION]
    if len(activations) != 1:
        raise HierarchyError(
            f"signal set {signal_set.name!r}: {len(activations)} of its signals have "
            f"`role: activation` ({', '.join(activations) or 'none'}), expected one activation; "
            "add it to the signal set"
        )
    return {
        signal.name: Signal(
            role=signal.role,
            rule=signal.rule,
            objective=signal.objective or "",
            controls=signal_set.controls_of(signal.name),
        )
        for signal in signal_set.signals
    }


def _activation(signals: dict[str, Signal]) -> str:
    return next(name for name, signal in signals.items() if signal.role == ACTIVATION)


def _check_signals(
    path: Path, store: xr.Dataset, signals: dict[str, Signal], set_name: str
) -> None:
    """Refuse a store whose signals are not, in name and identity, those of the set."""
    columns = [store[name].values.astype(str).tolist() for name in IDENTITY]
    found = {row for row in zip(*columns, strict=True) if row[1] in ROLES}
    expected = {
        (name, signal.role, signal.rule, signal.objective) for name, signal in signals.items()
    }
    if found != expected:
        raise HierarchyError(
            f"{path}: its signals are not those of the signal set {set_name!r}: only the store "
            f"has {_described(found - expected)}; only the set has {_described(expected - found)} "
            f"(name: role, rule, objective). {rebuild_hint(path)}"
        )


def _described(identities: Iterable[tuple[str, ...]]) -> str:
    texts = [f"{name}: {', '.join(filter(None, rest))}" for name, *rest in sorted(identities)]
    return f"[{'; '.join(texts)}]" if texts else "none"


def _check_complete(stores: dict[tuple[str, str], list[tuple[Path, xr.Dataset]]]) -> None:
    """Refuse mixed models or studies, and subjects whose layers are not those of the others."""
    everything = [store for pairs in stores.values() for _, store in pairs]
    for key in ("study", "model"):
        found = sorted({store.attrs[key] for store in everything})
        if len(found) > 1:
            raise HierarchyError(f"encoding stores of several {key}s were given: {found}")
    layers = {store.attrs["layer"] for store in everything}
    for (dataset, subject), pairs in stores.items():
        own = [store.attrs["layer"] for _, store in pairs]
        if len(set(own)) < len(own):
            twice = sorted({layer for layer in own if own.count(layer) > 1})
            raise HierarchyError(f"{dataset}, {subject}: layer(s) {twice} were given twice")
        missing = sorted(layers - set(own))
        if missing:
            raise HierarchyError(
                f"{dataset}, {subject}: lacks layer(s) {missing} of model "
                f"{pairs[0][1].attrs['model']!r}, which other subjects have; fit them first "
                "(snakemake encoding)"
            )


def _check_draws(stores: dict[tuple[str, str], list[tuple[Path, xr.Dataset]]]) -> None:
    """Refuse fits with different numbers of draws, which no test can pair."""
    first_path, first = next(iter(stores.values()))[0]
    for path, store in (pair for pairs in stores.values() for pair in pairs):
        if store.sizes["draw"] != first.sizes["draw"]:
            raise HierarchyError(
                f"{path}: holds {store.sizes['draw']} draws, {first_path} {first.sizes['draw']}; "
                "fit all of them with the same encoding.n_draws"
            )


def _warn_of_unpaired_draws(stores: dict[tuple[str, str], list[tuple[Path, xr.Dataset]]]) -> None:
    """Say where people saw different numbers of the images of one set: draws do not pair then."""
    seen: dict[tuple[str, str], dict[int, list[str]]] = {}
    for (dataset, subject), pairs in stores.items():
        attrs = pairs[0][1].attrs
        numbers = seen.setdefault((dataset, str(attrs["stimuli"])), {})
        numbers.setdefault(int(attrs["n_images"]), []).append(subject)
    for (dataset, stimuli), numbers in seen.items():
        if len(numbers) > 1:
            said = "; ".join(f"{', '.join(who)}: {n}" for n, who in sorted(numbers.items()))
            log.warning(
                "%s: people have different numbers of images of %s (%s), so that their draws of "
                "images are not the same, and p over images is too small where people respond "
                "alike; `images: shared` takes the images that all of them have",
                dataset,
                stimuli,
                said,
            )


def _read_subject(
    pairs: Sequence[tuple[Path, xr.Dataset]], signals: dict[str, Signal]
) -> SubjectScores:
    first_path, first = pairs[0]
    attrs = first.attrs
    for path, store in pairs[1:]:
        _check_same_layout(first_path, first, path, store)
    keys = _wanted_rows(first_path, first, signals)
    rows = list(keys.values())
    unit_score = np.stack([store["unit_score"].values[rows] for _, store in pairs], axis=1)
    boot = np.stack([store["boot"].values[:, rows] for _, store in pairs], axis=2)
    null = np.stack([store["null"].values[:, rows] for _, store in pairs], axis=2)
    along_time = attrs["axis"] == TIME
    target = (
        np.empty((len(rows), len(pairs), 0))
        if along_time
        else np.stack([store["score"].values[rows] for _, store in pairs], axis=1)
    )
    units = tuple(map(str, first["unit"].values))
    early, high = ((), ()) if along_time else _poles(attrs, units)
    return SubjectScores(
        **{key: attrs[key] for key in ("study", "dataset", "subject", "modality", "axis", "model")},
        layers=tuple(store.attrs["layer"] for _, store in pairs),
        depths=np.array([float(store.attrs["depth"]) for _, store in pairs]),
        signals=signals,
        units=units,
        unit_time=_seconds_from_onset(first) if along_time else np.full(len(units), np.nan),
        early_rois=early,
        high_rois=high,
        coverage=str(attrs.get("coverage", "")),
        roi_distance={} if along_time else _distances(attrs),
        target_roi=np.empty(0, dtype=str) if along_time else _regions_of_targets(first),
        unit_score={key: unit_score[i].astype(float) for i, key in enumerate(keys)},
        boot={key: boot[:, i].astype(float) for i, key in enumerate(keys)},
        null={key: null[:, i].astype(float) for i, key in enumerate(keys)},
        target_score={key: target[i].astype(float) for i, key in enumerate(keys)},
        onset_source=str(attrs.get("onset_source", "")),
        n_groups=int(attrs["n_groups"]),
        n_folds=int(attrs["settings"]["n_folds"]),
    )


def _poles(attrs: dict, units: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Early and high regions; a data set that names none contrasts the two ends of its order.

    A region is never contrasted with itself: the difference would be 0, whatever was measured.
    """
    early = tuple(attrs.get("early_rois") or units[:1])
    high = tuple(attrs.get("high_rois") or units[-1:])
    return ((), ()) if set(early) & set(high) else (early, high)


def _seconds_from_onset(store: xr.Dataset) -> np.ndarray:
    return store["unit_time"].values.astype(float) - float(store.attrs.get("onset_s", 0.0))


def _regions_of_targets(store: xr.Dataset) -> np.ndarray:
    """Region of each target; ``""`` for those below the noise ceiling that was asked for."""
    reliable = store["reliable"].values.astype(bool)
    return np.where(reliable, store["roi"].values.astype(str), "")


def _distances(attrs: dict) -> dict[str, float]:
    found = {roi: float(mm) for roi, mm in (attrs.get("roi_distance") or {}).items()}
    return {roi: mm for roi, mm in found.items() if np.isfinite(mm)}


def _wanted_rows(
    path: Path, store: xr.Dataset, signals: dict[str, Signal]
) -> dict[tuple[str, str], int]:
    """(signal, measure) -> row of the store, for all that the statistics read.

    Rows are told by name *and* role: all layers' activations may bear the name of a signal.
    """
    columns = [store[name].values.astype(str).tolist() for name in ("signal", "role", "measure")]
    found = {
        (name, measure): row
        for row, (name, role, measure) in enumerate(zip(*columns, strict=True))
        if name in signals and role == signals[name].role
    }
    activation = _activation(signals)
    wanted = [(name, R.name) for name in signals]
    wanted.append((activation, R2.name))
    missing = [key for key in wanted if key not in found]
    if missing:
        raise HierarchyError(
            f"{path}: lacks the score row(s) {missing}; it has {sorted(found)}. "
            f"{rebuild_hint(path)}"
        )
    # Where responses have noise ceilings.
    wanted += [key for name in signals if (key := (name, R_NORMALISED.name)) in found]
    return {key: found[key] for key in wanted}


def _check_same_layout(first_path: Path, first: xr.Dataset, path: Path, store: xr.Dataset) -> None:
    for name in (*IDENTITY, "measure", "unit"):
        if not np.array_equal(first[name].values, store[name].values):
            raise HierarchyError(
                f"{path}: its {name}s are not those of {first_path}, another layer of the same "
                "subject; fit both with the same signal set and responses"
            )
    if first["score"].shape != store["score"].shape:
        raise HierarchyError(
            f"{path}: scores {store['score'].shape} (row, target), {first_path} "
            f"{first['score'].shape}; both must come from the same responses"
        )
