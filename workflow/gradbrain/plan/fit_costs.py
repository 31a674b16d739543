"""What fits cost, the reductions before them, and what is estimated beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradbrain.config.schema import EncodingSettings, ExpectedSize, RsaSettings
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.measures import ALL_ACTIVATIONS, Fit, LayerFits
from gradbrain.encoding.variance_components import ITERATIONS
from gradbrain.plan.cost_rates import GIB, NetworkCost, Rates, StageCost
from gradbrain.plan.jobs import Plan
from gradbrain.plan.memory import FIT_BASE_MB, FIT_MB_PER_RESPONSE_MB
from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING, NUISANCE

# Sizes that the constants of a fit were measured at.
N_TRAIN, N_TEST, JOINT_WIDTH, N_DRAWS = 8000, 2000, 2048, 200
# Rate of products with targets over that of products in float64 (benchmarks/bench_job.py --alone).
SINGLE_PRECISION = 1.6


@dataclass(frozen=True)
class FitSize:
    """Sizes that the cost of one encoding job follows from.

    Attributes
    ----------
    images, targets, units
        Of the subject.
    width
        Features of the layer.
    all_widths
        Features of all layers together.
    signals
        Learning signals and controls.
    test_images
        Whether images are set apart, which are one more split to fit.
    nuisance
        Features of each nuisance band.
    """

    images: int
    targets: int
    units: int
    width: int
    all_widths: int
    signals: int
    test_images: bool = False
    nuisance: tuple[int, ...] = ()

    def splits(self, settings: EncodingSettings) -> int:
        """Outer folds, and the split that holds out test images."""
        return settings.n_folds + self.test_images


def fit_seconds(
    size: FitSize, settings: EncodingSettings, rates: Rates, *, paired: bool = True
) -> float:
    """CPU seconds of one encoding job on one core, the reduced baseline given.

    Without pairs, signals are fitted alone.
    """
    n_test = size.images / settings.n_folds
    n_train = size.images - n_test
    held_out = (n_test / N_TEST) ** 2 * settings.n_draws / N_DRAWS
    row = held_out * (rates.row_s + rates.row_ms_per_target * 1e-3 * size.targets)
    standardise = 0.0
    if paired and settings.baseline_components is None:
        standardise = standardise_seconds(n_train, size.all_widths, rates)
    fits = _fits(size, paired=paired)

    def split(*, test_images: bool) -> float:
        tried = rows_tried(size, settings, paired=paired, test_images=test_images)
        rows = fits.rows(normalised=True, test_images=test_images)
        scored = sum(scored.of_test_images == test_images for scored in rows)
        searches = sum(
            count * _row_seconds(width, n_train, size, rates) for width, count in tried.items()
        )
        if not paired:
            # Beside activations a band is tried so often that they are part of what was measured.
            searches += sum(
                count * _product_seconds(width, n_train, n_test, size, rates)
                for width, count in tried.items()
            )
        return standardise + _selection_factor(settings) * searches + scored * row

    seconds = rates.start_s + settings.n_folds * split(test_images=False)
    return seconds + (split(test_images=True) if size.test_images else 0.0)


def _fits(size: FitSize, *, paired: bool) -> LayerFits:
    return LayerFits(
        SignalIdentity("activation", ACTIVATION),
        tuple(SignalIdentity(f"signal {number}", LEARNING) for number in range(size.signals)),
        tuple(SignalIdentity(f"band {number}", NUISANCE) for number in range(len(size.nuisance))),
        paired=paired,
    )


def rows_tried(
    size: FitSize, settings: EncodingSettings, *, paired: bool = True, test_images: bool = False
) -> dict[int, int]:
    """Rows of band weights that the fits of one split try; each costs a decomposition.

    Parameters
    ----------
    size
        Of the fits.
    settings
        Section ``encoding``.
    paired
        Whether signals are fitted beside activations as well.
    test_images
        Whether it is the split that holds out the test images.

    Returns
    -------
    dict
        Features of all bands of a fit together -> rows of weights.
    """
    fits = _fits(size, paired=paired)
    widths = {ALL_ACTIVATIONS: _baseline_width(size, settings)}
    widths |= dict(zip(fits.nuisance, size.nuisance, strict=True))
    weights = BandWeights.of(len(fits.baseline), settings)
    tried: dict[Fit, int] = {}
    for signal in fits.singles:
        for fit in fits.of_signal(signal, test_images=test_images):
            # The corners of a search are the fits of single bands.
            tried |= {(band,): 1 for band in fit.bands}
            if len(fit.bands) == 2 and fit.bands != fits.baseline:
                tried[fit.bands] = settings.n_band_weights - 2
            elif len(fit.bands) > 1:
                rows = weights.base if fit.bands == fits.baseline else weights.extended
                tried[fit.bands] = int(np.count_nonzero((rows < 1.0).all(axis=1)))
    found: Counter[int] = Counter()
    for bands, count in tried.items():
        found[sum(widths.get(band, size.width) for band in bands)] += count
    return dict(found)


def _selection_factor(settings: EncodingSettings) -> float:
    """Decompositions that a choice of penalties takes, as a multiple of that of all images.

    Inner folds decompose each of them anew, at the cube of their share of the images. Under
    `selection: auto` the closed form is taken, which images in groups do not have.
    """
    if settings.selection != "kfold":
        return 1.0
    k = settings.n_inner_folds
    return 1.0 + k * (1.0 - 1.0 / k) ** 3


def _row_seconds(width: float, n_train: float, size: FitSize, rates: Rates) -> float:
    """One row of band weights: a decomposition, and all targets in its axes."""
    relative = min(n_train, width) / JOINT_WIDTH
    per_target = rates.weights_ms_per_target * 1e-3 * size.targets
    return rates.small_weights_s + rates.weights_s * relative**3 + per_target * relative**2


def _product_seconds(
    width: float, n_train: float, n_test: float, size: FitSize, rates: Rates
) -> float:
    """Products of a band with itself and with all targets, and its predictions."""
    small = min(n_train, width)
    own = 2 * n_train * width * small
    of_targets = 2 * (n_train + n_test) * width * size.targets / SINGLE_PRECISION
    return (own + of_targets) / (rates.core_gflops * 1e9)


def _baseline_width(size: FitSize, settings: EncodingSettings) -> int:
    kept = settings.baseline_components
    return size.all_widths if kept is None else min(kept, size.all_widths)


def standardise_seconds(n_train: float, all_widths: int, rates: Rates) -> float:
    """Seconds that a fit takes to standardise the features of all layers."""
    return rates.standardise_s * n_train * all_widths / (N_TRAIN * 22 * 1024)


def reduction_seconds(size: FitSize, settings: EncodingSettings, rates: Rates) -> float:
    """CPU seconds that principal components of all layers take, in the folds of one subject."""
    n_train = size.images * (1 - 1 / settings.n_folds)
    small, large = sorted((n_train, float(size.all_widths)))
    products = 2 * small**2 * large / (rates.core_gflops * 1e9)
    fold = (
        standardise_seconds(n_train, size.all_widths, rates)
        + products
        + rates.eigh_4096_s * (small / 4096) ** 3
    )
    return rates.start_s + size.splits(settings) * fold


def reduction_disk_gib(size: FitSize, settings: EncodingSettings) -> float:
    """Size of the components of one model for one subject: one set of them per fold."""
    return 4 * size.images * _baseline_width(size, settings) * size.splits(settings) / GIB


def fit_memory_gib(size: FitSize) -> float:
    """Memory that one encoding job asks for."""
    responses = 4 * size.images * size.targets / 2**20
    return (FIT_BASE_MB + FIT_MB_PER_RESPONSE_MB * responses) / 1024


def reduction_memory_gib(size: FitSize) -> float:
    """Memory that a reduction asks for."""
    small = min(size.images, size.all_widths)
    return FIT_BASE_MB / 1024 + 8 * (4 * small**2 + 3 * size.images * size.all_widths) / GIB


def fit_disk_gib(size: FitSize, settings: EncodingSettings) -> float:
    """Size of one encoding store: scores and penalties per target, draws per unit."""
    fits = _fits(size, paired=settings.variance_partitioning)
    rows = len(fits.rows(normalised=True, test_images=size.test_images))
    per_target = 4 * (rows + 3 * len(fits.fits))
    draws = 2 * 4 * settings.n_draws * rows * size.units
    return (per_target * size.targets + draws) / GIB


def fit_sizes(
    plan: Plan, costs: Mapping[str, NetworkCost], sizes: Mapping[str, ExpectedSize]
) -> list[list[FitSize]]:
    """Sizes of the fits of every model and subject, layer by layer."""
    nuisance = tuple(costs[band.model].widths[band.layer] for band in plan.nuisance)
    found = []
    for model in plan.models:
        taken = plan.taken_set(model, plan.set_of(model)).signals
        signals = sum(signal.role != ACTIVATION for signal in taken)
        widths = [costs[model].widths[layer] for layer in plan.layers(model)]
        for subject in plan.subjects:
            size = sizes[plan.study.subjects[subject].name]
            found.append(
                [
                    FitSize(
                        size.n_images,
                        size.n_targets,
                        size.n_units,
                        width,
                        sum(widths),
                        signals,
                        size.test_images,
                        nuisance,
                    )
                    for width in widths
                ]
            )
    return found


def reduction_cost(
    fits: Iterable[list[FitSize]], settings: EncodingSettings, rates: Rates
) -> StageCost:
    """Cost of all reductions of a model's activations on one core each."""
    sizes = [layers[0] for layers in fits]
    seconds = [reduction_seconds(size, settings, rates) for size in sizes]
    return StageCost.of_jobs(
        "reduce_activations",
        seconds,
        disk_gib=sum(reduction_disk_gib(size, settings) for size in sizes),
        memory_gib=max(map(reduction_memory_gib, sizes)),
    )


