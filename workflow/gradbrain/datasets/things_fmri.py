"""Adapter ``things_fmri``: fMRI of three people who saw 8,740 object images (THINGS-fMRI).

Reads the single-trial responses in table format and the brain masks, below ``data/<name>``:

``derivatives/betas_csv/sub-<nn>_ResponseData.h5``
    a pandas table in HDF5 (fixed format, key ``ResponseData``): a row per voxel, a column per trial
    (``block0_values``, float64) and ``voxel_id`` (``block1_values``). It is read with h5py, since
    pandas would hold all of it: 16.6 GB for 211,339 voxels and 9,840 trials.
``derivatives/betas_csv/sub-<nn>_VoxelMetadata.csv``
    voxel index, noise ceilings in percent, and a column of 0 and 1 per region.
``derivatives/betas_csv/sub-<nn>_StimulusMetadata.csv``
    a row per trial: ``trial_type`` (train, test), ``session``, ``run``, ``trial_id``, ``stimulus``,
    ``concept``. Catch trials are not among them.
``derivatives/brainmasks/sub-<nn>_space-T1w_brainmask.nii.gz``
    places the voxels; without it they have no positions, and no distances from V1.

8,640 images were shown once, the 100 test images in each of 12 sessions. The subject
``<anything>sub-02`` is subject 02.

References
----------
Hebart et al. 2023, eLife 12: e82580; https://doi.org/10.25452/figshare.plus.20492835;
https://github.com/ViCCo-Group/THINGS-data, ``MRI/notebooks/fmri_usage.ipynb``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator
from tqdm import tqdm

from gradbrain.config.regions import check_named_regions
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import name_ending
from gradbrain.datasets.errors import DatasetError, reading
from gradbrain.datasets.inventory import Item, inspect_file
from gradbrain.datasets.nifti_files import read_nifti
from gradbrain.datasets.noise_ceiling import ceiling_of_average, signal_to_noise_of_ceiling
from gradbrain.datasets.responses import describe, region_distances, target_responses
from gradbrain.datasets.things_images import (
    ThingsAdapter,
    ThingsImageOptions,
    image_id,
    inspect_images,
    read_trial_table,
)
from gradbrain.vocabulary.roles import ROI

if TYPE_CHECKING:
    import h5py

log = logging.getLogger(__name__)

KEY = "ResponseData"
#: Each subject's own anatomy.
SPACE = "T1w"
TRIAL_COLUMNS = ("trial_type", "session", "trial_id", "stimulus")
TRIAL_TYPES = ("train", "test")
VOXEL_COLUMNS = ("voxel_id", "voxel_x", "voxel_y", "voxel_z", "nc_singletrial")
REGIONS = {
    "V1": ("V1",),
    "V2": ("V2",),
    "V3": ("V3",),
    "hV4": ("hV4",),
    "LOC": ("lLOC", "rLOC"),
    "OFA": ("lOFA", "rOFA"),
    "FFA": ("lFFA", "rFFA"),
    "EBA": ("lEBA", "rEBA"),
    "PPA": ("lPPA", "rPPA"),
}
#: Rows of voxels read at once, and the longest stretch of unwanted ones that is read along.
BLOCK_ROWS = 2048
GAP_ROWS = 16
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {
    "ceilings": "published, of single trials",
    "unseen": "concepts",
    "database": "THINGS",
}


class ImageOptions(ThingsImageOptions):
    """Options that the images follow from."""

    betas: str = Field("derivatives/betas_csv", description="Folder of the tables, below data/.")


class Options(ImageOptions):
    """Options of THINGS-fMRI."""

    masks: str = Field("derivatives/brainmasks", description="Folder of the brain masks.")
    regions: dict[str, tuple[str, ...]] = Field(
        REGIONS,
        min_length=1,
        description="Region -> its columns in VoxelMetadata.csv, from low to high; a voxel in "
        "several belongs to the first.",
    )
    early_rois: tuple[str, ...] = Field(("V1", "V2", "V3"), description="Early visual regions.")
    high_rois: tuple[str, ...] = Field(
        ("LOC", "OFA", "FFA", "EBA", "PPA"), description="Higher visual regions."
    )
    distances_from: str = Field("V1", description="Region that distances are measured from.")
    voxels: Literal["regions", "all"] = Field(
        "regions", description="Voxels kept: those of the regions, or the others as well."
    )
    standardise: Literal["none", "session"] = Field(
        "none", description="z-score each voxel within its session, before repeats are averaged."
    )

    @model_validator(mode="after")
    def _regions_are_known(self) -> Options:
        check_named_regions(self, "early_rois", "high_rois")
        return self


def subject_number(subject: str) -> str:
    """Number of a subject, two digits: that at the end of its name, after ``sub-``.

    Raises
    ------
    DatasetError
        The name has no such ending.
    """
    return name_ending(
        subject, r"sub-(\d\d)", expected="sub- and two digits, such as things_fmri-sub-01"
    )


def trial_file(folder: Path, number: str) -> Path:
    """Path of the table of a subject's trials."""
    return folder / f"sub-{number}_StimulusMetadata.csv"


