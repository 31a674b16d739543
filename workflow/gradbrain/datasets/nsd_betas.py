"""Single-trial betas of the Natural Scenes Dataset, session by session, averaged by image.

A subject's betas on fsaverage are 40 sessions of 750 trials × 327,684 vertices: 39 GB. They are
taken block of targets by block of targets; of each session file a block is read, standardised and
added to the images that its trials showed, so that what is in memory are the averages of one block
and its betas in one session.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gradbrain.datasets.errors import DatasetError, reading
from gradbrain.datasets.nifti_files import n_value_bytes, open_nifti
from gradbrain.datasets.nsd_design import TRIALS_PER_SESSION

# Volume betas are stored as int16, percent signal change × 300 (NSD Data Manual, section
# Functional data (NSD), https://cvnlab.slite.page/p/6CusMRYfk0/Functional-data-NSD).
VOLUME_SCALE = 300.0
# Averages of one block, and its betas in one session.
AVERAGES_BYTES = 2**30
BETAS_BYTES = 96 * 2**20
# Columns that are worked on together, so that their betas stay in the processor's cache.
TILE = 512
# Threads that read, standardise and average beside each other; numpy lets go of the interpreter.
THREADS = 2
# A standard deviation below this share of the mean is the rounding of a constant: the mean of 750
# equal float32 values is off by up to 2e-5 of them.
CONSTANT = 1e-4


class ReadBetas(Protocol):
    """Reads the betas of some targets in one session."""

    def __call__(
        self,
        part: int,
        session: int,
        targets: np.ndarray,
        *,
        memory: np.ndarray,
        threads: Executor,
    ) -> np.ndarray:
        """Read betas, float32 of either byte order, shape (750, n_targets).

        Parameters
        ----------
        part, session
            Number of the part and of the session, both from 0.
        targets
            Shape (n_targets,), int. Ascending.
        memory
            Where they may be put; it is used again for the next ones.
        threads
            Threads that may read.
        """


def averaged_blocks(
    targets: Sequence[np.ndarray],
    read_betas: ReadBetas,
    rows: Sequence[np.ndarray],
    n_repeats: np.ndarray,
    *,
    zscore: bool,
    description: str,
) -> Iterator[np.ndarray]:
    """Average betas over the presentations of each image, for one block of targets after another.

    Parameters
    ----------
    targets
        For each part (a hemisphere, or the volume) the indices of its targets, ascending.
    read_betas
        Reads a block.
    rows
        For each session, the row of the image that each trial showed; −1 where it is not wanted.
    n_repeats
        Shape (n_images,), int. Trials of each row.
    zscore
        Standardise each target within each session before averaging, over all its trials.
    description
        Shown beside the progress bar.

    Yields
    ------
    ndarray of float32, shape (n_images, n_targets_of_block)
        NaN where a target has no values, or none that vary, in a session (if standardised).
    """
    width = block_width(len(n_repeats))
    # Of one width within a part, as chunks of the store are: they need not be cut and joined there.
    blocks = [
        (part, block)
        for part, indices in enumerate(targets)
        if len(indices)
        for block in np.array_split(indices, -(-len(indices) // width))
    ]
    progress = tqdm(
        total=len(blocks) * len(rows), desc=description, unit="block of a session", disable=None
    )
    memory = np.empty(4 * TRIALS_PER_SESSION * width, dtype=np.uint8)
    with progress, ThreadPoolExecutor(THREADS, thread_name_prefix="betas") as threads:
        for part, indices in blocks:
            total = np.zeros((len(n_repeats), len(indices)), dtype=np.float32)
            for session, trial_rows in enumerate(rows):
                betas = read_betas(part, session, indices, memory=memory, threads=threads)
                add_session(total, betas, trial_rows, zscore=zscore, threads=threads)
                progress.update()
            total /= n_repeats[:, None].astype(np.float32)
            yield total


def block_width(n_images: int) -> int:
    """Targets per block: what is kept of them is about a GiB, and what is read at most 96 MiB."""
    return max(1, min(AVERAGES_BYTES // (4 * n_images), BETAS_BYTES // (4 * TRIALS_PER_SESSION)))


def standardise(betas: np.ndarray) -> None:
    """Bring each target to mean 0 and standard deviation 1 over trials, in place.

    Parameters
    ----------
    betas
        Shape (n_trials, n_targets), float32. Targets that do not vary, or hold NaN, become NaN.
    """
    mean = betas.mean(axis=0)
    betas -= mean
    sd = np.sqrt(np.einsum("ij,ij->j", betas, betas) / np.float32(len(betas)))
    with np.errstate(divide="ignore", invalid="ignore"):
        betas *= np.where(sd > CONSTANT * np.abs(mean), 1 / sd, np.nan).astype(np.float32)


def add_session(
    total: np.ndarray,
    betas: np.ndarray,
    trial_rows: np.ndarray,
    *,
    zscore: bool,
    threads: Executor | None = None,
) -> None:
    """Add the trials of a session to the rows of their images.

    Parameters
    ----------
    total
        Shape (n_images, n_targets), float32. Added to.
    betas
        Array of float32 of either byte order, shape (750, n_targets).
    trial_rows
        Shape (750,), int. −1 where a trial is not wanted.
    zscore
        Standardise each target first.
    threads
        Threads that share the targets; none: this one.
    """
    presentations = _presentations(trial_rows)

    def add(start: int) -> None:
        # Rows of the block are far apart; this copy is in the cache, in this machine's byte order.
        tile = betas[:, start : start + TILE].astype(np.float32)
        if zscore:
            standardise(tile)
        sums = total[:, start : start + TILE]
        for trials, rows in presentations:
            sums[rows] += tile[trials]

    together = map if threads is None else threads.map
    list(together(add, range(0, total.shape[1], TILE)))


def _presentations(trial_rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Trials of a session and their rows: first presentations, second ones, and so on.

    No row occurs twice in a pair, so that all its trials can be added at once, and what is added
    to a row comes in the order of the trials.
    """
    wanted = np.flatnonzero(trial_rows >= 0)
    earlier = pd.Series(trial_rows[wanted]).groupby(trial_rows[wanted]).cumcount().to_numpy()
    numbers = range(int(earlier.max(initial=-1)) + 1)
    return [(wanted[earlier == n], trial_rows[wanted[earlier == n]]) for n in numbers]


