"""Write config/layers.csv: the layers of architectures and their relative depths."""

from __future__ import annotations

import argparse
import fnmatch
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.suggestions import near_names
from gradbrain.config.yaml_files import read_yaml

log = logging.getLogger("list_layers")
LAYERS = ROOT / "config" / "layers.csv"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "patterns",
        nargs="*",
        help="architectures or patterns such as 'vit_*_dinov3'; none: those of models.yaml",
    )
    parser.add_argument(
        "--models", type=Path, default=ROOT / "config" / "models.yaml", help="model registry"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=LAYERS,
        help="table to write; rows of other architectures that it holds stay where patterns are "
        "given. By default that of this repository, %(default)s: name one in a registry folder of "
        "yours for your own models",
    )
    return parser


def matching(patterns: list[str], known: list[str]) -> set[str]:
    """Known architectures that match the patterns; each pattern must match at least one."""
    chosen = set()
    for pattern in patterns:
        found = fnmatch.filter(known, pattern)
        if not found:
            near = near_names(pattern, known)
            hint = f"did you mean {', '.join(near)}?" if near else f"e.g. {', '.join(known[:3])}"
            raise GradbrainError(f"no architecture matches {pattern!r}; {hint}")
        chosen.update(found)
    return chosen


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    # Takes seconds; a wrong command line is said without it.
    import timm

    from gradbrain.models import autoencoder, owlvit
    from gradbrain.models.layers import COLUMNS, layer_table
    from gradbrain.store import read_table, write_table
    from gradbrain.vocabulary.image_statistics import ARCHITECTURE

    if arguments.patterns:
        own = (*owlvit.ARCHITECTURES, *autoencoder.ARCHITECTURES, ARCHITECTURE)
        listed = matching(arguments.patterns, [*timm.list_models(), *own])
        chosen = set(listed)
        if arguments.output.exists():
            chosen |= set(read_table(arguments.output, COLUMNS)["architecture"])
    else:
        entries = read_yaml(arguments.models).get("models") or {}
        listed = chosen = {entry["architecture"] for entry in entries.values()}
    table = layer_table(chosen)
    write_table(arguments.output, table)
    count = int(table["architecture"].isin(listed).sum())
    log.info("wrote %d layers of %s to %s", count, ", ".join(sorted(listed)), arguments.output)


if __name__ == "__main__":
    run(main)
