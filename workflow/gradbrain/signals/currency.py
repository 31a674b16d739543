"""Whether the store that stands somewhere is the one that would be made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradbrain.signals import SignalError
from gradbrain.store import StoreError, open_store, read_definition

log = logging.getLogger(__name__)

#: Attributes that hold the registry entries which a definition is the digest of.
ENTRIES = ("model_entry", "signal_set_entry", "signal_entry")


def is_current(output: Path, attributes: Mapping[str, Any], *, kind: str) -> bool:
    """Tell whether a complete store of the same definition is there already.

    Parameters
    ----------
    output
        Where the store goes.
    attributes
        What the store must say of itself: ``definition`` with the entries behind it, and digests
        of code, weights and images.
    kind
        What it holds.

    Raises
    ------
    SignalError
        A complete store of another definition stands there: a registry entry has changed.
    """
    if not output.exists():
        return False
    try:
        open_store(output, kind=kind)
    except StoreError as error:
        log.info("%s", error)
        return False
    found = read_definition(output)
    if found.get("definition") != attributes["definition"]:
        raise SignalError(
            f"{output}: was made from another definition: "
            f"{'; '.join(differences(found, attributes)) or 'unknown'}. Give the changed entry a "
            f"name of its own, or remove what it made: rm -r {output}"
        )
    reasons = changed(found, attributes)
    if reasons:
        log.info("%s is made again: %s changed", output, ", ".join(reasons))
    return not reasons


def changed(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Names of attributes that are not as expected."""
    return [key for key, value in expected.items() if found.get(key) != value]


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Say which keys of the entries behind two definitions differ, and whether the chain does."""
    lines = []
    for section in ENTRIES:
        old, new = found.get(section) or {}, expected.get(section) or {}
        lines += [
            f"{section}.{key} was {old.get(key)!r} and is {new.get(key)!r}"
            for key in sorted(set(old) | set(new))
            if old.get(key) != new.get(key)
        ]
    old, new = found.get("chain") or [], expected.get("chain") or []
    if old != new:
        lines.append(f"the chain of layers was {', '.join(old)} and is {', '.join(new)}")
    return lines
