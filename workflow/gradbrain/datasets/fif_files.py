"""The chain of tags that a FIF file is made of, followed from its first byte to its last.

mne finds what it looks for by this chain, and takes what stands there: behind a block that was lost
or is there twice, values lie at other places than they did, and it says nothing as long as what it
finds is some tag.
"""

from __future__ import annotations

import struct
from pathlib import Path

from gradbrain.datasets.errors import DatasetError

# Kind, type, bytes of data, and what comes next: 0 the tag behind it, -1 none, else its place.
TAG = struct.Struct(">4i")
FILE_ID, LAST = 100, -1


def check_fif(path: Path) -> None:
    """Refuse a file whose tags do not reach from its start to its end; values are not read.

    Raises
    ------
    DatasetError
        A tag reaches beyond the file, the last one does not end it, or it is no FIF file.
    OSError
        It cannot be read.
    """
    n_bytes = path.stat().st_size
    place = 0
    with path.open("rb") as file:
        while place + TAG.size <= n_bytes:
            file.seek(place)
            kind, _, size, following = TAG.unpack(file.read(TAG.size))
            if (place == 0 and kind != FILE_ID) or size < 0 or kind < 0:
                break
            place += TAG.size + size
            if following == LAST and place == n_bytes:
                return
            # Written front to back, as mne does, each tag is followed by the next.
            if following not in (0, LAST, place):
                break
    raise DatasetError(
        f"{path}: cannot be read as epochs: its parts do not follow each other to its end "
        f"(lost at {min(place, n_bytes)} of {n_bytes}); it is cut short or damaged: get it again"
    )