def rdm_seconds(size: FitSize, settings: EncodingSettings, rsa: RsaSettings, rates: Rates) -> float:
    """CPU seconds that dissimilarities of the predictions of one encoding job take."""
    images = min(size.images / settings.n_folds, rsa.max_images)
    drawn = settings.n_folds * settings.n_draws * images * (images - 1) / 2
    return drawn * len(_fits(size, paired=True).rdm_rows) * size.units * rates.rdm_ns * 1e-9


def rdm_disk_gib(size: FitSize, settings: EncodingSettings) -> float:
    """Size of the scores of dissimilarities in one encoding store, and of their draws."""
    rows = len(_fits(size, paired=True).rdm_rows)
    return 4 * (1 + 2 * settings.n_draws) * rows * size.units / GIB


def encoding_cost(
    fits: Iterable[list[FitSize]], settings: EncodingSettings, rsa: RsaSettings, rates: Rates
) -> StageCost:
    """Cost of all encoding jobs on one core each."""
    by_model = [list(layers) for layers in fits]
    sizes = [size for layers in by_model for size in layers]
    jobs = by_model if settings.unit == "model" else [[size] for size in sizes]
    paired = settings.variance_partitioning
    seconds = [_seconds_in_one_process(job, settings, rates, paired=paired) for job in jobs]
    disk = sum(fit_disk_gib(size, settings) for size in sizes)
    if rsa.encoding:
        seconds = [
            total + sum(rdm_seconds(size, settings, rsa, rates) for size in job)
            for total, job in zip(seconds, jobs, strict=True)
        ]
        disk += sum(rdm_disk_gib(size, settings) for size in sizes)
    return StageCost.of_jobs(
        "fit_encoding", seconds, disk_gib=disk, memory_gib=max(map(fit_memory_gib, sizes))
    )


