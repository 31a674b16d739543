"""What a study costs before it is run: jobs, disk, memory and time.

Sizes follow from the config and the registries. Times and memory are those of one measured job,
carried over to other sizes by how each step grows; docs/scaling.md has the measurements. What was
not measured is named in `CAVEATS` and printed with every estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import signal_uses, viewing_objectives
from gradbrain.config.schema import (
    DatasetEntry,
    EncodingSettings,
    ExpectedSize,
    RsaSettings,
    SignalEntry,
)
from gradbrain.config.study import SHARED
from gradbrain.datasets.image_choice import read_image_list
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.variance_components import ITERATIONS
from gradbrain.plan.jobs import Plan
from gradbrain.plan.memory import FIT_BASE_MB, FIT_MB_PER_RESPONSE_MB
from gradbrain.plan.study_entries import DATA
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

GIB = 2.0**30
# Sizes that the constants of a fit were measured at.
N_TRAIN, N_TEST, JOINT_WIDTH, N_BAND_WEIGHTS, N_DRAWS = 8000, 2000, 2024, 11, 200

CAVEATS = (
    "Times of fits were measured at 8,000 training images of 1,024 features and grow from there as "
    "the arithmetic does; principal components of all layers are extrapolated from 4,096 images.",
    "Extraction counts the operations of the network's passes at one rate, that of a ViT at 224 px "
    "on a core; depthwise convolutions and small images take 3 to 10 times as long. Reading and "
    "decoding images is not in it. No GPU was measured: name yours with --rate gpu_tflops=VALUE "
    "or --images-per-s.",
    "Disk is what is stored before compression. Memory of fits is what they ask for, of jobs that "
    "run a network its weights and what a batch of images keeps for the backward pass, traced "
    "without weights (views are passed in batches of the same size; on a GPU a batch that does not "
    "fit is halved), of other jobs their largest arrays. "
    "Jobs of stimuli, responses, ceilings, RSA, tables and figures count "
    "with the time that a job takes to start.",
    "Fits of a multiverse count as those of the study; people who saw the same images share "
    "decompositions, which saves about a third (objects92) and is not counted.",
)
# Rows of a signal of a layer wait until so many bytes of them are there.
SHARD_BYTES = 16 * 2**20
# Folds of the regression of signals on activations, each in two halves.
N_RELIABILITY_FOLDS = 5
# The layer's own activation, offered a second time: one of the two joint fits of a signal.
ACTIVATION_AGAIN = 0.5


@dataclass(frozen=True)
class Rates:
    """Measured constants; the command line overrides each.

    Attributes
    ----------
    start_s
        CPU seconds that any job takes to start Python, import and write (demo, small jobs: 1.4 to
        2.3 s).
    core_gflops
        Matrix products in float64 on one core (docs/scaling.md).
    eigh_4096_s
        Eigendecomposition of a matrix of 4,096 on one core.
    standardise_s
        Standardising the activations of 22 layers of 1,024 features for 8,000 images.
    fits_s, fits_ms_per_target
        Fits of one learning signal in one fold, apart from targets and per target.
    small_fit_s
        Of them in one fold, what does not grow with images, features or targets (objects92: 4.0 s
        of one person, seven layers, seven signals, five folds).
    scores_s, scores_ms_per_target
        Their scores with 200 draws for 2,000 held-out images.
    unique_gflops
        Products and decompositions of the unique variance of signals: 12 signals of 4 layers of
        900 images take 21.5 CPU seconds of them with one region.
    unique_null_ns
        A product of two numbers in the null draws of these (200 draws: 1.3 s per region).
    rdm_ns
        A pair of images in a draw of one row of dissimilarities of predictions, in one region or
        time (200 draws, 14 rows: 1.0 ns with 200 held-out images; 100 draws with 64: 0.7; 200
        draws, 20 rows with 18: 1.9).
    process_gib
        What a small job holds (demo: .2 to .9 GiB, the most with torch).
    statistics_ms
        Image statistics of an image on one core: reading, cropping, all levels
        (benchmarks/bench_statistics.py).
    core_pass_gflops
        Passes of a network on one core: 6.8 images of 10.0 GFLOP per second, ViT-Ti/16 at 224 px
        (benchmarks/bench_extraction.py --clock cpu). Small images and depthwise convolutions
        reach a tenth to a third of it (demo).
    gpu_tflops
        Passes of a network on one GPU. Not measured: half of the 19.5 TFLOP/s in float32 that
        the data sheet of NVIDIA's A100 gives.
    """

    start_s: float = 2.0
    core_gflops: float = 49.0
    eigh_4096_s: float = 10.8
    standardise_s: float = 10.0
    fits_s: float = 20.0
    fits_ms_per_target: float = 2.9
    small_fit_s: float = 0.018
    scores_s: float = 4.5
    scores_ms_per_target: float = 2.55
    unique_gflops: float = 40.0
    unique_null_ns: float = 0.7
    rdm_ns: float = 1.0
    process_gib: float = 0.9
    statistics_ms: float = 20.0
    core_pass_gflops: float = 68.0
    gpu_tflops: float = 9.75


RATE_NAMES = tuple(field.name for field in fields(Rates))


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs a network.

    Attributes
    ----------
    flops
        Floating-point operations of a forward pass.
    widths
        Layer -> features after pooling and projection.
    weight_bytes
        Weights of the network.
    saved_bytes
        What is kept of an image for a backward pass.
    layer_bytes
        Outputs of the layers that are taken.
    largest_bytes
        The largest output of a module.
    """

    flops: float
    widths: Mapping[str, int]
    weight_bytes: float = 0.0
    saved_bytes: float = 0.0
    layer_bytes: float = 0.0
    largest_bytes: float = 0.0

    def pass_bytes(self, n_images: int, *, graph: bool) -> float:
        """Memory of a pass over some images, weights included.

        Parameters
        ----------
        n_images
            Images at once.
        graph
            Whether a backward pass follows.
        """
        # Two of the largest outputs are there at once: what a module reads and what it gives.
        kept = (self.saved_bytes if graph else 0.0) + self.layer_bytes + 2 * self.largest_bytes
        return self.weight_bytes + n_images * kept


