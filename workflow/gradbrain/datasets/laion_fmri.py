"""Adapter ``laion_fmri``: 7T fMRI of five people who saw some 25,000 images (LAION-fMRI).

Each person saw 5,833 photographs and 371 pictures of other kinds (Gabors, illusions, shapes, …),
1,492 of these images were seen by all. Below ``data/<name>``:

``derivatives/glmsingle-tedana/sub-<nn>/ses-<nn>/func/``
    ``sub-<nn>_ses-<nn>_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz``:
    a volume per trial; ``…_task-images_desc-SingletrialBetas_trials.tsv``: what each one showed.
``derivatives/glmsingle-tedana/sub-<nn>/``
    ``…desc-meanR2gt15mask_mask.nii.gz`` or, without it, where
    ``…stat-rsquare_desc-R2mean_statmap.nii.gz`` is above 0: the voxels that there are;
    ``…desc-Noiseceiling4rep_statmap.nii.gz``: percent.
``derivatives/rois/sub-<nn>/<kind>/…res-1pt8_label-<region>_mask.nii.gz``
    or, in earlier releases, ``derivatives/atlases/sub-<nn>/rois/<region>.nii.gz``.
``stimuli/images/<label>``
    The images, by their names in the tables of trials.
``splits/{shared,sub-<nn>}/<split>.json``
    The folder ``laion_fmri/splits/data`` of the data set's package: folds of a study (`folds`).

The sessions ses-31 to ses-34 are held out by the authors and not public.

References
----------
https://github.com/ViCCo-Group/LAION-fMRI (Hebart lab); GLMsingle: Prince et al. 2022, eLife
11:e77599.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, field_validator, model_validator
from tqdm import tqdm

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.regions import check_named_regions
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import FolderAdapter, name_ending
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.file_names import natural_key
from gradbrain.datasets.fold_files import folds_of_splits, unique
from gradbrain.datasets.images import look_at_image
from gradbrain.datasets.inventory import Item, inspect_file, inspect_files
from gradbrain.datasets.locators import Background
from gradbrain.datasets.noise_ceiling import ceiling_of_average
from gradbrain.datasets.responses import describe, region_distances, target_responses
from gradbrain.datasets.stimuli import file_stimulus, stimuli_table
from gradbrain.datasets.things_images import join_twins
from gradbrain.datasets.volumes import Volume, read_volume, read_voxels, volume_shape
from gradbrain.vocabulary.roles import ROI

HELD_OUT = ("ses-31", "ses-32", "ses-33", "ses-34")
SESSION = re.compile(r"ses-\d{2}")
BETAS = "derivatives/glmsingle-tedana"
ROIS, EARLIER_ROIS = "derivatives/rois", "derivatives/atlases"
TRIAL_COLUMNS = ("beta_index", "label")
#: Split -> files that are its folds.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    **{name: tuple(f"{name}_{number}" for number in range(5)) for name in ("cluster_k5", "random")},
    **{name: (name,) for name in ("tau", "ood")},
}
#: Splits of the data set that a study may name under `folds`.
SPLITS = ("cluster_k5", "random", "tau", "ood")
#: Middle grey, which the experiment showed transparent pixels on.
GREY: Background = (128, 128, 128)
#: Map of noise ceilings -> presentations averaged.
CEILINGS: Mapping[str, int] = {"Noiseceiling4rep": 4, "Noiseceiling12rep": 12}
#: Region that all voxels of the mask are, where no region is named.
WHOLE = "mask"
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {
    "ceilings": "published map, or repeats",
    "unseen": "clusters of images (`cluster_k5`), pictures of other kinds (`ood`)",
    "database": "LAION",
}
OBTAIN = (
    "ask for the images at https://laion-fmri.hebartlab.com and unpack them there, a file for each "
    "label"
)


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    sessions: Literal["all"] | tuple[str, ...] = Field(
        "all", description="Sessions taken, e.g. [ses-01, ses-02]; all that are there."
    )
    images: str = Field("stimuli/images", description="Folder of the images, below data/.")
    missing_images: Literal["error", "drop"] = Field(
        "error", description="Images without file: an error, or left out with their trials."
    )
    background: Background = GREY


class Options(ImageOptions):
    """Options of LAION-fMRI."""

    splits: str = Field("splits", description="Folder of the package's splits, below data/.")
    regions: dict[str, tuple[str, ...]] = Field(
        {},
        description="Region -> names of its masks, from low to high; of several those that the "
        "person has. A voxel in several regions belongs to the first. None: the mask is one "
        "region.",
    )
    early_rois: tuple[str, ...] = Field((), description="Early visual regions.")
    high_rois: tuple[str, ...] = Field((), description="Higher visual regions.")
    reference_roi: str | None = Field(None, description="Region that distances start from, V1.")
    voxels: Literal["regions", "mask"] = Field(
        "regions", description="Voxels kept: those of the regions, or all of the mask."
    )
    zscore: bool = Field(
        True, description="z-score each voxel within its session, before repeats are averaged."
    )
    noise_ceiling: Literal["Noiseceiling4rep", "Noiseceiling12rep", "repeats"] = Field(
        "Noiseceiling4rep",
        description="Published map that noise ceilings follow from, or `repeats`: the trials.",
    )

    @field_validator("sessions")
    @classmethod
    def _sessions_are_public(cls, sessions: Any) -> Any:
        if sessions == "all":
            return sessions
        held_out = [name for name in sessions if name in HELD_OUT]
        if held_out:
            raise ValueError(
                f"{', '.join(held_out)} cannot be had: the authors hold out {HELD_OUT[0]} to "
                f"{HELD_OUT[-1]}; leave them out"
            )
        odd = [name for name in sessions if SESSION.fullmatch(name) is None]
        if odd or len(set(sessions)) < len(sessions) or not sessions:
            raise ValueError(
                f"{list(sessions)}: expected sessions such as ses-01, each once, or `all`"
            )
        return sessions

    @model_validator(mode="after")
    def _regions_are_known(self) -> Options:
        check_named_regions(self, "early_rois", "high_rois", "reference_roi")
        return self


def person_of(subject: str) -> str:
    """Folder of a person: ``sub-03`` for a subject whose name ends so.

    Raises
    ------
    DatasetError
        The name has no such ending.
    """
    return name_ending(
        subject, r"(sub-\d{2})", expected="sub- and two digits, such as laion_fmri-sub-01"
    )


def betas_file(data: Path, person: str, session: str) -> Path:
    """Path of the betas of a session."""
    return _session_file(
        data, person, session, "space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
    )


def trials_file(data: Path, person: str, session: str) -> Path:
    """Path of the table of a session's trials."""
    return _session_file(data, person, session, "desc-SingletrialBetas_trials.tsv")


