"""Responses in the files of brain imaging: NIfTI with a mask, GIFTI, CIFTI, epochs of mne.

Each becomes a :class:`gradbrain.datasets.recordings.Recording`: rows are volumes, maps or epochs,
in the order of the file, and what is known of targets, sensors and times are its coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.recordings import Recording
from gradbrain.datasets.volumes import Volume, read_volume, read_voxels, volume_shape

#: CIFTI comes first: its files end like NIfTI's, too.
CIFTI = (".dscalar.nii", ".dtseries.nii")
NIFTI, GIFTI, EPOCHS = (".nii", ".nii.gz"), (".gii", ".gii.gz"), (".fif", ".fif.gz")
ENDINGS = (*NIFTI, *GIFTI, *EPOCHS)
#: What `{hemi}` in a path stands for, and the hemisphere.
HEMIS = {"L": "left", "R": "right"}


class LazyArray:
    """An array that is read as a whole when the first of its values is asked for.

    Parameters
    ----------
    shape
        Its shape, known beforehand.
    read
        Reads it; float32.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: Sequence[int], read: Callable[[], np.ndarray]) -> None:
        self.shape = tuple(int(length) for length in shape)
        self._read = read
        self._values: np.ndarray | None = None

    def __getitem__(self, key: Any) -> np.ndarray:
        if self._values is None:
            self._values = self._read()
        return self._values[key]


def is_brain_file(path: str) -> bool:
    """Whether a name ends as files of brain imaging do."""
    return path.lower().endswith(ENDINGS)


def open_brain_files(
    paths: Mapping[str, Path], *, mask: Path | None, region_masks: Mapping[str, Path]
) -> Recording:
    """Open a subject's file, or the two of its hemispheres, without reading values.

    Parameters
    ----------
    paths
        Hemisphere (``left``, ``right``; ``""``: the file is of both) -> file.
    mask
        NIfTI mask of the voxels that are kept; of NIfTI files, which need it.
    region_masks
        Region -> NIfTI mask, from low to high; a voxel in several belongs to the first.

    Raises
    ------
    DatasetError
        A file is missing, damaged, of another kind than it says, or does not fit the mask.
    """
    path = next(iter(paths.values()))
    missing = [one for one in paths.values() if not one.is_file()]
    if missing:
        raise DatasetError(f"{missing[0]}: there is no such file")
    name = path.name.lower()
    if name.endswith(EPOCHS):
        return _open_epochs(path)
    if name.endswith(GIFTI):
        return _open_gifti(paths)
    if name.endswith(CIFTI):
        return _open_cifti(path)
    if mask is None:
        raise DatasetError(
            f"{path}: the option `mask` is needed with NIfTI files: a mask on the same grid (of a "
            "masker of nilearn: masker.mask_img_.to_filename)"
        )
    return _open_nifti(path, mask, region_masks)


def _open_nifti(path: Path, mask_path: Path, region_masks: Mapping[str, Path]) -> Recording:
    mask = read_volume(mask_path)
    inside = np.nan_to_num(mask.values) > 0
    voxels, shape = np.flatnonzero(inside), volume_shape(path)
    if not len(voxels):
        raise DatasetError(f"{mask_path}: no voxel is above 0")
    if len(shape) != 4:
        raise DatasetError(
            f"{path}: has shape {shape}, expected a volume for each presentation along a fourth "
            "axis"
        )
    index = np.stack(np.unravel_index(voxels, inside.shape), axis=1).astype(np.float64)
    position = index @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    coordinates = {
        "hemisphere": np.where(position[:, 0] < 0, "left", "right"),
        **dict(zip("xyz", position.T, strict=True)),
        "vertex": voxels,
    }
    if region_masks:
        coordinates["roi"] = _regions(region_masks, mask, voxels)

    def read() -> np.ndarray:
        return read_voxels(path, voxels, like=mask, n_volumes=shape[3])

    return Recording(path, LazyArray((shape[3], len(voxels)), read), coordinates)


def _regions(region_masks: Mapping[str, Path], mask: Volume, voxels: np.ndarray) -> np.ndarray:
    roi = np.full(len(voxels), "", dtype=object)
    for region, path in region_masks.items():
        values = read_volume(path, like=mask).values.reshape(-1)[voxels]
        own = (np.nan_to_num(values) > 0) & (roi == "")
        if not own.any():
            raise DatasetError(
                f"{path}: no voxel of region {region!r} lies in the mask and in no region before it"
            )
        roi[own] = region
    return roi.astype(str)


