"""Fit the encoding models of one layer of one model to one subject."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, run
from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.fit import fit_encoding
from gradbrain.encoding.tables import tidy_scores
from gradbrain.store import write_store, write_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--features",
        nargs="+",
        type=Path,
        required=True,
        help="feature stores of all layers of the model, in depth order; with --baseline, that of "
        "the layer is enough",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        help="components of all layers' activations (scripts/reduce_activations.py); taken anew "
        "where they are not given",
    )
    parser.add_argument(
        "--nuisance",
        nargs="*",
        type=Path,
        default=[],
        help="feature stores of the bands that the settings name under nuisance, in their order",
    )
    parser.add_argument("--layer", required=True, help="layer whose signals are fitted")
    parser.add_argument("--responses", type=Path, required=True, help="response store")
    parser.add_argument(
        "--settings",
        type=json_argument(EncodingSettings),
        default=EncodingSettings(),
        help="section encoding of the config, as JSON",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="of the torch backend, in the place of that of the settings",
    )
    parser.add_argument("--study", required=True)
    parser.add_argument("--output", type=Path, required=True, help="encoding store (.zarr)")
    parser.add_argument("--table", type=Path, required=True, help="scores per unit (.parquet)")
    arguments = parser.parse_args(argv)
    settings = arguments.settings
    if arguments.device is not None:
        settings = settings.model_copy(update={"device": arguments.device})
    store = fit_encoding(
        features=arguments.features,
        layer=arguments.layer,
        responses=arguments.responses,
        settings=settings,
        study=arguments.study,
        baseline=arguments.baseline,
        nuisance=arguments.nuisance,
    )
    write_store(arguments.output, store, kind="encoding", provenance={})
    write_table(arguments.table, tidy_scores(store), kind="fit_scores")


if __name__ == "__main__":
    run(main)
