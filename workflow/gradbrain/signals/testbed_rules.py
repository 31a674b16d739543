r"""Learning rules that train an autoencoder, each with the signal that it gives every layer.

``backprop``, ``feedback_alignment`` and ``kolen_pollack`` send the error of the output back through
weights: the forward ones; fixed random ones of their size (Lillicrap et al. 2016, Nature
Communications 7, 13276); or random ones :math:`B` that get the same changes and the same decay as
the forward ones (Kolen & Pollack 1994, IEEE ICNN; Akrout et al. 2019, arXiv:1904.05391), so that
:math:`W - B` shrinks by a factor in every step, whatever is learnt.
``difference_target_propagation`` (Lee et al. 2015, arXiv:1412.7525) gives every layer a target,
which the layers that lead back carry down from the output
(:func:`gradbrain.signals.target_propagation.changes_below`); each layer then moves its output
towards its target, and leads back better from noisy activities of the layer below, both by changes
that are local to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from gradbrain.models.autoencoder import Autoencoder
from gradbrain.models.sources.testbed import Options
from gradbrain.signals.feedback_alignment import random_weight
from gradbrain.signals.target_propagation import Inverse, changes_below
from gradbrain.signals.way_back import WayBack


class LearningRule(Protocol):
    """How an autoencoder learns.

    Attributes
    ----------
    variants
        Names of the signals that :meth:`signals` gives, the one that trains first.
    feedback
        Name of a weight -> what errors are sent back through in its place; may be empty.
    learnt
        Further tensors that an optimiser changes, those of `feedback` that learn.
    """

    variants: tuple[str, ...]
    feedback: dict[str, torch.Tensor]
    learnt: list[torch.Tensor]

    def teach(self, images: torch.Tensor, random: torch.Generator) -> None:
        """Leave the changes of a batch, (B, 3, S, S), in the gradients of what is learnt."""
        ...

    def signals(
        self, images: torch.Tensor, error: torch.Tensor, variant: str
    ) -> list[torch.Tensor]:
        """Give what every layer is told, by the sign of a gradient, for errors at the output."""
        ...


class ThroughWeights:
    """Errors are sent back through weights.

    Parameters
    ----------
    network
        Autoencoder.
    options
        Rule and seed.
    """

    variants: tuple[str, ...] = ("",)

    def __init__(self, network: Autoencoder, options: Options) -> None:
        self.network = network
        self._way_back = WayBack(network)
        self.feedback: dict[str, torch.Tensor] = {}
        self.learnt: list[torch.Tensor] = []
        if options.learning_rule != "backprop":
            self.feedback = {
                name: random_weight(options.learning_rule, options.seed, name, weight.detach())
                for name, weight in kernels(network).items()
            }
        if options.learning_rule == "kolen_pollack":
            self.learnt = list(self.feedback.values())

    @contextmanager
    def _recorded(self, images: torch.Tensor) -> Iterator[list[torch.Tensor]]:
        with torch.enable_grad(), self._way_back.recording():
            activities = self.network.activities(images)
        with self._way_back.through(self.feedback):
            yield activities

    def teach(self, images: torch.Tensor, random: torch.Generator) -> None:
        """Send errors back, and leave what they say to the weights; feedback that learns, too."""
        with self._recorded(images) as activities:
            reconstruction_loss(activities[-1], images).mean().backward()
        own = kernels(self.network)
        for name, weight in self.feedback.items():
            # The same array: both are changed alike.
            weight.grad = own[name].grad

    def signals(
        self, images: torch.Tensor, error: torch.Tensor, variant: str
    ) -> list[torch.Tensor]:
        """Errors that arrive at every layer."""
        with self._recorded(images) as activities:
            return list(torch.autograd.grad(activities[-1], activities, error))


class ThroughInverses:
    """Targets are carried down by the layers that lead back.

    Parameters
    ----------
    network
        Autoencoder.
    options
        Step, noise and seed.
    """

    variants: tuple[str, ...] = ("corrected", "uncorrected")

    def __init__(self, network: Autoencoder, options: Options) -> None:
        self.network, self.options = network, options
        self.feedback: dict[str, torch.Tensor] = {}
        self.learnt: list[torch.Tensor] = []

    @property
    def inverses(self) -> list[Inverse]:
        """What leads back from each layer but the first."""
        return [self.network.inverse_of(name) for name in self.network.layer_names[1:]]

    def teach(self, images: torch.Tensor, random: torch.Generator) -> None:
        """Move every layer towards its target, and every inverse towards undoing its layer."""
        with torch.no_grad():
            values = [images, *self.network.activities(images)]
        changes = self.signals(images, values[-1] - images, "corrected")
        for place, name in enumerate(self.network.layer_names):
            layer = self.network.get_submodule(name)
            below, target = values[place], values[place + 1] - changes[place]
            _distance(layer(below), target).backward()
            if place:
                self._teach_inverse(name, below, random)

    def _teach_inverse(self, layer: str, below: torch.Tensor, random: torch.Generator) -> None:
        drawn = torch.randn(below.shape, generator=random, dtype=below.dtype)
        noisy = below + self.options.noise * below.std() * drawn
        with torch.no_grad():
            above = self.network.get_submodule(layer)(noisy)
        _distance(self.network.inverse_of(layer)(above), noisy).backward()

    def signals(
        self, images: torch.Tensor, error: torch.Tensor, variant: str
    ) -> list[torch.Tensor]:
        """Activity minus target of every layer."""
        with torch.no_grad():
            return changes_below(
                self.network.activities(images),
                self.inverses,
                self.options.target_step * error,
                corrected=variant == "corrected",
            )


def learning_rule(network: Autoencoder, options: Options) -> LearningRule:
    """Set up the rule that trains a network."""
    if options.learning_rule == "difference_target_propagation":
        return ThroughInverses(network, options)
    return ThroughWeights(network, options)


def kernels(network: Autoencoder) -> dict[str, torch.nn.Parameter]:
    """Kernels of a network, which errors pass on their way back, by name."""
    return {name: one for name, one in network.named_parameters() if one.ndim > 1}


def reconstruction_loss(output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of each image, (B,), as the objective ``reconstruction`` has it."""
    return 0.5 * (output - images).flatten(1).square().sum(1)


def _distance(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return reconstruction_loss(found, wanted).mean()
