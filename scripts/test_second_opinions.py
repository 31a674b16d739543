"""Judge every claim a second time, by dissimilarities of held-out predictions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.options import add_statistics
from gradbrain.hierarchy.reliability import read_reliabilities
from gradbrain.hierarchy.second_opinion import second_opinions, second_page
from gradbrain.store import read_statistics, read_table, write_table, write_text


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, required=True, help="claims of the study (.csv)")
    add_statistics(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.csv)")
    parser.add_argument("--summary", type=Path, required=True, help="page to write (.md)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    opinions = second_opinions(
        read_table(arguments.claims, kind="claims"),
        read_statistics(arguments.tables, arguments.draws),
        arguments.settings,
        study=arguments.study,
        reliabilities=read_reliabilities(arguments.scores),
        thresholds=arguments.reliability,
        untrained=arguments.untrained,
    )
    provenance = {"settings": arguments.settings.model_dump()}
    write_table(arguments.output, opinions, kind="second_opinions", provenance=provenance)
    page = second_page(opinions, study=arguments.study)
    write_text(arguments.summary, page, digested=True)


if __name__ == "__main__":
    run(main)
