"""Compare models of a study that differ in one factor, over its subjects."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.model_factors import comparisons, facts_of_records
from gradbrain.config.options import add_section, add_study
from gradbrain.config.schema import ContrastSettings, ReliabilitySettings, StatisticsSettings
from gradbrain.hierarchy.contrast_tables import factor_table, pair_table, read_scores
from gradbrain.hierarchy.model_contrasts import compare_models
from gradbrain.store import write_table

log = logging.getLogger("compare_models")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_study(parser)
    parser.add_argument(
        "--factors",
        required=True,
        type=json.loads,
        help="what sets each model apart, as JSON: a list of records of model_factors.csv",
    )
    add_section(parser, "contrasts", ContrastSettings, option="--contrasts")
    parser.add_argument(
        "--scores", type=Path, required=True, help="folder of the score tables, one per model"
    )
    parser.add_argument("--rsa", type=Path, help="folder of classical RSA, one folder per model")
    parser.add_argument("--prediction-rsa", type=Path, help="folder of RSA of held-out predictions")
    parser.add_argument("--subjects", nargs="+", required=True, help="subjects of the study")
    add_section(parser, "statistics", StatisticsSettings)
    add_section(parser, "reliability", ReliabilitySettings, option="--reliability")
    parser.add_argument("--output", type=Path, required=True, help="contrasts to write (.csv)")
    parser.add_argument("--pairs", type=Path, required=True, help="table of pairs to write (.csv)")
    parser.add_argument(
        "--table", type=Path, required=True, help="table of factors to write (.csv)"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Find the pairs, score each model, test, write three tables."""
    arguments = parser().parse_args(argv)
    models = facts_of_records(arguments.factors)
    found = comparisons(models, arguments.contrasts)
    log.info(
        "%d contrasts; of pairs of models %d differ in one factor, %d in several, %d in what is "
        "not known; %d models are in no contrast",
        *(len(found.contrasts), found.one_factor, found.confounded, found.unknown),
        len(found.alone),
    )
    scores, reliabilities = read_scores(
        [model.model for model in models],
        arguments.subjects,
        scores=arguments.scores,
        rsa=arguments.rsa,
        prediction_rsa=arguments.prediction_rsa,
    )
    table = compare_models(
        scores,
        found.contrasts,
        models,
        arguments.settings,
        study=arguments.study,
        reliabilities=reliabilities,
        thresholds=arguments.reliability,
    )
    provenance = {"settings": arguments.settings.model_dump()}
    write_table(arguments.table, factor_table(models, found.contrasts), kind="model_factors")
    write_table(arguments.pairs, pair_table(found.contrasts), kind="model_pairs")
    write_table(arguments.output, table, kind="model_contrasts", provenance=provenance)
    passed = int((table["q"] <= arguments.settings.alpha).sum())
    learnt(
        f"{len(found.contrasts)} contrasts, {len(table)} rows, {passed} at q <= "
        f"{arguments.settings.alpha:g}"
    )


if __name__ == "__main__":
    run(main)
