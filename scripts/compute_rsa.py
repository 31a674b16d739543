"""Compare the representational geometry of all layers of a model with one subject's responses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.schema import RsaSettings
from gradbrain.rsa.compare import compare
from gradbrain.store import write_table
from gradbrain.store.highlights import highest


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--features", nargs="+", type=Path, required=True, help="feature stores of all layers"
    )
    parser.add_argument("--responses", type=Path, required=True, help="the subject's responses")
    parser.add_argument(
        "--settings",
        type=json_argument(RsaSettings),
        default=RsaSettings(),
        help="section rsa of the study, as JSON",
    )
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    arguments = parser.parse_args(argv)
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
