"""What allocator and garbage collector of a job are told, so that neither takes its time."""

from __future__ import annotations

import ctypes
import gc
import sys

# Parameters of mallopt(3), from malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Larger blocks go back to the system when they are freed, so that a job of many GB holds no more
#: than it needs.
LARGEST_KEPT_BLOCK = 256 * 2**20
#: Freed memory that is kept; what lies above goes back.
KEPT = 2**30
PYTHONS_OWN = gc.get_threshold()


#: New objects after which the collector looks for garbage, and its rounds after which it looks at
#: older ones, while modules are imported.
WHILE_IMPORTING = (200_000, 10, 10)


def collect_rarely() -> None:
    """Have the garbage collector look less often, as long as what is made stays.

    Imports and plans make hundreds of thousands of objects and drop next to none: to look at all
    of them after every 700 takes a sixth of the start of a job.
    """
    gc.set_threshold(*WHILE_IMPORTING)


def collect_as_usual() -> None:
    """Take up Python's own pace, without what is there by now."""
    gc.freeze()
    gc.set_threshold(*PYTHONS_OWN)


def keep_freed_memory() -> bool:
    """Ask the allocator of the C library to reuse freed blocks up to 256 MiB.

    By default glibc maps every block of some MB anew and hands it back when it is freed; the system
    then clears it page by page. A network on a CPU, which frees an output of each layer for every
    batch, spends as long on that as on its arithmetic (benchmarks/bench_allocator.py). No
    number changes.

    Returns
    -------
    bool
        Whether it was done: False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    set_sizes = [
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BLOCK),
        mallopt(M_TRIM_THRESHOLD, KEPT),
    ]
    return all(result == 1 for result in set_sizes)
