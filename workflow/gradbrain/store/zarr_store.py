"""Zarr stores that are complete or refused.

A store is written to a temporary sibling, checked against the declaration of its kind, marked
complete in its root attributes with its kind and version, a digest of its content, size and SHA-256
of each of its files and one of the mark itself, and only then renamed. Before the mark the files
are compared with those that the arrays ask for. A reader checks the mark, and every file that it
reads against its SHA-256 (:mod:`gradbrain.store.verified_files`), so that lost or cut chunks (which
Zarr would read as fill values), swapped ones and edited metadata are errors and not data.

A store may hold groups: then it is written from, and read as, a tree
(:func:`write_tree`, :func:`open_tree`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

from gradbrain.store.atomic import Draft, drafting, remove, replace
from gradbrain.store.errors import DamageError, StoreError, writing
from gradbrain.store.file_digests import sha256_of
from gradbrain.store.identity import misplaced
from gradbrain.store.provenance import provenance_path, write_provenance
from gradbrain.store.verified_files import VerifiedFiles
from gradbrain.vocabulary.artefacts import Variable, artefact

MARK = "gradbrain"
#: Key of the mark that holds the SHA-256 of the mark without it; stores of before have none.
SEAL = "seal"
#: Key of the mark that says what the store was made from and its content does not tell.
MADE_FROM = "made_from"
# With a key that is none of these a mark is damaged: one whose seal lost its name, say.
_MARK_KEYS = {
    *("kind", "version", "complete", "digest", "metadata_sha256", "files", "columns", "groups"),
    *(SEAL, MADE_FROM),
}
CHUNK_BYTES = 4 * 2**20
SHARD_BYTES = 128 * 2**20
STREAM_SHARD_BYTES = 16 * 2**20
# Snakemake writes this file into folders that are outputs of a job.
FOREIGN_FILES = {".snakemake_timestamp"}


def _chunks_and_shards(
    shape: tuple[int, ...], itemsize: int, shard_bytes: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose chunks of about 4 MiB and shards of `shard_bytes` along the first axis."""
    if not shape or 0 in shape:
        return tuple(max(1, size) for size in shape), tuple(max(1, size) for size in shape)
    row = itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows_per_chunk = int(np.clip(CHUNK_BYTES // max(row, 1), 1, shape[0]))
    chunks_per_shard = max(1, min(-(-shape[0] // rows_per_chunk), shard_bytes // CHUNK_BYTES))
    chunk = (rows_per_chunk, *shape[1:])
    return chunk, (rows_per_chunk * chunks_per_shard, *shape[1:])


def _encode(values: np.ndarray) -> np.ndarray:
    """Turn strings into fixed-width unicode, the one string type that is stable on disk."""
    if values.dtype.kind in "OT":
        return np.asarray([str(value) for value in values.ravel()], dtype=np.str_).reshape(
            values.shape
        )
    return values


def _variable_digest(
    name: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype
) -> Any:
    """Start the digest of one variable; its bytes, in row order, follow."""
    return hashlib.sha256(f"{name} {dims} {shape} {dtype.str}".encode())


def _bytes(values: np.ndarray) -> memoryview:
    """Bytes of an array in row order, without a copy where they are so in memory."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _content_digest(
    digests: Mapping[str, Any], attrs: Mapping[str, Any], groups: Mapping[str, Any] | None = None
) -> str:
    """Combine the digests of the variables with the attributes of the root and of groups."""
    whole = hashlib.sha256(json.dumps(attrs, sort_keys=True).encode())
    if groups:
        whole.update(json.dumps(groups, sort_keys=True).encode())
    for name in sorted(digests):
        whole.update(digests[name].digest())
    return whole.hexdigest()


def _digest_arrays(
    arrays: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    attrs: Mapping[str, Any],
    columns: Mapping[str, int],
    groups: Mapping[str, Any] | None = None,
) -> str:
    """Digest of a store; `columns` names variables digested so many columns at a time."""
    digests = {}
    for name, (dims, values) in arrays.items():
        digests[name] = _variable_digest(name, dims, values.shape, values.dtype)
        if name in columns:
            content = hashlib.sha256()
            for start in range(0, values.shape[-1], columns[name]):
                piece = values[..., start : start + columns[name]]
                content.update(np.ascontiguousarray(piece).data)
            digests[name].update(content.digest())
        else:
            digests[name].update(_bytes(values))
    return _content_digest(digests, attrs, groups)


def _paths(path: Path) -> list[Path]:
    """Files of a store but its root metadata, which holds the mark."""
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in FOREIGN_FILES and file != path / "zarr.json"
    ]


def _files(path: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file of a store but its root metadata, by relative path."""
    return {
        file.relative_to(path).as_posix(): {
            "size": file.stat().st_size,
            "sha256": sha256_of(file),
        }
        for file in _paths(path)
    }


def metadata_sha256(metadata: Mapping[str, Any]) -> str:
    """SHA-256 of the root metadata of a store, without the mark in it."""
    attributes = {key: value for key, value in metadata["attributes"].items() if key != MARK}
    plain = json.dumps({**metadata, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Make attributes JSON: numpy scalars and arrays become Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value


def _create_array(
    group: zarr.Group,
    name: str,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: np.dtype,
    attrs: Mapping[str, Any],
    shard_bytes: int,
) -> zarr.Array:
    chunks, shards = _chunks_and_shards(shape, dtype.itemsize, shard_bytes)
    with warnings.catch_warnings():
        # Fixed-width unicode has no place in the Zarr v3 specification yet; zarr-python reads
        # and writes it, and says so in a warning for each array.
        warnings.simplefilter("ignore")
        return group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            # A single number has nothing to share a file with, and Zarr does not write it so.
            shards=shards or None,
            # With a checksum in each chunk, changed bytes are an error and never data.
            compressors=ZstdCodec(level=1, checksum=True),
            dimension_names=dims,
            attributes=dict(attrs),
            # Chunks of zeros are written as well: each file that is missing is then a loss.
            config={"write_empty_chunks": True},
        )


def _expected_files(array: zarr.Array) -> set[str]:
    """Files of an array, by its metadata in memory: that on disk, and a chunk or shard each."""
    place = array.path
    sizes = array.shards or array.chunks
    counts = [-(-length // size) for length, size in zip(array.shape, sizes, strict=True)]
    chunks = {
        "/".join([place, "c", *map(str, where)]) for where in itertools.product(*map(range, counts))
    }
    return {f"{place}/zarr.json", *chunks}


def _check_files(
    final: Path, path: Path, arrays: Iterable[zarr.Array], groups: Iterable[str]
) -> None:
    """Compare the files of a store that was written with those that it must have.

    Raises
    ------
    StoreError
        A file is missing, or is there that nobody wrote. Nothing is marked complete.
    """
    # Groups in groups have parents that nobody named.
    homes = {str(home) for group in groups for home in (group, *PurePosixPath(group).parents)}
    homes.discard(".")
    expected = {f"{home}/zarr.json" for home in homes}.union(*map(_expected_files, arrays))
    found = {file.relative_to(path).as_posix() for file in _paths(path)}
    missing, foreign = sorted(expected - found), sorted(found - expected)
    if missing or foreign:
        raise StoreError(
            f"{final}: of the {len(expected)} files that were written {len(missing)} are gone "
            f"({', '.join(missing[:3]) or 'none'}), {len(foreign)} are there besides "
            f"({', '.join(foreign[:3]) or 'none'}): another process was at work in {path.name}; "
            "nothing was kept. Run it again, once"
        )


def _mark_complete(
    path: Path,
    kind: str,
    digest: str,
    *,
    columns: Mapping[str, int] | None = None,
    groups: Mapping[str, Any] | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> None:
    """Mark the store complete: the last step before it is renamed."""
    root = path / "zarr.json"
    metadata = json.loads(root.read_text())
    mark = {
        "kind": kind,
        "version": artefact(kind).version,
        "complete": True,
        "digest": digest,
        "metadata_sha256": metadata_sha256(metadata),
        "files": _files(path),
        **({"columns": dict(columns)} if columns else {}),
        **({"groups": sorted(groups)} if groups else {}),
        **({MADE_FROM: _plain(made_from)} if made_from else {}),
    }
    metadata["attributes"][MARK] = {**mark, SEAL: mark_seal(mark)}
    root.write_text(json.dumps(metadata, indent=1))


def mark_seal(mark: Mapping[str, Any]) -> str:
    """SHA-256 of a mark, without the seal in it."""
    plain = {key: value for key, value in mark.items() if key != SEAL}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def check_declared(path: Path, kind: str, found: Mapping[str, tuple[str, ...]]) -> None:
    """Compare the arrays of a store with the declaration of its kind.

    Parameters
    ----------
    path
        The store, named in errors.
    kind
        What it holds.
    found
        Name -> dimensions of its arrays.

    Raises
    ------
    StoreError
        An array that is declared is missing, or has other dimensions. Nothing is written.
    """
    alternatives: dict[str, list[Variable]] = {}
    for variable in artefact(kind).variables:
        # Names with < > stand for one array for each of something.
        if "<" not in variable.name:
            alternatives.setdefault(variable.name, []).append(variable)
    for name, declared in alternatives.items():
        expected = " or ".join(str(variable.dims) for variable in declared)
        if name not in found:
            if not any(variable.optional for variable in declared):
                raise StoreError(
                    f"{path}: a store of kind {kind!r} holds {name!r} with dimensions {expected}; "
                    "it was not given, and nothing was written"
                )
            continue
        if declared[0].optional:
            continue
        if found[name] not in [variable.dims for variable in declared]:
            raise StoreError(
                f"{path}: {name!r} has dimensions {found[name]}, expected {expected} in a store "
                f"of kind {kind!r}; nothing was written"
            )


def _check_values(path: Path, name: str, values: np.ndarray, attrs: Mapping[str, Any]) -> None:
    if values.dtype.kind == "f" and not attrs.get("missing_allowed", False):
        with np.errstate(over="ignore", invalid="ignore"):
            # Anything that is not finite makes the sum so; it is found without a copy.
            if np.isfinite(values.sum()):
                return
        bad = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
        if bad:
            raise StoreError(
                f"{path}: variable {name!r} holds {bad} of {values.size} values that are not "
                "finite; nothing was written"
            )


def write_store(
    path: str | os.PathLike[str],
    dataset: xr.Dataset,
    *,
    kind: str,
    provenance: dict[str, Any] | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> str:
    """Write a data set as a complete Zarr store, in one step.

    Parameters
    ----------
    path
        Where the store goes; whatever stands there is replaced once the new one is whole.
    dataset
        Variables with named dimensions. Values that are not finite are refused, except in
        variables whose attributes say ``missing_allowed``.
    kind
        What the store holds, as ``gradbrain.vocabulary.artefacts`` declares it; readers ask for it.
    provenance
        Facts that vary from run to run; written beside the store.
    made_from
        What the store was made from and its content does not tell, for :func:`read_made_from`. It
        has no part in the digest of the content.

    Returns
    -------
    str
        SHA-256 of the content: equal data give equal digests.

    Raises
    ------
    StoreError
        A value is not finite, the arrays are not those that the kind declares, another process
        writes the same store, the disk is full, or the folder cannot be written. Nothing is kept.
    """
    tree = xr.DataTree(dataset)
    return write_tree(path, tree, kind=kind, provenance=provenance, made_from=made_from)


def write_tree(
    path: str | os.PathLike[str],
    tree: xr.DataTree,
    *,
    kind: str,
    provenance: dict[str, Any] | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> str:
    """Write a tree of data sets as one complete Zarr store, a group for each.

    Parameters
    ----------
    path, kind, provenance, made_from
        As for :func:`write_store`.
    tree
        Its root, and groups directly below it.

    Returns
    -------
    str
        SHA-256 of the content.

    Raises
    ------
    StoreError
        As for :func:`write_store`.
    """
    path = Path(path)
    nodes = {
        node.path.strip("/"): node.to_dataset(inherit=False)
        for node in tree.subtree
        if node.path == "/" or node.has_data or node.attrs
    }
    arrays, attributes = {}, {}
    for group, dataset in nodes.items():
        attributes[group] = _plain(dataset.attrs)
        for name, variable in dataset.variables.items():
            values = _encode(np.asarray(variable.values))
            _check_values(path, f"{group}/{name}".strip("/"), values, variable.attrs)
            place = f"{group}/{name}".strip("/")
            arrays[place] = (tuple(map(str, variable.dims)), values, _plain(variable.attrs))
    check_declared(path, kind, {name: dims for name, (dims, _, _) in arrays.items()})
    with drafting(path) as temporary:
        root = zarr.create_group(temporary)
        for group, dataset in nodes.items():
            home = root.create_group(group) if group else root
            coordinates = " ".join(sorted(map(str, dataset.coords)))
            home.update_attributes({**attributes[group], "coordinates": coordinates})
        written = []
        for name, (dims, values, attrs) in arrays.items():
            array = _create_array(root, name, dims, values.shape, values.dtype, attrs, SHARD_BYTES)
            array[...] = values
            written.append(array)
        groups = {name: attrs for name, attrs in attributes.items() if name}
        plain = {name: (dims, values) for name, (dims, values, _) in arrays.items()}
        digest = _digest_arrays(plain, attributes[""], {}, groups)
        _check_files(path, temporary, written, groups)
        _mark_complete(temporary, kind, digest, groups=groups, made_from=made_from)
        replace(temporary, path)
    if provenance is not None:
        write_provenance(path, digest=digest, **provenance)
    return digest


def read_definition(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the attributes of a store without opening its arrays; empty if there is no store."""
    root = Path(path) / "zarr.json"
    try:
        attributes = json.loads(root.read_text())["attributes"]
    except (OSError, ValueError, KeyError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def array_shape(path: str | os.PathLike[str], name: str) -> tuple[int, ...] | None:
    """Read the shape of a variable without opening it; None if there is no such store."""
    try:
        metadata = json.loads((Path(path) / name / "zarr.json").read_text())
        return tuple(int(size) for size in metadata["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_made_from(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a store says that it was made from; empty where it says nothing."""
    mark = read_definition(path).get(MARK)
    found = mark.get(MADE_FROM) if isinstance(mark, dict) else None
    return found if isinstance(found, dict) else {}


def _check_complete(path: Path, kind: str) -> tuple[bytes, dict[str, Any]]:
    """Root metadata of a store, and its mark, once both are as they were written."""
    if not path.is_dir():
        raise DamageError(path, "there is no such store")
    content, metadata = _root_metadata(path)
    attributes = metadata.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    mark = attributes.get(MARK)
    if not isinstance(mark, dict) or mark.get("complete") is not True:
        raise DamageError(
            path, "is not marked complete: it was cut short or was not written by gradbrain"
        )
    if not mark.keys() <= _MARK_KEYS or mark.get(SEAL, mark_seal(mark)) != mark_seal(mark):
        raise DamageError(path, "the mark in its zarr.json was changed or damaged")
    if mark["kind"] != kind:
        raise DamageError(path, f"holds {mark['kind']!r}, expected {kind!r}")
    if mark.get("version") != artefact(kind).version:
        raise _other_version(path, kind, mark.get("version"))
    if metadata_sha256(metadata) != mark["metadata_sha256"]:
        raise DamageError(path, "its metadata zarr.json was changed or damaged")
    for relative, about in mark["files"].items():
        file = path / relative
        found = file.stat().st_size if file.exists() else None
        if found != about["size"]:
            state = (
                "is missing" if found is None else f"has {found} bytes, expected {about['size']}"
            )
            raise DamageError(path, f"its file {relative} {state}")
    wrong = misplaced(path, {key: [value] for key, value in attributes.items()})
    if wrong:
        raise DamageError(path, f"holds {kind} of {wrong}")
    return content, mark


def _root_metadata(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Bytes of the root metadata and what they say; nothing where they are no JSON of ours."""
    try:
        content = (path / "zarr.json").read_bytes()
        metadata = json.loads(content)
    except FileNotFoundError:
        return b"", {}
    except OSError as error:
        raise DamageError(path, f"its file zarr.json cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        return b"", {}
    return content, metadata if isinstance(metadata, dict) else {}


def _other_version(path: Path, kind: str, version: int | None) -> DamageError:
    """Say that a store is of another version of its kind, and what to do."""
    found = "an earlier layout of results" if version is None else f"version {version} of its kind"
    return DamageError(
        path,
        f"{kind} of {found}, expected version {artefact(kind).version}. To keep what can be kept: "
        "python scripts/migrate_results.py results",
    )


def _verify_files(path: Path, mark: Mapping[str, Any]) -> None:
    """Compare every file with its SHA-256; the root metadata were compared already."""
    for relative, about in mark["files"].items():
        if sha256_of(path / relative) != about["sha256"]:
            raise DamageError(path, f"its file {relative} was changed or damaged")
    listed = {path / relative for relative in mark["files"]}
    foreign = [file for file in _paths(path) if file not in listed]
    if foreign:
        raise DamageError(
            path, f"holds the file {foreign[0].relative_to(path)}, which its mark does not list"
        )


def check_files(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], int]:
    """Compare every file of a store with its SHA-256, without decoding any.

    Returns
    -------
    mark, n_bytes
        Mark of the store, and the size of its files.

    Raises
    ------
    StoreError
        As for :func:`open_store`.
    """
    path = Path(path)
    try:
        _, mark = _check_complete(path, kind)
        _verify_files(path, mark)
    except OSError as error:
        raise DamageError(path, f"cannot be read ({error.strerror}: {error.filename})") from error
    return mark, sum(about["size"] for about in mark["files"].values())


def _open_group(source: Path | VerifiedFiles, group: str) -> xr.Dataset:
    dataset = xr.open_zarr(
        source,
        group=group or None,
        consolidated=False,
        zarr_format=3,
        chunks=None,
        decode_cf=False,
    )
    coordinates = str(dataset.attrs.pop("coordinates", "")).split()
    return dataset.set_coords([name for name in coordinates if name in dataset])


def open_store(path: str | os.PathLike[str], *, kind: str, verify: bool = False) -> xr.Dataset:
    """Open a store lazily, or refuse it; of a store with groups its root alone.

    Whatever is read of it is compared with its SHA-256, now or when it is read.

    Parameters
    ----------
    path
        The store.
    kind
        What it must hold.
    verify
        Compare at once every file with its SHA-256, and the content with its digest.

    Raises
    ------
    StoreError
        The store is missing, incomplete, changed, of another kind or version, of another subject,
        model or study than its path says, or not gradbrain's; the message names it and how to make
        it again. Changed values are an error when they are read.
    """
    return _open(Path(path), kind, verify=verify, groups=verify)[""]


def open_tree(path: str | os.PathLike[str], *, kind: str, verify: bool = False) -> xr.DataTree:
    """Open a store with groups lazily, or refuse it.

    Parameters
    ----------
    path, kind, verify
        As for :func:`open_store`.

    Returns
    -------
    xarray.DataTree
        A node for each group; the root has the attributes of the store.

    Raises
    ------
    StoreError
        As for :func:`open_store`.
    """
    nodes = _open(Path(path), kind, verify=verify, groups=True)
    return xr.DataTree.from_dict({f"/{group}": dataset for group, dataset in nodes.items()})


def _open(path: Path, kind: str, *, verify: bool, groups: bool) -> dict[str, xr.Dataset]:
    """Root (``""``) and groups of a store."""
    metadata, mark = _check_complete(path, kind)
    names = ["", *mark.get("groups", [])] if groups else [""]
    if verify:
        _verify_files(path, mark)
    try:
        files = VerifiedFiles(path, files=mark["files"], metadata=metadata)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = {name: _open_group(files, name) for name in names}
            for dataset in nodes.values():
                dataset.load() if verify else None
    except StoreError:
        raise
    except Exception as error:  # zarr, xarray and numcodecs raise a dozen kinds
        told = " ".join(str(error).split())
        raise DamageError(path, f"cannot be read ({told})") from error
    nodes[""].attrs.pop(MARK)
    if verify:
        _verify_content(path, mark, nodes)
    nodes[""].attrs["digest"] = mark["digest"]
    return nodes


def _verify_content(path: Path, mark: Mapping[str, Any], nodes: Mapping[str, xr.Dataset]) -> None:
    arrays = {
        f"{group}/{name}".strip("/"): (
            tuple(map(str, variable.dims)),
            _encode(np.asarray(variable.values)),
        )
        for group, dataset in nodes.items()
        for name, variable in dataset.variables.items()
    }
    attrs = {name: _plain(dataset.attrs) for name, dataset in nodes.items()}
    groups = {name: about for name, about in attrs.items() if name}
    found = _digest_arrays(arrays, attrs[""], mark.get("columns", {}), groups)
    if found != mark["digest"]:
        raise DamageError(
            path,
            f"its content has digest {found[:12]}, marked {mark['digest'][:12]}: "
            f"it was changed or damaged",
        )


class StreamingStore:
    """A store written row by row: memory stays bounded however many rows there are.

    Parameters
    ----------
    path, kind
        As for :func:`write_store`.
    template
        Name -> (dimensions, shape, dtype) of the variables whose first dimension is streamed;
        ``group/name`` lies in a group.
    coords
        Name -> (dimensions, values) of what is known beforehand.
    attrs
        Attributes of the store.
    missing_allowed
        Variables in which NaN has a meaning.
    whole
        Name -> (dimensions, values) of further variables that are known beforehand and are no
        coordinates; ``group/name`` lies in a group.

    Notes
    -----
    Used as a context manager; an error, or leaving without :meth:`finish`, removes what was
    written. Rows arrive in order. A shard is written once, when its rows are complete.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        kind: str,
        template: Mapping[str, tuple[tuple[str, ...], tuple[int, ...], Any]],
        coords: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
        attrs: Mapping[str, Any],
        missing_allowed: tuple[str, ...] = (),
        whole: Mapping[str, tuple[tuple[str, ...], np.ndarray]] | None = None,
    ) -> None:
        whole = whole or {}
        self.path, self.kind = Path(path), kind
        self._missing_allowed = missing_allowed
        self._attrs = _plain(attrs)
        streamed = {name: dims for name, (dims, _, _) in template.items()}
        known = {**coords, **whole}
        check_declared(self.path, kind, {**streamed, **{n: dims for n, (dims, _) in known.items()}})
        for name, (_, values) in whole.items():
            _check_values(self.path, name, values, {})
        self._draft = Draft(self.path)
        self._temporary = self._draft.path
        try:
            with writing(self.path):
                self._begin(template, coords, known)
        except BaseException:
            self._draft.discard()
            raise

    def _begin(
        self,
        template: Mapping[str, tuple[tuple[str, ...], tuple[int, ...], Any]],
        coords: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
        known: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    ) -> None:
        """Write what is known beforehand, and make the arrays that are streamed."""
        self._group = zarr.create_group(
            self._temporary,
            attributes={**self._attrs, "coordinates": " ".join(sorted(coords))},
        )
        # Names such as signals/<signal> lie in groups.
        self._groups: dict[str, dict[str, Any]] = {
            name.partition("/")[0]: {} for name in (*template, *known) if "/" in name
        }
        for name in self._groups:
            self._group.create_group(name, attributes={"coordinates": ""})
        self._digests: dict[str, Any] = {}
        self._arrays: dict[str, zarr.Array] = {}
        self._known: list[zarr.Array] = []
        self._pending: dict[str, list[np.ndarray]] = {}
        self._written: dict[str, int] = {}
        self._header: dict[str, str] = {}
        for name, (dims, values) in known.items():
            encoded = _encode(np.asarray(values))
            array = _create_array(
                self._group, name, dims, encoded.shape, encoded.dtype, {}, SHARD_BYTES
            )
            array[...] = encoded
            self._known.append(array)
            self._digests[name] = _variable_digest(name, dims, encoded.shape, encoded.dtype)
            self._digests[name].update(_bytes(encoded))
        for name, (dims, shape, dtype) in template.items():
            dtype = np.dtype(dtype)
            extra = {"missing_allowed": True} if name in self._missing_allowed else {}
            self._arrays[name] = _create_array(
                self._group, name, dims, shape, dtype, extra, STREAM_SHARD_BYTES
            )
            self._digests[name] = _variable_digest(name, dims, shape, dtype)
            self._pending[name], self._written[name] = [], 0

    def __enter__(self) -> StreamingStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._draft.discard()

    def write_rows(self, start: int, rows: Mapping[str, np.ndarray]) -> None:
        """Append rows ``start … start + len``; `rows` must hold every streamed variable."""
        if set(rows) != set(self._arrays):
            raise StoreError(
                f"{self.path}: rows for {sorted(rows)} given, expected {sorted(self._arrays)}"
            )
        for name, values in rows.items():
            array = self._arrays[name]
            values = np.ascontiguousarray(values, dtype=array.dtype)
            received = self._written[name] + sum(map(len, self._pending[name]))
            if start != received or values.shape[1:] != array.shape[1:]:
                raise StoreError(
                    f"{self.path}: rows of {name!r} start at {start} with shape {values.shape}, "
                    f"expected start {received} and shape (…, {array.shape[1:]})"
                )
            extra = {"missing_allowed": True} if name in self._missing_allowed else {}
            _check_values(self.path, name, values, extra)
            self._digests[name].update(values.data)
            self._pending[name].append(values)
            with writing(self.path):
                self._flush(name)

    def _flush(self, name: str, *, everything: bool = False) -> None:
        array, pending = self._arrays[name], self._pending[name]
        shard = (array.shards or array.chunks)[0]
        available = sum(map(len, pending))
        count = available if everything else available // shard * shard
        if not count:
            return
        rows = np.concatenate(pending)
        start = self._written[name]
        array[start : start + count] = rows[:count]
        self._written[name] += count
        self._pending[name] = [rows[count:].copy()] if count < available else []

    def finish(
        self, provenance: dict[str, Any] | None = None, *, destination: Path | None = None
    ) -> str:
        """Write what is left, mark the store complete, move it into place; return its digest.

        With `destination` it is moved there instead, to wait for :func:`move_store`.
        """
        final = destination or self.path
        with writing(self.path):
            digest = self._complete(final)
        # Not only at the end of the block: a job may finish many stores one after the other.
        self._draft.discard()
        if provenance is not None:
            write_provenance(final, digest=digest, **provenance)
        return digest

    def _complete(self, final: Path) -> str:
        for name, array in self._arrays.items():
            self._flush(name, everything=True)
            if self._written[name] != array.shape[0]:
                raise StoreError(
                    f"{self.path}: {self._written[name]} rows of {name!r} were written, "
                    f"expected {array.shape[0]}"
                )
        digest = _content_digest(self._digests, self._attrs, self._groups)
        arrays = [*self._known, *self._arrays.values()]
        _check_files(self.path, self._temporary, arrays, self._groups)
        _mark_complete(self._temporary, self.kind, digest, groups=self._groups)
        replace(self._temporary, final)
        return digest


def move_store(source: Path, path: Path) -> None:
    """Move a finished store and its provenance to `path`, whatever stands there."""
    replace(source, path)
    if provenance_path(source).exists():
        replace(provenance_path(source), provenance_path(path))


def remove_store(path: Path) -> None:
    """Remove a store and its provenance, if they are there."""
    remove(path)
    remove(provenance_path(path))
