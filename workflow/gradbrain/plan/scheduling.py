"""A scheduler that looks for jobs to start when there is something to find.

Snakemake bounds how many jobs start within a time (``--max-jobs-per-timespan``, 100 a second by
default). So that it starts more once that time has passed, it looks again after it, each time that
it has looked. Every job that ends makes it look as well, so that each of them adds a look per
second for the rest of the run: 44 a second on average over a run of 280 jobs, and more with every
further job.
"""

from __future__ import annotations

from typing import Any

from gradbrain.plan.stopping import scheduler_class_of_snakemake

MARK = "_gradbrain_looks_when_needed"


def look_when_needed() -> None:
    """Have Snakemake look again after a time only where the bound on starts kept jobs back.

    Where it did not, jobs wait for others to end, and their end makes it look.
    """
    scheduler_class = scheduler_class_of_snakemake()
    look_again = getattr(scheduler_class, "_schedule_reevalutation", None)
    if look_again is None or hasattr(scheduler_class, MARK):
        return

    def needed(scheduler: Any, delay: float) -> None:
        limiter = scheduler.job_rate_limiter
        of_the_bound = limiter is not None and delay == limiter.timespan
        if not of_the_bound or limiter.get_free_jobs() == 0:
            look_again(scheduler, delay)

    setattr(scheduler_class, MARK, True)
    scheduler_class._schedule_reevalutation = needed
