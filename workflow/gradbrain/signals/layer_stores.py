"""The feature store of each layer: its definition, whether it is there already, its rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gradbrain.config.definition import feature_definition, model_definition, signal_definition
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.signals.currency import changed
from gradbrain.store import (
    StoreError,
    StreamingStore,
    move_store,
    open_store,
    read_definition,
    remove_store,
)
from gradbrain.store.feature_signals import MAGNITUDE
from gradbrain.vocabulary.artefacts import SIGNALS

log = logging.getLogger(__name__)

KIND = "features"
OBJECTIVE_VALUE = "objective_value"
#: How far a rule came that solves for its signal step by step, of each image.
RESIDUAL = "residual"


@dataclass(frozen=True)
class LayerRequest:
    """One layer to extract.

    Attributes
    ----------
    name
        Module of the network.
    depth
        Relative depth in [0, 1].
    output
        Its feature store.
    """

    name: str
    depth: float
    output: Path


def layer_attributes(
    request: LayerRequest,
    *,
    entry: ModelEntry,
    signal_set: SignalSet,
    stimuli: str,
    plugins: Plugins,
    **follows_from: Any,
) -> dict[str, Any]:
    """Attributes of the store of a layer: what its values follow from, and nothing that varies."""
    pooling = signal_set.pooling
    return {
        "model": entry.name,
        "layer": request.name,
        "depth": float(request.depth),
        "pooling": pooling.kind if pooling.kind != "grid" else f"grid{pooling.size}",
        "signal_set": signal_set.name,
        "stimuli": stimuli,
        "definition": feature_definition(entry, signal_set, plugins),
        "model_entry": model_definition(entry, signal_set, plugins),
        "signal_set_entry": {
            **signal_set.without_words(),
            "signals": [signal_definition(signal, plugins) for signal in signal_set.signals],
        },
        **follows_from,
    }


def array_of(signal: str) -> str:
    """Place of a signal's array in the store: in a group, so that it may have any name."""
    return f"{SIGNALS}/{signal}"


def finished_path(output: Path) -> Path:
    """Where a finished layer waits for the others of its job.

    Snakemake removes the outputs of a job that fails and of one that it starts anew, so layers
    that are finished wait beside their outputs, and an interrupted job loses only the others.
    """
    return output.with_name(f".{output.name}.finished")


def is_finished(output: Path, attributes: Mapping[str, Any]) -> bool:
    """Tell whether an interrupted job left this layer finished; remove what is of no use.

    Parameters
    ----------
    output
        Where the store goes in the end.
    attributes
        What the store must say of itself: definition, code, weights and images.
    """
    waiting = finished_path(output)
    if not waiting.exists():
        return False
    try:
        open_store(waiting, kind=KIND)
        found = read_definition(waiting)
        reasons = [f"{key} changed" for key in changed(found, attributes)]
    except StoreError as error:
        reasons = [str(error)]
    if not reasons:
        log.info("%s: finished by an interrupted job, taken over", output)
        return True
    log.info("%s: left by an interrupted job, removed: %s", waiting, ", ".join(reasons))
    remove_store(waiting)
    return False


def publish(outputs: Sequence[Path]) -> None:
    """Move layers that are finished to their outputs."""
    for output in outputs:
        move_store(finished_path(output), output)


def _identity(signals: Sequence[SignalEntry]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Coordinates that say of each signal who it is."""
    columns = {
        "signal": [signal.name for signal in signals],
        "role": [signal.role for signal in signals],
        "rule": [signal.rule for signal in signals],
        "objective": [signal.objective or "" for signal in signals],
    }
    return {name: (("signal",), np.array(values)) for name, values in columns.items()}


class LayerStores:
    """The stores of all layers of a job, written side by side, each finished on its own.

    Parameters
    ----------
    requests
        Layers.
    attributes
        Layer name -> attributes of its store.
    image_ids
        Ids of all images, in order.
    widths
        Layer name -> number of features of each signal.
    signals
        Signals, in order.
    diagnostics
        What is said of each signal of an image besides: ``cosine_with_backprop``, ``residual``.
    """

    def __init__(
        self,
        requests: Sequence[LayerRequest],
        attributes: Mapping[str, Mapping[str, Any]],
        image_ids: Sequence[str],
        widths: Mapping[str, int],
        signals: Sequence[SignalEntry],
        diagnostics: Sequence[str] = (),
    ) -> None:
        self._stack = ExitStack()
        self._stores: dict[str, StreamingStore] = {}
        n_images, n_signals = len(image_ids), len(signals)
        for request in requests:
            per_image = (("image", "signal"), (n_images, n_signals), np.float32)
            features = (("image", "feature"), (n_images, widths[request.name]), np.float32)
            store = StreamingStore(
                request.output,
                kind=KIND,
                template={
                    **{array_of(signal.name): features for signal in signals},
                    OBJECTIVE_VALUE: per_image,
                    MAGNITUDE: per_image,
                    **dict.fromkeys(diagnostics, per_image),
                },
                coords={
                    "image_id": (("image",), np.array(image_ids)),
                    **_identity(signals),
                },
                attrs=attributes[request.name],
                missing_allowed=(OBJECTIVE_VALUE, *diagnostics),
            )
            self._stores[request.name] = self._stack.enter_context(store)

    def __enter__(self) -> LayerStores:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write_rows(self, start: int, layer: str, rows: Mapping[str, np.ndarray]) -> None:
        """Append the rows of one batch to the store of a layer."""
        self._stores[layer].write_rows(start, rows)

    def finish(self, provenance: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Complete the stores one after the other, to wait for each other; layer -> digest."""
        return {
            name: store.finish(provenance[name], destination=finished_path(store.path))
            for name, store in self._stores.items()
        }
