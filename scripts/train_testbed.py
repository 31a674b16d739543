"""Train an autoencoder by one learning rule, and measure its signal beside the gradient."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.schema import ModelEntry
from gradbrain.plan.code_inputs import code_digest


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        type=json_argument(ModelEntry),
        required=True,
        help="entry of the model, as JSON; its weights are of source testbed",
    )
    parser.add_argument("--images", type=Path, required=True, help="table of the images")
    parser.add_argument("--store", type=Path, required=True, help="where the weights go")
    parser.add_argument("--table", type=Path, required=True, help="where the angles go")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    # Importing torch takes seconds; a wrong command line is said without it.
    from gradbrain.signals.testbed_job import TrainingJob, run_training, said

    job = TrainingJob(
        entry=arguments.model,
        images=arguments.images,
        store=arguments.store,
        table=arguments.table,
        code_digest=code_digest(Path(__file__), LIBRARY),
    )
    run_training(job)
    learnt(said(job.table))


if __name__ == "__main__":
    run(main)
