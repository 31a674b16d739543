"""How often Snakemake looks for jobs: when one ends, and where its own bound kept some back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "workflow"
N_JOBS, SECONDS_OF_LAST_JOB = 30, 5
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(LIBRARY)!r})
from snakemake.scheduling.job_scheduler import JobScheduler
from gradbrain.plan.scheduling import look_when_needed
if {{mended}}:
    look_when_needed()
look = JobScheduler.job_selector
def counted(scheduler, jobs):
    with open("looks", "a") as file:
        file.write("x")
    return look(scheduler, jobs)
JobScheduler.job_selector = counted
rule all:
    input: "last", "waits"
rule one:
    output: touch("{{{{n}}}}.txt")
rule last:
    input: expand("{{{{n}}}}.txt", n=range({N_JOBS}))
    output: touch("last")
    threads: 2
    shell: "sleep {SECONDS_OF_LAST_JOB}"
# Is ready with the one before it, and there is no room for both.
rule waits:
    input: expand("{{{{n}}}}.txt", n=range({N_JOBS}))
    output: touch("waits")
    threads: 2
"""


def looks_of(folder, *options, mended=True):
    """How often a run of all jobs looked for some to start."""
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE.format(mended=mended))
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (folder / "last").exists()
    assert (folder / "waits").exists()
    return len((folder / "looks").read_text())


def test_ended_jobs_add_no_looks_to_the_rest_of_a_run(tmp_path):
    # Without the mechanism each of 30 jobs adds one a second while the last ones run.
    assert looks_of(tmp_path / "as_it_is", mended=False) > 2 * N_JOBS + 20
    assert looks_of(tmp_path / "mended") <= 2 * N_JOBS


def test_jobs_that_a_bound_kept_back_are_started_after_its_time(tmp_path):
    assert looks_of(tmp_path / "bounded", "--max-jobs-per-timespan", "20/1s") >= 2
