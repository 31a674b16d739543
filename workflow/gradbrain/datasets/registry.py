"""Adapters by name: the module of ``gradbrain.datasets`` that an entry of datasets.yaml names."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from gradbrain.config.registries import validate
from gradbrain.config.suggestions import choose
from gradbrain.config.schema import DatasetEntry, StrictModel
from gradbrain.datasets.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Adapter(Protocol):
    """What a module needs in order to be named as the ``adapter`` of a data set."""

    Options: type[StrictModel]
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


REQUIRED = (
    "Options",
    "IMAGE_OPTIONS",
    "stimuli",
    "responses",
    "check",
    "required_features",
    "space",
)


def available_adapters() -> list[str]:
    """Names of the modules that define all that an adapter needs, found without importing them."""
    return sorted(
        path.stem
        for path in Path(__file__).resolve().parent.glob("*.py")
        if set(REQUIRED) <= _defined_names(path)
    )


def _defined_names(path: Path) -> set[str]:
    """Names that the module-level statements of a file define or import."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def adapter(name: str, *, where: str = "datasets.yaml") -> Adapter:
    """Import the adapter called `name`; `where` names the entry that asks for it.

    Raises
    ------
    GradbrainError
        There is no such module.
    DatasetError
        The module is not an adapter.
    """
    module_name = f"gradbrain.datasets.{name}"
    if not name.isidentifier() or importlib.util.find_spec(module_name) is None:
        choose(name, available_adapters(), what="adapter", where=f"{where}: adapter")
    module = importlib.import_module(module_name)
    missing = [attribute for attribute in REQUIRED if not hasattr(module, attribute)]
    if missing:
        raise DatasetError(
            f"{where}: adapter {name!r}: the module {module_name} lacks {', '.join(missing)}; "
            f"an adapter defines {', '.join(REQUIRED)}. Adapters: {', '.join(available_adapters())}"
        )
    return cast(Adapter, module)


def gives_captions(entry: DatasetEntry, options: Any, name: str, data: Path) -> bool:
    """Tell whether the images of the stimulus set `name` come with captions.

    An adapter that may give some defines ``has_captions``, which looks at no more than options and
    the head of a table.
    """
    has_captions = getattr(adapter(entry.adapter), "has_captions", None)
    return has_captions is not None and bool(has_captions(entry, options, name, data))


def modality_problems(entry: DatasetEntry, *, expected: str) -> list[str]:
    """Say that an entry names another modality than its adapter reads; empty where it does not."""
    if entry.modality == expected:
        return []
    return [
        f"data set {entry.name!r}: modality is {entry.modality!r}, expected {expected!r}; correct "
        "it in datasets.yaml"
    ]


def read_options(entry: DatasetEntry, *, where: str | None = None) -> Any:
    """Validate the ``options`` of an entry with the class of its adapter.

    Parameters
    ----------
    entry
        The entry.
    where
        File and name of the entry, for error messages; a job has only the name.

    Raises
    ------
    GradbrainError
        An option is unknown, missing or of the wrong kind; every one of them is named.
    """
    where = where or f"datasets.yaml: data set {entry.name!r}"
    options = adapter(entry.adapter, where=where).Options
    return validate(options, entry.options, where=f"{where}: options")
