"""Trials of one subject on their way from the recording to averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.noise_ceiling import signal_to_noise

if TYPE_CHECKING:
    import mne


@dataclass(frozen=True)
class Trials:
    """Trials of one subject, to be read once, block by block.

    Attributes
    ----------
    sensors
        Names, of a helmet without its number: ``MLC11`` for ``MLC11-1609``.
    time
        Seconds from image onset, shape ``(n_times,)``.
    blocks
        Pairs of the rows of the table of trials, shape ``(n,)``, and their data, float32 of shape
        ``(n, n_times, n_sensors)``.
    facts
        What reading found out, for the attributes of the store; complete after the last block.
    """

    sensors: list[str]
    time: np.ndarray
    blocks: Iterator[tuple[np.ndarray, np.ndarray]]
    facts: dict[str, float]


def meg_sensors(info: mne.Info, prefixes: Sequence[str], *, where: str) -> dict[str, int]:
    """Find the sensors whose names begin with one of the prefixes; all where there is none.

    Returns
    -------
    dict
        Name without the helmet's number -> index of the channel. Reference sensors are left out.

    Raises
    ------
    DatasetError
        A prefix fits no sensor, or there are no sensors.
    """
    import mne

    picks = mne.pick_types(info, meg=True, ref_meg=False, exclude=())
    names = {str(info["ch_names"][pick]).partition("-")[0]: int(pick) for pick in picks}
    if not names:
        raise DatasetError(f"{where}: holds no MEG sensors")
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise DatasetError(
                f"{where}: no sensor begins with {prefix!r} (option `sensors`); it has "
                f"{', '.join(list(names)[:3])} … ({len(names)})"
            )
    return {
        name: pick
        for name, pick in names.items()
        if not prefixes or name.startswith(tuple(prefixes))
    }


def same_cells(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Compare two columns cell by cell.

    Numbers may be written differently (``12`` and ``12.0``); missing equals missing.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    a, b = a.reset_index(drop=True), b.reset_index(drop=True)
    missing = (a.isna() & b.isna()).to_numpy()
    left, right = (pd.to_numeric(column, errors="coerce").to_numpy(float) for column in (a, b))
    equal_numbers = np.isclose(left, right, rtol=0, atol=1e-6)
    equal_texts = a.astype(str).to_numpy() == b.astype(str).to_numpy()
    return missing | equal_numbers | equal_texts


@dataclass(frozen=True)
class Averages:
    """Trials of a subject, averaged per image.

    Attributes
    ----------
    response
        Float32, shape ``(n_images, n_times, n_sensors)``.
    n_repeats
        Trials behind each image, shape ``(n_images,)``.
    snr
        Variance of the signal / variance of one trial's noise, shape ``(n_times, n_sensors)``;
        see :func:`gradbrain.datasets.noise_ceiling.signal_to_noise`.
    """

    response: np.ndarray
    n_repeats: np.ndarray
    snr: np.ndarray


def average_trials(
    trials: Trials,
    image: np.ndarray,
    repeated: np.ndarray,
    *,
    n_images: int,
    standardise: bool,
    name: str,
) -> Averages:
    """Read all blocks once: average the trials of each image, tell signal from noise.

    In memory are the averages and the trials of repeated images; the others pass through.

    Parameters
    ----------
    trials
        Their blocks are used up.
    image
        Shape (n_rows,), int. Image of each row of the table of trials; -1 for rows that are not
        read.
    repeated
        Shape (n_rows,), bool. Rows whose images tell signal from noise.
    n_images
        Images, numbered from 0; each must be in some trial. Rows that no block brings are none.
    standardise
        Give each sensor and time mean 0 and variance 1 over the trials read.
    name
        Subject, for the progress bar.

    Returns
    -------
    Averages

    Raises
    ------
    DatasetError
        An image is in no trial.
    """
    shape = (len(trials.time), len(trials.sensors))
    total = np.zeros((n_images, *shape), dtype=np.float32)
    count = np.zeros(n_images, dtype=np.int64)
    kept = np.empty((int((repeated & (image >= 0)).sum()), *shape), dtype=np.float32)
    kept_image: list[int] = []
    moments = np.zeros((2, *shape))
    with tqdm(
        total=int((image >= 0).sum()), desc=f"trials of {name}", unit="trial", disable=None
    ) as bar:
        for rows, data in trials.blocks:
            moments += data.sum(axis=0, dtype=np.float64), np.square(data, dtype=np.float64).sum(0)
            for row, trial in zip(rows, data, strict=True):
                total[image[row]] += trial
                count[image[row]] += 1
                if repeated[row]:
                    kept[len(kept_image)] = trial
                    kept_image.append(int(image[row]))
            bar.update(len(rows))
    if not count.all():
        raise DatasetError(
            f"{name}: {int((count == 0).sum())} of {n_images} images of the stimulus table are in "
            "no trial; make the stimulus table again"
        )
    total /= count[:, None, None].astype(np.float32)
    if standardise:
        mean = moments[0] / count.sum()
        deviation = np.sqrt(np.clip(moments[1] / count.sum() - mean**2, 0, None))
        total -= mean.astype(np.float32)
        # A sensor that does not vary, or holds NaN, is left as it is and masked with the store.
        total /= np.where(deviation > 0, deviation, 1.0).astype(np.float32)
    codes = np.unique(kept_image, return_inverse=True)[1]
    kept = kept[: len(kept_image)]
    snr = [signal_to_noise(kept[:, place], codes) for place in range(shape[0])]
    return Averages(total, count, np.array(snr).reshape(shape))
