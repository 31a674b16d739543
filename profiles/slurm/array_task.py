"""Run the command of one task of a job array; called by array_task.sh on the compute node."""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib
from pathlib import Path

OPTION = "--slurm-jobstep-array-execs"


def task_command(script: str, *, task: str, first: str) -> str:
    """Find a task's command in the batch script of its array.

    Parameters
    ----------
    script
        Batch script that snakemake-executor-plugin-slurm submits: the first task's command and,
        as the value of an option, those of the others (base64 of JSON, each zlib and hex).
    task, first
        Number of the task, and of the first task of its array.

    Returns
    -------
    str
        Command for a shell.

    Raises
    ------
    ValueError
        The script is of another form, or the array has no such task.
    """
    command, option, payload = script.partition(OPTION)
    if not option:
        raise ValueError(
            f"the batch script of the job array has no {OPTION}: take slurm-array-jobs and "
            "precommand out of profiles/slurm/config.yaml for this version of "
            "snakemake-executor-plugin-slurm"
        )
    if task == first:
        return command
    commands = json.loads(base64.b64decode(payload.lstrip("=\\ \n").split()[0].strip("'\"")))
    if task not in commands:
        raise ValueError(f"the job array has no task {task}; it has {', '.join(commands)}")
    return zlib.decompress(bytes.fromhex(commands[task])).decode()


if __name__ == "__main__":
    path, task, first = sys.argv[1:]
    command = task_command(Path(path).read_text(encoding="utf-8"), task=task, first=first)
    os.execvp("sh", ["sh", "-c", command])
