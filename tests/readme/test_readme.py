"""README's commands as printed, in a clean clone, by someone whose home folder is empty.

Whatever takes minutes is done once (`make demo`, environment included); runs of Snakemake besides
are asked what they would do. Placeholders of the page (`mine.yaml`, `<study>`) become a real study.
"""

from __future__ import annotations

import re

import pytest
from readme.conftest import REAL_DATA, ROOT

PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
# What stands as code in the second cell of a row of a table.
IN_TABLE = re.compile(r"(?<=`)([^`|]+)(?=`[^|\n]*\|$)", re.MULTILINE)
PROGRAMS = ("make", "snakemake", "python", "gradbrain")
PLACEHOLDERS = {
    "mine.yaml": "config/config.yaml",
    "<study>": "demo",
    "<name>": "encoding_by_region",
    "/path/to/it": "../shared/data/objects92",
    "/path/to/objects92": "../shared/data/objects92",
}


def commands(pattern: re.Pattern[str]) -> list[str]:
    """Commands of the page, with a real study in the place of placeholders."""
    found = []
    for command in pattern.findall(PAGE):
        if command.split()[0] not in PROGRAMS:
            continue
        for placeholder, real in PLACEHOLDERS.items():
            command = command.replace(placeholder, real)
        found.append(command)
    return found


def test_the_demo_ends_with_its_report(after_the_demo):
    results = after_the_demo.folder / "results" / "demo"
    assert "results/demo/report.html" in PAGE
    assert (results / "report.html").stat().st_size > 100_000
    assert (results / "claims.md").exists()
    assert not list(after_the_demo.home.rglob("*.py")), "nothing of the project lands in a home"


def test_the_page_has_the_commands_that_are_tried_here():
    assert {"make demo", "make worlds"} <= set(commands(INDENTED))
    assert len(commands(INDENTED)) >= 4
    assert len(commands(IN_TABLE)) >= 12
    assert len(PAGE.splitlines()) <= 120


def test_make_worlds_plans_the_study_and_writes_its_tables(after_the_demo):
    printed = after_the_demo.run("make --dry-run worlds")
    planned, tables = [line for line in printed.splitlines() if ".venv/bin/" in line]
    assert "prepare_responses" in after_the_demo.run(f"{planned} --dry-run --quiet rules")
    # Its figure is not there yet; that the section exists is asked of the script itself.
    assert "worlds" in after_the_demo.run(f"{tables.split(' worlds')[0]} --help")


@pytest.mark.parametrize(
    "command", [line for line in commands(INDENTED) if line.startswith("snakemake")]
)
def test_studies_of_real_data_would_run(after_the_demo, command):
    if not REAL_DATA.exists():
        pytest.skip("the real data are not beside this checkout (../shared/data)")
    printed = after_the_demo.run(command.replace("snakemake ", "snakemake --dry-run ", 1))
    assert "fit_encoding" in printed and "dry-run" in printed


@pytest.mark.parametrize("command", commands(IN_TABLE))
def test_everyday_commands_work_as_printed(after_the_demo, command):
    if "../shared/data" in command and not REAL_DATA.exists():
        pytest.skip("the real data are not beside this checkout (../shared/data)")
    if command.startswith("snakemake"):
        command = command.replace("snakemake ", "snakemake --dry-run --forceall ", 1)
        assert "This was a dry-run" in after_the_demo.run(command)
    else:
        assert after_the_demo.run(command).strip()


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert target.startswith("http") or (ROOT / target).exists(), target
