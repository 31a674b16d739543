"""A store whose main variable arrives column by column, its number known only at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from gradbrain.store.atomic import Draft, replace
from gradbrain.store.errors import StoreError, writing
from gradbrain.store.provenance import write_provenance
from gradbrain.store.zarr_store import (
    SHARD_BYTES,
    _bytes,
    _check_files,
    _check_values,
    _content_digest,
    _create_array,
    _encode,
    _mark_complete,
    _plain,
    _variable_digest,
    check_declared,
)

# One chunk is one file and is held in memory while it is written; shards of small chunks took
# five times as long.
COLUMN_CHUNK_BYTES = 64 * 2**20


class ColumnStore:
    """A store written column by column: memory stays bounded however many columns there are.

    For responses of a hundred thousand targets, of which some turn out to be unusable only when
    their values are seen. Each chunk holds all rows of a few columns.

    Parameters
    ----------
    path, kind
        As for :func:`gradbrain.store.write_store`.
    name
        The variable that is streamed.
    dims
        Its dimensions; columns are along the last.
    n_rows
        Its length along the first.
    max_columns
        More columns than this cannot come.
    dtype
        Its type.

    Notes
    -----
    Used as a context manager; an error, or leaving without :meth:`finish`, removes what was
    written. The digest of the streamed variable goes chunk by chunk and does not depend on the
    blocks in which columns arrive; readers take the width of a chunk from the mark.

    A chunk is written while the next columns are made: one at a time, by a thread, and digested
    beside it by another.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        kind: str,
        name: str,
        dims: tuple[str, str],
        n_rows: int,
        max_columns: int,
        dtype: Any = np.float32,
    ) -> None:
        self.path, self.kind = Path(path), kind
        self._name, self._dims = name, dims
        self._draft = Draft(self.path)
        self._temporary = self._draft.path
        try:
            with writing(self.path):
                self._begin(n_rows, max_columns, np.dtype(dtype))
        except BaseException:
            self._draft.discard()
            raise

    def _begin(self, n_rows: int, max_columns: int, dtype: np.dtype) -> None:
        self._group = zarr.create_group(self._temporary)
        self._array = self._group.create_array(
            self._name,
            shape=(n_rows, max_columns),
            dtype=dtype,
            chunks=(max(1, n_rows), _chunk_width(n_rows * dtype.itemsize, max_columns)),
            # A checksum, so that changed bytes are an error and never data. Measured values hold
            # noise in their low bits: compression would take longer than reading them.
            compressors=Crc32cCodec(),
            dimension_names=self._dims,
            # A chunk of zeros is written as well, and none need be searched for them.
            config={"write_empty_chunks": True},
        )
        self._digest = hashlib.sha256()
        self._pending: list[np.ndarray] = []
        self._n_pending = 0
        self._written = 0
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="store")
        self._writing: Future[None] | None = None

    def __enter__(self) -> ColumnStore:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing may be written where all has been removed.
        self._threads.shutdown()
        self._draft.discard()

    @property
    def n_columns(self) -> int:
        """Columns received so far."""
        return self._written + self._n_pending

    def append(self, columns: np.ndarray) -> None:
        """Append columns, shape (n_rows, any number); they must not be changed afterwards.

        Raises
        ------
        StoreError
            They have another number of rows, are too many, or earlier columns (noticed once their
            chunk is written, by :meth:`finish` at the latest) hold values that are not finite.
        """
        if columns.ndim != 2 or len(columns) != self._array.shape[0]:
            raise StoreError(
                f"{self.path}: columns of {self._name!r} have shape {columns.shape}, expected "
                f"({self._array.shape[0]}, any number)"
            )
        if self.n_columns + columns.shape[1] > self._array.shape[1]:
            raise StoreError(
                f"{self.path}: {self.n_columns + columns.shape[1]} columns of {self._name!r} were "
                f"given, announced were {self._array.shape[1]}"
            )
        self._pending.append(columns)
        self._n_pending += columns.shape[1]
        with writing(self.path):
            self._flush()

    def _flush(self, *, everything: bool = False) -> None:
        """Write whole chunks."""
        width = self._array.chunks[1]
        while self._n_pending >= width or (everything and self._n_pending):
            self._write(self._take(min(width, self._n_pending)))
        # A view would keep the whole block that it was cut from.
        self._pending = [
            np.array(part) if part.base is not None else part for part in self._pending
        ]

    def _take(self, count: int) -> np.ndarray:
        """Remove the first pending columns; rows of the result are contiguous."""
        self._n_pending -= count
        first = self._pending[0]
        if first.shape[1] == count and first.flags.c_contiguous:
            return self._pending.pop(0).astype(self._array.dtype, copy=False)
        taken = np.empty((self._array.shape[0], count), dtype=self._array.dtype)
        filled = 0
        while filled < count:
            first = self._pending[0]
            width = min(first.shape[1], count - filled)
            taken[:, filled : filled + width] = first[:, :width]
            filled += width
            if width == first.shape[1]:
                self._pending.pop(0)
            else:
                self._pending[0] = first[:, width:]
        return taken

    def _write(self, columns: np.ndarray) -> None:
        """Hand a chunk to the thread that writes, once the one before is written."""
        self._wait()
        self._writing = self._threads.submit(self._write_chunk, columns, self._written)
        self._written += columns.shape[1]

    def _wait(self) -> None:
        """Wait for the chunk that is being written, and raise its error."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write_chunk(self, columns: np.ndarray, start: int) -> None:
        _check_values(self.path, self._name, columns, {})
        digested = self._threads.submit(self._digest.update, columns.data)
        self._array[:, start : start + columns.shape[1]] = columns
        digested.result()

    def finish(
        self,
        rest: xr.Dataset,
        *,
        provenance: dict[str, Any] | None = None,
        made_from: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the other variables, mark the store complete, move it into place.

        Parameters
        ----------
        rest
            Coordinates, attributes and all other variables, for the columns that were appended.
        provenance, made_from
            As for :func:`gradbrain.store.write_store`.

        Returns
        -------
        str
            SHA-256 of the content.

        Raises
        ------
        StoreError
            A value is not finite, or coordinates are of another number of columns.
        """
        with writing(self.path):
            digest = self._complete(rest, made_from)
        self._draft.discard()
        if provenance is not None:
            write_provenance(self.path, digest=digest, **provenance)
        return digest

    def _complete(self, rest: xr.Dataset, made_from: Mapping[str, Any] | None) -> str:
        self._flush(everything=True)
        found = int(rest.sizes.get(self._dims[1], self._written))
        if found != self._written:
            raise StoreError(
                f"{self.path}: coordinates of {found} columns of {self._name!r} were given, "
                f"written were {self._written}"
            )
        dims = {str(name): tuple(map(str, item.dims)) for name, item in rest.variables.items()}
        check_declared(self.path, self.kind, {**dims, self._name: self._dims})
        attrs = _plain(rest.attrs)
        self._group.update_attributes(
            {**attrs, "coordinates": " ".join(sorted(map(str, rest.coords)))}
        )
        arrays, digests = [], {}
        for name, variable in rest.variables.items():
            array, digests[str(name)] = self._write_variable(str(name), variable)
            arrays.append(array)
        self._wait()
        self._array.resize((self._array.shape[0], self._written))
        digests[self._name] = self._variable_digest()
        digest = _content_digest(digests, attrs)
        width = self._array.chunks[1]
        _check_files(self.path, self._temporary, [*arrays, self._array], [])
        columns = {self._name: width}
        _mark_complete(self._temporary, self.kind, digest, columns=columns, made_from=made_from)
        replace(self._temporary, self.path)
        return digest

    def _variable_digest(self) -> Any:
        array = self._array
        whole = _variable_digest(self._name, self._dims, tuple(array.shape), array.dtype)
        whole.update(self._digest.digest())
        return whole

    def _write_variable(self, name: str, variable: xr.Variable) -> tuple[zarr.Array, Any]:
        dims, values = tuple(map(str, variable.dims)), _encode(np.asarray(variable.values))
        _check_values(self.path, name, values, variable.attrs)
        array = _create_array(
            self._group,
            name,
            dims,
            values.shape,
            values.dtype,
            _plain(variable.attrs),
            SHARD_BYTES,
        )
        array[...] = values
        digest = _variable_digest(name, dims, values.shape, values.dtype)
        digest.update(_bytes(values))
        return array, digest


def _chunk_width(column_bytes: int, max_columns: int) -> int:
    """Columns per chunk: chunks of one width, at most 64 MiB, that leave little of the last empty.

    The last chunk is as long as the others however few columns it holds.
    """
    widest = max(1, COLUMN_CHUNK_BYTES // max(1, column_bytes))
    n_chunks = max(1, -(-max_columns // widest))
    return max(1, -(-max_columns // n_chunks))
