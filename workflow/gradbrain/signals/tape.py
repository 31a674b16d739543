"""One forward pass with the outputs of the named layers, and what a rule gives back of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from gradbrain.models.build import FEATURES, OutputName, VisionModel
from gradbrain.models.errors import LayerError
from gradbrain.models.network import input_size_error
from gradbrain.objectives.base import ImageBatch
from gradbrain.signals.way_back import WayBack, unread_weights


@dataclass(frozen=True)
class Tape:
    """One forward pass.

    Attributes
    ----------
    layers
        Layer name -> output of the layer for the batch, as the network gave it.
    outputs
        Output name -> (B, D) features or logits.
    batch
        The images; with a seed their ids determine everything random.
    way_back
        Through which weights backward passes go, for rules that need other ones; else None.
    """

    layers: dict[str, torch.Tensor]
    outputs: dict[OutputName, torch.Tensor]
    batch: ImageBatch
    way_back: WayBack | None = None

    def part(self, layers: Collection[str], outputs: Collection[OutputName]) -> Tape:
        """Give some of the layers, in their order, and some of the outputs."""
        return Tape(
            {name: tensor for name, tensor in self.layers.items() if name in layers},
            {name: self.outputs[name] for name in outputs},
            self.batch,
            self.way_back,
        )


@dataclass(frozen=True)
class Taken:
    """What a rule made of a forward pass.

    Attributes
    ----------
    layers
        Layer name -> tensor of the layer's shape.
    objective_value
        (B,) the objective of each image; None for rules without one.
    residual
        Layer name -> (B,) what is left of the problem that the rule solves, relative to its start;
        of rules that solve one step by step.
    """

    layers: dict[str, torch.Tensor]
    objective_value: torch.Tensor | None = None
    residual: Mapping[str, torch.Tensor] | None = None


def single_tensor(output: Any, layer: str) -> torch.Tensor:
    """Take the one tensor of a layer's output; a tuple may hold it first and alone."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, tuple | list) and output and isinstance(output[0], torch.Tensor):
        others = [item for item in output[1:] if isinstance(item, torch.Tensor)]
        if not others:
            return output[0]
    raise LayerError(
        f"layer {layer!r} gives {type(output).__name__} with several tensors or none; expected "
        "one tensor, or a tuple that holds one tensor first; name a layer inside or after it"
    )


def replace_tensor(output: Any, tensor: torch.Tensor) -> Any:
    """Put another tensor in the place of the one of a layer's output."""
    if isinstance(output, torch.Tensor):
        return tensor
    return type(output)([tensor, *output[1:]])


@dataclass
class _Recording:
    graph: bool
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


