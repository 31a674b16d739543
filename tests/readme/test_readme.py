"""README's commands as printed, in a clean clone, by someone whose home folder is empty.

Whatever takes minutes is done once (`make demo`, environment included); runs of Snakemake besides
are asked what they would do. Placeholders of the page (`mine.yaml`, `<study>`) become a real study.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
REAL_DATA = ROOT.parent / "shared" / "data"
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
MINUTES = 15


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


@dataclass(frozen=True)
class Clone:
    """A clone of the repository and the shell of a new user."""

    folder: Path
    home: Path

    def run(self, command: str) -> str:
        """Type a command; return what it printed, or fail with it."""
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        # Of the packages that are fetched, what is there already is not fetched anew.
        cache = kept.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
        path = os.pathsep.join([str(self.folder / ".venv" / "bin"), *_system_path()])
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self.folder,
            env=kept | {"HOME": str(self.home), "PATH": path, "PIP_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout + done.stderr


def _system_path() -> list[str]:
    """The path without environments of Python that happen to be active."""
    own = os.environ.get("VIRTUAL_ENV")
    parts = os.environ["PATH"].split(os.pathsep)
    return [part for part in parts if not own or not part.startswith(own)]


@pytest.fixture(scope="module")
def clone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Files that git knows, as they are now; beside them the real data, where there are any."""
    if not request.config.getoption("--readme"):
        pytest.skip("takes minutes: asked for with --readme (make test-readme)")
    above = tmp_path_factory.mktemp("readme")
    folder, home = above / "gradbrain", above / "home"
    home.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    if REAL_DATA.exists():
        (above / "shared").mkdir()
        (above / "shared" / "data").symlink_to(REAL_DATA)
    return Clone(folder, home)


@pytest.fixture(scope="module")
def after_the_demo(clone: Clone) -> Clone:
    """The clone in which `make demo` was typed, which makes the environment as well."""
    assert "make demo" in commands(INDENTED)
    clone.run("make demo")
    return clone


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
