"""Write which outer fold each image belongs to, by a file or a split of the data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.options import add_adapters
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.fold_files import TRAIN_ONLY, fold_table, read_fold_file
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.datasets.stimuli import read_stimuli
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stimuli", type=Path, required=True, help="table of the stimulus set")
    parser.add_argument("--folds", type=Path, nargs="?", help="file of the folds")
    parser.add_argument("--split", help="name of a split of the data set")
    parser.add_argument("--entry", type=json_argument(DatasetEntry), help="data set entry, JSON")
    parser.add_argument("--data", type=Path, help="folder of the data set")
    add_adapters(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    if (arguments.folds is None) == (arguments.split is None):
        parser().error("give --folds or --split")
    if arguments.split is not None and None in (arguments.entry, arguments.data):
        parser().error("--split: give --entry and --data as well")
    stimuli = read_stimuli(arguments.stimuli)
    if arguments.split is None:
        where, folds = str(arguments.folds), read_fold_file(arguments.folds)
    else:
        plugins, entry = Plugins(files=arguments.plugins), arguments.entry
        source = adapter(entry.adapter, plugins=plugins)
        options = read_options(entry, plugins=plugins)
        where = f"split {arguments.split!r} of {entry.name!r}"
        folds = source.folds_of_split(entry, options, arguments.split, arguments.data)
    table = fold_table(folds, stimuli, where=where, of_the_data_set=arguments.split is not None)
    write_table(arguments.output, table, kind="folds", provenance={"folds": where})
    held_out = table[table["fold"] != TRAIN_ONLY].groupby("fold").size()
    n_train = int((table["fold"] == TRAIN_ONLY).sum())
    learnt(
        f"{len(held_out)} fold(s) of {', '.join(map(str, held_out))} images, {n_train} trained on "
        f"alone, {len(stimuli) - len(table)} left out"
    )


if __name__ == "__main__":
    run(main)
