"""Adapter ``nsd``: the Natural Scenes Dataset, fMRI of 8 people who saw up to 10,000 images each.

The folder is laid out as the data set's own download (Allen et al. 2022, Nature Neuroscience
25:116; NSD Data Manual, https://cvnlab.slite.page/p/M3ZvPmfgU3/General-Information). Read are

``nsddata/experiments/nsd/nsd_expdesign.mat``
    Which image was shown when (:mod:`gradbrain.datasets.nsd_design`).
``nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5``
    ``imgBrick``, the 73,000 images.
``nsddata_betas/ppdata/subjXX/fsaverage/<betas>/{lh,rh}.betas_sessionYY.mgh``, ``{lh,rh}.ncsnr.mgh``
    Responses of single trials, percent signal change, and their signal-to-noise ratio.
``nsddata/freesurfer/fsaverage/label/{lh,rh}.<parcellation>.mgz``, ``<parcellation>.mgz.ctab``
    Region of each vertex.
``nsddata/freesurfer/fsaverage/surf/{lh,rh}.pial``
    Positions of the vertices (mm, MNI305).
``nsddata/experiments/nsd/nsd_stim_info_merged.csv``
    With the option `captions` alone: which image of COCO each one is
    (:mod:`gradbrain.datasets.coco_captions`).

With ``space: func1pt8mm`` the voxels of each person are taken instead:
``…/func1pt8mm/<betas>/betas_sessionYY.{hdf5,nii.gz}``, ``ncsnr.nii.gz`` and
``nsddata/ppdata/subjXX/func1pt8mm/roi/{lh,rh}.<parcellation>.nii.gz``; they have no MNI positions.

The subject ``<anything>07`` is ``subj07``. Images are called ``nsd-00013`` by their index among the
73,000, from 0, as in ``nsd_stim_info_merged.csv`` and Algonauts 2023. Each is a group of its own,
or (``group: session``) belongs to the session in which it was seen first.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from tqdm import tqdm

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.regions import check_named_regions
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import FolderAdapter, name_ending
from gradbrain.datasets.coco_captions import (
    INFO,
    CaptionFolder,
    caption_problems,
    coco_captions,
    inspect_captions,
)
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.freesurfer import check_trials, read_header, read_trials
from gradbrain.datasets.images import content_sha256, load_image
from gradbrain.datasets.inventory import Item, inspect_file, inspect_files
from gradbrain.datasets.noise_ceiling import ceiling_of_average
from gradbrain.datasets.nsd_betas import THREADS, averaged_blocks, volume_betas
from gradbrain.datasets.nsd_design import (
    DESIGN,
    SESSIONS,
    TRIALS_PER_SESSION,
    read_design,
    seen_images,
    sessions_of_images,
    trial_images,
)
from gradbrain.datasets.nsd_files import HEMISPHERES, SubjectFiles
from gradbrain.datasets.nsd_targets import label_regions, surface_targets, volume_targets
from gradbrain.datasets.responses import TargetBlocks, describe, region_distances
from gradbrain.datasets.stimuli import Stimulus, stimuli_table
from gradbrain.vocabulary.roles import ROI

STIMULI = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
STIMULUS_INFO = f"nsddata/experiments/nsd/{INFO}"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {
    "ceilings": "published ratios of signal to noise",
    "database": "NSD",
}


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    sessions: Literal["all"] | int | tuple[int, ...] = Field(
        "all", description="Scan sessions: all of each person, the first so many, or a list."
    )
    min_repeats: int = Field(
        1, ge=1, le=3, description="Images shown less often in these sessions are left out."
    )
    group: Literal["image", "session"] = Field(
        "image",
        description="What folds must not split: nothing but repeats of an image, or the images "
        "first seen in one session of those taken. Repeats in later sessions are averaged into the "
        "same rows.",
    )
    captions: CaptionFolder = None


class Options(ImageOptions):
    """Options of the Natural Scenes Dataset."""

    space: Literal["fsaverage", "func1pt8mm"] = Field(
        "fsaverage", description="Surface vertices, the same for all people, or own voxels."
    )
    betas: Literal["betas_fithrf_GLMdenoise_RR", "betas_fithrf", "betas_assumehrf"] = Field(
        "betas_fithrf_GLMdenoise_RR", description="Version of the single-trial betas."
    )
    zscore: bool = Field(True, description="Standardise each target within each session.")
    parcellation: str = Field("streams", min_length=1, description="Label file of the regions.")
    label_folder: str = Field(
        "", description="Folder of the label files, {subject} allowed; empty: as published."
    )
    regions: dict[str, tuple[str, ...]] = Field(
        {}, description="Region -> labels joined in it, from low to high; empty: each label."
    )
    early_rois: tuple[str, ...] = ()
    high_rois: tuple[str, ...] = ()
    reference_roi: str | None = Field(
        None, description="Region from which cortical distance is measured (V1)."
    )
    mask: Literal["parcellation", "nsdgeneral", "all"] = Field(
        "parcellation", description="Targets kept: those in a region, in nsdgeneral, or all."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if isinstance(self.sessions, int) and self.sessions < 1:
            raise ValueError(f"sessions: {self.sessions}; expected at least 1")
        if isinstance(self.sessions, tuple):
            found = sorted(set(self.sessions))
            if found != list(self.sessions) or not found or found[0] < 1:
                raise ValueError(f"sessions: {list(self.sessions)}; list them from low to high")
        labels = [label for joined in self.regions.values() for label in joined]
        if len(set(labels)) != len(labels) or not all(self.regions.values()):
            raise ValueError("regions: give each region labels, and each label to one region")
        if self.regions:
            check_named_regions(self, "early_rois", "high_rois", "reference_roi")
        return self


def subject_number(subject: str) -> int:
    """Number of a subject: what its name ends in, 1 to 8.

    Raises
    ------
    DatasetError
        The name does not end so.
    """
    expected = "a number from 1 to 8, such as nsd-subj01"
    return int(name_ending(subject, r"(?<!\d)0*([1-8])", expected=expected))


def wanted_sessions(options: ImageOptions, subject: int) -> list[int]:
    """Sessions of a subject that the options ask for, from 1.

    Raises
    ------
    DatasetError
        The subject has no such session.
    """
    existing = SESSIONS[subject]
    if options.sessions == "all":
        return list(range(1, existing + 1))
    if isinstance(options.sessions, int):
        return list(range(1, min(options.sessions, existing) + 1))
    beyond = [session for session in options.sessions if session > existing]
    if beyond:
        raise DatasetError(
            f"option sessions: {beyond}: subject {subject} of NSD has {existing} sessions; list "
            "fewer, or give a number: the first so many"
        )
    return list(options.sessions)


def _captions(options: ImageOptions, images: np.ndarray, data: Path) -> dict[int, str]:
    """Captions of images by 73k ID; none without the option."""
    if options.captions is None:
        return {}
    folder = data / options.captions
    return coco_captions(images.tolist(), folder=folder, info=data / STIMULUS_INFO)


def image_id(index: int) -> str:
    """Name of an image, from its index among the 73,000, from 0."""
    return f"nsd-{index:05d}"


def image_groups(
    options: ImageOptions, subject: int, design: dict[str, np.ndarray], images: np.ndarray
) -> list[str]:
    """Group of each image, as the option `group` says.

    Parameters
    ----------
    images
        int64 (n_images,), sorted, counted from 0.
    """
    if options.group == "image":
        return [image_id(image) for image in images.tolist()]
    taken = wanted_sessions(options, subject)
    first, _ = sessions_of_images(design, subject, taken, images)
    return [f"session-{session:02d}" for session in first.tolist()]


def _describe_images(path: Path) -> str:
    problems = _check_images(path)
    if problems:
        raise DatasetError(problems[0])
    return ""


def _check_images(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            first = file.read(len(HDF5_SIGNATURE))
    except OSError:
        return [f"{path}: is missing"]
    if first != HDF5_SIGNATURE:
        return [f"{path}: is no HDF5 file: it begins with {first!r}; get the file again"]
    return []


def _check_subject(options: Options, number: int, sessions: list[int], data: Path) -> list[str]:
    """Problems of one subject's files."""
    files = _files(options, number, data)
    folder = files.beta_folder
    if not folder.is_dir():
        return [f"{folder}: is missing; get these betas, or leave subject {number} out"]
    if files.on_surface:
        problems = []
        for hemisphere in HEMISPHERES.values():
            paths = {s: files.surface_betas(s, hemisphere) for s in sessions}
            problems += _missing_sessions(paths, folder, f"{hemisphere}.betas_sessionYY.mgh")
            found = [path for path in paths.values() if path.is_file()]
            problems += _check_hemisphere(found, files.ncsnr(hemisphere))
    else:
        paths = {s: files.volume_betas(s) for s in sessions}
        problems = _missing_sessions(paths, folder, "betas_sessionYY.hdf5 (or .nii.gz)")
    needed = _other_files(options, files)
    return problems + [f"{file}: is missing" for file in needed if not file.is_file()]


