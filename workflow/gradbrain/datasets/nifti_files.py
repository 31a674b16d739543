"""NIfTI volumes, read to their end: what is compressed carries a checksum behind its last byte."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from gradbrain.datasets.errors import DatasetError, reading


def read_nifti(path: Path) -> Any:
    """Read a volume with all its values.

    Returns
    -------
    nibabel.Nifti1Image

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DatasetError
        It is damaged, cut short, or longer than its header says.
    """
    import nibabel

    with open_nifti(path) as file:
        content = file.read()
        image: Any = nibabel.Nifti1Image.from_bytes(content)
        header = image.header
        expected = int(image.dataobj.offset) + n_value_bytes(header)
        if len(content) != expected:
            raise DatasetError(
                f"{path}: has {len(content)} bytes of header and values, its header says "
                f"{expected}; get the file again"
            )
        # Values are decoded here, so that what is odd about them is told with the file.
        values = np.asarray(image.dataobj)
    return nibabel.Nifti1Image(values, image.affine, header)


@contextmanager
def open_nifti(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, compressed or not; what is odd in the block is told with its name."""
    if not path.exists():
        raise FileNotFoundError(path)
    unpack = gzip.open if path.suffix == ".gz" else open
    with reading(path, "as NIfTI"), cast(IO[bytes], unpack(path, "rb")) as file:
        yield file


def n_value_bytes(header: Any) -> int:
    """Bytes of the values that a header announces."""
    shape = header.get_data_shape()
    return int(np.prod(shape, dtype=np.int64)) * int(header.get_data_dtype().itemsize)
