"""Forward passes in which the outputs of layers are held at given values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gradbrain.models.build import OutputName, VisionModel
from gradbrain.signals.tape import replace_tensor, single_tensor


class ClampedNetwork:
    """A network whose named layers give what they are told, and say what they would have given.

    What lies between layers, past some of them too (skip connections), is computed from the values
    that are held, so that layers need not be a chain.

    Parameters
    ----------
    model
        Network.
    layers
        Names of its layers.
    """

    def __init__(self, model: VisionModel, layers: Sequence[str]) -> None:
        self.model = model
        modules = dict(model.module.named_modules())
        self._modules: dict[str, nn.Module] = {name: modules[name] for name in layers}

    def run(
        self, raw: torch.Tensor, values: Mapping[str, torch.Tensor], output: OutputName
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Run the network once with layers held at values.

        Parameters
        ----------
        raw
            Images, (B, 3, S, S).
        values
            Layer name -> what its output is held at.
        output
            Output of the network that is asked for.

        Returns
        -------
        predictions : dict
            Layer name -> its output, given the values of those before it.
        output : torch.Tensor
            (B, D), given the values.
        """
        # Copies: the network may write into what a layer gave.
        return self._run(raw, lambda name, _: values[name].clone(), output)

    def shifted(
        self, raw: torch.Tensor, shifts: Mapping[str, torch.Tensor], output: OutputName
    ) -> dict[str, torch.Tensor]:
        """Values of layers, each of which is moved from what it gives for those before it.

        Parameters
        ----------
        raw, output
            As for :meth:`run`.
        shifts
            Layer name -> by how much.
        """
        values: dict[str, torch.Tensor] = {}

        def move(name: str, given: torch.Tensor) -> torch.Tensor:
            values[name] = given + shifts[name]
            return values[name].clone()

        with torch.no_grad():
            self._run(raw, move, output)
        return values

    def _run(
        self,
        raw: torch.Tensor,
        held: Callable[[str, torch.Tensor], torch.Tensor],
        output: OutputName,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        given: dict[str, torch.Tensor] = {}

        def hold(name: str) -> Any:
            def hook(_: nn.Module, __: Any, found: Any) -> Any:
                given[name] = single_tensor(found, name)
                return replace_tensor(found, held(name, given[name]))

            return hook

        handles = [
            module.register_forward_hook(hold(name)) for name, module in self._modules.items()
        ]
        try:
            outputs = self.model.outputs(raw, (output,))
        finally:
            for handle in handles:
                handle.remove()
        return given, outputs[output]
