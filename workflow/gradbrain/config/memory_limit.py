"""How much memory this process may take, and what is said where that is too little."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import NamedTuple

from gradbrain.config.errors import GradbrainError

GIB = 2**30
CGROUPS, MEMBERSHIP, MACHINE = (
    Path("/sys/fs/cgroup"),
    Path("/proc/self/cgroup"),
    Path("/proc/meminfo"),
)
#: Version 1 of cgroups writes a number near 2**63 where there is no limit.
UNLIMITED = 2**60


class Limit(NamedTuple):
    """Memory that a process may take, and who says so."""

    n_bytes: int
    source: str


class TooLittleMemoryError(GradbrainError):
    """A job cannot fit into the memory that it may take: names both, and what to change."""


def memory_limit(
    cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP, machine: Path = MACHINE
) -> Limit | None:
    """Find the smallest limit on the memory of this process.

    That of its control group and of every group above it (a batch system, a container or systemd
    sets them; what exceeds one is killed without a word), of ``ulimit -v``, and of the machine.

    Parameters
    ----------
    cgroups
        Where the control groups are mounted.
    membership
        File that names the groups of this process.
    machine
        File that says how much memory there is.

    Returns
    -------
    Limit or None
        None where nothing is known, on systems without ``/proc``.
    """
    limits = [*_of_groups(cgroups, membership), *_of_machine(machine)]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(Limit(soft, "ulimit -v"))
    return min(limits, default=None)


def _of_groups(cgroups: Path, membership: Path) -> list[Limit]:
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, file = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            mount, file = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = mount / path.strip("/")
        # In a container the path may be that of the host, which is not there; its root is.
        for folder in (group, *group.parents):
            if folder.is_relative_to(mount):
                found += _of_file(folder / file)
    return found


def _of_file(file: Path) -> list[Limit]:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return []
    if not text.isdigit() or int(text) >= UNLIMITED:
        return []
    return [Limit(int(text), f"control group, {file}")]


def _of_machine(machine: Path) -> list[Limit]:
    try:
        lines = machine.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    total = [line.split()[1] for line in lines if line.startswith("MemTotal:")]
    return [Limit(int(kib) * 1024, "memory of this machine") for kib in total]


def check_fits(n_bytes: float, *, job: str, remedy: str, limit: Limit | None = None) -> None:
    """Refuse to begin what cannot fit.

    Parameters
    ----------
    n_bytes
        The least that the job needs.
    job
        What it is, e.g. ``"the fit of layer 'blocks.3'"``.
    remedy
        What to change.
    limit
        What it may take; that of this process where left out.

    Raises
    ------
    TooLittleMemoryError
        It needs more than it may take.
    """
    limit = memory_limit() if limit is None else limit
    if limit is not None and n_bytes > limit.n_bytes:
        raise TooLittleMemoryError(
            f"{job} needs {n_bytes / GIB:.1f} GiB at the least, and this job may take "
            f"{limit.n_bytes / GIB:.1f} GiB ({limit.source}): {remedy}"
        )


def out_of_memory(error: BaseException, remedy: str) -> str:
    """Say in one line that memory ran out, what was left of it, and what to change."""
    told = " ".join(str(error).split())
    limit = memory_limit()
    may = f"; this job may take {limit.n_bytes / GIB:.1f} GiB ({limit.source})" if limit else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return (
        f"memory ran out{f' ({told})' if told else ''}; the job held up to {peak:.1f} GiB{may}: "
        f"{remedy}"
    )