def _open_gifti(paths: Mapping[str, Path]) -> Recording:
    parts, hemisphere, vertex = [], [], []
    for side, path in paths.items():
        arrays = _gifti_arrays(path)
        lengths = {np.shape(array) for array in arrays}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise DatasetError(
                f"{path}: expected an array of one value per vertex for each presentation, found "
                f"{sorted(lengths) or 'none'}"
            )
        parts.append(np.stack(arrays).astype(np.float32))
        n_vertices = parts[-1].shape[1]
        hemisphere += [side] * n_vertices
        vertex += list(range(n_vertices))
    if len({len(part) for part in parts}) > 1:
        told = " and ".join(str(len(part)) for part in parts)
        raise DatasetError(
            f"{', '.join(map(str, paths.values()))}: hold {told} presentations; both hemispheres "
            "must hold the same"
        )
    coordinates = {"hemisphere": np.array(hemisphere), "vertex": np.array(vertex)}
    path = next(iter(paths.values()))
    return Recording(path, np.concatenate(parts, axis=1), coordinates)


def _gifti_arrays(path: Path) -> list[np.ndarray]:
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        return [np.asarray(array.data) for array in image.darrays]
    except Exception as error:  # nibabel, expat and zlib raise a dozen kinds
        raise DatasetError(f"{path}: cannot be read as GIFTI ({error}); get it again") from error


def _open_cifti(path: Path) -> Recording:
    import nibabel as nib
    from nibabel.cifti2 import BrainModelAxis

    try:
        image: Any = nib.load(path)
        axis = image.header.get_axis(1)
    except Exception as error:  # nibabel and expat raise a dozen kinds
        raise DatasetError(f"{path}: cannot be read as CIFTI ({error}); get it again") from error
    if not isinstance(axis, BrainModelAxis):
        raise DatasetError(
            f"{path}: lies along {type(axis).__name__}, expected grayordinates (BrainModelAxis); "
            "parcellated files are tables of regions: save them as .npy with a table of targets"
        )
    sides = {"CIFTI_STRUCTURE_CORTEX_LEFT": "left", "CIFTI_STRUCTURE_CORTEX_RIGHT": "right"}
    hemisphere = np.array([sides.get(str(name), "") for name in axis.name])
    surface = np.asarray(axis.surface_mask)
    vertex = np.asarray(axis.vertex, dtype=np.int64).copy()
    position = np.full((len(vertex), 3), np.nan)
    if not surface.all():
        voxel = np.asarray(axis.voxel)[~surface]
        vertex[~surface] = np.ravel_multi_index(tuple(voxel.T), axis.volume_shape)
        position[~surface] = voxel @ axis.affine[:3, :3].T + axis.affine[:3, 3]
    coordinates = {
        "hemisphere": hemisphere,
        "vertex": vertex,
        **dict(zip("xyz", position.T, strict=True)),
    }

    def read() -> np.ndarray:
        return np.asarray(image.dataobj, dtype=np.float32)

    return Recording(path, LazyArray(image.shape, read), coordinates)


def _open_epochs(path: Path) -> Recording:
    import mne

    try:
        epochs = mne.read_epochs(path, preload=False, verbose="error")
    except Exception as error:  # mne raises a dozen kinds for damaged files
        raise DatasetError(
            f"{path}: cannot be read as epochs of mne ({error}); write them with epochs.save to a "
            "name that ends in -epo.fif"
        ) from error
    picks = mne.pick_types(epochs.info, meg=True, eeg=True, seeg=True, ecog=True, exclude="bads")
    if not len(picks):
        raise DatasetError(f"{path}: holds no channel of MEG or EEG that is not marked as bad")
    coordinates: dict[str, np.ndarray] = {
        "time": np.asarray(epochs.times, dtype=np.float64),
        "sensor": np.array([epochs.ch_names[pick] for pick in picks]),
    }
    if epochs.metadata is not None:
        for name in ("image_id", "session"):
            if name in epochs.metadata.columns:
                coordinates[name] = epochs.metadata[name].to_numpy().astype(str)

    def read() -> np.ndarray:
        # mne has channels before times.
        values = epochs.get_data(picks=picks, copy=False, verbose="error")
        return values.swapaxes(1, 2).astype(np.float32)

    shape = (len(epochs), len(epochs.times), len(picks))
    return Recording(path, LazyArray(shape, read), coordinates)
