"""A multilayer convolutional autoencoder, whose decoder leads back level by level.

The encoder halves the map at every level, the decoder doubles it again; levels end in a hyperbolic
tangent, but for the last one, which gives the image. What the encoder does at a level, the decoder
undoes, so that each layer has another that leads back from it: the feedback path of a network that
propagates targets (Lillicrap et al. 2020, Nature Reviews Neuroscience 21, 335). The network is
small on purpose: a job trains it within minutes, by several learning rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from gradbrain.models.errors import ModelError

if TYPE_CHECKING:
    from gradbrain.config.schema import ModelEntry

#: Architecture -> channels of each level of the encoder.
ARCHITECTURES: Mapping[str, tuple[int, ...]] = {
    "autoencoder_3": (16, 32, 64),
    "test_autoencoder": (4, 6),
}
COLOURS = 3
#: Edge, stride and padding of every kernel: it halves or doubles the edge of a map exactly.
KERNEL = (4, 2, 1)


class Level(nn.Module):
    """A convolution up or down, and its nonlinearity.

    Parameters
    ----------
    kernel
        The convolution.
    bends
        Whether a hyperbolic tangent follows.
    """

    def __init__(self, kernel: nn.Module, *, bends: bool = True) -> None:
        super().__init__()
        self.kernel = kernel
        self.bends = bends

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D, H / 2, W / 2), or to twice the edge."""
        found: torch.Tensor = self.kernel(values)
        return found.tanh() if self.bends else found


class Autoencoder(nn.Module):
    """Encoder and decoder with timm's protocol; its features are the image that it gives back.

    Parameters
    ----------
    channels
        Of the levels of the encoder.
    size
        Edge of the images in pixels.

    Attributes
    ----------
    learned_by
        Rule that trained it; empty: none.
    target_step
        How far the target of its output lay on the way to the image, where targets trained it.
    """

    num_classes = 0

    def __init__(self, channels: tuple[int, ...], size: int) -> None:
        super().__init__()
        edges = (COLOURS, *channels)
        pairs = list(pairwise(edges))
        self.encoder = nn.Sequential(
            *(Level(nn.Conv2d(below, above, *KERNEL)) for below, above in pairs)
        )
        self.decoder = nn.Sequential(
            *(
                Level(nn.ConvTranspose2d(above, below, *KERNEL), bends=below != COLOURS)
                for below, above in reversed(pairs)
            )
        )
        self.num_features = COLOURS * size**2
        self.learned_by, self.target_step = "", 0.0
        self._feedback: dict[str, str] = {}

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of its layers, from the image to what is given back."""
        levels = range(len(self.encoder))
        return (*(f"encoder.{i}" for i in levels), *(f"decoder.{i}" for i in levels))

    def inverse_of(self, layer: str) -> Level:
        """Layer that leads back from a layer to the one below it."""
        names = self.layer_names
        found = self.get_submodule(names[len(names) - 1 - names.index(layer)])
        assert isinstance(found, Level)
        return found

    def activities(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of all layers in their order, the last being what is given back."""
        found = [images]
        for name in self.layer_names:
            found.append(self.get_submodule(name)(found[-1]))
        return found[1:]

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Give images back, (B, 3, S, S) to (B, 3, S, S)."""
        found: torch.Tensor = self.decoder(self.encoder(images))
        return found

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Lay the image out as a row, (B, 3 S S)."""
        return hidden.flatten(1)

    def keep_feedback(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights through which errors were sent back while it was trained."""
        for name, weight in weights.items():
            self._feedback[name] = buffer_of(name)
            self.register_buffer(buffer_of(name), weight.detach().clone())

    @property
    def feedback(self) -> dict[str, torch.Tensor]:
        """Name of a weight -> what errors are sent back through in its place; may be empty."""
        return {name: self.get_buffer(buffer) for name, buffer in self._feedback.items()}


def buffer_of(weight: str) -> str:
    """Name of the buffer that holds the feedback in the place of a weight."""
    return f"feedback_{weight.replace('.', '_')}"


def layer_names(architecture: str) -> tuple[str, ...]:
    """Names of the layers of an architecture, from input to output."""
    with torch.device("meta"):
        return Autoencoder(ARCHITECTURES[architecture], 0).layer_names


def create(entry: ModelEntry) -> Autoencoder:
    """Build the autoencoder of an entry with random weights.

    Raises
    ------
    ModelError
        There is no such architecture, it takes no kwargs, or its levels do not halve the input.
    """
    if entry.architecture not in ARCHITECTURES:
        raise ModelError(
            f"model {entry.name!r}: architecture: of autoencoders there are "
            f"{', '.join(ARCHITECTURES)}, found {entry.architecture!r}"
        )
    if entry.kwargs:
        raise ModelError(
            f"model {entry.name!r}: kwargs: autoencoders take none, found {entry.kwargs}; leave "
            "the key out"
        )
    channels = ARCHITECTURES[entry.architecture]
    if entry.input_size % 2 ** len(channels):
        raise ModelError(
            f"model {entry.name!r}: input_size: {entry.architecture} halves its input "
            f"{len(channels)} times, so that it takes a multiple of {2 ** len(channels)}, found "
            f"{entry.input_size}"
        )
    return Autoencoder(channels, entry.input_size)
