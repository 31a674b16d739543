"""Zarr stores that are complete or refused.

A store is written to a temporary sibling, checked, marked complete in its root attributes with
a digest of its content and the size of each of its files, and only then renamed. A reader checks
the mark and the files, so that a store with lost or cut chunks (which Zarr would read as fill
values) is an error and not data.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

from gradbrain.store.atomic import remove, replace, temporary_sibling
from gradbrain.store.errors import StoreError, rebuild_hint
from gradbrain.store.provenance import provenance_path, write_provenance

MARK = "gradbrain"
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


def _content_digest(digests: Mapping[str, Any], attrs: Mapping[str, Any]) -> str:
    """Combine the digests of the variables with the attributes."""
    whole = hashlib.sha256(json.dumps(attrs, sort_keys=True).encode())
    for name in sorted(digests):
        whole.update(digests[name].digest())
    return whole.hexdigest()


def _digest_arrays(
    arrays: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    attrs: Mapping[str, Any],
    columns: Mapping[str, int],
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
    return _content_digest(digests, attrs)


def _files(path: Path) -> dict[str, int]:
    """Size of each file of a store but its root metadata, by relative path."""
    return {
        str(file.relative_to(path)): file.stat().st_size
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in FOREIGN_FILES and file != path / "zarr.json"
    }


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
            shards=shards,
            # With a checksum in each chunk, changed bytes are an error and never data.
            compressors=ZstdCodec(level=1, checksum=True),
            dimension_names=dims,
            attributes=dict(attrs),
        )


def _mark_complete(
    path: Path, kind: str, digest: str, columns: Mapping[str, int] | None = None
) -> None:
    """Mark the store complete: the last step before it is renamed."""
    root = path / "zarr.json"
    metadata = json.loads(root.read_text())
    metadata["attributes"][MARK] = {
        "kind": kind,
        "complete": True,
        "digest": digest,
        "files": _files(path),
        **({"columns": dict(columns)} if columns else {}),
    }
    root.write_text(json.dumps(metadata, indent=1))


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
        What the store holds, e.g. ``"responses"``; readers ask for it.
    provenance
        Facts that vary from run to run; written beside the store.

    Returns
    -------
    str
        SHA-256 of the content: equal data give equal digests.

    Raises
    ------
    StoreError
        A value is not finite. Nothing is written.
    """
    path = Path(path)
    attrs = _plain(dataset.attrs)
    arrays = {
        str(name): (tuple(map(str, variable.dims)), _encode(np.asarray(variable.values)))
        for name, variable in dataset.variables.items()
    }
    for name, (_, values) in arrays.items():
        _check_values(path, name, values, dataset[name].attrs)
    temporary = temporary_sibling(path)
    try:
        group = zarr.create_group(
            temporary,
            attributes={**attrs, "coordinates": " ".join(sorted(map(str, dataset.coords)))},
        )
        for name, (dims, values) in arrays.items():
            array = _create_array(
                group,
                name,
                dims,
                values.shape,
                values.dtype,
                _plain(dataset[name].attrs),
                SHARD_BYTES,
            )
            array[...] = values
        digest = _digest_arrays(arrays, attrs, {})
        _mark_complete(temporary, kind, digest)
        replace(temporary, path)
    finally:
        remove(temporary)
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


def _check_complete(path: Path, kind: str) -> dict[str, Any]:
    if not path.is_dir():
        raise StoreError(f"{path}: there is no such store. {rebuild_hint(path)}")
    attributes = read_definition(path)
    mark = attributes.get(MARK)
    if not isinstance(mark, dict) or mark.get("complete") is not True:
        raise StoreError(
            f"{path}: is not marked complete: it was cut short or was not written by gradbrain. "
            f"{rebuild_hint(path)}"
        )
    if mark["kind"] != kind:
        raise StoreError(f"{path}: holds {mark['kind']!r}, expected {kind!r}")
    for relative, size in mark["files"].items():
        file = path / relative
        found = file.stat().st_size if file.exists() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes, expected {size}"
            raise StoreError(f"{path}: its file {relative} {state}. {rebuild_hint(path)}")
    return attributes


