"""Fetch the public files of a data set into data/<name>; a folder that exists is left alone."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.registries import Registries
from gradbrain.datasets.fetch import fetch_dataset

ROOT = Path(__file__).resolve().parents[1]
logger = logging.getLogger("fetch_dataset")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="entry of datasets.yaml")
    parser.add_argument(
        "--registry", type=Path, default=ROOT / "config", help="folder that holds datasets.yaml"
    )
    parser.add_argument("--data", type=Path, help="folder to make; by default data/<name>")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    entry = Registries([arguments.registry]).dataset(arguments.name, where="name")
    data = arguments.data or Path("data") / entry.name
    if data.is_dir():
        logger.info("%s exists and is left as it is", data)
        return
    fetch_dataset(entry, data)
    logger.info("%s: fetched", data)


if __name__ == "__main__":
    run(main)
