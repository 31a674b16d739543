"""Adapter ``dissimilarity``: images in a folder, responses as dissimilarity matrices (RDMs).

Each region has one file (``.npz``, ``.npy`` or ``.mat``) with 1 − Pearson between the response
patterns to each pair of images: (subjects, images, images), or (images, images) for one subject;
with ``axes: images_images_subjects`` the subjects come last, as MATLAB has them.
Rows are the images in natural order of their file names (``image_2`` before ``image_10``).
The subject ``<anything>07`` is the seventh matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator
from tqdm import tqdm

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry, StrictModel
from gradbrain.datasets.adapter import FolderAdapter, name_ending
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.file_names import matching_files, natural_key
from gradbrain.datasets.images import look_at_image
from gradbrain.datasets.inventory import Item, inspect_file, inspect_files
from gradbrain.datasets.locators import WHITE, Background
from gradbrain.datasets.matlab import read_mat
from gradbrain.datasets.noise_ceiling import kernel_ceiling
from gradbrain.datasets.npy_files import open_npy
from gradbrain.datasets.responses import describe, target_responses
from gradbrain.datasets.stimuli import file_stimulus, stimuli_table
from gradbrain.datasets.virtual_voxels import check_dissimilarities, correlation_kernel, embed
from gradbrain.vocabulary.roles import ROI

SUFFIXES = (".npz", ".npy", ".mat")
# Matrices are counted against the images.
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {"ceilings": "the other people"}


class MatrixFile(StrictModel):
    """Where the matrices of one region lie."""

    path: str = Field(description="File below data/<name>: .npz, .npy or .mat (up to v7).")
    key: str | None = Field(
        None,
        description="Array in the file; none where it holds one only. Of structures in .mat files "
        "`<structure>.<field>`.",
    )
    axes: Literal["subjects_images_images", "images_images_subjects"] = Field(
        "subjects_images_images", description="Order of the axes of an array of three."
    )


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    files: dict[str, MatrixFile] = Field(min_length=1, description="Region -> its matrices.")
    images: str = Field("images/*.jpg", description="Pattern of the image files, below data/.")
    background: Background = WHITE


class Options(ImageOptions):
    """Options of a data set of dissimilarity matrices."""

    measure: Literal["correlation"] = Field("correlation", description="Dissimilarity: 1 - r.")
    roi_order: tuple[str, ...] = Field(min_length=1, description="Regions, from low to high.")
    early_rois: tuple[str, ...] = ()
    high_rois: tuple[str, ...] = ()
    clip_negative: bool = Field(
        False, description="Leave out dimensions with negative eigenvalues; they are counted."
    )
    n_repeats: int = Field(1, ge=1, description="Presentations of an image behind the matrices.")
    preprocessing: str = ""

    @model_validator(mode="after")
    def _regions_agree(self) -> Options:
        if set(self.roi_order) != set(self.files) or len(set(self.roi_order)) != len(self.files):
            raise ValueError(
                f"roi_order {list(self.roi_order)} must name each region of files once: "
                f"{sorted(self.files)}"
            )
        unknown = sorted({*self.early_rois, *self.high_rois} - set(self.files))
        if unknown:
            raise ValueError(f"early_rois, high_rois: {unknown} are not among files")
        return self


def image_files(options: ImageOptions, data: Path) -> list[Path]:
    """List the image files in natural order.

    Raises
    ------
    DatasetError
        None matches.
    """
    found = list(matching_files(data, options.images))
    if not found:
        raise DatasetError(
            f"{data}: no file matches {options.images!r} (option `images`); check the link "
            f"{data} and the pattern; files whose names begin with a dot are skipped"
        )
    return sorted(found, key=lambda path: natural_key(path.relative_to(data).as_posix()))


def read_matrices(source: MatrixFile, data: Path) -> np.ndarray:
    """Read the matrices of one region.

    Returns
    -------
    ndarray of float64, shape (n_subjects, n_images, n_images)

    Raises
    ------
    DatasetError
        The file is missing, unreadable, of another kind, or lacks the key.
    """
    path = data / source.path
    if path.suffix not in SUFFIXES:
        raise DatasetError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; check the link {data}")
    arrays = _read_arrays(path)
    key = source.key
    if key is None:
        numbers = [name for name, array in arrays.items() if array.dtype.kind in "fiu"]
        if len(arrays) > 1 and len(numbers) == 1:
            arrays = {numbers[0]: arrays[numbers[0]]}
        if len(arrays) != 1:
            raise DatasetError(
                f"{path}: holds {len(arrays)} arrays ({', '.join(arrays)}); name one as `key`"
            )
        key = next(iter(arrays))
    if key not in arrays:
        raise DatasetError(f"{path}: has no key {key!r}; its keys are {', '.join(arrays)}")
    matrices = arrays[key]
    if matrices.dtype.kind not in "fiu":
        raise DatasetError(f"{path}, key {key!r}: has type {matrices.dtype}, expected numbers")
    if matrices.ndim == 2:
        matrices = matrices[None]
    if matrices.ndim != 3:
        raise DatasetError(
            f"{path}, key {key!r}: has shape {matrices.shape}, expected (subjects, images, images) "
            "or (images, images)"
        )
    rows, columns = matrices.shape[1:]
    if source.axes == "images_images_subjects" and arrays[key].ndim == 3:
        matrices = np.moveaxis(matrices, -1, 0)
    elif rows != columns and matrices.shape[0] == rows:
        raise DatasetError(
            f"{path}, key {key!r}: has shape {matrices.shape}: its subjects come last; set `axes: "
            "images_images_subjects` for this file"
        )
    return matrices.astype(np.float64)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".mat":
        return read_mat(path)
    try:
        if path.suffix == ".npy":
            return {"array": open_npy(path)}
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds
        raise DatasetError(f"{path}: cannot be read ({error}); replace the damaged file") from error


def subject_index(subject: str) -> int:
    """Index of a subject's matrix: the number at the end of its name, counted from 1."""
    expected = "the number of its matrix, from 1, such as objects92-s01"
    return int(name_ending(subject, r"(?<!\d)0*([1-9]\d*)", expected=expected)) - 1


