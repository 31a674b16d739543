"""Listing the files of a public S3 bucket through its HTTP endpoint.

Only the reading of public listings is needed, so no client of Amazon's services is.
"""

from __future__ import annotations

import fnmatch
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from gradbrain.config.schema import FetchBucket
from gradbrain.datasets.download import DownloadError, RemoteFile
from gradbrain.datasets.public_http import blocks_of, public_session

if TYPE_CHECKING:
    import requests

#: A page lists 1,000 objects in some 300 kB.
MOST_PAGE_BYTES = 64 << 20
MOST_PAGES = 10_000


def list_bucket(bucket: FetchBucket) -> dict[str, RemoteFile]:
    """List the files of a bucket that match its patterns.

    Returns
    -------
    dict
        Path below ``prefix`` -> file, with its size and entity tag.

    Raises
    ------
    DownloadError
        The bucket cannot be reached, does not answer with a listing, or nothing matches a
        pattern.

    References
    ----------
    Amazon S3 API Reference, ListObjectsV2.
    """
    found: dict[str, RemoteFile] = {}
    base = bucket.url.rstrip("/")
    prefix = bucket.prefix.strip("/") + "/" if bucket.prefix.strip("/") else ""
    for pattern in bucket.patterns:
        # The listing is narrowed to what stands before the first wildcard.
        start = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        matching = {
            key.removeprefix(prefix): RemoteFile(
                url=f"{base}/{quote(key)}", n_bytes=n_bytes, etag=etag
            )
            for key, n_bytes, etag in _objects(base, prefix + start)
            if fnmatch.fnmatchcase(key.removeprefix(prefix), pattern) and not key.endswith("/")
        }
        if not matching:
            raise DownloadError(f"{base}/{prefix}: holds no file that matches {pattern!r}")
        found |= matching
    return dict(sorted(found.items()))


def _objects(base: str, prefix: str) -> Iterator[tuple[str, int, str]]:
    """Yield key, size and entity tag of every object whose key starts with `prefix`."""
    query = {"list-type": "2", "prefix": prefix}
    tokens: set[str] = set()
    with public_session() as session:
        for _ in range(MOST_PAGES):
            root = _page(session, base, query)
            for item in root.findall("{*}Contents"):
                yield _object(item, base)
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return
            if token in tokens:
                raise DownloadError(
                    f"{base}: its listing of {prefix!r} goes in a circle: the continuation token "
                    f"{token[:40]!r} came twice"
                )
            tokens.add(token)
            query["continuation-token"] = token
    raise DownloadError(
        f"{base}: its listing of {prefix!r} has more than {MOST_PAGES:,} pages; narrow the patterns"
    )


def _page(session: requests.Session, base: str, query: dict[str, str]) -> ElementTree.Element:
    import requests

    try:
        # Plain, so that bytes that come are bytes of the page.
        plain = {"Accept-Encoding": "identity"}
        with session.get(f"{base}/", params=query, headers=plain, stream=True) as answer:
            answer.raise_for_status()
            return ElementTree.fromstring(b"".join(blocks_of(answer, MOST_PAGE_BYTES)))
    except (requests.RequestException, ElementTree.ParseError) as error:
        raise DownloadError(f"{base}: cannot be listed ({error}); check the network") from error


def _object(item: ElementTree.Element, base: str) -> tuple[str, int, str]:
    """Key, size and entity tag of one object of a listing.

    Raises
    ------
    DownloadError
        It has no key, or a size that is none.
    """
    key, size = item.findtext("{*}Key", ""), item.findtext("{*}Size", "").strip()
    if not key or not (size.isascii() and size.isdigit()):
        raise DownloadError(
            f"{base}: lists an object {key!r} of {size!r} bytes, expected a key and a number"
        )
    return key, int(size), item.findtext("{*}ETag", "").strip('"')
