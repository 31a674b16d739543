"""Files of a folder: which of them a pattern means, and the order of names that people number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key by which ``image_2`` comes before ``image_10``."""
    return [
        (0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part
    ]


def matching_files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files below `folder` that match `pattern`, but for hidden ones.

    Names that begin with a dot, of files and of folders below `folder`, are what systems and
    editors leave there (``._image.jpg``, ``.DS_Store``, ``.ipynb_checkpoints``).
    """
    for path in folder.glob(pattern):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") and part != ".." for part in parts)
        if not hidden and path.is_file():
            yield path
