"""The share of the responses' variance that a signal explains beside all activations.

A refitted gain (R² of all activations with a signal, minus that without it) is below zero for most
signals, and hardly rises with what the signal holds (docs/unique_part.md). Here the signal's
variance component is estimated instead (`gradbrain.encoding.variance_components`), beside those of
the activations of every layer, of their leading components, of nuisance bands and of groups of
images. Nothing is fitted that a penalty could shrink: the estimate is unbiased at zero, and its
null permutes the rows of whitened responses.

What a brain would show that held the signal is known without refits as well, since the estimate
is a quadratic form q(y) = mean over targets of yᵀ W Q W y. Responses that hold a share v of the
signal, y' = √(1−v) y + √v g with g drawn with the signal's kernel K as covariance, give

    q(y') = (1−v) q(y) + 2 √(v (1−v)) q(y, g) + v q(g),

where q(g) has mean tr(Q W K W) (`held`) and variance 2 tr((Q W K W)²) / n_targets, and q(y, g)
mean zero and variance ⟨Q W K W Q, Z⟩ / n_targets, with Z the mean product of whitened responses.
Power and bounds (`gradbrain.hierarchy.unique_share`) follow from these.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import UNIQUE_SETTINGS, EncodingSettings
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.inputs import (
    ModelFeatures,
    Responses,
)
from gradbrain.encoding.splits import many_share_groups
from gradbrain.encoding.variance_components import (
    BaselineCovariance,
    Kernels,
    centred_kernel,
    estimate_components,
    flat_kernel,
    kernel_root,
    leading_kernel,
    novel_part,
)
from gradbrain.vocabulary.roles import LEARNING

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]
#: How read-out weights of a planted share are drawn: isotropic in the scaling of the fit, or alike
#: for every direction of the signal's new part, large or small.
KERNELS = ("scaled", "flat")
# Number of the outer fold in the seed of permutations: none has it.
ALL_IMAGES = 10_000


@dataclass(frozen=True)
class SignalKernels:
    """A signal of one layer, as the images see it.

    Attributes
    ----------
    new
        Shape (n_images, rank). Root of the kernel of the part that activations do not account for.
    flat
        Shape (n_images, rank). The same of its principal components, all as large; of learning
        signals alone, whose power is asked for.
    new_share
        Share of the signal's variance that activations do not account for.
    """

    new: FLOATS
    flat: FLOATS | None
    new_share: float

    @classmethod
    def of(cls, baseline: Kernels, values: FLOATS, *, learning: bool) -> SignalKernels:
        """Take the new part of a signal.

        Parameters
        ----------
        baseline
            Kernels of the baseline.
        values
            Shape (n_images, n_features).
        learning
            Of a learning signal.

        Returns
        -------
        SignalKernels
            Of zeros where the signal is the same for all images.
        """
        standardised = _standardised(values)
        if not standardised.any():
            zeros = np.zeros((len(values), 1))
            return cls(zeros, zeros if learning else None, 0.0)
        weights = estimate_components(baseline, standardised.T)
        new = novel_part(baseline, standardised, weights)
        return cls(
            kernel_root(centred_kernel(new)),
            kernel_root(flat_kernel(new)) if learning else None,
            float(weights[-1] / weights.sum()),
        )


def image_blocks(groups: NDArray[np.str_], max_images: int, seed: int) -> list[NDArray[np.intp]]:
    """Split images into blocks that keep groups whole, each of about the same size.

    Components cost as the cube of the images; blocks see fewer pairs of images, but are as
    unbiased.

    Parameters
    ----------
    groups
        Shape (n_images,). Group of every image, neighbours.
    max_images
        Largest block; a group that is larger is a block of its own.
    seed
        Seed of the order of groups.

    Returns
    -------
    list of arrays of int
        Images of every block, in the order of the images.
    """
    names, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_blocks = -(-len(groups) // max_images)
    filled = np.zeros(n_blocks, dtype=int)
    block_of = np.zeros(len(names), dtype=int)
    for group in np.random.default_rng([seed, len(groups)]).permutation(len(names)):
        block_of[group] = int(np.argmin(filled))
        filled[block_of[group]] += sizes[group]
    return [np.flatnonzero(block_of[place] == block) for block in range(n_blocks)]


def blocks_of(responses: Responses, settings: EncodingSettings) -> list[NDArray[np.intp]]:
    """Images of a subject that components are estimated from, in blocks.

    Test images of the data set take no part: their noise is another.

    Parameters
    ----------
    responses
        Responses of a subject to the images.
    settings
        Largest block of images, seed.

    Returns
    -------
    list of arrays of int
        As :func:`image_blocks` has them.

    Raises
    ------
    EncodingError
        If fewer than three groups of images are left.
    """
    used = np.arange(len(responses.groups))
    if responses.test_images is not None:
        used = used[~responses.test_images]
    groups = responses.groups[used]
    n_groups = len(np.unique(groups))
    if n_groups < 3:
        raise EncodingError(
            f"{responses.attrs['subject']}: {n_groups} groups of images; the unique part of a "
            "signal needs at least three"
        )
    blocks = image_blocks(groups, settings.unique_images, settings.seed)
    return [used[rows] for rows in blocks]


@dataclass(frozen=True)
class BaselineKernels:
    """Everything that a signal has to explain variance beside, as the images see it.

    Attributes
    ----------
    plain
        One for the activations of each layer and for each nuisance band.
    all
        Those that the covariance of responses is made of: beside these one for the ten leading
        components of each layer, since weights that favour them are no isotropic ones, and one for
        groups, where many images are in one, the last: these may share what no feature explains.
    n_features
        How many of all are of features, not of groups.
    """

    plain: Kernels
    all: Kernels
    n_features: int

    @classmethod
    def of(
        cls, activations: Sequence[FLOATS], nuisance: Sequence[FLOATS], groups: NDArray[np.str_]
    ) -> BaselineKernels:
        """Take the kernels of some images.

        Parameters
        ----------
        activations, nuisance
            Each of shape (n_images, n_features).
        groups
            Shape (n_images,).

        Returns
        -------
        BaselineKernels
        """
        layers = [_standardised(values) for values in activations]
        further = [leading_kernel(values) for values in layers]
        bands = [_standardised(values) for values in nuisance]
        plain = [centred_kernel(values) for values in (*layers, *bands)]
        n_features = len(plain) + len(further)
        if many_share_groups(groups):
            names, place = np.unique(groups, return_inverse=True)
            further.append(centred_kernel(np.eye(len(names))[place]))
        return cls(Kernels.of(plain), Kernels.of([*plain, *further]), n_features)


def measure_unique(
    features: ModelFeatures,
    responses: Responses,
    settings: EncodingSettings,
    study: str,
    kernels: dict[int, BlockKernels] | None = None,
) -> xr.Dataset:
    """Estimate the unique share of every signal of every layer, in every region or at every time.

    Parameters
    ----------
    features
        Of all layers of the model.
    responses
        Test images of the data set take no part: their noise is another.
    settings
        Number of draws, seed, largest block of images.
    study
        Name of the study.
    kernels
        Kernels of every block, kept here for others who saw the same images.

    Returns
    -------
    xarray.Dataset
        As the kind ``unique`` has it; shares of the responses' variance.

    Raises
    ------
    EncodingError
        If fewer than three groups of images are left.
    """
    blocks = blocks_of(responses, settings)
    n_images = sum(map(len, blocks))
    if len(blocks) > 1:
        log.info("%d images in %d blocks", n_images, len(blocks))
    sums: dict[str, FLOATS] = {}
    kept = {} if kernels is None else kernels
    for number, images in enumerate(blocks):
        seen = kept.get(number)
        if seen is None:
            groups = responses.groups[images]
            seen = BlockKernels.of(features, images, groups, settings, number)
        if kernels is not None:
            kernels[number] = seen
        found = _measure_block(seen, responses, images)
        for name, values in found.items():
            sums[name] = sums.get(name, 0.0) + values
        log.info("block %d of %d: %d images", number + 1, len(blocks), len(images))
    n_blocks = len(blocks)
    for name, values in sums.items():
        # Blocks are independent: variances of a mean over blocks.
        sums[name] = values / n_blocks ** (2 if name.endswith("variance") else 1)
    return _assemble(sums, features, responses, settings, study, n_images)


@dataclass(frozen=True)
class BlockKernels:
    """What a block of images is looked at through: the same for all people who saw them.

    Attributes
    ----------
    baseline
        Kernels of the baseline.
    signals
        One for each signal of each layer.
    permutations
        Shape (n_draws, n_images).
    """

    baseline: BaselineKernels
    signals: list[SignalKernels]
    permutations: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        features: ModelFeatures,
        images: NDArray[np.intp],
        groups: NDArray[np.str_],
        settings: EncodingSettings,
        number: int,
    ) -> BlockKernels:
        """Take the kernels of one block.

        Parameters
        ----------
        features
            Features of the layers, in the order of the images.
        images
            Images of the block.
        groups
            Their groups.
        settings
            Section ``encoding`` of the study.
        number
            Of the block.

        Returns
        -------
        BlockKernels
        """
        baseline = BaselineKernels.of(
            [features.activations[layer][images] for layer in features.layers],
            [values[images] for values in features.nuisance.values()],
            groups,
        )
        signals = [
            SignalKernels.of(
                baseline.plain,
                features.values(layer, signal)[images],
                learning=signal.role == LEARNING,
            )
            for layer in features.layers
            for signal in features.signals
        ]
        permutations = draw_images(
            groups, settings.n_draws, settings.seed, ALL_IMAGES + number
        ).permutations
        return cls(baseline, signals, permutations)


def _measure_block(
    kernels: BlockKernels, responses: Responses, images: NDArray[np.intp]
) -> dict[str, FLOATS]:
    """Estimates, null draws and moments of all signals in the images of one block."""
    signals, baseline = kernels.signals, kernels.baseline.all
    units = responses.layout.slices
    n_rows, n_units, n_draws = len(signals), len(units), len(kernels.permutations)
    found = {
        "component": np.zeros((n_rows, n_units)),
        "null": np.zeros((n_draws, n_rows, n_units)),
        "explained": np.zeros(n_units),
        "new_share": np.array([signal.new_share for signal in signals]),
        "held": np.full((len(KERNELS), n_rows, n_units), np.nan),
        "cross_variance": np.full((len(KERNELS), n_rows, n_units), np.nan),
        "dose_variance": np.full((len(KERNELS), n_rows, n_units), np.nan),
    }
    for place, targets in enumerate(units):
        values = unit_responses(responses, targets, images)
        covariance = BaselineCovariance.of(baseline, estimate_components(baseline, values))
        root = covariance.products_root(values)
        products = root.T @ root
        found["explained"][place] = covariance.explained(products, kernels.baseline.n_features)
        seen = [covariance.seen_root(signal.new) for signal in signals]
        forms, blocks = covariance.packed_forms(seen), covariance.whitened.blocks
        found["component"][:, place] = forms @ blocks.pack(products)
        found["null"][:, :, place] = blocks.permuted_products(forms, products, kernels.permutations)
        for row, signal in enumerate(signals):
            if signal.flat is None:
                continue
            form = blocks.unpack(forms[row])
            for kind, kernel in enumerate((seen[row], covariance.seen_root(signal.flat))):
                moments = dose_moments(form, kernel, root, len(values))
                for name, value in moments.items():
                    found[name][kind, row, place] = value
    return found


def dose_moments(form: FLOATS, seen: FLOATS, root: FLOATS, n_targets: int) -> dict[str, float]:
    """What the estimate of a signal becomes where responses hold draws with a kernel.

    Parameters
    ----------
    form
        Shape (n_images, n_images). Q.
    seen
        Shape (n_images, rank). W X, where X Xᵀ = K.
    root
        Shape (n_rows, n_images). Y, where YᵀY = Z, the mean product of whitened responses.
    n_targets
        Number of targets.

    Returns
    -------
    dict
        ``held`` = tr(Q W K W); ``dose_variance`` = 2 tr((Q W K W)²) / n_targets;
        ``cross_variance`` = ⟨Q W K W Q, Z⟩ / n_targets.
    """
    turned = form @ seen
    product = seen.T @ turned
    return {
        "held": float(np.trace(product)),
        "dose_variance": 2.0 * float(np.sum(product * product.T)) / n_targets,
        "cross_variance": float(np.square(root @ turned).sum()) / n_targets,
    }


def unit_responses(
    responses: Responses, targets: slice, images: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Responses of a unit, centred, of variance 1: each target, or all together where pooled.

    Parameters
    ----------
    responses
        Responses of a subject to the images.
    targets
        Of the unit, as its layout has them.
    images
        Those that are taken.

    Returns
    -------
    array of shape (n_targets, n_images), float64
    """
    values = responses.values[targets][:, images].astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.mean(values**2, axis=1, keepdims=True))
    if responses.layout.pooled:
        spread = np.full_like(spread, np.sqrt(np.mean(spread**2)))
    return values / np.where(spread > 0, spread, 1.0)


