"""Weights that all have one value."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models.network import create_network


class Options(WeightsOptions):
    """Options of the source."""

    trained: ClassVar[bool] = False

    value: float = Field(description="Value of every weight.")

    def optional_files(self, entry: ModelEntry) -> tuple[str, ...]:
        """Return a file that the source could take."""
        return (f"weights/{entry.architecture}.constant",)


def load(entry: ModelEntry, options: Options, data: Path) -> tuple[nn.Module, str]:
    """Create the network and overwrite its weights."""
    module = create_network(entry)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(options.value)
    return module, f"constant {options.value}"
