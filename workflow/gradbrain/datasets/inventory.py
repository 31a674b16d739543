"""What of a data set lies on this machine: which files are there, missing or unreadable.

An adapter may define ``inventory(entry, options, data) -> list[Item]``. It reads headers only, of
many files of a kind no more than `MOST_HEADERS`, so that it takes seconds on a data set of any
size. For adapters without one, what their ``check`` says is all that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.registry import adapter, read_options

# Headers read of many files of a kind, spread evenly over them: a few seconds on a slow disk.
MOST_HEADERS = 5000

State = Literal["there", "missing", "unreadable", "mismatch"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a data set, or many of a kind.

    Attributes
    ----------
    subject
        Who needs it, by the name in the entry; ``""`` where all do.
    path
        The file or the pattern of many, as a reader would look for it.
    state
        Whether it is there, can be read and fits the files it belongs to.
    n_files, n_bytes
        How many are there and how large they are together.
    n_missing
        Of many files, how many are not there.
    detail
        What is wrong, or what is worth knowing.
    required
        Whether the subject cannot be run without it.
    """

    subject: str
    path: str
    state: State
    n_files: int = 0
    n_bytes: int = 0
    n_missing: int = 0
    detail: str = ""
    required: bool = True

    @property
    def count(self) -> str:
        """How many files are in this state: ``1 of 48 files`` of those that are missing."""
        if self.n_missing:
            return f"{self.n_missing} of {self.n_missing + self.n_files} files"
        return f"{self.n_files} file{'s' if self.n_files != 1 else ''}"


@dataclass(frozen=True)
class Inventory:
    """Items of a data set, and what its adapter's ``check`` says of each subject.

    Attributes
    ----------
    items
        What is there and what is not.
    problems
        Subject -> what keeps it from being run; ``""`` where the entry has no subjects.
    """

    items: list[Item]
    problems: dict[str, list[str]]

    def obstacles(self, subject: str) -> list[str]:
        """Say what keeps a subject from being run; empty where nothing does."""
        found = [
            f"{item.path}: {item.state}"
            + (f" {item.count}" if item.n_missing else "")
            + (f" ({item.detail})" if item.detail else "")
            for item in self.items
            if item.required and item.state != "there" and item.subject in ("", subject)
        ]
        return [*found, *self.problems.get(subject, [])]


def inspect_file(
    path: Path,
    *,
    subject: str,
    read: Callable[[Path], Any] | None = None,
    required: bool = True,
) -> Item:
    """Look at one file.

    Parameters
    ----------
    path
        The file.
    subject
        Who needs it; ``""`` where all do.
    read
        Reads its header; what it raises makes the file unreadable, what it returns as text is
        kept as the detail.
    required
        Whether the subject cannot be run without it.
    """
    about: dict[str, Any] = {"subject": subject, "path": str(path), "required": required}
    try:
        n_bytes = path.stat().st_size
    except OSError:
        return Item(state="missing", **about)
    if not n_bytes:
        return Item(state="unreadable", n_files=1, detail="empty", **about)
    try:
        found = read(path) if read is not None else ""
    except Exception as error:  # readers of a dozen formats raise a dozen kinds
        detail = str(error).removeprefix(f"{path}: ")
        return Item(state="unreadable", n_files=1, n_bytes=n_bytes, detail=detail, **about)
    detail = found if isinstance(found, str) else ""
    return Item(state="there", n_files=1, n_bytes=n_bytes, detail=detail, **about)


def inspect_files(
    paths: Iterable[Path],
    *,
    pattern: str,
    subject: str,
    read: Callable[[Path], Any] | None = None,
) -> Item:
    """Look at many files of a kind, such as images.

    Parameters
    ----------
    paths
        The files as they should be; there should be at least one.
    pattern
        What to call them.
    subject
        Who needs them; ``""`` where all do.
    read
        Reads the header of one; what it raises makes them unreadable.
    """
    sizes, absent = {}, []
    for path in paths:
        try:
            sizes[path] = path.stat().st_size
        except OSError:
            absent.append(path)
    about: dict[str, Any] = {
        "subject": subject,
        "path": pattern,
        "n_files": len(sizes),
        "n_bytes": sum(sizes.values()),
        "n_missing": len(absent),
    }
    if absent:
        return Item(state="missing", detail=f"e.g. {absent[0]}", **about)
    if not sizes:
        return Item(state="missing", detail="no file is there", **about)
    empty = [path for path, size in sizes.items() if not size]
    if empty:
        detail = f"{len(empty)} of {len(sizes)} files are empty, e.g. {empty[0]}"
        return Item(state="unreadable", detail=detail, **about)
    damaged = _damaged(list(sizes), read) if read is not None else ""
    return Item(state="unreadable" if damaged else "there", detail=damaged, **about)


def _damaged(paths: list[Path], read: Callable[[Path], Any]) -> str:
    """Say how many headers cannot be read, of all or of `MOST_HEADERS`; empty where none."""
    step = -(-len(paths) // MOST_HEADERS)
    chosen = paths[::step]
    faults = []
    for path in chosen:
        try:
            read(path)
        except Exception as error:  # readers of a dozen formats raise a dozen kinds
            faults.append(f"{path}: {str(error).removeprefix(f'{path}: ')}")
    return f"{len(faults)} of {len(chosen)} files looked at, e.g. {faults[0]}" if faults else ""


def take_inventory(
    entry: DatasetEntry, data: Path, *, plugins: Plugins = LIBRARY_PLUGINS
) -> Inventory:
    """List what is there of a data set and what is not.

    Parameters
    ----------
    entry
        Entry of datasets.yaml.
    data
        Folder of the data set.
    plugins
        Where its adapter is looked up.

    Raises
    ------
    GradbrainError
        The entry's options are wrong.
    """
    source = adapter(entry.adapter, plugins=plugins)
    options = read_options(entry, plugins=plugins)
    problems = {}
    for subject in entry.subjects or ("",):
        own = entry.model_copy(update={"subjects": (subject,) if subject else ()})
        problems[subject] = source.check(own, options, data)
    if not data.is_dir():
        return Inventory([], problems)
    try:
        return Inventory(source.inventory(entry, options, data), problems)
    except GradbrainError as error:
        everyone = {subject: [*own, str(error)] for subject, own in problems.items()}
        return Inventory([], everyone)
