"""Adapters by name: the module that an entry of datasets.yaml names.

It is one of ``gradbrain.datasets``, or a plug-in of one's own (:mod:`gradbrain.config.plugins`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugin, Plugins
from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.adapter import DatasetAdapter

#: Options with the two poles of the hierarchy, of adapters that have such options.
POLES = ("early_rois", "high_rois")


def adapter(
    name: str, *, where: str = "datasets.yaml", plugins: Plugins = LIBRARY_PLUGINS
) -> DatasetAdapter:
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
    plugin = _find(name, where, plugins)
    found: type[DatasetAdapter] = plugin.load().Adapter
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    if lacking:
        raise GradbrainError(f"{plugin.path}: class Adapter lacks {', '.join(lacking)}")
    return found()


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
    """Tell whether the images of the stimulus set `name` come with captions."""
    return adapter(entry.adapter, plugins=plugins).has_captions(entry, options, name, data)


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
