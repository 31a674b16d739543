"""What SIGTERM does to a run: it ends, and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "workflow"
# Jobs end while SIGTERM is on its way: it comes when the scheduler cleans up after them.
WHILE_LOCKED = """
import os, signal
from snakemake.scheduling.job_scheduler import JobScheduler
clean_up = JobScheduler._error_jobs
def interrupted(scheduler):
    if scheduler._toerror and not os.path.exists("sent"):
        open("sent", "w").close()
        os.kill(os.getpid(), signal.SIGTERM)
    clean_up(scheduler)
JobScheduler._error_jobs = interrupted
"""
SNAKEFILE = """
import sys
sys.path.insert(0, {library!r})
from gradbrain.plan.stopping import end_when_asked
end_when_asked()
{fault}
rule all:
    input: expand("{{n}}.txt", n=range(3))
rule one:
    output: "{{n}}.txt"
    shell: {command!r}
"""


def start(folder, command, fault=""):
    text = SNAKEFILE.format(library=str(LIBRARY), command=command, fault=fault)
    (folder / "Snakefile").write_text(text)
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--keep-incomplete"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end_of(run):
    """Status and output of a run that is to end by itself within a minute."""
    try:
        output, _ = run.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        output, _ = run.communicate()
        pytest.fail(f"still there after a minute:\n{output}")
    return run.returncode, output


def wait_for(path):
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path} does not come"
        time.sleep(0.05)


def wait_for_line(run, text):
    for line in run.stdout:
        if text in line:
            return
    pytest.fail(f"never said {text!r}")


def test_a_stop_that_meets_the_end_of_a_job_ends_the_run(tmp_path):
    status, output = end_of(start(tmp_path, "exit 1", WHILE_LOCKED))
    assert (tmp_path / "sent").exists()
    assert status == 1, output


def test_a_stop_of_the_whole_group_ends_the_run_and_its_jobs(tmp_path):
    run = start(tmp_path, "touch begun; sleep 600; touch {output}")
    wait_for(tmp_path / "begun")
    os.killpg(run.pid, signal.SIGTERM)
    status, output = end_of(run)
    assert status == 1, output
    assert not list(tmp_path.glob("*.txt"))


def test_a_first_stop_lets_jobs_finish_and_a_second_ends_them(tmp_path):
    run = start(tmp_path, "touch begun; sleep 1; touch {output}")
    wait_for(tmp_path / "begun")
    run.terminate()
    status, output = end_of(run)
    assert status == 1, output
    # Of three jobs on two cores: what ran was finished, what did not run was not begun.
    assert 1 <= len(list(tmp_path.glob("*.txt"))) <= 2

    folder = tmp_path / "second"
    folder.mkdir()
    run = start(folder, "touch begun; sleep 600; touch {output}")
    wait_for(folder / "begun")
    run.terminate()
    wait_for_line(run, "Will exit after finishing currently running jobs")
    run.terminate()
    status, output = end_of(run)
    assert status == 1, output
    assert not list(folder.glob("*.txt"))