def _seconds_in_one_process(
    sizes: Iterable[FitSize], settings: EncodingSettings, rates: Rates, *, paired: bool = True
) -> float:
    """Fits one after the other, which start once."""
    each = (fit_seconds(size, settings, rates, paired=paired) for size in sizes)
    return rates.start_s + sum(seconds - rates.start_s for seconds in each)


@dataclass(frozen=True)
class UniqueSize:
    """What the unique variance of the signals of one model and subject is taken from.

    Attributes
    ----------
    images, units
        Images that are no test images; regions or times.
    layers, nuisance
        Of the model, and nuisance bands.
    signals, learning
        Of a layer, the activation left out, and how many of these are learning signals.
    all_widths
        Features of all activations.
    """

    images: int
    units: int
    layers: int
    nuisance: int
    signals: int
    learning: int
    all_widths: int

    def block(self, settings: EncodingSettings) -> tuple[int, int]:
        """Number of blocks and images of one."""
        blocks = math.ceil(self.images / settings.unique_images)
        return blocks, math.ceil(self.images / blocks)

    @property
    def plain(self) -> int:
        """Kernels that signals are held against."""
        return self.layers + self.nuisance

    @property
    def kernels(self) -> int:
        """Kernels that responses are held against: those of leading components as well."""
        return self.plain + self.layers


def unique_seconds(size: UniqueSize, settings: EncodingSettings, rates: Rates) -> float:
    """CPU seconds that the unique variance of all signals of a model takes in one subject.

    A product of two matrices of n images counts 2 n³. Each estimate of components takes
    `ITERATIONS` times two of them per kernel, and a signal's leading components as much as ten.
    """
    blocks, n = size.block(settings)
    signals = size.layers * size.signals
    per_signal = 2 * ITERATIONS * (size.plain + 1) + 10
    # Components and covariance, forms of signals, two kinds of plants of learning signals.
    per_unit = 2 * (ITERATIONS + 1) * (size.kernels + 1) + 2 * signals
    per_unit += 8 * size.layers * size.learning
    products = (signals * per_signal + size.units * per_unit) * 2 * n**3
    null = size.units * settings.n_draws * signals * n**2
    return rates.start_s + blocks * (
        products / (rates.unique_gflops * 1e9) + null * rates.unique_null_ns * 1e-9
    )


