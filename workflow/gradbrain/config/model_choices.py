"""Models of a study that are asked for by patterns or in a file: one choice for each."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from gradbrain.config.errors import GradbrainError
from gradbrain.config.schema import ModelChoice
from gradbrain.config.suggestions import choose, near_names
from gradbrain.config.yaml_files import read_text

WILDCARDS = frozenset("*?[")


def expand(
    choices: Sequence[ModelChoice], known: Sequence[str], *, where: str
) -> tuple[ModelChoice, ...]:
    """Give every model a choice of its own.

    Parameters
    ----------
    choices
        As the config has them. What was named once is not taken again by a later pattern, so that
        a few models can have layers of their own before a pattern takes the rest.
    known
        Names of the registries.
    where
        File and key, for error messages.

    Returns
    -------
    tuple of ModelChoice
        Each has a name, in the order of the config; models of a pattern in that of the registries.

    Raises
    ------
    GradbrainError
        A pattern matches nothing, a name is not known, or a file cannot be read or is empty.
    """
    found: list[ModelChoice] = []
    taken: set[str] = set()
    for choice in choices:
        if choice.name:
            found.append(choice)
            taken.add(choice.name)
            continue
        names = _names_of(choice, known, where)
        new = [name for name in names if name not in taken]
        taken.update(new)
        asked = {"pattern": "", "file": "", "leave_out": ()}
        found += [choice.model_copy(update={"name": name} | asked) for name in new]
    return tuple(found)


def _names_of(choice: ModelChoice, known: Sequence[str], where: str) -> list[str]:
    if choice.pattern:
        names = _matching(choice.pattern, known, where=f"{where}: pattern")
    else:
        lines = _lines(choice.file, where)
        names = [
            name
            for number, line in lines
            for name in _matching(line, known, where=f"{choice.file}, line {number}")
        ]
    out = {
        name
        for pattern in choice.leave_out
        for name in _matching(pattern, names, where=f"{where}: leave_out")
    }
    left = [name for name in dict.fromkeys(names) if name not in out]
    if not left:
        asked = choice.pattern or choice.file
        raise GradbrainError(f"{where}: leave_out leaves no model of {asked!r}")
    return left


def _matching(pattern: str, known: Sequence[str], *, where: str) -> list[str]:
    """Names that match a pattern, or the one that is meant; at least one."""
    if not WILDCARDS & set(pattern):
        return [choose(pattern, known, what="model", where=where)]
    names = [name for name in known if fnmatchcase(name, pattern)]
    if names:
        return names
    near = near_names(pattern, known)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known[:5])}, …"
    raise GradbrainError(
        f"{where}: no model matches {pattern!r}; {hint} Entries of timm's models are written by "
        "scripts/add_models.py"
    )


def _lines(file: str, where: str) -> list[tuple[int, str]]:
    """Lines of a list of models, with their numbers, without comments."""
    path = Path(file)
    if not path.is_file():
        raise GradbrainError(
            f"{where}: file: there is no {file!r}; a path starts from the folder in which the "
            "command runs"
        )
    lines = [
        (number, line.partition("#")[0].strip())
        for number, line in enumerate(read_text(path).splitlines(), start=1)
    ]
    named = [(number, line) for number, line in lines if line]
    if not named:
        raise GradbrainError(f"{file}: names no model; expected a name or pattern per line")
    return named
