"""Files of weights: read, checked, fitted to a network, and the digest that identifies them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from gradbrain.config.schema import ModelEntry
from gradbrain.models import owlvit
from gradbrain.models.errors import WeightsError
from gradbrain.models.fitting import check_fit, flat_state
from gradbrain.models.network import create_network

log = logging.getLogger(__name__)

UNPINNED = "unpinned"
SAFETENSORS = "model.safetensors"
#: Files of a hub repository, in the order in which they are asked for: some hold a pickle only,
#: which is read as tensors alone.
HUB_FILES = (SAFETENSORS, "pytorch_model.bin")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of a module's parameters and buffers."""
    whole = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        values = tensor.detach().cpu().contiguous()
        whole.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def first_line(error: Exception) -> str:
    """Kind and first line of an error of another package, which may be long or empty."""
    return " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])


def check_sha256(path: Path, entry: ModelEntry, expected: str | None) -> None:
    """Compare a file with the checksum that the entry pins, if it pins one.

    Raises
    ------
    WeightsError
        They differ.
    """
    if expected is None:
        return
    found = file_sha256(path)
    if found != expected:
        raise WeightsError(
            f"model {entry.name!r}: {path} has SHA-256 {found}, the entry pins {expected}; fetch "
            "the pinned file or correct sha256 of weights"
        )


def download(repository: str, entry: ModelEntry, local: Path, *, revision: str | None) -> Path:
    """Fetch the weights of a hub repository at a revision, or take them cached.

    Parameters
    ----------
    repository
        E.g. ``timm/resnet50.a1_in1k``.
    entry
        Registry entry.
    local
        Where the file may be placed by hand instead, for the error.
    revision
        Commit of the repository; None takes the newest and warns.

    Returns
    -------
    Path
        File in the cache of huggingface_hub.

    Raises
    ------
    WeightsError
        There is no network and no cached file, or the repository has no weights.
    """
    from huggingface_hub import hf_hub_download

    if revision is None:
        log.warning(
            "model %s: no revision is pinned, the newest weights of %s are taken",
            entry.name,
            repository,
        )
    problems = []
    for name in HUB_FILES:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except Exception as error:  # of the hub, the network and the cache: a dozen kinds
            problems.append(f"{name}: {first_line(error)}")
    at = f" at revision {revision}" if revision else ""
    raise WeightsError(
        f"model {entry.name!r}: the weights of {repository} could not be fetched "
        f"({'; '.join(problems)}). Without network, place {SAFETENSORS} of "
        f"https://huggingface.co/{repository}{at} at {local}"
    )


def read_state(
    path: Path, entry: ModelEntry, *, sha256: str | None = None
) -> dict[str, torch.Tensor]:
    """Read a state dictionary from safetensors, or from a pickle that holds tensors only.

    Raises
    ------
    WeightsError
        The file is missing, unreadable, holds code (a pickle that ``weights_only=True`` refuses),
        or its checksum is not the pinned one.
    """
    if not path.is_file():
        raise WeightsError(
            f"model {entry.name!r}: the checkpoint {path} does not exist; place the file there "
            "(data/weights may be a link to the folder that holds it)"
        )
    check_sha256(path, entry, sha256)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, pickle and zip raise a dozen kinds
        raise WeightsError(
            f"model {entry.name!r}: {path} cannot be read as weights ({first_line(error)}); "
            "expected a safetensors file, or a pickle of tensors that "
            "torch.load(weights_only=True) accepts"
        ) from error
    return flat_state(state, path=path, entry=entry)


def load_strictly(
    module: nn.Module, state: Mapping[str, torch.Tensor], *, path: Path, entry: ModelEntry
) -> None:
    """Load a state dictionary that must fit the module name by name and shape by shape.

    Raises
    ------
    WeightsError
        Lists the missing, the unexpected and the differently shaped entries, and what to do.
    """
    check_fit(module, state, path=path, entry=entry)
    module.load_state_dict(dict(state), strict=True)


def network_from_file(entry: ModelEntry, path: Path, *, sha256: str | None) -> nn.Module:
    """Create a network with the weights of a file that names them as the network does.

    Of OWL-ViT the file may be that of the whole detector.

    Parameters
    ----------
    entry
        Registry entry.
    path
        Safetensors, or a pickle of tensors.
    sha256
        Its checksum, if one is pinned.

    Raises
    ------
    WeightsError
        The file is not there, not the pinned one, or does not fit.
    """
    state = read_state(path, entry, sha256=sha256)
    if entry.source == "transformers":
        state = owlvit.tower_state(state)
    module = create_network(entry)
    load_strictly(module, state, path=path, entry=entry)
    return module
