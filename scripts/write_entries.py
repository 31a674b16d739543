"""Write the registry entries that a study names, as readers see them: labels, order, colours."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd

from gradbrain.config import cli
from gradbrain.store import write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", required=True, help="the entries as JSON: a list of records")
    parser.add_argument("--output", required=True, help="table to write (.csv)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    entries = pd.DataFrame.from_records(json.loads(arguments.entries))
    write_table(arguments.output, entries, kind="entries")


if __name__ == "__main__":
    cli.run(main)
