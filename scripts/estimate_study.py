"""Estimate what a study costs before it is run: jobs, disk, memory and time."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.schema import ExpectedSize, Pooling, SignalSet
from gradbrain.config.study import load_study
from gradbrain.config.suggestions import choose
from gradbrain.config.yaml_files import read_yaml
from gradbrain.plan import estimate
from gradbrain.plan.cost_rates import RATE_NAMES, NetworkCost, Rates, StageCost
from gradbrain.plan.estimate import CAVEATS
from gradbrain.plan.jobs import Plan
from gradbrain.plan.network_costs import n_passes


def _at_least(least: int) -> Callable[[str], int]:
    """Make an argparse ``type`` of integers that are not smaller."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected an integer >= {least}, found {text!r}")
        return int(text)

    return parse


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="config file of the study")
    parser.add_argument("--cores", type=_at_least(1), default=64, help="cores that run jobs (64)")
    parser.add_argument(
        "--gpus", type=_at_least(0), default=0, help="GPUs; 0: extraction runs on cores"
    )
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="DATASET=IMAGES,TARGETS,UNITS",
        help="size of one subject, in the place of `expected` of its entry and of what the headers "
        "of the adapter arrays' files say",
    )
    parser.add_argument(
        "--images-per-s",
        metavar="MODEL=VALUE",
        help="measured images per second of a fused pass of one model of the study, on one GPU "
        "(or on one core where --gpus is 0); sets the rate of all passes",
    )
    parser.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"another value of a measured constant: {', '.join(RATE_NAMES)}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the place of tables")
    return parser


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise GradbrainError(f"--{option} {text}: expected NAME=VALUE")
    return name, value


