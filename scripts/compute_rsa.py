"""Compare the representational geometry of all layers of a model with one subject's responses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import learnt, run
from gradbrain.config.options import add_features, add_section, add_study
from gradbrain.config.schema import RsaSettings
from gradbrain.rsa.compare import compare
from gradbrain.store import write_table
from gradbrain.store.highlights import highest


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_features(parser)
    parser.add_argument("--responses", type=Path, required=True, help="the subject's responses")
    add_section(parser, "rsa", RsaSettings)
    add_study(parser)
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    table = compare(
        arguments.features, arguments.responses, arguments.settings, study=arguments.study
    )
    write_table(
        arguments.output,
        table,
        kind="rsa",
        provenance={"settings": arguments.settings.model_dump()},
    )
    learnt(highest(table, "rho", "rho"))


if __name__ == "__main__":
    run(main)
