"""The docs as a site: one text for both, and no link that leads nowhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "mkdocs.yml")


@pytest.fixture
def checkout(tmp_path):
    for name in PARTS:
        place = ROOT / name
        copy = shutil.copytree if place.is_dir() else shutil.copy
        copy(place, tmp_path / name)
    (tmp_path / "results").mkdir()
    shutil.copy(ROOT / "results" / "README.md", tmp_path / "results")
    return tmp_path


def build(checkout):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def test_the_site_is_built_with_all_pages_and_without_anything_from_elsewhere(checkout):
    done = build(checkout)
    assert done.returncode == 0, done.stderr
    site = checkout / "site"
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    for page in ("index", "contributing", "changelog", "results_folder"):
        assert (site / f"{page}.html").exists()
    for page in site.glob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|link)[^>]*(?:src|href)=\"(https?:[^\"]*)\"", text)
        assert not loaded, page
        # A table or list that was not read as one.
        assert not re.search(r"<p>[^<]*\|---", text), page
    assert "</table>" in (site / "artefacts.html").read_text()


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[a](nowhere.md)", "nowhere.md"),
        ("[a](method.md#no-such-heading)", "no-such-heading"),
        ("[a](../README.md#no-such-heading)", "no-such-heading"),
    ],
)
def test_a_link_that_leads_nowhere_stops_it(checkout, link, said):
    with (checkout / "docs" / "reruns.md").open("a") as page:
        page.write(f"\n{link}\n")
    done = build(checkout)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_page_that_the_site_does_not_name_stops_it(checkout):
    (checkout / "docs" / "forgotten.md").write_text("# Forgotten\n")
    done = build(checkout)
    assert done.returncode != 0
    assert "forgotten.md" in done.stderr


def test_public_ci_runs_the_commands_of_a_developer():
    content = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    job = content["jobs"]["check"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make ${{ matrix.command }}"]
    assert job["strategy"]["matrix"]["command"] == ["lint", "test"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"lint", "test", "docs"} <= set(targets)


def test_citation_and_hooks_are_in_step_with_the_project(tmp_path):
    from gradbrain import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["license"] == "BSD-3-Clause"
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")
    config = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(config)]
    subprocess.run(command, check=True, capture_output=True, env={"HOME": str(tmp_path)})
    for hook in yaml.safe_load(config.read_text())["repos"][0]["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
