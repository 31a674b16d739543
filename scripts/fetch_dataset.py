"""Fetch the public files of a data set into data/<name>; a folder that exists is left alone."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, run
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.fetch import fetch_dataset

logger = logging.getLogger("fetch_dataset")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--entry", type=json_argument(DatasetEntry), required=True, help="data set entry, JSON"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder to make")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.data.is_dir():
        logger.info("%s exists and is left as it is", arguments.data)
        return
    fetch_dataset(arguments.entry, arguments.data)
    logger.info("%s: %d files fetched", arguments.data, len(arguments.entry.fetch.files))


if __name__ == "__main__":
    run(main)
