"""Vertices and voxels of the Natural Scenes Dataset: regions, positions, signal-to-noise ratios."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.freesurfer import read_colour_table, read_surface, read_vertex_values
from gradbrain.datasets.nifti_files import read_nifti
from gradbrain.datasets.nsd_files import HEMISPHERES, SubjectFiles

log = logging.getLogger(__name__)

GENERAL = "nsdgeneral"
Mask = Literal["parcellation", "nsdgeneral", "all"]


def label_regions(
    files: SubjectFiles, parcellation: str, regions: Mapping[str, Sequence[str]]
) -> dict[int, str]:
    """Region of each label of a parcellation, in the order of regions.

    Parameters
    ----------
    parcellation
        Name of the label files.
    regions
        Region -> names of its labels; empty: each label that is named is a region.

    Raises
    ------
    DatasetError
        The table of names is missing or has no such label.
    """
    path, names = files.colour_table(parcellation), _label_names(files, parcellation)
    if not regions:
        # 0 is what lies outside all regions, and -1 what is no cortex.
        return {number: name for number, name in names.items() if number > 0}
    numbers = {name: number for number, name in names.items()}
    wanted = [label for joined in regions.values() for label in joined]
    unknown = [label for label in wanted if label not in numbers]
    if unknown:
        raise DatasetError(
            f"option regions: {path} has no label {', '.join(unknown)}; it has {', '.join(numbers)}"
        )
    return {numbers[label]: region for region, joined in regions.items() for label in joined}


def _label_names(files: SubjectFiles, parcellation: str) -> dict[int, str]:
    path = files.colour_table(parcellation)
    if parcellation == GENERAL and not path.is_file():
        return {1: GENERAL}
    return read_colour_table(path)


def _check_named(labels: np.ndarray, files: SubjectFiles, parcellation: str, path: Path) -> None:
    """Refuse labels without a name: what has them would belong to no region, without a word."""
    names = _label_names(files, parcellation)
    unnamed = sorted(set(np.unique(labels[labels > 0]).tolist()) - set(names))
    if unnamed:
        raise DatasetError(
            f"{path}: holds the label {unnamed[0]}, which {files.colour_table(parcellation)} does "
            "not name; get both files again"
        )


def surface_targets(
    files: SubjectFiles, parcellation: str, region_of: Mapping[int, str], mask: Mask
) -> pd.DataFrame:
    """List the vertices that are kept, left hemisphere first, each ascending.

    Returns
    -------
    DataFrame
        ``roi`` (empty outside any region), ``hemisphere``, ``x``, ``y``, ``z`` (mm, MNI305),
        ``vertex`` (index within the hemisphere), ``ncsnr``.

    Raises
    ------
    DatasetError
        A file is missing or damaged, or files are of different surfaces.
    """
    tables = []
    for name, hemisphere in HEMISPHERES.items():
        path = files.ncsnr(hemisphere)
        ncsnr = read_vertex_values(path)
        labels = _same_size(files.labels(parcellation, hemisphere), ncsnr, path)
        _check_named(labels, files, parcellation, files.labels(parcellation, hemisphere))
        kept = _kept(labels, region_of, mask)
        if mask == "nsdgeneral":
            kept = _same_size(files.labels(GENERAL, hemisphere), ncsnr, path) > 0
        surface = files.surface(hemisphere)
        if surface.is_file():
            positions = read_surface(surface)
        else:
            log.warning("%s: there is no such surface; vertices have no positions", surface)
            positions = np.full((len(ncsnr), 3), np.nan)
        if len(positions) != len(ncsnr):
            raise DatasetError(
                f"{files.surface(hemisphere)}: has {len(positions)} vertices, {path} has "
                f"{len(ncsnr)}; they are of different surfaces: get the files again"
            )
        vertices = np.flatnonzero(kept)
        x, y, z = positions[vertices].T
        tables.append(
            pd.DataFrame(
                {
                    "roi": _regions(labels[vertices], region_of),
                    "hemisphere": name,
                    "x": x,
                    "y": y,
                    "z": z,
                    "vertex": vertices,
                    "ncsnr": ncsnr[vertices].astype(np.float64),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def volume_targets(
    files: SubjectFiles, parcellation: str, region_of: Mapping[int, str], mask: Mask
) -> tuple[pd.DataFrame, tuple[int, int, int]]:
    """List the voxels that are kept, x fastest.

    Returns
    -------
    targets : DataFrame
        As for :func:`surface_targets`; ``vertex`` is the index of the voxel (x fastest), and there
        are no positions: those of the volume are the person's own and not MNI.
    shape : (x, y, z)
        Voxels of the volume.

    Raises
    ------
    DatasetError
        A file is missing or damaged, or volumes are of different shapes.
    """
    ncsnr = read_volume(files.ncsnr())
    shape = ncsnr.shape
    sides = {
        name: read_volume(files.labels(parcellation, hemisphere), shape)
        for name, hemisphere in HEMISPHERES.items()
    }
    for side, code in HEMISPHERES.items():
        _check_named(sides[side], files, parcellation, files.labels(parcellation, code))
    left, right = (sides[name].reshape(-1, order="F") for name in HEMISPHERES)
    in_left = _kept(left, region_of, "parcellation")
    labels = np.where(in_left, left, right)
    kept = _kept(labels, region_of, mask)
    in_side = [left > 0, right > 0]
    if mask == "nsdgeneral":
        general = [read_volume(files.labels(GENERAL, side), shape) for side in HEMISPHERES.values()]
        of_general = [volume.reshape(-1, order="F") > 0 for volume in general]
        kept = np.any(of_general, axis=0)
        # Voxels outside of the parcellation are told apart by the files of the mask.
        in_side = [own | other for own, other in zip(in_side, of_general, strict=True)]
    elif mask == "all":
        kept = read_volume(files.brain_mask, shape).reshape(-1, order="F") > 0
    voxels = np.flatnonzero(kept)
    in_left, in_right = (side[voxels] for side in in_side)
    hemisphere = np.where(in_left, "left", np.where(in_right, "right", ""))
    targets = pd.DataFrame(
        {
            "roi": _regions(labels[voxels], region_of),
            "hemisphere": hemisphere,
            "x": np.nan,
            "y": np.nan,
            "z": np.nan,
            "vertex": voxels,
            "ncsnr": ncsnr.reshape(-1, order="F")[voxels].astype(np.float64),
        }
    )
    return targets, shape


def read_volume(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a volume of one value per voxel.

    Raises
    ------
    DatasetError
        The file is missing or damaged, or not of the shape given.
    """
    try:
        values = np.asarray(read_nifti(path).dataobj)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: is missing") from error
    if values.ndim != 3 or (shape is not None and values.shape != shape):
        raise DatasetError(
            f"{path}: has shape {values.shape}, expected {shape or '(x, y, z)'}; it is not of this "
            "subject's volume"
        )
    return values


def _same_size(path: Path, like: np.ndarray, of: Path) -> np.ndarray:
    values = read_vertex_values(path)
    if len(values) != len(like):
        raise DatasetError(
            f"{path}: has {len(values)} vertices, {of} has {len(like)}; they are of different "
            "surfaces: get the files again"
        )
    return values


def _kept(labels: np.ndarray, region_of: Mapping[int, str], mask: Mask) -> np.ndarray:
    if mask == "all":
        return np.ones(len(labels), dtype=bool)
    return np.isin(labels, list(region_of))


def _regions(labels: np.ndarray, region_of: Mapping[int, str]) -> np.ndarray:
    """Name of each target's region, empty outside any."""
    found, places = np.unique(labels, return_inverse=True)
    names = [region_of.get(int(label), "") for label in found.tolist()]
    return np.array(names, dtype=np.str_)[places]
