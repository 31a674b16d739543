"""Write registry entries and layers of timm's models, any number, into a folder of yours."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import yaml

from gradbrain.config.cli import run
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.store.atomic import write_text

log = logging.getLogger("add_models")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "patterns",
        nargs="+",
        help="names or patterns of timm: 'vit_*' takes all published weights of the vision "
        "transformers, 'resnet50.a1_in1k' one; with --untrained, architectures",
    )
    parser.add_argument(
        "--untrained",
        type=int,
        metavar="N",
        default=0,
        help="initialisations of each architecture, from N seeds, in the place of published "
        "weights; three or more say how much chance there is in one",
    )
    parser.add_argument(
        "--input-size", type=int, help="edge of the input of untrained networks in pixels"
    )
    parser.add_argument(
        "--registry",
        type=Path,
        required=True,
        help="folder to write models.yaml and layers.csv into, which the study names under "
        "registries; entries that are there stay as they are",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Write what is not there yet."""
    arguments = parser().parse_args(argv)
    # Takes seconds; a wrong command line is said without it.
    from gradbrain.models import timm_entries
    from gradbrain.models.errors import LayerError
    from gradbrain.models.layers import COLUMNS, list_layers
    from gradbrain.store import read_table, write_table

    if arguments.untrained:
        found = timm_entries.untrained(
            arguments.patterns, seeds=arguments.untrained, input_size=arguments.input_size
        )
    else:
        found = timm_entries.pretrained(arguments.patterns)
    folder = arguments.registry
    folder.mkdir(parents=True, exist_ok=True)
    models, layers = folder / "models.yaml", folder / "layers.csv"
    entries = (read_yaml(models).get("models") or {}) if models.exists() else {}
    known = set(Registries([ROOT / "config"]).models)
    new = {
        name: content
        for name, content in found.entries.items()
        if name not in entries and name not in known
    }
    left_out = dict(found.left_out)
    tables = [read_table(layers, COLUMNS)] if layers.exists() else []
    listed = {name for table in tables for name in table["architecture"]}
    listed |= set(Registries([ROOT / "config"]).architectures)
    for architecture in sorted({content["architecture"] for content in new.values()} - listed):
        try:
            tables.append(list_layers(architecture))
        except LayerError as error:
            gone = [name for name in new if new[name]["architecture"] == architecture]
            left_out |= dict.fromkeys(gone, str(error))
            new = {name: content for name, content in new.items() if name not in gone}
    if tables:
        import pandas as pd

        write_table(layers, pd.concat(tables, ignore_index=True))
    write_text(
        models,
        yaml.safe_dump({"models": entries | new}, sort_keys=False, allow_unicode=True),
    )
    there = sum(name in entries or name in known for name in found.entries)
    for name, why in left_out.items():
        log.warning("left out %s: %s", name, why)
    log.info(
        "wrote %d entries to %s; %d were there already; %d left out",
        *(len(new), models, there, len(left_out)),
    )


if __name__ == "__main__":
    run(main)
