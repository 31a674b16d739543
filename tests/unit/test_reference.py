"""Reference pages are what the code says of itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import write_reference

from gradbrain.vocabulary.artefacts import ARTEFACTS


def test_the_pages_of_scripts_and_rules_are_in_step():
    assert (ROOT / "docs" / "scripts.md").read_text() == write_reference.scripts_text()
    assert (ROOT / "docs" / "rules.md").read_text() == write_reference.rules_text()


def test_every_script_and_every_rule_of_a_result_has_its_section():
    scripts, rules = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("scripts", "rules"))
    for script in (ROOT / "scripts").glob("*.py"):
        assert f"## `{script.name}`" in scripts
    for item in ARTEFACTS.values():
        assert f"## `{item.rule}`" in rules
        assert f"- `{item.template}`: {item.what}\n" in rules


def test_every_argument_has_a_meaning():
    page = (ROOT / "docs" / "scripts.md").read_text()
    for section in page.split("\n## ")[1:]:
        for name, meaning in re.findall(r"^\| `([^`]+)` \|[^|]*\| (.*) \|$", section, re.MULTILINE):
            assert meaning.strip(), f"{section.partition(chr(10))[0]}: {name}"


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_every_column_and_array_of_a_result_is_explained_where_it_stands(kind):
    item = ARTEFACTS[kind]
    for declared in (*item.columns, *item.variables):
        assert len(declared.meaning) > 3, declared.name
        # Another page is no explanation.
        assert not declared.meaning.startswith("see "), declared.name
