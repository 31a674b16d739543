"""Public files over HTTP: asked for without credentials, and never more or slower than told.

A server that is asked for gigabytes may send more than it announced, or a byte now and then; both
end in an error and not in a full disk or a job that waits for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gradbrain.datasets.errors import DatasetError

if TYPE_CHECKING:
    import requests

#: What a broken transfer may lose.
BLOCK_BYTES = 1 << 16
#: Seconds without a byte, and to connect.
TIMEOUT_S = 30
#: A transfer that brings less than this on average over `PATIENCE_S` seconds is given up.
LEAST_BYTES_PER_S = 1024
PATIENCE_S = 60.0


class TooMuchError(DatasetError):
    """A server sends more than it may: names the address and the limit."""


def public_session() -> requests.Session:
    """Make a session that asks for public files.

    No credentials are sent, neither those of ``.netrc`` nor any that a redirection would bring up:
    public files need none, and an address in an entry is no reason to hand them out. Proxies and
    certificates of the environment are used. Answers of overloaded servers (5xx) are asked for
    again, three times.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from requests.auth import AuthBase
    from urllib3.util.retry import Retry

    class NoCredentials(AuthBase):
        """Leaves a request as it is; being there, it keeps requests from reading .netrc."""

        def __call__(self, request: Any) -> Any:
            return request

    class PublicSession(requests.Session):
        """Sends no credentials after a redirection either."""

        def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
            prepared_request.headers.pop("Authorization", None)

        def request(self, *args: Any, **kwargs: Any) -> requests.Response:
            kwargs.setdefault("timeout", TIMEOUT_S)
            return super().request(*args, **kwargs)

    session = PublicSession()
    session.auth = NoCredentials()
    retry = Retry(total=3, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def blocks_of(answer: requests.Response, most: int) -> Iterator[bytes]:
    """Yield the body of an answer as it comes.

    Parameters
    ----------
    answer
        Asked for with ``stream=True``.
    most
        Bytes that it may have.

    Raises
    ------
    TooMuchError
        It has more.
    requests.Timeout
        It comes too slowly.
    requests.ConnectionError
        It breaks off.
    """
    import requests
    import urllib3

    n_bytes, since, began = 0, 0, time.monotonic()
    try:
        # read1 gives what has come, however little: a server that drips must not be waited for.
        while block := answer.raw.read1(BLOCK_BYTES, decode_content=False):
            n_bytes += len(block)
            if n_bytes > most:
                raise TooMuchError(
                    f"{answer.url}: sends more than the {most} bytes that were expected; stopped"
                )
            yield block
            passed = time.monotonic() - began
            if passed > PATIENCE_S:
                speed = (n_bytes - since) / passed
                if speed < LEAST_BYTES_PER_S:
                    raise requests.Timeout(
                        f"{speed:.0f} bytes per second over the last {passed:.0f} s, expected "
                        f"{LEAST_BYTES_PER_S} or more"
                    )
                since, began = n_bytes, time.monotonic()
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(str(error)) from error
