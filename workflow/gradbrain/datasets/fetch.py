"""Fetching the public files of a data set: resumed, checked, and whole or not there at all."""

from __future__ import annotations

import fcntl
import fnmatch
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.bucket import list_bucket
from gradbrain.datasets.download import PART, DownloadError, RemoteFile, download, find_fault
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.public_http import TooMuchError

log = logging.getLogger(__name__)

#: Written into folders that were fetched: only those are ever added to.
MANIFEST = ".gradbrain-fetched.json"
#: What file systems take for a name, less what a part of a file has at its end.
MOST_NAME_BYTES = 255 - len(PART)


class FolderExistsError(DatasetError):
    """The folder of a data set is there already and was not fetched."""


def fetch_dataset(
    entry: DatasetEntry, data: Path, *, only: Sequence[str] = (), parts: Sequence[str] = ()
) -> None:
    """Fetch a data set, or some of its files.

    Files go to a folder ``.<name>-partial`` beside `data`, which is renamed when all are there
    and right. An interrupted fetch leaves nothing that could be taken for the data set, and goes
    on where it was cut when called again. A folder that was fetched before is added to.

    Parameters
    ----------
    entry
        Entry of datasets.yaml that has ``fetch``.
    data
        Folder to make. A link, or a folder that was not fetched, is never written to.
    only
        Patterns of files below `data`; by default all files.
    parts
        People and sessions, as for :func:`remote_files`.

    Raises
    ------
    DatasetError
        The entry says nothing about fetching, the folder is not ours, a file cannot be had, or
        its checksum differs.
    """
    files = remote_files(entry, only=only, parts=parts)
    with _locked(data):
        _refuse_foreign_folder(data)
        folder = data if data.is_dir() else data.with_name(f".{data.name}-partial")
        folder.mkdir(parents=True, exist_ok=True)
        _fetch_files(entry, files, folder)
        _write_manifest(folder, files)
        if folder != data:
            folder.rename(data)


def ensure_dataset(entry: DatasetEntry, data: Path) -> None:
    """Fetch a data set if its folder is missing and a run may do so; else leave it alone."""
    if not entry.arrives_by_itself or data.exists():
        return
    try:
        fetch_dataset(entry, data)
    except FolderExistsError:
        # Another job fetched the same data set meanwhile; its files passed the same checks.
        if not data.is_dir():
            raise


def remote_files(
    entry: DatasetEntry, *, only: Sequence[str] = (), parts: Sequence[str] = ()
) -> dict[str, RemoteFile]:
    """List what would be fetched: path below the data set's folder -> file.

    Parameters
    ----------
    entry
        Entry of datasets.yaml.
    only
        Patterns of paths; by default all.
    parts
        Folders of people and sessions, such as ``sub-01`` and ``ses-02`` (BIDS): of files that lie
        in the folder of a person, or of a session, those of these alone.

    Raises
    ------
    DatasetError
        There is nothing to fetch, a path leaves the folder, or a pattern or part matches nothing.
    """
    fetch = entry.fetch
    if fetch is None or not fetch.is_fetchable:
        how = fetch.instructions if fetch is not None else "get it from its source."
        raise DatasetError(
            f"data set {entry.name!r} has no public files to fetch in datasets.yaml. {how} Then "
            f"name its folder under `roots: {{{entry.name}: /path/to/it}}` in the study's config"
        )
    for url in (fetch.base_url, fetch.bucket.url if fetch.bucket else ""):
        if "@" in urlsplit(url).netloc:
            raise DatasetError(
                f"data set {entry.name!r}: fetch: an address holds a name or password, and public "
                "files need none; take it out of the entry"
            )
    base = fetch.base_url.rstrip("/")
    files = {
        relative: RemoteFile(url=f"{base}/{file.url.lstrip('/')}", sha256=file.sha256)
        for relative, file in fetch.files.items()
    }
    if fetch.bucket is not None:
        files |= list_bucket(fetch.bucket)
    _check_names(files, entry)
    for pattern in only:
        if not fnmatch.filter(files, pattern):
            raise DatasetError(
                f"data set {entry.name!r}: none of its {len(files)} public files matches "
                f"{pattern!r}, e.g. {next(iter(files))!r}"
            )
    wanted = {
        relative: file
        for relative, file in files.items()
        if not only or any(fnmatch.fnmatchcase(relative, pattern) for pattern in only)
    }
    return _of_parts(wanted, parts, entry)


