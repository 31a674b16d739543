"""What every objective has in common, and the batch of images it is evaluated on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from gradbrain.models.build import OutputName, VisionModel
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.objectives.seeds import seed_of_source

NO_LABEL = -1


@dataclass(frozen=True)
class ImageBatch:
    """Images as they enter the network, before its normalisation.

    Attributes
    ----------
    image_ids
        One id per image; with the seed they determine everything random.
    raw
        (B, 3, S, S), values in [0, 1], on the model's device.
    labels
        (B,) int64 class indices in the label space of the model, ``NO_LABEL`` where none is given.
    captions
        One caption per image, None where none is given.
    views
        Features of augmented views that were computed already, so that objectives which look at
        the same views share them; filled by `gradbrain.objectives.views`.
    """

    image_ids: tuple[str, ...]
    raw: torch.Tensor
    labels: torch.Tensor
    captions: tuple[str | None, ...]
    views: dict[Hashable, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.image_ids)

    def part(self, rows: slice) -> ImageBatch:
        """Batch of some of the images, with what is known of their views; a step is allowed."""
        return ImageBatch(
            self.image_ids[rows],
            self.raw[rows],
            self.labels[rows],
            self.captions[rows],
            {key: features[rows] for key, features in self.views.items()},
        )

    def with_raw(self, raw: torch.Tensor) -> ImageBatch:
        """Batch of the same images with other pixels."""
        return ImageBatch(self.image_ids, raw, self.labels, self.captions)


class BaseObjective(ABC):
    """A scalar per image, computed from one output of the network.

    Every implementation holds to three rules: the scalar of an image depends on no other image
    of the batch; it is the same whenever image id and seed are; what is fitted is fitted on
    calibration images.

    Parameters
    ----------
    model
        Network that is differentiated.
    options
        The module's ``Options``.
    calibration
        Calibration images, or None where the options do not need any.
    seed
        Seed of everything random.
    inner
        Objectives that the options say are used inside this one, in the order of ``uses``.
    replicate
        0: the draw of Monte-Carlo randomness that is used; others are independent of it.
    state
        What :meth:`fit` gave in another job; None: it is fitted here.

    Attributes
    ----------
    state
        What :meth:`fit` gave, by name.
    """

    output: OutputName = "features"

    def __init__(
        self,
        model: VisionModel,
        options: Any,
        calibration: CalibrationBank | None,
        seed: int,
        inner: Sequence[BaseObjective] = (),
        *,
        replicate: int = 0,
        state: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.model, self.options, self.calibration, self.seed = model, options, calibration, seed
        self.inner, self.replicate = tuple(inner), replicate
        self.prepare()
        self.state: Mapping[str, torch.Tensor] = self.fit() if state is None else state

    def prepare(self) -> None:  # noqa: B027
        """Load or draw what all images share; every job does so."""

    def fit(self) -> dict[str, torch.Tensor]:
        """Fit on calibration images what all images share.

        Where an objective passes views of images through the network, one job fits it for all
        layers, and those that take single layers are handed what it gave.

        Returns
        -------
        dict
            Name -> tensor on the model's device; read again from :attr:`state`. Whatever
            :meth:`targets`, :meth:`evaluate` and :meth:`report` need of a fit is in here.
        """
        return {}

    def targets(self, batch: ImageBatch) -> torch.Tensor:
        """Compute what the objective compares the output with, e.g. a teacher's code.

        Called without gradient and before the forward pass that is differentiated, so that its
        memory is free again when that one builds its graph; or in another job
        (:mod:`gradbrain.signals.objective_targets`).

        Returns
        -------
        torch.Tensor
            (B, …); (B, 0) for objectives that need the output alone.
        """
        return batch.raw.new_empty(len(batch), 0)

    @abstractmethod
    def evaluate(
        self, output: torch.Tensor, batch: ImageBatch, targets: torch.Tensor
    ) -> torch.Tensor:
        """Evaluate the objective.

        Parameters
        ----------
        output
            The network's ``output`` for the batch, (B, D), with its graph.
        batch
            The images themselves.
        targets
            What :meth:`targets` gave for the batch.

        Returns
        -------
        torch.Tensor
            (B,) one scalar per image.
        """

    def bind(self, batch: ImageBatch) -> BoundObjective:
        """Compute the targets of a batch and keep them with it."""
        with torch.no_grad():
            return BoundObjective(self, batch, self.targets(batch))

    def loss(self, output: torch.Tensor, batch: ImageBatch) -> torch.Tensor:
        """Evaluate the objective of a batch from its output alone, (B, D) to (B,)."""
        return self.bind(batch).values(output)

    def report(self) -> dict[str, Any]:
        """Facts about the objective for the provenance; deterministic."""
        return {}

    def seed_of(self, source: str) -> int:
        """Seed of a source of randomness that the options declare, in this replicate."""
        return seed_of_source(
            self.options.randomness, source, seed=self.seed, replicate=self.replicate
        )

    @property
    def is_drawn(self) -> bool:
        """Whether it depends on Monte-Carlo randomness, such as augmented views."""
        return "monte_carlo" in self.options.randomness.values()

    def redrawn(self, replicate: int) -> Self:
        """Return the same objective, with what it fitted, under another draw of its randomness."""
        other = copy(self)
        other.replicate = replicate
        return other

    def fitted(self) -> CalibrationBank:
        """Calibration bank of an objective that needs one."""
        if self.calibration is None:
            raise RuntimeError(f"{type(self).__module__} was built without calibration images")
        return self.calibration


@dataclass(frozen=True)
class BoundObjective:
    """An objective with the images of one batch and its targets for them."""

    objective: BaseObjective
    batch: ImageBatch
    targets: torch.Tensor

    def values(self, output: torch.Tensor) -> torch.Tensor:
        """One scalar per image, (B, D) to (B,), with the graph of the output."""
        return self.objective.evaluate(output, self.batch, self.targets)
