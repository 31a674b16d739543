"""Average the per-target scores of one model over subjects, and find the best layers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.options import add_fits, fit_paths
from gradbrain.encoding.maps import collect_maps
from gradbrain.store import write_tree


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_fits(parser)
    parser.add_argument("--output", type=Path, required=True, help="store to write (.zarr)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    maps = collect_maps(fit_paths(arguments, "zarr"))
    write_tree(arguments.output, maps, kind="maps", provenance={})


if __name__ == "__main__":
    run(main)
