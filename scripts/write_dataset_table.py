"""Write the table of docs/data.md that says what each data set can answer, from its entry."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import cli
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry, StatisticsSettings
from gradbrain.store import write_text
from gradbrain.vocabulary.roles import ROI, TIME

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "data.md"
BEGIN, END = "<!-- what each data set can answer -->", "<!-- end of the table -->"
HEAD = (
    "| data set | people | population in space | in time | noise ceilings | held out at once | "
    "same images as |\n|---|---|---|---|---|---|---|"
)
#: Simulated brains: one entry stands for all.
SIMULATED = "simulated"


def table() -> str:
    """Rows of all data sets with responses, in the order of the registry."""
    registries = Registries([ROOT / "config"])
    entries = [registries.dataset(name, where="datasets.yaml") for name in registries.datasets]
    kept = [entry for entry in entries if entry.axis and entry.adapter != SIMULATED]
    return "\n".join([HEAD, *(_row(entry, kept) for entry in kept)])


def answers(entry: DatasetEntry) -> dict[str, Any]:
    """What the adapter of an entry says that its data can answer."""
    plugin = LIBRARY_PLUGINS.find("adapters", entry.adapter, where="datasets.yaml")
    found = plugin.literals().get("ANSWERS", {})
    return dict(found)


def _row(entry: DatasetEntry, others: list[DatasetEntry]) -> str:
    said, enough = answers(entry), StatisticsSettings().min_subjects
    n = len(entry.subjects)
    population = "yes" if n >= enough else f"no: {n} people, {enough} are needed"
    database = said.get("database", "")
    same = [
        f"`{other.name}`"
        for other in others
        if database and other is not entry and answers(other).get("database") == database
    ]
    unseen = said.get("unseen", "")
    if unseen == "concepts" and entry.options.get("group") != "category":
        unseen = ""
    cells = [
        f"`{entry.name}`",
        str(n),
        population if entry.axis == ROI else "–",
        population if entry.axis == TIME else "–",
        said.get("ceilings") or "none",
        unseen or "images",
        ", ".join([*(["all its people"] if entry.stimuli else []), *same]) or "–",
    ]
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The page with the table as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def parser() -> argparse.ArgumentParser:
    """Describe the command line, which has no options."""
    return argparse.ArgumentParser(description=__doc__)


def main(argv: list[str] | None = None) -> None:
    parser().parse_args(argv)
    write_text(PAGE, page())


if __name__ == "__main__":
    cli.run(main)
