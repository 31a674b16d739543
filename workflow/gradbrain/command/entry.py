"""Read the command line of ``gradbrain``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from gradbrain import __version__
from gradbrain.command.catalogue import KINDS, Catalogue
from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.plugins import LIBRARY, Plugins
from gradbrain.config.registries import Registries, read_yaml

EPILOG = """\
gradbrain models               list all models
gradbrain models clip_large    show one
gradbrain artefacts scores     what a table or store holds
gradbrain study results/demo   what a folder of results holds
gradbrain doctor --full        whether this machine is ready for a study
"""


class _Pages(yaml.SafeDumper):
    """Writes text of several lines as it is."""


def _as_page(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Pages.add_representer(str, _as_page)


def project() -> Path:
    """Folder of the project: that of this library, else the working directory.

    Raises
    ------
    GradbrainError
        Neither holds the registries.
    """
    for folder in (LIBRARY.parent, Path()):
        if (folder / "config" / "models.yaml").is_file():
            return folder
    raise GradbrainError(
        f"{Path.cwd()}: holds no config/models.yaml; run this in a checkout of the project, or "
        "install it from one: pip install --editable ."
    )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    whole = argparse.ArgumentParser(
        prog="gradbrain",
        description="List what there is to choose from, open results, check a machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"gradbrain {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--configfile", type=Path, help="a study, whose registries and plug-ins are taken too"
    )
    shared.add_argument(
        "--registry", type=Path, nargs="*", default=[], help="folders of registries of your own"
    )
    shared.add_argument(
        "--plugins", type=Path, nargs="*", default=[], help="folders of plug-ins of your own"
    )
    shared.add_argument("--json", action="store_true", help="print JSON")
    for kind, about in KINDS.items():
        lister = commands.add_parser(kind, parents=[shared], help=f"list {about}, or show one")
        lister.add_argument("name", nargs="?", help="the one to show")
    study = commands.add_parser("study", help="say what a folder of results holds")
    study.add_argument("folder", type=Path, help="e.g. results/demo")
    doctor = commands.add_parser(
        "doctor", parents=[shared], help="check environment, GPU, weights, data, disk and memory"
    )
    doctor.add_argument(
        "--full",
        action="store_true",
        help="import what jobs import, use the GPU, read all weights and headers of data sets",
    )
    return whole


def catalogue(arguments: argparse.Namespace, root: Path | None) -> Catalogue:
    """Registries and plug-ins of the project, of a study, and of one's own."""
    content: dict[str, Any] = read_yaml(arguments.configfile) if arguments.configfile else {}
    registries = [*map(Path, content.get("registries") or []), *arguments.registry]
    own = [root / "config"] if root is not None else []
    plugins = Plugins([*(content.get("plugins") or []), *arguments.plugins])
    return Catalogue(Registries([*own, *registries], plugins), plugins)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a table whose columns are as wide as their content, the last as wide as it is."""
    texts = [{key: str(value) for key, value in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(row[key]) for row in texts)) for key in texts[0]}
    for row in ({key: key for key in texts[0]}, *texts):
        print("  ".join(f"{row[key]:<{width}}" for key, width in widths.items()).rstrip())


def list_or_show(arguments: argparse.Namespace) -> None:
    """Print all of a kind, or one in detail."""
    # Kinds of results are known without a project.
    root = project() if arguments.command != "artefacts" else None
    known = catalogue(arguments, root)
    if arguments.name is None:
        rows = known.rows(arguments.command)
        if arguments.json:
            print(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            print_rows(rows)
        return
    details = known.details(arguments.command, arguments.name)
    if arguments.json:
        print(json.dumps(details, indent=2, ensure_ascii=False))
    else:
        print(
            yaml.dump(details, Dumper=_Pages, sort_keys=False, allow_unicode=True, width=100),
            end="",
        )


def check_machine(arguments: argparse.Namespace) -> None:
    """Print what was found of this machine; exit with 1 where a study could not run."""
    from gradbrain.command.doctor import FAULT, examine

    root = project()
    study = None
    if arguments.configfile:
        from gradbrain.config.study import load_study

        where = str(arguments.configfile)
        study = load_study(read_yaml(arguments.configfile), root=root, where=where)
    found = examine(root, catalogue(arguments, root), study=study, full=arguments.full)
    if arguments.json:
        print(json.dumps([vars(item) for item in found], indent=2, ensure_ascii=False))
    else:
        for item in found:
            print(item)
    faults = sum(item.state == FAULT for item in found)
    if faults:
        print(f"{faults} fault{'' if faults == 1 else 's'}", file=sys.stderr)
        sys.exit(1)


def command(argv: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    arguments = parser().parse_args(argv)
    if arguments.command == "doctor":
        check_machine(arguments)
    elif arguments.command == "study":
        from gradbrain.store.study import open_study

        print(repr(open_study(arguments.folder)))
    else:
        list_or_show(arguments)


def main() -> None:
    """Run the command ``gradbrain``."""
    try:
        run(command)
    except BrokenPipeError:  # of `gradbrain models | head`
        sys.stderr.close()


if __name__ == "__main__":
    main()
