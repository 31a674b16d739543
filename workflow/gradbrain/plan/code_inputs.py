"""Code as input: the modules that a script would import, found without importing them.

Snakemake's own triggers see the command of a rule but not the modules behind it. Declaring the
static import closure of each script as input makes a result follow its code, and nothing else:
Snakemake compares small inputs by checksum, so a touched file changes nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import Plugin

PACKAGE = "gradbrain"
# The foundation enters through the version of each kind of artefact, raised by hand: a new config
# key must not recompute a thousand fits.
FOUNDATION = ("gradbrain.config", "gradbrain.vocabulary", "gradbrain.store", "gradbrain.plan")
# What brings files here, lists them or reports progress, and bears on no value: files that are
# fetched are checked against their checksums, and inventories are for the eye.
WITHOUT_BEARING = frozenset(
    {
        "gradbrain.datasets.bucket",
        "gradbrain.datasets.download",
        "gradbrain.datasets.fetch",
        "gradbrain.datasets.inventory",
        "gradbrain.datasets.public_http",
        "gradbrain.signals.progress",
    }
)


def _module_file(library: Path, module: str) -> Path | None:
    base = library.joinpath(*module.split("."))
    if (base / "__init__.py").is_file():
        return base / "__init__.py"
    file = base.with_suffix(".py")
    return file if file.is_file() else None


@cache
def _imported_modules(file: Path) -> tuple[str, ...]:
    """Modules of the package that a file names in import statements, anywhere in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(name for name in modules if name.split(".")[0] == PACKAGE))


def import_closure(
    script: Path, library: Path, modules: Iterable[str] = (), files: Iterable[Path] = ()
) -> list[Path]:
    """Files of the package that a script imports, directly or through others.

    Parameters
    ----------
    script
        The command-line entry.
    library
        Folder that holds the package.
    modules
        Modules that the job loads by name (objectives, adapters, figures), which no import
        statement shows.
    files
        Plug-ins outside the library that the job loads; what they import of it counts too.

    Returns
    -------
    list of Path
        The script first, then the modules, sorted, then `files`; without the foundation and what
        has no bearing on results.

    Raises
    ------
    GradbrainError
        A module in `modules` does not exist.
    """
    found: set[Path] = set()
    for module in modules:
        if _module_file(library, module) is None:
            package = library.joinpath(*module.split(".")[:-1])
            known = sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")
            raise GradbrainError(
                f"there is no module {module} in {package}; there are {', '.join(known)}"
            )
    # By name first: a folder that moves changes no digest.
    outside = sorted(set(files), key=lambda file: (file.name, file))
    queue = [*_imported_modules(script), *modules]
    queue += [module for plugin in outside for module in _imported_modules(plugin)]
    seen: set[str] = set()
    while queue:
        module = queue.pop()
        if module in seen or module.startswith(FOUNDATION):
            continue
        seen.add(module)
        parent = module.rpartition(".")[0]
        if parent and parent != PACKAGE:
            queue.append(parent)
        file = _module_file(library, module)
        if file is not None:
            if module not in WITHOUT_BEARING:
                found.add(file)
            queue.extend(_imported_modules(file))
    return [script, *sorted(found), *outside]


def code_digest(
    script: Path, library: Path, modules: Iterable[str] = (), files: Iterable[Path] = ()
) -> str:
    """SHA-256 over the names and contents of the files of :func:`import_closure`."""
    whole = hashlib.sha256()
    for file in import_closure(script, library, modules, files):
        whole.update(f"{file.name} {file.stat().st_size}\n".encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()


def plugin_inputs(plugins: Iterable[Plugin]) -> tuple[list[str], list[Path]]:
    """Modules of the library and files outside it that plug-ins are, each once.

    They are the last two arguments of :func:`import_closure` and :func:`code_digest`.
    """
    found = set(plugins)
    modules = {plugin.module for plugin in found if plugin.in_library}
    return sorted(modules), sorted(plugin.path for plugin in found if not plugin.in_library)
