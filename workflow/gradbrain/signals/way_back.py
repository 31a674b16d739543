"""Backward passes through other weights than those of the forward pass.

The graph of a forward pass saves the weights that its backward pass multiplies by. Here they are
handed out anew when a backward pass asks for them: in the place of a weight another tensor of its
shape. All else (normalisation, nonlinearities, softmax, pooling, and products of two activations,
as in attention) keeps its own derivative, and a backward pass costs what it always does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

#: Modules whose weight a backward pass must read, or their errors cannot be sent another way.
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_matrix(parameter: torch.Tensor) -> bool:
    """Whether a parameter mixes channels or positions: scales and shifts of channels do not."""
    return sum(edge > 1 for edge in parameter.shape) >= 2


@dataclass(frozen=True)
class _Saved:
    """A weight, or a view of one, that a graph has saved."""

    name: str
    view: torch.Tensor


class WayBack:
    """The weights through which backward passes of a network go.

    Parameters
    ----------
    module
        Network; its matrices and kernels can be replaced.

    Attributes
    ----------
    read
        Name -> parameter, of all weights that graphs have saved so far, in their order.
    """

    def __init__(self, module: nn.Module) -> None:
        self._weights = {
            parameter.untyped_storage().data_ptr(): (name, parameter)
            for name, parameter in module.named_parameters()
            if is_matrix(parameter)
        }
        self.read: dict[str, torch.Tensor] = {}
        self._given: Mapping[str, torch.Tensor] = {}

    def recording(self) -> Any:
        """Context of a forward pass whose graph can be sent back through other weights."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    @contextmanager
    def through(self, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Send backward passes through other weights.

        Parameters
        ----------
        weights
            Parameter name -> tensor of its shape and strides; others stay as they are.
        """
        self._given = weights
        try:
            yield
        finally:
            self._given = {}

    def _pack(self, tensor: torch.Tensor) -> Any:
        found = self._weights.get(tensor.untyped_storage().data_ptr())
        if found is None:
            return tensor, tensor._version
        self.read.setdefault(*found)
        return _Saved(found[0], tensor)

    def _unpack(self, packed: Any) -> torch.Tensor:
        if isinstance(packed, _Saved):
            given = self._given.get(packed.name)
            return packed.view if given is None else self._same_view(packed, given)
        tensor, version = packed
        if tensor._version != version:
            raise RuntimeError(
                "one of the tensors that a backward pass needs was overwritten in place"
            )
        return tensor

    def _same_view(self, packed: _Saved, given: torch.Tensor) -> torch.Tensor:
        """Look at another weight as the graph looked at its own (transposed, a part of it)."""
        view, whole = packed.view, self.read[packed.name]
        offset = view.storage_offset() - whole.storage_offset() + given.storage_offset()
        return given.as_strided(view.size(), view.stride(), offset)


def like_weight(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Copy values to the type, device and memory layout of a weight of the same shape."""
    found = torch.empty_strided(
        weight.size(), weight.stride(), dtype=weight.dtype, device=weight.device
    )
    return found.copy_(values)


def unread_weights(module: nn.Module, run: Callable[[], object], way_back: WayBack) -> list[str]:
    """Find modules that give something to be differentiated, and whose weight no graph has saved.

    Such a module computes its weight anew in each pass (weight standardisation, parametrisations),
    so that there is nothing to be replaced.

    Parameters
    ----------
    module
        Network.
    run
        Records a forward pass of it.
    way_back
        What saw its graph.

    Returns
    -------
    list of str
        Names of modules.
    """
    used: set[str] = set()

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Any, ...], __: Any) -> None:
            if any(isinstance(one, torch.Tensor) and one.requires_grad for one in given):
                used.add(name)

        return hook

    names = [name for name, one in module.named_modules() if isinstance(one, WEIGHTED)]
    handles = [module.get_submodule(name).register_forward_hook(note(name)) for name in names]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    matrices = {name for name, one in module.named_parameters() if is_matrix(one)}
    weights = {name: f"{name}.weight" if name else "weight" for name in names}
    return [
        name
        for name in names
        if name in used
        and weights[name] not in way_back.read
        # A single channel to a single channel mixes nothing; a parametrised weight has no name.
        and (weights[name] in matrices or not _is_plain(module, name))
    ]


def _is_plain(module: nn.Module, name: str) -> bool:
    return "weight" in module.get_submodule(name)._parameters
