"""Names that were asked for and are not there: what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from gradbrain.config.errors import GradbrainError

#: Of more names than this an error shows those that are near, and counts them.
MOST_SHOWN = 100


def near_names(name: str, known: Iterable[str], n: int = 5) -> list[str]:
    """Known names that may have been meant: those spelled alike, then those that hold its letters.

    Parameters
    ----------
    name
        What was asked for; wildcards, case and separators do not count.
    known
        What there is.
    n
        At most so many.
    """
    plain = {item: _letters(item) for item in known}
    wanted = _letters(name)
    close = get_close_matches(wanted, set(plain.values()), n=n)
    alike = [item for letters in close for item, own in plain.items() if own == letters]
    holding = [item for item, own in plain.items() if wanted and wanted in own]
    return list(dict.fromkeys([*alike, *holding]))[:n]


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def choose(name: str, allowed: Iterable[str], *, what: str, where: str) -> str:
    """Return `name` if it is allowed; else raise an error that lists what is."""
    allowed = list(allowed)
    if name in allowed:
        return name
    shown = allowed if len(allowed) <= MOST_SHOWN else [*near_names(name, allowed), "…"]
    count = f" ({len(allowed)} in all)" if len(allowed) > MOST_SHOWN else ""
    raise GradbrainError(
        f"{where}: there is no {what} {name!r}.{did_you_mean(name, allowed)} "
        f"Allowed: {', '.join(shown) or '(none)'}{count}"
    )


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Suggest the nearest of some names, as a sentence after a space; ``""`` where none is near."""
    close = get_close_matches(name, list(allowed), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
