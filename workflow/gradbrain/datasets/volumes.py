"""Brain volumes in NIfTI files: masks and maps at once, series of volumes one after the other."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradbrain.datasets.errors import DatasetError

#: Millimetres by which the affines of one grid may differ: headers hold float32.
SAME_PLACE_MM = 1e-2


@dataclass(frozen=True)
class Volume:
    """One volume.

    Attributes
    ----------
    values
        Shape (x, y, z).
    affine
        Shape (4, 4), float64. From voxel index to mm.
    path
        File, for errors.
    """

    values: np.ndarray
    affine: np.ndarray
    path: Path


def read_volume(path: Path, *, like: Volume | None = None) -> Volume:
    """Read a map or mask of one volume.

    Parameters
    ----------
    path
        NIfTI file; a fourth axis of length 1 is dropped.
    like
        Volume whose grid it must have.

    Raises
    ------
    DatasetError
        It is missing, damaged, no single volume, or of another grid.
    """
    image = _open(path)
    shape = image.shape[:3] if image.shape[3:] in ((), (1,)) else image.shape
    if len(shape) != 3:
        raise DatasetError(
            f"{path}: has shape {image.shape}, expected one volume (three axes); name the file "
            "that holds a single map"
        )
    if like is not None:
        check_grid(path, shape, image.affine, like)
    return Volume(_values(path, image).reshape(shape), image.affine, path)


def volume_shape(path: Path) -> tuple[int, ...]:
    """Shape of a NIfTI file, from its header.

    Raises
    ------
    DatasetError
        It is missing or no NIfTI file.
    """
    return tuple(int(length) for length in _open(path).shape)


def read_voxels(path: Path, voxels: np.ndarray, *, like: Volume, n_volumes: int) -> np.ndarray:
    """Read some voxels of a series, volume by volume: a compressed file is gone through once.

    Parameters
    ----------
    path
        NIfTI file with a fourth axis.
    voxels
        Shape (n_voxels,), int. Flat indices into a volume, the last axis fastest.
    like
        Volume whose grid it must have.
    n_volumes
        How many it must hold.

    Returns
    -------
    ndarray of float32, shape (n_volumes, n_voxels)

    Raises
    ------
    DatasetError
        It is missing or damaged, of another grid, or holds another number of volumes.
    """
    from nibabel.openers import ImageOpener

    image = _open(path)
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[3] != n_volumes:
        raise DatasetError(
            f"{path}: has shape {shape}, expected {n_volumes} volumes along a fourth axis, one for "
            "each trial of its table"
        )
    check_grid(path, shape[:3], image.affine, like)
    # Files have the first axis fastest.
    places = np.ravel_multi_index(np.unravel_index(voxels, shape[:3]), shape[:3], order="F")
    proxy: Any = image.dataobj
    dtype, n_voxels = np.dtype(proxy.dtype), int(np.prod(shape[:3]))
    found = np.empty((n_volumes, len(voxels)), dtype=np.float32)
    try:
        with ImageOpener(str(path), "rb") as file:
            file.seek(proxy.offset)
            for number in range(n_volumes):
                content = file.read(n_voxels * dtype.itemsize)
                values = np.frombuffer(content, dtype=dtype)
                if len(values) != n_voxels:
                    raise DatasetError(
                        f"{path}: ends within volume {number} of {n_volumes}; get the file again"
                    )
                found[number] = values[places]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); get the file again") from error
    if (proxy.slope, proxy.inter) != (1, 0):
        found *= np.float32(proxy.slope)
        found += np.float32(proxy.inter)
    return found


def check_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray, like: Volume) -> None:
    """Refuse a volume of another grid.

    Raises
    ------
    DatasetError
        Shapes differ, or voxels lie elsewhere.
    """
    if tuple(shape) != like.values.shape:
        raise DatasetError(
            f"{path}: has {' × '.join(map(str, shape))} voxels, {like.path} "
            f"{' × '.join(map(str, like.values.shape))}; both must be of one grid: resample one"
        )
    if affine is None or not np.allclose(affine, like.affine, atol=SAME_PLACE_MM):
        raise DatasetError(
            f"{path}: its voxels lie elsewhere than those of {like.path} (the affines differ); "
            "both must be of one grid: resample one"
        )


def _open(path: Path) -> Any:
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise DatasetError(f"{path}: is {type(image).__name__}, expected a NIfTI file")
        return image
    except (OSError, EOFError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        raise DatasetError(f"{path}: cannot be read as NIfTI ({error}); get it again") from error


def _values(path: Path, image: Any) -> np.ndarray:
    try:
        return np.asarray(image.dataobj)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); get the file again") from error
