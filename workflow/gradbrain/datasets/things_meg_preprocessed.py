"""Trials of the preprocessed THINGS-MEG epochs, read in blocks.

``derivatives/preprocessed/preprocessed_P<n>-epo.fif`` (and ``-epo-1.fif`` … , into which mne splits
large files): 27,048 trials of 271 CTF gradiometers at 200 Hz, -0.1 to 1.3 s, 0.1-40 Hz, each trial
and sensor z-scored by its baseline. The trials were cut at the column ``sample`` of ``events.tsv``
(the optical sensor), and the table of trials is attached as metadata.

References
----------
https://github.com/ViCCo-Group/THINGS-data, ``MEG/step1_preprocessing.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.fif_files import check_fif
from gradbrain.datasets.trials import Trials, meg_sensors, same_cells

if TYPE_CHECKING:
    import mne

#: Columns of the attached table that must be those of the table beside it.
IDENTIFYING = (
    "trial_type",
    "image_path",
    "session_nr",
    "run_nr",
    "things_image_nr",
    "things_category_nr",
)


def preprocessed_file(data: Path, participant: int) -> Path:
    """Path of a participant's epochs."""
    return data / "derivatives" / "preprocessed" / f"preprocessed_P{participant}-epo.fif"


def parts_of(path: Path) -> tuple[list[Path], list[Path]]:
    """Further parts of the epochs, into which mne splits large files.

    Returns
    -------
    present, missing : list of Path
        ``-epo-1.fif``, ``-epo-2.fif`` … in order; those missing have a later one beside them. That
        the last ones are missing is only known to the file before them, which reading opens.
    """
    numbers = {
        int(number[1]): part
        for part in path.parent.glob(f"{path.stem}-*.fif")
        if (number := re.fullmatch(rf"{re.escape(path.stem)}-(\d+)", part.stem))
    }
    last = max(numbers, default=0)
    missing = [
        path.with_name(f"{path.stem}-{number}.fif")
        for number in range(1, last)
        if number not in numbers
    ]
    return [numbers[number] for number in sorted(numbers)], missing


def preprocessed_trials(
    path: Path,
    table: pd.DataFrame,
    *,
    rows: np.ndarray,
    prefixes: Sequence[str],
    tmin: float | None,
    tmax: float | None,
    decimate: int,
    block: int,
) -> Trials:
    """Open the epochs of one subject and read some of their trials in blocks.

    Parameters
    ----------
    path
        The ``-epo.fif`` file; its further parts are found by mne.
    table
        The table of all trials, of which the attached one must be a copy.
    rows
        Rows of the table to read.
    prefixes
        Sensors to read, by the beginning of their names; none: all.
    tmin, tmax
        First and last time, s; None: those of the epochs.
    decimate
        See :func:`thin`.
    block
        Trials read at once.

    Raises
    ------
    DatasetError
        The file or one of its parts cannot be read, the tables disagree, or nothing is selected.
    """
    epochs = open_epochs(path)
    check_metadata(path, epochs.metadata, table)
    sensors = meg_sensors(epochs.info, prefixes, where=str(path))
    picks = list(sensors.values())
    kept, time = thin(epochs.times, decimate, tmin=tmin, tmax=tmax, where=str(path))

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            yield some, average_around(_read(path, epochs, some, picks), kept, decimate)

    return Trials(list(sensors), time, blocks(), {})


def open_epochs(path: Path) -> mne.BaseEpochs:
    """Open epochs without their data.

    Raises
    ------
    DatasetError
        The file or one of its parts is missing, cut short or no epochs file.
    """
    import mne

    try:
        for part in (path, *parts_of(path)[0]):
            check_fif(part)
        return mne.read_epochs(path, preload=False, verbose="error")
    except DatasetError:
        raise
    except Exception as error:  # mne, its FIF reader and numpy raise a dozen kinds
        raise DatasetError(
            f"{path}: cannot be read as epochs ({error}); get the file and the parts -epo-1.fif, "
            "-epo-2.fif … beside it again"
        ) from error


