"""Create the network of a registry entry, with random weights or those that timm reads."""

from __future__ import annotations

from typing import Any

from torch import nn

from gradbrain.config.schema import ModelEntry
from gradbrain.config.suggestions import near_names
from gradbrain.models import autoencoder, owlvit
from gradbrain.models.errors import ModelError


def input_size_error(entry: ModelEntry, error: Exception) -> ModelError:
    """Say what to set in an entry whose network refused images of its ``input_size``."""
    first, size = str(error).splitlines()[0], entry.input_size
    return ModelError(
        f"model {entry.name!r}: {entry.architecture} does not accept images of {size} px "
        f"({first}); set input_size to a size that it takes (of a transformer, a multiple of its "
        "patches), and of a transformer also img_size in kwargs: "
        f"{{img_size: {size}}}, or {{dynamic_img_size: true}} where its weights come from a file "
        "of another size"
    )


def _check_patches(entry: ModelEntry, network: nn.Module) -> None:
    """Refuse sizes that leave pixels at the right and at the bottom which no patch sees."""
    embedding = getattr(network, "patch_embed", None)
    patch = getattr(embedding, "patch_size", None)
    if isinstance(patch, tuple) and not getattr(embedding, "dynamic_img_pad", False):
        left = [entry.input_size % int(edge) for edge in patch]
        if any(left):
            raise input_size_error(
                entry,
                ValueError(
                    f"patches of {patch[0]} px would leave {max(left)} px of an edge unseen"
                ),
            )


def create_network(entry: ModelEntry, name: str | None = None, **loading: Any) -> nn.Module:
    """Create the network of an entry as its source makes it, with random weights.

    Inside ``torch.device("meta")`` no memory is taken for them.

    Parameters
    ----------
    entry
        Registry entry.
    name
        Name under which timm makes it; by default the architecture. A tag in it brings settings
        of its own, e.g. the number of classes.
    **loading
        Further arguments of ``timm.create_model``.

    Raises
    ------
    ModelError
        There is no such architecture, or it does not accept the kwargs of the entry, or its
        patches do not divide the input size.
    """
    if entry.source == "transformers":
        return owlvit.create(entry)
    if entry.has_decoder:
        return autoencoder.create(entry)
    import timm

    if not timm.is_model(entry.architecture.partition(".")[0]):
        near = near_names(entry.architecture, timm.list_models())
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} has no architecture "
            f"{entry.architecture!r}; similar names: {', '.join(near) or 'none'}"
        )
    try:
        network: nn.Module = timm.create_model(
            name or entry.architecture, **entry.kwargs, **loading
        )
    except TypeError as error:
        raise ModelError(
            f"model {entry.name!r}: {entry.architecture} does not accept the kwargs "
            f"{entry.kwargs}: {error}"
        ) from error
    _check_patches(entry, network)
    return network
