"""Write the report of a study as one HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.figures.report import render_report
from gradbrain.store import write_text


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--config", required=True, type=Path, help="resolved configuration (.yaml)")
    parser.add_argument("--claims", required=True, type=Path, help="table of claims (.csv)")
    parser.add_argument(
        "--entries", required=True, type=Path, help="registry entries of the study (entries.csv)"
    )
    parser.add_argument("--figures", nargs="*", type=Path, default=[], help="figures (.png)")
    parser.add_argument(
        "--captions", required=True, nargs="+", type=Path, help="captions (.rst), one per figure"
    )
    parser.add_argument(
        "--responses", nargs="*", type=Path, default=[], help="response stores, for counts"
    )
    parser.add_argument(
        "--scores",
        nargs="*",
        type=Path,
        default=[],
        help="score tables, for scores, penalties and ceilings",
    )
    parser.add_argument("--maps", nargs="*", type=Path, default=[], help="map stores (.zarr)")
    for kind in ("universes", "specification-curve"):
        parser.add_argument(f"--{kind}", type=Path, help=f"{kind} of a multiverse (.csv)")
    parser.add_argument(
        "--second-opinions", type=Path, help="claims by dissimilarities of predictions (.csv)"
    )
    parser.add_argument(
        "--plugins", nargs="*", type=Path, default=[], help="modules of figures of one's own"
    )
    parser.add_argument("--output", required=True, type=Path, help="page to write (.html)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Render the page and write it in one step."""
    arguments = parse(argv)
    page = render_report(**vars(arguments))
    write_text(arguments.output, page, digested=True)
    learnt(f"{arguments.output}, {len(arguments.figures)} figures")


if __name__ == "__main__":
    run(main)