def check_metadata(path: Path, attached: pd.DataFrame | None, table: pd.DataFrame) -> None:
    """Compare the table attached to the epochs with the one beside them, row by row.

    Raises
    ------
    DatasetError
        There is none, it has another number of rows, lacks a column, or a row differs.
    """
    if attached is None:
        raise DatasetError(f"{path}: has no metadata attached; get the published file again")
    if len(attached) != len(table):
        raise DatasetError(
            f"{path}: holds {len(attached)} trials, the table of trials has {len(table)} rows; "
            "both must be of the same participant and release"
        )
    missing = [column for column in IDENTIFYING if column not in attached.columns]
    if missing:
        raise DatasetError(f"{path}: its metadata lack the column(s) {', '.join(missing)}")
    for column in IDENTIFYING:
        differs = np.flatnonzero(~same_cells(attached[column], table[column]))
        if len(differs):
            row = int(differs[0])
            raise DatasetError(
                f"{path}: its metadata and the table of trials disagree on {column!r} in "
                f"{len(differs)} of {len(table)} rows, first in row {row} (from 0): "
                f"{attached[column].iloc[row]!r} and {table[column].iloc[row]!r}; they are of "
                "different participants or releases"
            )


def thin(
    times: np.ndarray, factor: int, *, tmin: float | None, tmax: float | None, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Choose every `factor`-th sample, counted from the onset, whose neighbours are all there.

    Parameters
    ----------
    times
        Shape (n_samples,). Evenly spaced, s; the onset is one of them.

    Returns
    -------
    kept : ndarray of int, shape (n_kept,)
        Indices of samples.
    time : ndarray, shape (n_kept,)
        Their times, s.

    Raises
    ------
    DatasetError
        Fewer than two samples are left.
    """
    half = factor // 2
    onset = int(np.abs(times).argmin())
    indices = np.arange(onset % factor, len(times), factor)
    indices = indices[(indices >= half) & (indices < len(times) - half)]
    step = times[1] - times[0]
    low = -np.inf if tmin is None else tmin - step / 2
    high = np.inf if tmax is None else tmax + step / 2
    kept = indices[(times[indices] >= low) & (times[indices] <= high)]
    if len(kept) < 2:
        raise DatasetError(
            f"{where}: {len(kept)} sample(s) left between tmin = {tmin} and tmax = {tmax} s at "
            f"decimate = {factor}; the epochs reach from {times[0]:.3g} to {times[-1]:.3g} s"
        )
    return kept, np.round((kept - onset) * step, 9)


def average_around(data: np.ndarray, kept: np.ndarray, factor: int) -> np.ndarray:
    """Average the samples around those kept, so that thinning folds less fast signal into slow.

    The window is `factor` samples wide and lies evenly around the sample: with an even factor the
    two ends count half. Nothing is moved in time and nothing beyond half a step enters (*ours*).
    That is a weak filter: by four from 200 Hz, .73 of 20 Hz is left, .47 of 30 Hz (seen at 20 Hz),
    .20 of 40 Hz (seen at 10 Hz).

    Parameters
    ----------
    data
        Shape (n_trials, n_sensors, n_samples).
    kept
        Shape (n_kept,), int.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_kept, n_sensors)
    """
    half = factor // 2
    weights = np.ones(2 * half + 1)
    if factor % 2 == 0:
        weights[[0, -1]] = 0.5
    mean = np.zeros((*data.shape[:2], len(kept)))
    for offset, weight in zip(range(-half, half + 1), weights / weights.sum(), strict=True):
        mean += weight * data[..., kept + offset]
    return np.ascontiguousarray(mean.swapaxes(1, 2), dtype=np.float32)


def _read(path: Path, epochs: mne.BaseEpochs, rows: np.ndarray, picks: list[int]) -> np.ndarray:
    try:
        return epochs.get_data(item=rows, picks=picks, copy=False, verbose="error")
    except Exception as error:  # as in open_epochs
        raise DatasetError(
            f"{path}: trials {rows[0]} to {rows[-1]} cannot be read ({error}); the file or one of "
            "its parts is cut short: get it again"
        ) from error
