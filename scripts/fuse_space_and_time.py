"""Fuse regions of some people with times of others, who saw the same images, through a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_section, add_study
from gradbrain.config.schema import RsaSettings
from gradbrain.rsa.fusion import fuse
from gradbrain.store import write_table
from gradbrain.store.highlights import highest


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, what in (
        ("features", "feature stores of all layers, for the images of a pair of data sets"),
        ("space", "responses along regions of the people of the pair"),
        ("time", "responses along time of the people of the pair"),
    ):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=Path,
            action="append",
            required=True,
            help=f"{what}; once for each pair",
        )
    add_section(parser, "rsa", RsaSettings)
    add_study(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    pairs = (arguments.features, arguments.space, arguments.time)
    if len({len(stores) for stores in pairs}) > 1:
        parser().error("--features, --space, --time: give each once for each pair of data sets")
    tables = [
        fuse(features, space, time, arguments.settings, study=arguments.study)
        for features, space, time in zip(*pairs, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    write_table(arguments.output, table, kind="fusion", provenance={})
    learnt(highest(table, "common", "shared variance"))


if __name__ == "__main__":
    run(main)
