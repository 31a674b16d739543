"""Images of the THINGS database, as its download lays them out, for the data sets that show them.

``<folder>/<concept>/<file>.jpg``, e.g. ``object_images/air_mattress/air_mattress_03s.jpg``: the
file's name is its concept, a number and a letter. The tables of THINGS-MEG and THINGS-fMRI name
the file; test images lie among the others of their concept.

References
----------
Hebart et al. 2019, PLoS ONE 14(10): e0223792; images at https://osf.io/jum2f/.
"""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field
from tqdm import tqdm

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import FolderAdapter
from gradbrain.datasets.csv_tables import read_csv, strange_cells
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.images import look_at_image
from gradbrain.datasets.inventory import Item, inspect_files
from gradbrain.datasets.locators import WHITE, Background
from gradbrain.datasets.stimuli import Stimulus, file_stimulus, stimuli_table

log = logging.getLogger(__name__)

Grouping = Annotated[
    Literal["category", "image"],
    Field(
        description="What folds must not split: the images of a concept, so that scores are of "
        "concepts never seen in training, or nothing but repeats of an image."
    ),
]
Missing = Literal["error", "drop"]
Captions = Annotated[
    Literal["concept"] | None,
    Field(
        description='`concept`: the caption of an image is "a photo of a" and its concept; '
        "none: images have no captions."
    ),
]
OBTAIN = "download images_THINGS.zip from https://osf.io/jum2f/ and name its folder in `images`"


class ThingsImageOptions(PluginOptions):
    """Options that the images follow from, of data sets whose tables name images of THINGS."""

    images: str = Field(
        "object_images", description="Folder of the THINGS images, below data/: one per concept."
    )
    group: Grouping = "category"
    missing_images: Missing = Field(
        "error", description="Images without file: an error, or left out with their trials."
    )
    captions: Captions = None
    background: Background = WHITE


class ThingsAdapter(FolderAdapter):
    """Data sets whose tables of trials name images of THINGS."""

    @abstractmethod
    def table_of(self, options: Any, subject: str, data: Path) -> Path:
        """Path of the table of a subject's trials."""

    @abstractmethod
    def images_in(self, table: Path) -> set[str]:
        """Images that a table of trials names, as it names them."""

    def stimuli(
        self, entry: DatasetEntry, options: ThingsImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the table of the images that the subjects saw; catch images are none of them.

        Raises
        ------
        DatasetError
            Subjects who share the set saw different images, or an image is missing.
        """
        subjects = subjects_with(entry, name, lambda subject: self.table_of(options, subject, data))
        shown = {
            subject: self.images_in(self.table_of(options, subject, data)) for subject in subjects
        }
        return things_stimuli(
            images_of_all(shown, name=name),
            folder=data / options.images,
            group=options.group,
            missing=options.missing_images,
            name=name,
            captions=options.captions,
            background=options.background,
        )

    def problems(self, entry: DatasetEntry, options: Any, data: Path) -> list[str]:
        """Say that the folder of images is missing."""
        return image_folder_problems(entry.name, data / options.images)


def read_trial_table(
    path: Path, columns: Sequence[str], *, numbers: Sequence[str], kinds: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a table that a data set publishes.

    Parameters
    ----------
    path
        A CSV file.
    columns
        Columns that it must have.
    numbers
        Those of them that hold numbers.
    kinds
        What its column ``trial_type`` may hold; it needs none where left out.

    Raises
    ------
    DatasetError
        It is missing or unreadable, lacks a column, or names another kind of trial.
    """
    try:
        table = read_csv(path, numbers=numbers)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); get it again") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DatasetError(f"{path}: lacks the column(s) {', '.join(missing)}")
    unknown = strange_cells(table["trial_type"], kinds) if kinds else []
    if unknown:
        raise DatasetError(
            f"{path}: trial_type holds {', '.join(unknown)}; expected {', '.join(kinds)}"
        )
    return table


def image_id(path: str) -> str:
    """Name of an image: its file's name without folder and ending."""
    return PurePosixPath(path).stem


def concept_of(name: str) -> str:
    """Concept that an image shows: what its name says before the number.

    Raises
    ------
    DatasetError
        The name does not end in ``_<number>``.
    """
    concept, _, number = image_id(name).rpartition("_")
    if not concept or not number[:1].isdigit():
        raise DatasetError(
            f"image {name!r}: expected a name of the THINGS database such as aardvark_01b.jpg"
        )
    return concept


def concept_caption(concept: str) -> str:
    """Say in words what an image of a concept shows.

    The prompt is CLIP's (Radford et al. 2021, section 3.1.4). Concepts with a homonym carry a
    number (``bat1``, ``bat2``), which is no part of the word.
    """
    noun = re.sub(r"\d+$", "", concept).replace("_", " ").strip()
    article = "an" if noun[:1].lower() in "aeiou" else "a"
    return f"a photo of {article} {noun}"


