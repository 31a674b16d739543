"""Processor time of Snakemake while it starts many short jobs, against Snakemake as it comes.

Two runs of the same bare workflow on two cores; the one calls
:func:`gradbrain.plan.scheduling.look_when_needed`, as the project's Snakefile does. Prints a JSON
line: processor seconds of the Snakemake process itself, and how often it looked for jobs to start.

    python benchmarks/bench_scheduling.py --jobs 300
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SNAKEFILE = """
import atexit, json, resource, sys
sys.path.insert(0, {library!r})
from snakemake.scheduling.job_scheduler import JobScheduler
from gradbrain.plan.scheduling import look_when_needed
if {mended}:
    look_when_needed()
look, looks = JobScheduler.job_selector, []
def counted(scheduler, jobs):
    looks.append(len(jobs))
    return look(scheduler, jobs)
JobScheduler.job_selector = counted
def report():
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("used.json", "w") as file:
        json.dump({{"cpu_s": used.ru_utime + used.ru_stime, "looks": len(looks)}}, file)
atexit.register(report)
rule all:
    input: expand("{{n}}.txt", n=range({n_jobs}))
rule one:
    output: "{{n}}.txt"
    shell: "sleep {seconds}; touch {{output}}"
"""


def measure(n_jobs: int, seconds: float, *, mended: bool) -> dict[str, float]:
    """Run all jobs once; processor seconds, looks and wall seconds of Snakemake."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = SNAKEFILE.format(
            library=str(ROOT / "workflow"), mended=mended, n_jobs=n_jobs, seconds=seconds
        )
        (folder / "Snakefile").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy"]
        start = time.perf_counter()
        subprocess.run([*command, "--quiet", "all"], cwd=folder, check=True, capture_output=True)
        wall = time.perf_counter() - start
        used = json.loads((folder / "used.json").read_text(encoding="utf-8"))
    return {"cpu_s": round(used["cpu_s"], 2), "looks": used["looks"], "wall_s": round(wall, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="jobs")
    parser.add_argument("--seconds", type=float, default=0.4, help="seconds that each sleeps")
    arguments = parser.parse_args()
    found = {
        name: measure(arguments.jobs, arguments.seconds, mended=name == "ours")
        for name in ("snakemake", "ours")
    }
    ratio = found["ours"]["cpu_s"] / found["snakemake"]["cpu_s"]
    print(json.dumps({"jobs": arguments.jobs, **found, "cpu_ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
