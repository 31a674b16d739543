"""Join the score tables of all layers and subjects of one model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.options import add_ceilings, add_fits, add_unique, fit_paths
from gradbrain.encoding.collect import collect_scores
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_fits(parser)
    add_ceilings(parser)
    add_unique(parser)
    parser.add_argument(
        "--reliability",
        nargs="*",
        type=Path,
        default=[],
        help="how well signals repeat themselves, one table per stimulus set (.parquet)",
    )
    parser.add_argument(
        "--stimuli",
        type=json.loads,
        default={},
        help="stimulus set of every subject, as JSON; needed with --reliability",
    )
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    scores = collect_scores(
        fit_paths(arguments, "parquet"),
        arguments.ceilings,
        arguments.reliability,
        arguments.stimuli,
        arguments.unique,
    )
    write_table(arguments.output, scores, kind="scores", provenance={})


if __name__ == "__main__":
    run(main)
