"""Adapter ``algonauts2023``: the training split of the Algonauts Project 2023 Challenge.

It is the Natural Scenes Dataset (Allen et al. 2022) as the challenge gives it out: betas of 8
people on those vertices of fsaverage that lie in visual cortex (``nsdgeneral`` joined with RSC),
z-scored within each session and averaged over repeats. Read, per subject ``subjXX``:

``training_split/training_fmri/{lh,rh}_training_fmri.npy``
    float32, images × vertices. The rows are the images in the order of their files.
``training_split/training_images/train-0001_nsd-00013.png``
    Number of the row from 1, and index of the image among the 73,000 of NSD, from 0.
``roi_masks/{lh,rh}.all-vertices_fsaverage_space.npy``
    Of each of the 163,842 vertices of fsaverage, whether it is a column of the responses.
``roi_masks/{lh,rh}.<parcellation>_challenge_space.npy``, ``roi_masks/mapping_<parcellation>.npy``
    Label of each column, and the name of each label.

With the option `captions`, which the release has none of: COCO's captions and NSD's table of its
images (:mod:`gradbrain.datasets.coco_captions`).

The responses to the test images were never released, so the test split is not used. The release
says neither how often an image was shown (``n_repeats`` is 0: unknown) nor how reliable a vertex
is (the ceiling is NaN, unless files of ceilings are named).

Sources: Gifford et al. 2023 (arXiv:2301.03198); the code that prepared the release,
https://github.com/gifale95/algonauts_2023, ``code/01_challenge_data_preparation``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
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
from gradbrain.datasets.cortex import pial_coordinates
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.file_names import matching_files
from gradbrain.datasets.images import look_at_image
from gradbrain.datasets.inventory import Item, inspect_file, inspect_files
from gradbrain.datasets.locators import WHITE, Background
from gradbrain.datasets.npy_files import open_npy
from gradbrain.datasets.pickled_arrays import read_pickled
from gradbrain.datasets.responses import describe, region_distances, target_responses
from gradbrain.datasets.stimuli import file_stimulus, stimuli_table
from gradbrain.vocabulary.roles import ROI

HEMISPHERES = {"lh": "left", "rh": "right"}
N_VERTICES = 163_842
N_FSAVERAGE5 = 10_242
PARCELLATIONS = (
    "prf-visualrois",
    "streams",
    "floc-bodies",
    "floc-faces",
    "floc-places",
    "floc-words",
)
IMAGE_NAME = re.compile(r"^train-(\d{4,5})_nsd-(\d{5})\.png$")
#: Masks and betas outside this are no numbers of this release, e.g. of swapped bytes.
LARGEST_BETA = 1e4
COVERAGE = "visual cortex only (nsdgeneral and RSC): no vertex elsewhere was released"
#: What the data can answer, in the table of docs/data.md.
ANSWERS = {"ceilings": "", "database": ""}


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    captions: CaptionFolder = None
    stimulus_info: str = Field(
        INFO,
        min_length=1,
        description="NSD's table of its images, below data/<name>; read with captions only.",
    )
    background: Background = WHITE


class Options(ImageOptions):
    """Options of the Algonauts 2023 data."""

    regions: dict[str, tuple[str, ...]] = Field(
        {
            "V1": ("V1v", "V1d"),
            "V2": ("V2v", "V2d"),
            "V3": ("V3v", "V3d"),
            "hV4": ("hV4",),
            "lateral": ("lateral",),
            "ventral": ("ventral",),
            "parietal": ("parietal",),
        },
        min_length=2,
        description="Region, from low to high -> labels of the parcellations that it joins. A "
        "vertex with labels of several belongs to the first.",
    )
    early_rois: tuple[str, ...] = ("V1", "V2", "V3")
    high_rois: tuple[str, ...] = ("lateral", "ventral", "parietal")
    reference_roi: str | None = Field("V1", description="Region that distances start from.")
    only_regions: bool = Field(False, description="Leave out vertices outside all regions.")
    surfaces: str | None = Field(
        None,
        description="FreeSurfer's fsaverage/surf below data/<name>, with lh.pial and rh.pial; "
        "without it, positions are those of the vertices that fsaverage5 shares.",
    )
    noise_ceilings: str | None = Field(
        None,
        description="Files of ceilings as shares of variance, one per vertex, with {subject} "
        "(subjXX) and {hemisphere} (lh, rh); the release has none.",
    )

    @model_validator(mode="after")
    def _regions_agree(self) -> Options:
        check_named_regions(self, "early_rois", "high_rois", "reference_roi")
        labels = [label for labels in self.regions.values() for label in labels]
        if len(set(labels)) < len(labels):
            raise ValueError("regions: name each label once")
        return self


def folder_of(subject: str, data: Path) -> Path:
    """Folder of a subject: ``subj01`` for ``algonauts2023-subj01``.

    Raises
    ------
    DatasetError
        The name does not end in ``subj`` and two digits.
    """
    return data / name_ending(
        subject, r"(subj\d{2})", expected="its folder, such as algonauts2023-subj01"
    )


def _image_id(path: Path) -> str:
    """Name of an image: ``nsd-00013`` for ``train-0001_nsd-00013.png``."""
    return path.stem.partition("_")[2]


def _captions(options: ImageOptions, files: Sequence[Path], data: Path) -> dict[str, str]:
    """Captions by the names of images; none without the option."""
    if options.captions is None:
        return {}
    indices = {int(_image_id(path).removeprefix("nsd-")): _image_id(path) for path in files}
    found = coco_captions(
        indices, folder=data / options.captions, info=data / options.stimulus_info
    )
    return {indices[index]: caption for index, caption in found.items()}


def image_files(folder: Path) -> list[Path]:
    """List the training images of a subject in the order of the rows.

    Raises
    ------
    DatasetError
        There are none, a name is not that of a training image, or a number is missing.
    """
    images = folder / "training_split" / "training_images"
    names = sorted(path.name for path in matching_files(images, "*.png"))
    found = {}
    for name in names:
        match = IMAGE_NAME.match(name)
        if match is None:
            raise DatasetError(f"{images / name}: expected a name such as train-0001_nsd-00013.png")
        found[int(match[1])] = name
    if not found:
        raise DatasetError(f"{images}: holds no training images (train-0001_nsd-00013.png …)")
    missing = sorted(set(range(1, max(found) + 1)) - set(found))
    if missing or len(found) < len(names):
        raise DatasetError(
            f"{images}: {len(names)} images are numbered up to {max(found)}; number "
            f"{missing[0] if missing else 'of some'} is missing or there twice. The number is the "
            "row of the responses: extract the images anew"
        )
    return [images / found[number] for number in sorted(found)]


def read_mapping(path: Path) -> dict[int, str]:
    """Read the names of the labels of a parcellation.

    The release holds a dictionary in a pickled array. It is read by an unpickler that can build
    nothing but arrays, numbers and texts, since a pickle can run any code.

    Returns
    -------
    dict
        Value in the masks -> label; 0 is no label.

    Raises
    ------
    DatasetError
        The file is missing, unreadable, or holds anything but such a dictionary.
    """
    content = read_pickled(path, what="the names of labels")
    if not isinstance(content, dict) or not all(
        isinstance(value, int | np.integer) and isinstance(label, str)
        for value, label in content.items()
    ):
        raise DatasetError(f"{path}: expected a dictionary of numbers and labels")
    return {int(value): label for value, label in content.items() if value != 0}


def _files(options: Options, folder: Path, data: Path) -> list[Path]:
    """All files of a subject but its images."""
    masks, betas = folder / "roi_masks", folder / "training_split" / "training_fmri"
    files = []
    for code in HEMISPHERES:
        files.append(betas / f"{code}_training_fmri.npy")
        files.append(masks / f"{code}.all-vertices_fsaverage_space.npy")
        files += [masks / f"{code}.{name}_challenge_space.npy" for name in PARCELLATIONS]
        if options.noise_ceilings is not None:
            files.append(_ceiling_path(options.noise_ceilings, folder, code, data))
        if options.surfaces is not None:
            files.append(data / options.surfaces / f"{code}.pial")
    return [*files, *(masks / f"mapping_{name}.npy" for name in PARCELLATIONS)]


def _ceiling_path(pattern: str, folder: Path, code: str, data: Path) -> Path:
    return data / pattern.replace("{subject}", folder.name).replace("{hemisphere}", code)


def _header(path: Path, *, n_images: int) -> str:
    """Read what a file says of itself, and compare the responses with the images."""
    if path.name.startswith("mapping_"):
        return f"{len(read_mapping(path))} labels"
    if path.suffix != ".npy":
        return ""
    shape = _open_array(path).shape
    if path.name.endswith("_training_fmri.npy") and shape[0] != n_images:
        raise DatasetError(f"{path}: has {shape[0]} rows, but there are {n_images} images")
    return " × ".join(map(str, shape))


def _open_array(path: Path) -> np.ndarray:
    """Map an array of numbers into memory."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file")
    try:
        array = open_npy(path)
    except (ValueError, OSError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); get the file anew") from error
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"{path}: holds {array.dtype}, expected numbers")
    return array


