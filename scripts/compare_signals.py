"""Compare the signals of a model with one another, layer by layer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_features, add_study
from gradbrain.signals.alikeness import KIND, compare_signals, said
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_features(parser)
    add_study(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    table = compare_signals(arguments.features, study=arguments.study)
    write_table(arguments.output, table, kind=KIND, provenance={})
    learnt(said(table))


if __name__ == "__main__":
    run(main)