def volume_betas(path: Path, voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Read some voxels of one session, ``betas_sessionYY.hdf5`` or ``.nii.gz``.

    Both hold the same values. The compressed one must be gone through as a whole for each block.

    Parameters
    ----------
    path
        One of the two.
    voxels
        Shape (n,), int. Index of each voxel, x fastest.
    shape
        (x, y, z). Voxels of the volume.

    Returns
    -------
    ndarray of float32, shape (750, n)
        Percent signal change.

    Raises
    ------
    DatasetError
        The file is missing or damaged, or of another shape or type.
    """
    read = _read_hdf5 if path.suffix == ".hdf5" else _read_nifti
    return read(path, voxels, shape).astype(np.float32) / np.float32(VOLUME_SCALE)


def _read_hdf5(path: Path, voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Betas of some voxels, (750, n_voxels) int16.

    MATLAB wrote ``/betas`` as (x, y, z, trial); HDF5 in C order shows its axes reversed. A plane at
    a time is read, of it what encloses the voxels.
    """
    import h5py

    x, y, z = np.unravel_index(voxels, shape, order="F")
    trials = np.empty((TRIALS_PER_SESSION, len(voxels)), dtype=np.int16)
    with reading(path), h5py.File(path, "r") as file:
        betas = file.get("betas")
        expected = (TRIALS_PER_SESSION, *shape[::-1])
        if not isinstance(betas, h5py.Dataset) or betas.shape != expected:
            found = "nothing" if betas is None else f"shape {getattr(betas, 'shape', None)}"
            raise DatasetError(
                f"{path}: dataset 'betas': found {found}, expected shape {expected} as h5py "
                "shows it: trials, z, y, x"
            )
        _check_int16(betas.dtype, path)
        for plane in np.unique(z):
            own = np.flatnonzero(z == plane)
            low_y, low_x = y[own].min(), x[own].min()
            slab = betas[:, plane, low_y : y[own].max() + 1, low_x : x[own].max() + 1]
            trials[:, own] = slab[:, y[own] - low_y, x[own] - low_x]
    return trials


def _read_nifti(path: Path, voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Betas of some voxels, (750, n_voxels) int16; the file is decompressed once, in order."""
    import nibabel

    trials = np.empty((TRIALS_PER_SESSION, len(voxels)), dtype=np.int16)
    with open_nifti(path) as file:
        header = nibabel.Nifti1Header.from_fileobj(file)
        expected = (*shape, TRIALS_PER_SESSION)
        if header.get_data_shape() != expected:
            raise DatasetError(f"{path}: has shape {header.get_data_shape()}, expected {expected}")
        _check_int16(header.get_data_dtype(), path)
        slope, intercept = header.get_slope_inter()
        if slope not in (None, 1) or intercept not in (None, 0):
            raise DatasetError(
                f"{path}: its header scales values by {slope}; the published files hold "
                f"percent signal change × {VOLUME_SCALE:.0f} and leave it to the reader"
            )
        file.seek(int(header.get_data_offset()))
        n_bytes = n_value_bytes(header) // TRIALS_PER_SESSION
        for trial in range(TRIALS_PER_SESSION):
            content = file.read(n_bytes)
            if len(content) != n_bytes:
                raise DatasetError(f"{path}: is cut short in trial {trial + 1}; get the file again")
            trials[trial] = np.frombuffer(content, dtype=header.get_data_dtype())[voxels]
        # The end of the stream, where its checksum is compared.
        if file.read(1):
            raise DatasetError(f"{path}: goes on behind its last trial; get the file again")
    return trials


def _check_int16(dtype: np.dtype, path: Path) -> None:
    if np.dtype(dtype).newbyteorder("=") != np.int16:
        raise DatasetError(
            f"{path}: holds values of type {dtype}, expected int16 (percent signal change × "
            f"{VOLUME_SCALE:.0f})"
        )
