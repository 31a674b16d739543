"""Hold the checkpoints of models against their networks: names, shapes and classes, no weights."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, run
from gradbrain.config.plugins import Plugins, weights_use
from gradbrain.config.schema import ModelEntry


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--models", nargs="+", type=json_argument(ModelEntry), required=True, help="entries as JSON"
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="where weights/ lies")
    parser.add_argument("--plugins", nargs="*", type=Path, default=[], help="files of plug-ins")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    plugins = Plugins(files=arguments.plugins)
    found = {}
    for entry in arguments.models:
        use = weights_use(entry, plugins, where=f"models.yaml: model {entry.name!r}")
        check = getattr(use.plugin.load(), "check", None)
        try:
            if check is not None:
                check(entry, use.options, arguments.data)
            found[entry.name] = ""
        except GradbrainError as error:
            found[entry.name] = str(error)
    # Model -> what is wrong with its weights; empty where nothing is.
    print(json.dumps(found))


if __name__ == "__main__":
    run(main)