def unique_memory_gib(size: UniqueSize, settings: EncodingSettings, rates: Rates) -> float:
    """Memory of one job: kernels and forms of all signals at once, and the activations."""
    _, n = size.block(settings)
    matrices = 2 * size.kernels + size.layers * (3 * size.signals + size.learning)
    return rates.process_gib + (8 * matrices * n**2 + 4 * size.images * size.all_widths) / GIB


def unique_sizes(
    plan: Plan, costs: Mapping[str, NetworkCost], sizes: Mapping[str, ExpectedSize]
) -> dict[tuple[str, str], UniqueSize]:
    """(model, subject) -> what unique variance is taken from, where there is any."""
    found = {}
    for model in plan.models:
        if not plan.unique(model):
            continue
        signals = plan.taken_set(model, plan.set_of(model)).signals
        layers = plan.layers(model)
        for subject in plan.subjects:
            size = sizes[plan.study.subjects[subject].name]
            found[model, subject] = UniqueSize(
                images=size.n_images - size.test_images,
                units=size.n_units,
                layers=len(layers),
                nuisance=len(plan.nuisance),
                signals=sum(signal.role != ACTIVATION for signal in signals),
                learning=sum(signal.role == LEARNING for signal in signals),
                all_widths=sum(costs[model].widths[layer] for layer in layers),
            )
    return found


def universe_cost(
    plan: Plan,
    fits: Iterable[list[FitSize]],
    unique: Mapping[tuple[str, str], UniqueSize],
    rates: Rates,
) -> StageCost:
    """Cost of a multiverse: a job for each set of choices, model and data set.

    Fits of signals alone, and the unique variance of these signals.
    """
    by_job: dict[tuple[str, str], list[FitSize]] = {}
    unique_of_job: dict[tuple[str, str], float] = {}
    settings = plan.study.settings.encoding
    for (model, subject), size in unique.items():
        key = (model, plan.study.subjects[subject].name)
        seconds_of_subject = unique_seconds(size, settings, rates) - rates.start_s
        unique_of_job[key] = unique_of_job.get(key, 0.0) + seconds_of_subject
    subjects = [(model, subject) for model in plan.models for subject in plan.subjects]
    for (model, subject), layers in zip(subjects, fits, strict=True):
        by_job.setdefault((model, plan.study.subjects[subject].name), []).extend(layers)
    seconds = [
        _seconds_in_one_process(sizes, universe.encoding, rates, paired=False)
        + unique_of_job.get(job, 0.0)
        for universe in plan.multiverse.fits.values()
        for job, sizes in by_job.items()
    ]
    return StageCost.of_jobs(
        "fit_universe",
        seconds,
        memory_gib=max(fit_memory_gib(size) for sizes in by_job.values() for size in sizes),
    )


def rule_pairs_cost(
    sizes: Sequence[UniqueSize], settings: EncodingSettings, rates: Rates
) -> StageCost:
    """Cost of what signals explain beside one another: a unique part for each other signal."""
    n_signals = len(settings.rule_pairs)
    beside = [
        replace(size, signals=n_signals - 1, learning=0, nuisance=size.nuisance + size.layers)
        for size in sizes
    ]
    seconds = [
        rates.start_s + n_signals * (unique_seconds(size, settings, rates) - rates.start_s)
        for size in beside
    ]
    return StageCost.of_jobs(
        "measure_rule_pairs",
        seconds,
        memory_gib=max((unique_memory_gib(size, settings, rates) for size in beside), default=0.0),
    )


def unique_cost(sizes: Sequence[UniqueSize], settings: EncodingSettings, rates: Rates) -> StageCost:
    """Cost of the unique variance of all models and subjects on one core each."""
    seconds = [unique_seconds(size, settings, rates) for size in sizes]
    # Estimates, their null draws, three moments of two kinds of plants; float64.
    numbers = [
        size.layers * size.signals * size.units * (settings.n_draws + 1 + 6) for size in sizes
    ]
    return StageCost.of_jobs(
        "measure_unique",
        seconds,
        disk_gib=8 * sum(numbers) / GIB,
        memory_gib=max((unique_memory_gib(size, settings, rates) for size in sizes), default=0.0),
    )
