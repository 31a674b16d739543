"""Join the claims of all universes of a study into one table, with the choices beside it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd

from gradbrain.config.cli import run
from gradbrain.store import read_table, write_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--records", type=json.loads, required=True, help="rows of the table of choices, as JSON"
    )
    parser.add_argument(
        "--claims", nargs="+", type=Path, required=True, help="claims, <universe>.csv for each"
    )
    parser.add_argument("--universes", type=Path, required=True, help="table of choices (.csv)")
    parser.add_argument("--output", type=Path, required=True, help="joined claims (.csv)")
    arguments = parser.parse_args(argv)
    universes = pd.DataFrame.from_records(arguments.records)
    names = universes["universe"].drop_duplicates()
    tables = [
        read_table(path, kind="claims").assign(universe=name)
        for name, path in zip(names, arguments.claims, strict=True)
    ]
    joined = pd.concat(tables, ignore_index=True)
    columns = ["universe", *(name for name in joined.columns if name != "universe")]
    write_table(arguments.universes, universes, kind="universes")
    write_table(arguments.output, joined[columns], kind="specification_curve")


if __name__ == "__main__":
    run(main)
