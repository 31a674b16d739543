"""Build the network of a registry entry and run it up to its features or logits."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins, weights_use
from gradbrain.config.schema import ModelEntry
from gradbrain.models import weights
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.folding import folded

log = logging.getLogger(__name__)

OutputName = Literal["features", "logits"]
FEATURES: tuple[OutputName, ...] = ("features",)
LOGITS: tuple[OutputName, ...] = ("logits",)


@dataclass(frozen=True)
class VisionModel:
    """A frozen network in evaluation mode, with the entry that it was built from.

    Attributes
    ----------
    module
        Follows timm's protocol: ``forward_features(x)`` and
        ``forward_head(x, pre_logits=False)``.
    entry
        Registry entry.
    weights_digest
        SHA-256 of the state dictionary.
    weights_origin
        Where the weights came from, with the revision of the hub repository or ``unpinned``.
    dtype
        Of the parameters and of the outputs; float64 in numerical tests.
    autocast
        Reduced precision of the forward pass (bfloat16, float16); None: none.
    view_autocast
        Reduced precision of :meth:`features_alone`; None: `autocast`.
    data
        Folder below which checkpoints lie, that of a text tower among them.
    """

    module: nn.Module
    entry: ModelEntry
    weights_digest: str = ""
    weights_origin: str = ""
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    view_autocast: torch.dtype | None = None
    data: Path = Path("data")
    _constants: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    _folded: list[nn.Module] = field(default_factory=list, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        for parameter in self.module.parameters():
            return parameter.device
        return torch.device("cpu")

    @property
    def n_classes(self) -> int:
        """Number of logits; 0 for networks without a classifier."""
        return int(getattr(self.module, "num_classes", 0) or 0)

    def _channel_constant(self, name: str, values: tuple[float, ...]) -> torch.Tensor:
        if name not in self._constants:
            constant = torch.tensor(values, dtype=self.dtype, device=self.device)
            self._constants[name] = constant.view(1, 3, 1, 1)
        return self._constants[name]

    def normalise(self, raw: torch.Tensor) -> torch.Tensor:
        """Scale images from [0, 1] to the network's input, (B, 3, S, S) to (B, 3, S, S)."""
        mean = self._channel_constant("mean", self.entry.mean)
        std = self._channel_constant("std", self.entry.std)
        return (raw.to(self.dtype) - mean) / std

    def outputs(
        self, raw: torch.Tensor, needed: Collection[OutputName] = FEATURES
    ) -> dict[OutputName, torch.Tensor]:
        """Run the network once.

        Parameters
        ----------
        raw
            Images in [0, 1], (B, 3, S, S).
        needed
            Which outputs objectives act on. ``features`` is the pooled embedding before the
            classifier, (B, D); ``logits`` is (B, n_classes).

        Returns
        -------
        dict
            Output name -> (B, D) tensor.

        Raises
        ------
        ModelError
            Logits are asked of a network without a classifier.
        """
        if "logits" in needed and self.n_classes == 0:
            raise ModelError(
                f"model {self.entry.name!r} ({self.entry.architecture}) has no classifier, but an "
                "objective acts on its logits; choose an objective on features, e.g. dino"
            )
        with self._reduced(self.autocast):
            found = self._forward(raw, needed)
        return {name: output.to(self.dtype) for name, output in found.items()}

    def _reduced(self, dtype: torch.dtype | None) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def features_alone(self, raw: torch.Tensor) -> torch.Tensor:
        """Features of images, without a graph and without a look at any layer.

        On a CPU a convolution takes half the time with channels as the last axis in memory, and
        batch normalisation is folded into the convolutions (:mod:`gradbrain.models.folding`);
        transformers do not mind (benchmarks/bench_views.py).

        Parameters
        ----------
        raw
            Images in [0, 1], (B, 3, S, S).

        Returns
        -------
        torch.Tensor
            (B, D), those of :meth:`outputs` but for rounding; rounding to `view_autocast`, where
            that is another precision than `autocast`.
        """
        raw = raw.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            if not self._folded:
                self._folded.append(self._for_passes_alone(self.normalise(raw[:1])))
            with self._reduced(self.view_autocast or self.autocast):
                return self._features(self._folded[0], self.normalise(raw)).to(self.dtype)

    def _for_passes_alone(self, one: torch.Tensor) -> nn.Module:
        """The folded network where that is faster, tried on one image of the network's scale."""
        if self.device.type != "cpu" or self.autocast is not None:
            return self.module
        return folded(self.module, lambda twin: self._features(twin, one))

    def _features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Features by the network or its folded copy, of images of its own scale."""
        hidden = module.forward_features(images)  # type: ignore[operator]
        return self._pooled(module, hidden)

    def _forward(
        self, raw: torch.Tensor, needed: Collection[OutputName]
    ) -> dict[OutputName, torch.Tensor]:
        hidden = self.module.forward_features(self.normalise(raw))  # type: ignore[operator]
        if not needed:
            return {}
        if "features" not in needed:
            return {"logits": self.module.forward_head(hidden)}  # type: ignore[operator]
        features = self._pooled(self.module, hidden)
        found: dict[OutputName, torch.Tensor] = {"features": features}
        if "logits" in needed:
            # Reusing the features keeps one path through the head for both outputs.
            found["logits"] = self.module.get_classifier()(features)  # type: ignore[operator]
        return found

    def _pooled(self, module: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = module.forward_head(hidden, pre_logits=True)  # type: ignore[operator]
        if features.ndim != 2:
            raise ModelError(
                f"model {self.entry.name!r}: its features have shape {tuple(features.shape)}, "
                "expected (images, features); give the architecture a global pooling in kwargs"
            )
        return features

    def check_classifier(self) -> None:
        """Check that the classifier applied to the features gives the network's own logits.

        Raises
        ------
        ModelError
            It does not, so that features and logits cannot come from one forward pass.
        """
        with torch.no_grad():
            raw = torch.full((1, 3, *[self.entry.input_size] * 2), 0.5, device=self.device)
            together = self.outputs(raw, FEATURES + LOGITS)["logits"]
            alone = self.outputs(raw, LOGITS)["logits"]
        if not torch.allclose(together, alone, rtol=1e-3, atol=1e-5):
            raise ModelError(
                f"model {self.entry.name!r}: get_classifier() of {self.entry.architecture} does "
                "not turn its features into its logits; take objectives on features and on logits "
                "in two signal sets"
            )


def freeze(module: nn.Module) -> nn.Module:
    """Put a module in evaluation mode, freeze its parameters, make its activations pure.

    An in-place activation overwrites the output of the layer before it, and with it the features
    that were taken there.
    """
    module.eval()
    module.requires_grad_(False)
    for child in module.modules():
        if getattr(child, "inplace", False) is True:
            child.inplace = False  # type: ignore[assignment]
    return module


def _load(entry: ModelEntry, plugins: Plugins, data: Path) -> tuple[nn.Module, str]:
    """Ask the source of weights for the network, and where its weights came from."""
    use = weights_use(entry, plugins, where=f"models.yaml: model {entry.name!r}")
    found = use.plugin.load().load(entry, use.options, data)
    match found:
        case (nn.Module() as module, str(origin)):
            return module, origin
    raise WeightsError(
        f"model {entry.name!r}: {use.plugin.path}: load gave {type(found).__name__}, expected the "
        "network and a line that says where its weights came from: (torch.nn.Module, str)"
    )


def build_model(
    entry: ModelEntry,
    *,
    data: Path = Path("data"),
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
    view_autocast: torch.dtype | None = None,
    plugins: Plugins = LIBRARY_PLUGINS,
) -> VisionModel:
    """Build the network of an entry with its weights, frozen and in evaluation mode.

    Parameters
    ----------
    entry
        Registry entry.
    data
        Folder below which checkpoints lie.
    device
        Where the network runs.
    autocast
        Reduced precision of its forward pass, or None.
    view_autocast
        Reduced precision of the passes of augmented views; None: `autocast`.
    plugins
        Where its source of weights is looked up.

    Returns
    -------
    VisionModel
        Same weights for the same entry, whatever the state of the random generators.

    Raises
    ------
    GradbrainError
        The architecture, its kwargs or its weights are not as the entry says.
    """
    module, origin = _load(entry, plugins, data)
    digest = weights.state_digest(module)
    log.info("model %s: weights from %s, digest %s", entry.name, origin, digest[:12])
    return VisionModel(
        freeze(module).to(device),
        entry,
        digest,
        autocast=autocast,
        view_autocast=view_autocast,
        weights_origin=origin,
        data=data,
    )
