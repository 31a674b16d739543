"""No weights: of models that are no networks, such as image statistics."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NoReturn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models.errors import ModelError


class Options(WeightsOptions):
    """Options of the source: none."""

    trained: ClassVar[bool] = False


def load(entry: ModelEntry, options: Options, data: Path) -> NoReturn:
    """Refuse to build a network."""
    raise ModelError(
        f"model {entry.name!r} (source: {entry.source}) has no weights and is no network; take "
        "another model where one is needed"
    )
