"""Adapter ``things_eeg2``: EEG of ten people who saw 16,740 object images (THINGS-EEG2).

Images came every 200 ms for 100 ms: 16,540 training images (ten of each of 1,654 concepts) four
times, and 200 test images (one of each of 200 other concepts) 80 times, over four sessions. Below
``data/<name>``:

``image_set/{training_images,test_images}/<00001_concept>/<concept_01b>.jpg``
    Condition i of a partition is the i-th of its files, in the order of their paths.
``image_metadata.npy``
    The same order as lists; where it is there, the files are compared with it.
``preprocessed_data/sub-<nn>/preprocessed_eeg_{training,test}.npy``
    Responses of 17 channels over the back of the head at 100 Hz, or, with ``source: raw``,
``raw_data/sub-<nn>/ses-<nn>/raw_eeg_{training,test}.npy``
    the recordings (:mod:`gradbrain.datasets.things_eeg2_raw`).

All ``.npy`` are dictionaries, which are read without running what is in them
(:mod:`gradbrain.datasets.pickled_arrays`). The subject ``<anything>sub-03`` is the third person.
Test images are marked in ``test_image``, and their repeats tell the noise of a trial.

References
----------
Gifford et al. 2022, NeuroImage 264: 119754; data https://osf.io/3jk45, code
https://github.com/gifale95/eeg_encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator
from tqdm import tqdm

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import FolderAdapter, name_ending
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.images import look_at_image
from gradbrain.datasets.inventory import Item, inspect_file, inspect_files
from gradbrain.datasets.locators import WHITE, Background
from gradbrain.datasets.noise_ceiling import ceiling_of_average
from gradbrain.datasets.pickled_arrays import read_dictionary
from gradbrain.datasets.responses import describe, sensor_responses
from gradbrain.datasets.sensors import MONTAGES, SENSOR_SPACE, montage_places, place_by_name
from gradbrain.datasets.stimuli import file_stimulus, stimuli_table
from gradbrain.datasets.things_eeg2_raw import (
    Partition,
    RawOptions,
    channels,
    raw_trials,
    sessions_of,
)
from gradbrain.datasets.things_images import Captions, Grouping, concept_caption, join_twins
from gradbrain.datasets.trials import Trials, average_trials
from gradbrain.vocabulary.roles import TIME

PARTITIONS: tuple[Partition, ...] = ("training", "test")
KEYS = ("preprocessed_eeg_data", "ch_names", "times")
#: Names of the lists of files in image_metadata.npy.
FILE_LISTS: Mapping[Partition, str] = {"training": "train_img_files", "test": "test_img_files"}
METADATA = "image_metadata.npy"
OBTAIN = (
    "get training_images.zip and test_images.zip of https://osf.io/3jk45 (image_set) and unpack "
    "them there"
)
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {
    "ceilings": "repeats of the test images",
    "unseen": "concepts",
    "database": "THINGS",
}
# Conditions, and trials, that are taken at once.
BLOCK = 256


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    partitions: tuple[Partition, ...] = Field(
        PARTITIONS,
        min_length=1,
        description="Images used: training, test or both; test images are scored on their own as "
        "well where there are others.",
    )
    images: str = Field("image_set", description="Folder of the images, below data/.")
    group: Grouping = "category"
    captions: Captions = None
    background: Background = WHITE


class Options(ImageOptions):
    """Options of THINGS-EEG2."""

    source: Literal["preprocessed", "raw"] = Field(
        "preprocessed", description="The published epochs, or the recordings."
    )
    sensors: tuple[str, ...] = Field(
        ("O", "P"),
        description="Channels kept, by the beginning of their names; the preprocessed files hold "
        "these alone. none: all.",
    )
    montage: str = Field(
        "standard_1005", description="Montage of mne that tells where channels are on the head."
    )
    tmin: float | None = Field(None, description="First time kept, s; none: all.")
    tmax: float | None = Field(None, description="Last time kept, s; none: all.")
    standardise: bool = Field(
        False,
        description="z-score each channel and time over trials, before repeats are averaged; "
        "the published epochs are whitened already.",
    )
    raw: RawOptions = Field(
        RawOptions(), description="Filter, epochs and whitening of `source: raw`."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.montage not in MONTAGES:
            raise ValueError(f"montage: {self.montage!r} is none of mne's: {', '.join(MONTAGES)}")
        if len(set(self.partitions)) < len(self.partitions):
            raise ValueError(f"partitions: {list(self.partitions)} names one twice")
        if self.tmin is not None and self.tmax is not None and self.tmin >= self.tmax:
            raise ValueError(f"tmin ({self.tmin}) must be before tmax ({self.tmax})")
        return self


def person_of(subject: str) -> str:
    """Folder of a person: ``sub-03`` for a subject whose name ends so.

    Raises
    ------
    DatasetError
        The name has no such ending.
    """
    return name_ending(
        subject, r"(sub-\d{2})", expected="sub- and two digits, such as things_eeg2-sub-01"
    )


def preprocessed_file(data: Path, subject: str, partition: Partition) -> Path:
    """Path of a person's epochs of a partition."""
    name = f"preprocessed_eeg_{partition}.npy"
    return data / "preprocessed_data" / person_of(subject) / name


