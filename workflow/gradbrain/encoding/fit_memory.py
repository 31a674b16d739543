"""Whether a fit can fit into the memory that its job may take, said before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from gradbrain.config.memory_limit import GIB, Limit, check_fits
from gradbrain.config.schema import EncodingSettings
from gradbrain.store import array_shape
from gradbrain.vocabulary.artefacts import SIGNALS

# Lower bounds of what benchmarks/bench_fit_memory.py measures (0.34 GiB and 4.5 GiB per GiB of
# responses), so that nothing is refused which would have run.
BASE_BYTES = 0.25 * GIB
COPIES_OF_RESPONSES = 4.0
REMEDY = (
    "give it more (snakemake --set-resources fit_encoding:mem_mb=MB, or the partition of the "
    "profile), or take less: encoding.baseline_components or a projection of the signal set where "
    "features are most of it, encoding.min_noise_ceiling or fewer regions where responses are, "
    "lower encoding.n_draws"
)

_MORE = "give it more (snakemake --set-resources {rule}:mem_mb=MB, or the partition of the profile)"
REDUCTION_REMEDY = (
    _MORE.format(rule="reduce_activations")
    + ", or take less: a projection of the signal set, or fewer layers"
)
UNIQUE_REMEDY = (
    _MORE.format(rule="measure_unique")
    + ", or take less: a projection of the signal set, fewer layers, lower encoding.unique_images"
)


def least_fit_bytes(
    responses: tuple[int, ...],
    widths: Sequence[int],
    settings: EncodingSettings,
    *,
    n_signals: int = 0,
) -> float:
    """Memory that a fit needs at the least.

    Parameters
    ----------
    responses
        Shape of the responses, images first.
    widths
        Features of every layer that is read.
    settings
        Settings of the fit.
    n_signals
        Learning signals and controls.
    """
    n_images = responses[0]
    # Of responses that are masked by a ceiling, how many are left is not known here.
    copies = COPIES_OF_RESPONSES if settings.min_noise_ceiling is None else 1.0
    features = 4.0 * n_images * sum(widths)
    n_train = n_images * (1 - 1 / settings.n_folds)
    kernel = 8.0 * n_train**2 if sum(widths) > n_train else 0.0
    draws = 2.0 * 4 * settings.n_draws * (5 + 10 * n_signals)
    return BASE_BYTES + copies * 4 * math.prod(responses) + features + kernel + draws


def check_fit_memory(
    layer: str,
    features: Sequence[Path],
    responses: Path,
    settings: EncodingSettings,
    limit: Limit | None = None,
) -> None:
    """Refuse a fit that cannot fit into memory; sizes are read from headers alone.

    Stores whose headers cannot be read are left to those who read them.

    Raises
    ------
    TooLittleMemoryError
        Names what it needs, what it may take, and what to change.
    """
    shape = array_shape(responses, "response")
    found = [_signals(path) for path in features]
    if shape is None or not all(found):
        return
    widths = [max(signals) for signals in found]
    if not settings.variance_partitioning:
        # One layer is read; which of them, a bound from below need not know.
        widths = [min(widths)]
    needed = least_fit_bytes(shape, widths, settings, n_signals=max(map(len, found)) - 1)
    check_fits(needed, job=f"the fit of layer {layer!r}", remedy=REMEDY, limit=limit)


def check_reduction_memory(
    features: Sequence[Path], responses: Path, limit: Limit | None = None
) -> None:
    """Refuse a reduction of all layers' activations that cannot fit into memory.

    At the least they are held once, with the kernel of the images or of the features.

    Raises
    ------
    TooLittleMemoryError
        Names what it needs, what it may take, and what to change.
    """
    _check_all_layers(
        "the reduction of all activations", features, responses, None, REDUCTION_REMEDY, limit
    )


def check_unique_memory(
    features: Sequence[Path],
    responses: Path,
    settings: EncodingSettings,
    limit: Limit | None = None,
) -> None:
    """Refuse an estimate of unique parts that cannot fit into memory.

    At the least all activations are held once, with the kernel of a block of images.

    Raises
    ------
    TooLittleMemoryError
        Names what it needs, what it may take, and what to change.
    """
    images, job = settings.unique_images, "the estimate of unique parts"
    _check_all_layers(job, features, responses, images, UNIQUE_REMEDY, limit)


def _check_all_layers(
    job: str,
    features: Sequence[Path],
    responses: Path,
    most_images: int | None,
    remedy: str,
    limit: Limit | None,
) -> None:
    shape = array_shape(responses, "response")
    found = [_signals(path) for path in features]
    if shape is None or not all(found):
        return
    n_images, width = shape[0], sum(max(signals) for signals in found)
    small = min(n_images, width) if most_images is None else min(n_images, most_images)
    needed = BASE_BYTES + 4.0 * n_images * width + 8.0 * small**2
    check_fits(needed, job=job, remedy=remedy, limit=limit)


def _signals(store: Path) -> list[int]:
    """Features of every signal of a feature store."""
    folder = store / SIGNALS
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    shapes = (array_shape(store, f"{SIGNALS}/{name}") for name in names)
    return [shape[1] for shape in shapes if shape is not None]
