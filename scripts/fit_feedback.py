"""Fit the model of a learning rule on calibration images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

from gradbrain.config.cli import json_argument, run
from gradbrain.config.options import add_chain, add_model, add_passes, check_passes
from gradbrain.config.plugins import Plugins, weights_use
from gradbrain.config.schema import SignalEntry
from gradbrain.plan.code_inputs import code_digest, plugin_inputs
from gradbrain.signals.needs import plugins_of, uses_of


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    parser.add_argument(
        "--signal",
        type=json_argument(SignalEntry),
        required=True,
        help="entry of the signal, as JSON",
    )
    add_chain(parser)
    parser.add_argument("--calibration", type=Path, required=True, help="table of the images")
    parser.add_argument("--calibration-name", required=True, help="name of the calibration set")
    add_passes(parser)
    parser.add_argument("--output", type=Path, required=True, help="store of the fitted model")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_passes(arguments)
    plugins = Plugins(files=arguments.plugins)
    model, signal = arguments.model, arguments.signal
    source = weights_use(model, plugins, where=f"models.yaml: model {model.name!r}").plugin
    used = (source, *plugins_of(uses_of([signal], plugins)))
    # Importing torch takes seconds; a wrong command line is said without it.
    from gradbrain.signals.device import set_up
    from gradbrain.signals.extraction_memory import check_extraction_memory
    from gradbrain.signals.feedback import FitJob, run_fit

    job = FitJob(
        entry=model,
        signal=signal,
        chain=tuple(arguments.chain),
        calibration=arguments.calibration,
        calibration_name=arguments.calibration_name,
        data=arguments.data,
        output=arguments.output,
        batch_size=arguments.batch_size,
        code_digest=code_digest(Path(__file__), LIBRARY, *plugin_inputs(used)),
        plugins=plugins,
    )
    compute = set_up(arguments.device, arguments.precision, arguments.threads)
    if job.chain:
        # What is fitted sees the outputs of all layers; a graph is not kept by every rule.
        check_extraction_memory(
            model,
            job.chain,
            batch_size=job.batch_size,
            graph=False,
            compute=compute,
            plugins=plugins,
        )
    run_fit(job, compute)


if __name__ == "__main__":
    run(main)