def _standardised(values: FLOATS) -> NDArray[np.float64]:
    """Features of mean 0 and variance 1; zeros where one does not vary."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    known = spread > 1e-7 * np.abs(values).max(axis=0, initial=np.finfo(float).tiny)
    return np.where(known, centred / np.where(known, spread, 1.0), 0.0)


def _assemble(
    found: Mapping[str, FLOATS],
    features: ModelFeatures,
    responses: Responses,
    settings: EncodingSettings,
    study: str,
    n_images: int,
) -> xr.Dataset:
    """Label the estimates: rows become layers and signals."""
    shape = (len(features.layers), len(features.signals))
    last = len(responses.layout.names)
    of_signals = ("layer", "signal", "unit")
    variables: dict[str, Any] = {
        "component": (of_signals, found["component"].reshape(*shape, last)),
        "null": (("draw", *of_signals), found["null"].reshape(-1, *shape, last)),
        "explained": ("unit", found["explained"]),
        "new_share": (("layer", "signal"), found["new_share"].reshape(shape)),
        "explainable": ("unit", explainable_of_units(responses), {"missing_allowed": True}),
    }
    for name in ("held", "cross_variance", "dose_variance"):
        values = found[name].reshape(len(KERNELS), *shape, last)
        variables[name] = (("kernel", *of_signals), values, {"missing_allowed": True})
    coords: dict[str, Any] = {
        "layer": features.layers,
        "depth": ("layer", features.depths),
        "signal": [signal.name for signal in features.signals],
        **{
            name: ("signal", [getattr(signal, name) for signal in features.signals])
            for name in ("role", "rule", "objective")
        },
        "kernel": list(KERNELS),
        "unit": ("unit", np.array(responses.layout.names)),
    }
    if responses.unit_time is not None:
        coords["unit_time"] = ("unit", responses.unit_time)
    brain = responses.attrs
    return xr.Dataset(
        variables,
        coords=coords,
        attrs={
            "study": study,
            **{key: brain[key] for key in ("dataset", "subject", "modality", "axis")},
            **features.attrs,
            "n_images": n_images,
            "n_unit_targets": responses.layout.sizes.tolist(),
            "settings": settings.model_dump(mode="json", include=set(UNIQUE_SETTINGS)),
            "features_digests": features.digests,
            "nuisance_digests": features.nuisance_digests,
            "responses_digest": responses.images.digest,
        },
    )


def explainable_of_units(responses: Responses) -> FLOATS:
    """Mean noise ceiling of the targets of every unit, shape (n_units,).

    Of the targets whose ceiling is known; NaN where none is.
    """
    found = np.full(len(responses.layout.names), np.nan)
    if responses.noise_ceiling is None:
        return found
    for unit, own in enumerate(responses.layout.slices):
        ceilings = responses.noise_ceiling[own]
        known = np.isfinite(ceilings)
        if known.any():
            found[unit] = ceilings[known].mean()
    return found
