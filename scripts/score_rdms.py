"""Summarise how alike the dissimilarities of held-out predictions and of responses are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.options import add_ceilings, add_fits, add_section, add_signal_set, fit_paths
from gradbrain.config.schema import StatisticsSettings
from gradbrain.encoding.rdm_tables import tidy_rdms, with_ceilings
from gradbrain.hierarchy.rdm_scores import rdm_scores
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import open_store, read_table, write_statistics, write_table
from gradbrain.vocabulary.artefacts import columns_of


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_fits(parser)
    add_signal_set(parser, about="signals of the fits, as JSON, with what controls what")
    add_ceilings(parser)
    add_section(parser, "statistics", StatisticsSettings)
    parser.add_argument("--table", type=Path, required=True, help="scores to write (.parquet)")
    parser.add_argument("--output", type=Path, required=True, help="statistics to write (.parquet)")
    parser.add_argument(
        "--draws", type=Path, required=True, help="store of their draws and maps to write (.zarr)"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    fits = [(path, open_store(path, kind="encoding")) for path in fit_paths(arguments, "zarr")]
    subjects = rdm_scores(fits, arguments.signal_set)
    write_statistics(
        arguments.output,
        arguments.draws,
        summarise_all(subjects, arguments.settings),
        attrs={"study": subjects[0].study, "model": subjects[0].model},
        provenance={"settings": arguments.settings.model_dump()},
    )
    scores = pd.concat([tidy_rdms(store) for _, store in fits], ignore_index=True)
    ceilings = [read_table(path, kind="rdm_ceilings") for path in arguments.ceilings]
    known = [table for table in ceilings if len(table)]
    empty = pd.DataFrame(columns=list(columns_of("rdm_ceilings")))
    joined = with_ceilings(scores, pd.concat(known, ignore_index=True) if known else empty)
    write_table(arguments.table, joined, kind="prediction_rsa")


if __name__ == "__main__":
    run(main)
