"""The order of file names that people number."""

from __future__ import annotations

import re


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key by which ``image_2`` comes before ``image_10``."""
    return [
        (0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part
    ]
