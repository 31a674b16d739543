"""Whose result a file is: what it says of itself against the place where it lies.

A result that was copied over another one of its kind has everything in order but its name. Paths of
results follow from their keys (``vocabulary.artefacts``), so a reader can tell: a store of subject
``s2`` at ``…/responses/s1.zarr`` is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gradbrain.vocabulary.artefacts import ARTEFACTS, Artefact

# Names of hidden files are those of files that are being written.
_KEY = r"[^/.][^/]*"


@dataclass(frozen=True)
class Place:
    """What lies at a path.

    Attributes
    ----------
    kind
        Kind of result.
    keys
        Keys of its template, such as ``model`` and ``subject``.
    target
        The path below the working directory, as Snakemake knows it.
    """

    kind: str
    keys: Mapping[str, str]
    target: str


@cache
def _pattern(template: str, keys: tuple[str, ...]) -> re.Pattern[str]:
    pattern = re.escape(template)
    for key in keys:
        pattern = pattern.replace(re.escape(f"{{{key}}}"), f"(?P<{key}>{_KEY})", 1)
    return re.compile(rf"(?:^|/)(?P<target_>{pattern})$")


def _place(declared: Artefact, path: Path) -> Place | None:
    found = _pattern(declared.template, declared.keys).search(path.as_posix())
    if found is None:
        return None
    keys = {key: found[key] for key in declared.keys}
    return Place(declared.kind, keys, found["target_"])


def artefact_at(path: Path) -> Place | None:
    """Kind and keys of whatever lies at a path; None where no result lies so.

    Where several templates fit, that with the most fixed text counts.
    """
    found = [
        (len(re.sub(r"{.*?}", "", declared.template)), place)
        for declared in ARTEFACTS.values()
        if (place := _place(declared, path)) is not None
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def misplaced(path: Path, found: Mapping[str, Iterable[Any]]) -> str:
    """Say what a result is of, where that is not what its path says; empty where it is.

    Parameters
    ----------
    path
        The result.
    found
        Key -> values that the result has for it: attributes of a store, columns of a table.
    """
    place = artefact_at(path)
    if place is None:
        return ""
    wrong = []
    for key, expected in place.keys.items():
        others = sorted({str(value) for value in found.get(key, ())} - {expected})
        if others:
            wrong.append(f"{key} {', '.join(map(repr, others))}, expected {expected!r}")
    return "; ".join(wrong)
