"""Calls of Slurm's commands for many small jobs, with job arrays and without.

Starts a Slurm of one node on this machine as ``tests/slurm`` does (Debian's packages, as root) and
runs a workflow of one rule through ``profiles/slurm``. Its peer is the same profile without arrays.
Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from slurm.local_cluster import LocalSlurm, Site, running

ARRAYS = "slurm-array-jobs: all\n"
WORKFLOW = """
rule all:
    input:
        expand("results/{{fit}}.txt", fit=range({n_jobs})),
localrules: all
rule fit:
    output: "results/{{fit}}.txt"
    shell: "echo {{wildcards.fit}} > {{output}}"
"""


def prepare(folder: Path, *, n_jobs: int, arrays: bool) -> None:
    """Write the workflow and a copy of the profile."""
    shutil.copytree(ROOT / "profiles" / "slurm", folder / "profiles" / "slurm")
    (folder / "Snakefile").write_text(WORKFLOW.format(n_jobs=n_jobs), encoding="utf-8")
    profile = folder / "profiles" / "slurm" / "config.yaml"
    text = profile.read_text(encoding="utf-8")
    if ARRAYS not in text:
        raise ValueError(f"{profile} has no line {ARRAYS.strip()!r}")
    if not arrays:
        profile.write_text(text.replace(ARRAYS, ""), encoding="utf-8")


def measure(cluster: LocalSlurm, *, n_jobs: int, arrays: bool) -> dict[str, object]:
    """Run the workflow; return calls per command of Slurm, and seconds of wall time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, n_jobs=n_jobs, arrays=arrays)
        cluster.forget()
        begin = time.monotonic()
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("snakemake")),
                *("--profile", "profiles/slurm", "--default-resources", "mem_mb=100", "runtime=5"),
            ],
            cwd=folder,
            env=cluster.environment,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - begin
        made = len(list((folder / "results").glob("*.txt")))
    if done.returncode != 0 or made != n_jobs:
        raise RuntimeError(f"{made} of {n_jobs} jobs ended well:\n{done.stdout}\n{done.stderr}")
    return {"calls": cluster.n_calls(), "seconds": round(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60, help="jobs of the rule")
    arguments = parser.parse_args()
    with running(Site(select="CR_Core")) as cluster:
        results = {
            name: measure(cluster, n_jobs=arguments.jobs, arrays=arrays)
            for name, arrays in (("arrays", True), ("single", False))
        }
    machine = {"machine": platform.machine(), "cores": os.cpu_count()}
    print(json.dumps({"benchmark": "slurm", "jobs": arguments.jobs, **machine, **results}))


if __name__ == "__main__":
    main()