def image_files(data: Path, options: ImageOptions, partition: Partition) -> list[Path]:
    """List the images of a partition in the order of its conditions.

    Raises
    ------
    DatasetError
        The folder is missing or empty, or its files are not those of ``image_metadata.npy``.
    """
    folder = data / options.images / f"{partition}_images"
    # By parts of the path: a folder's name may be the beginning of another's.
    files = sorted(folder.glob("*/*.jpg"), key=lambda path: path.parts[-2:])
    if not files:
        raise DatasetError(f"{folder}: holds no images (<concept>/<image>.jpg); {OBTAIN}")
    listed = data / METADATA
    if listed.is_file():
        names = read_dictionary(listed, keys=(), what="lists of images").get(FILE_LISTS[partition])
        if names is not None:
            _compare(folder, files, [str(name) for name in names], listed)
    return files


def _compare(folder: Path, files: Sequence[Path], names: Sequence[str], listed: Path) -> None:
    found = [path.name for path in files]
    if found == list(names):
        return
    absent = [name for name in names if name not in set(found)]
    if absent:
        raise DatasetError(
            f"{folder}: lacks {len(absent)} of the {len(names)} images that {listed.name} names, "
            f"e.g. {absent[0]}; conditions are counted by files, so that all must be there. "
            f"{OBTAIN[0].upper()}{OBTAIN[1:]}"
        )
    extra = [name for name in found if name not in set(names)]
    what = f"{len(extra)} more, e.g. {extra[0]}" if extra else "the same in another order"
    raise DatasetError(
        f"{folder}: its {len(found)} images are not the {len(names)} that {listed.name} names: "
        f"{what}; the folder must hold what was published"
    )


def _concept(path: Path) -> str:
    """Concept of an image: its folder's name without the number in front."""
    number, _, concept = path.parent.name.partition("_")
    if not number.isdigit() or not concept:
        raise DatasetError(
            f"{path.parent}: expected a folder named by a number and a concept, such as "
            "00001_aardvark"
        )
    return concept


def _preprocessed(
    options: Options, data: Path, subject: str, image_of: Mapping[Partition, np.ndarray]
) -> tuple[Trials, np.ndarray, np.ndarray]:
    """Trials of the published epochs, the image of each, and whether it is a test image."""
    found = [
        _read(preprocessed_file(data, subject, partition), len(image), options)
        for partition, image in image_of.items()
    ]
    for other in found[1:]:
        if other.sensors != found[0].sensors or not np.array_equal(other.time, found[0].time):
            raise DatasetError(
                f"{other.path}: its channels or times are not those of {found[0].path.name}; both "
                "must be of the same person and release"
            )
    image = [
        np.repeat(image, epochs.n_repeats)
        for image, epochs in zip(image_of.values(), found, strict=True)
    ]
    test = [
        np.full(len(rows), partition == "test")
        for partition, rows in zip(image_of, image, strict=True)
    ]

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        start = 0
        for epochs in found:
            for begin in range(0, len(epochs.trials), BLOCK):
                some = epochs.trials[begin : begin + BLOCK]
                yield start + begin + np.arange(len(some)), some
            start += len(epochs.trials)

    trials = Trials(found[0].sensors, found[0].time, blocks(), {})
    return trials, np.concatenate(image), np.concatenate(test)


