"""A stop that ends: what Snakemake does when it is asked to end while its jobs run.

Snakemake answers SIGTERM in the thread that schedules, and asks for a lock that this thread may
hold already: while it cleans up after jobs that ended. A scheduler or a shell that ends a whole
process group ends the jobs first, so that the two meet, and then Snakemake waits for itself for
ever.
"""

from __future__ import annotations

import _thread
import time
from contextlib import suppress
from typing import Any

MARK = "_gradbrain_end"


def scheduler_class_of_snakemake() -> Any:
    """Class of Snakemake's scheduler; None where this version has it at another place."""
    try:
        from snakemake.scheduling.job_scheduler import JobScheduler
    except ImportError:
        return None
    return JobScheduler


def end_when_asked() -> None:
    """Have SIGTERM end this Snakemake.

    The first one lets running jobs finish and starts no others, as Snakemake means it to; the
    second ends running jobs as well, as Ctrl-C does.
    """
    scheduler_class = scheduler_class_of_snakemake()
    if scheduler_class is None or hasattr(scheduler_class, MARK):
        return
    finish = scheduler_class.exit_gracefully

    def asked(scheduler: Any, *_: Any) -> None:
        if getattr(scheduler, MARK):
            if scheduler.workflow.local_exec:
                _thread.start_new_thread(_end_jobs, ())
            raise KeyboardInterrupt
        setattr(scheduler, MARK, True)
        # In a thread of its own: the one that is interrupted here may hold the lock. A thread of
        # the module threading would take locks of its own to start.
        _thread.start_new_thread(finish, (scheduler,))

    setattr(scheduler_class, MARK, False)
    scheduler_class.exit_gracefully = asked


def _end_jobs() -> None:
    """Ask all processes below this one to end, and those that are started meanwhile."""
    import psutil

    while True:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        time.sleep(0.5)
