"""Compute how well the other subjects of a data set predict each of its subjects."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.options import add_subjects_of_dataset
from gradbrain.encoding.intersubject import intersubject_ceilings
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_subjects_of_dataset(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    table = intersubject_ceilings(arguments.responses, arguments.settings, study=arguments.study)
    write_table(arguments.output, table, kind="ceilings", provenance={})


if __name__ == "__main__":
    run(main)
