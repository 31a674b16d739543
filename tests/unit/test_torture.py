"""The campaign that attacks the store: a part of it is run, and it sees what it should."""

import importlib.util
import json
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
