"""What Snakemake takes from its command line without a word, though nobody can have meant it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.suggestions import did_you_mean
from gradbrain.config.yaml_files import read_yaml

# Option -> how to say the same with a single one of it.
ONCE = {
    ("--config", "-C"): "give several keys behind one --config: --config only_models=[a] "
    "only_subjects=[b]",
    ("--configfile", "--configfiles"): "give one file, which is the whole study",
}


#: Keys of two characters or more: Snakemake takes no others.
CONFIG_KEY = re.compile(r"[a-zA-Z_][\w-]*\w")


def check_single_options(arguments: Sequence[str]) -> None:
    """Refuse a second ``--config`` or ``--configfile``: it would replace the first, not add to it.

    Parameters
    ----------
    arguments
        Command line of the main process; the command lines of its jobs are Snakemake's own.

    Raises
    ------
    GradbrainError
        One of them is given more than once.
    """
    for names, remedy in ONCE.items():
        given = [text for text in arguments if _is_option(text, names)]
        if len(given) > 1:
            raise GradbrainError(
                f"{names[0]} is given {len(given)} times, of which only the last would count; "
                f"{remedy}"
            )


def check_before_reading(arguments: Sequence[str]) -> None:
    """Read config files as the Snakefile will, before Snakemake reads them itself.

    It reads them, and the keys behind ``--config``, before any code of a study: what it stumbles
    over ends in a traceback of its own.

    Parameters
    ----------
    arguments
        ``sys.argv``; where it is not Snakemake that was called, nothing is looked at.

    Raises
    ------
    GradbrainError
        A config file does not exist, is a folder, in another encoding, nested without measure or no
        YAML; there are several; an option is given twice; a key behind ``--config`` is none; or a
        target stands where it is taken for one of these.
    """
    if not arguments or not _is_snakemake(arguments[0]):
        return
    check_single_options(arguments)
    files = list(_values_of(arguments, ("--configfile", "--configfiles")))
    for text in files[1:]:
        raise GradbrainError(_swallowed("--configfile", text, "give one file, the whole study"))
    for file in map(Path, files):
        if not file.exists():
            near = [*file.parent.glob("*.yaml"), *Path("config").glob("*.yaml")]
            names = sorted({path.as_posix() for path in near})
            raise GradbrainError(
                f"--configfile {file}: there is no such file.{did_you_mean(str(file), names)}"
            )
        if file.is_dir():
            raise GradbrainError(f"--configfile {file}: is a folder; give a file in it")
        if file.suffix in (".yaml", ".yml") and file.is_file():
            read_yaml(file)
    for text in _values_of(arguments, ("--config", "-C")):
        key, equals, _ = text.partition("=")
        if not equals:
            raise GradbrainError(_swallowed("--config", text, "it is no KEY=VALUE"))
        if not CONFIG_KEY.fullmatch(key):
            raise GradbrainError(
                f"--config {text}: {key!r} is no key of a study; expected e.g. only_models=[a] "
                "(docs/configuration.md lists all)"
            )


def _swallowed(option: str, text: str, remark: str) -> str:
    """Say that an option has taken what was meant as a target."""
    return (
        f"{option} takes all that follows it, {text} as well: {remark}; a target goes in front of "
        f"it or behind -- (snakemake … {option} … -- {text})"
    )


def _values_of(arguments: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """What stands behind some options, up to the next option."""
    inside = False
    for text in arguments[1:]:
        if text.startswith("-"):
            inside = text in names
            name, _, value = text.partition("=")
            if value and name in names and name.startswith("--"):
                yield value
        elif inside:
            yield text


def _is_snakemake(program: str) -> bool:
    return Path(program).match("snakemake") or Path(program).match("snakemake/__main__.py")


def _is_option(text: str, names: Sequence[str]) -> bool:
    """Whether an argument is one of some options, with or without its value."""
    if text in names:
        return True
    short = any(len(name) == 2 and text.startswith(name) and "=" in text for name in names)
    return short or any(text.startswith(f"{name}=") for name in names if len(name) > 2)


def asked_of(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Targets on a command line of Snakemake, as it reads them itself.

    A Snakefile is read before Snakemake hands on what was asked of it.

    Parameters
    ----------
    arguments
        ``sys.argv``; where Snakemake was not called by it, nothing is known.

    Returns
    -------
    dict
        Option, ``""`` for the targets themselves -> what it names.
    """
    if not _is_snakemake(arguments[0]):
        return {}
    from snakemake.cli import parse_args

    # It says which profile it takes, for the second time.
    with contextlib.redirect_stderr(io.StringIO()):
        _, found = parse_args(list(arguments[1:]))
    return {
        "": list(found.targets or ()),
        "--until": list(found.until or ()),
        "--omit-from": list(found.omit_from or ()),
        "--forcerun": list(found.forcerun or ()),
    }


def check_targets(
    asked: Mapping[str, Iterable[str]],
    rules: Iterable[Any],
    check_result: Callable[[str], None],
    results: Callable[[], Collection[str]],
) -> None:
    """Refuse targets that no rule makes and no file is, and say what may have been meant.

    Parameters
    ----------
    asked
        From :func:`asked_of`.
    rules
        All rules, as Snakemake holds them.
    check_result
        Raises an error where a path names what is no part of the study.
    results
        Gives the paths of what the study makes, for suggestions.

    Raises
    ------
    GradbrainError
        Names the target, what is near, and where the names are listed.
    """
    made = list(rules)
    names = [rule.name for rule in made]
    for option, targets in asked.items():
        for target in sorted(set(targets) - set(names)):
            path = os.path.relpath(target)
            check_result(path)
            if os.path.lexists(path) or any(rule.is_producer(path) for rule in made):
                continue
            key, equals, _ = target.partition("=")
            if equals and CONFIG_KEY.fullmatch(key):
                raise GradbrainError(
                    f"{target}: there is no such target; a setting goes behind --config: "
                    f"--config {shlex.quote(target)}"
                )
            known = [*names, *(results() if "/" in target else ())]
            raise GradbrainError(
                f"{f'{option} ' if option else ''}{target}: there is no such target."
                f"{did_you_mean(target, known)} Ask for a rule (`snakemake --list-rules` lists "
                "them: all, features, encoding, scores, maps, claims, figures, report, …) or for a "
                "file below results/"
            )
