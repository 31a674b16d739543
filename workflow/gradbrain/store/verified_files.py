"""What Zarr reads of a store, compared with the SHA-256 in its mark before it is decoded."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.buffer.core import default_buffer_prototype
from zarr.storage import LocalStore
from zarr.storage._local import _get

from gradbrain.store.errors import DamageError, StoreError
from gradbrain.store.file_digests import sha256_of

ROOT = "zarr.json"


class VerifiedFiles(LocalStore):
    """The files of a store, each hashed when it is read.

    A file that is read whole, as most are, is hashed as it is in memory. Of one that is read in
    parts the whole is hashed before its first part. Files that nobody reads cost nothing.

    Parameters
    ----------
    root
        Folder of the store.
    files
        Relative path -> ``{"size": …, "sha256": …}``, from the mark of the store.
    metadata
        Root metadata, which holds the mark and was compared already.
    """

    def __init__(
        self, root: Path, *, files: Mapping[str, Mapping[str, Any]], metadata: bytes
    ) -> None:
        super().__init__(root, read_only=True)
        self._files, self._metadata = files, metadata
        self._seen: set[str] = set()
        self._hashing = threading.Lock()

    def with_read_only(self, read_only: bool = False) -> VerifiedFiles:
        """Files of the same store; they are never written."""
        if not read_only:
            raise StoreError(f"{self.root}: is opened for reading")
        return type(self)(self.root, files=self._files, metadata=self._metadata)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file or a part of it; None where the store has no such file.

        Raises
        ------
        StoreError
            It is not what was written, or cannot be read.
        """
        prototype = prototype or default_buffer_prototype()
        if key == ROOT:
            return prototype.buffer.from_bytes(self._metadata)
        path = self.root / key
        try:
            return self._read(key, path, prototype, byte_range)
        except FileNotFoundError:
            raise self._refused(f"its file {key} is missing") from None
        except OSError as error:
            raise self._refused(f"its file {key} cannot be read ({error.strerror})") from error

    def _read(
        self, key: str, path: Path, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        if key not in self._files:
            if path.is_file():
                raise self._refused(f"holds the file {key}, which its mark does not list")
            return None
        expected = self._files[key]["sha256"]
        if byte_range is None:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != expected:
                raise self._changed(key)
            return prototype.buffer.from_bytes(content)
        with self._hashing:
            if key not in self._seen:
                if sha256_of(path) != expected:
                    raise self._changed(key)
                self._seen.add(key)
        return _get(path, prototype, byte_range)

    def _changed(self, key: str) -> StoreError:
        return self._refused(f"its file {key} was changed or damaged")

    def _refused(self, what: str) -> StoreError:
        return DamageError(self.root, f"{what}")

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """As :meth:`get_sync`."""
        return await asyncio.to_thread(
            self.get_sync, key, prototype=prototype, byte_range=byte_range
        )

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """As :meth:`get_sync`, for several."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
