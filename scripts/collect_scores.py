"""Join the score tables of all layers and subjects of one model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.encoding.collect import collect_scores
from gradbrain.store import write_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tables", nargs="+", type=Path, required=True, help="tables of the encoding jobs"
    )
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    arguments = parser.parse_args(argv)
    write_table(arguments.output, collect_scores(arguments.tables), provenance={})


if __name__ == "__main__":
    run(main)
