"""Check a whole folder of results: what is damaged or does not fit, and how to rebuild it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.registries import read_yaml
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan
from gradbrain.store import StoreError, read_table, stimuli_digests
from gradbrain.store.atomic import TEMPORARY
from gradbrain.store.errors import DamageError, snakemake_command
from gradbrain.store.file_digests import read_checked, recorded_digest
from gradbrain.store.identity import Place, artefact_at
from gradbrain.store.statistics import DRAWS, DRAWS_DIGEST
from gradbrain.store.stimuli_identity import DIGEST, check_same_pictures
from gradbrain.store.tables import table_facts
from gradbrain.store.write_lock import LOCK, is_held
from gradbrain.store.zarr_store import SEAL, check_files, open_tree
from gradbrain.vocabulary.artefacts import ARTEFACTS, artefact

TABLES = (".csv", ".parquet")
STORE = ".zarr"
# Beside results, and none themselves.
_COMPANIONS = (".provenance.json", ".snakemake_timestamp")
_DIGEST_OF_FEATURES, _DIGESTS_OF_FEATURES = "features_digest", "features_digests"
_DIGEST_OF_RESPONSES = "responses_digest"
# Written and read by one module, and marked as of one kind wherever they lie.
_DRAWS = (DRAWS, "rdm_hierarchy_draws", "universe_hierarchy_draws")


@dataclass(frozen=True)
class Fault:
    """A result that cannot be trusted.

    Attributes
    ----------
    path
        The result.
    place
        Its kind and keys.
    what
        What is wrong with it.
    """

    path: Path
    place: Place
    what: str


@dataclass
class Verification:
    """What a folder of results holds.

    Attributes
    ----------
    n_checked
        Results that were compared with their digests, and are as they were written.
    n_bytes
        Their size.
    faults
        Those that are not, or do not fit to others.
    undigested
        Results of earlier versions, which carry no digest to compare with.
    left_over
        What writers left that were killed; removed when the result is next written.
    foreign
        Files that are no results.
    """

    n_checked: int = 0
    n_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    undigested: list[Path] = field(default_factory=list)
    left_over: list[Path] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)


def verify(results: Path, *, content: bool = False) -> Verification:
    """Check every result below a folder.

    Every file is compared with its SHA-256, every result with its declaration and with the path
    that it lies at, and results with those that they were made from.

    Parameters
    ----------
    results
        The folder ``results``, or one of a study in it.
    content
        Decode stores as well, and compare their content with its digest; takes longer, and finds
        nothing besides in stores whose mark is sealed.
    """
    found = Verification()
    stores: dict[Path, dict[str, Any]] = {}
    for path in _entries(results):
        place = artefact_at(path.resolve())
        if TEMPORARY in path.name or path.name.endswith(LOCK):
            if not _is_being_written(path):
                found.left_over.append(path)
        elif path.name.startswith(".") or path.name.endswith(_COMPANIONS):
            continue
        elif place is None:
            found.foreign.append(path)
        else:
            try:
                _check_one(path, place, found, stores, content=content)
            except StoreError as error:
                found.faults.append(Fault(path, place, _what(error)))
    for path, attrs in stores.items():
        _check_origin(path, attrs, stores, found)
    return found


def _entries(folder: Path) -> Iterator[Path]:
    """Files and stores below a folder; of stores the folder alone."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.suffix != STORE and TEMPORARY not in path.name:
            yield from _entries(path)
        else:
            yield path


def _is_being_written(path: Path) -> bool:
    """Whether a draft, or a lock, is that of a writer that is alive."""
    locks = path.parent.glob(f".*{LOCK}")
    return any(
        path.name.startswith(lock.name.removesuffix(LOCK)) and is_held(lock) for lock in locks
    )


def _what(error: StoreError) -> str:
    return error.what if isinstance(error, DamageError) else str(error)


def _check_one(
    path: Path, place: Place, found: Verification, stores: dict[Path, Any], *, content: bool
) -> None:
    declared = artefact(place.kind)
    partner = _partner(path, place)
    if partner is not None and not partner.exists():
        raise DamageError(path, f"{partner.name} beside it, of the same job, is gone")
    if declared.is_store:
        kind = DRAWS if place.kind in _DRAWS else place.kind
        mark, n_bytes = check_files(path, kind)
        tree = open_tree(path, kind=kind, verify=content)
        stores[path] = {"digest": mark["digest"], **{str(k): v for k, v in tree.attrs.items()}}
        stores[path]["made_from"] = mark.get("made_from", {})
        if SEAL not in mark:
            found.undigested.append(path)
    else:
        n_bytes = path.stat().st_size
        # A figure is three files, of which one is a table.
        is_table = bool(declared.columns) and path.suffix in TABLES
        read_table(path, kind=place.kind) if is_table else read_checked(path)
        if recorded_digest(path) is None:
            found.undigested.append(path)
    found.n_checked += 1
    found.n_bytes += n_bytes