def open_store(path: str | os.PathLike[str], *, kind: str, verify: bool = False) -> xr.Dataset:
    """Open a store lazily, or refuse it.

    Parameters
    ----------
    path
        The store.
    kind
        What it must hold.
    verify
        Read everything and compare with the digest as well.

    Raises
    ------
    StoreError
        The store is missing, incomplete, truncated, of another kind or not gradbrain's; the
        message names it and how to make it again.
    """
    path = Path(path)
    attributes = _check_complete(path, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = xr.open_zarr(
                path, consolidated=False, zarr_format=3, chunks=None, decode_cf=False
            )
            coordinates = str(dataset.attrs.pop("coordinates", "")).split()
            dataset = dataset.set_coords([name for name in coordinates if name in dataset])
            dataset.load() if verify else None
    except Exception as error:  # zarr, xarray and numcodecs raise a dozen kinds
        raise StoreError(f"{path}: cannot be read ({error}). {rebuild_hint(path)}") from error
    mark = dataset.attrs.pop(MARK)
    if verify:
        arrays = {
            str(name): (tuple(map(str, variable.dims)), _encode(np.asarray(variable.values)))
            for name, variable in dataset.variables.items()
        }
        found = _digest_arrays(arrays, _plain(dataset.attrs), mark.get("columns", {}))
        if found != mark["digest"]:
            raise StoreError(
                f"{path}: its content has digest {found[:12]}, marked {mark['digest'][:12]}: "
                f"it was changed or damaged. {rebuild_hint(path)}"
            )
    dataset.attrs["digest"] = attributes[MARK]["digest"]
    return dataset


class StreamingStore:
    """A store written row by row: memory stays bounded however many rows there are.

    Parameters
    ----------
    path, kind
        As for :func:`write_store`.
    template
        Name -> (dimensions, shape, dtype) of the variables whose first dimension is streamed.
    coords
        Name -> (dimensions, values) of what is known beforehand.
    attrs
        Attributes of the store.
    missing_allowed
        Variables in which NaN has a meaning.

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
    ) -> None:
        self.path, self.kind = Path(path), kind
        self._missing_allowed = missing_allowed
        self._attrs = _plain(attrs)
        self._temporary = temporary_sibling(self.path)
        self._group = zarr.create_group(
            self._temporary,
            attributes={**self._attrs, "coordinates": " ".join(sorted(coords))},
        )
        self._digests: dict[str, Any] = {}
        self._arrays: dict[str, zarr.Array] = {}
        self._pending: dict[str, list[np.ndarray]] = {}
        self._written: dict[str, int] = {}
        self._header: dict[str, str] = {}
        for name, (dims, values) in coords.items():
            encoded = _encode(np.asarray(values))
            array = _create_array(
                self._group, name, dims, encoded.shape, encoded.dtype, {}, SHARD_BYTES
            )
            array[...] = encoded
            self._digests[name] = _variable_digest(name, dims, encoded.shape, encoded.dtype)
            self._digests[name].update(_bytes(encoded))
        for name, (dims, shape, dtype) in template.items():
            dtype = np.dtype(dtype)
            extra = {"missing_allowed": True} if name in missing_allowed else {}
            self._arrays[name] = _create_array(
                self._group, name, dims, shape, dtype, extra, STREAM_SHARD_BYTES
            )
            self._digests[name] = _variable_digest(name, dims, shape, dtype)
            self._pending[name], self._written[name] = [], 0

    def __enter__(self) -> StreamingStore:
        return self

    def __exit__(self, *_: object) -> None:
        remove(self._temporary)

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
        for name, array in self._arrays.items():
            self._flush(name, everything=True)
            if self._written[name] != array.shape[0]:
                raise StoreError(
                    f"{self.path}: {self._written[name]} rows of {name!r} were written, "
                    f"expected {array.shape[0]}"
                )
        digest = _content_digest(self._digests, self._attrs)
        _mark_complete(self._temporary, self.kind, digest)
        replace(self._temporary, final)
        if provenance is not None:
            write_provenance(final, digest=digest, **provenance)
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
