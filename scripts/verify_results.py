"""Check a whole folder of results: name what is damaged or does not fit, and how to rebuild it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.plan.verification import Verification, commands, verify

EPILOG = """\
Ends with 0 where everything is as it was written, with 1 where something is not.
"""


def describe(found: Verification) -> list[str]:
    """Lines that say what was found."""
    lines = [f"{fault.path}\n    {fault.what}" for fault in found.faults]
    told = {
        "have no digest (of an earlier version): read, not compared": found.undigested,
        "left by writers that were killed; removed when the result is next written": (
            found.left_over
        ),
        "are no results of this version": found.foreign,
    }
    for what, paths in told.items():
        if paths:
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            lines.append(f"note: {len(paths)} {what}: {', '.join(map(str, paths[:3]))}{more}")
    size = found.n_bytes / 2**20
    lines.append(
        f"{found.n_checked} results ({size:.1f} MiB) are as they were written, "
        f"{len(found.faults)} faults"
    )
    return lines


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="the folder")
    parser.add_argument(
        "--configfile",
        type=Path,
        action="append",
        default=[],
        help="config files of the studies, where they are not in config/",
    )
    parser.add_argument(
        "--content", action="store_true", help="decode stores as well; takes longer"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    if not arguments.results.is_dir():
        raise GradbrainError(f"{arguments.results}: there is no such folder")
    found = verify(arguments.results, content=arguments.content)
    for line in describe(found):
        print(line)
    if found.faults:
        configs = [*arguments.configfile, *sorted(Path("config").glob("*.yaml"))]
        print("To rebuild what is at fault, and then all that follows from it, run")
        for command in commands(found.faults, configs, ROOT):
            print(f"    {command}")
        print("and the snakemake command of the study as ever.")
        sys.exit(1)


if __name__ == "__main__":
    run(main)
