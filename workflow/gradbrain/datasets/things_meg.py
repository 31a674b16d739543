"""Adapter ``things_meg``: MEG of four people who saw 22,448 object images (THINGS-MEG).

Below ``data/<name>``, as on OpenNeuro: ``sourcedata/sample_attributes_P<n>.csv``, one row per trial
(27,048: ``exp``, ``test`` and ``catch``), and either the preprocessed epochs
(:mod:`gradbrain.datasets.things_meg_preprocessed`) or the raw recordings
(:mod:`gradbrain.datasets.things_meg_raw`). The images come with the THINGS database
(:mod:`gradbrain.datasets.things_images`). The subject ``<anything>P3`` is participant 3.

Catch trials are dropped. 22,248 images were shown once; the 200 test images, one of each of 200
concepts, were shown in each of 12 sessions: they are averaged, marked in ``test_image``, and tell
the noise of a trial.

References
----------
Hebart et al. 2023, eLife 12: e82580; https://openneuro.org/datasets/ds004212.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import name_ending
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import Item, inspect_file, inspect_files
from gradbrain.datasets.noise_ceiling import ceiling_of_average
from gradbrain.datasets.responses import describe, sensor_responses
from gradbrain.datasets.sensors import sensor_layout
from gradbrain.datasets.things_images import (
    ThingsAdapter,
    ThingsImageOptions,
    image_id,
    inspect_images,
    read_trial_table,
)
from gradbrain.datasets.things_meg_preprocessed import (
    open_epochs,
    parts_of,
    preprocessed_file,
    preprocessed_trials,
)
from gradbrain.datasets.things_meg_raw import Onset, RawOptions, find_runs, raw_trials
from gradbrain.datasets.trials import Trials, average_trials
from gradbrain.vocabulary.roles import TIME

TABLE_COLUMNS = (
    "trial_type",
    "image_path",
    "session_nr",
    "run_nr",
    "things_image_nr",
    "things_category_nr",
)
TRIAL_TYPES = ("exp", "test", "catch")
RAW_WINDOW = (-0.5, 3.0)
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {
    "ceilings": "repeats of the test images",
    "unseen": "concepts",
    "database": "THINGS",
}


ImageOptions = ThingsImageOptions


class Options(ImageOptions):
    """Options of THINGS-MEG."""

    source: Literal["preprocessed", "raw"] = Field(
        "preprocessed", description="The published epochs, or the recordings."
    )
    onset: Onset = Field(
        "events",
        description="What tells when an image came on: `events` (events.tsv, the optical sensor; "
        "the published epochs know no other) or `trigger` (channel UPPT001; needs `source: raw`).",
    )
    sensors: tuple[str, ...] = Field(
        (), description="Sensors kept, by the beginning of their names, e.g. MLO, MRO; none: all."
    )
    layout: str = Field("CTF-275", description="Sensor layout of mne with the flat positions.")
    tmin: float | None = Field(
        None, description="First time kept, s; none: all (preprocessed) or -0.5 (raw)."
    )
    tmax: float | None = Field(
        None, description="Last time kept, s; none: all (preprocessed) or 3 (raw)."
    )
    decimate: int = Field(
        1,
        ge=1,
        description="Of the preprocessed epochs, every n-th sample from the onset is kept, each "
        "the mean of the n samples around it.",
    )
    standardise: bool = Field(
        True, description="z-score each sensor and time over trials, before repeats are averaged."
    )
    block_trials: int = Field(128, ge=1, description="Trials of the epochs read at once.")
    raw: RawOptions = Field(RawOptions(), description="Filter and sampling of `source: raw`.")

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.source == "preprocessed" and self.onset == "trigger":
            raise ValueError(
                "onset: `trigger` needs `source: raw`; the preprocessed epochs were cut at the "
                "samples of events.tsv"
            )
        if self.source == "raw" and self.decimate != 1:
            raise ValueError(
                "decimate: of preprocessed epochs only; with `source: raw` set raw.sfreq"
            )
        if self.tmin is not None and self.tmax is not None and self.tmin >= self.tmax:
            raise ValueError(f"tmin ({self.tmin}) must be before tmax ({self.tmax})")
        return self


def participant_of(subject: str) -> int:
    """Number of a participant: that at the end of the subject's name, after ``P``.

    Raises
    ------
    DatasetError
        The name has no such ending.
    """
    expected = "P and the participant's number, such as things_meg-P1"
    return int(name_ending(subject, r"P0*([1-9]\d*)", expected=expected))


def table_file(data: Path, participant: int) -> Path:
    """Path of the table of a participant's trials."""
    return data / "sourcedata" / f"sample_attributes_P{participant}.csv"


