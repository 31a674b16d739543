"""Checkpoints, looked at before any job: names and shapes, of which no weight is read.

The network is made on the meta device, where it takes no memory.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gradbrain.config.schema import ModelEntry
from gradbrain.models import owlvit
from gradbrain.models.errors import WeightsError
from gradbrain.models.fitting import check_fit, flat_state
from gradbrain.models.network import create_network

#: Of the header of safetensors; those of the largest models have some MB.
MAX_HEADER_BYTES = 100 << 20
#: First bytes of what is placed in the stead of a checkpoint -> what it is and what to do.
IMPOSTORS = {
    b"version https://git-lfs": "is a pointer of Git LFS; get the file itself: git lfs pull",
    b"<!DOCTYPE": "is a web page; download the file itself",
    b"<html": "is a web page; download the file itself",
}
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_header(path: Path, entry: ModelEntry) -> dict[str, torch.Tensor]:
    """Read names and shapes of a file of safetensors as tensors without values.

    Raises
    ------
    WeightsError
        It is no such file, or was cut.

    References
    ----------
    https://huggingface.co/docs/safetensors, section "Format".
    """
    where = f"model {entry.name!r}: {path}"
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, n_bytes - 8):
            raise WeightsError(f"{where} is no file of safetensors, or was cut; get it again")
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(item) for name, item in header.items()}
        end = max((item["data_offsets"][1] for item in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"{where}: its header is damaged ({error!r}); get it again") from None
    if n_bytes != 8 + length + end:
        raise WeightsError(
            f"{where} has {n_bytes} bytes, its header says {8 + length + end}: it was cut or "
            "damaged; get it again"
        )
    return tensors


def _tensor(item: Mapping[str, Any]) -> torch.Tensor:
    return torch.empty(tuple(item["shape"]), dtype=DTYPES.get(item["dtype"]), device="meta")


def read_shapes(path: Path, entry: ModelEntry) -> dict[str, torch.Tensor]:
    """Read names and shapes of a checkpoint, safetensors or a pickle of tensors.

    Raises
    ------
    WeightsError
        It is something else, damaged, or holds the weights inside something else.
    """
    with path.open("rb") as file:
        start = file.read(32)
    for mark, what in IMPOSTORS.items():
        if start.lstrip().lower().startswith(mark.lower()):
            raise WeightsError(f"model {entry.name!r}: {path} {what}")
    if path.suffix == ".safetensors":
        return read_header(path, entry)
    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # of the format before torch 1.6, which cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zip raise a dozen kinds
        raise WeightsError(
            f"model {entry.name!r}: {path} cannot be read as weights "
            f"({' '.join(str(error).split())[:200]}); expected a safetensors file, or a pickle of "
            "tensors that torch.load(weights_only=True) accepts"
        ) from error
    return {
        name: torch.empty_like(value, device="meta")
        for name, value in flat_state(state, path=path, entry=entry).items()
    }


def check_file(entry: ModelEntry, path: Path) -> None:
    """Hold the names and shapes of a file against those of the network of an entry.

    Raises
    ------
    WeightsError
        Says what differs, and what to do where that is known.
    """
    state: Mapping[str, torch.Tensor] = read_shapes(path, entry)
    if entry.source == "transformers":
        state = owlvit.tower_state(dict(state))
    with torch.device("meta"):
        network = create_network(entry)
    check_fit(network, state, path=path, entry=entry)


def write_shapes(path: Path, entry: ModelEntry, folder: Path) -> Path:
    """Write a checkpoint of the same names and shapes, without values, for readers that rename."""
    target = folder / f"shapes-{os.getpid()}.pth"
    torch.save(read_shapes(path, entry), target)
    return target
