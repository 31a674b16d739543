"""Take the principal components of all layers' activations in every outer fold of a subject."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import run
from gradbrain.config.options import add_features, add_section
from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.baseline import reduce_activations
from gradbrain.encoding.fit_memory import check_reduction_memory
from gradbrain.store import write_store


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_features(parser)
    parser.add_argument("--responses", type=Path, required=True, help="response store")
    add_section(parser, "encoding", EncodingSettings, required=True)
    parser.add_argument("--output", type=Path, required=True, help="store to write (.zarr)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    check_reduction_memory(arguments.features, arguments.responses)
    store = reduce_activations(
        features=arguments.features,
        responses=arguments.responses,
        settings=arguments.settings,
    )
    write_store(arguments.output, store, kind="baseline", provenance={})


if __name__ == "__main__":
    run(main)
