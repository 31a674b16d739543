"""Results of the layout before (version 2) in the present one, where their values do not change.

Features, responses and encoding results are brought over: they cost hours of GPUs and cores. Tables
of images stay as they are. Everything else (ceilings, RSA, scores, maps, hierarchy, claims,
figures, report) is made from these in minutes and is not brought over.

Every value of a store is compared with its digest before, and every array with itself after. Files
of arrays are moved, not written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition, model_definition, signal_definition
from gradbrain.config.plugins import uncertain_signals
from gradbrain.config.registries import Registries
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.encoding.assemble import BAND_WEIGHT_OF, fit_coords
from gradbrain.encoding.measures import ALL_ACTIVATIONS, Fit, LayerFits, fit_label
from gradbrain.encoding.tables import tidy_scores
from gradbrain.store import SignalIdentity, StoreError, open_tree, write_store, write_table
from gradbrain.store.atomic import drafting, replace
from gradbrain.store.provenance import provenance_path, write_provenance
from gradbrain.store.zarr_store import (
    FOREIGN_FILES,
    MARK,
    SHARD_BYTES,
    _create_array,
    _digest_arrays,
    _encode,
    _mark_complete,
    _open_group,
    _plain,
    check_declared,
)
from gradbrain.vocabulary.artefacts import SIGNALS, artefact
from gradbrain.vocabulary.roles import ACTIVATION

log = logging.getLogger(__name__)

KINDS = ("features", "responses", "encoding")
BEFORE = 2


class MigrationError(GradbrainError):
    """A result that cannot be brought over: says which and why; it is left as it is."""


@dataclass
class Migration:
    """What was done with the stores of a results folder.

    Attributes
    ----------
    done, kept
        Stores that were brought over, and those that are of the present layout.
    refused
        Store -> why it was left as it is.
    """

    done: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)


def stores_of(results: Path, kind: str) -> list[Path]:
    """Stores of a kind below a results folder, whatever their layout."""
    pattern = artefact(kind).path(**dict.fromkeys(artefact(kind).keys, "*"))
    found = results.glob(pattern.partition("/")[2])
    shared = {"features", "feedback", "stimuli"}
    return sorted(
        path
        for path in found
        if kind == "features" or path.relative_to(results).parts[0] not in shared
    )


def migrate(results: Path, registries: Registries, *, dry_run: bool = False) -> Migration:
    """Bring the stores of a results folder to the present layout, one after the other.

    Parameters
    ----------
    results
        The folder ``results``.
    registries
        Where the entries are looked up that the results were made from.
    dry_run
        Check everything and write nothing.

    Returns
    -------
    Migration
        A store that cannot be brought over is left as it is and named there.
    """
    report = Migration()
    digests: dict[str, str] = {}
    for kind in KINDS:
        for path in stores_of(results, kind):
            try:
                mark = _mark_of(path, kind)
                if "version" in mark:
                    report.kept.append(path)
                    continue
                with warnings.catch_warnings():
                    # zarr wonders at the file that Snakemake writes into folders.
                    warnings.simplefilter("ignore")
                    new = _MIGRATE[kind](path, registries, digests, dry_run)
            except (MigrationError, StoreError) as error:
                report.refused[path] = str(error)
                continue
            digests[mark["digest"]] = new
            report.done.append(path)
            log.info("%s: brought over", path)
    return report


# --- stores as they are ------------------------------------------------------------------------


def _mark_of(path: Path, kind: str) -> dict[str, Any]:
    try:
        mark = json.loads((path / "zarr.json").read_text())["attributes"][MARK]
    except (OSError, ValueError, KeyError):
        raise MigrationError(f"{path}: is not marked complete") from None
    if mark.get("kind") != kind or mark.get("complete") is not True:
        raise MigrationError(f"{path}: holds {mark.get('kind')!r}, expected a complete {kind!r}")
    if "version" not in mark:
        for name, size in mark["files"].items():
            if not (path / name).is_file() or (path / name).stat().st_size != size:
                raise MigrationError(f"{path}: its file {name} is missing or of another size")
    return dict(mark)


def _read(path: Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Content of a store of the layout before, compared with its digest, and its mark."""
    dataset = _open_group(path, "").load()
    mark = dataset.attrs.pop(MARK)
    arrays = {
        str(name): (tuple(map(str, variable.dims)), _encode(np.asarray(variable.values)))
        for name, variable in dataset.variables.items()
    }
    found = _digest_arrays(arrays, _plain(dataset.attrs), mark.get("columns", {}))
    if found != mark["digest"]:
        raise MigrationError(f"{path}: its content is not that which it was marked with")
    return dataset, mark