@dataclass(frozen=True)
class StageCost:
    """Jobs of one rule.

    Attributes
    ----------
    rule
        Name of the rule; fused extraction counts as one rule.
    jobs
        How many there are.
    disk_gib
        What all of them write.
    memory_gib
        The largest one, on the host.
    gpu_memory_gib
        The largest one, on a GPU, where it runs on one.
    cpu_hours, gpu_hours
        All of them together, on one core and on one GPU.
    longest_hours
        The longest one.
    """

    rule: str
    jobs: int
    disk_gib: float = 0.0
    memory_gib: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    longest_hours: float = 0.0
    gpu_memory_gib: float = 0.0


def job_counts(plan: Plan) -> dict[str, int]:
    """Jobs of each rule that a study runs from nothing, fused extraction as one rule.

    Returns
    -------
    dict
        Name of the rule -> number of jobs; rules without jobs are left out.
    """
    subjects, models = plan.subjects, plan.models
    seen = {plan.study.seen_by(subject) for subject in subjects}
    chosen = plan.study.chosen_stimuli
    # Named images may be in any set of the study.
    stimuli = {name for names in chosen.values() for name in names} if chosen else seen
    calibration = {
        plan.signal_set(name).calibration
        for model, name, _, _ in plan.all_features()
        if model in plan.networks
    }
    training = {plan.weights_options(model).training_images() for model in plan.trained_here}
    n_fits = len(subjects) * sum(
        1 if model in plan.models_fitted_whole else len(plan.layers(model)) for model in models
    )
    reduced = plan.study.settings.encoding.baseline_components is not None
    counts = {
        "prepare_stimuli": len(stimuli | calibration | training),
        "train_testbed": len(plan.trained_here),
        "choose_images": len(seen & set(chosen)),
        "assign_folds": len(plan.images.stimuli_with_folds),
        "prepare_responses": len(subjects),
        "compute_ceilings": len(plan.ceilings),
        "fit_feedback": len(
            {
                path
                for model, signal_set, _, _ in plan.all_features()
                if model in plan.networks
                for path in plan.feedback(model, signal_set)
            }
        ),
        "compute_objective_targets": len(targets_jobs(plan)),
        "extract_features": _extraction_jobs(plan),
        "measure_reliability": len(plan.reliabilities),
        "compare_signals": len(plan.alikenesses),
        "image_statistics": len(statistics_jobs(plan)),
        "reduce_activations": len(models) * len(subjects) if reduced else 0,
        "fit_encoding": n_fits,
        "measure_unique": sum(len(plan.unique(model)) for model in models),
        "measure_rule_pairs": len(plan.rule_pairs),
        "compute_rsa": len(models) * len(subjects),
        "fuse_space_and_time": len(models) if plan.fused_datasets else 0,
        "compute_rdm_ceilings": len(plan.rdm_ceilings),
        "score_rdms": len(models) if plan.second_opinions else 0,
        "test_second_opinions": len(plan.second_opinions),
        "collect_scores": len(models),
        "collect_maps": len(models),
        "score_hierarchy": len(models),
        "test_claims": 1,
        "compare_models": bool(plan.model_contrasts),
        "fit_universe": len(plan.multiverse.fit_paths("universe_hierarchy")),
        "test_universe": len(plan.multiverse.universes),
        "collect_universes": bool(plan.multiverse.universes),
        "write_config": 1,
        "write_entries": 1,
        "plot_figure": len(plan.figures),
        "write_report": 1,
    }
    return {rule: int(count) for rule, count in counts.items() if count}


