"""The campaign that attacks the store: a part of it is run, and it sees what it should."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradbrain.store import file_digests, verified_files

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "torture.py"


@pytest.fixture(scope="module")
def torture():
    specification = importlib.util.spec_from_file_location("torture", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["torture"] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def specimens(torture, tmp_path):
    return torture.Specimens(tmp_path)


@pytest.mark.parametrize("digests", [True, False])
def test_no_attack_is_accepted_with_other_values_and_each_is_told_in_one_line(
    torture, specimens, digests
):
    rows = [torture.fuzz(seed, specimens, digests) for seed in range(5000, 5150)]
    bad = [row for row in rows if row["outcome"] not in torture.FINE]
    assert not bad
    assert sum(row["outcome"] == "refused" for row in rows) > 80
    assert {row["fault"] for row in rows} == set(torture.ATTACKS if digests else torture.STRUCTURAL)


def test_the_campaign_sees_other_values_where_readers_compare_nothing(
    torture, specimens, monkeypatch
):
    class Trusting:
        def __init__(self, *_):
            pass

        def hexdigest(self):
            return type("Any", (str,), {"__ne__": lambda *_: False, "__hash__": str.__hash__})()

    fake = type("hashlib", (), {"sha256": Trusting})
    monkeypatch.setattr(verified_files, "hashlib", fake)
    monkeypatch.setattr(file_digests, "hashlib", fake)
    outcomes = {torture.fuzz(seed, specimens, True)["outcome"] for seed in range(150)}
    assert "OTHER VALUES" in outcomes


def test_an_attack_follows_from_its_seed_alone(torture, tmp_path):
    folders = [tmp_path / name for name in "ab"]
    found = []
    for folder, seeds in zip(folders, ([3, 7], [7]), strict=True):
        folder.mkdir()
        own = torture.Specimens(folder)
        row = [torture.fuzz(seed, own, True) for seed in seeds][-1]
        row["told"] = row["told"].replace(str(folder), "")
        found.append(row)
    assert found[0] == found[1]


def test_a_campaign_that_was_stopped_goes_on_where_it_was(tmp_path):
    out = tmp_path / "log.jsonl"

    def run(*arguments):
        command = [sys.executable, str(SCRIPT), *arguments, "--out", str(out)]
        return subprocess.run(command, capture_output=True, text=True)

    assert run("fuzz", "--seeds", "0:3").returncode == 0
    first = out.read_text()
    # A last line that was cut short.
    out.write_text(first + '{"campaign": "fu')
    assert run("fuzz", "--seeds", "0:6").returncode == 0
    assert out.read_text().startswith(first)
    assert [json.loads(line)["seed"] for line in out.read_text().splitlines()] == list(range(6))
    assert "| fuzz |" in run("table").stdout


def test_tables_go_into_the_docs_where_they_belong_and_leave_the_rest_alone(torture, tmp_path):
    page = tmp_path / "reliability.md"
    blocks = [
        f"Of {name}.\n\n<!-- torture: {name} -->\nold {name}\n<!-- end -->\n"
        for name in torture.BLOCKS
    ]
    page.write_text("\n".join([*blocks, "The end.\n"]))
    rows = [
        {"campaign": "kills", "target": "fit", "fault": "SIGKILL", "outcome": "equal"},
        {"campaign": "external", "target": "npy", "fault": "one bit", "outcome": "refused"},
        {"campaign": "external", "target": "npy", "fault": "cut short", "outcome": "refused"},
    ]
    assert torture.write_docs(rows, page) == ["whole runs", "external files"]
    text = page.read_text()
    assert "| kills | SIGKILL | 1 | equal 1 |" in text
    assert "| npy | 2 | 2 |" in text
    assert "old own stores" in text and "old pinned files" in text
    assert "old whole runs" not in text and text.endswith("The end.\n")
    # Once more, nothing changes.
    torture.write_docs(rows, page)
    assert page.read_text() == text


# --- the campaign against whole runs --------------------------------------------------------------

JOB = """
import sys
from pathlib import Path
sys.path.insert(0, {library!r})
from gradbrain.store import write_text
for number in range(5):
    write_text(Path("results") / f"{{number}}.txt", "x" * 100, digested=True)
"""


@pytest.fixture
def job(tmp_path):
    """A job of a study that writes five results, and what runs it with orders to be disturbed."""
    study = SCRIPT.parent / "torture_study"
    orders = tmp_path / "torture"
    (orders / "attempts").mkdir(parents=True)
    (orders / "sitecustomize.py").write_text((study / "sabotage.py").read_text())
    (tmp_path / "scripts").mkdir()
    code = JOB.format(library=str(SCRIPT.parents[1] / "workflow"))
    (tmp_path / "scripts" / "write.py").write_text(code)

    def run(mode, seed=0):
        (orders / "mode").write_text(mode)
        (orders / "seed").write_text(str(seed))
        command = [sys.executable, "scripts/write.py", "--output", "results"]
        environment = {**os.environ, "TORTURE": str(orders), "PYTHONPATH": str(orders)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        return done.returncode

    return tmp_path, orders, run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_job_is_killed_where_its_seed_says_and_left_alone_in_the_end(job):
    folder, orders, run = job
    assert run("record") == 0
    (known,) = lines(orders / "known.jsonl")
    assert known["script"] == "write" and known["calls"] > 20
    whole = {path.name: path.read_bytes() for path in (folder / "results").iterdir()}
    for path in (orders / "attempts").iterdir():
        path.unlink()
    for path in (folder / "results").iterdir():
        path.unlink()
    statuses = [run("kill", seed=2) for _ in range(2)]
    assert statuses == [-9, 0]
    assert len(lines(orders / "done.jsonl")) == 1
    assert {path.name: path.read_bytes() for path in (folder / "results").iterdir()} == whole


def test_other_pythons_than_jobs_are_not_disturbed(job):
    folder, orders, _ = job
    (orders / "mode").write_text("kill")
    environment = {**os.environ, "TORTURE": str(orders), "PYTHONPATH": str(orders)}
    done = subprocess.run([sys.executable, "-c", "print(1)"], env=environment, cwd=folder)
    assert done.returncode == 0 and not (orders / "begun.jsonl").exists()