def _value_digest(values: np.ndarray) -> str:
    encoded = np.ascontiguousarray(_encode(np.asarray(values)))
    return hashlib.sha256(repr(encoded.shape).encode() + encoded.tobytes()).hexdigest()


def _check_same(path: Path, before: xr.Dataset, after: Mapping[str, xr.DataArray]) -> None:
    """Compare each array of the store before with the one that it became."""
    for name in map(str, before.variables):
        if name not in after or _value_digest(after[name].values) != _value_digest(
            before[name].values
        ):
            raise MigrationError(f"{path}: {name!r} did not come out as it went in")


def _copy(path: Path, target: Path) -> None:
    """Copy a store; files of arrays are linked where the file system can."""

    def link(source: str, destination: str) -> str:
        if source.endswith("zarr.json"):
            return str(shutil.copy2(source, destination))
        try:
            os.link(source, destination)
        except OSError:
            shutil.copy2(source, destination)
        return destination

    ignore = shutil.ignore_patterns(*FOREIGN_FILES)
    shutil.copytree(path, target, copy_function=link, ignore=ignore)


def _take_over_provenance(path: Path, digest: str) -> None:
    """Keep what was written of the run that made the store, and say that it was brought over."""
    file = provenance_path(path)
    before = json.loads(file.read_text()) if file.is_file() else {}
    write_provenance(path, digest=digest, migrated_from=BEFORE, run=before)


# --- features -----------------------------------------------------------------------------------