def _extraction_jobs(plan: Plan) -> int:
    return len(
        {_extraction_job(plan, *key) for key in plan.all_features() if key[0] in plan.networks}
    )


def targets_jobs(plan: Plan) -> set[tuple[str, str, str]]:
    """(model, signal set, stimuli) of every job that passes views for all layers."""
    return {
        (model, signal_set, stimuli)
        for model, signal_set, _, stimuli in plan.all_features()
        if model in plan.networks and signal_set in plan.viewing_sets
    }


def statistics_jobs(plan: Plan) -> set[tuple[str, str, str]]:
    """(model, signal set, stimuli) of every job that takes image statistics."""
    return {
        (model, signal_set, stimuli)
        for model, signal_set, _, stimuli in plan.all_features()
        if model in plan.statistics_models
    }


def _extraction_job(
    plan: Plan, model: str, signal_set: str, layer: str, stimuli: str
) -> tuple[str, ...]:
    """Name the job that extracts a layer: one for all layers of a model, or one for each.

    Sets of a multiverse that are read from the same passes have the job of the first of them.
    """
    for names in plan.multiverse.passes:
        if signal_set in names:
            return (model, names[0], stimuli)
    whole = (model, signal_set, stimuli)
    return whole if plan.is_fused(signal_set) else (*whole, layer)


def n_passes(plan: Plan, signal_set: str, depth: float = 0.0) -> float:
    """Count the passes that the signals of an image take, as a multiple of one forward pass.

    One forward pass, those that objectives and rules declare beside it (one for each augmented view
    that is drawn), and one backward pass per learning signal or control. Parameters are frozen, so
    that a whole backward pass costs as much as a forward one; for a layer at relative `depth` it
    ends there. What another job passes for all layers is not in it.
    """
    elsewhere = signal_set in plan.viewing_sets
    return _passes_of(plan, plan.signal_set(signal_set).signals, depth, elsewhere=elsewhere)


def _passes_of(
    plan: Plan, signals: Iterable[SignalEntry], depth: float = 0.0, *, elsewhere: bool = False
) -> float:
    """Passes that some signals of an image take in one job.

    Objectives that look at views are left out where another job passes these.
    """
    total = 1.0
    for signal in signals:
        uses = signal_uses(signal, plan.plugins, where=f"signal {signal.name!r}")
        total += sum(
            use.options.extra_forward_passes()
            for use in uses
            if not (elsewhere and use.plugin.kind == "objectives")
        )
        total += (1.0 - depth) * sum(use.options.backward_passes() for use in uses)
    return total


