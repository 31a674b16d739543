"""Compute what objectives that look at views compare images with, for jobs by layer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

from gradbrain.config.cli import run
from gradbrain.config.options import add_images, add_model, add_passes, add_signal_set, check_passes
from gradbrain.config.plugins import Plugins, viewing_objectives, weights_use
from gradbrain.plan.code_inputs import code_digest, plugin_inputs


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    add_signal_set(parser, about="signal set with its signals, as JSON")
    add_images(parser)
    add_passes(parser)
    parser.add_argument("--output", type=Path, required=True, help="store of the targets")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_passes(arguments)
    plugins = Plugins(files=arguments.plugins)
    model, signals = arguments.model, arguments.signal_set.signals
    source = weights_use(model, plugins, where=f"models.yaml: model {model.name!r}").plugin
    uses = viewing_objectives(signals, plugins)
    used = (source, *(plugin for use in uses for plugin in use.plugins))
    # Importing torch takes seconds; a wrong command line is said without it.
    from gradbrain.signals.device import set_up
    from gradbrain.signals.objective_targets import TargetsJob, run_targets

    job = TargetsJob(
        entry=model,
        signal_set=arguments.signal_set,
        stimuli=arguments.stimuli,
        stimuli_name=arguments.stimuli_name,
        calibration=arguments.calibration,
        data=arguments.data,
        output=arguments.output,
        batch_size=arguments.batch_size,
        code_digest=code_digest(Path(__file__), LIBRARY, *plugin_inputs(used)),
        plugins=plugins,
    )
    run_targets(job, set_up(arguments.device, arguments.precision, arguments.threads))


if __name__ == "__main__":
    run(main)
