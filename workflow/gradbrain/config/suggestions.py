"""Names that were asked for and are not there: what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from gradbrain.config.errors import GradbrainError


def choose(name: str, allowed: Iterable[str], *, what: str, where: str) -> str:
    """Return `name` if it is allowed; else raise an error that lists what is."""
    allowed = list(allowed)
    if name in allowed:
        return name
    close = get_close_matches(name, allowed, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise GradbrainError(
        f"{where}: there is no {what} {name!r}.{hint} Allowed: {', '.join(allowed) or '(none)'}"
    )