def _of_parts(
    files: dict[str, RemoteFile], parts: Sequence[str], entry: DatasetEntry
) -> dict[str, RemoteFile]:
    """Leave out files in the folders of other people or sessions than those asked for."""
    for kind in dict.fromkeys(part.partition("-")[0] for part in parts):
        asked = {part for part in parts if part.startswith(f"{kind}-")}
        found = {
            name: {part for part in PurePosixPath(name).parent.parts if part.startswith(f"{kind}-")}
            for name in files
        }
        there: set[str] = set().union(*found.values())
        absent = sorted(asked - there)
        if absent or not asked:
            raise DatasetError(
                f"data set {entry.name!r}: none of its {len(files)} public files lies in a folder "
                f"{', '.join(absent) or kind}; there are "
                f"{', '.join(sorted(there)) or f'no folders {kind}-…'}"
            )
        files = {name: file for name, file in files.items() if not found[name] - asked}
    return files


def is_fetched(data: Path) -> bool:
    """Whether a folder was made by fetching, so that it may be added to."""
    return not data.is_symlink() and (data / MANIFEST).is_file()


def _refuse_foreign_folder(data: Path) -> None:
    if is_fetched(data) or not (data.is_symlink() or data.exists()):
        return
    state = "is a link to a missing folder" if not data.exists() else "exists"
    raise FolderExistsError(
        f"{data}: {state}; nothing was fetched, since folders that were not fetched are never "
        "written to. Remove it to fetch the data set anew"
    )


def _fetch_files(entry: DatasetEntry, files: dict[str, RemoteFile], folder: Path) -> None:
    from tqdm import tqdm

    known = [file.n_bytes for file in files.values() if file.n_bytes is not None]
    total = sum(known) if len(known) == len(files) else None
    log.info("fetching %d files of %s into %s", len(files), entry.name, folder)
    with tqdm(
        total=total, desc=f"fetching {entry.name}", unit="B", unit_scale=True, disable=None
    ) as bar:
        for number, (relative, file) in enumerate(files.items(), start=1):
            bar.set_postfix_str(f"file {number} of {len(files)}")
            target = folder / relative
            if target.is_file() and not find_fault(target, file):
                bar.update(target.stat().st_size)
                continue
            try:
                download(file, target, progress=bar.update)
            except (DownloadError, TooMuchError) as error:
                raise DatasetError(
                    f"data set {entry.name!r}: {error}. What is there lies in {folder}. Or get "
                    "the data set by hand and name its folder under `roots` in the study's config"
                ) from error


def _write_manifest(folder: Path, files: dict[str, RemoteFile]) -> None:
    """Write down where the files of a folder came from."""
    path = folder / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for relative, file in files.items():
        content[relative] = {
            "url": file.url,
            "bytes": (folder / relative).stat().st_size,
            **({"sha256": file.sha256} if file.sha256 else {}),
            **({"etag": file.etag} if file.etag else {}),
        }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Let one process at a time fetch into a folder."""
    data.parent.mkdir(parents=True, exist_ok=True)
    path = data.with_name(f".{data.name}-fetch.lock")
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held the lock before removed the file: then a new one is the lock.
            if not (path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _check_names(files: Iterable[str], entry: DatasetEntry) -> None:
    """Refuse names that are no paths of files below the folder, or would replace one another.

    Raises
    ------
    DatasetError
        Names the file and what is odd.
    """
    where = f"data set {entry.name!r}: fetch"
    names = set(files)
    for name in sorted(names):
        if fault := _oddity(name):
            raise DatasetError(f"{where}: {name!r} must be a path below data/<name>: {fault}")
        for parent in PurePosixPath(name).parents:
            if parent.as_posix() in names:
                raise DatasetError(
                    f"{where}: {parent.as_posix()!r} is a file, and the folder of {name!r}"
                )
        if name.endswith(PART) and name.removesuffix(PART) in names:
            raise DatasetError(f"{where}: {name!r} is called like a part of another file")


def _oddity(name: str) -> str:
    """Say what is odd about the name of a file; ``""`` where nothing is."""
    parts = name.split("/")
    if not name or name.startswith("/"):
        return "it is empty, or starts at the root"
    if any(part in ("", ".", "..") for part in parts):
        return "it has empty parts, . or .."
    if any(ord(letter) < 32 or ord(letter) == 127 or letter == "\\" for letter in name):
        return "it has control characters or \\"
    if any(len(part.encode()) > MOST_NAME_BYTES for part in parts):
        return f"a part of it has more than {MOST_NAME_BYTES} bytes"
    if name == MANIFEST:
        return "it is that of the list of what was fetched"
    return ""