def extraction_cost(
    plan: Plan,
    costs: Mapping[str, NetworkCost],
    images: Mapping[str, int],
    rates: Rates,
    *,
    gpu: bool,
) -> StageCost:
    """Cost of all extraction jobs: the operations of their passes at one rate.

    Parameters
    ----------
    plan
        The study.
    costs
        Model -> cost of an image.
    images
        Stimulus set -> number of images.
    rates
        Measured constants.
    gpu
        Whether passes run on a GPU.
    """
    speed = rates.gpu_tflops * 1e12 if gpu else rates.core_pass_gflops * 1e9
    passes: dict[tuple[str, ...], float] = {}
    waiting: dict[tuple[str, ...], float] = {}
    needs: dict[tuple[str, ...], float] = {}
    disk = 0.0
    for model, signal_set, layer, stimuli in plan.all_features():
        if model in plan.statistics_models:
            continue
        signals = plan.signal_set(signal_set).signals
        n_images, cost = images[stimuli], costs[model]
        depth = 0.0 if plan.is_fused(signal_set) else plan.layer(model, layer).depth
        key = _extraction_job(plan, model, signal_set, layer, stimuli)
        passes[key] = n_images * cost.flops * n_passes(plan, signal_set, depth)
        rows = n_images * len(signals) * cost.widths[layer] * 4
        disk += rows + n_images * len(signals) * 8
        waiting[key] = waiting.get(key, 0.0) + min(rows, len(signals) * SHARD_BYTES)
        graph = n_passes(plan, signal_set) > 1
        needs[key] = cost.pass_bytes(_batch(plan, n_images), graph=graph)
    seconds = [rates.start_s + flops / speed for flops in passes.values()]
    hours = sum(seconds) / 3600
    host, device = _memory_of_passes(needs, waiting, rates, gpu=gpu)
    return StageCost(
        "extract_features",
        len(passes),
        disk / GIB,
        host,
        gpu_memory_gib=device,
        cpu_hours=0.0 if gpu else hours,
        gpu_hours=hours if gpu else 0.0,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


def _batch(plan: Plan, n_images: int) -> int:
    """Images that pass through a network at once."""
    return min(plan.study.settings.features.batch_size, n_images)


def _memory_of_passes(
    needs: Mapping[Any, float], waiting: Mapping[Any, float], rates: Rates, *, gpu: bool
) -> tuple[float, float]:
    """Memory of the largest job on the host and on the GPU, in GiB.

    Parameters
    ----------
    needs
        Job -> bytes of its weights and passes.
    waiting
        Job -> bytes of the rows that wait until a shard is full, on the host.
    rates
        Measured constants.
    gpu
        Whether passes run on a GPU; the host then holds weights while it hands them on.
    """
    if not needs:
        return rates.process_gib, 0.0
    rows = max((needs[job] * (not gpu) + waiting.get(job, 0.0) for job in needs), default=0.0)
    return rates.process_gib + rows / GIB, max(needs.values()) / GIB if gpu else 0.0


def targets_cost(
    plan: Plan,
    costs: Mapping[str, NetworkCost],
    images: Mapping[str, int],
    rates: Rates,
    *,
    gpu: bool,
) -> StageCost:
    """Cost of passing views for all layers; targets are taken to be as wide as a layer."""
    speed = rates.gpu_tflops * 1e12 if gpu else rates.core_pass_gflops * 1e9
    seconds, disk = [], 0.0
    needs = {
        (model, stimuli): costs[model].pass_bytes(_batch(plan, images[stimuli]), graph=False)
        for model, _, stimuli in targets_jobs(plan)
    }
    host, device = _memory_of_passes(needs, {}, rates, gpu=gpu)
    for model, signal_set, stimuli in targets_jobs(plan):
        uses = viewing_objectives(plan.signal_set(signal_set).signals, plan.plugins)
        passes = sum(use.options.extra_forward_passes() for use in uses)
        seconds.append(rates.start_s + images[stimuli] * costs[model].flops * passes / speed)
        disk += images[stimuli] * 4 * max(costs[model].widths.values()) * len(uses)
    hours = sum(seconds) / 3600
    return StageCost(
        "compute_objective_targets",
        len(seconds),
        disk / GIB,
        host,
        gpu_memory_gib=device,
        cpu_hours=0.0 if gpu else hours,
        gpu_hours=hours if gpu else 0.0,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


def training_cost(plan: Plan, costs: Mapping[str, NetworkCost], rates: Rates) -> StageCost:
    """Cost of all trainings of networks, on one core each."""
    speed = rates.core_pass_gflops * 1e9
    seconds = [
        rates.start_s + costs[model].flops * plan.weights_options(model).training_passes() / speed
        for model in plan.trained_here
    ]
    return StageCost(
        "train_testbed",
        len(seconds),
        sum(2 * costs[model].weight_bytes for model in plan.trained_here) / GIB,
        rates.process_gib,
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


def statistics_cost(
    plan: Plan, costs: Mapping[str, NetworkCost], images: Mapping[str, int], rates: Rates
) -> StageCost:
    """Cost of all jobs that take image statistics, every level each."""
    jobs = statistics_jobs(plan)
    seconds = [
        rates.start_s + images[stimuli] * rates.statistics_ms * 1e-3 for _, _, stimuli in jobs
    ]
    disk = sum(
        images[stimuli] * sum(4 * width + 8 for width in costs[model].widths.values())
        for model, _, stimuli in jobs
    )
    return StageCost(
        "image_statistics",
        len(jobs),
        disk / GIB,
        rates.process_gib,
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


def reliability_cost(
    plan: Plan,
    costs: Mapping[str, NetworkCost],
    images: Mapping[str, int],
    rates: Rates,
    *,
    gpu: bool,
) -> StageCost:
    """Cost of measuring how well signals repeat themselves: passes over some images, and a fit.

    The regression runs on a core, while the job keeps its GPU.
    """
    speed = rates.gpu_tflops * 1e12 if gpu else rates.core_pass_gflops * 1e9
    passes = _passes_of(plan, plan.uncertain_signals)
    settings = plan.study.settings.reliability
    seconds, memory, needs = [], [0.0], {}
    for model in filter(plan.reliability, plan.models):
        widths = [costs[model].widths[layer] for layer in plan.layers(model)]
        for stimuli in plan.viewed_stimuli():
            drawn = min(settings.n_images, images[stimuli])
            pool = min(images[stimuli], drawn + settings.max_training_images)
            half = pool * (1 - 1 / N_RELIABILITY_FOLDS) / 2
            fit = (
                _standardise_seconds(half, sum(widths), rates)
                + 2 * half**2 * sum(widths) / (rates.core_gflops * 1e9)
                + rates.eigh_4096_s * (half / 4096) ** 3
            )
            flops = drawn * costs[model].flops * passes
            seconds.append(rates.start_s + flops / speed + 2 * N_RELIABILITY_FOLDS * fit)
            # Kernels of all halves, and the features of one layer in both precisions.
            floats = 2 * N_RELIABILITY_FOLDS * 2 * half**2 + 2 * pool * max(widths)
            memory.append(8 * floats / GIB)
            needs[model, stimuli] = costs[model].pass_bytes(_batch(plan, drawn), graph=True)
    host, device = _memory_of_passes(needs, {}, rates, gpu=gpu)
    hours = sum(seconds) / 3600
    return StageCost(
        "measure_reliability",
        len(seconds),
        # The regression follows the passes, whose network is still there.
        memory_gib=host + max(memory),
        gpu_memory_gib=device,
        cpu_hours=0.0 if gpu else hours,
        gpu_hours=hours if gpu else 0.0,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


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

    Without pairs, signals are fitted alone: one decomposition each, in the place of two lines.
    """
    n_test = size.images / settings.n_folds
    n_train = size.images - n_test
    weights = BandWeights.of(1 + len(size.nuisance), settings)
    all_layers = _baseline_width(size, settings) + sum(size.nuisance)
    joint = _half_fit_seconds(settings.n_band_weights, 2 * size.width, n_train, size, rates)
    n_full = len(weights.with_fallback) if size.nuisance else settings.n_band_weights
    full = _half_fit_seconds(n_full, all_layers + size.width, n_train, size, rates)
    # Two joint fits per signal: with the layer's activation, and with those of all layers.
    both = rates.small_fit_s + joint + full
    alone = rates.small_fit_s / (settings.n_band_weights + n_full)
    alone += _half_fit_seconds(1, size.width, n_train, size, rates)
    fits = _selection_factor(settings) * (both if paired else alone)
    mixture = 0.0
    if size.nuisance and paired:
        mixture = _half_fit_seconds(len(weights.base), all_layers, n_train, size, rates)
    held_out = (n_test / N_TEST) ** 2 * settings.n_draws / N_DRAWS
    scores = held_out * (rates.scores_s + rates.scores_ms_per_target * 1e-3 * size.targets)
    standardise = 0.0
    if settings.baseline_components is None:
        standardise = _standardise_seconds(n_train, size.all_widths, rates)
    signals = size.signals + ACTIVATION_AGAIN
    return rates.start_s + size.splits(settings) * (
        standardise + mixture + signals * (fits + scores)
    )


def _selection_factor(settings: EncodingSettings) -> float:
    """Decompositions that a choice of penalties takes, as a multiple of that of all images.

    Inner folds decompose each of them anew, at the cube of their share of the images. Under
    `selection: auto` the closed form is taken, which images in groups do not have.
    """
    if settings.selection != "kfold":
        return 1.0
    k = settings.n_inner_folds
    return 1.0 + k * (1.0 - 1.0 / k) ** 3


def _half_fit_seconds(
    n_weights: int, width: float, n_train: float, size: FitSize, rates: Rates
) -> float:
    """One of the two joint fits of a signal, which were measured together, in one fold."""
    relative = min(n_train, width) / JOINT_WIDTH
    per_target = rates.fits_ms_per_target * 1e-3 * size.targets
    whole = rates.fits_s * relative**3 + per_target * relative**2
    return 0.5 * n_weights / N_BAND_WEIGHTS * whole


def _baseline_width(size: FitSize, settings: EncodingSettings) -> int:
    kept = settings.baseline_components
    return size.all_widths if kept is None else min(kept, size.all_widths)


def _standardise_seconds(n_train: float, all_widths: int, rates: Rates) -> float:
    return rates.standardise_s * n_train * all_widths / (N_TRAIN * 22 * 1024)


def reduction_seconds(size: FitSize, settings: EncodingSettings, rates: Rates) -> float:
    """CPU seconds that principal components of all layers take, in the folds of one subject."""
    n_train = size.images * (1 - 1 / settings.n_folds)
    small, large = sorted((n_train, float(size.all_widths)))
    products = 2 * small**2 * large / (rates.core_gflops * 1e9)
    fold = (
        _standardise_seconds(n_train, size.all_widths, rates)
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
    rows, fits = 5 + 10 * size.signals, 3 + 3 * size.signals
    per_target = 4 * (rows + 3 * fits)
    draws = 2 * 4 * settings.n_draws * rows * size.units
    return (per_target * size.targets + draws) / GIB


def _fit_sizes(
    plan: Plan, costs: Mapping[str, NetworkCost], sizes: Mapping[str, ExpectedSize]
) -> list[list[FitSize]]:
    """Sizes of the fits of every model and subject, layer by layer."""
    nuisance = tuple(costs[band.model].widths[band.layer] for band in plan.nuisance)
    found = []
    for model in plan.models:
        taken = plan.taken_set(model, plan.study.signal_set.name).signals
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
    return StageCost(
        "reduce_activations",
        len(sizes),
        sum(reduction_disk_gib(size, settings) for size in sizes),
        max(map(reduction_memory_gib, sizes)),
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds) / 3600,
    )


def rdm_rows_of(size: FitSize) -> int:
    """Rows of dissimilarities of one fit: two of activations, three of every other signal."""
    return 2 + 3 * size.signals


def rdm_seconds(size: FitSize, settings: EncodingSettings, rsa: RsaSettings, rates: Rates) -> float:
    """CPU seconds that dissimilarities of the predictions of one encoding job take."""
    images = min(size.images / settings.n_folds, rsa.max_images)
    drawn = settings.n_folds * settings.n_draws * images * (images - 1) / 2
    return drawn * rdm_rows_of(size) * size.units * rates.rdm_ns * 1e-9


def rdm_disk_gib(size: FitSize, settings: EncodingSettings) -> float:
    """Size of the scores of dissimilarities in one encoding store, and of their draws."""
    return 4 * (1 + 2 * settings.n_draws) * rdm_rows_of(size) * size.units / GIB


def encoding_cost(
    fits: Iterable[list[FitSize]], settings: EncodingSettings, rsa: RsaSettings, rates: Rates
) -> StageCost:
    """Cost of all encoding jobs on one core each."""
    by_model = [list(layers) for layers in fits]
    sizes = [size for layers in by_model for size in layers]
    jobs = by_model if settings.unit == "model" else [[size] for size in sizes]
    seconds = [_seconds_in_one_process(job, settings, rates) for job in jobs]
    disk = sum(fit_disk_gib(size, settings) for size in sizes)
    if rsa.encoding:
        seconds = [
            total + sum(rdm_seconds(size, settings, rsa, rates) for size in job)
            for total, job in zip(seconds, jobs, strict=True)
        ]
        disk += sum(rdm_disk_gib(size, settings) for size in sizes)
    return StageCost(
        "fit_encoding",
        len(jobs),
        disk,
        max(map(fit_memory_gib, sizes)),
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds) / 3600,
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


def _unique_sizes(
    plan: Plan, costs: Mapping[str, NetworkCost], sizes: Mapping[str, ExpectedSize]
) -> dict[tuple[str, str], UniqueSize]:
    """(model, subject) -> what unique variance is taken from, where there is any."""
    found = {}
    for model in plan.models:
        if not plan.unique(model):
            continue
        signals = plan.taken_set(model, plan.study.signal_set.name).signals
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
    return StageCost(
        "fit_universe",
        len(seconds),
        memory_gib=max(fit_memory_gib(size) for sizes in by_job.values() for size in sizes),
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds, default=0.0) / 3600,
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
    return StageCost(
        "measure_rule_pairs",
        len(sizes),
        memory_gib=max((unique_memory_gib(size, settings, rates) for size in beside), default=0.0),
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


def unique_cost(sizes: Sequence[UniqueSize], settings: EncodingSettings, rates: Rates) -> StageCost:
    """Cost of the unique variance of all models and subjects on one core each."""
    seconds = [unique_seconds(size, settings, rates) for size in sizes]
    # Estimates, their null draws, three moments of two kinds of plants; float64.
    numbers = [
        size.layers * size.signals * size.units * (settings.n_draws + 1 + 6) for size in sizes
    ]
    return StageCost(
        "measure_unique",
        len(sizes),
        8 * sum(numbers) / GIB,
        max((unique_memory_gib(size, settings, rates) for size in sizes), default=0.0),
        cpu_hours=sum(seconds) / 3600,
        longest_hours=max(seconds, default=0.0) / 3600,
    )


def subject_sizes(plan: Plan, given: Mapping[str, ExpectedSize]) -> dict[str, ExpectedSize]:
    """Size of the responses of one subject per data set.

    As given, else as the entry expects, else as the headers of its files say.

    Raises
    ------
    GradbrainError
        A data set has none of these.
    """
    sizes = {}
    for name, entry in plan.study.datasets.items():
        found = given.get(name, entry.expected) or _size_on_disk(plan, entry)
        if found is None:
            raise GradbrainError(
                f"datasets.yaml: data set {name!r}: expected: missing, so its cost cannot be "
                f"estimated; add it to the entry or give --size {name}=IMAGES,TARGETS,UNITS"
            )
        sizes[name] = found
    return _of_chosen_images(plan, sizes)


def _of_chosen_images(plan: Plan, sizes: Mapping[str, ExpectedSize]) -> dict[str, ExpectedSize]:
    """Count no more images than the study takes: of shared ones, those of the smallest set."""
    images = plan.study.settings.images
    if images is None:
        return dict(sizes)
    if images == SHARED:
        most = min(size.n_images for size in sizes.values())
    else:
        most = len(read_image_list(Path(images)) if isinstance(images, str) else images)
    return {
        name: size.model_copy(update={"n_images": min(size.n_images, most)})
        for name, size in sizes.items()
    }


def _size_on_disk(plan: Plan, entry: DatasetEntry) -> ExpectedSize | None:
    """Size that the adapter reads from the data; None where it cannot, or they are not here."""
    source, options = plan.adapter(entry)
    # Roots are linked by runs; an estimate leaves the folder as it is.
    data = Path(plan.study.settings.roots.get(entry.name, f"{DATA}/{entry.name}")).expanduser()
    if not data.is_dir():
        return None
    chosen = tuple(name for name in plan.subjects_of(entry.name) if name in plan.subjects)
    return source.expected_size(entry.model_copy(update={"subjects": chosen}), options, data)


def estimate(
    plan: Plan,
    costs: Mapping[str, NetworkCost],
    sizes: Mapping[str, ExpectedSize],
    rates: Rates,
    *,
    gpu: bool,
) -> list[StageCost]:
    """Cost of every rule of a study, from nothing.

    Parameters
    ----------
    plan
        The study.
    costs
        Model -> cost of an image; planting models of simulated brains included.
    sizes
        Data set -> size of the responses of one subject.
    rates
        Measured constants.
    gpu
        Whether extraction runs on GPUs.

    Returns
    -------
    list of StageCost
        In the order of the workflow.
    """
    images = {
        plan.study.seen_by(subject): sizes[entry.name].n_images
        for subject, entry in plan.study.subjects.items()
    }
    settings, fits = plan.study.settings.encoding, _fit_sizes(plan, costs, sizes)
    unique = _unique_sizes(plan, costs, sizes)
    known = {
        "train_testbed": training_cost(plan, costs, rates),
        "compute_objective_targets": targets_cost(plan, costs, images, rates, gpu=gpu),
        "extract_features": extraction_cost(plan, costs, images, rates, gpu=gpu),
        "measure_reliability": reliability_cost(plan, costs, images, rates, gpu=gpu),
        "image_statistics": statistics_cost(plan, costs, images, rates),
        "reduce_activations": reduction_cost(fits, settings, rates),
        "fit_encoding": encoding_cost(fits, settings, plan.study.settings.rsa, rates),
        "fit_universe": universe_cost(plan, fits, unique, rates),
        "measure_unique": unique_cost(list(unique.values()), settings, rates),
        "measure_rule_pairs": rule_pairs_cost(list(unique.values()), settings, rates),
    }
    responses = sum(
        4
        * sizes[plan.study.subjects[subject].name].n_images
        * sizes[plan.study.subjects[subject].name].n_targets
        for subject in plan.subjects
    )
    stages = []
    for rule, count in job_counts(plan).items():
        hours = count * rates.start_s / 3600
        small = StageCost(
            rule,
            count,
            disk_gib=responses / GIB if rule == "prepare_responses" else 0.0,
            memory_gib=rates.process_gib,
            cpu_hours=hours,
            longest_hours=rates.start_s / 3600,
        )
        stages.append(known.get(rule, small))
    return stages


def elapsed_hours(stages: Iterable[StageCost], *, cores: int, gpus: int) -> float:
    """Hours from start to end if all cores and GPUs are busy, one stage after the other."""
    return sum(
        max(stage.longest_hours, stage.cpu_hours / cores + stage.gpu_hours / max(gpus, 1))
        for stage in stages
    )
