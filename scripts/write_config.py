"""Write the resolved configuration of a study, defaults included."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import yaml

from gradbrain.config import cli
from gradbrain.store import write_text


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the configuration as JSON")
    parser.add_argument("--output", required=True, help="YAML file to write")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    text = yaml.safe_dump(json.loads(arguments.config), sort_keys=False, allow_unicode=True)
    write_text(arguments.output, text, digested=True)


if __name__ == "__main__":
    cli.run(main)
