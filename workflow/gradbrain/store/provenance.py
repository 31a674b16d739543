"""What varies from run to run, written beside a result where no rule reads it as input."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from gradbrain.store.atomic import write_text

PACKAGES = ("numpy", "scipy", "xarray", "zarr", "torch", "timm", "himalaya", "snakemake", "mne")
_STARTED = time.time()


def provenance_path(path: str | os.PathLike[str]) -> Path:
    """Path of the provenance file of a result."""
    path = Path(path)
    return path.with_name(path.name + ".provenance.json")


# A job may write many stores: neither changes while it runs.
@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def _git_revision() -> str | None:
    root = Path(__file__).resolve().parents[3]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write_provenance(path: str | os.PathLike[str], **facts: Any) -> None:
    """Write ``<path>.provenance.json``: machine, versions, wall time, peak memory and `facts`."""
    record = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES if name in sys.modules},
        "git_revision": _git_revision(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(_STARTED)),
        "wall_seconds": round(time.time() - _STARTED, 3),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        **facts,
    }
    write_text(provenance_path(path), json.dumps(record, indent=2, default=str) + "\n")
