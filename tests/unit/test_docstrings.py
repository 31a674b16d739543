"""Docstrings say what arguments mean; their types stand in the signature, which is checked."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("workflow", "scripts", "benchmarks", "tests")
# Set by scikit-learn's `validate_data`.
BY_SKLEARN = "n_features_in_"
SECTIONS = ("Parameters", "Attributes", "Other Parameters")


@dataclass(frozen=True)
class Documented:
    """A function or class, and the entries of its docstring."""

    where: str
    entries: tuple[str, ...]
    own: frozenset[str]


def entries_of(docstring: str) -> Iterator[str]:
    section = None
    lines = docstring.splitlines()
    for line, following in pairwise([*lines, ""]):
        if re.fullmatch(r"-{3,}", following):
            section = line
        elif section in SECTIONS and line and not line[0].isspace() and set(line) != {"-"}:
            yield line


def names_of(node: ast.FunctionDef | ast.ClassDef) -> frozenset[str]:
    """Arguments of a function; of a class all that it can be made with or has."""
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each]
        return frozenset(each.arg for each in every)
    own: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            own.add(each.target.id)
        elif isinstance(each, ast.FunctionDef):
            own |= names_of(each) | {each.name}
        elif isinstance(each, ast.Assign):
            own |= {target.id for target in each.targets if isinstance(target, ast.Name)}
        elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
            own.add(each.attr)
    return frozenset(own)


def documented() -> list[Documented]:
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    entries = tuple(entries_of(ast.get_docstring(node) or ""))
                    if entries:
                        where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                        found.append(Documented(where, entries, names_of(node)))
    return found


@pytest.fixture(scope="module")
def described() -> list[Documented]:
    found = documented()
    assert len(found) > 700
    return found


def test_types_stand_in_the_signature_alone(described):
    typed = [
        f"{each.where}: {entry}" for each in described for entry in each.entries if ":" in entry
    ]
    assert typed == []


def test_what_is_described_is_an_argument_or_attribute(described):
    unknown = [
        f"{each.where}: {name}"
        for each in described
        for entry in each.entries
        for name in re.split(r",\s*", entry.replace("*", ""))
        if name not in each.own and name != BY_SKLEARN
    ]
    assert unknown == []
