"""What a study costs before it is run: jobs, disk, memory and time.

Sizes follow from the config and the registries. Times and memory are those of one measured job,
carried over to other sizes by how each step grows; docs/scaling.md has the measurements. What was
not measured is named in `CAVEATS` and printed with every estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.schema import DatasetEntry, ExpectedSize
from gradbrain.config.study import SHARED
from gradbrain.datasets.image_choice import read_image_list
from gradbrain.plan.cost_rates import GIB, NetworkCost, Rates, StageCost
from gradbrain.plan.fit_costs import (
    encoding_cost,
    fit_sizes,
    reduction_cost,
    rule_pairs_cost,
    unique_cost,
    unique_sizes,
    universe_cost,
)
from gradbrain.plan.job_counts import job_counts
from gradbrain.plan.jobs import Plan
from gradbrain.plan.network_costs import (
    extraction_cost,
    reliability_cost,
    statistics_cost,
    targets_cost,
    training_cost,
)
from gradbrain.plan.study_entries import DATA

CAVEATS = (
    "Times of fits were measured at 8,000 training images of 1,024 features and grow from there as "
    "the arithmetic does; principal components of all layers are extrapolated from 4,096 images.",
    "Extraction counts the operations of the network's passes at one rate, that of a ViT at 224 px "
    "on a core; depthwise convolutions and small images take 3 to 10 times as long. Reading and "
    "decoding images is not in it. No GPU was measured: name yours with --rate gpu_tflops=VALUE "
    "(and gpu_bf16_tflops, of views with features.precision fp32_views_bf16) or --images-per-s.",
    "Disk is what is stored before compression. Memory of fits is what they ask for, of jobs that "
    "run a network its weights and what a batch of images keeps for the backward pass, traced "
    "without weights (views are passed in batches of the same size; on a GPU a batch that does not "
    "fit is halved), of other jobs their largest arrays. "
    "Jobs of stimuli, responses, ceilings, RSA, tables and figures count "
    "with the time that a job takes to start.",
    "Fits of a multiverse count as those of the study; people who saw the same images share "
    "decompositions, which saves about a third (objects92) and is not counted.",
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
    settings, fits = plan.study.settings.encoding, fit_sizes(plan, costs, sizes)
    unique = unique_sizes(plan, costs, sizes)
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
    measured = (sizes[plan.study.subjects[subject].name] for subject in plan.subjects)
    disk = {"prepare_responses": sum(4 * size.n_images * size.n_targets for size in measured) / GIB}
    return [
        known.get(rule)
        or StageCost.of_jobs(
            rule,
            [rates.start_s] * count,
            disk_gib=disk.get(rule, 0.0),
            memory_gib=rates.process_gib,
        )
        for rule, count in job_counts(plan).items()
    ]


def elapsed_hours(stages: Iterable[StageCost], *, cores: int, gpus: int) -> float:
    """Hours from start to end if all cores and GPUs are busy, one stage after the other."""
    return sum(
        max(stage.longest_hours, stage.cpu_hours / cores + stage.gpu_hours / max(gpus, 1))
        for stage in stages
    )
