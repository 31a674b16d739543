"""Create the network of a registry entry, with random weights or those that timm reads."""

from __future__ import annotations

from typing import Any

from torch import nn

from gradbrain.config.schema import ModelEntry
from gradbrain.models import owlvit, timm_compat
from gradbrain.models.errors import ModelError


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
        There is no such architecture, or it does not accept the kwargs of the entry.
    """
    if entry.source == "transformers":
        return owlvit.create(entry)
    timm = timm_compat.import_timm()
    if not timm.is_model(entry.architecture.partition(".")[0]):
        near = timm.list_models(f"*{entry.architecture.split('_')[0]}*")[:8]
        raise ModelError(
            f"model {entry.name!r}: timm {timm.__version__} has no architecture "
            f"{entry.architecture!r}; similar names: {', '.join(near) or 'none'}"
        )
    try:
        return timm.create_model(name or entry.architecture, **entry.kwargs, **loading)
    except TypeError as error:
        raise ModelError(
            f"model {entry.name!r}: {entry.architecture} does not accept the kwargs "
            f"{entry.kwargs}: {error}"
        ) from error