def _other_files(options: Options, files: SubjectFiles) -> list[Path]:
    """Files that are needed besides betas, and are not opened by the check."""
    names = [options.parcellation]
    if options.mask == "nsdgeneral" and "nsdgeneral" not in names:
        names.append("nsdgeneral")
    needed = [files.labels(name, side) for name in names for side in HEMISPHERES.values()]
    if options.parcellation != "nsdgeneral":
        needed.append(files.colour_table(options.parcellation))
    if files.on_surface:
        # Without surfaces vertices have no positions, and regions no distances.
        return needed
    if options.mask == "all":
        needed.append(files.brain_mask)
    return [*needed, files.ncsnr()]


def _missing_sessions(paths: dict[int, Path], folder: Path, what: str) -> list[str]:
    absent = [session for session, path in paths.items() if not path.is_file()]
    if not absent:
        return []
    return [
        f"{folder}: {what} is missing for session(s) {', '.join(map(str, absent))} of the "
        f"{len(paths)} asked for; get them, or list the sessions to use in the option `sessions`"
    ]


def _check_hemisphere(paths: list[Path], ncsnr: Path) -> list[str]:
    """Files of betas must be whole and as wide as the file of signal-to-noise ratios."""
    problems: list[str] = []
    try:
        width = read_header(ncsnr).n_vertices
    except DatasetError as error:
        return [str(error)]
    for path in paths:
        try:
            found = check_trials(path, n_frames=TRIALS_PER_SESSION).n_vertices
        except DatasetError as error:
            problems.append(str(error))
            continue
        if found != width:
            problems.append(
                f"{path}: has {found} vertices, {ncsnr.name} has {width}; they are of different "
                "surfaces: get the files again"
            )
    return problems


