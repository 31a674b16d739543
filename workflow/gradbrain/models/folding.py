"""Convolutions that take in the batch normalisation behind them, for passes without gradients.

In evaluation mode a batch normalisation is an affine map per channel, which is part of the
convolution before it once its weights are scaled (Markuš 2018, "Fusing batch normalization and
convolution in runtime"; the arithmetic is `torch.nn.utils.fusion`). Which convolution that is, is
seen in a pass, so that nothing has to be known of an architecture. Layers of the folded network are
not those of the network, so that it serves where nothing but its output is asked for.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

log = logging.getLogger(__name__)

#: Largest difference of outputs, relative to their length, that is taken for rounding in float32.
ROUNDING = 1e-4


def folded(module: nn.Module, run: Callable[[nn.Module], torch.Tensor]) -> nn.Module:
    """Fold batch normalisations of a network in evaluation mode into the convolutions before them.

    Parameters
    ----------
    module
        Network; it is left as it is, and shares all parameters but those of folded convolutions.
    run
        Passes some images through a network, without gradients.

    Returns
    -------
    torch.nn.Module
        The folded copy; `module` itself where nothing can be folded, or where the copy's outputs
        are not those of the network.
    """
    pairs = _convolutions_before_normalisations(module, run)
    if not pairs:
        return module
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    twin = copy.deepcopy(module, shared)
    for convolution, normalisation in pairs:
        before, behind = twin.get_submodule(convolution), twin.get_submodule(normalisation)
        assert isinstance(before, nn.Conv2d) and isinstance(behind, nn.BatchNorm2d)
        twin.set_submodule(convolution, fuse_conv_bn_eval(before, behind))
        twin.set_submodule(normalisation, _what_is_left(behind))
    for part in twin.modules():
        # Those that record the network's layers.
        part._forward_hooks.clear()
    expected, found = run(module), run(twin)
    difference = float((found - expected).norm() / expected.norm())
    if not difference < ROUNDING:
        log.info("batch normalisation is not folded: outputs would differ by %.1e", difference)
        return module
    return twin


def _convolutions_before_normalisations(
    module: nn.Module, run: Callable[[nn.Module], torch.Tensor]
) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalisations that take in just what they give."""
    # Tensors are kept during the pass: an id says nothing of one that is gone.
    given: dict[int, tuple[str, torch.Tensor]] = {}
    calls: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: torch.Tensor) -> None:
            calls[name] += 1
            given[id(output)] = (name, output)

        return hook

    def take(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            calls[name] += 1
            if id(inputs[0]) in given:
                pairs.append((given[id(inputs[0])][0], name))

        return hook

    handles = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            handles.append(part.register_forward_hook(keep(name)))
        elif _can_be_folded(part):
            handles.append(part.register_forward_pre_hook(take(name)))
    try:
        run(module)
    finally:
        for handle in handles:
            handle.remove()
    uses = Counter(convolution for convolution, _ in pairs)
    return [pair for pair in pairs if uses[pair[0]] == 1 and all(calls[name] == 1 for name in pair)]


def _can_be_folded(part: nn.Module) -> bool:
    if not isinstance(part, nn.BatchNorm2d) or part.training or part.running_mean is None:
        return False
    return type(part) is nn.BatchNorm2d or _has_nonlinearity(part)


def _has_nonlinearity(part: nn.Module) -> bool:
    """Whether a normalisation is timm's, which has a dropout and the nonlinearity in it."""
    return {"drop", "act"} == {name for name, _ in part.named_children()}


def _what_is_left(normalisation: nn.Module) -> nn.Module:
    """What a normalisation does besides."""
    if not _has_nonlinearity(normalisation):
        return nn.Identity()
    drop, act = normalisation.get_submodule("drop"), normalisation.get_submodule("act")
    if getattr(act, "inplace", None) is False:
        # Nobody looks at the layer before it here.
        act.inplace = True  # type: ignore[assignment]
    return nn.Sequential(drop, act)
