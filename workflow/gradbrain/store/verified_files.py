"""What Zarr reads of a store, compared with the SHA-256 in its mark before it is decoded."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.buffer.core import default_buffer_prototype
from zarr.storage import LocalStore

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
        Root metadata, which hold the mark and were compared already.

    Raises
    ------
    StoreError
        Metadata of an array or group are not what was written. They are read and compared at once,
        all of them, as they say how everything else is read.
    """

    def __init__(
        self, root: Path, *, files: Mapping[str, Mapping[str, Any]], metadata: bytes
    ) -> None:
        super().__init__(root, read_only=True)
        self._files = files
        self._metadata = {ROOT: metadata}
        for key in files:
            if key.endswith(f"/{ROOT}"):
                self._metadata[key] = self._read_whole(key)
        self._seen: set[str] = set()
        self._hashing = threading.Lock()

    def with_read_only(self, read_only: bool = False) -> VerifiedFiles:
        """Files of the same store; they are never written."""
        if not read_only:
            raise StoreError(f"{self.root}: is opened for reading")
        return self

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
        if key in self._metadata:
            return prototype.buffer.from_bytes(self._metadata[key])
        if key not in self._files:
            self._refuse_foreign(key)
            return None
        if byte_range is None:
            return prototype.buffer.from_bytes(self._read_whole(key))
        return self._read_part(key, prototype, byte_range)

    def _read_whole(self, key: str) -> bytes:
        with self._telling(key):
            content = (self.root / key).read_bytes()
        self._compare(key, hashlib.sha256(content).hexdigest())
        return content

    def _read_part(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest
    ) -> Buffer | None:
        with self._telling(key):
            with self._hashing:
                if key not in self._seen:
                    self._compare(key, sha256_of(self.root / key))
                    self._seen.add(key)
            found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        if found is None:
            raise self._refused(f"its file {key} is missing")
        return found

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        """Name the file that the operating system does not give."""
        try:
            yield
        except FileNotFoundError:
            raise self._refused(f"its file {key} is missing") from None
        except OSError as error:
            raise self._refused(f"its file {key} cannot be read ({error.strerror})") from error

    def _compare(self, key: str, digest: str) -> None:
        if digest != self._files[key]["sha256"]:
            raise self._refused(f"its file {key} was changed or damaged")

    def _refuse_foreign(self, key: str) -> None:
        if key not in self._files and (self.root / key).is_file():
            raise self._refused(f"holds the file {key}, which its mark does not list")

    def _refused(self, what: str) -> StoreError:
        return DamageError(self.root, what)

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

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List a folder; an array that nobody wrote is refused here."""
        async for name in super().list_dir(prefix):
            self._refuse_foreign("/".join(filter(None, [prefix.strip("/"), name, ROOT])))
            yield name

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """As :meth:`get_sync`, for several."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
