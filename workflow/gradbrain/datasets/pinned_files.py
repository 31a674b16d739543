"""Files of a data set whose checksum its entry pins, compared before they are read."""

from __future__ import annotations

from pathlib import Path

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.download import RemoteFile, find_fault
from gradbrain.datasets.errors import DatasetError


def check_pinned(entry: DatasetEntry, data: Path) -> None:
    """Refuse a data set with a file that is not the one that its entry pins.

    Files that are not there are left to the adapter, which knows whether it needs them.

    Parameters
    ----------
    entry
        Entry of datasets.yaml; checksums are those of ``fetch.files``.
    data
        Folder of the data set, however it came there.

    Raises
    ------
    DatasetError
        Names the first such file, both checksums, and what to do.
    """
    pins = entry.fetch.files if entry.fetch is not None else {}
    for relative, file in pins.items():
        path = data / relative
        if not path.is_file():
            continue
        fault = find_fault(path, RemoteFile(url=file.url, sha256=file.sha256))
        if fault:
            raise DatasetError(
                f"{path}: is not the file that the entry of data set {entry.name!r} pins: {fault}; "
                "get the file again, or correct its sha256 under fetch.files"
            )
