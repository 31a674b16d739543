"""Published weights: from below ``data/weights`` where they lie there, else from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from gradbrain.config.plugins import WeightsOptions
from gradbrain.config.schema import ModelEntry
from gradbrain.models import weights
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
    weights.check_sha256(path, entry, options.sha256)
    try:
        # timm renames the entries of some checkpoints while it reads them.
        overlay = {"file": str(path)}
        network = create_network(entry, name, pretrained=True, pretrained_cfg_overlay=overlay)
    except ModelError:
        raise
    except Exception as error:  # safetensors and state-dict errors of a dozen kinds
        raise WeightsError(
            f"model {entry.name!r}: {path} could not be loaded as the weights {name} "
            f"({weights.first_line(error)}); expected model.safetensors of "
            f"https://huggingface.co/{repository}"
        ) from error
    return network, origin
