"""Write the table of the images that a study takes: named ones, or those that all people saw."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.datasets.fold_files import check_folds
from gradbrain.datasets.image_choice import named_images, read_image_list, shared_images
from gradbrain.datasets.stimuli import check_stimuli, read_stimuli
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--stimuli", nargs="+", type=Path, required=True, help="tables of the stimulus sets"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--shared", action="store_true", help="images that are in all of them")
    what.add_argument("--list", type=Path, help="file that names the images")
    what.add_argument("--images", type=json.loads, help="their names, as JSON")
    parser.add_argument("--keep", help="stimulus set whose images are written; with names")
    parser.add_argument("--n-folds", type=int, help="outer folds that the images must fill")
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    if not arguments.shared and arguments.keep is None:
        parser().error("--keep: name the stimulus set whose images are written")
    tables = {path.stem: read_stimuli(path) for path in arguments.stimuli}
    if arguments.shared:
        table = shared_images(tables)
    else:
        where = "images" if arguments.list is None else str(arguments.list)
        names = arguments.images or read_image_list(arguments.list)
        table = named_images(tables, arguments.keep, names, where=where)
    name = arguments.output.stem
    check_stimuli(table, name=name)
    check_folds(table, arguments.n_folds, name=name)
    write_table(arguments.output, table, kind="stimuli", provenance={"chosen_from": list(tables)})
    of = ", ".join(f"{len(each)} of {source}" for source, each in tables.items())
    learnt(f"{len(table)} images in {table['group'].nunique()} groups are left, from {of}")


if __name__ == "__main__":
    run(main)
