"""Estimate the variance that each signal of a model explains beside all activations."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.fit_memory import check_unique_memory
from gradbrain.encoding.unique_part import unique_of_stores
from gradbrain.store import write_store
from gradbrain.store.highlights import highest


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
    parser.add_argument("--output", type=Path, required=True, help="store to write (.zarr)")
    arguments = parser.parse_args(argv)
    check_unique_memory(arguments.features, arguments.responses, arguments.settings)
    store = unique_of_stores(
        features=arguments.features,
        responses=arguments.responses,
        nuisance=arguments.nuisance,
        settings=arguments.settings,
        study=arguments.study,
    )
    write_store(arguments.output, store, kind="unique", provenance={})
    table = store["component"].drop_vars("unit_time", errors="ignore").to_dataframe().reset_index()
    learnt(highest(table, "component", "share"))


if __name__ == "__main__":
    run(main)
