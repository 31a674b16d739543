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
from gradbrain.models import owlvit, timm_compat, weights
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
    weights_origin
        Where the weights came from, with the revision of the hub repository or ``unpinned``.
    dtype
        Of the parameters and of the outputs; float64 in numerical tests.
    autocast
        Reduced precision of the forward pass (bfloat16, float16); None: none.
    data
        Folder below which checkpoints lie, that of a text tower among them.
    """

    module: nn.Module
    entry: ModelEntry
    weights_digest: str = ""
    weights_origin: str = ""
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    data: Path = Path("data")
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


def create_network(entry: ModelEntry, **loading: Any) -> nn.Module:
    """Build the network of an entry as its source makes it, with random weights.

    Inside ``torch.device("meta")`` no memory is taken for them.

    Parameters
    ----------
    entry
        Registry entry. A timm tag in it brings its own settings, e.g. the number of classes.
    **loading
        Further arguments of ``timm.create_model``.

    Raises
    ------
    ModelError
        There is no such architecture, or it does not accept the kwargs of the entry.
    """
    if entry.source == "transformers":
        return owlvit.create(entry)
    timm = timm_compat.import_timm()
    if not timm.is_model(entry.architecture.partition(".")[0]):
        near = timm.list_models(f"*{entry.architecture.split('_')[0]}*")[:8]
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} has no architecture "
            f"{entry.architecture!r}; similar names: {', '.join(near) or 'none'}"
        )
    tag = f".{entry.pretrained}" if entry.pretrained else ""
    try:
        return timm.create_model(entry.architecture + tag, **entry.kwargs, **loading)
    except TypeError as error:
        raise ModelError(
            f"model {entry.name!r}: {entry.architecture} does not accept the kwargs "
            f"{entry.kwargs}: {error}"
        ) from error


def _untrained(entry: ModelEntry) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(entry.seed)
        return create_network(entry)


def _from_file(entry: ModelEntry, path: Path) -> nn.Module:
    """Load weights that are named as the network names them, or a whole OWL-ViT detector."""
    state = weights.read_state(path, entry)
    if entry.source == "transformers":
        state = owlvit.tower_state(state)
    module = create_network(entry)
    weights.load_strictly(module, state, path=path, entry=entry)
    return module


def _timm_repository(entry: ModelEntry) -> str:
    timm = timm_compat.import_timm()
    name = f"{entry.architecture}.{entry.pretrained}"
    known = timm.list_pretrained(f"{entry.architecture}.*")
    if name not in known:
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} knows no weights {name!r}; it has "
            f"{', '.join(known) or 'none'}"
        )
    return str(timm.get_pretrained_cfg(name).hf_hub_id)


def _from_hub(entry: ModelEntry, data: Path) -> tuple[nn.Module, str]:
    """Load published weights from below ``data/weights``, else from the hub; say which."""
    if entry.source == "transformers":
        name, repository = entry.architecture, str(entry.pretrained)
    else:
        name, repository = f"{entry.architecture}.{entry.pretrained}", _timm_repository(entry)
    local = data / "weights" / f"{name}.safetensors"
    if local.is_file():
        path, origin = local, f"file weights/{local.name}"
    else:
        path = weights.download(repository, entry, local)
        origin = f"{repository}@{entry.revision or weights.UNPINNED}"
    if entry.source == "transformers":
        return _from_file(entry, path), origin
    weights.check_sha256(path, entry)
    try:
        # timm renames the entries of some checkpoints while it reads them.
        overlay = {"file": str(path)}
        return create_network(entry, pretrained=True, pretrained_cfg_overlay=overlay), origin
    except ModelError:
        raise
    except Exception as error:  # safetensors and state-dict errors of a dozen kinds
        raise WeightsError(
            f"model {entry.name!r}: {path} could not be loaded as the weights {name} "
            f"({weights.first_line(error)}); expected model.safetensors of "
            f"https://huggingface.co/{repository}"
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
        module, origin = _untrained(entry), f"random, seed {entry.seed}"
    elif entry.checkpoint is not None:
        module, origin = _from_file(entry, data / entry.checkpoint), f"file {entry.checkpoint}"
    else:
        module, origin = _from_hub(entry, data)
    digest = weights.state_digest(module)
    log.info("model %s: weights from %s, digest %s", entry.name, origin, digest[:12])
    return VisionModel(
        freeze(module).to(device),
        entry,
        digest,
        autocast=autocast,
        weights_origin=origin,
        data=data,
    )