class TapeRecorder:
    """Record the outputs of named layers during forward passes of a frozen network.

    Parameters are frozen and the images ask for no gradient, so the graph starts at the first
    named layer: what lies before it is never differentiated, and a backward pass ends there.

    Parameters
    ----------
    model
        Network.
    layers
        Names of its modules (``named_modules``).
    image_graph
        The graph starts at the images, so that the first layer's output has its operation.
    other_weights
        Backward passes may be sent through other weights (:class:`WayBack`).

    Attributes
    ----------
    shapes
        Layer name -> shape of its output for one image.
    order
        The layers in the order in which the network calls them.

    Raises
    ------
    LayerError
        A layer does not exist, is not called or called several times in one pass (a shared
        module has no single output), or gives several tensors.
    """

    def __init__(
        self,
        model: VisionModel,
        layers: Sequence[str],
        *,
        image_graph: bool = False,
        other_weights: bool = False,
    ) -> None:
        self.model, self.names = model, tuple(layers)
        self._image_graph = image_graph
        self._way_back = WayBack(model.module) if other_weights else None
        modules = dict(model.module.named_modules())
        missing = [name for name in layers if name not in modules or not name]
        if missing:
            top = [name for name in modules if name.count(".") <= 1 and name]
            raise LayerError(
                f"model {model.entry.name!r} ({model.entry.architecture}) has no layer(s) "
                f"{', '.join(missing)}; it has {', '.join(top[:30])}"
            )
        if len(set(layers)) < len(layers):
            raise LayerError(f"model {model.entry.name!r}: a layer is named twice: {layers}")
        self._modules: dict[str, nn.Module] = {name: modules[name] for name in layers}
        self._overwritten: set[str] = set()
        self.shapes, self.order = self._probe()

    def unread_weights(self) -> list[str]:
        """Names of modules whose weights cannot be replaced on the way back.

        One grey image is recorded for it, on a recorder with ``other_weights``.
        """
        if self._way_back is None:
            return []
        size = self.model.entry.input_size
        raw = torch.full((1, 3, size, size), 0.5, device=self.model.device)
        batch = ImageBatch(("grey",), raw, torch.full((1,), -1), (None,))
        return unread_weights(
            self.model.module, lambda: self.record(batch, FEATURES, graph=True), self._way_back
        )

    def _probe(self) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
        """Run one grey image to learn shapes and order, and to find what cannot be recorded."""
        size = self.model.entry.input_size
        raw = torch.full((1, 3, size, size), 0.5, device=self.model.device)
        with torch.no_grad(), self._record(graph=False) as recording:
            try:
                self.model.outputs(raw)
            except (AssertionError, RuntimeError) as error:
                raise input_size_error(self.model.entry, error) from error
        for name in self.names:
            calls = recording.calls.get(name, 0)
            if calls != 1:
                raise LayerError(
                    f"model {self.model.entry.name!r}: layer {name!r} is called {calls} times in "
                    "a forward pass, expected once; name a layer that is used exactly once"
                )
        self._overwritten = {
            name
            for name, tensor in recording.tensors.items()
            if tensor._version != recording.versions[name]
        }
        shapes = {name: tuple(recording.tensors[name].shape) for name in self.names}
        return shapes, tuple(recording.tensors)

    @contextmanager
    def _record(self, *, graph: bool) -> Iterator[_Recording]:
        recording = _Recording(graph)
        handles = [
            module.register_forward_hook(self._hook(name, recording))
            for name, module in self._modules.items()
        ]
        try:
            yield recording
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str, recording: _Recording) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            tensor = single_tensor(output, name)
            recording.calls[name] = recording.calls.get(name, 0) + 1
            if recording.graph and not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_()
            recording.tensors[name] = tensor
            recording.versions[name] = tensor._version
            if name in self._overwritten:
                # The network writes into this output later; it gets a copy to write into.
                tensor = tensor.clone()
            return replace_tensor(output, tensor)

        return hook

    def record(self, batch: ImageBatch, outputs: Collection[OutputName], *, graph: bool) -> Tape:
        """Run the network once over a batch.

        Parameters
        ----------
        batch
            Images.
        outputs
            Outputs of the network that objectives act on.
        graph
            Keep the graph from the first named layer on.

        Returns
        -------
        Tape
            Outputs of the layers and of the network.

        Raises
        ------
        LayerError
            An operation overwrote the output of a layer in this pass though not in the probe.
        """
        raw = batch.raw.detach().requires_grad_() if graph and self._image_graph else batch.raw
        way_back = self._way_back if graph else None
        saved = way_back.recording() if way_back else nullcontext()
        with torch.set_grad_enabled(graph), saved, self._record(graph=graph) as recording:
            found = self.model.outputs(raw, outputs)
        for name, tensor in recording.tensors.items():
            if tensor._version != recording.versions[name]:
                raise LayerError(
                    f"model {self.model.entry.name!r}: the output of layer {name!r} is overwritten "
                    "in place after the layer; name the layer behind it"
                )
        layers = {name: recording.tensors[name] for name in self.names}
        return Tape(layers, found, batch, way_back)
