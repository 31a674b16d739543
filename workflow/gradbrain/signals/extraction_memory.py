"""Whether an extraction can fit into the memory that its job may take, said before it starts.

On a CPU a batch that is too large raises no error: the job is killed.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradbrain.config.memory_limit import GIB, Limit, check_fits, memory_limit
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins
from gradbrain.config.schema import ModelEntry
from gradbrain.models.passes import forward_pass
from gradbrain.signals.device import Compute

#: A process with torch, timm and its images, at the least.
BASE_BYTES = 0.4 * GIB
#: What is kept of an image is less than this often the image itself (ViT-L/16: 415 times), and
#: weights are hardly more than `MOST_WEIGHTS`: no network is traced where that fits.
MOST_COPIES, MOST_WEIGHTS = 1000, 4 * GIB


def check_extraction_memory(
    entry: ModelEntry,
    layers: Sequence[str],
    *,
    batch_size: int,
    graph: bool,
    compute: Compute,
    plugins: Plugins = LIBRARY_PLUGINS,
    limit: Limit | None = None,
) -> None:
    """Refuse an extraction that cannot fit into the memory of its job.

    The weights, and for each image of a batch what is kept for the backward pass, or the outputs of
    the layers where there is none. On a GPU, whose memory is its own, the weights alone.

    Parameters
    ----------
    entry
        Registry entry of the network.
    layers
        Layers that are taken.
    batch_size
        Images at once.
    graph
        Whether the forward pass keeps its graph.
    compute
        Where the network runs.
    plugins
        Where the source of weights is looked up.
    limit
        What the job may take; that of this process where left out.

    Raises
    ------
    TooLittleMemoryError
        Names what it needs, what it may take, and what to change.
    """
    limit = memory_limit() if limit is None else limit
    image = 4.0 * 3 * entry.input_size**2
    if limit is None or limit.n_bytes > MOST_WEIGHTS + batch_size * MOST_COPIES * image:
        return
    found = forward_pass(entry, list(layers), plugins)
    per_image = 0 if compute.device.type == "cuda" else found.layer_bytes
    if graph and per_image:
        per_image = max(found.saved_bytes, found.layer_bytes)
    if compute.autocast is not None:
        per_image //= 2
    fixed = BASE_BYTES + found.weight_bytes
    left = int((limit.n_bytes - fixed) // per_image) if per_image else 0
    remedy = (
        f"set features.batch_size: {left}"
        if 1 <= left < batch_size
        else "take fewer layers per job (features.unit: layer), a smaller network or smaller images"
    )
    check_fits(
        fixed + batch_size * per_image,
        job=f"the extraction from {entry.name!r}, {batch_size} images at once,",
        remedy=f"{remedy}; or give it more (snakemake --set-resources extract_features:mem_mb=MB)",
        limit=limit,
    )
