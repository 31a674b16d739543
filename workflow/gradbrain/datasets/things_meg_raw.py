"""Trials of the raw THINGS-MEG recordings (BIDS, CTF), preprocessed as the predecessor did.

``sub-BIGMEG<n>/ses-<ss>/meg/sub-BIGMEG<n>_ses-<ss>_task-main_run-<rr>_meg.ds``, 1200 Hz, and
``…_events.tsv`` beside it with the columns ``onset, duration, trial_type, things_category_nr,
value, sample`` (``sample`` counts from 0; ``value`` is the image's number, N/A for catch trials).
One run is in memory at a time.

When an image came on is told twice. ``events.tsv`` holds times of the optical sensor on the
screen, by which the published epochs were cut; the channel UPPT001 holds the trigger, value 64,
by which other loaders cut. Their authors found the two about 150 ms apart, and every latency
moves with the choice: the measured difference is returned with the trials.

References
----------
https://openneuro.org/datasets/ds004212; https://github.com/ViCCo-Group/THINGS-data,
``MEG/step1_preprocessing.py`` (sensor left out, dropouts, triggers, samples of the events);
Raugel et al. 2025, arXiv:2508.18226 (0.1-20 Hz, 30 Hz, -0.5 to 3 s; see the option ``antialias``);
the trigger as onset and the 150 ms: https://github.com/facebookresearch/neuroai,
``Hebart2023ThingsMeg``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from gradbrain.config.schema import StrictModel
from gradbrain.datasets.csv_tables import read_csv
from gradbrain.datasets.errors import DatasetError, reading
from gradbrain.datasets.trials import Trials, meg_sensors, same_cells

if TYPE_CHECKING:
    import mne

log = logging.getLogger(__name__)

Onset = Literal["events", "trigger"]
EVENT_COLUMNS = ("trial_type", "value", "sample")
#: Participant, session, run -> start in s of a lapse of all sensors, filled with their medians.
DROPOUTS = {(1, 11, 5): 13.4, (2, 10, 3): 59.8}
DROPOUT_SECONDS = 0.2
#: Share of the sampling rate that is kept: the filter's slope ends at one half.
PASSED = 0.4


class RawOptions(StrictModel):
    """How raw recordings become trials.

    The defaults are the predecessor's numbers, but for the upper edge: 30 samples a second cannot
    hold 20 Hz. With ``antialias: false`` they are its numbers as they stand.
    """

    l_freq: float = Field(0.1, gt=0, description="Lower edge of the band, Hz.")
    h_freq: float = Field(
        20.0,
        gt=0,
        description="Upper edge of the band, Hz; with `antialias` 0.4 of `sfreq` where that is "
        "less (12 Hz of 30).",
    )
    sfreq: float = Field(30.0, gt=0, description="Samples per second kept; divides the raw rate.")
    antialias: bool = Field(
        True,
        description="End the band where the samples kept can hold it. false: filter to `h_freq`, "
        "then keep every n-th sample, as the predecessor's numbers say (0.1-20 Hz, 30 Hz): what "
        "lies beyond half of `sfreq` is seen at lower frequencies, with a warning.",
    )
    drop_sensors: tuple[str, ...] = Field(
        ("MRO11",), description="Sensors left out; MRO11 malfunctioned."
    )
    trigger_channel: str = Field("UPPT001", description="Channel of the triggers.")
    trigger_value: int = Field(64, description="Trigger of an image's onset.")

    @model_validator(mode="after")
    def _band(self) -> RawOptions:
        if self.l_freq >= self.upper_edge:
            raise ValueError(
                f"l_freq ({self.l_freq}) must be below h_freq ({self.h_freq}) and, with antialias, "
                f"below {PASSED} sfreq ({PASSED * self.sfreq:g} Hz)"
            )
        return self

    @property
    def upper_edge(self) -> float:
        """Upper edge of the filter, Hz: with `antialias` what the samples kept can hold."""
        return min(self.h_freq, PASSED * self.sfreq) if self.antialias else self.h_freq

    @property
    def slope(self) -> float:
        """Width of the filter's slope beyond its upper edge, Hz: mne's own, where it has room."""
        slope = max(0.25 * self.upper_edge, 2.0)
        return min(slope, self.sfreq / 2 - self.upper_edge) if self.antialias else slope

    @property
    def folded(self) -> str:
        """Which frequencies are seen at lower ones; empty where none are."""
        half, end = self.sfreq / 2, self.upper_edge + self.slope
        if end <= half + 1e-9:
            return ""
        return (
            f"{half:g}-{end:g} Hz (the filter's slope from {self.upper_edge:g} Hz on) seen at "
            f"{max(0.0, self.sfreq - end):g}-{half:g} Hz"
        )


@dataclass(frozen=True)
class Run:
    """One run of a session: its recording and its events."""

    session: int
    number: int
    recording: Path
    events: Path


def find_runs(data: Path, participant: int) -> list[Run]:
    """List the recordings of a participant, by session and run."""
    found = []
    for path in (data / f"sub-BIGMEG{participant}").glob("ses-*/meg/*_meg.ds"):
        name = re.search(r"_ses-(\d+)_.*run-(\d+)_meg\.ds$", path.name)
        if name is not None:
            events = path.with_name(path.name.removesuffix("_meg.ds") + "_events.tsv")
            found.append(Run(int(name[1]), int(name[2]), path, events))
    return sorted(found, key=lambda run: (run.session, run.number))


def raw_trials(
    data: Path,
    participant: int,
    table: pd.DataFrame,
    *,
    rows: np.ndarray,
    prefixes: Sequence[str],
    tmin: float,
    tmax: float,
    onset: Onset,
    options: RawOptions,
) -> Trials:
    """Open the recordings of one subject and read some of their trials, a run at a time.

    Parameters
    ----------
    data
        Folder of the data set.
    participant
        Number of the participant, from 1.
    table
        The table of all trials: ``session_nr``, ``run_nr``, ``trial_type``, ``things_image_nr``.
    rows
        Rows of the table to read.
    prefixes
        Sensors to read, by the beginning of their names; none: all.
    tmin, tmax
        First and last time, s.
    onset
        What tells when an image came on.
    options
        Filter and sampling.

    Returns
    -------
    Trials
        Its facts hold ``onset_difference_ms``: the median time from trigger to event.

    Raises
    ------
    DatasetError
        A run is missing or unreadable, events and table disagree, or triggers are missing.
    """
    runs = {(run.session, run.number): run for run in find_runs(data, participant)}
    of_run = rows_of_runs(table)
    read = {key: index for key, index in of_run.items() if np.isin(index, rows).any()}
    missing = [key for key in read if key not in runs]
    if missing:
        raise DatasetError(
            f"{data}: {len(missing)} of {len(read)} runs of sub-BIGMEG{participant} have no "
            f"recording, first session {missing[0][0]}, run {missing[0][1]}; get them from "
            "https://openneuro.org/datasets/ds004212"
        )
    first = runs[next(iter(read))].recording

    def sensors_of(raw: mne.io.BaseRaw, where: Path) -> list[str]:
        found = meg_sensors(raw.info, prefixes, where=str(where))
        return [name for name in found if name not in options.drop_sensors]

    sensors = sensors_of(open_recording(first), first)
    if options.folded:
        log.warning(
            "sub-BIGMEG%d: raw.antialias is false: with %g samples a second, %s; nothing tells "
            "them apart afterwards",
            participant,
            options.sfreq,
            options.folded,
        )
    steps = sample_steps(tmin, tmax, options.sfreq)
    facts: dict[str, float] = {}

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        differences: list[float] = []
        for key, index in read.items():
            run, wanted = runs[key], np.isin(index, rows)
            raw = open_recording(run.recording)
            _check_sensors(sensors_of(raw, run.recording), sensors, run.recording, first)
            with reading(run.recording, "as a CTF recording"):
                samples, difference = onset_samples(raw, run, table.iloc[index], onset, options)
                factor = _factor(raw, options, run.recording)
                lapse = DROPOUTS.get((participant, *key))
                continuous = filtered(raw, sensors, options, lapse=lapse, where=run.recording)
                trials = cut(
                    continuous, samples[wanted], steps=steps, factor=factor, where=run.recording
                )
            differences.extend(difference)
            yield index[wanted], trials
        if differences:
            facts["onset_difference_ms"] = round(float(np.median(differences)), 3)

    return Trials(sensors, np.round(steps / options.sfreq, 9), blocks(), facts)


def rows_of_runs(table: pd.DataFrame) -> dict[tuple[int, int], np.ndarray]:
    """Rows of the table of trials by session and run, in the order of the table."""
    sessions = table["session_nr"].to_numpy(dtype=int)
    numbers = table["run_nr"].to_numpy(dtype=int)
    keys = dict.fromkeys(zip(sessions.tolist(), numbers.tolist(), strict=True))
    return {
        (session, number): np.flatnonzero((sessions == session) & (numbers == number))
        for session, number in keys
    }


def open_recording(path: Path) -> mne.io.BaseRaw:
    """Open a CTF recording without its data.

    Raises
    ------
    DatasetError
        It cannot be read.
    """
    import mne

    with reading(path, "as a CTF recording"):
        return mne.io.read_raw_ctf(path, preload=False, clean_names=True, verbose="error")


def sample_steps(tmin: float, tmax: float, sfreq: float) -> np.ndarray:
    """Steps of 1 / `sfreq` from the onset that lie between `tmin` and `tmax`; 0 is the onset."""
    return np.arange(np.ceil(tmin * sfreq - 1e-9), np.floor(tmax * sfreq + 1e-9) + 1).astype(int)


def onset_samples(
    raw: mne.io.BaseRaw, run: Run, trials: pd.DataFrame, onset: Onset, options: RawOptions
) -> tuple[np.ndarray, list[float]]:
    """Find the sample at which each image of a run came on.

    Returns
    -------
    samples : ndarray of int, shape (n_trials,)
        Counted from the first sample of the recording.
    differences
        Milliseconds from each trigger to its event; empty where triggers cannot be matched.

    Raises
    ------
    DatasetError
        Events and table disagree, or triggers are asked for and are not one per trial.
    """
    events = read_events(run, trials)["sample"].to_numpy(dtype=int)
    triggers = trigger_samples(raw, options)
    if len(triggers) != len(events):
        message = (
            f"{run.recording}: {len(triggers)} triggers of value {options.trigger_value} on "
            f"{options.trigger_channel}, {len(events)} trials in {run.events.name}"
        )
        if onset == "trigger":
            raise DatasetError(f"{message}; use `onset: events`, or correct `raw.trigger_value`")
        log.warning(message)
        return events, []
    differences = ((events - triggers) * 1000.0 / float(raw.info["sfreq"])).tolist()
    return (events if onset == "events" else triggers), differences


def read_events(run: Run, trials: pd.DataFrame) -> pd.DataFrame:
    """Read the events of a run and compare them with the table of trials.

    Raises
    ------
    DatasetError
        The file is missing, lacks a column, or its rows are not those of the table.
    """
    try:
        events = read_csv(
            run.events, separator="\t", numbers=("value", "sample"), na_values=["N/A", "n/a"]
        )
    except (OSError, ValueError) as error:
        raise DatasetError(f"{run.events}: cannot be read ({error}); get it again") from error
    missing = [column for column in EVENT_COLUMNS if column not in events.columns]
    if missing:
        raise DatasetError(f"{run.events}: lacks the column(s) {', '.join(missing)}")
    if len(events) != len(trials):
        raise DatasetError(
            f"{run.events}: holds {len(events)} events, the table of trials has {len(trials)} rows "
            f"of session {run.session}, run {run.number}"
        )
    pairs = {"trial_type": "trial_type", "value": "things_image_nr"}
    for column, theirs in pairs.items():
        differs = np.flatnonzero(~same_cells(events[column], trials[theirs]))
        if len(differs):
            row = int(differs[0])
            raise DatasetError(
                f"{run.events}: column {column!r} disagrees with {theirs!r} of the table of trials "
                f"in {len(differs)} of {len(events)} rows, first in row {row} (from 0): "
                f"{events[column].iloc[row]!r} and {trials[theirs].iloc[row]!r}"
            )
    return events


def trigger_samples(raw: mne.io.BaseRaw, options: RawOptions) -> np.ndarray:
    """Samples at which the trigger channel rises to the value of an image's onset.

    Returns
    -------
    ndarray of int, shape (n_triggers,)
        Counted from the first sample; empty where there is no such channel.
    """
    import mne

    if options.trigger_channel not in raw.ch_names:
        return np.empty(0, dtype=int)
    found = mne.find_events(
        raw, stim_channel=options.trigger_channel, initial_event=True, verbose="error"
    )
    return found[found[:, 2] == options.trigger_value, 0].astype(int) - raw.first_samp


def _check_sensors(
    sensors: Sequence[str], expected: Sequence[str], where: Path, first: Path
) -> None:
    """Refuse a run that has other sensors than the first: either of them may be damaged."""
    for verb, names in (
        ("lacks", [name for name in expected if name not in sensors]),
        ("has", [name for name in sensors if name not in expected]),
    ):
        if names:
            other = "has" if verb == "lacks" else "lacks"
            raise DatasetError(
                f"{where}: {verb} the sensor(s) {', '.join(names)}, which {first} {other}; get "
                "both again, or leave them out in all runs (option raw.drop_sensors)"
            )


def filtered(
    raw: mne.io.BaseRaw,
    sensors: Sequence[str],
    options: RawOptions,
    *,
    lapse: float | None,
    where: Path,
) -> np.ndarray:
    """Load sensors of a run and filter them at the rate of the recording.

    Parameters
    ----------
    lapse
        Start of a lapse of the sensors, s; its samples become the sensors' medians.

    Returns
    -------
    ndarray of float64, shape (n_sensors, n_samples)

    Raises
    ------
    DatasetError
        The data cannot be read.
    """
    try:
        raw = raw.pick(list(sensors)).load_data(verbose="error")
    except Exception as error:  # as in open_recording
        raise DatasetError(f"{where}: its data cannot be read ({error}); get it again") from error
    if lapse is not None:
        start = int(np.abs(raw.times - lapse).argmin())
        stop = start + int(DROPOUT_SECONDS * raw.info["sfreq"])
        data = raw.get_data()
        data[:, start:stop] = np.median(data, axis=1, keepdims=True)
        raw[:] = data
    edge = options.upper_edge
    slope = min(options.slope, float(raw.info["sfreq"]) / 2 - edge)
    raw.filter(options.l_freq, edge, h_trans_bandwidth=slope, verbose="error")
    return raw.get_data(picks=list(sensors))


def cut(
    continuous: np.ndarray, onsets: np.ndarray, *, steps: np.ndarray, factor: int, where: Path
) -> np.ndarray:
    """Take samples around onsets: each onset is a sample, whatever the rate that is kept.

    Parameters
    ----------
    continuous
        Shape (n_sensors, n_samples). Filtered; to less than half the rate kept, unless aliases are
        accepted.
    onsets
        Shape (n_trials,), int.
    steps
        Shape (n_times,), int. Times in steps of the rate kept.
    factor
        Raw samples per step.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_times, n_sensors)

    Raises
    ------
    DatasetError
        A trial reaches beyond the recording.
    """
    positions = onsets[:, None] + factor * steps[None, :]
    outside = (positions < 0) | (positions >= continuous.shape[1])
    if outside.any():
        trial = int(np.argmax(outside.any(axis=1)))
        raise DatasetError(
            f"{where}: trial {trial} of those read (from 0), onset at sample {onsets[trial]}, "
            f"reaches beyond the {continuous.shape[1]} samples; move `tmin` or `tmax`"
        )
    return np.moveaxis(continuous[:, positions], 0, -1).astype(np.float32)


def _factor(raw: mne.io.BaseRaw, options: RawOptions, where: Path) -> int:
    factor = float(raw.info["sfreq"]) / options.sfreq
    if abs(factor - round(factor)) > 1e-6 or factor < 1:
        raise DatasetError(
            f"{where}: recorded at {raw.info['sfreq']:g} Hz, which `raw.sfreq` = "
            f"{options.sfreq:g} does not divide; choose e.g. {float(raw.info['sfreq']) / 40:g}"
        )
    return round(factor)