def read_trials(path: Path) -> pd.DataFrame:
    """Read the table of a subject's trials.

    Raises
    ------
    DatasetError
        It is missing or unreadable, lacks a column, or trials are not numbered 0, 1, 2 …
    """
    table = read_trial_table(
        path, TRIAL_COLUMNS, numbers=("session", "trial_id"), kinds=TRIAL_TYPES
    )
    if list(table["trial_id"]) != list(range(len(table))):
        raise DatasetError(
            f"{path}: trial_id must count the rows from 0, since columns of the responses follow it"
        )
    return table


def read_voxels(folder: Path, number: str, options: Options) -> pd.DataFrame:
    """Read the table of a subject's voxels and name the region of each.

    Returns
    -------
    DataFrame
        The published columns and ``roi``, ``""`` outside all regions.

    Raises
    ------
    DatasetError
        It is missing or unreadable, lacks a column, or a region is empty.
    """
    path = folder / f"sub-{number}_VoxelMetadata.csv"
    columns = [column for names in options.regions.values() for column in names]
    wanted = (*VOXEL_COLUMNS, *columns)
    table = read_trial_table(path, wanted, numbers=wanted)
    index = table[["voxel_id", "voxel_x", "voxel_y", "voxel_z"]].to_numpy(dtype=np.float64)
    if not np.array_equal(index, np.abs(np.round(index))):
        raise DatasetError(
            f"{path}: voxel_id, voxel_x, voxel_y, voxel_z: expected whole numbers from 0; get it "
            "again"
        )
    for name in columns:
        other = ~table[name].isin([0, 1])
        if other.any():
            row = int(np.flatnonzero(other)[0])
            raise DatasetError(
                f"{path}: line {row + 2}: column {name} holds {table[name].iloc[row]}, expected 1 "
                "where the voxel lies in the region and 0 elsewhere; get it again"
            )
    roi = np.full(len(table), "", dtype=object)
    for region, names in options.regions.items():
        inside = (table[list(names)] == 1).any(axis=1).to_numpy() & (roi == "")
        if not inside.any():
            raise DatasetError(
                f"{path}: no voxel lies in region {region!r} ({', '.join(names)}) and in none "
                "before it; correct the option `regions`"
            )
        roi[inside] = region
    return table.assign(roi=roi)


def average_trials(
    path: Path,
    voxels: pd.DataFrame,
    image: np.ndarray,
    *,
    n_images: int,
    session: np.ndarray | None,
    n_voxels: int,
) -> np.ndarray:
    """Read the trials of some voxels, a stretch of them at a time, and average them per image.

    Parameters
    ----------
    path
        The ``ResponseData.h5`` file.
    voxels
        Rows of the table of voxels, whose index is the row in the file; sorted.
    image
        Image of each trial (n_trials,); -1 for trials that are not averaged.
    n_images
        Images, numbered from 0; each must be in some trial.
    session
        Sessions (n_trials,) within which voxels are z-scored, over all their trials; None: they are
        not z-scored.
    n_voxels
        Rows that the file must have.

    Returns
    -------
    ndarray of float32, shape (n_images, n_kept_voxels)

    Raises
    ------
    DatasetError
        The file cannot be read, is of other trials, or its voxels are not those of the table.
    """
    import h5py

    rows = voxels.index.to_numpy()
    average = np.empty((n_images, len(rows)), dtype=np.float32)
    used = np.flatnonzero(image >= 0)
    order = used[np.argsort(image[used], kind="stable")]
    count = np.bincount(image[used], minlength=n_images)
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    done = 0
    with (
        reading(path, "as a table of responses"),
        h5py.File(path) as file,
        tqdm(total=len(rows), desc=path.name, unit="voxel", disable=None) as bar,
    ):
        values, ids = _find_blocks(path, file, (n_voxels, len(image)))
        if not np.array_equal(ids[rows], voxels["voxel_id"]):
            raise DatasetError(
                f"{path}: its voxel_id are not those of VoxelMetadata.csv; both must be of the "
                "same subject"
            )
        for first, last in stretches(rows):
            own = rows[(rows >= first) & (rows < last)]
            block = values[first:last][own - first].astype(np.float64)
            if session is not None:
                block = _within_sessions(block, session)
            sums = np.add.reduceat(block[:, order], starts, axis=1)
            average[:, done : done + len(own)] = (sums / count).T
            done += len(own)
            bar.update(len(own))
    return average


