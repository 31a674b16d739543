"""List what is there, missing or unreadable of a data set; fail if a subject cannot be run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.options import add_registries
from gradbrain.config.plugins import Plugins
from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry
from gradbrain.config.suggestions import choose
from gradbrain.datasets.inventory import Inventory, Item, take_inventory
from gradbrain.datasets.registry import registry_folders

ROOT = Path(__file__).resolve().parents[1]
UNITS = ("B", "kB", "MB", "GB", "TB")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="entry of datasets.yaml")
    parser.add_argument("root", type=Path, nargs="?", help="its folder; by default data/<name>")
    add_registries(parser)
    parser.add_argument("--subjects", nargs="*", help="only these; by default all of the entry")
    return parser


def size(n_bytes: int) -> str:
    """Write a size for people: ``491.5 MB``."""
    value = float(n_bytes)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def item_line(item: Item) -> str:
    optional = "" if item.required or item.state == "there" else ", not required"
    detail = f"  [{item.detail}]" if item.detail else ""
    what = f"{item.state:<10} {item.count:>16} {size(item.n_bytes):>10}"
    return f"  {what}  {item.path}{optional}{detail}"


def heading(name: str, items: list[Item], verdict: str) -> str:
    if not items:
        return f"{name}: {verdict}"
    n_bytes = sum(item.n_bytes for item in items)
    return f"{name}: {verdict} ({sum(item.n_files for item in items)} files, {size(n_bytes)})"


def print_inventory(inventory: Inventory, subjects: list[str]) -> list[str]:
    """Print one block for what all share and one per subject; return who cannot be run."""
    shared = [item for item in inventory.items if not item.subject]
    if shared:
        print(heading("all subjects", shared, "shared files"))
    for item in shared:
        print(item_line(item))
    stuck = []
    for subject in subjects:
        own = [item for item in inventory.items if item.subject == subject]
        obstacles = inventory.obstacles(subject)
        print(heading(subject, own, "cannot be run" if obstacles else "can be run"))
        for item in own:
            print(item_line(item))
        if obstacles:
            stuck.append(subject)
    for problem in dict.fromkeys(text for own in inventory.problems.values() for text in own):
        print(f"problem: {problem}")
    return stuck


def refuse_missing(entry: DatasetEntry, data: Path, *, is_given: bool) -> bool:
    """Fail where a folder is named that is not there; return whether a run will fetch it."""
    if data.is_dir():
        return False
    if data.is_symlink():
        raise GradbrainError(f"{data}: is a link to {data.readlink()}, which is no folder; mend it")
    if is_given or data.exists():
        raise GradbrainError(
            f"{data}: there is no folder of this name; name that of {entry.name!r}"
        )
    if entry.arrives_by_itself:
        print(
            f"{data} is not there; a run fetches it, or: "
            f"python scripts/fetch_dataset.py {entry.name}"
        )
    return entry.arrives_by_itself


def find_entry(name: str, folders: list[Path], plugins: Plugins) -> DatasetEntry:
    """Look up an entry; where none is found, say how to name a registry of one's own."""
    registries = Registries(registry_folders(ROOT, folders), plugins)
    try:
        return registries.dataset(name, where="name")
    except GradbrainError as error:
        if folders or name in registries.datasets:
            raise
        raise GradbrainError(
            f"{error}. For a data set of your own name the folder of its datasets.yaml: "
            "--registry FOLDER"
        ) from None


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    plugins = Plugins(files=arguments.plugins)
    entry = find_entry(arguments.name, arguments.registry, plugins)
    subjects = list(entry.subjects)
    for name in arguments.subjects or []:
        choose(name, entry.subjects, what=f"subject of {entry.name}", where="--subjects")
    if arguments.subjects:
        subjects = [name for name in subjects if name in arguments.subjects]
    data = arguments.root or Path("data") / entry.name
    if refuse_missing(entry, data, is_given=arguments.root is not None):
        return
    some = entry.model_copy(update={"subjects": tuple(subjects)})
    inventory = take_inventory(some, data, plugins=plugins)
    stuck = print_inventory(inventory, subjects)
    if stuck or (not subjects and inventory.obstacles("")):
        how = f" {entry.fetch.instructions}" if entry.fetch and entry.fetch.instructions else ""
        raise GradbrainError(
            f"{data}: {len(stuck)} of {len(subjects)} subjects of {entry.name!r} cannot be run: "
            f"{', '.join(stuck)}.{how}"
        )
    print(f"{data}: all {len(subjects)} subjects of {entry.name!r} can be run")


if __name__ == "__main__":
    run(main)
