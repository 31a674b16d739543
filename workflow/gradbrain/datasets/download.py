"""One file over HTTP: resumed where it was cut, and kept only if its checksum is right.

pooch, which the other libraries here use, starts a file anew after an interruption; the files of
brain data sets have gigabytes. The bytes so far lie in ``<name>.part`` beside the target.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.public_http import blocks_of, public_session

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

#: Ending of the bytes of a file so far.
PART = ".part"
#: Attempts in a row that bring no new byte before a transfer is given up.
MAX_IDLE_ATTEMPTS = 2
#: Of a file whose size neither the entry nor the server tells, what is fetched at most.
MOST_UNANNOUNCED = 8 << 30
#: Part sizes that tools upload to S3 with: those of boto3 and the AWS CLI first.
S3_PART_MIB = (8, 5, 16, 32, 64, 10, 15, 100, 128, 1000, 1024)


class DownloadError(DatasetError):
    """A file cannot be had: names its address and why."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A public file and what is known of its content.

    Attributes
    ----------
    url
        Its address.
    n_bytes
        Its size, where known.
    sha256
        Its checksum, where pinned.
    etag
        Its entity tag in an S3 bucket, from which a checksum is read, where listed.
    """

    url: str
    n_bytes: int | None = None
    sha256: str | None = None
    etag: str | None = None


def download(file: RemoteFile, target: Path, *, progress: Callable[[int], object]) -> None:
    """Download a file, or what is lacking of it.

    Parameters
    ----------
    file
        What to download.
    target
        Where it goes. It appears there when it is whole and right.
    progress
        Called with the number of bytes that have become available.

    Raises
    ------
    DownloadError
        The server cannot be reached or does not have the file; what arrived is kept for the next
        attempt. Or the content is not the file; it is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    resumed = part.exists()
    _transfer(file, part, progress)
    fault = find_fault(part, file)
    if fault and resumed:
        # The part may be of an older revision of the file: a fresh copy decides.
        log.warning("%s: %s after it was resumed; starting anew", file.url, fault)
        progress(-part.stat().st_size)
        part.unlink()
        _transfer(file, part, progress)
        fault = find_fault(part, file)
    if fault:
        progress(-part.stat().st_size)
        part.unlink()
        raise DownloadError(
            f"{file.url}: is not the file that was expected: {fault}; the source changed or the "
            "transfer was damaged"
        )
    part.replace(target)


def find_fault(path: Path, file: RemoteFile) -> str:
    """Say how a local file differs from what is known of the remote one; ``""`` if it does not."""
    n_bytes = path.stat().st_size
    if file.n_bytes is not None and n_bytes != file.n_bytes:
        return f"it has {n_bytes} bytes, expected {file.n_bytes}"
    if file.sha256 is not None:
        found = _digest(path, "sha256")
        return "" if found == file.sha256 else f"its SHA-256 is {found}, expected {file.sha256}"
    if file.etag is not None and not _matches_etag(path, file.etag, n_bytes):
        return f"its MD5 does not give the entity tag {file.etag}"
    return ""


def _transfer(file: RemoteFile, part: Path, progress: Callable[[int], object]) -> None:
    """Bring `part` to the end of the file, in as many requests as it takes."""
    import requests

    if part.exists():
        progress(part.stat().st_size)
    idle = 0
    with public_session() as session:
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                if _request(session, file, part, before, progress):
                    return
            except requests.HTTPError as error:
                raise DownloadError(f"{file.url}: {error}") from error
            except (requests.RequestException, OSError) as error:
                after = part.stat().st_size if part.exists() else 0
                slow = isinstance(error, requests.Timeout)
                idle = idle + 1 if slow or after <= before else 0
                if idle >= MAX_IDLE_ATTEMPTS:
                    raise DownloadError(
                        f"{file.url}: the transfer broke off after {after} bytes ({error}); call "
                        "again to go on from there"
                    ) from error
                log.warning("%s: broke off after %d bytes; going on", file.url, after)


def _request(
    session: requests.Session,
    file: RemoteFile,
    part: Path,
    start: int,
    progress: Callable[[int], object],
) -> bool:
    """Ask for what is lacking; return whether all that there is has come."""
    if file.n_bytes is not None and start == file.n_bytes:
        return True
    if file.n_bytes is not None and start > file.n_bytes:
        start = _discard(part, progress)
    # A compressed answer would have other bytes, and ranges of other bytes.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with session.get(file.url, headers=headers, stream=True) as answer:
        if start and answer.status_code == 416:
            # The bytes that are here are all that there are, or of another file.
            if _range_of(answer)[1] != start:
                log.warning("%s: the part of it that is here is stale; starting anew", file.url)
                _discard(part, progress)
                return False
            return True
        answer.raise_for_status()
        append = answer.status_code == 206
        if start and append and _range_of(answer)[0] not in (None, start):
            log.warning("%s: another range came than was asked for; starting anew", file.url)
            _discard(part, progress)
            return False
        if start and not append:
            progress(-start)
            start = 0
        most = _announced(answer, file, start)
        with part.open("ab" if append else "wb") as output:
            for block in blocks_of(answer, most - start):
                output.write(block)
                progress(len(block))
    return True


def _discard(part: Path, progress: Callable[[int], object]) -> int:
    """Remove the bytes so far; return how many are left: none."""
    progress(-part.stat().st_size)
    part.unlink()
    return 0


def _range_of(answer: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the file, as an answer to a range says; None where it does not."""
    told = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
    )
    if told is None:
        return None, None
    start, size = told.groups()
    return (
        int(start) if start is not None else None,
        int(size) if size not in (None, "*") else None,
    )


def _announced(answer: requests.Response, file: RemoteFile, start: int) -> int:
    """Size of the whole file: what is known of it, else what the server announces.

    Raises
    ------
    DownloadError
        The server announces another size than is known, so that it is another file.
    """
    length = answer.headers.get("Content-Length", "")
    told = start + int(length) if length.isdigit() else _range_of(answer)[1]
    if file.n_bytes is None:
        return MOST_UNANNOUNCED if told is None else told
    if told is not None and told != file.n_bytes:
        raise DownloadError(
            f"{file.url}: is not the file that was expected: the server announces {told} bytes, "
            f"expected {file.n_bytes}; the source changed"
        )
    return file.n_bytes


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _matches_etag(path: Path, etag: str, n_bytes: int) -> bool:
    """Whether a file gives an entity tag of S3.

    For objects uploaded in one piece the tag is the MD5 of the content; for those in n parts it
    is the MD5 of the parts' MD5s, followed by ``-n``. The size of the parts is not told, so the
    usual ones that give n parts are tried.

    References
    ----------
    Amazon S3 User Guide, "Checking object integrity", section on ETags and multipart uploads.
    """
    digest, _, count = etag.partition("-")
    if not count:
        return _digest(path, "md5") == digest
    sizes = [mib << 20 for mib in S3_PART_MIB]
    candidates = [size for size in sizes if -(-n_bytes // size) == int(count)]
    if not candidates:
        log.warning("%s: checked by size alone: its parts have an unusual size", path)
        return True
    return any(_parts_digest(path, size) == digest for size in candidates)


def _parts_digest(path: Path, part_bytes: int) -> str:
    parts = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(part_bytes):
            parts.update(hashlib.md5(block, usedforsecurity=False).digest())
    return parts.hexdigest()
