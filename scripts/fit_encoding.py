"""Fit the encoding models of one model to one subject: of one layer, or of several in one process.

Several layers start once, and share what their fits have in common.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.options import add_nuisance, add_section, add_study
from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.backend import Backend, make_backend
from gradbrain.encoding.fit import fit_encoding
from gradbrain.encoding.fit_memory import check_fit_memory
from gradbrain.encoding.shared_decompositions import SharedDecompositions
from gradbrain.encoding.tables import tidy_scores
from gradbrain.store import write_store, write_table
from gradbrain.store.highlights import highest
from gradbrain.vocabulary.measures import R


def check_numbers(arguments: argparse.Namespace) -> None:
    """Refuse lists that do not go with the layers."""
    layers = arguments.layers
    lists = {"--output": arguments.output, "--table": arguments.table}
    if arguments.baseline:
        lists["--features"] = arguments.features
    for option, values in lists.items():
        if len(values) != len(layers):
            raise GradbrainError(
                f"{option}: {len(values)} paths for {len(layers)} layers ({', '.join(layers)})"
            )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--features",
        nargs="+",
        type=Path,
        required=True,
        help="feature stores of all layers of the model, in depth order; with --baseline, those of "
        "the layers that are fitted, in the order of --layers",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        help="components of all layers' activations (scripts/reduce_activations.py); taken anew "
        "where they are not given",
    )
    add_nuisance(parser)
    parser.add_argument(
        "--layers", nargs="+", required=True, help="layers whose signals are fitted"
    )
    parser.add_argument("--responses", type=Path, required=True, help="response store")
    add_section(parser, "encoding", EncodingSettings)
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="of the torch backend, in the place of that of the settings",
    )
    parser.add_argument(
        "--rsa",
        type=json_argument(RsaSettings),
        help="section rsa of the config, as JSON: dissimilarities of held-out predictions are "
        "compared with measured ones; not where left out",
    )
    add_study(parser)
    parser.add_argument(
        "--output",
        nargs="+",
        type=Path,
        required=True,
        help="encoding stores (.zarr), one per layer",
    )
    parser.add_argument(
        "--table", nargs="+", type=Path, required=True, help="scores per unit (.parquet), likewise"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_numbers(arguments)
    settings = arguments.settings
    if arguments.device is not None:
        settings = settings.model_copy(update={"device": arguments.device})
    backend: Backend = make_backend(settings.backend, settings.device)
    if len(arguments.layers) > 1:
        backend = SharedDecompositions(backend)
    tables = []
    for place, layer in enumerate(arguments.layers):
        own = [arguments.features[place]] if arguments.baseline else arguments.features
        check_fit_memory(layer, own, arguments.responses, settings)
        store = fit_encoding(
            features=own,
            layer=layer,
            responses=arguments.responses,
            settings=settings,
            study=arguments.study,
            baseline=arguments.baseline,
            nuisance=arguments.nuisance,
            backend=backend,
            rsa=arguments.rsa,
        )
        write_store(arguments.output[place], store, kind="encoding", provenance={})
        table = tidy_scores(store)
        write_table(arguments.table[place], table, kind="fit_scores")
        tables.append(table[table["measure"] == R.name])
    learnt(highest(pd.concat(tables, ignore_index=True), "value", R.unit))


if __name__ == "__main__":
    run(main, memory="encoding.baseline_components, min_noise_ceiling, a lower n_draws")
