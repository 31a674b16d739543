"""Adapters by name: the module that an entry of datasets.yaml names.

It is one of ``gradbrain.datasets``, or a plug-in of one's own (:mod:`gradbrain.config.plugins`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugin, PluginOptions, Plugins
from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry
from gradbrain.vocabulary.roles import Axis

#: Options with the two poles of the hierarchy, of adapters that have such options.
POLES = ("early_rois", "high_rois")

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Adapter(Protocol):
    """What a module needs in order to be named as the ``adapter`` of a data set."""

    Options: type[PluginOptions]
    #: Options that `stimuli` reads; a change of any other leaves the images as they are.
    IMAGE_OPTIONS: tuple[str, ...]

    def stimuli(self, entry: DatasetEntry, options: Any, name: str, data: Path) -> pd.DataFrame:
        """Return the table of the stimulus set `name`."""
        ...

    def responses(
        self,
        entry: DatasetEntry,
        options: Any,
        subject: str,
        stimuli: pd.DataFrame,
        data: Path,
        features: Sequence[Path],
    ) -> xr.Dataset | Any:
        """Return one subject's responses, one row per image of the table `stimuli`.

        Those that would not fit into memory come block by block, as
        ``gradbrain.datasets.responses.TargetBlocks``.
        """
        ...

    def check(self, entry: DatasetEntry, options: Any, data: Path) -> list[str]:
        """List what would stop the jobs of this data set; cheap, run before any job."""
        ...

    def required_features(self, entry: DatasetEntry, options: Any) -> list[tuple[str, str, str]]:
        """List the (model, layer, signal set) whose feature stores `responses` reads."""
        ...

    def space(self, entry: DatasetEntry, options: Any) -> str:
        """Name the space of the responses, e.g. ``fsaverage5``; it decides which figures apply."""
        ...


def available_adapters(plugins: Plugins = LIBRARY_PLUGINS) -> list[str]:
    """Names of all adapters: those of the library, and those of one's own."""
    return plugins.names("adapters")


def adapter(
    name: str, *, where: str = "datasets.yaml", plugins: Plugins = LIBRARY_PLUGINS
) -> Adapter:
    """Import the adapter called `name`.

    Parameters
    ----------
    name
        Its module.
    where
        File and name of the entry that asks for it, for error messages.
    plugins
        Where it is looked up.

    Raises
    ------
    GradbrainError
        There is no such adapter, or its module lacks what an adapter defines.
    """
    return cast(Adapter, _find(name, where, plugins).load())


def _find(name: str, where: str, plugins: Plugins) -> Plugin:
    return plugins.find("adapters", name, where=f"{where}: adapter")


def registry_folders(root: Path, own: Iterable[Path]) -> list[Path]:
    """Folders of registries, each once: that of the project, then those of one's own.

    An entry of one's own names a modality, which is most often one of the project's.

    Parameters
    ----------
    root
        Folder of the project.
    own
        Further folders; that of the project may be among them.
    """
    first = root / "config"
    return [first, *(folder for folder in own if folder.resolve() != first.resolve())]


def with_fetch(entry: DatasetEntry, folders: Sequence[Path], plugins: Plugins) -> DatasetEntry:
    """Return an entry with what its registry says of fetching it, checksums among that.

    Parameters
    ----------
    entry
        Entry as a job gets it, without ``fetch``: no result follows from addresses.
    folders
        Folders of registries.
    plugins
        Plug-ins that entries may name.
    """
    listed = Registries(folders, plugins).dataset(entry.name, where="--entry")
    return entry.model_copy(update={"fetch": listed.fetch})


def gives_captions(
    entry: DatasetEntry,
    options: Any,
    name: str,
    data: Path,
    *,
    plugins: Plugins = LIBRARY_PLUGINS,
) -> bool:
    """Tell whether the images of the stimulus set `name` come with captions.

    An adapter that may give some defines ``has_captions``, which looks at no more than options and
    the head of a table.
    """
    has_captions = getattr(adapter(entry.adapter, plugins=plugins), "has_captions", None)
    return has_captions is not None and bool(has_captions(entry, options, name, data))


def axis_problems(entry: DatasetEntry, *, expected: Axis) -> list[str]:
    """Say that an entry names a modality of another axis than its adapter reads; else nothing."""
    if entry.axis == expected:
        return []
    found = "images only" if entry.axis is None else f"axis {entry.axis!r}"
    return [
        f"data set {entry.name!r}: modality is {entry.modality_name!r} ({found}), but adapter "
        f"{entry.adapter!r} reads responses of the axis {expected!r}; name a modality of that axis "
        "in datasets.yaml"
    ]


def read_options(
    entry: DatasetEntry, *, where: str | None = None, plugins: Plugins = LIBRARY_PLUGINS
) -> Any:
    """Validate the ``options`` of an entry with the class of its adapter, which is not imported.

    Parameters
    ----------
    entry
        The entry.
    where
        File and name of the entry, for error messages; a job has only the name.
    plugins
        Where the adapter is looked up.

    Raises
    ------
    GradbrainError
        There is no such adapter, or an option is unknown, missing or of the wrong kind; every one
        of them is named. Or the early and the high regions are not apart.
    """
    where = where or f"datasets.yaml: data set {entry.name!r}"
    options = _find(entry.adapter, where, plugins).options(entry.options, where=f"{where}: options")
    poles = [tuple(getattr(options, key, ())) for key in POLES]
    shared = [name for name in poles[0] if name in poles[1]]
    if shared:
        raise GradbrainError(
            f"{where}: options: {' and '.join(POLES)} both name {', '.join(shared)}; they are "
            "contrasted with each other, so that a region belongs to one of them or to neither"
        )
    return options
