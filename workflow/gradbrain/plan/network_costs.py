"""What jobs cost that run networks: extraction, targets, training, reliability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradbrain.config.plugins import signal_uses, viewing_objectives
from gradbrain.config.schema import SignalEntry
from gradbrain.plan.cost_rates import GIB, NetworkCost, Rates, StageCost
from gradbrain.plan.fit_costs import standardise_seconds
from gradbrain.plan.job_counts import extraction_job, statistics_jobs, targets_jobs
from gradbrain.plan.jobs import Plan

# Rows of a signal of a layer wait until so many bytes of them are there.
SHARD_BYTES = 16 * 2**20
# Folds of the regression of signals on activations, each in two halves.
N_RELIABILITY_FOLDS = 5


def n_passes(plan: Plan, signal_set: str, depth: float = 0.0, *, view: float = 1.0) -> float:
    """Count the passes that the signals of an image take, as a multiple of one forward pass.

    One forward pass, those that objectives and rules declare beside it (one for each augmented view
    that is drawn), and one backward pass per learning signal or control. Parameters are frozen, so
    that a whole backward pass costs as much as a forward one; for a layer at relative `depth` it
    ends there. What another job passes for all layers is not in it. `view` is what a pass of a view
    counts.
    """
    counted = 0.0 if signal_set in plan.viewing_sets else view
    return _passes_of(plan, plan.signal_set(signal_set).signals, depth, view=counted)


def _passes_of(
    plan: Plan, signals: Iterable[SignalEntry], depth: float = 0.0, *, view: float = 1.0
) -> float:
    """Passes that some signals of an image take in one job, those of views times `view`.

    It is 0 where another job passes them.
    """
    total = 1.0
    for signal in signals:
        uses = signal_uses(signal, plan.plugins, where=f"signal {signal.name!r}")
        total += sum(
            use.options.extra_forward_passes() * (view if use.plugin.kind == "objectives" else 1)
            for use in uses
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
    speed, view = rates.flops_of_passes(gpu=gpu), _cost_of_view(plan, rates, gpu=gpu)
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
        key = extraction_job(plan, model, signal_set, layer, stimuli)
        passes[key] = n_images * cost.flops * n_passes(plan, signal_set, depth, view=view)
        rows = n_images * len(signals) * cost.widths[layer] * 4
        disk += rows + n_images * len(signals) * 8
        waiting[key] = waiting.get(key, 0.0) + min(rows, len(signals) * SHARD_BYTES)
        graph = n_passes(plan, signal_set) > 1
        needs[key] = cost.pass_bytes(_batch(plan, n_images), graph=graph)
    seconds = [rates.start_s + flops / speed for flops in passes.values()]
    host, device = _memory_of_passes(needs, waiting, rates, gpu=gpu)
    return StageCost.of_jobs(
        "extract_features",
        seconds,
        gpu=gpu,
        disk_gib=disk / GIB,
        memory_gib=host,
        gpu_memory_gib=device,
    )


def _cost_of_view(plan: Plan, rates: Rates, *, gpu: bool) -> float:
    return rates.cost_of_views(plan.study.settings.features.precision, gpu=gpu)


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
    speed, view = rates.flops_of_passes(gpu=gpu), _cost_of_view(plan, rates, gpu=gpu)
    seconds, disk = [], 0.0
    needs = {
        (model, stimuli): costs[model].pass_bytes(_batch(plan, images[stimuli]), graph=False)
        for model, _, stimuli in targets_jobs(plan)
    }
    host, device = _memory_of_passes(needs, {}, rates, gpu=gpu)
    for model, signal_set, stimuli in targets_jobs(plan):
        uses = viewing_objectives(plan.signal_set(signal_set).signals, plan.plugins)
        passes = view * sum(use.options.extra_forward_passes() for use in uses)
        seconds.append(rates.start_s + images[stimuli] * costs[model].flops * passes / speed)
        disk += images[stimuli] * 4 * max(costs[model].widths.values()) * len(uses)
    return StageCost.of_jobs(
        "compute_objective_targets",
        seconds,
        gpu=gpu,
        disk_gib=disk / GIB,
        memory_gib=host,
        gpu_memory_gib=device,
    )


def training_cost(plan: Plan, costs: Mapping[str, NetworkCost], rates: Rates) -> StageCost:
    """Cost of all trainings of networks, on one core each."""
    speed = rates.flops_of_passes(gpu=False)
    seconds = [
        rates.start_s + costs[model].flops * plan.weights_options(model).training_passes() / speed
        for model in plan.trained_here
    ]
    return StageCost.of_jobs(
        "train_testbed",
        seconds,
        disk_gib=sum(2 * costs[model].weight_bytes for model in plan.trained_here) / GIB,
        memory_gib=rates.process_gib,
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
    return StageCost.of_jobs(
        "image_statistics", seconds, disk_gib=disk / GIB, memory_gib=rates.process_gib
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
    speed, view = rates.flops_of_passes(gpu=gpu), _cost_of_view(plan, rates, gpu=gpu)
    settings = plan.study.settings.reliability
    seconds, memory, needs = [], [0.0], {}
    for model in filter(plan.reliability, plan.models):
        widths = [costs[model].widths[layer] for layer in plan.layers(model)]
        for stimuli in plan.viewed_stimuli():
            drawn = min(settings.n_images, images[stimuli])
            pool = min(images[stimuli], drawn + settings.max_training_images)
            half = pool * (1 - 1 / N_RELIABILITY_FOLDS) / 2
            fit = (
                standardise_seconds(half, sum(widths), rates)
                + 2 * half**2 * sum(widths) / (rates.core_gflops * 1e9)
                + rates.eigh_4096_s * (half / 4096) ** 3
            )
            passes = _passes_of(plan, plan.uncertain_signals(model), view=view)
            flops = drawn * costs[model].flops * passes
            seconds.append(rates.start_s + flops / speed + 2 * N_RELIABILITY_FOLDS * fit)
            # Kernels of all halves, and the features of one layer in both precisions.
            floats = 2 * N_RELIABILITY_FOLDS * 2 * half**2 + 2 * pool * max(widths)
            memory.append(8 * floats / GIB)
            needs[model, stimuli] = costs[model].pass_bytes(_batch(plan, drawn), graph=True)
    host, device = _memory_of_passes(needs, {}, rates, gpu=gpu)
    # The regression follows the passes, whose network is still there.
    return StageCost.of_jobs(
        "measure_reliability",
        seconds,
        gpu=gpu,
        memory_gib=host + max(memory),
        gpu_memory_gib=device,
    )
