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

from gradbrain.config.definition import feature_definition
from gradbrain.config.schema import ModelEntry, SignalSet
from gradbrain.signals import SignalError
from gradbrain.store import (
    StoreError,
    StreamingStore,
    move_store,
    open_store,
    read_definition,
    remove_store,
)

log = logging.getLogger(__name__)

KIND = "features"
OBJECTIVE_VALUE = "objective_value"
MAGNITUDE = "magnitude"


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
    **digests: Any,
) -> dict[str, Any]:
    """Attributes of the store of a layer: what its values follow from, and nothing that varies."""
    pooling = signal_set.pooling
    unused = set() if signal_set.compares_with_text else {"text_tower"}
    return {
        "model": entry.name,
        "layer": request.name,
        "depth": float(request.depth),
        "pooling": pooling.kind if pooling.kind != "grid" else f"grid{pooling.size}",
        "signal_set": signal_set.name,
        "stimuli": stimuli,
        "definition": feature_definition(entry, signal_set),
        "model_entry": entry.model_dump(
            mode="json", exclude={"licence", "citation", "sibling"} | unused
        ),
        "signal_set_entry": signal_set.model_dump(mode="json"),
        "roles": {signal.name: signal.role for signal in signal_set.signals},
        "objectives": {signal.name: signal.objective or "" for signal in signal_set.signals},
        **digests,
    }


def is_current(output: Path, attributes: Mapping[str, Any]) -> bool:
    """Tell whether a complete store of the same definition is there already.

    Raises
    ------
    SignalError
        A complete store of another definition stands there: a registry entry has changed.
    """
    if not output.exists():
        return False
    try:
        open_store(output, kind=KIND)
    except StoreError as error:
        log.info("%s", error)
        return False
    found = read_definition(output)
    if found.get("definition") != attributes["definition"]:
        raise SignalError(
            f"{output}: was made from another definition of model {attributes['model']!r} or "
            f"signal set {attributes['signal_set']!r}: "
            f"{'; '.join(_differences(found, attributes)) or 'unknown'}. Give the changed entry a "
            f"name of its own, or remove what it made: rm -r {output}"
        )
    changed = _changed(found, attributes)
    if changed:
        log.info("%s is made again: %s changed", output, ", ".join(changed))
    return not changed


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
        reasons = [f"{key} changed" for key in _changed(found, attributes)]
    except StoreError as error:
        reasons = [str(error)]
    if not reasons:
        log.info("%s: finished by an interrupted job, taken over", output)
        return True
    log.info("%s: left by an interrupted job, removed: %s", waiting, ", ".join(reasons))
    remove_store(waiting)
    return False


def _changed(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    return [key for key, value in expected.items() if found.get(key) != value]


def publish(outputs: Sequence[Path]) -> None:
    """Move layers that are finished to their outputs."""
    for output in outputs:
        move_store(finished_path(output), output)


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    lines = []
    for section in ("model_entry", "signal_set_entry"):
        old, new = found.get(section) or {}, expected[section]
        lines += [
            f"{section}.{key} was {old.get(key)!r} and is {new.get(key)!r}"
            for key in sorted(set(old) | set(new))
            if old.get(key) != new.get(key)
        ]
    return lines


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
        Names of the signals, in order.
    """

    def __init__(
        self,
        requests: Sequence[LayerRequest],
        attributes: Mapping[str, Mapping[str, Any]],
        image_ids: Sequence[str],
        widths: Mapping[str, int],
        signals: Sequence[str],
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
                    **dict.fromkeys(signals, features),
                    OBJECTIVE_VALUE: per_image,
                    MAGNITUDE: per_image,
                },
                coords={
                    "image_id": (("image",), np.array(image_ids)),
                    "signal": (("signal",), np.array(signals)),
                },
                attrs=attributes[request.name],
                missing_allowed=(OBJECTIVE_VALUE,),
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
