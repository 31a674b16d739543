"""Draw one figure of a study as PDF and PNG, with the CSV behind it."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures import style
from gradbrain.figures.declarations import RESULTS, NothingToDraw, declaration
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.layout import empty_figure
from gradbrain.figures.names import Names
from gradbrain.figures.save import save_figure

LOGGER = logging.getLogger("plot_figure")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, help="figure of the library, or a plug-in")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument(
        "--entries", required=True, type=Path, help="registry entries of the study (entries.csv)"
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
    parser.add_argument(
        "--settings",
        type=json_argument(StatisticsSettings),
        default=StatisticsSettings(),
        help="section statistics of the study as JSON; defaults where left out",
    )
    parser.add_argument(
        "--may-be-empty",
        action="store_true",
        help="write a figure that says so where the results hold nothing to draw",
    )
    parser.add_argument("--output-stem", required=True, type=Path, help="output without ending")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Select the data behind the figure, draw it, write three files."""
    arguments = parse(argv)
    what = declaration(arguments.figure, Plugins(files=arguments.plugins), where="--figure")
    module = what.plugin.load()
    inputs = FigureInputs(
        study=arguments.study,
        settings=arguments.settings,
        names=Names.read(arguments.entries),
        **{kind: tuple(getattr(arguments, kind)) for kind in what.inputs},
    )
    with style.applied():
        try:
            data = module.select(inputs)
            drawn = module.figure(data, inputs.names.including(data))
        except NothingToDraw as error:
            if not arguments.may_be_empty:
                raise
            LOGGER.warning("%s", error)
            drawn, data = empty_figure(textwrap.fill(str(error), 90))
        written = save_figure(drawn, data, arguments.output_stem)
    learnt(f"{len(data)} rows drawn into {', '.join(map(str, written))}")


if __name__ == "__main__":
    run(main)
