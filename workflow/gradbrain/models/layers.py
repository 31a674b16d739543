"""Which layers a network has, in which order and at which relative depth."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gradbrain.config.schema import WeightsKind
from gradbrain.config.suggestions import near_names
from gradbrain.models import autoencoder, owlvit
from gradbrain.models.errors import LayerError, ModelError
from gradbrain.models.layout import find_layout
from gradbrain.vocabulary.image_statistics import ARCHITECTURE, LEVELS

log = logging.getLogger(__name__)

COLUMNS = ["architecture", "layer", "layer_index", "depth", "layout", "weights"]


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


def _feature_modules(module: nn.Module) -> list[str]:
    """Modules that timm names as the ends of the scales of a network; empty where it names none."""
    listed: Any = getattr(module, "feature_info", None) or []
    names = [row.get("module", "") for row in listed if isinstance(row, dict)]
    known = {name for name, _ in module.named_modules()}
    return list(dict.fromkeys(name for name in names if name and name in known))


def block_names(module: nn.Module) -> list[str]:
    """Names of the repeated blocks of a network, from input to output.

    Transformer blocks (``blocks.i``); the stages of MobileNet and EfficientNet (``blocks.i``);
    residual blocks of ResNet (``layer1.0`` …), with the activations inside bottlenecks
    (``layer1.0.act1`` …); blocks of staged networks such as ConvNeXt (``stages.i.blocks.j``) and
    Swin (``layers.i.blocks.j``); else the modules after which timm takes features, one for each
    scale (DenseNet: ``features.denseblock1`` …).

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
    if names := _feature_modules(module):
        return names
    raise LayerError(
        f"{type(module).__name__} has no blocks, stages or layers that are known here; name its "
        "layers by hand in a layers.csv of your own (columns " + ", ".join(COLUMNS) + ")"
    )


def layer_layouts(module: Any, names: Sequence[str], size: tuple[int, ...]) -> dict[str, str]:
    """Find out how layers lay out their outputs, in one forward pass of one image.

    Parameters
    ----------
    module
        Network with timm's ``forward_features``; may lie on the meta device, where nothing is
        computed.
    names
        Layers.
    size
        Channels, rows and columns of the image.

    Returns
    -------
    dict
        Layer -> ``class_and_patches``, ``patches``, ``map``, ``vector``, or ``other`` where it
        gives something else or nothing.
    """
    layouts = dict.fromkeys(names, "other")

    def keep(name: str, output: Any) -> None:
        found = (
            find_layout(module, tuple(output.shape)) if isinstance(output, torch.Tensor) else None
        )
        layouts[name] = found.word if found else "other"

    modules = dict(module.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name in names
    ]
    try:
        with torch.no_grad():
            module.forward_features(torch.zeros(1, *size))
    finally:
        for handle in handles:
            handle.remove()
    return layouts


def kind_of_weights(module: nn.Module) -> WeightsKind:
    """Whether the kernels of a network are its parameters, or are computed from them in each pass.

    Weight standardisation (NFNet, BiT) and parametrisations compute them, so that a backward pass
    cannot be sent through others.
    """
    from timm.layers import std_conv

    computing = tuple(
        one
        for one in vars(std_conv).values()
        if isinstance(one, type) and issubclass(one, nn.Conv2d) and one is not nn.Conv2d
    )
    computed = (isinstance(one, computing) or is_parametrized(one) for one in module.modules())
    return "computed" if any(computed) else "plain"


def _layers_of(architecture: str) -> tuple[dict[str, str], WeightsKind]:
    """Layers of an architecture and their layouts, and its kind of weights."""
    if architecture == ARCHITECTURE:
        return dict.fromkeys(LEVELS, "vector"), "plain"
    if architecture in owlvit.ARCHITECTURES:
        # Known from the settings alone, so that transformers need not be there.
        return dict.fromkeys(owlvit.block_names(architecture), "class_and_patches"), "plain"
    if architecture in autoencoder.ARCHITECTURES:
        return dict.fromkeys(autoencoder.layer_names(architecture), "map"), "plain"
    import timm

    if not timm.is_model(architecture):
        near = near_names(architecture, timm.list_models())
        raise ModelError(
            f"timm {timm.__version__} has no architecture {architecture!r}; near are: "
            f"{', '.join(near) or 'none'}"
        )
    with torch.device("meta"):
        module: Any = timm.create_model(architecture).eval()
        names, weights = block_names(module), kind_of_weights(module)
        try:
            return layer_layouts(module, names, module.default_cfg["input_size"]), weights
        except Exception as error:  # of a network that computes with values while it runs
            log.warning("%s: the layouts of its layers were not found (%s)", architecture, error)
            return dict.fromkeys(names, ""), weights


def list_layers(architecture: str) -> pd.DataFrame:
    """List the layers of an architecture without allocating its weights.

    Parameters
    ----------
    architecture
        Name in timm, one of :data:`gradbrain.models.owlvit.ARCHITECTURES` or
        :data:`gradbrain.models.autoencoder.ARCHITECTURES`, or
        ``image_statistics``, whose layers are its levels.

    Returns
    -------
    pandas.DataFrame
        Columns ``architecture``, ``layer``, ``layer_index`` (from 0), ``depth``, the relative
        depth (layer_index + 1) / number of layers, in (0, 1], ``layout``, so that a pooling
        which a layer has no tokens for is refused before any job, and ``weights`` of the whole
        architecture (:func:`kind_of_weights`), so that a rule which replaces them is.

    Raises
    ------
    ModelError
        There is no such architecture.
    """
    found, weights = _layers_of(architecture)
    names = list(found)
    indices = range(len(names))
    return pd.DataFrame(
        {
            "architecture": architecture,
            "layer": names,
            "layer_index": indices,
            "depth": [round((index + 1) / len(names), 6) for index in indices],
            "layout": list(found.values()),
            "weights": weights,
        },
        columns=COLUMNS,
    )


def layer_table(architectures: Iterable[str]) -> pd.DataFrame:
    """Layers of several architectures, sorted by architecture and position."""
    tables = [list_layers(architecture) for architecture in sorted(set(architectures))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
