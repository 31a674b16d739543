"""Weights that a job of the study trains: of autoencoders, by one learning rule each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import xarray as xr
from pydantic import Field
from torch import nn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models.autoencoder import create
from gradbrain.models.errors import WeightsError
from gradbrain.models.weights import load_strictly
from gradbrain.store import open_tree
from gradbrain.vocabulary.artefacts import artefact

KIND = "trained_network"


class Options(WeightsOptions):
    """Options of the source: all that the training follows from."""

    learning_rule: Literal[
        "backprop", "feedback_alignment", "kolen_pollack", "difference_target_propagation"
    ] = Field(description="Rule that trains the network.")
    seed: int = Field(0, ge=0, description="Of first weights, feedback, order of images and noise.")
    images: str = Field(
        "testbed_photographs", description="Stimulus set that it is trained on, shared by studies."
    )
    steps: int = Field(2000, ge=1, description="Batches that it sees.")
    batch_size: int = Field(32, ge=1, description="Images of a batch.")
    rate: float = Field(2e-3, gt=0, description="Of Adam; falls to zero as a cosine does.")
    decay: float = Field(
        1.0,
        ge=0,
        description="Decay of weights, decoupled (Loshchilov & Hutter 2019); by it the feedback of "
        "kolen_pollack comes to the forward weights.",
    )
    target_step: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Of targets: how far the last one lies on the way to the image.",
    )
    noise: float = Field(
        0.1, ge=0, description="Of targets: added to activities, by their spread, to fit inverses."
    )
    measurements: int = Field(
        11, ge=2, description="How often angles are measured, start and end included."
    )

    @property
    def learned_by(self) -> str:
        """The rule that trains it."""
        return self.learning_rule

    def training_images(self) -> str:
        """Return the stimulus set."""
        return self.images

    def training_passes(self) -> float:
        """Count a backward pass as two; targets go down, and layers and inverses learn apart."""
        each = 9 if self.learning_rule == "difference_target_propagation" else 3
        return each * self.steps * self.batch_size


def load(entry: ModelEntry, options: Options, data: Path) -> tuple[nn.Module, str]:
    """Load what the job of the entry gave; results lie beside the folder of data."""
    path = data.parent / artefact(KIND).path(model=entry.name)
    tree = open_tree(path, kind=KIND)
    if tree.attrs["learning_rule"] != options.learning_rule:
        raise WeightsError(
            f"model {entry.name!r}: {path} was trained by {tree.attrs['learning_rule']}, the entry "
            f"says {options.learning_rule}; remove it and run the same command again: rm -r {path}"
        )
    network = create(entry)
    load_strictly(network, _tensors(tree, "weights"), path=path, entry=entry)
    network.keep_feedback(_tensors(tree, "feedback"))
    network.learned_by, network.target_step = options.learning_rule, options.target_step
    return network, f"{path}, {tree.attrs['digest']}, trained by {options.learning_rule}"


def _tensors(tree: xr.DataTree, group: str) -> dict[str, torch.Tensor]:
    """Arrays of a group, by name; none where there is no such group."""
    if group not in tree.children:
        return {}
    arrays = tree[group].to_dataset().data_vars
    return {str(name): torch.from_numpy(array.values) for name, array in arrays.items()}
