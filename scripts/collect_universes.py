"""Join the claims of all universes of a study into one table, with the choices beside it.

What universes there are is read from standard input: a command line ends at some dozens of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.store import read_table, write_table


def read_universes(stream: TextIO) -> list[dict[str, Any]]:
    """Read the universes of a study.

    Parameters
    ----------
    stream
        JSON: a list of objects with ``name``, ``claims`` (path of the table) and ``choices`` (rows
        of the kind ``universes``).

    Raises
    ------
    GradbrainError
        It is none.
    """
    text = stream.read()
    try:
        found = json.loads(text)
        complete = [{"name", "claims", "choices"} <= set(universe) for universe in found]
    except (json.JSONDecodeError, TypeError):
        complete = []
    if not complete or not all(complete):
        raise GradbrainError(
            f"standard input: expected a list of universes as JSON, each with name, claims and "
            f"choices; found {text[:80]!r}"
        )
    universes: list[dict[str, Any]] = found
    return universes


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--universes", type=Path, required=True, help="table of choices (.csv)")
    parser.add_argument("--output", type=Path, required=True, help="joined claims (.csv)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    given = read_universes(sys.stdin)
    rows = [row for universe in given for row in universe["choices"]]
    universes = pd.DataFrame.from_records(rows)
    tables = [
        read_table(Path(universe["claims"]), kind="claims").assign(universe=universe["name"])
        for universe in given
    ]
    joined = pd.concat(tables, ignore_index=True)
    columns = ["universe", *(name for name in joined.columns if name != "universe")]
    write_table(arguments.universes, universes, kind="universes")
    write_table(arguments.output, joined[columns], kind="specification_curve")


if __name__ == "__main__":
    run(main)
