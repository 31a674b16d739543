"""Write beside, then rename: a reader never sees half a file or half a folder."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".gradbrain-partial-"


def remove(path: Path) -> None:
    """Remove a file, link or folder, whichever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def temporary_sibling(path: Path) -> Path:
    """Name of a temporary sibling on the same file system, after sweeping stale ones.

    A job that was killed leaves its sibling behind. One output belongs to one job, so any
    sibling found here is stale.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}{TEMPORARY}"
    for stale in path.parent.glob(f"{prefix}*"):
        remove(stale)
    return path.parent / f"{prefix}{uuid.uuid4().hex[:8]}"


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
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; rename it to `path` when the block succeeds."""
    final = Path(path)
    temporary = temporary_sibling(final)
    # Writers that choose the format by the file's ending must see it.
    temporary = temporary.with_name(temporary.name + final.suffix)
    try:
        yield temporary
        replace(temporary, final)
    finally:
        remove(temporary)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in one step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
