"""Draw one figure of a study as PDF and PNG, with the CSV behind it."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_section
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures import style
from gradbrain.figures.declarations import RESULTS, Declaration, declaration
from gradbrain.figures.drawing import draw_declared
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Names
from gradbrain.figures.save import save_figure
from gradbrain.store import open_study

log = logging.getLogger("plot_figure")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, help="figure of the library, or a plug-in")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of results, such as results/demo, in the place of the files that rules name: "
        "draws from what it holds",
    )
    parser.add_argument("--study", help="name of the study; needed without --results")
    parser.add_argument(
        "--entries",
        type=Path,
        help="registry entries of the study (entries.csv); needed without --results",
    )
    for kind in RESULTS:
        option = f"--{kind.replace('_', '-')}"
        parser.add_argument(
            option, nargs="+", type=Path, default=[], help=f"{kind} of the study's models"
        )
    parser.add_argument(
        "--plugins",
        nargs="*",
        type=Path,
        default=[],
        help="modules of plug-ins, e.g. my_folder/figures/my_figure.py",
    )
    add_section(parser, "statistics", StatisticsSettings)
    parser.add_argument(
        "--may-be-empty",
        action="store_true",
        help="write a figure that says so where the results hold nothing to draw",
    )
    parser.add_argument("--output-stem", required=True, type=Path, help="output without ending")
    return parser


def inputs_of(arguments: argparse.Namespace, what: Declaration) -> FigureInputs:
    """Results that the figure is drawn from, as the command line names them."""
    if arguments.results:
        return FigureInputs.of(open_study(arguments.results), what.reads)
    if not (arguments.study and arguments.entries):
        raise GradbrainError("--study and --entries: both are needed where there is no --results")
    return FigureInputs(
        study=arguments.study,
        settings=arguments.settings,
        names=Names.read(arguments.entries),
        **{kind: tuple(getattr(arguments, kind)) for kind in what.reads},
    )


def main(argv: list[str] | None = None) -> None:
    """Select the data behind the figure, draw it, write three files."""
    arguments = parser().parse_args(argv)
    what = declaration(arguments.figure, Plugins(files=arguments.plugins), where="--figure")
    inputs = inputs_of(arguments, what)
    drawn, data = draw_declared(what, inputs, may_be_empty=arguments.may_be_empty)
    with style.applied():
        written = save_figure(drawn, data, arguments.output_stem)
    learnt(f"{len(data)} rows drawn into {', '.join(map(str, written))}")


if __name__ == "__main__":
    run(main)