def _partner(path: Path, place: Place) -> Path | None:
    """The store of a table, or the table of a store, where one job writes both."""
    stem = artefact(place.kind).template.removesuffix(path.suffix)
    for other in ARTEFACTS.values():
        if other.kind != place.kind and other.template in (f"{stem}.zarr", f"{stem}.parquet"):
            return path.with_suffix(Path(other.template).suffix)
    return None


def _check_origin(
    path: Path, attrs: Mapping[str, Any], stores: Mapping[Path, Any], found: Verification
) -> None:
    """Compare the digests of what a store was made from with those of what is there."""
    place = artefact_at(path.resolve())
    assert place is not None
    root = path.resolve().as_posix().removesuffix(place.target)
    digests = {item.resolve().as_posix(): about["digest"] for item, about in stores.items()}

    def differs(kind: str, expected: str, **keys: str) -> None:
        source = artefact(kind).path(**keys)
        there = digests.get(root + source)
        if there is not None and there != expected:
            what = f"was made from another {source} than is there ({expected[:12]}, {there[:12]})"
            found.faults.append(Fault(path, place, what))

    keys = {
        **place.keys,
        **{key: str(attrs[key]) for key in ("signal_set", "stimuli") if key in attrs},
    }
    layers = dict(attrs.get(_DIGESTS_OF_FEATURES) or {})
    if _DIGEST_OF_FEATURES in attrs:
        layers[keys["layer"]] = attrs[_DIGEST_OF_FEATURES]
    for layer, digest in layers.items():
        names = ("model", "signal_set", "stimuli")
        differs("features", digest, layer=layer, **{name: keys[name] for name in names})
    if _DIGEST_OF_RESPONSES in attrs:
        own = {name: keys[name] for name in ("study", "subject")}
        differs("responses", attrs[_DIGEST_OF_RESPONSES], **own)
    if place.kind == "features":
        _check_pictures(path, place, attrs, Path(root), found)
    if place.kind in _DRAWS:
        table = path.with_suffix(".parquet")
        if table.exists() and table_facts(table).get(DRAWS_DIGEST) != attrs["digest"]:
            found.faults.append(Fault(path, place, f"is of another run than {table.name}"))


def _check_pictures(
    path: Path, place: Place, attrs: Mapping[str, Any], root: Path, found: Verification
) -> None:
    table = root / artefact("stimuli").path(stimuli=place.keys["stimuli"])
    if not table.exists():
        return
    try:
        expected = {"stimuli_digests": stimuli_digests(read_table(table, kind="stimuli"))}
        check_same_pictures(path, {DIGEST: attrs.get(DIGEST)}, expected, table)
    except DamageError as error:
        # A damaged table was told already.
        if error.path == path:
            found.faults.append(Fault(path, place, error.what))


# --- how to rebuild ------------------------------------------------------------------------------


def commands(faults: Sequence[Fault], configs: Sequence[Path], root: Path) -> list[str]:
    """Write the commands that make damaged results again, one for each config.

    Parameters
    ----------
    faults
        Results, of any studies.
    configs
        Config files of studies.
    root
        Folder of the checkout.
    """
    plans = {str(config): plan for config in configs if (plan := _plan(config, root)) is not None}
    by_config: dict[str, dict[str, str]] = {}
    for fault in faults:
        config = next((name for name, plan in plans.items() if _makes(plan, fault.place)), "")
        by_config.setdefault(config, {})[fault.place.target] = str(fault.path)
    return [
        f"rm -r {' '.join(map(shlex.quote, paths.values()))} && "
        + snakemake_command(None, *paths, config=config or None)
        for config, paths in sorted(by_config.items())
    ]


def _plan(config: Path, root: Path) -> Plan | None:
    """Plan of a study; None where the file is no config of one, or is out of date."""
    try:
        return Plan(load_study(read_yaml(config), root=root, where=str(config)), root)
    except GradbrainError:
        return None


def _makes(plan: Plan, place: Place) -> bool:
    """Whether a study makes what lies at a place."""
    keys = place.keys
    if "study" in keys:
        return keys["study"] == plan.study.name
    if place.kind == "stimuli":
        return keys["stimuli"] in {**plan.stimuli, **plan.study.chosen_stimuli}
    if place.kind == "features":
        names = ("model", "signal_set", "layer", "stimuli")
        return tuple(keys[name] for name in names) in plan.all_features()
    return keys["model"] in plan.networks