def read_trials(path: Path) -> pd.DataFrame:
    """Read the table of a participant's trials.

    Raises
    ------
    DatasetError
        It is missing or unreadable, lacks a column or an image, or names another kind of trial.
    """
    table = read_trial_table(path, TABLE_COLUMNS, numbers=TABLE_COLUMNS[2:], kinds=TRIAL_TYPES)
    shown = table["trial_type"] != "catch"
    unnamed = int(table.loc[shown, "image_path"].isna().sum())
    if unnamed or not shown.any():
        raise DatasetError(
            f"{path}: {unnamed} of {int(shown.sum())} trials of images name no image_path"
        )
    return table


def images_shown(table: pd.DataFrame) -> pd.Series:
    """Image of each trial, ``""`` for catch trials."""
    return table["image_path"].where(table["trial_type"] != "catch", "").map(image_id)


def sensor_places(names: Sequence[str], layout: str) -> pd.DataFrame:
    """Find sensors in a flat layout.

    Returns
    -------
    DataFrame
        As :func:`gradbrain.datasets.sensors.sensor_layout`, a row per name, in their order.

    Raises
    ------
    DatasetError
        A sensor is not in the layout.
    """
    known = sensor_layout(layout)
    known["sensor"] = known["sensor"].str.partition("-")[0]
    missing = [name for name in names if name not in set(known["sensor"])]
    if missing:
        raise DatasetError(
            f"layout {layout!r}: has no place for {len(missing)} of {len(names)} sensors, e.g. "
            f"{missing[0]!r}; name the layout of the recording's helmet in the option `layout`"
        )
    return known.set_index("sensor").loc[list(names)].reset_index()


def _describe_table(path: Path) -> str:
    counts = read_trials(path)["trial_type"].value_counts()
    return ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in TRIAL_TYPES)


def _describe_epochs(path: Path) -> str:
    epochs = open_epochs(path)
    return f"{len(epochs)} trials × {len(epochs.ch_names)} sensors × {len(epochs.times)} samples"


def onset_source(entry: DatasetEntry, options: Options) -> str:
    """Say what tells when an image came on: every latency depends on it."""
    return {"events": "events.tsv", "trigger": options.raw.trigger_channel}[options.onset]


def _trials(
    options: Options, data: Path, participant: int, table: pd.DataFrame, rows: np.ndarray
) -> Trials:
    if options.source == "preprocessed":
        return preprocessed_trials(
            preprocessed_file(data, participant),
            table,
            rows=rows,
            prefixes=options.sensors,
            tmin=options.tmin,
            tmax=options.tmax,
            decimate=options.decimate,
            block=options.block_trials,
        )
    tmin, tmax = RAW_WINDOW
    return raw_trials(
        data,
        participant,
        table,
        rows=rows,
        prefixes=options.sensors,
        tmin=tmin if options.tmin is None else options.tmin,
        tmax=tmax if options.tmax is None else options.tmax,
        onset=options.onset,
        options=options.raw,
    )


def _units(options: Options) -> str:
    if options.standardise:
        return "standard deviations over trials"
    return "baseline standard deviations" if options.source == "preprocessed" else "T"


def _preprocessing(options: Options, onset: str) -> str:
    if options.source == "preprocessed":
        steps = ["published epochs: 0.1-40 Hz, 200 Hz, z-scored by the baseline of each trial"]
        if options.decimate > 1:
            steps.append(f"means of {options.decimate} samples")
    else:
        raw = options.raw
        steps = [f"raw recordings: {raw.l_freq:g}-{raw.h_freq:g} Hz, {raw.sfreq:g} Hz"]
        if raw.folded:
            steps.append(f"not filtered for that rate: {raw.folded}")
        elif raw.upper_edge < raw.h_freq:
            steps.append(f"below {raw.upper_edge:g} Hz, which the sampling can hold")
    if options.standardise:
        steps.append("z-scored per sensor and time over trials")
    return "; ".join([*steps, "repeats averaged", f"image onset from {onset}"])


