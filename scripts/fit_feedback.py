"""Fit the model of a learning rule on calibration images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, run
from gradbrain.config.plugins import Plugins, weights_use
from gradbrain.config.schema import ModelEntry, SignalEntry
from gradbrain.plan.code_inputs import code_digest, plugin_inputs
from gradbrain.signals.needs import plugins_of, uses_of


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=json_argument(ModelEntry), required=True, help="entry of the model, as JSON"
    )
    parser.add_argument(
        "--signal",
        type=json_argument(SignalEntry),
        required=True,
        help="entry of the signal, as JSON",
    )
    parser.add_argument(
        "--chain", nargs="*", default=[], help="all layers in order of depth, for rules that need"
    )
    parser.add_argument("--calibration", type=Path, required=True, help="table of the images")
    parser.add_argument("--calibration-name", required=True, help="name of the calibration set")
    parser.add_argument("--plugins", nargs="*", type=Path, default=[], help="files of plug-ins")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where weights/ lies")
    parser.add_argument("--output", type=Path, required=True, help="store of the fitted model")
    parser.add_argument("--batch-size", type=int, default=32, help="images per pass")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1, help="threads of this job")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    if arguments.batch_size < 1 or arguments.threads < 1:
        raise GradbrainError(
            f"--batch-size {arguments.batch_size} and --threads {arguments.threads}: "
            "both must be at least 1"
        )
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