@dataclass(frozen=True)
class _Epochs:
    """Epochs of a partition; ``trials``: conditions × repetitions, times, sensors."""

    path: Path
    trials: np.ndarray
    n_repeats: int
    sensors: list[str]
    time: np.ndarray


def _read(path: Path, n_images: int, options: Options) -> _Epochs:
    """Read the epochs of a partition and keep what the options name, in float32.

    The training images of a person are .9 GB as published, half of that as they are kept.
    """
    content = read_dictionary(path, keys=KEYS, what="preprocessed epochs")
    values, names = content["preprocessed_eeg_data"], [str(name) for name in content["ch_names"]]
    times = np.asarray(content["times"], dtype=np.float64)
    if not isinstance(values, np.ndarray) or values.ndim != 4:
        raise DatasetError(
            f"{path}: preprocessed_eeg_data must be conditions × repetitions × channels × times; "
            f"it is {getattr(values, 'shape', type(values).__name__)}"
        )
    if values.shape[2:] != (len(names), len(times)):
        raise DatasetError(
            f"{path}: preprocessed_eeg_data has {values.shape[2]} channels × {values.shape[3]} "
            f"times, ch_names {len(names)} and times {len(times)}"
        )
    if len(values) != n_images:
        raise DatasetError(
            f"{path}: holds {len(values)} conditions, the folder of images {n_images} files; "
            "condition i is the i-th file, so that both must be as published"
        )
    kept = np.array(channels(names, options.sensors, where=path))
    low = -np.inf if options.tmin is None else options.tmin - 1e-9
    high = np.inf if options.tmax is None else options.tmax + 1e-9
    within = np.flatnonzero((times >= low) & (times <= high))
    if len(within) < 2:
        raise DatasetError(
            f"{path}: {len(within)} time(s) left between tmin = {options.tmin} and tmax = "
            f"{options.tmax} s; it reaches from {times[0]:.3g} to {times[-1]:.3g} s"
        )
    n_repeats = values.shape[1]
    trials = np.empty((len(values) * n_repeats, len(within), len(kept)), dtype=np.float32)
    for begin in range(0, len(values), BLOCK):
        some = values[begin : begin + BLOCK][:, :, kept][..., within]
        rows = slice(begin * n_repeats, (begin + len(some)) * n_repeats)
        trials[rows] = some.reshape(-1, len(kept), len(within)).swapaxes(1, 2)
    return _Epochs(path, trials, n_repeats, [names[place] for place in kept], times[within])


def _files(options: Options, data: Path, subject: str) -> list[Path]:
    """Files of a person."""
    if options.source == "preprocessed":
        return [preprocessed_file(data, subject, partition) for partition in options.partitions]
    return [
        session / f"raw_eeg_{partition}.npy"
        for session in sessions_of(data / "raw_data" / person_of(subject))
        # Training images tell the noise that whitens, whichever are used.
        for partition in PARTITIONS
        if partition in options.partitions or options.raw.whiten
    ]