def stretches(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Split sorted rows into stretches that are read at once; small gaps are read along.

    Yields
    ------
    tuple of int
        First row and the row behind the last.
    """
    first = 0
    for place in range(1, len(rows) + 1):
        if (
            place == len(rows)
            or rows[place] - rows[place - 1] > GAP_ROWS
            or rows[place] - rows[first] >= BLOCK_ROWS
        ):
            yield int(rows[first]), int(rows[place - 1]) + 1
            first = place


def mask_place(path: Path, voxels: pd.DataFrame) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """Read where the voxels lie: the affine of the brain mask, and its shape.

    Returns
    -------
    tuple or None
        Affine from voxel index to mm, shape (4, 4), and the volume's shape; None without a mask.

    Raises
    ------
    DatasetError
        The mask cannot be read, or a voxel lies outside of it.
    """
    if not path.is_file():
        return None
    mask = read_nifti(path)
    inside = np.asarray(mask.dataobj) > 0
    if inside.ndim != 3:
        raise DatasetError(f"{path}: has shape {inside.shape}, expected a mask of (x, y, z)")
    index = voxels[["voxel_x", "voxel_y", "voxel_z"]].to_numpy(dtype=int)
    within = np.all((index >= 0) & (index < inside.shape), axis=1)
    within = within & inside[tuple(np.where(within[:, None], index, 0).T)]
    if not within.all():
        raise DatasetError(
            f"{path}: {int((~within).sum())} of {len(index)} voxels of VoxelMetadata.csv lie "
            "outside the mask; both must be of the same subject"
        )
    return mask.affine, inside.shape


def mask_file(masks: Path, number: str) -> Path:
    """Path of a subject's brain mask."""
    return masks / f"sub-{number}_space-T1w_brainmask.nii.gz"


def _describe_responses(path: Path) -> str:
    import h5py

    with h5py.File(path) as file:
        values, _ = _find_blocks(path, file, None)
        return f"{values.shape[0]} voxels × {values.shape[1]} trials"


def _find_blocks(
    path: Path, file: h5py.File, shape: tuple[int, int] | None
) -> tuple[h5py.Dataset, np.ndarray]:
    """Find the block of trials and the column ``voxel_id`` among the blocks of a pandas table."""
    if KEY not in file:
        raise DatasetError(f"{path}: holds {', '.join(file) or 'nothing'}, expected {KEY!r}")
    group = file[KEY]
    blocks = [
        group[name] for name in sorted(group) if re.fullmatch(r"block\d+_values", name) is not None
    ]
    values = [block for block in blocks if block.dtype.kind == "f"]
    ids = [block for block in blocks if block.dtype.kind in "iu" and block.shape[1:] == (1,)]
    if len(values) != 1 or len(ids) != 1:
        found = ", ".join(f"{block.name} {block.shape} {block.dtype}" for block in blocks)
        raise DatasetError(
            f"{path}: expected one block of trials and one column voxel_id, found {found or 'none'}"
        )
    if shape is not None and values[0].shape != shape:
        raise DatasetError(
            f"{path}: holds {values[0].shape[0]} voxels × {values[0].shape[1]} trials, the tables "
            f"beside it {shape[0]} × {shape[1]}; they must be of the same subject"
        )
    return values[0], ids[0][:, 0]


def _within_sessions(block: np.ndarray, session: np.ndarray) -> np.ndarray:
    """Give each row mean 0 and variance 1 within each session."""
    scored = np.empty_like(block)
    for own in np.unique(session):
        part = block[:, session == own]
        deviation = part.std(axis=1, keepdims=True)
        part = part - part.mean(axis=1, keepdims=True)
        scored[:, session == own] = part / np.where(deviation > 0, deviation, 1)
    return scored


def _targets(
    voxels: pd.DataFrame, masks: Path, number: str
) -> tuple[pd.DataFrame, tuple[np.ndarray, tuple[int, ...]] | None]:
    """Place the voxels in the subject's space; without a mask they have no positions."""
    path = mask_file(masks, number)
    place = mask_place(path, voxels)
    if place is None:
        log.warning("%s: there is no such mask; voxels have no positions", path)
        position = np.full((len(voxels), 3), np.nan)
        hemisphere = np.full(len(voxels), "")
    else:
        index = voxels[["voxel_x", "voxel_y", "voxel_z"]].to_numpy(dtype=np.float64)
        position = index @ place[0][:3, :3].T + place[0][:3, 3]
        hemisphere = np.where(position[:, 0] < 0, "left", "right")
    return (
        pd.DataFrame(
            {
                "roi": voxels["roi"].to_numpy(dtype=str),
                "hemisphere": hemisphere,
                "x": position[:, 0],
                "y": position[:, 1],
                "z": position[:, 2],
                "vertex": voxels["voxel_id"].to_numpy(dtype=np.int64),
            }
        ),
        place,
    )


def _attributes(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    targets: pd.DataFrame,
    place: tuple[np.ndarray, tuple[int, ...]] | None,
) -> dict:
    attrs = describe(
        entry,
        subject,
        units="beta" if options.standardise == "none" else "standard deviations of the session",
        space=SPACE,
        preprocessing="published single-trial betas"
        + ("; z-scored per session" if options.standardise == "session" else "")
        + "; repeats averaged",
        roi_order=tuple(options.regions),
        early_rois=options.early_rois,
        high_rois=options.high_rois,
    )
    if place is None:
        return attrs
    attrs |= {"volume_affine": place[0].tolist(), "volume_shape": list(place[1])}
    if options.distances_from in options.regions:
        attrs["roi_distance"] = region_distances(targets, options.distances_from)
    return attrs


class Adapter(ThingsAdapter):
    """THINGS-fMRI."""

    image_options = ImageOptions
    axis = ROI

    def table_of(self, options: ImageOptions, subject: str, data: Path) -> Path:
        """Path of the table of a subject's trials."""
        return trial_file(data / options.betas, subject_number(subject))

    def images_in(self, table: Path) -> set[str]:
        """Images of all trials."""
        return set(read_trials(table)["stimulus"])

    def subject_problems(
        self, entry: DatasetEntry, options: Options, subject: str, data: Path
    ) -> list[str]:
        """List missing files of a subject."""
        number = subject_number(subject)
        files = [
            data / options.betas / f"sub-{number}_{name}"
            for name in (f"{KEY}.h5", "VoxelMetadata.csv", "StimulusMetadata.csv")
        ]
        return self.missing_files(entry, files)

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
        trials, which most of them are. It follows from the published ``nc_singletrial``.

        Raises
        ------
        DatasetError
            A file is unreadable, tables disagree, or an image of the stimuli is in no trial.
        """
        number = subject_number(subject)
        folder = data / options.betas
        trials = read_trials(trial_file(folder, number))
        voxels = read_voxels(folder, number, options)
        image = pd.Index(stimuli["image_id"]).get_indexer(trials["stimulus"].map(image_id))
        n_repeats = np.bincount(image[image >= 0], minlength=len(stimuli))
        if not n_repeats.all():
            raise DatasetError(
                f"{folder}: {int((n_repeats == 0).sum())} of {len(stimuli)} images of the stimulus "
                f"table are in no trial of sub-{number}; make the stimulus table again"
            )
        n_voxels = len(voxels)
        if options.voxels == "regions":
            voxels = voxels[voxels["roi"] != ""]
        response = average_trials(
            folder / f"sub-{number}_{KEY}.h5",
            voxels,
            image,
            n_images=len(stimuli),
            session=trials["session"].to_numpy() if options.standardise == "session" else None,
            n_voxels=n_voxels,
        )
        targets, place = _targets(voxels, data / options.masks, number)
        attrs = _attributes(entry, options, subject, targets, place)
        repeated = (trials["trial_type"] == "test").to_numpy() & (image >= 0)
        snr = signal_to_noise_of_ceiling(voxels["nc_singletrial"].to_numpy(dtype=np.float64) / 100)
        return target_responses(
            response,
            targets,
            stimuli=stimuli,
            n_repeats=n_repeats,
            noise_ceiling=ceiling_of_average(snr, n_repeats),
            attrs=attrs,
            test_image=np.isin(np.arange(len(stimuli)), image[repeated]),
        )

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List images, tables, responses and masks; of responses the header is read."""
        folder = data / options.betas
        items: list[Item] = []
        shown: set[str] = set()
        for subject in entry.subjects:
            number = subject_number(subject)
            table = inspect_file(trial_file(folder, number), subject=subject)
            items.append(table)
            if table.state == "there":
                shown |= self.images_in(trial_file(folder, number))
            items.append(inspect_file(folder / f"sub-{number}_VoxelMetadata.csv", subject=subject))
            path = folder / f"sub-{number}_{KEY}.h5"
            items.append(inspect_file(path, subject=subject, read=_describe_responses))
            mask = mask_file(data / options.masks, number)
            items.append(inspect_file(mask, subject=subject, required=False))
        return [inspect_images(shown, folder=data / options.images), *items]

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in: each subject's own anatomy."""
        return SPACE
