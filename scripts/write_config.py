"""Write the resolved configuration of a study, and its registry entries as readers see them."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd
import yaml

from gradbrain.config import cli
from gradbrain.store import write_table, write_text


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the configuration as JSON")
    parser.add_argument("--output", required=True, help="YAML file to write")
    parser.add_argument(
        "--entries", required=True, help="the registry entries as JSON: a list of records"
    )
    parser.add_argument("--entries-output", required=True, help="CSV file to write")
    arguments = parser.parse_args(argv)
    text = yaml.safe_dump(json.loads(arguments.config), sort_keys=False, allow_unicode=True)
    entries = pd.DataFrame.from_records(json.loads(arguments.entries))
    write_table(arguments.entries_output, entries, kind="entries")
    write_text(arguments.output, text)


if __name__ == "__main__":
    cli.run(main)
