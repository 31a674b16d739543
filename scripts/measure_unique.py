"""Estimate the variance that each signal of a model explains beside all activations."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_encoding_inputs
from gradbrain.encoding.fit_memory import check_unique_memory
from gradbrain.encoding.inputs import read_model_and_subject
from gradbrain.encoding.unique_part import measure_unique
from gradbrain.store import write_store
from gradbrain.store.highlights import highest


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_encoding_inputs(parser)
    parser.add_argument("--output", type=Path, required=True, help="store to write (.zarr)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_unique_memory(arguments.features, arguments.responses, arguments.settings)
    model, brain = read_model_and_subject(
        arguments.features, arguments.responses, arguments.settings, arguments.nuisance
    )
    store = measure_unique(model, brain, arguments.settings, arguments.study)
    write_store(arguments.output, store, kind="unique", provenance={})
    table = store["component"].drop_vars("unit_time", errors="ignore").to_dataframe().reset_index()
    learnt(highest(table, "component", "share"))


if __name__ == "__main__":
    run(main)
