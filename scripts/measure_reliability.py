"""Measure how well the signals of a model that depend on chance repeat themselves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.options import (
    add_chain,
    add_features,
    add_images,
    add_passes,
    add_section,
    add_study,
    check_passes,
)
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import ModelEntry, ReliabilitySettings, SignalSet


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_study(parser)
    parser.add_argument(
        "--model", type=json_argument(ModelEntry), required=True, help="entry of the model, as JSON"
    )
    parser.add_argument(
        "--signal-set",
        type=json_argument(SignalSet),
        required=True,
        help="signal set with its signals, as JSON",
    )
    add_features(parser)
    add_images(parser)
    add_section(parser, "reliability", ReliabilitySettings)
    add_chain(parser)
    parser.add_argument(
        "--feedback", nargs="*", type=Path, default=[], help="fitted models, for rules that need"
    )
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
