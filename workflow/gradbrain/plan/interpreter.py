"""How jobs find the interpreter that runs Snakemake, however it was called."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def shell_prefix() -> str:
    """Start every command with the folder of this interpreter on the search path.

    A prefix and not a part of the commands: another interpreter is no reason to run them again.
    Snakemake's scheduler fails without any search path, so the system's own is set where there
    is none.
    """
    os.environ["PATH"] = os.environ.get("PATH") or os.defpath
    folder = shlex.quote(str(Path(sys.executable).parent))
    return f"set -euo pipefail; export PATH={folder}:$PATH; "
