"""Adapter ``arrays``: one's own images and responses, in files that any program can write.

Images lie in a folder; a table may say which they are, how they are grouped and labelled.
Responses lie in one file per subject (``.npy``, ``.zarr`` or ``.nc``; NIfTI, GIFTI, CIFTI or epochs
of mne, :mod:`gradbrain.datasets.brain_files`), one row per presentation: rows that show the same
image are averaged and give the noise ceiling. Tables beside ``.npy`` files say what rows, targets
and sensors are; other files say it in their coordinates, by the same names. In every path
``{subject}`` stands for the subject's full name and ``{id}`` for what follows the data set's name
and a hyphen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator
from tqdm import tqdm

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry, ExpectedSize, StrictModel
from gradbrain.config.suggestions import choose
from gradbrain.datasets.adapter import FolderAdapter
from gradbrain.datasets.brain_files import (
    CIFTI,
    HEMIS,
    NIFTI,
    is_brain_file,
    open_brain_files,
)
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.file_names import matching_files, natural_key
from gradbrain.datasets.images import look_at_image
from gradbrain.datasets.inventory import Item, State, inspect_file, inspect_files
from gradbrain.datasets.locators import WHITE, Background
from gradbrain.datasets.noise_ceiling import average_presentations
from gradbrain.datasets.recording_axes import read_sensors, read_targets, read_times
from gradbrain.datasets.recordings import (
    Recording,
    Transposed,
    check_dimensions,
    open_recording,
    read_rows,
)
from gradbrain.datasets.responses import (
    describe,
    region_distances,
    sensor_responses,
    target_responses,
)
from gradbrain.datasets.sensors import MONTAGES, SENSOR_SPACE
from gradbrain.datasets.stimuli import file_stimulus, stimuli_table
from gradbrain.datasets.volumes import volume_shape
from gradbrain.vocabulary.artefacts import CAPTION
from gradbrain.vocabulary.roles import ROI, TIME, Axis

log = logging.getLogger(__name__)

#: Space of responses of an axis, where the options name none.
SPACES: dict[Axis | None, str] = {ROI: "voxels", TIME: SENSOR_SPACE, None: "none"}
#: Axis -> options that are of the other one.
OPTIONS_OF_OTHERS: dict[Axis | None, tuple[str, ...]] = {
    ROI: ("sensors", "layout", "montage", "times"),
    TIME: ("targets", "mask"),
}
#: Axis -> dimensions of a recording: presentation, then target, or time and sensor.
N_DIMENSIONS: dict[Axis | None, int] = {ROI: 2, TIME: 3}
# Read at every start: some ten thousand rows.
SMALL_TABLE_BYTES = 2**20


class Times(StrictModel):
    """Evenly spaced sample times."""

    first: float = Field(description="First sample, s from image onset (or before, see onset_s).")
    rate: float = Field(gt=0, description="Samples per second.")


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    images: str | None = Field(None, description="Pattern of the image files, without a table.")
    table: str | None = Field(
        None,
        description="Table of the images: image_id, file and, if wanted, group, label, caption.",
    )
    background: Background = WHITE


class Options(ImageOptions):
    """Options of a data set of one's own; paths are below data/<name>."""

    responses: str | None = Field(
        None,
        description="File of a subject's responses: .npy, .zarr or .nc; .nii.gz (with `mask`), "
        ".func.gii ({hemi}: L and R), .dscalar.nii; -epo.fif of mne.",
    )
    axes: Literal["time_sensor", "sensor_time"] = Field(
        "time_sensor",
        description="Order of the axes of an .npy file behind the presentations, along time; mne "
        "has sensors before times.",
    )
    mask: str | None = Field(
        None, description="NIfTI mask of the voxels that are kept, of NIfTI files."
    )
    region_masks: dict[str, str] = Field(
        {},
        description="Region -> NIfTI mask, from low to high, of NIfTI files; a voxel in several "
        "belongs to the first.",
    )
    rows: str | None = Field(
        None,
        description="Table with the image_id (and session) of each row of an .npy file; without "
        "it, rows are the images in their order.",
    )
    targets: str | None = Field(
        None,
        description="Table of the targets, along regions: roi and, if known, hemisphere, x, y, z "
        "(mm), vertex, noise_ceiling; without regions all targets are one, `all`.",
    )
    sensors: str | tuple[str, ...] | None = Field(
        None,
        description="Table of the sensors, along time: sensor and, without a montage, sensor_x, "
        "sensor_y (flat places, left to right and back to front); or, with a montage or layout, "
        "their names, [Oz, Pz, …].",
    )
    layout: str | None = Field(
        None, description="Layout of mne with the flat places of MEG sensors, e.g. CTF-275."
    )
    montage: str | None = Field(
        None,
        description="Standard montage of mne with the places of EEG electrodes, e.g. "
        "standard_1020; channels are found by the names that `sensors` or the file gives them.",
    )
    times: Times | None = Field(None, description="Sample times of an .npy file, along time.")
    zscore_sessions: bool = Field(
        False, description="Standardise each target within each session before averaging."
    )
    roi_order: tuple[str, ...] = Field(
        (), description="Regions from low to high; by default in the order of the targets."
    )
    early_rois: tuple[str, ...] = ()
    high_rois: tuple[str, ...] = ()
    reference_roi: str | None = Field(
        None, description="Region that distances start from, V1; needs x, y, z."
    )
    onset_s: float = Field(0.0, description="Image onset on the recording's time axis, s.")
    space: str | None = Field(
        None,
        description="E.g. fsaverage5, where targets are its vertices; contacts, where sensors have "
        "no place in a flat layout. Decides on figures, and on what subjects share.",
    )
    units: str | None = Field(
        None, description="Unit of the responses; none: that of the modality."
    )
    preprocessing: str = "as given"

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if (self.images is None) == (self.table is None):
            raise ValueError("images, table: give one of them")
        if isinstance(self.sensors, str) and self.layout is not None:
            raise ValueError("sensors, layout: give one of them")
        named = self.sensors is not None and not isinstance(self.sensors, str)
        if named and self.layout is None and self.montage is None:
            raise ValueError("sensors: names need a montage (EEG) or a layout (MEG) to be found in")
        if self.layout is not None and self.montage is not None:
            raise ValueError("layout, montage: give one of them")
        return self


