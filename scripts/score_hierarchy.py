"""Compute where and when each layer of a model is best predicted, for every subject."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd

from gradbrain.config.cli import add_fit_options, fit_paths, json_argument, run
from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.subject_scores import read_subjects
from gradbrain.hierarchy.summaries import summarise
from gradbrain.store import write_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_fit_options(parser)
    parser.add_argument(
        "--settings", type=json_argument(StatisticsSettings), default=StatisticsSettings()
    )
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    arguments = parser.parse_args(argv)
    subjects = read_subjects(fit_paths(arguments, "zarr"))
    table = pd.concat(
        [
            summarise(
                subject,
                arguments.settings,
                peers=[
                    peer
                    for peer in subjects
                    if peer.dataset == subject.dataset and peer.subject != subject.subject
                ],
            )
            for subject in subjects
        ],
        ignore_index=True,
    )
    write_table(arguments.output, table, provenance={"settings": arguments.settings.model_dump()})


if __name__ == "__main__":
    run(main)
