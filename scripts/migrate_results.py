"""Bring results of the layout before (version 2) to the present one, where values do not change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.plugins import Plugins
from gradbrain.config.registries import Registries
from gradbrain.plan.migration import describe, migrate

EPILOG = """\
Features, responses and encoding results are brought over; every value is compared before and after.
Then, for each study: snakemake --configfile STUDY.yaml --touch -- encoding
tells Snakemake that they are up to date, and the same command as ever makes the rest anew.
"""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the folder results")
    parser.add_argument(
        "--registry", nargs="*", type=Path, default=[], help="registries besides config/"
    )
    parser.add_argument("--plugins", nargs="*", type=Path, default=[], help="folders of plug-ins")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    if not arguments.results.is_dir():
        raise GradbrainError(f"{arguments.results}: there is no such folder")
    registries = Registries([ROOT / "config", *arguments.registry], Plugins(arguments.plugins))
    report = migrate(arguments.results, registries, dry_run=arguments.dry_run)
    for line in describe(report):
        print(line)
    if report.refused:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
