"""Trials of the THINGS-EEG2 recordings: filtered, cut, resampled and whitened, a session at a time.

``raw_data/sub-<nn>/ses-<nn>/raw_eeg_{training,test}.npy`` hold a dictionary each: ``raw_eeg_data``
(channels × samples), ``ch_names``, ``ch_types`` (``eeg``, ``stim``) and ``sfreq`` (1000). An event
on the channel ``stim`` has the number of the image's condition, from 1; 99999 is a target trial,
which is dropped.

The steps are those of the published code but for the whitening, whose noise covariance is that of
trials about the mean of their image, pooled over training images and times (*ours*; Guggenmos et
al. 2018, NeuroImage 173: 434, "multivariate noise normalisation"): the published one takes the
covariance over time within trials, which holds the response to the image as well.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from gradbrain.config.plugins import PluginOptions
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.pickled_arrays import read_dictionary
from gradbrain.datasets.trials import Trials

if TYPE_CHECKING:
    import mne

log = logging.getLogger(__name__)

Partition = Literal["training", "test"]
KEYS = ("raw_eeg_data", "ch_names", "ch_types", "sfreq")
TARGET_TRIAL = 99999
# Epochs that are cut and resampled at once: 0.1 GB of 17 channels at 1000 Hz.
BLOCK = 500
# Directions of noise with less than this share of the largest variance are no part of the data.
RANK = 1e-10


class RawOptions(PluginOptions):
    """How recordings become trials."""

    l_freq: float | None = Field(None, gt=0, description="Lower edge of the band, Hz; none: open.")
    h_freq: float | None = Field(None, gt=0, description="Upper edge of the band, Hz; none: open.")
    tmin: float = Field(-0.2, description="Start of an epoch, s from image onset.")
    tmax: float = Field(0.8, description="End of an epoch, s from image onset.")
    baseline: bool = Field(True, description="Subtract each trial's mean before image onset.")
    sfreq: float = Field(100.0, gt=0, description="Samples per second kept.")
    training_repetitions: int = Field(
        2, ge=1, description="Trials kept of a training image in a session, the first ones."
    )
    test_repetitions: int = Field(
        20, ge=1, description="Trials kept of a test image in a session, the first ones."
    )
    whiten: bool = Field(
        True,
        description="Whiten channels by the noise covariance of a session's training trials, of "
        "which some images must then have two.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> RawOptions:
        if self.tmin >= self.tmax:
            raise ValueError(f"tmin ({self.tmin}) must be before tmax ({self.tmax})")
        if self.baseline and self.tmin >= 0:
            raise ValueError(f"baseline: an epoch from {self.tmin} s has none; set baseline: false")
        if self.l_freq is not None and self.h_freq is not None and self.l_freq >= self.h_freq:
            raise ValueError(f"l_freq ({self.l_freq}) must be below h_freq ({self.h_freq})")
        return self

    @property
    def steps(self) -> list[str]:
        """What is done, in words."""
        band = (self.l_freq, self.h_freq)
        found = []
        if band != (None, None):
            low, high = ("" if edge is None else f"{edge:g}" for edge in band)
            found.append(f"{low}-{high} Hz")
        found.append(f"{self.tmin:g} to {self.tmax:g} s at {self.sfreq:g} Hz")
        if self.baseline:
            found.append("baseline before onset")
        if self.whiten:
            found.append("whitened per session by the noise of training trials")
        return found

    def repetitions(self, partition: Partition) -> int:
        """Trials kept of an image of a partition in a session."""
        return self.training_repetitions if partition == "training" else self.test_repetitions


def sessions_of(folder: Path) -> list[Path]:
    """List the sessions of a person: ``ses-01``, ``ses-02`` …, in order."""
    return sorted(path for path in folder.glob("ses-*") if re.fullmatch(r"ses-\d+", path.name))


def channels(names: Sequence[str], prefixes: Sequence[str], *, where: Path) -> list[int]:
    """Find the channels whose names begin with one of the prefixes; all where there is none.

    Returns
    -------
    list of int
        Their places, in the order of the recording.

    Raises
    ------
    DatasetError
        A prefix fits no channel.
    """
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise DatasetError(
                f"{where}: no channel begins with {prefix!r} (option `sensors`); it has "
                f"{', '.join(list(names)[:3])} … ({len(names)})"
            )
    return [
        place
        for place, name in enumerate(names)
        if not prefixes or name.startswith(tuple(prefixes))
    ]


@dataclass(frozen=True)
class _Session:
    """Epochs of a partition: condition of each from 0, and values (n, n_times, n_sensors)."""

    condition: np.ndarray
    values: np.ndarray
    sensors: list[str]
    time: np.ndarray


def raw_trials(
    folder: Path,
    image_of: Mapping[Partition, np.ndarray],
    *,
    prefixes: Sequence[str],
    tmin: float | None,
    tmax: float | None,
    options: RawOptions,
) -> tuple[Trials, np.ndarray, np.ndarray]:
    """Open the recordings of one person, to be read a session at a time.

    Parameters
    ----------
    folder
        Of the person, with ``ses-01``, ….
    image_of
        Mapping of partition to array of int, shape (n_conditions,). Row of the stimulus table of
        every condition of the partitions used.
    prefixes
        Channels to read, by the beginning of their names; none: all of type ``eeg``.
    tmin, tmax
        First and last time kept, s; None: those of the epochs.
    options
        Filter, epochs and whitening.

    Returns
    -------
    trials : Trials
    image : ndarray of int, shape (n_rows,)
        Row of the stimulus table of every row that a block may bring.
    test : ndarray of bool, shape (n_rows,)
        Whether it is of a test image.

    Raises
    ------
    DatasetError
        A file is missing or damaged, has no channel ``stim`` or an unknown event, sessions differ
        in channels, or there is nothing to whiten by.
    """
    sessions = sessions_of(folder)
    if not sessions:
        raise DatasetError(f"{folder}: holds no session (ses-01, …)")
    wanted: tuple[Partition, ...] = tuple(image_of)
    first = _open(sessions[0] / f"raw_eeg_{wanted[0]}.npy", prefixes, options)
    sensors = [name for name in first.ch_names if name != _stim(first)]
    time = _times(options)
    low = -np.inf if tmin is None else tmin - 1e-9
    high = np.inf if tmax is None else tmax + 1e-9
    within = np.flatnonzero((time >= low) & (time <= high))
    if len(within) < 2:
        raise DatasetError(
            f"{folder}: {len(within)} time(s) left between tmin = {tmin} and tmax = {tmax} s; "
            f"epochs reach from {time[0]:.3g} to {time[-1]:.3g} s"
        )
    del first
    # A row for every trial that may be kept: session, partition, condition, repetition.
    starts: dict[tuple[int, Partition], int] = {}
    images, tests, start = [], [], 0
    for session in range(len(sessions)):
        for partition, image in image_of.items():
            rows = np.repeat(image, options.repetitions(partition))
            starts[session, partition] = start
            images.append(rows)
            tests.append(np.full(len(rows), partition == "test"))
            start += len(rows)

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, session in enumerate(sessions):
            found: dict[Partition, _Session] = {}
            read = dict.fromkeys((*wanted, *(("training",) if options.whiten else ())))
            for partition in read:
                path = session / f"raw_eeg_{partition}.npy"
                n_images = len(image_of[partition]) if partition in image_of else None
                found[partition] = _session(path, partition, n_images, prefixes, options)
                if found[partition].sensors != sensors:
                    raise DatasetError(
                        f"{path}: has other channels than {sessions[0].name} of the same person"
                    )
            whitener = None
            if options.whiten:
                noise = found["training"]
                whitener = noise_whitener(noise.values, noise.condition, where=session)
            for partition in wanted:
                epochs = found.pop(partition)
                values = epochs.values[:, within]
                if whitener is not None:
                    values = values @ whitener
                place = _repetition(epochs.condition)
                rows = epochs.condition * options.repetitions(partition) + place
                yield starts[number, partition] + rows, values.astype(np.float32)

    trials = Trials(sensors, np.round(time[within], 9), blocks(), {})
    return trials, np.concatenate(images), np.concatenate(tests)


def noise_whitener(values: np.ndarray, condition: np.ndarray, *, where: Path) -> np.ndarray:
    """Root of the inverse of the noise covariance between channels.

    Noise is what trials of an image differ by from their mean, at every time.

    Parameters
    ----------
    values
        Shape (n_trials, n_times, n_sensors).
    condition
        Shape (n_trials,), int. Image of each trial.
    where
        Folder, for error messages.

    Returns
    -------
    ndarray, shape (n_sensors, n_sensors)
        Σ^-½, symmetric: noise of ``values @ whitener`` has the identity as covariance; zero along
        directions that channels do not have (a common reference).

    Raises
    ------
    DatasetError
        No image has two trials, or channels do not vary.
    """
    order = np.argsort(condition, kind="stable")
    _, starts, counts = np.unique(condition[order], return_index=True, return_counts=True)
    spare = int((counts - 1).sum())
    if spare == 0:
        raise DatasetError(
            f"{where}: no training image has two trials, so that there is no noise to whiten by; "
            "set `raw: {whiten: false}`"
        )
    n_sensors = values.shape[-1]
    covariance = np.zeros((n_sensors, n_sensors))
    for start, count in zip(starts, counts, strict=True):
        if count > 1:
            own = values[order[start : start + count]].astype(np.float64)
            rest = (own - own.mean(axis=0)).reshape(-1, n_sensors)
            covariance += rest.T @ rest
    covariance /= spare * values.shape[1]
    eigenvalues, vectors = np.linalg.eigh(covariance)
    if not eigenvalues[-1] > 0:
        raise DatasetError(f"{where}: the channels do not vary between trials of an image")
    known = eigenvalues > RANK * eigenvalues[-1]
    return (vectors[:, known] / np.sqrt(eigenvalues[known])) @ vectors[:, known].T


def _repetition(condition: np.ndarray) -> np.ndarray:
    """Number of each trial among those of its condition, from 0."""
    order = np.argsort(condition, kind="stable")
    _, starts, counts = np.unique(condition[order], return_index=True, return_counts=True)
    place = np.empty(len(condition), dtype=np.int64)
    place[order] = np.arange(len(condition)) - np.repeat(starts, counts)
    return place


def _times(options: RawOptions) -> np.ndarray:
    """Times of an epoch as mne resamples it: the first sample stays where it is."""
    n_times = round((options.tmax - options.tmin) * options.sfreq)
    return options.tmin + np.arange(n_times) / options.sfreq


def _stim(raw: mne.io.BaseRaw) -> str:
    kinds = raw.get_channel_types()
    return raw.ch_names[kinds.index("stim")]


def _open(path: Path, prefixes: Sequence[str], options: RawOptions) -> mne.io.BaseRaw:
    """Read a recording and keep the channels asked for and ``stim``, filtered."""
    import mne

    content = read_dictionary(path, keys=KEYS, what="a recording")
    names, kinds = ([str(item) for item in content[key]] for key in ("ch_names", "ch_types"))
    values = content.pop("raw_eeg_data")
    if not isinstance(values, np.ndarray) or values.ndim != 2 or len(values) != len(names):
        raise DatasetError(
            f"{path}: raw_eeg_data must be channels × samples, {len(names)} × n as ch_names says; "
            f"it is {getattr(values, 'shape', type(values).__name__)}"
        )
    if len(kinds) != len(names) or kinds.count("stim") != 1:
        raise DatasetError(
            f"{path}: ch_types must name a kind for each of the {len(names)} channels, `stim` "
            f"once; it has {len(kinds)}, with `stim` {kinds.count('stim')} times"
        )
    eeg = [place for place, kind in enumerate(kinds) if kind == "eeg"]
    chosen = [
        eeg[place] for place in channels([names[place] for place in eeg], prefixes, where=path)
    ]
    picks = [*chosen, kinds.index("stim")]
    info = mne.create_info(
        [names[place] for place in picks],
        float(content["sfreq"]),
        [kinds[place] for place in picks],
        verbose="error",
    )
    raw = mne.io.RawArray(values[picks], info, verbose="error")
    if options.l_freq is not None or options.h_freq is not None:
        raw.filter(options.l_freq, options.h_freq, picks="eeg", verbose="error")
    return raw


def _session(
    path: Path,
    partition: Partition,
    n_images: int | None,
    prefixes: Sequence[str],
    options: RawOptions,
) -> _Session:
    """Cut a recording into epochs of its images and resample them."""
    import mne

    raw = _open(path, prefixes, options)
    events = mne.find_events(raw, stim_channel=_stim(raw), verbose="error")
    events = events[events[:, 2] != TARGET_TRIAL]
    condition = events[:, 2].astype(np.int64) - 1
    last = int(condition.max(initial=-1))
    if not len(condition) or condition.min() < 0 or (n_images is not None and last >= n_images):
        raise DatasetError(
            f"{path}: its {len(condition)} events name conditions up to {last + 1}; expected 1 to "
            f"{n_images}, one for each image of the {partition} images"
        )
    kept = _repetition(condition) < options.repetitions(partition)
    events, condition = events[kept], condition[kept]
    # As mne drops them, but said.
    sfreq, onset = float(raw.info["sfreq"]), events[:, 0] - raw.first_samp
    inside = onset + round(options.tmin * sfreq) >= 0
    inside &= onset + round(options.tmax * sfreq) < raw.n_times
    if not inside.all():
        log.warning("%s: %d trials reach beyond the recording", path, int((~inside).sum()))
    events, condition = events[inside], condition[inside]
    epochs = mne.Epochs(
        raw,
        events,
        tmin=options.tmin,
        tmax=options.tmax,
        baseline=(None, 0.0) if options.baseline else None,
        picks="eeg",
        preload=False,
        verbose="error",
    )
    blocks = []
    for start in range(0, len(events), BLOCK):
        some = epochs[start : start + BLOCK].load_data()
        some = some.resample(options.sfreq, verbose="error")
        blocks.append(some.get_data(copy=False).swapaxes(1, 2).astype(np.float32))
    values = np.concatenate(blocks)
    n_times = len(_times(options))
    if values.shape[1] < n_times:
        raise DatasetError(f"{path}: epochs have {values.shape[1]} samples, expected {n_times}")
    sensors = [name for name in raw.ch_names if name != _stim(raw)]
    return _Session(condition, values[:, :n_times], sensors, _times(options))
