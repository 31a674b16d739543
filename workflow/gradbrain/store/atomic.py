"""Write beside, then rename: a reader never sees half a file or half a folder."""

from __future__ import annotations

import asyncio
import glob
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradbrain.store.errors import writing
from gradbrain.store.file_digests import forget_digest, record_digest, sha256_of
from gradbrain.store.write_lock import WriteLock

TEMPORARY = ".gradbrain-partial-"


def remove(path: Path) -> None:
    """Remove a file, link or folder, whichever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _let_chunks_arrive() -> None:
    """Wait for what Zarr is still writing: after the error of one chunk the others go on.

    They would make a folder anew that was removed meanwhile.
    """
    zarr_sync = sys.modules.get("zarr.core.sync")
    if zarr_sync is not None:
        zarr_sync.sync(_other_tasks())


async def _other_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)


class Draft:
    """A temporary sibling of a result, and the right to write it.

    Parameters
    ----------
    path
        The result.

    Attributes
    ----------
    path
        Name of the sibling, on the same file system; nothing is there yet.

    Raises
    ------
    StoreError
        Another process writes this result, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = WriteLock(path)
            # Whoever wrote these is dead: else it would hold the lock.
            prefix = f".{path.name}{TEMPORARY}"
            for stale in path.parent.glob(f"{glob.escape(prefix)}*"):
                remove(stale)
        self.path = path.parent / f"{prefix}{uuid.uuid4().hex[:8]}"

    def discard(self) -> None:
        """Remove the sibling, where it was not moved away, and let others write."""
        if self.path.exists():
            _let_chunks_arrive()
        remove(self.path)
        self._lock.release()


@contextmanager
def drafting(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling that is removed in the end, where the block did not move it.

    Raises
    ------
    StoreError
        As for :class:`Draft`; or the disk is full, and its like.
    """
    draft = Draft(path)
    try:
        with writing(path):
            yield draft.path
    finally:
        draft.discard()


def replace(source: Path, path: Path) -> None:
    """Move `source` to `path`, whatever stands there."""
    if path.is_dir() and not path.is_symlink():
        # A folder cannot be renamed over a folder that holds something.
        discarded = path.parent / f".{path.name}{TEMPORARY}old-{uuid.uuid4().hex[:8]}"
        path.replace(discarded)
        source.replace(path)
        remove(discarded)
    else:
        source.replace(path)


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, digested: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; rename it to `path` when the block succeeds.

    Parameters
    ----------
    path
        Where the file goes.
    digested
        Write its SHA-256 beside it, for readers to compare (``store.file_digests``).

    Raises
    ------
    StoreError
        Another process writes it, the folder cannot be written, or the disk is full.
    """
    final = Path(path)
    with drafting(final) as draft:
        # Writers that choose the format by the file's ending must see it.
        temporary = draft.with_name(draft.name + final.suffix)
        try:
            yield temporary
            if not digested:
                replace(temporary, final)
                return
            digest = sha256_of(temporary)
            # A digest of another file is never beside it, whenever this is cut short.
            forget_digest(final)
            replace(temporary, final)
            record_digest(final, digest)
        finally:
            remove(temporary)


def write_text(path: str | os.PathLike[str], text: str, *, digested: bool = False) -> None:
    """Write a text file in one step; `digested` as for :func:`atomic_path`."""
    with atomic_path(path, digested=digested) as temporary:
        temporary.write_text(text, encoding="utf-8")