def _number(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise GradbrainError(f"--{option}: expected a number above 0, found {text!r}")
    return value


def read_sizes(given: list[str], known: list[str]) -> dict[str, ExpectedSize]:
    """Read ``--size`` options."""
    sizes = {}
    for text in given:
        name, value = _pair(text, "size")
        choose(name, known, what="data set of the study", where="--size")
        numbers = value.split(",")
        if len(numbers) != 3 or not all(number.isdigit() and int(number) for number in numbers):
            raise GradbrainError(f"--size {text}: expected {name}=IMAGES,TARGETS,UNITS")
        images, targets, units = map(int, numbers)
        sizes[name] = ExpectedSize(n_images=images, n_targets=targets, n_units=units)
    return sizes


def read_rates(given: list[str]) -> Rates:
    """Read ``--rate`` options."""
    found = {}
    for text in given:
        name, value = _pair(text, "rate")
        choose(name, RATE_NAMES, what="constant", where="--rate")
        found[name] = _number(value, f"rate {name}")
    return replace(Rates(), **found)


def rate_of_passes(
    text: str, plan: Plan, costs: dict[str, NetworkCost], rates: Rates, *, gpu: bool
) -> Rates:
    """Take the rate of passes from images per second that somebody measured."""
    name, value = _pair(text, "images-per-s")
    choose(name, plan.models, what="model of the study", where="--images-per-s")
    per_image = costs[name].flops * n_passes(plan, plan.set_of(name))
    flops = _number(value, "images-per-s") * per_image
    if not gpu:
        return replace(rates, core_pass_gflops=flops / 1e9)
    # What was measured is of all passes together, whatever the precision of each.
    return replace(rates, gpu_tflops=flops / 1e12, gpu_bf16_tflops=flops / 1e12)


def feature_width(channels: int, positions: int, signal_set: SignalSet) -> int:
    """Features of one signal of a layer after pooling and projection."""
    pooling: Pooling = signal_set.pooling
    copies = {"cls_mean": 2, "grid": min(pooling.size**2, positions)}.get(pooling.kind, 1)
    width = channels * copies
    kept = signal_set.projection
    return width if kept is None else min(width, kept.n_components)


def network_costs(plan: Plan) -> dict[str, NetworkCost]:
    """Trace every network of the study without its weights."""
    from tqdm import tqdm

    from gradbrain.models.passes import forward_pass
    from gradbrain.signals.image_statistics import WIDTHS

    wanted: dict[str, dict[str, str]] = {}
    for model, signal_set, layer, _ in plan.all_features():
        # Sets of a multiverse count with the widths of the study's own.
        if signal_set not in plan.universe_sets:
            wanted.setdefault(model, {})[layer] = signal_set
    # No pass: their time is that of images, whatever the number of levels.
    costs = {model: NetworkCost(0.0, WIDTHS) for model in plan.statistics_models}
    wanted = {model: layers for model, layers in wanted.items() if model in plan.networks}
    for model, layers in tqdm(wanted.items(), desc="networks", unit="model", disable=None):
        found = forward_pass(plan.model_entry(model), list(layers))
        costs[model] = NetworkCost(
            found.flops,
            {
                layer: feature_width(
                    found.channels[layer], found.positions[layer], plan.signal_set(name)
                )
                for layer, name in layers.items()
            },
            weight_bytes=found.weight_bytes,
            saved_bytes=found.saved_bytes,
            layer_bytes=found.layer_bytes,
            largest_bytes=found.largest_bytes,
        )
    return costs


def hours(value: float) -> str:
    """Write a time in the unit in which it can be read."""
    if value >= 1:
        return f"{value:,.1f} h" if value < 100 else f"{value:,.0f} h"
    return f"{60 * value:.1f} min" if value >= 1 / 60 else f"{3600 * value:.1f} s"


def table(stages: list[StageCost]) -> str:
    """Lay the stages out as a table."""
    lines = [
        "| rule | jobs | disk, GiB | largest job, GiB | beside it on a GPU, GiB | on one core | "
        "on one GPU | longest |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {row.rule} | {row.jobs:,} | {row.disk_gib:,.2f} | {row.memory_gib:.1f} | "
        f"{f'{row.gpu_memory_gib:.1f}' if row.gpu_memory_gib else '–'} | "
        f"{hours(row.cpu_hours)} | {hours(row.gpu_hours) if row.gpu_hours else '–'} | "
        f"{hours(row.longest_hours)} |"
        for row in stages
    ]
    return "\n".join(lines)


def summary(stages: list[StageCost], *, cores: int, gpus: int) -> dict[str, float]:
    """Sums over the stages."""
    return {
        "jobs": sum(row.jobs for row in stages),
        "disk_gib": sum(row.disk_gib for row in stages),
        "largest_memory_gib": max(row.memory_gib for row in stages),
        "largest_gpu_memory_gib": max(row.gpu_memory_gib for row in stages),
        "core_hours": sum(row.cpu_hours for row in stages),
        "gpu_hours": sum(row.gpu_hours for row in stages),
        "elapsed_hours": estimate.elapsed_hours(stages, cores=cores, gpus=gpus),
    }


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    config = read_yaml(arguments.config)
    study = load_study(config, root=ROOT, where=str(arguments.config))
    plan, gpu = Plan(study, ROOT), arguments.gpus > 0
    plan.check_signals()
    sizes = estimate.subject_sizes(plan, read_sizes(arguments.size, list(study.datasets)))
    costs, rates = network_costs(plan), read_rates(arguments.rate)
    if arguments.images_per_s:
        rates = rate_of_passes(arguments.images_per_s, plan, costs, rates, gpu=gpu)
    stages = estimate.estimate(plan, costs, sizes, rates, gpu=gpu)
    total = summary(stages, cores=arguments.cores, gpus=arguments.gpus)
    if arguments.json:
        rows = {row.rule: asdict(row) for row in stages}
        print(json.dumps({"study": study.name, **total, "rules": rows, "rates": asdict(rates)}))
        return
    print(f"{study.name}: {total['jobs']:,} jobs\n\n{table(stages)}\n")
    where = f"{arguments.cores} cores" + (f" and {arguments.gpus} GPUs" if gpu else "")
    gpu_part = f" and {hours(total['gpu_hours'])} of one GPU" if gpu else ""
    print(
        f"In all {hours(total['core_hours'])} of one core{gpu_part}, {total['disk_gib']:,.1f} GiB "
        f"on disk; {hours(total['elapsed_hours'])} on {where} that are always busy.\n"
    )
    print("\n".join(f"- {caveat}" for caveat in CAVEATS))


if __name__ == "__main__":
    run(main)
