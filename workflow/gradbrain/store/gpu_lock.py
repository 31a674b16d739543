"""One job per GPU on a machine with several, whoever starts the jobs.

Snakemake's resource ``gpu`` counts GPUs but does not say which one a job may take, and every
process would take the first. Each process therefore locks a file named after the GPU that it uses.
The operating system drops the lock when the process ends, however it ends.
"""

from __future__ import annotations

import getpass
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

SECONDS_BETWEEN_TRIES = 1.0
# A lock lasts as long as its object: until the process ends.
_held: dict[tuple[str, ...], tuple[int, FileLock]] = {}


def lock_folder() -> Path:
    """Folder of the locks, one per user and machine."""
    return Path(tempfile.gettempdir()) / f"gradbrain-gpus-{getpass.getuser()}"


def claim_gpu(uuids: Sequence[str], *, folder: Path | None = None) -> int:
    """Take a GPU for this process until it ends; wait where other jobs have taken all of them.

    Parameters
    ----------
    uuids
        Identities of the GPUs that the process sees, in their order.
    folder
        Where the locks lie.

    Returns
    -------
    int
        Position of the GPU in `uuids`; the same for every call of a process.
    """
    key = tuple(uuids)
    if key in _held:
        return _held[key][0]
    folder = lock_folder() if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    waiting = False
    while True:
        for index, uuid in enumerate(uuids):
            lock = FileLock(folder / f"{uuid}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            _held[key] = (index, lock)
            log.info("this job has GPU %d of %d (%s)", index, len(uuids), uuid)
            return index
        if not waiting:
            log.warning(
                "all %d GPUs are taken by other jobs; waiting for one. Give Snakemake their "
                "number, so that it starts no more jobs than that: --resources gpu=%d",
                len(uuids),
                len(uuids),
            )
            waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def use_free_gpu(cuda: Any, *, folder: Path | None = None) -> None:
    """Make a GPU that no other job has taken the current one of this process.

    Where a process sees a single GPU there is nothing to choose: Slurm shows each job its own.

    Parameters
    ----------
    cuda
        ``torch.cuda``.
    folder
        Where the locks lie.
    """
    count = cuda.device_count()
    if count > 1:
        uuids = [str(cuda.get_device_properties(index).uuid) for index in range(count)]
        cuda.set_device(claim_gpu(uuids, folder=folder))
