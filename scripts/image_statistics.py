"""Take low-level statistics of the images of a stimulus set, as features of a model's layers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, run
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import ModelEntry, SignalSet
from gradbrain.plan.code_inputs import code_digest


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=json_argument(ModelEntry), required=True, help="of source: statistics"
    )
    parser.add_argument("--levels", nargs="+", required=True, help="levels, or `all` side by side")
    parser.add_argument("--depths", nargs="+", type=float, required=True, help="one per level")
    parser.add_argument(
        "--signal-set",
        type=json_argument(SignalSet),
        required=True,
        help="its activation alone is taken",
    )
    parser.add_argument("--stimuli", type=Path, required=True, help="table of the stimulus set")
    parser.add_argument("--stimuli-name", required=True, help="name of the stimulus set")
    parser.add_argument("--plugins", nargs="*", type=Path, default=[], help="files of plug-ins")
    parser.add_argument("--output", nargs="+", type=Path, required=True, help="one per level")
    parser.add_argument("--threads", type=int, default=1, help="threads of this job")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    counts = {len(arguments.levels), len(arguments.depths), len(arguments.output)}
    if len(counts) != 1 or arguments.threads < 1:
        raise GradbrainError(
            f"{len(arguments.levels)} --levels, {len(arguments.depths)} --depths, "
            f"{len(arguments.output)} --output and --threads {arguments.threads} were given; "
            "expected as many of each, and at least one thread"
        )
    # Importing scikit-image takes a second; a wrong command line is said without it.
    from gradbrain.signals.layer_stores import LayerRequest
    from gradbrain.signals.statistics_job import StatisticsJob, run_statistics

    run_statistics(
        StatisticsJob(
            entry=arguments.model,
            signal_set=arguments.signal_set.of_activation(),
            levels=tuple(
                LayerRequest(name, depth, output)
                for name, depth, output in zip(
                    arguments.levels, arguments.depths, arguments.output, strict=True
                )
            ),
            stimuli=arguments.stimuli,
            stimuli_name=arguments.stimuli_name,
            code_digest=code_digest(Path(__file__), LIBRARY),
            threads=arguments.threads,
            plugins=Plugins(files=arguments.plugins),
        )
    )


if __name__ == "__main__":
    run(main)
