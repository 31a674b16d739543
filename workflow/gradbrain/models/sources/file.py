"""A file of weights below ``data/``, named as the network names them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from torch import nn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models.checkpoints import check_file
from gradbrain.models.weights import network_from_file


class Options(WeightsOptions):
    """Options of the source."""

    path: str = Field(
        min_length=1,
        description="File below data/, e.g. weights/mine.safetensors; or a pickle of tensors.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="Expected SHA-256 of the file; a mismatch is an error.",
    )

    def required_files(self, entry: ModelEntry) -> tuple[str, ...]:
        """Return the file."""
        return (self.path,)


def load(entry: ModelEntry, options: Options, data: Path) -> tuple[nn.Module, str]:
    """Load the file, entry by entry and shape by shape."""
    path = data / options.path
    return network_from_file(entry, path, sha256=options.sha256), f"file {options.path}"


def check(entry: ModelEntry, options: Options, data: Path) -> None:
    """Hold names and shapes of the file against the network, before any job."""
    check_file(entry, data / options.path)