def _files(options: Options, number: int, data: Path) -> SubjectFiles:
    return SubjectFiles(
        data=data,
        number=number,
        space=options.space,
        betas_version=options.betas,
        label_folder=options.label_folder,
    )


def _images(
    options: ImageOptions, number: int, design: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Images of a subject that are used, and their presentations in the sessions asked for."""
    images, n_repeats = seen_images(design, number, wanted_sessions(options, number))
    enough = n_repeats >= options.min_repeats
    if not enough.any():
        raise DatasetError(
            f"option min_repeats: no image was shown {options.min_repeats} times to subject "
            f"{number} in the sessions asked for; ask for fewer repeats or more sessions"
        )
    return images[enough], n_repeats[enough]


def _rows(images: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Row of the image of each trial; −1 where it is not among them."""
    places = np.minimum(np.searchsorted(images, shown), len(images) - 1)
    return np.where(images[places] == shown, places, -1)


def _surface_betas(
    files: SubjectFiles,
    sessions: list[int],
    part: int,
    session: int,
    targets: np.ndarray,
    *,
    memory: np.ndarray,
    threads: Executor,
) -> np.ndarray:
    path = files.surface_betas(sessions[session], list(HEMISPHERES.values())[part])
    return read_trials(
        path,
        targets,
        n_frames=TRIALS_PER_SESSION,
        memory=memory,
        threads=threads,
        parts=THREADS,
    )


def _volume_betas(
    files: SubjectFiles,
    sessions: list[int],
    shape: tuple[int, int, int],
    part: int,
    session: int,
    targets: np.ndarray,
    *,
    memory: np.ndarray,
    threads: Executor,
) -> np.ndarray:
    # HDF5 and the decompression of a file go one step after another.
    return volume_betas(files.volume_betas(sessions[session]), targets, shape)


def _attributes(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    sessions: list[int],
    targets: pd.DataFrame,
    region_of: dict[int, str],
) -> dict[str, Any]:
    present = set(targets["roi"].unique())
    steps = [f"{options.betas}, {len(sessions)} sessions"]
    if options.zscore:
        steps.append("z-scored within each session")
    steps.append(f"averaged over presentations (at least {options.min_repeats})")
    attrs = describe(
        entry,
        subject,
        units="standard deviations within a session" if options.zscore else "% signal change",
        space=options.space,
        preprocessing="; ".join(steps),
        roi_order=[roi for roi in dict.fromkeys(region_of.values()) if roi in present],
        early_rois=options.early_rois,
        high_rois=options.high_rois,
    )
    attrs |= {"sessions": sessions, "parcellation": options.parcellation, "mask": options.mask}
    placed = bool(targets[["x", "y", "z"]].notna().all(axis=None))
    if options.reference_roi is not None and options.space == "fsaverage" and placed:
        attrs["roi_distance"] = region_distances(targets, options.reference_roi)
    return attrs


class Adapter(FolderAdapter):
    """The Natural Scenes Dataset, as published."""

    image_options = ImageOptions
    axis = ROI
    own_images = True

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space of the responses."""
        return options.space

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """List the images that the subject `name` saw in the sessions asked for, by 73k ID.

        Raises
        ------
        DatasetError
            The design, the images or the captions are missing, damaged or counted from another
            base.
        """
        design = read_design(data)
        images, _ = _images(options, subject_number(name), design)
        groups = image_groups(options, subject_number(name), design, images)
        captions = _captions(options, images, data)
        path = (data / STIMULI).as_posix()
        rows = []
        numbered = tqdm(images.tolist(), desc=f"images of {name}", unit="image", disable=None)
        for image, group in zip(numbered, groups, strict=True):
            locator = {"path": path, "dataset": "imgBrick", "index": image}
            rows.append(
                Stimulus(
                    image_id=image_id(image),
                    group=group,
                    loader="hdf5",
                    locator=locator,
                    content_sha256=content_sha256(load_image("hdf5", locator)),
                    caption=captions.get(image),
                )
            )
        return stimuli_table(rows, name=name)

    def responses(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> TargetBlocks:
        """Average one subject's betas over the presentations of each image, block by block.

        The ceiling follows the published ncsnr: see :func:`noise_ceiling`.

        Raises
        ------
        DatasetError
            Files are missing, damaged, or disagree with each other or with the stimulus table.
        """
        number = subject_number(subject)
        sessions = wanted_sessions(options, number)
        design = read_design(data)
        images, n_repeats = _images(options, number, design)
        if [image_id(image) for image in images.tolist()] != list(stimuli["image_id"]):
            raise DatasetError(
                f"responses of {subject!r}: the {len(stimuli)} images of the stimulus table "
                f"are not the {len(images)} that {data / DESIGN} and the options name; make the "
                "table again"
            )
        if image_groups(options, number, design, images) != list(stimuli["group"]):
            raise DatasetError(
                f"responses of {subject!r}: the groups of the stimulus table are not those of the "
                f"option group: {options.group}; make the table again"
            )
        files = _files(options, number, data)
        region_of = label_regions(files, options.parcellation, options.regions)
        listed = (options.parcellation, region_of, options.mask)
        if files.on_surface:
            targets = surface_targets(files, *listed)
            parts = [
                targets.loc[targets["hemisphere"] == name, "vertex"].to_numpy()
                for name in HEMISPHERES
            ]
            read_betas = partial(_surface_betas, files, sessions)
        else:
            targets, shape = volume_targets(files, *listed)
            parts = [targets["vertex"].to_numpy()]
            read_betas = partial(_volume_betas, files, sessions, shape)
        if targets.empty:
            raise DatasetError(
                f"responses of {subject!r}: no target lies in the mask {options.mask!r} with the "
                f"parcellation {options.parcellation!r}; correct `regions` or `mask`"
            )
        attrs = _attributes(entry, options, subject, sessions, targets, region_of)
        if options.group == "session":
            first, last = sessions_of_images(design, number, sessions, images)
            attrs["n_images_of_several_sessions"] = int((first < last).sum())
        return TargetBlocks(
            stimuli=stimuli,
            n_repeats=n_repeats,
            targets=targets,
            noise_ceiling=ceiling_of_average(targets["ncsnr"].to_numpy(np.float64) ** 2, n_repeats),
            attrs=attrs,
            blocks=averaged_blocks(
                parts,
                read_betas,
                [_rows(images, trial_images(design, number, session)) for session in sessions],
                n_repeats,
                zscore=options.zscore,
                description=f"betas of {subject}",
            ),
        )

    def problems(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List what is missing of images, design and captions."""
        problems = [] if (data / DESIGN).is_file() else [f"{data / DESIGN}: is missing"]
        problems += _check_images(data / STIMULI)
        if options.captions is not None:
            folder = data / options.captions
            problems += caption_problems(folder=folder, info=data / STIMULUS_INFO)
        return problems

    def subject_problems(
        self, entry: DatasetEntry, options: Options, subject: str, data: Path
    ) -> list[str]:
        """List what is missing of a subject or cut short; a few kB of each file are read."""
        number = subject_number(subject)
        return _check_subject(options, number, wanted_sessions(options, number), data)

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List design, images and labels, and the betas of each subject; headers are read."""
        items = [
            inspect_file(data / DESIGN, subject=""),
            inspect_file(data / STIMULI, subject="", read=_describe_images),
        ]
        if options.captions is not None:
            items += inspect_captions(folder=data / options.captions, info=data / STIMULUS_INFO)
        for subject in entry.subjects:
            number = subject_number(subject)
            files, sessions = _files(options, number, data), wanted_sessions(options, number)
            kinds = list(HEMISPHERES.values()) if files.on_surface else [""]
            for kind in kinds:
                if files.on_surface:
                    paths = [files.surface_betas(session, kind) for session in sessions]
                    pattern = files.beta_folder / f"{kind}.betas_session*.mgh"
                else:
                    paths = [files.volume_betas(session) for session in sessions]
                    pattern = files.beta_folder / "betas_session*"
                items.append(inspect_files(paths, pattern=str(pattern), subject=subject))
                items.append(inspect_file(files.ncsnr(kind), subject=subject))
            items += [
                inspect_file(path, subject=subject)
                for path in _other_files(options, files)
                if path != files.ncsnr()
            ]
        return items
