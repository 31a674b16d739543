"""What one image costs a network: operations of a pass, and the width of its layers.

Found on the meta device, where nothing is allocated or computed, so that a study can be estimated
before any weights are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins, weights_use
from gradbrain.config.schema import ModelEntry
from gradbrain.models.errors import LayerError
from gradbrain.models.network import create_network, input_size_error


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass of one image.

    Attributes
    ----------
    flops
        Floating-point operations of convolutions and matrix products; an addition and a
        multiplication are two.
    channels
        Layer name -> channels of its output: what is left of it under mean pooling.
    positions
        Layer name -> tokens or map positions of its output.
    n_parameters
        Weights of the network.
    saved_bytes
        What is kept for a backward pass that ends at the first of the layers, in float32.
    layer_bytes
        Outputs of the layers, in float32.
    largest_bytes
        The largest output of any module.
    """

    flops: int
    channels: dict[str, int]
    positions: dict[str, int]
    n_parameters: int
    saved_bytes: int = 0
    layer_bytes: int = 0
    largest_bytes: int = 0

    @property
    def weight_bytes(self) -> int:
        """Weights in float32."""
        return 4 * self.n_parameters


def forward_pass(
    entry: ModelEntry, layers: Sequence[str], plugins: Plugins = LIBRARY_PLUGINS
) -> ForwardPass:
    """Trace one forward pass of the network of an entry.

    Parameters
    ----------
    entry
        Registry entry; its weights are not needed.
    layers
        Layers whose outputs are measured.
    plugins
        Where its source of weights is looked up.

    Raises
    ------
    LayerError
        The network has no such layer.
    ModelError
        It does not accept images of the entry's input size.
    """
    use = weights_use(entry, plugins, where=f"models.yaml: model {entry.name!r}")
    name = use.options.network_name(entry)
    shapes: dict[str, tuple[int, ...]] = {}
    largest = 0

    def measure(_: nn.Module, __: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, _n_bytes(output))

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module: Any = create_network(entry, name).eval()
        modules = dict(module.named_modules())
        for layer in layers:
            if layer not in modules:
                raise LayerError(f"model {entry.name!r}: {entry.architecture} has no {layer!r}")
            modules[layer].register_forward_hook(
                lambda _, __, output, name=layer: shapes.update({name: tuple(output.shape)})
            )
        for child in modules.values():
            child.register_forward_hook(measure)
        try:
            module.forward_features(torch.zeros(1, 3, entry.input_size, entry.input_size))
        except (AssertionError, RuntimeError) as error:
            raise input_size_error(entry, error) from error
    last = str(getattr(module, "output_fmt", "NCHW")).endswith("NHWC")
    channels, positions = {}, {}
    for name, shape in shapes.items():
        axis = 1 if len(shape) == 2 or (len(shape) == 4 and not last) else len(shape) - 1
        channels[name] = shape[axis]
        positions[name] = torch.Size(shape).numel() // shape[axis]
    return ForwardPass(
        flops=int(counter.get_total_flops()),
        channels=channels,
        positions=positions,
        n_parameters=sum(parameter.numel() for parameter in module.parameters()),
        saved_bytes=_saved_bytes(module, entry.input_size, [modules[layer] for layer in layers]),
        layer_bytes=sum(4 * torch.Size(shape).numel() for shape in shapes.values()),
        largest_bytes=largest,
    )


def _n_bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class _FusedAttention(torch.autograd.Function):
    """Keeps what a fused kernel of attention keeps, and computes nothing."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Queries (…, N, D), keys (…, M, D) and values (…, M, E) to outputs (…, N, E)."""
        output = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        """Stand in for ``torch.nn.functional.scaled_dot_product_attention``."""
        found: torch.Tensor = _FusedAttention.apply(query, key, value)
        return found


def _saved_bytes(module: Any, size: int, layers: Sequence[nn.Module]) -> int:
    """Bytes that a forward pass of one image keeps for a backward pass down to the first layer.

    Weights, which are there anyway, do not count. Attention keeps what its fused kernels keep,
    which never hold its matrices of tokens by tokens; without weights torch has no such kernel.
    """
    module.requires_grad_(False)
    for child in module.modules():
        if getattr(child, "inplace", False) is True:
            child.inplace = False

    def begin(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and not output.requires_grad:
            output.requires_grad_()

    own = {item.untyped_storage()._cdata for item in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            # The tensor itself, so that no other one takes its place.
            kept.setdefault(storage, tensor)
        return tensor

    handles = [layer.register_forward_hook(begin) for layer in layers]
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    fused = patch.object(functional, "scaled_dot_product_attention", _FusedAttention.attend)
    with torch.device("meta"), torch.enable_grad(), hooks, fused:
        module.forward_features(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
