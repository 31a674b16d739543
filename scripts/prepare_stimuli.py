"""Write the table of a stimulus set: image ids, groups that folds must not split, loaders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.options import add_adapters
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.fetch import ensure_dataset
from gradbrain.datasets.fold_files import check_folds
from gradbrain.datasets.pinned_files import check_pinned
from gradbrain.datasets.registry import adapter, read_options, registry_folders, with_fetch
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--entry", type=json_argument(DatasetEntry), required=True, help="data set entry, JSON"
    )
    parser.add_argument("--stimuli", required=True, help="name of the stimulus set")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--registries",
        type=Path,
        nargs="*",
        default=[],
        help="folders that say what to fetch, and what checksums files have",
    )
    parser.add_argument(
        "--n-folds", type=int, help="outer folds that the images must fill; none are asked for"
    )
    add_adapters(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    entry: DatasetEntry = arguments.entry
    plugins = Plugins(files=arguments.plugins)
    source = adapter(entry.adapter, plugins=plugins)
    options = read_options(entry, plugins=plugins)
    if arguments.registries and entry.fetch is None:
        # Addresses and checksums are no part of the stimuli: they are looked up when needed.
        entry = with_fetch(entry, registry_folders(ROOT, arguments.registries), plugins)
    ensure_dataset(entry, arguments.data)
    check_pinned(entry, arguments.data)
    # Responses are no concern of this job, but where each person has images of their own.
    own = tuple(
        name for name in entry.subjects if entry.stimuli is None and name == arguments.stimuli
    )
    problems = source.check(entry.model_copy(update={"subjects": own}), options, arguments.data)
    if problems:
        raise GradbrainError("; ".join(problems))
    table = source.stimuli(entry, source.of_images(options), arguments.stimuli, arguments.data)
    check_folds(table, arguments.n_folds, name=arguments.stimuli)
    write_table(arguments.output, table, kind="stimuli", provenance={"dataset": entry.name})
    learnt(f"{len(table)} images in {table['group'].nunique()} groups")


if __name__ == "__main__":
    run(main)
