"""Write the JSON schemas of the configuration and the registries, for editors and docs."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import cli, schema
from gradbrain.store import write_text

FOLDER = Path(__file__).resolve().parents[1] / "workflow" / "schemas"
SCHEMAS = {
    "study": schema.Study,
    "model": schema.ModelEntry,
    "dataset": schema.DatasetEntry,
    "signal": schema.SignalEntry,
    "signal_set": schema.SignalSet,
}


def schema_text(name: str) -> str:
    return json.dumps(SCHEMAS[name].model_json_schema(), indent=2) + "\n"


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    for name in SCHEMAS:
        write_text(FOLDER / f"{name}.schema.json", schema_text(name))


if __name__ == "__main__":
    cli.run(main)
