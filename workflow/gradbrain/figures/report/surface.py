"""Maps of single layers on the inflated fsaverage5 surface, to be turned in the browser."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradbrain.figures.cortex import VERTICES_PER_HEMISPHERE, hemisphere_mesh
from gradbrain.figures.cortical_map import SPACES, hemisphere_of
from gradbrain.figures.maps import DatasetMaps, SignalMap, dataset_maps
from gradbrain.figures.names import Names
from gradbrain.store import open_tree
from gradbrain.vocabulary.measures import MAPPED

#: Bytes of values that a page carries at most; of more maps some layers are left out.
LARGEST = 6_000_000
#: Scores are whole multiples of this: finer than any that matters, and two bytes each.
STEP = 1e-4
#: In the place of a score where there is none.
UNKNOWN = -32768


def surface(paths: Sequence[Path], study: str, names: Names) -> dict[str, Any] | None:
    """Maps of activation and learning signals, one for each layer.

    Parameters
    ----------
    paths
        Stores of kind ``maps``.
    study
        To which they must belong.
    names
        Labels and order.

    Returns
    -------
    dict or None
        ``mesh``: per hemisphere ``x``, ``y``, ``z`` (float32, mm) and ``i``, ``j``, ``k`` (uint16),
        base64; ``sets``: per data set and model the ``vertices`` (uint16, base64) of each
        hemisphere, and ``maps`` with ``label``, ``layer``, ``measure``, ``values`` (int16 in units
        of ``step``) and ``high``, the upper end of the colours. ``step``, ``unknown``, ``omitted``
        (names of layers left out). None where no data set lives on fsaverage.
    """
    found = [maps for path in paths for maps in _on_cortex(path, study)]
    if not found:
        return None
    total = sum(_bytes(maps) for maps in found)
    every = max(1, -(-total // LARGEST))
    omitted = sorted(
        {name for maps in found for k, name in enumerate(maps.layers) if not _kept(k, maps, every)}
    )
    return {
        "mesh": {side: _mesh(side) for side in ("left", "right")},
        "sets": [_set(maps, every, names) for maps in found],
        "step": STEP,
        "unknown": UNKNOWN,
        "omitted": omitted,
    }


def _on_cortex(path: Path, study: str) -> Iterator[DatasetMaps]:
    return (
        maps
        for maps in dataset_maps(open_tree(path, kind="maps"), study)
        if maps.space in SPACES and list(maps.signals())
    )


def _bytes(maps: DatasetMaps) -> int:
    """Base64 of two bytes for each value."""
    values = sum(signal.score.size for signal in maps.signals())
    return values * 2 * 4 // 3


def _kept(place: int, maps: DatasetMaps, every: int) -> bool:
    """Whether a layer is shown: each n-th one and the last."""
    return place % every == 0 or place == len(maps.layers) - 1


def _set(maps: DatasetMaps, every: int, names: Names) -> dict[str, Any]:
    sides = np.array([hemisphere_of(name) for name in maps.coordinate("hemisphere")])
    vertices = maps.coordinate("vertex").astype(int)
    shown = vertices < VERTICES_PER_HEMISPHERE
    order = {side: np.flatnonzero(shown & (sides == side)) for side in ("left", "right")}
    signals = list(maps.signals())
    return {
        "title": f"{names.dataset_label(maps.dataset, str(maps.attrs['modality']))}, "
        f"{names.label('model', maps.model)}",
        "vertices": {side: _packed(vertices[own], "<u2") for side, own in order.items()},
        "maps": [
            entry for signal in signals for entry in _layers(signal, maps, every, order, names)
        ],
    }


def _layers(
    signal: SignalMap,
    maps: DatasetMaps,
    every: int,
    order: dict[str, np.ndarray],
    names: Names,
) -> Iterator[dict[str, Any]]:
    values = signal.score.transpose("layer", "target").values
    variant = signal.identity["variant"]
    known = values[np.isfinite(values) & (values > 0)]
    # The same colours for all layers, so that they can be compared.
    high = float(np.percentile(known, 99)) if known.size else STEP
    for place, layer in enumerate(maps.layers):
        if not _kept(place, maps, every):
            continue
        steps = np.clip(np.nan_to_num(values[place] / STEP, nan=UNKNOWN), UNKNOWN, 32767)
        yield {
            "label": names.quantity_label(signal.identity["signal"], variant),
            "layer": layer,
            "measure": MAPPED[variant].label,  # type: ignore[index]
            "high": float(f"{high:.3g}"),
            "values": {side: _packed(np.round(steps[own]), "<i2") for side, own in order.items()},
        }


def _mesh(side: str) -> dict[str, str]:
    points, faces = hemisphere_mesh(side)
    # Apart, so that both can be seen at once; the surfaces of the two overlap where they inflate.
    inner = points[:, 0].max() + 4 if side == "left" else points[:, 0].min() - 4
    points = points - np.array([inner, 0.0, 0.0])
    return {
        **{name: _packed(points[:, axis], "<f4") for axis, name in enumerate("xyz")},
        **{name: _packed(faces[:, corner], "<u2") for corner, name in enumerate("ijk")},
    }


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