def _read_betas(
    folder: Path, code: str, n_vertices: int, kept: np.ndarray, out: np.ndarray
) -> None:
    """Read the kept columns of one hemisphere into `out`, shape (n_images, n_kept)."""
    path = folder / "training_split" / "training_fmri" / f"{code}_training_fmri.npy"
    betas = _open_array(path)
    if betas.shape != (len(out), n_vertices):
        raise DatasetError(
            f"{path}: has the shape {betas.shape}, expected {len(out)} images × {n_vertices} "
            "vertices, as there are training images and vertices in the mask"
        )
    rows = max(1, (64 << 20) // (4 * n_vertices))
    for start in tqdm(range(0, len(out), rows), desc=path.name, unit="block", disable=None):
        block = np.asarray(betas[start : start + rows][:, kept], dtype=np.float32)
        largest = float(np.nanmax(np.abs(block), initial=0.0))
        if largest > LARGEST_BETA:
            raise DatasetError(
                f"{path}: holds values up to {largest:g}, expected z-scores; the bytes may be "
                "swapped or the file damaged"
            )
        out[start : start + rows] = block


def _targets(options: Options, folder: Path, code: str, data: Path) -> pd.DataFrame:
    """Describe the columns of one hemisphere: region, vertex of fsaverage, position, ceiling."""
    path = folder / "roi_masks" / f"{code}.all-vertices_fsaverage_space.npy"
    mask = _open_array(path)
    if mask.shape != (N_VERTICES,) or not mask.any():
        raise DatasetError(
            f"{path}: has the shape {mask.shape} and {np.count_nonzero(mask)} vertices, expected "
            f"a mask of {N_VERTICES}"
        )
    vertex = np.flatnonzero(mask)
    x, y, z = _positions(options, code, data)[vertex].T
    return pd.DataFrame(
        {
            "roi": _regions(options, folder, code, len(vertex)),
            "hemisphere": HEMISPHERES[code],
            "vertex": vertex,
            "x": x,
            "y": y,
            "z": z,
            "noise_ceiling": _ceilings(options, folder, code, data, len(vertex)),
        }
    )


def _regions(options: Options, folder: Path, code: str, n_vertices: int) -> np.ndarray:
    """Region of each column; ``""`` outside all."""
    regions = np.full(n_vertices, "", dtype=object)
    known: set[str] = set()
    own: dict[str, np.ndarray] = {}
    for name in PARCELLATIONS:
        mapping = read_mapping(folder / "roi_masks" / f"mapping_{name}.npy")
        path = folder / "roi_masks" / f"{code}.{name}_challenge_space.npy"
        values = _open_array(path)
        if values.shape != (n_vertices,):
            raise DatasetError(
                f"{path}: has the shape {values.shape}, expected {n_vertices} as there are "
                "vertices in the mask of all"
            )
        strange = sorted(set(np.unique(values).tolist()) - {0, -1, *mapping})
        if strange:
            raise DatasetError(f"{path}: holds the value {strange[0]}, which has no label")
        known |= set(mapping.values())
        own |= {label: np.asarray(values) == value for value, label in mapping.items()}
    unknown = [label for labels in options.regions.values() for label in labels if label not in own]
    if unknown:
        raise DatasetError(
            f"{folder / 'roi_masks'}: there is no label {unknown[0]!r} (option `regions`); there "
            f"are {', '.join(sorted(known))}"
        )
    for region, labels in options.regions.items():
        for label in labels:
            regions[own[label] & (regions == "")] = region
    return regions.astype(str)


def _positions(options: Options, code: str, data: Path) -> np.ndarray:
    """Positions of the vertices of fsaverage, (163842, 3) in mm (MNI305); NaN where unknown.

    The vertices of fsaverage5 are the first 10,242 of fsaverage, in the same order, since both
    are subdivisions of one icosahedron.
    """
    if options.surfaces is None:
        positions = np.full((N_VERTICES, 3), np.nan)
        positions[:N_FSAVERAGE5] = pial_coordinates(HEMISPHERES[code])
        return positions
    import nibabel

    path = data / options.surfaces / f"{code}.pial"
    try:
        positions = np.asarray(nibabel.freesurfer.read_geometry(path)[0], dtype=np.float64)
    except Exception as error:  # nibabel lets whatever a damaged file causes through
        raise DatasetError(
            f"{path}: cannot be read as a FreeSurfer surface ({error}); name the folder "
            "fsaverage/surf of FreeSurfer in the option `surfaces`"
        ) from error
    if positions.shape != (N_VERTICES, 3):
        raise DatasetError(f"{path}: has {len(positions)} vertices, expected {N_VERTICES}")
    return positions


def _ceilings(options: Options, folder: Path, code: str, data: Path, n_vertices: int) -> np.ndarray:
    if options.noise_ceilings is None:
        return np.full(n_vertices, np.nan)
    path = _ceiling_path(options.noise_ceilings, folder, code, data)
    ceilings = _open_array(path)
    known = ceilings[np.isfinite(ceilings)]
    if ceilings.shape != (n_vertices,) or (len(known) and not 0 <= known.min() <= known.max() <= 1):
        raise DatasetError(
            f"{path}: expected {n_vertices} shares of variance from 0 to 1, found the shape "
            f"{ceilings.shape}" + (f" and values up to {known.max():g}" if len(known) else "")
        )
    return np.asarray(ceilings, dtype=np.float64)


class Adapter(FolderAdapter):
    """The training data of Algonauts 2023."""

    image_options = ImageOptions
    axis = ROI
    own_images = True

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the training images of the subject `name`, in the order of the responses' rows.

        Raises
        ------
        DatasetError
            The entry shares one stimulus set, files are numbered with gaps, one cannot be read, or
            an image lacks the caption that is asked for.
        """
        if entry.stimuli is not None:
            raise DatasetError(self.shared_images(entry))
        rows = []
        files = image_files(folder_of(name, data))
        captions = _captions(options, files, data)
        for path in tqdm(files, desc=f"images of {name}", unit="image", disable=None):
            image_id = _image_id(path)
            rows.append(
                file_stimulus(
                    path,
                    image_id=image_id,
                    group=image_id,
                    background=options.background,
                    caption=captions.get(image_id),
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
    ) -> xr.Dataset:
        """Read one subject: both hemispheres side by side, left first.

        Raises
        ------
        DatasetError
            A file is missing, unreadable or of another shape than the images and masks, or a label
            is unknown.
        """
        folder = folder_of(subject, data)
        tables = {code: _targets(options, folder, code, data) for code in HEMISPHERES}
        kept = {
            code: table["roi"].to_numpy() != ""
            if options.only_regions
            else np.ones(len(table), bool)
            for code, table in tables.items()
        }
        betas = np.empty(
            (len(stimuli), sum(map(np.count_nonzero, kept.values()))), dtype=np.float32
        )
        start = 0
        for code in HEMISPHERES:
            stop = start + int(np.count_nonzero(kept[code]))
            _read_betas(folder, code, len(tables[code]), kept[code], out=betas[:, start:stop])
            start = stop
        targets = pd.concat([tables[code][kept[code]] for code in HEMISPHERES], ignore_index=True)
        ceiling = targets.pop("noise_ceiling").to_numpy()
        attrs = describe(
            entry,
            subject,
            units="standard deviations of a session",
            space="fsaverage",
            preprocessing="betas_fithrf_GLMdenoise_RR of NSD on fsaverage, z-scored per session, "
            "averaged over repeats (Algonauts 2023 release)",
            roi_order=tuple(options.regions),
            early_rois=options.early_rois,
            high_rois=options.high_rois,
        )
        attrs["coverage"] = COVERAGE
        if options.reference_roi is not None:
            placed = targets.dropna(subset=["x", "y", "z"])
            attrs["roi_distance"] = region_distances(placed, options.reference_roi)
        return target_responses(
            betas, targets, stimuli=stimuli, n_repeats=0, noise_ceiling=ceiling, attrs=attrs
        )

    def problems(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List what captions lack, where they are asked for."""
        if options.captions is None:
            return []
        return caption_problems(folder=data / options.captions, info=data / options.stimulus_info)

    def subject_problems(
        self, entry: DatasetEntry, options: Options, subject: str, data: Path
    ) -> list[str]:
        """Count missing files; of responses and masks only whether they are there is told."""
        folder = folder_of(subject, data)
        needed = _files(options, folder, data)
        absent = [path for path in needed if not path.is_file()]
        images = folder / "training_split" / "training_images"
        if not any(matching_files(images, "train-*.png")):
            absent.append(images / "train-*.png")
        if not absent:
            return []
        return [
            f"data set {entry.name!r}: {subject}: {len(absent)} of {len(needed) + 1} files are "
            f"missing, e.g. {absent[0]}"
        ]

    def inventory(self, entry: DatasetEntry, options: Options, data: Path) -> list[Item]:
        """List images, responses and masks of each subject; of arrays the header is read."""
        items = []
        if options.captions is not None:
            items += inspect_captions(
                folder=data / options.captions, info=data / options.stimulus_info
            )
        for subject in entry.subjects:
            folder = folder_of(subject, data)
            images = folder / "training_split" / "training_images" / "train-*.png"
            found = sorted(matching_files(images.parent, images.name))
            items.append(
                inspect_files(found, pattern=str(images), subject=subject, read=look_at_image)
            )
            for path in _files(options, folder, data):
                read = partial(_header, n_images=len(found))
                items.append(inspect_file(path, subject=subject, read=read))
        return items

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in."""
        return "fsaverage"
