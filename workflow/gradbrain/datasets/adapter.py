"""What an adapter of data sets is: the base of the class `Adapter` of its module."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry, ExpectedSize
from gradbrain.datasets.errors import DatasetError
from gradbrain.vocabulary.roles import Axis

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from gradbrain.datasets.inventory import Item
    from gradbrain.datasets.responses import TargetBlocks


class DatasetAdapter(ABC):
    """Reads the images and responses of data sets of one kind.

    Beside it its module defines `ImageOptions`, the options that images follow from, and `Options`,
    which has these and those of the responses. A change of the former makes the images anew, and
    all that follows; of any other option, the responses alone.

    Attributes
    ----------
    image_options
        The class `ImageOptions` of the module.
    splits
        Names that a study may give under ``folds``.
    """

    image_options: ClassVar[type[PluginOptions]]
    splits: ClassVar[tuple[str, ...]] = ()

    def of_images(self, options: Any) -> Any:
        """Those options that images follow from, as validated ones: all that `stimuli` is given."""
        # They were validated together with the others.
        return self.image_options.model_construct(
            **{name: getattr(options, name) for name in self.image_options.model_fields}
        )

    @abstractmethod
    def stimuli(self, entry: DatasetEntry, options: Any, name: str, data: Path) -> pd.DataFrame:
        """Return the table of the stimulus set `name`; `options` are those of images."""

    @abstractmethod
    def responses(
        self,
        entry: DatasetEntry,
        options: Any,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> xr.Dataset | TargetBlocks:
        """Return one subject's responses, one row per image of the table `stimuli`.

        Those that would not fit into memory come block by block.
        """

    @abstractmethod
    def check(self, entry: DatasetEntry, options: Any, data: Path) -> list[str]:
        """List what would stop the jobs of this data set; cheap, run before any job."""

    @abstractmethod
    def space(self, entry: DatasetEntry, options: Any) -> str:
        """Name the space of the responses, e.g. ``fsaverage5``; it decides which figures apply."""

    def required_features(self, entry: DatasetEntry, options: Any) -> list[tuple[str, str, str]]:
        """List the (model, layer, signal set) whose feature stores `responses` reads: none."""
        return []

    def has_captions(self, entry: DatasetEntry, options: Any, name: str, data: Path) -> bool:
        """Tell whether the images of a stimulus set come with captions.

        Looks at no more than options and the head of a table.
        """
        return False

    def folds_of_split(
        self, entry: DatasetEntry, options: Any, split: str, data: Path
    ) -> dict[str, str]:
        """Return the fold of each image in one of `splits`; ``train`` where it is never held out.

        Raises
        ------
        DatasetError
            The data set has no splits.
        """
        raise DatasetError(f"data set {entry.name!r} brings no splits, {split!r} among them")

    def expected_size(self, entry: DatasetEntry, options: Any, data: Path) -> ExpectedSize | None:
        """Tell the size of a subject from headers; None where they do not tell it."""
        return None

    def inventory(self, entry: DatasetEntry, options: Any, data: Path) -> list[Item]:
        """List what is there, missing and unreadable; nothing where the adapter cannot tell."""
        return []

    def provenance(
        self,
        entry: DatasetEntry,
        options: Any,
        subject: str,
        stimuli: pd.DataFrame,
        features: Sequence[Path],
    ) -> dict[str, Any]:
        """Return facts for the file beside a subject's store, which no rule reads."""
        return {}

    def missing_folder(self, entry: DatasetEntry, data: Path) -> list[str]:
        """Say that the folder of a data set is missing; else nothing."""
        if data.is_dir():
            return []
        return [
            f"data set {entry.name!r}: the folder {data} is missing; name its place under "
            f"`roots: {{{entry.name}: /path/to/it}}` in the study's config (docs/data.md says how "
            "to get it)"
        ]

    def axis_problems(self, entry: DatasetEntry, *, expected: Axis) -> list[str]:
        """Say that an entry names a modality of another axis than is read; else nothing."""
        if entry.axis == expected:
            return []
        found = "images only" if entry.axis is None else f"axis {entry.axis!r}"
        return [
            f"data set {entry.name!r}: modality is {entry.modality_name!r} ({found}), but adapter "
            f"{entry.adapter!r} reads responses of the axis {expected!r}; name a modality of that "
            "axis in datasets.yaml"
        ]


class FolderAdapter(DatasetAdapter):
    """Data sets that lie in a folder: what each of their checks looks at.

    Attributes
    ----------
    axis
        What the responses lie along; None where it is the entry that decides.
    own_images
        Whether each subject saw images of its own, so that an entry names no stimulus set.
    """

    axis: ClassVar[Axis | None] = None
    own_images: ClassVar[bool] = False

    def has_captions(self, entry: DatasetEntry, options: Any, name: str, data: Path) -> bool:
        """Tell whether the option `captions`, where images have one, asks for captions."""
        return getattr(options, "captions", None) is not None

    def check(self, entry: DatasetEntry, options: Any, data: Path) -> list[str]:
        """List missing folders and files, and entries and subjects that do not fit.

        The folder comes first; where it is missing nothing else is looked for.
        """
        problems = self.missing_folder(entry, data)
        if problems:
            return problems
        if self.axis is not None:
            problems += self.axis_problems(entry, expected=self.axis)
        if self.own_images and entry.stimuli is not None:
            problems.append(self.shared_images(entry))
        problems += self.problems(entry, options, data)
        for subject in entry.subjects:
            try:
                problems += self.subject_problems(entry, options, subject, data)
            except DatasetError as error:
                problems.append(str(error))
        return list(dict.fromkeys(problems))

    def problems(self, entry: DatasetEntry, options: Any, data: Path) -> list[str]:
        """List what is missing for all subjects: nothing."""
        return []

    def subject_problems(
        self, entry: DatasetEntry, options: Any, subject: str, data: Path
    ) -> list[str]:
        """List what is missing of a subject: nothing.

        Raises
        ------
        DatasetError
            The subject's name does not say which of the folder's people it is.
        """
        return []

    def missing_files(self, entry: DatasetEntry, files: Iterable[Path]) -> list[str]:
        """Say which of some files are missing."""
        return [
            f"data set {entry.name!r}: {file} is missing" for file in files if not file.is_file()
        ]

    def shared_images(self, entry: DatasetEntry) -> str:
        """Say that an entry names one stimulus set for subjects who saw images of their own."""
        return (
            f"data set {entry.name!r}: each subject saw images of its own; leave out `stimuli: "
            f"{entry.stimuli}` in datasets.yaml, and take those that all saw with `images: shared` "
            "in the study"
        )


def name_ending(subject: str, pattern: str, *, expected: str) -> str:
    """Read what the name of a subject ends in, which says whose data are its own.

    Parameters
    ----------
    subject
        As the entry names it.
    pattern
        Regular expression of the ending, with one group.
    expected
        The ending in words, with an example.

    Returns
    -------
    str
        What the group holds.

    Raises
    ------
    DatasetError
        The name does not end so.
    """
    found = re.search(f"(?:{pattern})$", subject)
    if found is None:
        raise DatasetError(f"subject {subject!r}: expected a name that ends in {expected}")
    return found[1]
