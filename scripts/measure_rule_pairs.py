"""Estimate what each signal of a model explains beside all activations and each other signal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_encoding_inputs
from gradbrain.encoding.fit_memory import check_unique_memory
from gradbrain.encoding.inputs import read_model_and_subject
from gradbrain.encoding.rule_pairs import KIND, measure_pairs
from gradbrain.store import write_table
from gradbrain.vocabulary.intervals import CONFIDENCE


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_encoding_inputs(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_unique_memory(arguments.features, arguments.responses, arguments.settings)
    model, brain = read_model_and_subject(
        arguments.features, arguments.responses, arguments.settings, arguments.nuisance
    )
    table = measure_pairs(model, brain, arguments.settings, arguments.study)
    write_table(arguments.output, table, kind=KIND, provenance={})
    n_above = int((table["component"] > table["null_high"]).sum())
    permuted = f"permuted images in {100 * CONFIDENCE:g} %"
    learnt(f"{n_above} of {len(table)} estimates exceed {permuted}")


if __name__ == "__main__":
    run(main)
