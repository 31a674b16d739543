"""Fetch the public files of a data set into data/<name>, or say where it comes from.

An interrupted fetch goes on where it was cut when called again. Every file is checked.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.options import add_registries
from gradbrain.config.plugins import Plugins
from gradbrain.config.registries import Registries
from gradbrain.datasets.fetch import fetch_dataset, is_fetched, remote_files
from gradbrain.datasets.registry import registry_folders

ROOT = Path(__file__).resolve().parents[1]
log = logging.getLogger("fetch_dataset")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="entry of datasets.yaml")
    add_registries(parser)
    parser.add_argument("--data", type=Path, help="folder to make; by default data/<name>")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help="fetch files that match only"
    )
    parser.add_argument(
        "--people", nargs="+", default=[], metavar="sub-NN", help="only these people's files"
    )
    parser.add_argument(
        "--sessions", nargs="+", default=[], metavar="ses-NN", help="only files of these sessions"
    )
    parser.add_argument("--list", action="store_true", help="list files and sizes, fetch nothing")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    folders = registry_folders(ROOT, arguments.registry)
    registries = Registries(folders, Plugins(files=arguments.plugins))
    entry = registries.dataset(arguments.name, where="name")
    parts = (*arguments.people, *arguments.sessions)
    data = arguments.data or Path("data") / entry.name
    if arguments.list:
        for relative, file in remote_files(entry, only=arguments.only, parts=parts).items():
            print(f"{file.n_bytes if file.n_bytes is not None else '?':>14}  {relative}")
        return
    if data.is_dir() and not is_fetched(data):
        wanted = remote_files(entry, only=arguments.only, parts=parts)
        missing = [name for name in wanted if not (data / name).exists()]
        if missing:
            raise GradbrainError(
                f"{data}: exists and lacks {len(missing)} of {len(wanted)} files, e.g. "
                f"{missing[0]}; nothing was fetched, since folders of yours are never written to. "
                "Move it away, fetch, then put back what you added"
            )
        log.info("%s exists and is left as it is", data)
        return
    fetch_dataset(entry, data, only=arguments.only, parts=parts)
    log.info("%s: fetched and checked", data)


if __name__ == "__main__":
    run(main)
