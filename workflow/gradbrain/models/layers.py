"""Which layers a network has, in which order and at which relative depth."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch
from torch import nn

from gradbrain.models import owlvit, timm_compat
from gradbrain.models.errors import LayerError, ModelError
from gradbrain.vocabulary.image_statistics import ARCHITECTURE, LEVELS

COLUMNS = ["architecture", "layer", "layer_index", "depth"]


def _names_of(module: nn.Module, prefix: str) -> list[str]:
    return [f"{prefix}.{name}" for name, _ in module.named_children()]


def _residual_layers(module: nn.Module, stage: str) -> list[str]:
    """Residual blocks of a stage; of bottlenecks also the two activations inside.

    Bottleneck networks have few blocks (ResNet-50: 16), fewer than the 22 depths that are asked
    of every network; the activations inside them fill the gaps (*ours*).
    """
    names = []
    for index, block in module.get_submodule(stage).named_children():
        inner = ("act1", "act2") if hasattr(block, "conv3") else ()
        names += [*(f"{stage}.{index}.{name}" for name in inner), f"{stage}.{index}"]
    return names


def block_names(module: nn.Module) -> list[str]:
    """Names of the repeated blocks of a network, from input to output.

    Transformer blocks (``blocks.i``); the stages of MobileNet and EfficientNet (``blocks.i``);
    residual blocks of ResNet (``layer1.0`` …), with the activations inside bottlenecks
    (``layer1.0.act1`` …); blocks of staged networks such as ConvNeXt (``stages.i.blocks.j``) and
    Swin (``layers.i.blocks.j``).

    Raises
    ------
    LayerError
        The network has none of these.
    """
    if isinstance(blocks := getattr(module, "blocks", None), nn.Module):
        return _names_of(blocks, "blocks")
    if isinstance(getattr(module, "layer1", None), nn.Module):
        stages = [name for name, _ in module.named_children() if name.startswith("layer")]
        return [name for stage in stages for name in _residual_layers(module, stage)]
    for container in ("stages", "layers"):
        if isinstance(stages_module := getattr(module, container, None), nn.Module):
            names = []
            for index, stage in stages_module.named_children():
                inner = getattr(stage, "blocks", None)
                prefix = f"{container}.{index}"
                names += _names_of(inner, f"{prefix}.blocks") if inner is not None else [prefix]
            return names
    raise LayerError(
        f"{type(module).__name__} has no blocks, stages or layers that are known here; name its "
        "layers by hand in a layers.csv of your own (columns " + ", ".join(COLUMNS) + ")"
    )


def _layer_names(architecture: str) -> list[str]:
    if architecture == ARCHITECTURE:
        return list(LEVELS)
    if architecture in owlvit.ARCHITECTURES:
        # Known from the settings alone, so that transformers need not be there.
        return owlvit.block_names(architecture)
    timm = timm_compat.import_timm()
    if not timm.is_model(architecture):
        raise ModelError(f"timm {timm.__version__} has no architecture {architecture!r}")
    with torch.device("meta"):
        return block_names(timm.create_model(architecture))


def list_layers(architecture: str) -> pd.DataFrame:
    """List the layers of an architecture without allocating its weights.

    Parameters
    ----------
    architecture
        Name in timm, one of :data:`gradbrain.models.owlvit.ARCHITECTURES`, or
        ``image_statistics``, whose layers are its levels.

    Returns
    -------
    pandas.DataFrame
        Columns ``architecture``, ``layer``, ``layer_index`` (from 0) and ``depth``, the relative
        depth (layer_index + 1) / number of layers, in (0, 1].

    Raises
    ------
    ModelError
        There is no such architecture.
    """
    names = _layer_names(architecture)
    indices = range(len(names))
    return pd.DataFrame(
        {
            "architecture": architecture,
            "layer": names,
            "layer_index": indices,
            "depth": [round((index + 1) / len(names), 6) for index in indices],
        },
        columns=COLUMNS,
    )


def layer_table(architectures: Iterable[str]) -> pd.DataFrame:
    """Layers of several architectures, sorted by architecture and position."""
    tables = [list_layers(architecture) for architecture in sorted(set(architectures))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
