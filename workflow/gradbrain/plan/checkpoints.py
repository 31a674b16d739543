"""Checkpoints held against their networks before any job, in a process that imports torch.

Planning imports none. What was found right is remembered until a file or an entry changes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Remembers what was right; beside what Snakemake remembers.
MEMORY = Path(".snakemake") / "gradbrain-checkpoints.json"
#: Raised with what is looked at.
VERSION = 1


def wrong_checkpoints(
    entries: Mapping[str, str],
    files: Mapping[str, Sequence[str]],
    *,
    script: str,
    data: str,
    plugins: Sequence[str],
    memory: Path = MEMORY,
) -> list[str]:
    """Say what is wrong with checkpoints that are here.

    Parameters
    ----------
    entries
        Model -> its registry entry as JSON.
    files
        Model -> the files of its weights, which are there.
    script
        The command-line entry that looks.
    data
        Folder below which checkpoints lie.
    plugins
        Files of plug-ins.
    memory
        File that remembers what was right.

    Returns
    -------
    list of str
        One sentence per model that cannot be built; empty where the process cannot import what it
        needs, which the jobs will say.
    """
    marks = {model: _mark(entry, files[model]) for model, entry in entries.items()}
    known = _remembered(memory)
    new = [model for model in entries if marks[model] not in known]
    if not new:
        return []
    command = [
        *(sys.executable, script, "--data", data, "--models", *(entries[model] for model in new)),
        *(("--plugins", *plugins) if plugins else ()),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        # torch may be in the environments of the jobs alone.
        if any("ModuleNotFoundError" in line for line in last):
            return []
        return [f"the checkpoints of {', '.join(new)} could not be looked at: {' '.join(last)}"]
    found: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    right = known | {marks[model] for model in new if not found[model]}
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(sorted(right)), encoding="utf-8")
    return [problem for problem in found.values() if problem]


def _mark(entry: str, files: Sequence[str]) -> str:
    """Digest of an entry and of the state of its files; not of their gigabytes."""
    states = [(path, Path(path).stat()) for path in files]
    content = [VERSION, entry, [(path, state.st_size, state.st_mtime_ns) for path, state in states]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _remembered(memory: Path) -> set[str]:
    try:
        return set(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return set()
