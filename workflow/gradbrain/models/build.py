"""Build the network of a registry entry and run it up to its features or logits."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from gradbrain.config.schema import ModelEntry
from gradbrain.models import timm_compat, weights
from gradbrain.models.errors import ModelError, WeightsError

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
    dtype
        Of the parameters and of the outputs; float64 in numerical tests.
    autocast
        Reduced precision of the forward pass (bfloat16, float16); None: none.
    """

    module: nn.Module
    entry: ModelEntry
    weights_digest: str = ""
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    _constants: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

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
        reduced = torch.autocast(
            self.device.type, dtype=self.autocast, enabled=self.autocast is not None
        )
        with reduced:
            found = self._forward(raw, needed)
        return {name: output.to(self.dtype) for name, output in found.items()}

    def _forward(
        self, raw: torch.Tensor, needed: Collection[OutputName]
    ) -> dict[OutputName, torch.Tensor]:
        hidden = self.module.forward_features(self.normalise(raw))  # type: ignore[operator]
        if not needed:
            return {}
        if "features" not in needed:
            return {"logits": self.module.forward_head(hidden)}  # type: ignore[operator]
        features = self.module.forward_head(hidden, pre_logits=True)  # type: ignore[operator]
        if features.ndim != 2:
            raise ModelError(
                f"model {self.entry.name!r}: its features have shape {tuple(features.shape)}, "
                "expected (images, features); give the architecture a global pooling in kwargs"
            )
        found: dict[OutputName, torch.Tensor] = {"features": features}
        if "logits" in needed:
            # Reusing the features keeps one path through the head for both outputs.
            found["logits"] = self.module.get_classifier()(features)  # type: ignore[operator]
        return found

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


def _create(entry: ModelEntry, name: str, **loading: Any) -> nn.Module:
    timm = timm_compat.import_timm()
    if not timm.is_model(entry.architecture.partition(".")[0]):
        near = timm.list_models(f"*{entry.architecture.split('_')[0]}*")[:8]
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} has no architecture "
            f"{entry.architecture!r}; similar names: {', '.join(near) or 'none'}"
        )
    try:
        return timm.create_model(name, **entry.kwargs, **loading)
    except TypeError as error:
        raise ModelError(
            f"model {entry.name!r}: {entry.architecture} does not accept the kwargs "
            f"{entry.kwargs}: {error}"
        ) from error


def _untrained(entry: ModelEntry) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(entry.seed)
        return _create(entry, entry.architecture)


def _from_checkpoint(entry: ModelEntry, data: Path) -> nn.Module:
    path = data / str(entry.checkpoint)
    state = weights.read_state(path, entry)
    module = _create(entry, entry.architecture)
    weights.load_strictly(module, state, path=path, entry=entry)
    return module


def _from_hub(entry: ModelEntry, data: Path) -> nn.Module:
    """Load a timm tag from ``data/weights/<architecture>.<tag>.safetensors``, else from the hub."""
    timm = timm_compat.import_timm()
    name = f"{entry.architecture}.{entry.pretrained}"
    local = data / "weights" / f"{name}.safetensors"
    known = timm.list_pretrained(f"{entry.architecture}.*")
    if name not in known:
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} knows no weights {name!r}; it has "
            f"{', '.join(known) or 'none'}"
        )
    config = timm.get_pretrained_cfg(name)
    if local.is_file():
        overlay = {"file": str(local)}
    else:
        if entry.revision is None:
            log.warning(
                "model %s: no revision is pinned, the newest weights of %s are taken",
                entry.name,
                config.hf_hub_id,
            )
        pinned = f"@{entry.revision}" if entry.revision else ""
        overlay = {"hf_hub_id": f"{config.hf_hub_id}{pinned}"}
    try:
        return _create(entry, name, pretrained=True, pretrained_cfg_overlay=overlay)
    except ModelError:
        raise
    except Exception as error:  # hub, network, safetensors and state-dict errors
        at = f" at revision {entry.revision}" if entry.revision else ""
        raise WeightsError(
            f"model {entry.name!r}: the weights {name} could not be loaded "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). Without network, place "
            f"model.safetensors of https://huggingface.co/{config.hf_hub_id}{at} at {local}"
        ) from error


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


def build_model(
    entry: ModelEntry,
    *,
    data: Path = Path("data"),
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
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

    Returns
    -------
    VisionModel
        Same weights for the same entry, whatever the state of the random generators.

    Raises
    ------
    ModelError
        The architecture, its kwargs or its weights are not as the entry says.
    """
    if entry.untrained:
        module = _untrained(entry)
    elif entry.checkpoint is not None:
        module = _from_checkpoint(entry, data)
    else:
        module = _from_hub(entry, data)
    digest = weights.state_digest(module)
    return VisionModel(freeze(module).to(device), entry, digest, autocast=autocast)