def _shape_of(source: MatrixFile, data: Path, path: Path) -> str:
    return "subjects × images × images: " + " × ".join(map(str, read_matrices(source, data).shape))


def _kernels(source: MatrixFile, data: Path, n_images: int, subject: str, index: int) -> np.ndarray:
    """Centred kernels of all subjects of a region, (n_subjects, n_images, n_images)."""
    matrices = read_matrices(source, data)
    if index >= len(matrices):
        raise DatasetError(
            f"{data / source.path}: holds the matrices of {len(matrices)} subject(s), subject "
            f"{subject!r} would be number {index + 1}; correct `subjects` in datasets.yaml"
        )
    for number, matrix in enumerate(matrices, start=1):
        check_dissimilarities(
            matrix, where=f"{data / source.path}, matrix {number}", n_images=n_images
        )
    return np.stack([correlation_kernel(matrix) for matrix in matrices])


def _check_row_count(options: ImageOptions, data: Path, n_images: int) -> None:
    for source in options.files.values():
        rows, columns = read_matrices(source, data).shape[-2:]
        if rows != columns:
            raise DatasetError(
                f"{data / source.path}: matrices of {rows} × {columns} are not square; expected "
                "one row and one column per image"
            )
        if rows != n_images:
            raise DatasetError(
                f"{data / source.path}: has {rows} rows per matrix, but {n_images} files match "
                f"{options.images!r}; each row needs its image and each image its row"
            )


def _virtual_targets(roi: str, count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "roi": np.full(count, roi),
            "hemisphere": "",
            "x": np.nan,
            "y": np.nan,
            "z": np.nan,
            "vertex": -1,
        }
    )


