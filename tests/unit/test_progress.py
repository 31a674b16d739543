"""What a run prints: a line per finished job, with what it learnt, counts and the time left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from snakemake_logger_plugin_gradbrain import Job, Progress, read_log, words

from gradbrain.store.highlights import highest

ROOT = Path(__file__).resolve().parents[2]


def test_the_last_thing_that_a_log_says_was_learnt_is_read_with_its_warnings(tmp_path):
    log = tmp_path / "job.log"
    log.write_text(
        "2026-11-29 10:00:00,000 INFO learnt: an earlier attempt\n"
        "2026-11-29 10:00:01,000 WARNING layer b: signal is zero for 5 of 320 images\n"
        "2026-11-29 10:00:02,000 INFO learnt: 320 images in 18 groups\n"
    )
    assert read_log([log]) == ("320 images in 18 groups", 1)
    assert read_log([tmp_path / "absent.log"]) == ("", 0)


def test_a_finished_job_is_one_line_with_counts_and_the_time_left(tmp_path):
    log = tmp_path / "logs" / "a.log"
    log.parent.mkdir()
    log.write_text("10:00 INFO learnt: activation r 0.21 in LO at blocks.4\n10:01 WARNING few\n")
    progress = Progress(tmp_path)
    progress.plan({"fit": 5, "collect": 1, "total": 6})
    reason = "Input files updated by\n another job: " + "x" * 200
    first = progress.start(1, Job("fit", "Fit a", ["logs/a.log"], start=100.0), reason)
    assert first.startswith("fit: 5 jobs (Input files updated by another job: xxx")
    assert len(first) < 120 and first.endswith("…)")
    assert progress.start(2, Job("fit", "Fit b", start=100.0), "Missing output files: b") is None
    # Four are left, two at a time, 20 seconds each.
    assert progress.finish(1, 120.0) == (
        "1 of 6 · Fit a: activation r 0.21 in LO at blocks.4 · 1 warning in logs/a.log"
        " · 1 of 5 in 20 s, 40 s left"
    )
    assert progress.finish(2, 140.0) == "2 of 6 · Fit b · 2 of 5 in 40 s, 90 s left"
    assert progress.start(3, Job("collect", "Collect", []), "") == "collect: 1 job"


def test_a_failed_job_is_no_longer_among_those_that_run():
    progress = Progress()
    progress.plan({"fit": 4, "total": 4})
    for number in (1, 2):
        progress.start(number, Job("fit", f"Fit {number}", [], start=0.0), "")
    progress.fail(1)
    # Three are left; one runs at a time.
    assert progress.finish(2, 10.0) == "1 of 4 · Fit 2 · 1 of 4 in 10 s, 30 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.2, "8 s"), (99.4, "99 s"), (150, "2 min"), (7500, "2 h 5 min")]
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert words(seconds) == text


def test_a_table_tells_where_activation_and_signals_are_highest():
    table = pd.DataFrame(
        {
            "signal": ["activation", "activation", "gradient", "shuffled"],
            "role": ["activation", "activation", "learning", "control"],
            "layer": ["a", "b", "b", "b"],
            "roi": ["V1", "LO", "", ""],
            "time": [float("nan"), float("nan"), 0.12, 0.2],
            "value": [0.1, 0.214, 0.05, 0.9],
        }
    )
    assert highest(table, "value", "r") == (
        "activation r 0.21 in LO at b, gradient r 0.05 at 120 ms at b"
    )
    assert highest(table.assign(value=float("nan")), "value", "r") == "no r is known"


SNAKEFILE = """
rule all:
    input: "b.txt"

rule first:
    output: "a.txt"
    log: "a.log"
    message: "Make the first"
    shell: "echo '10:00 INFO learnt: 3 images' > {log}; touch {output}"

rule second:
    input: "a.txt"
    output: "b.txt"
    message: "Make the second"
    shell: "test -e allowed && touch {output}"
"""


def snakemake(folder: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "gradbrain", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_snakemake_prints_our_lines_its_own_errors_and_keeps_the_rest_in_its_log(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    code, printed = snakemake(tmp_path)
    assert code == 1
    assert "1 of 3 · Make the first: 3 images\n" in printed
    assert "first: 1 job\n" in printed
    assert "Error in rule second:" in printed and "test -e allowed" in printed
    for noise in ("Select jobs to execute", "Finished jobid", "Reason: ", "steps ("):
        assert noise not in printed
    [kept] = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert "Finished jobid" in kept.read_text() and "Reason: " in kept.read_text()
    (tmp_path / "allowed").touch()
    code, printed = snakemake(tmp_path)
    assert code == 0
    assert "1 of 2 · Make the second\n" in printed


def test_a_dry_run_and_quiet_look_as_always(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    _, printed = snakemake(tmp_path, "--dry-run")
    assert "Make the first" in printed and "Reason: Missing output files: a.txt" in printed
    (tmp_path / "allowed").touch()
    code, printed = snakemake(tmp_path, "--quiet", "all")
    assert (code, printed) == (0, "")
