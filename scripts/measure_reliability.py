"""Measure how well the signals of a model that depend on chance repeat themselves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import (
    add_chain,
    add_features,
    add_feedback,
    add_images,
    add_model,
    add_passes,
    add_section,
    add_signal_set,
    add_study,
    check_passes,
)
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import ReliabilitySettings


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_study(parser)
    add_model(parser)
    add_signal_set(parser, about="signal set with its signals, as JSON")
    add_features(parser)
    add_images(parser)
    add_section(parser, "reliability", ReliabilitySettings)
    add_chain(parser)
    add_feedback(parser)
    add_passes(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_passes(arguments)
    # Importing torch takes seconds; a wrong command line is said without it.
    from gradbrain.signals.device import set_up
    from gradbrain.signals.second_draw import ReliabilityJob, measure_reliability
    from gradbrain.store import write_table

    job = ReliabilityJob(
        study=arguments.study,
        entry=arguments.model,
        signal_set=arguments.signal_set,
        features=tuple(arguments.features),
        stimuli=arguments.stimuli,
        stimuli_name=arguments.stimuli_name,
        calibration=arguments.calibration,
        data=arguments.data,
        batch_size=arguments.batch_size,
        settings=arguments.settings,
        chain=tuple(arguments.chain),
        feedback=tuple(arguments.feedback),
        plugins=Plugins(files=arguments.plugins),
    )
    compute = set_up(arguments.device, arguments.precision, arguments.threads)
    table = measure_reliability(job, compute)
    write_table(arguments.output, table, kind="reliability", provenance=compute.describe())
    spans = table.groupby("signal", sort=False)["reliability"].agg(["min", "max"])
    found = [f"{signal} {low:.2f} to {high:.2f}" for signal, low, high in spans.itertuples()]
    learnt(", ".join(found) or "no signal depends on chance")


if __name__ == "__main__":
    run(main)
