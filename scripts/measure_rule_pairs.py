"""Estimate what each signal of a model explains beside all activations and each other signal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.fit_memory import check_unique_memory
from gradbrain.encoding.rule_pairs import KIND, pairs_of_stores
from gradbrain.store import write_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--features",
        nargs="+",
        type=Path,
        required=True,
        help="feature stores of all layers of the model, in depth order",
    )
    parser.add_argument("--responses", type=Path, required=True, help="response store")
    parser.add_argument(
        "--nuisance",
        nargs="*",
        type=Path,
        default=[],
        help="feature stores of the nuisance bands, in their order",
    )
    parser.add_argument(
        "--settings",
        type=json_argument(EncodingSettings),
        required=True,
        help="section encoding of the config, as JSON",
    )
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    arguments = parser.parse_args(argv)
    check_unique_memory(arguments.features, arguments.responses, arguments.settings)
    table = pairs_of_stores(
        features=arguments.features,
        responses=arguments.responses,
        nuisance=arguments.nuisance,
        settings=arguments.settings,
        study=arguments.study,
    )
    write_table(arguments.output, table, kind=KIND, provenance={})
    above = table["component"] > table["null_high"]
    learnt(f"{int(above.sum())} of {len(table)} estimates exceed permuted images in 95 %")


if __name__ == "__main__":
    run(main)