class Adapter(FolderAdapter):
    """Dissimilarity matrices, as virtual voxels."""

    image_options = ImageOptions

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the table of the image files; each image is a group of its own.

        Raises
        ------
        DatasetError
            There are no images, one cannot be read, or their number is not that of the matrices'
            rows.
        """
        files = image_files(options, data)
        _check_row_count(options, data, len(files))
        rows = []
        for path in tqdm(files, desc=f"images of {name}", unit="image", disable=None):
            rows.append(
                file_stimulus(
                    path, image_id=path.stem, group=path.stem, background=options.background
                )
            )
        return stimuli_table(rows, name=name)

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in: dimensions without a place in the brain."""
        return "virtual"

    def responses(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> xr.Dataset:
        """Embed one subject's matrices as virtual voxels of its regions.

        The ceiling of a region is how well the other subjects' mean kernel predicts this one's
        (:func:`gradbrain.datasets.noise_ceiling.kernel_ceiling`); NaN with a single subject.

        Raises
        ------
        DatasetError
            A matrix is missing or cannot be 1 − r between patterns; see `check_dissimilarities`.
        """
        index = subject_index(subject)
        points, tables, ceilings, clipped = [], [], [], {}
        for roi in options.roi_order:
            kernels = _kernels(options.files[roi], data, len(stimuli), subject, index)
            where = f"{data / options.files[roi].path}, subject {subject!r}"
            embedded, clipped[roi] = embed(
                kernels[index], where=where, clip_negative=options.clip_negative
            )
            ceiling = np.nan
            if len(kernels) > 1:
                others = np.delete(kernels, index, axis=0).mean(axis=0)
                ceiling = kernel_ceiling(kernels[index], others)
            points.append(embedded)
            ceilings.append(np.full(embedded.shape[1], ceiling))
            tables.append(_virtual_targets(roi, embedded.shape[1]))
        attrs = describe(
            entry,
            subject,
            units="response patterns of unit length, centred over images",
            space="virtual",
            preprocessing="; ".join(
                filter(
                    None, [options.preprocessing, "virtual voxels embedded from 1 - Pearson RDMs"]
                )
            ),
            rotation_invariant=True,
            roi_order=options.roi_order,
            early_rois=options.early_rois,
            high_rois=options.high_rois,
        )
        return target_responses(
            np.concatenate(points, axis=1),
            pd.concat(tables, ignore_index=True),
            stimuli=stimuli,
            n_repeats=options.n_repeats,
            noise_ceiling=np.concatenate(ceilings),
            attrs={**attrs, "n_clipped_dimensions": clipped},
        )

    def check(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List missing files, and subjects whose names hold no number.

        A folder that is missing is no problem where a run fetches it by itself.
        """
        problems = self.axis_problems(entry, expected=ROI) if entry.modality is not None else []
        for subject in entry.subjects:
            try:
                subject_index(subject)
            except DatasetError as error:
                problems.append(str(error))
        if entry.arrives_by_itself and not data.is_dir():
            return problems
        return problems + super().check(entry, options, data)

    def problems(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List missing matrices and images."""
        matrices = (data / source.path for source in options.files.values())
        images = data / options.images
        lacking = [] if any(matching_files(data, options.images)) else [images]
        return self.missing_files(entry, matrices) + [
            f"data set {entry.name!r}: no file matches {path}" for path in lacking
        ]

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List the images and the matrices; all subjects share their files."""
        found = sorted(matching_files(data, options.images))
        pattern = str(data / options.images)
        items = [inspect_files(found, pattern=pattern, subject="", read=look_at_image)]
        for source in options.files.values():
            items.append(
                inspect_file(data / source.path, subject="", read=partial(_shape_of, source, data))
            )
        if all(item.state == "there" for item in items):
            try:
                _check_row_count(options, data, len(found))
            except DatasetError as error:
                items[0] = replace(items[0], state="mismatch", detail=str(error))
        return items
