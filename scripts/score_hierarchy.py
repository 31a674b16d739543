"""Compute where and when each layer of a model is best predicted, for every subject."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import (
    add_fits,
    add_section,
    add_signal_set,
    add_unique,
    fit_paths,
)
from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.subject_scores import read_subjects
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.hierarchy.time_courses import time_courses
from gradbrain.store import write_statistics, write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_fits(parser)
    add_signal_set(parser, about="signals of the fits, as JSON, with what controls what")
    add_unique(parser)
    add_section(parser, "statistics", StatisticsSettings)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    parser.add_argument(
        "--draws", type=Path, required=True, help="store of its draws and maps to write (.zarr)"
    )
    parser.add_argument(
        "--times", type=Path, required=True, help="table of times above chance to write (.parquet)"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    subjects = read_subjects(fit_paths(arguments, "zarr"), arguments.signal_set, arguments.unique)
    statistics = summarise_all(subjects, arguments.settings)
    write_statistics(
        arguments.output,
        arguments.draws,
        statistics,
        attrs={"study": subjects[0].study, "model": subjects[0].model},
        provenance={"settings": arguments.settings.model_dump()},
    )
    write_table(arguments.times, time_courses(subjects, arguments.settings), kind="time_courses")
    learnt(f"{len(statistics.table)} statistics of {len(subjects)} people")


if __name__ == "__main__":
    run(main)