def things_stimuli(
    paths: Iterable[str],
    *,
    folder: Path,
    group: Grouping,
    missing: Missing,
    name: str,
    captions: Captions = None,
    background: Background = WHITE,
) -> pd.DataFrame:
    """Make the table of the images that a data set showed.

    Parameters
    ----------
    paths
        Images as the data set's tables name them; folders in front are ignored, repeats too.
    folder
        Folder of the THINGS images, with one folder per concept.
    group
        What folds must not split: the images of a concept, or nothing but the image. Images with
        the same pixels share a group either way.
    missing
        Whether an image without file is an error or left out, and said in the log.
    name
        Name of the stimulus set.
    captions
        ``concept``: each image is called by its concept; None: images have no captions.
    background
        What transparent pixels are laid on.

    Returns
    -------
    DataFrame
        As :func:`gradbrain.datasets.stimuli.stimuli_table` makes it, sorted by image id.

    Raises
    ------
    DatasetError
        A name is not of the database, or a file is missing.
    ImageError
        A file cannot be read.
    """
    files = {image_id(path): _file(folder, path) for path in paths}
    absent = sorted(image for image, file in files.items() if not file.is_file())
    if absent and (missing == "error" or len(absent) == len(files)):
        raise DatasetError(
            f"stimulus set {name!r}: {len(absent)} of {len(files)} images are missing, e.g. "
            f"{files[absent[0]]}; {OBTAIN}, or leave them out with `missing_images: drop`"
        )
    if absent:
        log.warning(
            "%s: %d of %d images have no file and are left out, e.g. %s",
            name,
            len(absent),
            len(files),
            files[absent[0]],
        )
    present = sorted(set(files) - set(absent))
    rows = []
    for image in tqdm(present, desc=f"images of {name}", unit="image", disable=None):
        rows.append(
            file_stimulus(
                files[image],
                image_id=image,
                group=concept_of(image) if group == "category" else image,
                background=background,
                caption=concept_caption(concept_of(image)) if captions == "concept" else None,
            )
        )
    return stimuli_table(join_twins(rows), name=name)


def subjects_with(
    entry: DatasetEntry, name: str, table_of: Callable[[str], Path]
) -> tuple[str, ...]:
    """Name the subjects whose tables tell the images of a stimulus set.

    Of a set that all share, those whose tables are there; the first one where none is, so that
    reading it says what is missing.

    Parameters
    ----------
    entry
        The data set.
    name
        The stimulus set: the entry's, or the name of its only subject.
    table_of
        Path of a subject's table.
    """
    if entry.stimuli != name:
        return (name,)
    present = tuple(subject for subject in entry.subjects if table_of(subject).is_file())
    return present or entry.subjects[:1]


def images_of_all(shown: Mapping[str, set[str]], *, name: str) -> set[str]:
    """Return the images that all subjects of a stimulus set saw.

    Raises
    ------
    DatasetError
        Two subjects saw different images.
    """
    first = next(iter(shown))
    for subject, images in shown.items():
        other = images ^ shown[first]
        if other:
            raise DatasetError(
                f"stimulus set {name!r}: {first} and {subject} differ in {len(other)} images, e.g. "
                f"{min(other)!r}; leave `stimuli` out of the entry, so that each has its own set"
            )
    return shown[first]


def image_folder_problems(data_set: str, folder: Path) -> list[str]:
    """Say what keeps the images from being read, as far as a look at the folder tells."""
    if not folder.is_dir():
        return [
            f"data set {data_set!r}: {folder}: the folder of THINGS images is missing; {OBTAIN}"
        ]
    return []


def inspect_images(paths: Iterable[str], *, folder: Path) -> Item:
    """Look for the images that a data set's tables name, and at their headers."""
    return inspect_files(
        [_file(folder, path) for path in sorted(set(paths))],
        pattern=str(folder / "*" / "*.jpg"),
        subject="",
        read=look_at_image,
    )


def _file(folder: Path, path: str) -> Path:
    return folder / concept_of(path) / PurePosixPath(path).name


def join_twins(rows: list[Stimulus]) -> list[Stimulus]:
    """Join the groups of images with the same pixels, so that folds cannot part them.

    Parameters
    ----------
    rows
        Of a stimulus table.

    Returns
    -------
    list of Stimulus
        The same with other groups; twins are named in the log.
    """
    parent = {row.group: row.group for row in rows}

    def first_of(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    seen: dict[str, Stimulus] = {}
    for row in rows:
        twin = seen.setdefault(row.content_sha256, row)
        if first_of(twin.group) != first_of(row.group):
            log.warning("%s and %s are the same pixels", twin.image_id, row.image_id)
            parent[first_of(row.group)] = first_of(twin.group)
    return [replace(row, group=first_of(row.group)) for row in rows]
