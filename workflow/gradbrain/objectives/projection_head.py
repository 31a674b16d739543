"""The projection head of released DINO checkpoints (DINOv1, Web-DINO)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from gradbrain.models.build import VisionModel
from gradbrain.objectives import ObjectiveError

EXPECTED = (
    "mlp.0.weight, mlp.0.bias, mlp.2.…, mlp.4.…, last_layer.weight_g and weight_v (or weight)"
)


class ProjectionHead(nn.Module):
    """Multi-layer perceptron, unit length, then cosine to prototypes.

    Source: ``DINOHead`` of facebookresearch/dino (Caron et al. 2021, section 3.1): linear layers
    with GELU between them, L2 normalisation, and a weight-normalised linear layer. The norms of
    its prototypes are one, or were learnt (its ``norm_last_layer=False``).
    """

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]], prototypes: torch.Tensor):
        super().__init__()
        self.layers = layers
        self.prototypes = prototypes

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (..., D) features to (..., K) codes, in [-1, 1] where prototypes have norm one."""
        hidden = features
        for index, (weight, bias) in enumerate(self.layers):
            hidden = functional.linear(functional.gelu(hidden) if index else hidden, weight, bias)
        return functional.linear(functional.normalize(hidden, dim=-1), self.prototypes)


def load_projection_head(
    path: str, model: VisionModel, *, data: Path = Path("data")
) -> ProjectionHead:
    """Read a head from safetensors; keys as in the released checkpoints.

    Raises
    ------
    ObjectiveError
        The file is missing, lacks entries, or takes features of another width.
    """
    from safetensors.torch import load_file

    file = data / path
    if not file.is_file():
        raise ObjectiveError(f"objective dino: the head {file} does not exist; place it there")
    state = {
        name.rpartition("head.")[2]: tensor.to(model.device, model.dtype)
        for name, tensor in load_file(file).items()
    }
    indices = sorted(
        int(name.split(".")[1]) for name in state if name.startswith("mlp.") and "weight" in name
    )
    directions = state.get("last_layer.weight_v", state.get("last_layer.weight"))
    if not indices or directions is None:
        raise ObjectiveError(
            f"objective dino: {file} holds {', '.join(sorted(state)[:8])}; expected {EXPECTED}"
        )
    layers = [(state[f"mlp.{index}.weight"], state[f"mlp.{index}.bias"]) for index in indices]
    found, width = layers[0][0].shape[1], int(getattr(model.module, "num_features", -1))
    if found != width:
        raise ObjectiveError(
            f"objective dino: {file} takes {found} features, model {model.entry.name!r} gives "
            f"{width}; name the head that was released with these weights"
        )
    norms = state.get("last_layer.weight_g", torch.ones_like(directions[:, :1]))
    return ProjectionHead(layers, norms * functional.normalize(directions, dim=-1))