def _describe(path: Path) -> str:
    """Look at the first bytes: that the file is one of `numpy.save`."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
    return ""


def _units(options: Options) -> str:
    if options.standardise:
        return "standard deviations over trials"
    if options.source == "preprocessed" or options.raw.whiten:
        return "whitened"
    return "V"


def _preprocessing(options: Options) -> str:
    if options.source == "preprocessed":
        steps = ["published epochs: baseline of 200 ms, 100 Hz, whitened per session"]
    else:
        steps = ["raw recordings", *options.raw.steps]
    if options.standardise:
        steps.append("z-scored per channel and time over trials")
    return "; ".join([*steps, "repeats averaged"])


class Adapter(FolderAdapter):
    """THINGS-EEG2."""

    image_options = ImageOptions
    axis = TIME

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the table of the images that all people saw.

        Raises
        ------
        DatasetError
            A folder of images is missing, or is not the published one.
        ImageError
            A file cannot be read.
        """
        files = [
            path
            for partition in options.partitions
            for path in image_files(data, options, partition)
        ]
        rows = []
        for path in tqdm(files, desc=f"images of {name}", unit="image", disable=None):
            concept = _concept(path)
            rows.append(
                file_stimulus(
                    path,
                    image_id=path.stem,
                    group=concept if options.group == "category" else path.stem,
                    background=options.background,
                    caption=concept_caption(concept) if options.captions == "concept" else None,
                )
            )
        return stimuli_table(join_twins(rows), name=name)

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

        ``noise_ceiling`` is that of the rows as they are: most are averages of four trials. It
        comes from the test images' repeats, or from those of training images where these alone are
        used.

        Raises
        ------
        DatasetError
            A file is unreadable or of other images, or a channel has no place in the montage.
        """
        conditions = {
            partition: [path.stem for path in image_files(data, options, partition)]
            for partition in options.partitions
        }
        known = pd.Index(stimuli["image_id"])
        image_of = {partition: known.get_indexer(names) for partition, names in conditions.items()}
        if options.source == "preprocessed":
            trials, image, test = _preprocessed(options, data, subject, image_of)
        else:
            trials, image, test = raw_trials(
                data / "raw_data" / person_of(subject),
                image_of,
                prefixes=options.sensors,
                tmin=options.tmin,
                tmax=options.tmax,
                options=options.raw,
            )
        repeated = test if "test" in image_of else np.ones(len(test), dtype=bool)
        places = place_by_name(
            trials.sensors,
            montage_places(options.montage),
            where=str(data),
            what=f"montage {options.montage!r}",
        )
        averages = average_trials(
            trials,
            image,
            repeated,
            n_images=len(stimuli),
            standardise=options.standardise,
            name=subject,
        )
        attrs = describe(
            entry,
            subject,
            units=_units(options),
            space=self.space(entry, options),
            preprocessing=_preprocessing(options),
        )
        both = len(options.partitions) > 1
        return sensor_responses(
            averages.response,
            places,
            time=trials.time,
            stimuli=stimuli,
            n_repeats=averages.n_repeats,
            noise_ceiling=ceiling_of_average(averages.snr, averages.n_repeats),
            attrs=attrs,
            test_image=np.isin(np.arange(len(stimuli)), image_of["test"]) if both else None,
        )

    def problems(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List missing folders of images."""
        folders = [data / options.images / f"{name}_images" for name in options.partitions]
        return [
            f"data set {entry.name!r}: {folder} is missing; {OBTAIN}"
            for folder in folders
            if not folder.is_dir()
        ]

    def subject_problems(
        self, entry: DatasetEntry, options: Options, subject: str, data: Path
    ) -> list[str]:
        """List missing files of a person."""
        files = _files(options, data, subject)
        if not files:
            folder = data / "raw_data" / person_of(subject)
            return [f"data set {entry.name!r}: {folder} holds no session (ses-01, …)"]
        return self.missing_files(entry, files)

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List images and recordings; of images headers are read, of recordings nothing."""
        items = []
        for partition in options.partitions:
            folder = data / options.images / f"{partition}_images"
            found = sorted(folder.glob("*/*.jpg"))
            items.append(
                inspect_files(
                    found, pattern=str(folder / "*" / "*.jpg"), subject="", read=look_at_image
                )
            )
        for subject in entry.subjects:
            items += [
                inspect_file(path, subject=subject, read=_describe)
                for path in _files(options, data, subject)
            ]
        return items

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in."""
        return SENSOR_SPACE

    def provenance(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        features: Sequence[Path],
    ) -> dict[str, Any]:
        """Return where the epochs come from: for the file beside the store, which no rule reads."""
        return {"source": options.source}
