"""Fetching the public files of a data set, at a pinned revision and with their checksums."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.errors import DatasetError

logger = logging.getLogger(__name__)


def fetch_dataset(entry: DatasetEntry, data: Path) -> None:
    """Fetch a data set into a new folder.

    Files go to a temporary folder beside it, which is renamed when all are there and right; an
    interrupted fetch leaves nothing that could be taken for the data set.

    Parameters
    ----------
    entry
        Entry of datasets.yaml that has ``fetch``.
    data
        Folder to make. One that exists, or a link, is never written to.

    Raises
    ------
    DatasetError
        The entry says nothing about fetching, the folder exists, a file cannot be had, or its
        checksum differs.
    """
    if entry.fetch is None:
        raise DatasetError(
            f"data set {entry.name!r} has no `fetch` in datasets.yaml; get it from its source and "
            f"name its folder under `roots: {{{entry.name}: /path/to/it}}` in the study's config"
        )
    if data.is_symlink() or data.exists():
        state = "is a link to a missing folder" if not data.exists() else "exists"
        raise DatasetError(
            f"{data}: {state}; nothing was fetched, since data folders are never written to. "
            "Remove it to fetch the data set anew"
        )
    paths = {relative: _inside(relative, entry) for relative in entry.fetch.files}
    data.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=data.parent, prefix=f".{data.name}-fetch-"))
    try:
        _fetch_files(entry, paths, temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(data)
        except OSError as error:
            # Another job fetched the same data set meanwhile; its files passed the same checks.
            if not data.is_dir():
                raise DatasetError(f"{data}: cannot be made ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def ensure_dataset(entry: DatasetEntry, data: Path) -> None:
    """Fetch a data set if its folder is missing and its entry says how; else leave it alone."""
    if entry.fetch is not None and not data.exists():
        fetch_dataset(entry, data)


def _fetch_files(entry: DatasetEntry, paths: dict[str, PurePosixPath], folder: Path) -> None:
    import pooch
    from requests import RequestException
    from tqdm import tqdm

    assert entry.fetch is not None
    base = entry.fetch.base_url.rstrip("/")
    logger.info("fetching %d files of %s from %s", len(paths), entry.name, base)
    pooch.get_logger().setLevel(logging.WARNING)
    for relative, path in tqdm(paths.items(), desc=f"fetching {entry.name}", unit="file"):
        file = entry.fetch.files[relative]
        url = f"{base}/{file.url.lstrip('/')}"
        target = folder / path
        try:
            pooch.retrieve(
                url, known_hash=f"sha256:{file.sha256}", fname=target.name, path=target.parent
            )
        except (RequestException, OSError) as error:
            raise DatasetError(
                f"{url}: cannot be fetched ({error}); check the network, or get the data set "
                f"{entry.name!r} by hand and name its folder under `roots` in the study's config"
            ) from error
        except ValueError as error:
            raise DatasetError(
                f"{url}: is not the file that datasets.yaml pins for {entry.name!r} ({error}); "
                "the source changed or the transfer was damaged"
            ) from error


def _inside(relative: str, entry: DatasetEntry) -> PurePosixPath:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise DatasetError(
            f"data set {entry.name!r}, fetch.files: {relative!r} must be a path below data/<name>"
        )
    return path
