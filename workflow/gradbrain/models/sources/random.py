"""Random initialisation under a seed: untrained networks, which are controls."""

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

    seed: int = Field(0, ge=0, description="Seed of the random initialisation.")


def load(entry: ModelEntry, options: Options, data: Path) -> tuple[nn.Module, str]:
    """Create the network; the random generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return create_network(entry), f"random, seed {options.seed}"
