"""Published weights: from below ``data/weights`` where they lie there, else from the hub."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models import weights
from gradbrain.models.checkpoints import check_file, write_shapes
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.network import create_network


class Options(WeightsOptions):
    """Options of the source."""

    tag: str = Field(
        min_length=1, description="timm weight tag, or hub repository for transformers."
    )
    revision: str | None = Field(None, description="Pinned revision of the hub repository.")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="Expected SHA-256 of the file; a mismatch is an error.",
    )

    def network_name(self, entry: ModelEntry) -> str:
        """Return the architecture with the tag, where timm has it."""
        tagged = f"{entry.architecture}.{self.tag}"
        return entry.architecture if entry.source == "transformers" else tagged

    def optional_files(self, entry: ModelEntry) -> tuple[str, ...]:
        """Return the file that goes before the hub."""
        return (f"weights/{self.network_name(entry)}.safetensors",)


def _timm_repository(entry: ModelEntry, name: str) -> str:
    import timm

    known = timm.list_pretrained(f"{entry.architecture}.*")
    if name not in known:
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} knows no weights {name!r}; it has "
            f"{', '.join(known) or 'none'}"
        )
    config: Any = timm.get_pretrained_cfg(name)
    return str(config.hf_hub_id)


def load(entry: ModelEntry, options: Options, data: Path) -> tuple[nn.Module, str]:
    """Load the weights; the hub is asked only where there is no file of them."""
    name = options.network_name(entry)
    of_timm = entry.source == "timm"
    repository = _timm_repository(entry, name) if of_timm else options.tag
    (file,) = options.optional_files(entry)
    path, origin = data / file, f"file {file}"
    if not path.is_file():
        path = weights.download(repository, entry, path, revision=options.revision)
        origin = f"{repository}@{options.revision or weights.UNPINNED}"
    if not of_timm:
        return weights.network_from_file(entry, path, sha256=options.sha256), origin
    if path.suffix == ".safetensors":
        weights.check_sha256(path, entry, options.sha256)
        return _through_timm(entry, name, path, path, repository), origin
    # timm would run what is in a pickle.
    state = weights.read_state(path, entry, sha256=options.sha256)
    with tempfile.TemporaryDirectory(prefix="gradbrain-tensors-") as folder:
        tensors = Path(folder) / weights.SAFETENSORS
        save_file({key: value.contiguous() for key, value in state.items()}, tensors)
        return _through_timm(entry, name, path, tensors, repository), origin


def _through_timm(
    entry: ModelEntry, name: str, path: Path, read: Path, repository: str
) -> nn.Module:
    """Let timm read a file, which renames the entries of some checkpoints.

    Parameters
    ----------
    entry, name
        Registry entry, and the name of its weights.
    path
        The file, for errors.
    read
        What is read: the file, or one of its names and shapes.
    repository
        Where it is from.
    """
    try:
        overlay = {"file": str(read)}
        return create_network(entry, name, pretrained=True, pretrained_cfg_overlay=overlay)
    except ModelError:
        raise
    except Exception as error:  # safetensors and state-dict errors of a dozen kinds
        # What does not fit stands in lines of its own, indented, below the first one.
        told = [line.strip() for line in str(error).splitlines()[1:4] if line.strip()]
        raise WeightsError(
            f"model {entry.name!r}: {path} could not be loaded as the weights {name} "
            f"({weights.first_line(error)}{''.join(f' {line}' for line in told)}); expected "
            f"model.safetensors of https://huggingface.co/{repository}"
        ) from error


def check(entry: ModelEntry, options: Options, data: Path) -> None:
    """Hold names and shapes of the file, where it is here, against the network."""
    (file,) = options.optional_files(entry)
    path = data / file
    if not path.is_file():
        return
    if entry.source != "timm":
        check_file(entry, path)
        return
    name = options.network_name(entry)
    repository = _timm_repository(entry, name)
    with tempfile.TemporaryDirectory(prefix="gradbrain-shapes-") as folder:
        shapes = write_shapes(path, entry, Path(folder))
        with torch.device("meta"), warnings.catch_warnings():
            # That nothing is copied between tensors without values is the point.
            warnings.simplefilter("ignore")
            _through_timm(entry, name, path, shapes, repository)
