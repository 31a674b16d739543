r"""OWL-ViT's image tower, which timm does not have, from the optional package transformers.

The tower is that of CLIP, run on large images. Its features follow the detector (Minderer et al.
2022, arXiv:2205.06230, section 3): every patch is multiplied by the class token and normalised,

.. math:: z_p = \mathrm{LN}(\mathrm{LN}_{post}(h_p) \odot \mathrm{LN}_{post}(h_{cls})),

which is what the detection heads read. Objectives act on the mean of :math:`z_p` over patches
(*this project's* choice: the detector itself has no embedding of a whole image), so that every
token of the last block has a gradient. Text tower and detection heads are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradbrain.models.errors import ModelError

if TYPE_CHECKING:
    from gradbrain.config.schema import ModelEntry

# Vision settings of the published configurations
# (https://huggingface.co/google/owlvit-base-patch32/blob/main/config.json and siblings), and one
# that is small enough for tests.
ARCHITECTURES: dict[str, dict[str, int]] = {
    "owlvit_base_patch32": {
        "image_size": 768,
        "patch_size": 32,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
    },
    "owlvit_base_patch16": {
        "image_size": 768,
        "patch_size": 16,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
    },
    "owlvit_large_patch14": {
        "image_size": 840,
        "patch_size": 14,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
    },
    "test_owlvit": {
        "image_size": 64,
        "patch_size": 16,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
    },
}
# What a checkpoint of the detector holds beyond the image tower.
OTHER_PARTS = (
    "owlvit.text_model.",
    "owlvit.text_projection.",
    "owlvit.visual_projection.",
    "owlvit.logit_scale",
    "class_head.",
    "box_head.",
    "box_bias",
)
# Older checkpoints carry the numbering of the positions as a buffer.
POSITION_NUMBERS = "embeddings.position_ids"
TOWER = "owlvit.vision_model."


def block_names(architecture: str) -> list[str]:
    """Names of the blocks of the image tower, from input to output."""
    n_blocks = ARCHITECTURES[architecture]["num_hidden_layers"]
    return [f"vision_model.encoder.layers.{index}" for index in range(n_blocks)]


class OwlViTTower(nn.Module):
    """Image tower of OWL-ViT with timm's protocol.

    Parameters
    ----------
    settings
        Arguments of ``transformers.OwlViTVisionConfig``.
    """

    num_classes = 0
    num_prefix_tokens = 1

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        from transformers import OwlViTVisionConfig, OwlViTVisionModel

        unknown = set(settings) - set(OwlViTVisionConfig().to_dict())
        if unknown:
            raise TypeError(f"OwlViTVisionConfig has no {', '.join(sorted(unknown))}")
        config = OwlViTVisionConfig(**settings)
        self.num_features = int(config.hidden_size)
        self.vision_model = OwlViTVisionModel(config).vision_model
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Class token and patches behind the last block, (B, 3, S, S) to (B, 1 + P, D)."""
        return self.vision_model(pixel_values=images).last_hidden_state

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """Mean over patches of what the detection heads read, (B, D)."""
        normalised = self.vision_model.post_layernorm(hidden)
        return self.layer_norm(normalised[:, 1:] * normalised[:, :1]).mean(1)


def create(entry: ModelEntry) -> OwlViTTower:
    """Build the image tower of an entry with random weights.

    Raises
    ------
    ModelError
        transformers is not installed, the architecture is not one of these, or its kwargs are
        refused.
    """
    if entry.architecture not in ARCHITECTURES:
        raise ModelError(
            f"model {entry.name!r}: of transformers, {', '.join(ARCHITECTURES)} are known here, "
            f"not {entry.architecture!r}"
        )
    try:
        return OwlViTTower({**ARCHITECTURES[entry.architecture], **entry.kwargs})
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ModelError(
            f"model {entry.name!r} ({entry.architecture}) comes from the optional package "
            "transformers, which is not installed: pip install 'transformers>=5,<6'"
        ) from error
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"model {entry.name!r}: {entry.architecture} does not accept the kwargs "
            f"{entry.kwargs}: {error}"
        ) from error


def tower_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take the image tower out of a checkpoint of the detector.

    Parameters
    ----------
    state
        State dictionary of ``OwlViTForObjectDetection``, or of the tower itself.

    Returns
    -------
    dict
        Entries of :class:`OwlViTTower`; what belongs to neither the tower nor a known other part
        keeps its name, so that a strict load refuses it.
    """
    return {
        name.removeprefix("owlvit.") if name.startswith(TOWER) else name: tensor
        for name, tensor in state.items()
        if not name.startswith(OTHER_PARTS) and not name.endswith(POSITION_NUMBERS)
    }