def _option_faults(entry: DatasetEntry, options: Options) -> Iterator[str]:
    """Say which options are lacking, are of another axis, or name no montage."""
    if options.responses is None:
        yield "the option `responses` is needed; it names a file"
    elif options.responses.endswith(".npy"):
        if entry.axis == TIME and options.times is None:
            yield f"the option `times` is needed with .npy files of {entry.modality_name}"
        if entry.axis == TIME and options.sensors is None and options.layout is None:
            # A montage knows places by the names of channels, which .npy files do not hold.
            yield "give the option `sensors`, or with MEG `layout`, with .npy files"
    responses = (options.responses or "").lower()
    if entry.axis == ROI and responses.endswith(NIFTI) and not responses.endswith(CIFTI):
        if options.mask is None:
            yield (
                "the option `mask` is needed with NIfTI files: a mask on the same grid (of a "
                "masker of nilearn: masker.mask_img_.to_filename)"
            )
    elif options.mask is not None or options.region_masks:
        yield "the options `mask` and `region_masks` are of NIfTI files; leave them out"
    for name in OPTIONS_OF_OTHERS[entry.axis]:
        if getattr(options, name) is not None:
            yield f"the option `{name}` is not of {entry.modality_name}; leave it out"
    if options.montage is not None:
        try:
            choose(options.montage, MONTAGES, what="montage", where="option montage")
        except GradbrainError as error:
            yield str(error)


def _region_problems(entry: DatasetEntry, options: Options, data: Path) -> list[str]:
    """Say which regions of the options no target has, where small tables name the targets."""
    if entry.axis != ROI or options.targets is None:
        return []
    paths = {data / _path(entry, options.targets, subject) for subject in entry.subjects}
    problems = []
    for path in sorted(paths):
        if not path.is_file() or path.stat().st_size > SMALL_TABLE_BYTES:
            continue
        try:
            targets = read_rows(path, columns=("roi",))
            order = tuple(dict.fromkeys(targets["roi"][targets["roi"] != ""]))
            _check_regions(options, order, targets, where=str(path))
        except DatasetError as error:
            problems.append(f"data set {entry.name!r}: {error}")
    return problems