class Adapter(ThingsAdapter):
    """THINGS-MEG."""

    image_options = ImageOptions
    axis = TIME

    def table_of(self, options: ImageOptions, subject: str, data: Path) -> Path:
        """Path of the table of a participant's trials."""
        return table_file(data, participant_of(subject))

    def images_in(self, table: Path) -> set[str]:
        """Images of all trials but catch trials."""
        trials = read_trials(table)
        return set(trials.loc[trials["trial_type"] != "catch", "image_path"])

    def subject_problems(
        self, entry: DatasetEntry, options: Options, subject: str, data: Path
    ) -> list[str]:
        """List missing files of a participant."""
        participant = participant_of(subject)
        files, problems = [table_file(data, participant)], []
        if options.source == "preprocessed":
            epochs = preprocessed_file(data, participant)
            files += [epochs, *parts_of(epochs)[1]]
        elif not find_runs(data, participant):
            problems.append(
                f"data set {entry.name!r}: {data / f'sub-BIGMEG{participant}'} holds no recordings "
                "(ses-*/meg/*_meg.ds)"
            )
        return problems + self.missing_files(entry, files)

    def responses(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> xr.Dataset:
        """Average the trials of each image.

        ``noise_ceiling`` is that of the rows as they are: with the real data nearly that of single
        trials, which most of them are. It comes from the test images' repeats
        (:mod:`gradbrain.datasets.noise_ceiling`). The attributes hold ``onset_source`` and, where
        triggers could be matched, ``onset_difference_ms``, the median time from trigger to event.

        Raises
        ------
        DatasetError
            A file is unreadable, tables disagree, an image of the stimuli is in no trial, or a
            sensor has no place in the layout.
        """
        participant = participant_of(subject)
        table = read_trials(table_file(data, participant))
        image = pd.Index(stimuli["image_id"]).get_indexer(images_shown(table))
        test = (table["trial_type"] == "test").to_numpy()
        trials = _trials(options, data, participant, table, np.flatnonzero(image >= 0))
        sensors = sensor_places(trials.sensors, options.layout)
        averages = average_trials(
            trials,
            image,
            test,
            n_images=len(stimuli),
            standardise=options.standardise,
            name=subject,
        )
        attrs = describe(
            entry,
            subject,
            units=_units(options),
            space=self.space(entry, options),
            preprocessing=_preprocessing(options, onset_source(entry, options)),
        )
        return sensor_responses(
            averages.response,
            sensors,
            time=trials.time,
            stimuli=stimuli,
            n_repeats=averages.n_repeats,
            noise_ceiling=ceiling_of_average(averages.snr, averages.n_repeats),
            attrs={**attrs, "onset_source": onset_source(entry, options), **trials.facts},
            test_image=np.isin(np.arange(len(stimuli)), image[test & (image >= 0)]),
        )

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List images, tables and recordings; tables are read, of recordings the headers."""
        items: list[Item] = []
        shown: set[str] = set()
        for subject in entry.subjects:
            participant = participant_of(subject)
            table = inspect_file(
                table_file(data, participant), subject=subject, read=_describe_table
            )
            items.append(table)
            if table.state == "there":
                shown |= self.images_in(table_file(data, participant))
            if options.source == "preprocessed":
                path = preprocessed_file(data, participant)
                items.append(inspect_file(path, subject=subject, read=_describe_epochs))
                present, missing = parts_of(path)
                if present:
                    pattern = str(path.with_name(f"{path.stem}-*.fif"))
                    parts = [*present, *missing]
                    items.append(inspect_files(parts, pattern=pattern, subject=subject))
            else:
                runs = find_runs(data, participant)
                folder = data / f"sub-BIGMEG{participant}" / "ses-*" / "meg"
                for pattern, files in {
                    "*_meg.ds": [run.recording / f"{run.recording.stem}.meg4" for run in runs],
                    "*_events.tsv": [run.events for run in runs],
                }.items():
                    items.append(
                        inspect_files(files, pattern=str(folder / pattern), subject=subject)
                    )
        return [inspect_images(shown, folder=data / options.images), *items]

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in."""
        return "sensors"

    def provenance(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        features: Sequence[Path],
    ) -> dict[str, Any]:
        """Return how trials were cut: for the file beside the store, which no rule reads."""
        return {"onset_source": onset_source(entry, options), "source": options.source}