def _session_file(data: Path, person: str, session: str, name: str) -> Path:
    folder = data / BETAS / person / session / "func"
    return folder / f"{person}_{session}_task-images_{name}"


def _person_file(data: Path, person: str, name: str) -> Path:
    return data / BETAS / person / f"{person}_task-images_space-T1w_{name}.nii.gz"


def sessions_of(data: Path, person: str, options: ImageOptions) -> list[str]:
    """List the sessions of a person that are taken.

    Raises
    ------
    DatasetError
        There are none.
    """
    if options.sessions != "all":
        return list(options.sessions)
    folder = data / BETAS / person
    found = sorted(path.name for path in folder.glob("ses-*") if SESSION.fullmatch(path.name))
    sessions = [name for name in found if name not in HELD_OUT]
    if not sessions:
        raise DatasetError(f"{folder}: holds no session (ses-01, …) that can be used")
    return sessions


def read_trials(data: Path, person: str, session: str) -> list[str]:
    """Read what each volume of a session showed.

    Returns
    -------
    list of str
        Label of the image of every volume, in order.

    Raises
    ------
    DatasetError
        The table is missing or unreadable, lacks a column, does not number volumes from 0, or has
        an empty label.
    """
    path = trials_file(data, person, session)
    try:
        table = pd.read_csv(path, sep="\t", dtype={"label": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); get it again") from error
    missing = [name for name in TRIAL_COLUMNS if name not in table.columns]
    if missing:
        raise DatasetError(f"{path}: lacks the column(s) {', '.join(missing)}")
    index = pd.to_numeric(table["beta_index"], errors="coerce")
    table = table.assign(beta_index=index).sort_values("beta_index", kind="stable")
    if list(table["beta_index"]) != list(range(len(table))) or table.empty:
        raise DatasetError(
            f"{path}: beta_index must number the {len(table)} trials from 0, each once: it says "
            "which volume is which trial"
        )
    labels = [str(label).strip() for label in table["label"]]
    if not all(labels):
        raise DatasetError(f"{path}: trial {labels.index('')} has no label")
    return labels


def average_sessions(
    data: Path,
    person: str,
    rows: Sequence[tuple[str, np.ndarray]],
    voxels: np.ndarray,
    mask: Volume,
    *,
    n_images: int,
    zscore: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average the trials of each image over sessions; each file is gone through once.

    Parameters
    ----------
    data, person
        Where the sessions are.
    rows
        Sessions, and for each the row of the image that every volume showed; -1: not wanted.
    voxels
        Flat indices of the voxels that are kept (n_voxels,).
    mask
        Whose grid the volumes must have.
    n_images
        Images, each of which some trial must show.
    zscore
        Standardise each voxel within each session, over all its trials.

    Returns
    -------
    average : ndarray of float32, shape (n_images, n_voxels)
    n_repeats : ndarray of int, shape (n_images,)
    snr : ndarray of float64, shape (n_voxels,)
        Variance of the signal over that of a trial's noise, as in
        :func:`gradbrain.datasets.noise_ceiling.signal_to_noise`; NaN without repeats.

    Raises
    ------
    DatasetError
        Volumes are not as many as trials, or of another grid; an image is in no trial.
    """
    total = np.zeros((n_images, len(voxels)), dtype=np.float32)
    squares = np.zeros(len(voxels))
    n_repeats = np.zeros(n_images, dtype=np.int64)
    for session, image in tqdm(rows, desc=person, unit="session", disable=None):
        path = betas_file(data, person, session)
        betas = read_voxels(path, voxels, like=mask, n_volumes=len(image))
        if zscore:
            standardise(betas)
        for trial, row in enumerate(image):
            if row >= 0:
                total[row] += betas[trial]
        wanted = image >= 0
        used = betas if wanted.all() else betas[wanted]
        squares += np.einsum("ij,ij->j", used, used, dtype=np.float64)
        n_repeats += np.bincount(image[wanted], minlength=n_images)
    if not n_repeats.all():
        raise DatasetError(
            f"{person}: {int((n_repeats == 0).sum())} of {n_images} images of the stimulus table "
            "are in no trial; make the stimulus table again"
        )
    average = total / n_repeats[:, None].astype(np.float32)
    return average, n_repeats, _snr(average, squares, n_repeats)


def _snr(average: np.ndarray, squares: np.ndarray, n_repeats: np.ndarray) -> np.ndarray:
    """Signal-to-noise ratio from averages and the sum of the squares of all trials."""
    n_images, spare = len(n_repeats), int(n_repeats.sum() - len(n_repeats))
    if n_images < 2 or spare < 1:
        return np.full(len(squares), np.nan)
    between = np.einsum("ij,ij,i->j", average, average, n_repeats, dtype=np.float64)
    noise = np.clip(squares - between, 0, None) / spare
    mean = average.mean(axis=0, dtype=np.float64)
    deviation = np.einsum("ij,ij->j", average, average, dtype=np.float64) - n_images * mean**2
    signal = np.clip(deviation / (n_images - 1) - noise * np.mean(1 / n_repeats), 0, None)
    return np.divide(signal, noise, out=np.full_like(noise, np.nan), where=noise > 0)


def standardise(betas: np.ndarray) -> None:
    """Bring each voxel to mean 0 and standard deviation 1 over trials, in place.

    Parameters
    ----------
    betas
        float32 (n_trials, n_voxels); voxels that do not vary become NaN, as those with NaN are.
    """
    betas -= betas.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.einsum("ij,ij->j", betas, betas, dtype=np.float64) / len(betas))
    with np.errstate(divide="ignore"):
        betas *= np.where(deviation > 0, 1 / deviation, np.nan).astype(np.float32)


def read_mask(data: Path, person: str) -> Volume:
    """Read which voxels there are: the published mask, else where the model explains anything.

    Raises
    ------
    DatasetError
        Neither file is there, or it is empty.
    """
    mask = _person_file(data, person, "desc-meanR2gt15mask_mask")
    explained = _person_file(data, person, "stat-rsquare_desc-R2mean_statmap")
    path = mask if mask.is_file() or not explained.is_file() else explained
    volume = read_volume(path)
    inside = np.nan_to_num(volume.values) > 0
    if not inside.any():
        raise DatasetError(f"{path}: no voxel is above 0")
    return Volume(inside, volume.affine, path)


def region_files(data: Path, person: str) -> dict[str, Path]:
    """Masks of a person's regions: name -> file; names without hyphens, as the package has them."""
    head, tail = f"{person}_space-T1w_res-1pt8_label-", "_mask.nii.gz"
    found = {
        path.name.removeprefix(head).removesuffix(tail).replace("-", ""): path
        for path in sorted((data / ROIS / person).glob(f"*/{head}*{tail}"))
    }
    earlier = sorted((data / EARLIER_ROIS / person / "rois").glob("*.nii.gz"))
    return found or {path.name.removesuffix(".nii.gz"): path for path in earlier}


def read_regions(data: Path, person: str, options: Options, mask: Volume) -> np.ndarray:
    """Name the region of each voxel.

    Returns
    -------
    ndarray of str, shape of the volume
        ``""`` outside all regions.

    Raises
    ------
    DatasetError
        A region has no mask, or no voxel of its own.
    """
    roi = np.full(mask.values.shape, "", dtype=object)
    if not options.regions:
        roi[mask.values] = WHOLE
        return roi.astype(str)
    files = region_files(data, person)
    for region, names in options.regions.items():
        own = [files[name] for name in names if name in files]
        if not own:
            raise DatasetError(
                f"{data}: {person} has no mask of region {region!r} ({', '.join(names)}); it has "
                f"{', '.join(sorted(files, key=natural_key)) or 'none'}; correct the option "
                "`regions`"
            )
        inside = np.zeros(mask.values.shape, dtype=bool)
        for path in own:
            inside |= np.nan_to_num(read_volume(path, like=mask).values) > 0
        inside &= mask.values & (roi == "")
        if not inside.any():
            raise DatasetError(
                f"{own[0]}: no voxel of region {region!r} lies in the mask and in no region before "
                "it; correct the option `regions`"
            )
        roi[inside] = region
    return roi.astype(str)


def published_snr(data: Path, person: str, name: str, mask: Volume) -> np.ndarray:
    """Signal-to-noise ratio of a trial from a published map of ceilings, flat over the volume.

    A ceiling of n presentations is snr / (snr + 1/n), in percent.

    Raises
    ------
    DatasetError
        The map is missing, of another grid, or outside 0 to 100.
    """
    path = _person_file(data, person, f"desc-{name}_statmap")
    percent = read_volume(path, like=mask).values.reshape(-1).astype(np.float64)
    known = percent[mask.values.reshape(-1)]
    known = known[np.isfinite(known)]
    if known.size and not (known.min() >= 0 and 1 < known.max() <= 100):
        raise DatasetError(
            f"{path}: reaches from {known.min():.3g} to {known.max():.3g} in the mask; expected "
            "noise ceilings in percent, 0 to 100. Take `noise_ceiling: repeats`"
        )
    ceiling = np.clip(percent / 100, None, 1 - 1e-6)
    return ceiling / (1 - ceiling) / CEILINGS[name]


def _targets(voxels: np.ndarray, roi: np.ndarray, mask: Volume) -> pd.DataFrame:
    index = np.stack(np.unravel_index(voxels, mask.values.shape), axis=1).astype(np.float64)
    position = index @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return pd.DataFrame(
        {
            "roi": roi.astype(str),
            "hemisphere": np.where(position[:, 0] < 0, "left", "right"),
            "x": position[:, 0],
            "y": position[:, 1],
            "z": position[:, 2],
            "vertex": voxels,
        }
    )


def _files(data: Path, person: str, options: Options) -> Iterator[Path]:
    """Files of a person, but for regions."""
    for session in sessions_of(data, person, options):
        yield betas_file(data, person, session)
        yield trials_file(data, person, session)
    mask = _person_file(data, person, "desc-meanR2gt15mask_mask")
    explained = _person_file(data, person, "stat-rsquare_desc-R2mean_statmap")
    yield mask if mask.is_file() or not explained.is_file() else explained
    if options.noise_ceiling != "repeats":
        yield _person_file(data, person, f"desc-{options.noise_ceiling}_statmap")


def _describe_volume(path: Path) -> str:
    return " × ".join(map(str, volume_shape(path)))


class Adapter(FolderAdapter):
    """LAION-fMRI."""

    image_options = ImageOptions
    axis = ROI
    own_images = True
    splits = SPLITS

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the table of the images that a person saw.

        Raises
        ------
        DatasetError
            The set is that of several people, or an image has no file.
        ImageError
            A file cannot be read.
        """
        if entry.stimuli is not None:
            raise DatasetError(self.shared_images(entry))
        person = person_of(name)
        labels = {
            label
            for session in sessions_of(data, person, options)
            for label in read_trials(data, person, session)
        }
        folder = data / options.images
        absent = sorted(label for label in labels if not (folder / label).is_file())
        if absent and (options.missing_images == "error" or len(absent) == len(labels)):
            raise DatasetError(
                f"stimulus set {name!r}: {len(absent)} of {len(labels)} images have no file, e.g. "
                f"{folder / absent[0]}; {OBTAIN}, or leave them out with `missing_images: drop`"
            )
        rows = []
        present = sorted(labels - set(absent), key=natural_key)
        for label in tqdm(present, desc=f"images of {name}", unit="image", disable=None):
            rows.append(
                file_stimulus(
                    folder / label, image_id=label, group=label, background=options.background
                )
            )
        return stimuli_table(join_twins(rows), name=name)

    def folds_of_split(
        self, entry: DatasetEntry, options: Options, split: str, data: Path
    ) -> dict[str, str]:
        """Read a split of the package as folds.

        Of one person its own pool is taken, of several the images that all saw.

        Returns
        -------
        dict
            Image -> name of its fold; `train` where it is never held out.

        Raises
        ------
        DatasetError
            A file is missing or unreadable, or the splits are no folds.
        """
        pool = person_of(entry.subjects[0]) if len(entry.subjects) == 1 else "shared"
        variants = []
        for name in FAMILIES[split]:
            path = data / options.splits / pool / f"{name}.json"
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                variants += list(content["variants"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DatasetError(
                    f"{path}: cannot be read as a split ({error!r}); copy the folder "
                    f"laion_fmri/splits/data of the data set's package to {data / options.splits}"
                ) from None
        where = f"split {split!r} of {data / options.splits / pool}"
        return unique(folds_of_splits(variants, where=where), where=where)

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

        Raises
        ------
        DatasetError
            A file is unreadable, volumes are of another grid or number, a region is empty, or an
            image of the stimuli is in no trial.
        """
        person = person_of(subject)
        mask = read_mask(data, person)
        roi = read_regions(data, person, options, mask)
        kept = mask.values & (roi != "") if options.voxels == "regions" else mask.values
        voxels = np.flatnonzero(kept)
        known = pd.Index(stimuli["image_id"])
        rows = [
            (session, known.get_indexer(pd.Index(read_trials(data, person, session))))
            for session in sessions_of(data, person, options)
        ]
        average, n_repeats, snr = average_sessions(
            data, person, rows, voxels, mask, n_images=len(stimuli), zscore=options.zscore
        )
        if options.noise_ceiling != "repeats":
            snr = published_snr(data, person, options.noise_ceiling, mask)[voxels]
        targets = _targets(voxels, roi.reshape(-1)[voxels], mask)
        attrs = describe(
            entry,
            subject,
            units="standard deviations of the session" if options.zscore else "beta",
            space=self.space(entry, options),
            preprocessing="published single-trial betas (GLMsingle)"
            + ("; z-scored per session" if options.zscore else "")
            + "; repeats averaged",
            roi_order=tuple(options.regions) or (WHOLE,),
            early_rois=options.early_rois,
            high_rois=options.high_rois,
        )
        attrs |= {"volume_affine": mask.affine.tolist(), "volume_shape": list(mask.values.shape)}
        if options.reference_roi is not None:
            attrs["roi_distance"] = region_distances(targets, options.reference_roi)
        return target_responses(
            average,
            targets,
            stimuli=stimuli,
            n_repeats=n_repeats,
            noise_ceiling=ceiling_of_average(snr, n_repeats),
            attrs=attrs,
        )

    def problems(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """Say that the folder of images is missing."""
        folder = data / options.images
        if folder.is_dir():
            return []
        archive = data / "stimuli" / "task-images_stimuli.h5"
        there = f" ({archive} must be unpacked: docs/data.md)" if archive.is_file() else ""
        return [f"data set {entry.name!r}: the folder {folder} is missing; {OBTAIN}{there}"]

    def subject_problems(
        self, entry: DatasetEntry, options: Options, subject: str, data: Path
    ) -> list[str]:
        """List missing files of a person, and regions without masks."""
        person = person_of(subject)
        masks = region_files(data, person)
        return self.missing_files(entry, _files(data, person, options)) + [
            f"data set {entry.name!r}: {person} has no mask of region {region!r} "
            f"({', '.join(names)}); it has "
            f"{', '.join(sorted(masks, key=natural_key)) or 'none'}; correct the option `regions`"
            for region, names in options.regions.items()
            if not set(names) & set(masks)
        ]

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List images, tables and volumes; of volumes headers are read."""
        items = []
        for subject in entry.subjects:
            person = person_of(subject)
            labels: set[str] = set()
            for path in _files(data, person, options):
                is_table = path.suffix == ".tsv"
                read = None if is_table else _describe_volume
                items.append(inspect_file(path, subject=subject, read=read))
            for session in sessions_of(data, person, options):
                if trials_file(data, person, session).is_file():
                    labels |= set(read_trials(data, person, session))
            images = [data / options.images / label for label in sorted(labels)]
            pattern = f"images of {subject} in {data / options.images}"
            items.append(
                inspect_files(images, pattern=pattern, subject=subject, read=look_at_image)
            )
            masks = region_files(data, person)
            items += [
                inspect_file(masks[name], subject=subject, read=_describe_volume)
                for names in options.regions.values()
                for name in names
                if name in masks
            ]
        return items

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in: each person's own anatomy."""
        return "T1w"
