"""Listing the files of a public S3 bucket through its HTTP endpoint.

Only the reading of public listings is needed, so no client of Amazon's services is.
"""

from __future__ import annotations

import fnmatch
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from urllib.parse import quote

from gradbrain.config.schema import FetchBucket
from gradbrain.datasets.download import TIMEOUT_S, DownloadError, RemoteFile


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
    import requests

    query = {"list-type": "2", "prefix": prefix}
    while True:
        try:
            answer = requests.get(f"{base}/", params=query, timeout=TIMEOUT_S)
            answer.raise_for_status()
            root = ElementTree.fromstring(answer.content)
        except (requests.RequestException, ElementTree.ParseError) as error:
            raise DownloadError(f"{base}: cannot be listed ({error}); check the network") from error
        for item in root.findall("{*}Contents"):
            tag = item.findtext("{*}ETag", "").strip('"')
            yield item.findtext("{*}Key", ""), int(item.findtext("{*}Size", "0")), tag
        token = root.findtext("{*}NextContinuationToken")
        if not token:
            return
        query["continuation-token"] = token
