"""Test every prediction on every data set, model and signal of a study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_statistics
from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.claims_summary import summary_page
from gradbrain.hierarchy.over_models import over_models
from gradbrain.hierarchy.reliability import read_reliabilities
from gradbrain.store import read_statistics, write_table, write_text
from gradbrain.vocabulary.verdicts import VERDICTS


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_statistics(parser)
    parser.add_argument("--output", type=Path, required=True, help="claims to write (.csv)")
    parser.add_argument("--summary", type=Path, required=True, help="page to write (.md)")
    parser.add_argument(
        "--over-models", type=Path, help="table over all trained models to write (.csv)"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    statistics = read_statistics(arguments.tables, arguments.draws)
    claims = judge(
        statistics,
        arguments.settings,
        study=arguments.study,
        reliabilities=read_reliabilities(arguments.scores),
        thresholds=arguments.reliability,
        untrained=arguments.untrained,
    )
    of_all = over_models(statistics, claims, arguments.settings, untrained=arguments.untrained)
    page = summary_page(claims, arguments.settings, study=arguments.study, over_models=of_all)
    provenance = {"settings": arguments.settings.model_dump()}
    write_table(arguments.output, claims, kind="claims", provenance=provenance)
    if arguments.over_models:
        write_table(arguments.over_models, of_all, kind="claims_over_models", provenance=provenance)
    write_text(arguments.summary, page, digested=True)
    counts = claims["verdict"].value_counts()
    learnt(", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts))


if __name__ == "__main__":
    run(main)