def space_of(entry: DatasetEntry, options: Options) -> str:
    """Name the space that the responses live in."""
    return options.space or SPACES[entry.axis]


def _path(entry: DatasetEntry, pattern: str, name: str) -> str:
    """Fill in who a path belongs to: a subject, or the stimulus set of a subject."""
    short = name.removeprefix(f"{entry.name}-")
    return pattern.replace("{subject}", name).replace("{id}", short)


def _table_path(entry: DatasetEntry, pattern: str | None, subject: str, data: Path) -> Path | None:
    return None if pattern is None else data / _path(entry, pattern, subject)


def _stimulus_sets(entry: DatasetEntry) -> list[str]:
    """Names of the stimulus sets: one that all saw, or one per subject."""
    return [entry.stimuli] if entry.stimuli is not None else list(entry.subjects)


def _needed(entry: DatasetEntry, options: Options, data: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file but the images: the subject that needs it (``""``: all), and its path."""
    responses = options.responses if entry.axis is not None else None
    patterns = (
        options.table,
        options.rows,
        options.targets,
        options.sensors if isinstance(options.sensors, str) else None,
        options.mask,
        *options.region_masks.values(),
        *(_hemispheres(responses).values() if responses else ()),
    )
    for pattern in filter(None, patterns):
        if "{subject}" in pattern or "{id}" in pattern:
            for subject in entry.subjects:
                yield subject, data / _path(entry, pattern, subject)
        else:
            yield "", data / pattern


def _images(entry: DatasetEntry, options: ImageOptions, name: str, data: Path) -> pd.DataFrame:
    """Images with ``image_id``, ``file`` below `data`, ``group``, ``label`` and ``caption``."""
    if options.table is None:
        pattern = _path(entry, options.images or "", name)
        found = list(matching_files(data, pattern))
        if not found:
            raise DatasetError(
                f"{data}: no file matches {pattern!r} (option `images`); check the folder and the "
                "pattern; files whose names begin with a dot are skipped"
            )
        files = sorted((path.relative_to(data).as_posix() for path in found), key=natural_key)
        table = pd.DataFrame({"image_id": [Path(file).stem for file in files], "file": files})
    else:
        path = data / _path(entry, options.table, name)
        table = read_rows(path, columns=("image_id", "file"))
        _check_ids(path, table)
    group = table["group"] if "group" in table.columns else table["image_id"]
    label = _labels(table, name) if "label" in table.columns else [None] * len(table)
    caption = _captions(table) if CAPTION in table.columns else [None] * len(table)
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "file": table["file"],
            "group": group.where(group != "", table["image_id"]),
        }
    ).assign(
        label=pd.Series(label, index=table.index, dtype=object),
        caption=pd.Series(caption, index=table.index, dtype=object),
    )


def _check_ids(path: Path, table: pd.DataFrame) -> None:
    empty = (table["image_id"] == "") | (table["file"] == "")
    if empty.any():
        row = int(np.argmax(empty)) + 1
        raise DatasetError(f"{path}: row {row} has an empty image_id or file")
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise DatasetError(
            f"{path}: the image_id {repeated.iloc[0]!r} occurs more than once; list each image "
            "once here, and its presentations in the table `rows`"
        )


def _captions(table: pd.DataFrame) -> list[str | None]:
    """Captions of the images; None where the cell is empty."""
    words = [" ".join(str(cell).split()) for cell in table[CAPTION].fillna("")]
    return [caption or None for caption in words]


def _labels(table: pd.DataFrame, name: str) -> list[int | None]:
    numbers = pd.to_numeric(table["label"].replace("", None), errors="coerce")
    given = table["label"].astype(str).ne("") & table["label"].notna()
    wrong = given & (numbers.isna() | (numbers % 1 != 0))
    if wrong.any():
        value = table.loc[wrong, "label"].iloc[0]
        raise DatasetError(
            f"images of {name!r}: the label {value!r} is no whole number; give the class index "
            "that the models' objective knows, or leave it out"
        )
    return [None if np.isnan(number) else int(number) for number in numbers.astype(float)]


def _open(entry: DatasetEntry, options: Options, subject: str, data: Path) -> Recording:
    if options.responses is None:
        raise DatasetError(f"data set {entry.name!r}: has no option `responses`, only images")
    n_dimensions = N_DIMENSIONS[entry.axis]
    if is_brain_file(options.responses):
        recording = open_brain_files(
            {side: data / path for side, path in _response_paths(entry, options, subject).items()},
            mask=_table_path(entry, options.mask, subject, data),
            region_masks={
                region: data / _path(entry, path, subject)
                for region, path in options.region_masks.items()
            },
        )
        check_dimensions(recording, n_dimensions)
        return recording
    path = data / _path(entry, options.responses, subject)
    recording = open_recording(path, n_dimensions=n_dimensions)
    if entry.axis == TIME and options.axes == "sensor_time":
        recording = replace(recording, values=Transposed(recording.values))
    return recording


def _hemispheres(pattern: str) -> dict[str, str]:
    """Hemisphere -> pattern of its file; ``""``: of both."""
    if "{hemi}" not in pattern:
        return {"": pattern}
    return {side: pattern.replace("{hemi}", letter) for letter, side in HEMIS.items()}


def _response_paths(entry: DatasetEntry, options: Options, subject: str) -> dict[str, str]:
    """Hemisphere -> path of a subject's responses below `data`."""
    patterns = _hemispheres(options.responses or "")
    return {side: _path(entry, pattern, subject) for side, pattern in patterns.items()}


def _reader_of(entry: DatasetEntry, path: Path) -> Any:
    """What reads the header of a recording; a file of brain imaging is opened with its subject."""
    return None if is_brain_file(path.name) else _shape_reader(entry)


def _look_at(path: Path) -> str:
    """Look at a table, or a mask."""
    if is_brain_file(path.name):
        return " × ".join(map(str, volume_shape(path)))
    return _table_length(path)


def _shape_reader(entry: DatasetEntry) -> Any:
    def read(path: Path) -> str:
        recording = open_recording(path, n_dimensions=N_DIMENSIONS[entry.axis])
        return " × ".join(map(str, recording.shape))

    return read


def _zarr_item(entry: DatasetEntry, path: Path, subject: str) -> Item:
    files = [file for file in path.rglob("*") if file.is_file()]
    about: dict[str, Any] = {"subject": subject, "path": str(path), "n_files": len(files)}
    n_bytes = sum(file.stat().st_size for file in files)
    try:
        detail = _shape_reader(entry)(path)
    except DatasetError as error:
        return Item(state="unreadable", n_bytes=n_bytes, detail=str(error), **about)
    return Item(state="there", n_bytes=n_bytes, detail=detail, **about)


def _fits(
    entry: DatasetEntry, options: Options, subject: str, data: Path, items: Sequence[Item]
) -> Item:
    """Say of a subject's recording what its job would: does it fit its tables and options."""
    path = data / next(iter(_response_paths(entry, options, subject).values()))
    item = replace(next(item for item in items if item.path == str(path)), subject=subject)
    try:
        recording = _open(entry, options, subject, data)
        images = _images(entry, options, entry.stimuli_of(subject), data)
        _rows(entry, options, subject, data, recording, list(images["image_id"]))
        if entry.axis == TIME:
            _sensors(entry, options, subject, data, recording)
            if options.times is None:
                read_times(recording)
            return item
        outside = _outside(*_regions(entry, options, subject, data, recording))
        return replace(item, detail="; ".join(filter(None, (item.detail, outside))))
    except DatasetError as error:
        return replace(item, state="mismatch", detail=str(error).removeprefix(f"{path}: "))


def _outside(targets: pd.DataFrame, order: Sequence[str]) -> str:
    """Say how many targets lie in no region of the order, and in which they do; empty if none."""
    outside = targets["roi"][~targets["roi"].isin(order)]
    if outside.empty:
        return ""
    named = ", ".join(sorted(set(outside) - {""}))
    return f"{len(outside)} of {len(targets)} targets are in no region that is scored" + (
        f" ({named})" if named else ""
    )


def _regions(
    entry: DatasetEntry, options: Options, subject: str, data: Path, recording: Recording
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Targets of a subject, and its regions from low to high."""
    table = _table_path(entry, options.targets, subject, data)
    targets = read_targets(recording, table, space=space_of(entry, options))
    order = options.roi_order or tuple(
        region for region in options.region_masks if region in set(targets["roi"])
    )
    order = order or tuple(dict.fromkeys(targets["roi"][targets["roi"] != ""]))
    _check_regions(options, order, targets, where=f"{recording.path}: targets of {subject!r}")
    return targets, order


def _sensors(
    entry: DatasetEntry, options: Options, subject: str, data: Path, recording: Recording
) -> pd.DataFrame:
    """Sensors of a subject, with their flat places where they have some."""
    if isinstance(options.sensors, tuple):
        recording = replace(
            recording,
            coordinates={**recording.coordinates, "sensor": np.array(options.sensors)},
        )
        table = None
    else:
        table = _table_path(entry, options.sensors, subject, data)
    return read_sensors(
        recording,
        table,
        layout=options.layout,
        montage=options.montage,
        space=space_of(entry, options),
    )


def _table_length(path: Path) -> str:
    return f"{len(read_rows(path, columns=()))} rows"


def _rows(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    data: Path,
    recording: Recording,
    images: list[str],
) -> pd.DataFrame:
    """What each row shows: ``image`` (index into `images`) and ``session``."""
    n_rows = recording.shape[0]
    where: Path = recording.path
    if options.rows is not None:
        where = data / _path(entry, options.rows, subject)
        table = read_rows(where, columns=("image_id",))
    elif "image_id" in recording.coordinates:
        table = pd.DataFrame({"image_id": recording.coordinates["image_id"].astype(str)})
        if "session" in recording.coordinates:
            table["session"] = recording.coordinates["session"].astype(str)
    elif n_rows == len(images):
        table = pd.DataFrame({"image_id": images})
    else:
        raise DatasetError(
            f"{where}: has {n_rows} rows, but there are {len(images)} images; name a table with "
            "the image_id of each row in the option `rows`"
        )
    if len(table) != n_rows:
        raise DatasetError(
            f"{recording.path}: has {n_rows} rows, but {where} names the images of {len(table)}"
        )
    image = pd.Index(images).get_indexer(pd.Index(table["image_id"]))
    if (image < 0).any():
        unknown = table["image_id"][image < 0].unique()
        raise DatasetError(
            f"{where}: {len(unknown)} image_id(s) are not in the table of images, e.g. "
            f"{unknown[0]!r}; it has {images[0]!r} … {images[-1]!r}"
        )
    absent = np.setdiff1d(np.arange(len(images)), image)
    if len(absent):
        raise DatasetError(
            f"{where}: {len(absent)} of {len(images)} images have no row, e.g. "
            f"{images[absent[0]]!r}; leave them out of the images, or give each subject a "
            "stimulus set of its own (no `stimuli` in the entry, `{subject}` in the path)"
        )
    if options.zscore_sessions and "session" not in table.columns:
        raise DatasetError(f"{where}: zscore_sessions needs the column `session`")
    session = table["session"] if "session" in table.columns else ""
    return pd.DataFrame({"image": image, "session": session})


def _average(
    recording: Recording, rows: pd.DataFrame, images: list[str], *, zscore: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Average presentations: (n_images, …) float32 and the ceilings from repeats."""
    image = rows["image"].to_numpy()
    average = np.empty((len(images), *recording.shape[1:]), dtype=np.float32)
    ceiling = np.empty(recording.shape[1:])
    holds_value = np.zeros(len(rows), dtype=bool)
    blocks = tqdm(recording.blocks(), desc=recording.path.name, unit="block", disable=None)
    for columns, values in blocks:
        holds_value |= np.isfinite(values).reshape(len(rows), -1).any(axis=1)
        if zscore:
            values = _zscore(values, rows["session"].to_numpy())
        average[..., columns], ceiling[..., columns] = average_presentations(
            values, image, len(images)
        )
    if not holds_value.all():
        row = int(np.argmin(holds_value))
        raise DatasetError(
            f"{recording.path}: {np.count_nonzero(~holds_value)} row(s) hold no finite value, e.g. "
            f"row {row} (image {images[image[row]]!r}); leave out presentations that were not "
            "measured, with their rows in the table"
        )
    return average, ceiling


def _zscore(values: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """Standardise within sessions; what is constant in one becomes NaN and is masked."""
    result = np.empty_like(values)
    for session in np.unique(sessions):
        own = sessions == session
        deviations = values[own] - values[own].mean(axis=0)
        scale = deviations.std(axis=0)
        result[own] = deviations / np.where(scale > 0, scale, np.nan)
    return result


def _n_repeats(rows: pd.DataFrame, n_images: int) -> np.ndarray:
    return np.bincount(rows["image"], minlength=n_images)


def _attributes(entry: DatasetEntry, options: Options, subject: str, **more: Any) -> dict[str, Any]:
    steps = [options.preprocessing]
    if options.zscore_sessions:
        steps.append("z-scored per session")
    steps.append("presentations of an image averaged")
    return describe(
        entry,
        subject,
        units="standard deviations of a session" if options.zscore_sessions else options.units,
        space=space_of(entry, options),
        preprocessing="; ".join(filter(None, steps)),
        **more,
    )


def _along_regions(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    stimuli: pd.DataFrame,
    data: Path,
    recording: Recording,
    rows: pd.DataFrame,
) -> xr.Dataset:
    targets, order = _regions(entry, options, subject, data, recording)
    outside = _outside(targets, order)
    if outside:
        log.info("%s: %s; they are in the maps alone", subject, outside)
    images = list(stimuli["image_id"])
    average, ceiling = _average(recording, rows, images, zscore=options.zscore_sessions)
    given = targets.pop("noise_ceiling").to_numpy(dtype=float)
    attrs = _attributes(
        entry,
        options,
        subject,
        roi_order=order,
        early_rois=options.early_rois,
        high_rois=options.high_rois,
    )
    if options.reference_roi is not None:
        placed = targets.dropna(subset=["x", "y", "z"])
        attrs["roi_distance"] = region_distances(placed, options.reference_roi)
    return target_responses(
        average,
        targets,
        stimuli=stimuli,
        n_repeats=_n_repeats(rows, len(images)),
        noise_ceiling=np.where(np.isnan(given), ceiling, given),
        attrs=attrs,
    )


def _check_regions(
    options: Options, order: Sequence[str], targets: pd.DataFrame, *, where: str
) -> None:
    known = set(targets["roi"]) - {""}
    if not order:
        raise DatasetError(f"{where}: no target lies in a region; fill the column `roi`")
    for key in ("roi_order", "early_rois", "high_rois"):
        unknown = sorted(set(getattr(options, key)) - known)
        if unknown:
            raise DatasetError(
                f"{where}: the option {key} names {', '.join(unknown)}, which no target has; they "
                f"have {', '.join(sorted(known))}"
            )
    if options.reference_roi is not None and options.reference_roi not in known:
        raise DatasetError(f"{where}: no target lies in reference_roi: {options.reference_roi}")


def _along_time(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    stimuli: pd.DataFrame,
    data: Path,
    recording: Recording,
    rows: pd.DataFrame,
) -> xr.Dataset:
    sensors = _sensors(entry, options, subject, data, recording)
    if options.times is None:
        time = read_times(recording)
    else:
        time = options.times.first + np.arange(recording.shape[1]) / options.times.rate
    if options.onset_s:
        # Tables and figures have times from onset; to the microsecond, as sums of floats are not.
        time = np.round(time - options.onset_s, 6)
    images = list(stimuli["image_id"])
    average, ceiling = _average(recording, rows, images, zscore=options.zscore_sessions)
    return sensor_responses(
        average,
        sensors,
        time=time,
        stimuli=stimuli,
        n_repeats=_n_repeats(rows, len(images)),
        noise_ceiling=ceiling,
        attrs=_attributes(entry, options, subject),
    )


class Adapter(FolderAdapter):
    """Images and arrays of responses of one's own."""

    image_options = ImageOptions

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the table of the images.

        Raises
        ------
        DatasetError
            There are no images, one is missing or cannot be read, an id occurs twice, or a label is
            no whole number.
        """
        images = _images(entry, options, name, data)
        rows = []
        for image in tqdm(
            images.itertuples(),
            total=len(images),
            desc=f"images of {name}",
            unit="image",
            disable=None,
        ):
            rows.append(
                file_stimulus(
                    data / image.file,
                    image_id=image.image_id,
                    group=image.group,
                    background=options.background,
                    label=image.label,
                    caption=image.caption,
                )
            )
        return stimuli_table(rows, name=name)

    def has_captions(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> bool:
        """Tell whether the table of a stimulus set has captions; of a missing one `check` tells."""
        if options.table is None:
            return False
        path = data / _path(entry, options.table, name)
        return not path.is_file() or CAPTION in read_rows(path, columns=()).columns

    def responses(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> xr.Dataset:
        """Read one subject: presentations averaged, ceilings from repeats or as given.

        Raises
        ------
        DatasetError
            A file is missing or of another shape than its tables, images and rows do not match, a
            row holds no value, or a region is unknown.
        """
        recording = _open(entry, options, subject, data)
        rows = _rows(entry, options, subject, data, recording, list(stimuli["image_id"]))
        if entry.axis == TIME:
            return _along_time(entry, options, subject, stimuli, data, recording, rows)
        return _along_regions(entry, options, subject, stimuli, data, recording, rows)

    def problems(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List missing files, and options that do not fit the modality."""
        where = f"data set {entry.name!r}"
        problems = []
        if entry.axis is not None:
            problems += [f"{where}: {fault}" for fault in _option_faults(entry, options)]
        problems += _region_problems(entry, options, data)
        for subject, path in _needed(entry, options, data):
            if not path.exists():
                problems.append(
                    f"{where}: {path} is missing" + (f" ({subject})" if subject else "")
                )
        for name in _stimulus_sets(entry):
            pattern = _path(entry, options.images or "", name)
            if pattern and not any(matching_files(data, pattern)):
                problems.append(f"{where}: no file matches {data / pattern}")
        return problems

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List tables, images and recordings; of recordings the shape is read."""
        items = []
        for name in _stimulus_sets(entry):
            subject = name if entry.stimuli is None else ""
            pattern = str(data / _path(entry, options.images or options.table or "", name))
            try:
                files = _images(entry, options, name, data)["file"]
            except DatasetError as error:
                state: State = "missing"
                if options.table is not None:
                    state = "unreadable" if Path(pattern).is_file() else "missing"
                    pattern = f"images of {pattern}"
                items.append(Item(subject=subject, path=pattern, state=state, detail=str(error)))
                continue
            pattern = pattern if options.table is None else f"images of {pattern}"
            paths = [data / file for file in files]
            items.append(inspect_files(paths, pattern=pattern, subject=subject, read=look_at_image))
        recordings = {
            path
            for subject in entry.subjects
            for path in _response_paths(entry, options, subject).values()
        }
        for subject, path in _needed(entry, options, data):
            is_recording = path.relative_to(data).as_posix() in recordings
            if path.is_dir() and is_recording:
                items.append(_zarr_item(entry, path, subject))
                continue
            items.append(
                inspect_file(
                    path,
                    subject=subject,
                    read=_reader_of(entry, path) if is_recording else _look_at,
                )
            )
        for subject in entry.subjects if entry.axis is not None else ():
            own = [item for item in items if item.subject in ("", subject)]
            # Files that cannot be read are told above; whether they fit is then not known.
            if all(item.state == "there" for item in own):
                found = _fits(entry, options, subject, data, own)
                # Of a file that several share each subject has a line of its own.
                items = [
                    item for item in items if (item.subject, item.path) != (subject, found.path)
                ]
                items.append(found)
        return items

    def expected_size(self, entry: DatasetEntry, options: Options, data: Path) -> ExpectedSize:
        """Tell the size of a subject, the largest where they differ, from tables and headers.

        Raises
        ------
        DatasetError
            A table or the header of a recording is missing or unreadable, or they do not fit.
        """
        n_images, n_targets, n_units = [], [], []
        for subject in entry.subjects:
            recording = _open(entry, options, subject, data)
            n_images.append(len(_images(entry, options, entry.stimuli_of(subject), data)))
            n_targets.append(int(np.prod(recording.shape[1:])))
            if entry.axis == TIME:
                n_units.append(recording.shape[1])
            else:
                n_units.append(len(_regions(entry, options, subject, data, recording)[1]))
        return ExpectedSize(
            n_images=max(n_images), n_targets=max(n_targets), n_units=max(n_units, default=1)
        )

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in."""
        return space_of(entry, options)