def _weights(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of an entry as it was written before."""
    if entry["untrained"]:
        return {"source": "random", "seed": entry["seed"]}
    if entry["checkpoint"] is not None:
        found = {"path": entry["checkpoint"], "sha256": entry["checkpoint_sha256"]}
        return {"source": "file", **_given(found)}
    found = {
        "tag": entry["pretrained"],
        "revision": entry["revision"],
        "sha256": entry["checkpoint_sha256"],
    }
    return {"source": "hub", **_given(found)}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _model_entry(entry: Mapping[str, Any]) -> ModelEntry:
    gone = {"untrained", "seed", "checkpoint", "checkpoint_sha256", "pretrained", "revision"}
    kept = {key: value for key, value in entry.items() if key not in gone}
    return ModelEntry.model_validate({**kept, "weights": _weights(entry)})


def _signal_set(entry: Mapping[str, Any]) -> SignalSet:
    return SignalSet.model_validate(entry)


def _definition(path: Path, attrs: Mapping[str, Any], registries: Registries) -> str:
    """Definition of features by the present rules, if their entries say what they said."""
    model, signal_set = str(attrs["model"]), str(attrs["signal_set"])
    plugins = registries.plugins
    now = feature_definition(
        registries.model(model, where=str(path)),
        registries.signal_set(signal_set, where=str(path)),
        plugins,
    )
    then = feature_definition(
        _model_entry(attrs["model_entry"]), _signal_set(attrs["signal_set_entry"]), plugins
    )
    if now != then:
        raise MigrationError(
            f"{path}: the entries of model {model!r} and signal set {signal_set!r} are not those "
            "that it was made from; name the registries that hold them (--registry), or remove it"
        )
    drawn = uncertain_signals(registries.signal_set(signal_set, where=str(path)), plugins)
    if drawn:
        raise MigrationError(
            f"{path}: holds {', '.join(signal.name for signal in drawn)}, whose views or masks are "
            "drawn in another way now; remove it, so that it is made again"
        )
    return now


def _identity(signals: tuple[SignalEntry, ...], names: list[str]) -> dict[str, list[str]]:
    by_name = {signal.name: signal for signal in signals}
    found = [by_name[name] for name in names]
    return {
        "role": [signal.role for signal in found],
        "rule": [signal.rule for signal in found],
        "objective": [signal.objective or "" for signal in found],
    }


def _migrate_features(
    path: Path, registries: Registries, digests: Mapping[str, str], dry_run: bool
) -> str:
    before, _ = _read(path)
    attrs = dict(before.attrs)
    definition = _definition(path, attrs, registries)
    model = _model_entry(attrs["model_entry"])
    signal_set = _signal_set(attrs["signal_set_entry"])
    names = [str(name) for name in before["signal"].values]
    for key in ("roles", "objectives"):
        attrs.pop(key)
    attrs |= {
        "definition": definition,
        "model_entry": model_definition(model, signal_set, registries.plugins),
        "signal_set_entry": {
            **signal_set.without_words(),
            "signals": [signal_definition(item, registries.plugins) for item in signal_set.signals],
        },
    }
    identity = _identity(signal_set.signals, names)

    def change(group: zarr.Group, folder: Path) -> None:
        group.create_group(SIGNALS, attributes={"coordinates": ""})
        for name in names:
            (folder / name).rename(folder / SIGNALS / name)
        for name, values in identity.items():
            _add_array(group, name, ("signal",), np.array(values))

    coordinates = sorted([*map(str, before.coords), *identity])
    after = {str(name): str(name) for name in before.variables}
    after |= {name: f"{SIGNALS}/{name}" for name in names}
    return _rewrite(
        path, "features", attrs, coordinates, before, after, change, groups=[SIGNALS],
        dry_run=dry_run,
    )  # fmt: skip


# --- responses ----------------------------------------------------------------------------------


def _migrate_responses(
    path: Path, registries: Registries, digests: Mapping[str, str], dry_run: bool
) -> str:
    before, _ = _read(path)
    attrs = dict(before.attrs)
    modality = registries.modality(str(attrs["modality"]), where=str(path))
    attrs |= {"axis": modality.axis, "sensors": modality.sensors}
    coordinates = sorted(map(str, before.coords))
    after = {str(name): str(name) for name in before.variables}
    return _rewrite(path, "responses", attrs, coordinates, before, after, None, dry_run=dry_run)


def _add_array(group: zarr.Group, name: str, dims: tuple[str, ...], values: np.ndarray) -> None:
    array = _create_array(group, name, dims, values.shape, values.dtype, {}, SHARD_BYTES)
    array[...] = values


def _rewrite(
    path: Path,
    kind: str,
    attrs: Mapping[str, Any],
    coordinates: list[str],
    before: xr.Dataset,
    after: Mapping[str, str],
    change: Any,
    *,
    groups: list[str] | None = None,
    dry_run: bool,
) -> str:
    """Write the metadata of a store anew, beside it, compare all values, and move it into place."""
    columns = json.loads((path / "zarr.json").read_text())["attributes"][MARK].get("columns")
    with drafting(path) as temporary:
        _copy(path, temporary)
        root = json.loads((temporary / "zarr.json").read_text())
        root["attributes"] = {**_plain(attrs), "coordinates": " ".join(coordinates)}
        (temporary / "zarr.json").write_text(json.dumps(root, indent=1))
        if change is not None:
            change(zarr.open_group(temporary, mode="r+"), temporary)
        nodes = {name: _open_group(temporary, name) for name in ["", *(groups or [])]}
        found = {
            f"{group}/{name}".strip("/"): dataset[name]
            for group, dataset in nodes.items()
            for name in map(str, dataset.variables)
        }
        _check_same(path, before, {name: found[place] for name, place in after.items()})
        check_declared(path, kind, {name: tuple(map(str, a.dims)) for name, a in found.items()})
        arrays = {
            name: (tuple(map(str, array.dims)), _encode(np.asarray(array.values)))
            for name, array in found.items()
        }
        group_attrs: dict[str, Any] = {name: {} for name in groups or []}
        digest = _digest_arrays(arrays, _plain(attrs), columns or {}, group_attrs)
        _mark_complete(temporary, kind, digest, columns=columns, groups=group_attrs)
        if not dry_run:
            open_tree(temporary, kind=kind, verify=True)
            replace(temporary, path)
            _take_over_provenance(path, digest)
    return digest


# --- encoding -----------------------------------------------------------------------------------


def _migrate_encoding(
    path: Path, registries: Registries, digests: Mapping[str, str], dry_run: bool
) -> str:
    before, mark = _read(path)
    before = _without_second_activation(before)
    attrs = dict(before.attrs)
    signals = _signals_of_fit(path, attrs.pop("roles"), attrs.pop("objectives"), registries)
    modality = registries.modality(str(attrs["modality"]), where=str(path))
    settings = dict(attrs["settings"])
    if settings.pop("third_band"):
        raise MigrationError(f"{path}: was made with encoding.third_band, which is gone; fit anew")
    edge_share = float(attrs.pop("edge_share"))
    attrs |= {
        "axis": modality.axis,
        "sensors": modality.sensors,
        "settings": {**settings, "nuisance": []},
        "band_weight_of": BAND_WEIGHT_OF,
        **{
            key: digests.get(str(attrs[key]), attrs[key])
            for key in ("features_digest", "responses_digest")
        },
    }
    fits = _fits(path, before, signals)
    names = before["signal"].values.astype(str)
    rows = [ALL_ACTIVATIONS if name == ALL_ACTIVATIONS.name else signals[name] for name in names]
    labels = list(before["fit"].values.astype(str))
    row_fit = [labels.index(name) for name in before["row_fit"].values.astype(str)]
    after = before.drop_vars("row_fit").assign_coords(
        role=("score_row", np.array([row.role for row in rows])),
        rule=("score_row", np.array([row.rule for row in rows])),
        objective=("score_row", np.array([row.objective for row in rows])),
        row_fit=("score_row", np.array(row_fit)),
        # The share of each signal was not kept: all have that of the job.
        edge_share=("score_row", np.full(len(names), edge_share)),
        **fit_coords(fits),
    )
    # Fits of before did not look for targets that are dead in a fold.
    after.attrs = attrs | {"n_unit_masked": [0] * before.sizes["unit"]}
    kept = before.drop_vars("row_fit")
    _check_same(path, kept, {str(name): after[name] for name in after.variables})
    if dry_run:
        return str(mark["digest"])
    table = path.with_suffix(".parquet")
    digest = write_store(path, after, kind="encoding")
    _take_over_provenance(path, digest)
    write_table(table, tidy_scores(after), kind="fit_scores")
    return digest


def _without_second_activation(before: xr.Dataset) -> xr.Dataset:
    """Leave out the fit that offered a layer's activation a second time: there is none any more."""
    roles = before.attrs["roles"]
    activation = next(name for name, role in roles.items() if role == ACTIVATION)
    gone = f"{ALL_ACTIVATIONS.name}+{activation}"
    return before.isel(
        fit=np.flatnonzero(before["fit"].values.astype(str) != gone),
        score_row=np.flatnonzero(before["row_fit"].values.astype(str) != gone),
    )


def _signals_of_fit(
    path: Path, roles: Mapping[str, str], objectives: Mapping[str, str], registries: Registries
) -> dict[str, SignalIdentity]:
    """Identity of each signal of a fit, in the order of its features; rules from the registries."""
    found = {}
    for name, role in roles.items():
        entry = registries.signal(name, where=str(path))
        if (entry.role, entry.objective or "") != (role, objectives[name]):
            raise MigrationError(
                f"{path}: signal {name!r} is {role!r} of objective {objectives[name]!r}, its entry "
                f"says {entry.role!r} of {entry.objective!r}"
            )
        found[name] = SignalIdentity(name, entry.role, entry.rule, entry.objective or "")
    return found


def _fits(path: Path, before: xr.Dataset, signals: Mapping[str, SignalIdentity]) -> list[Fit]:
    """Fits of a store by their bands, which must be those that its labels name."""
    activation = next(signal for signal in signals.values() if signal.role == ACTIVATION)
    others = tuple(signal for signal in signals.values() if signal != activation)
    fits = LayerFits(activation, others).fits
    labels = list(before["fit"].values.astype(str))
    if labels != [fit_label(fit) for fit in fits]:
        raise MigrationError(f"{path}: holds the fits {labels}, which are not known; fit anew")
    return fits


_MIGRATE = {
    "features": _migrate_features,
    "responses": _migrate_responses,
    "encoding": _migrate_encoding,
}


def describe(report: Migration) -> Iterator[str]:
    """Say in lines what was done."""
    yield (
        f"{len(report.done)} stores brought over, {len(report.kept)} are of the present layout, "
        f"{len(report.refused)} left as they are"
    )
    yield from (f"left: {reason}" for reason in report.refused.values())
