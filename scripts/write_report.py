"""Write the report of a study as one HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import learnt, run
from gradbrain.config.plugins import Plugins
from gradbrain.figures.report import render_report, results_of
from gradbrain.store import open_study, write_text


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of results, such as results/demo, in the place of the files that rules name: "
        "shows what it holds",
    )
    parser.add_argument("--study", help="name of the study")
    parser.add_argument("--config", type=Path, help="resolved configuration (.yaml)")
    parser.add_argument("--claims", type=Path, help="table of claims (.csv)")
    parser.add_argument("--entries", type=Path, help="registry entries of the study (entries.csv)")
    parser.add_argument("--figures", nargs="*", type=Path, default=[], help="figures (.png)")
    parser.add_argument(
        "--captions", nargs="+", type=Path, default=[], help="captions (.rst), one per figure"
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
    return parser


def inputs_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the page is made of, as the command line names it."""
    given = {name: value for name, value in vars(arguments).items() if name != "results"}
    if arguments.results:
        taken = results_of(open_study(arguments.results), Plugins(files=arguments.plugins))
        return taken | {name: given[name] for name in ("plugins", "output")}
    missing = [name for name in ("study", "config", "claims", "entries") if not given[name]]
    if missing:
        options = ", ".join(f"--{name}" for name in missing)
        raise GradbrainError(f"{options}: needed where there is no --results")
    return given


def main(argv: list[str] | None = None) -> None:
    """Render the page and write it in one step."""
    arguments = parser().parse_args(argv)
    inputs = inputs_of(arguments)
    write_text(arguments.output, render_report(**inputs), digested=True)
    learnt(f"{arguments.output}, {len(inputs['figures'])} figures")


if __name__ == "__main__":
    run(main)
