"""One writer per result: a lock that the operating system drops when its process ends.

The lock is ``flock`` on a hidden file beside the result. It holds between processes of one machine,
and between machines where the file system carries it: NFS 4 (and NFS 3 with lockd), GPFS, CephFS,
Lustre mounted with ``flock``. Lustre mounted with ``localflock`` and BeeGFS by default keep it
within one machine: two machines then do not see each other's. Where a file system has no ``flock``
at all, the file says who wrote it, and counts as long as that process may be alive.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

from gradbrain.store.errors import StoreError

log = logging.getLogger(__name__)

LOCK = ".gradbrain-lock"
_HELD_ELSEWHERE = {errno.EAGAIN, errno.EACCES}
_NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


def lock_path(path: Path) -> Path:
    """File whose lock the writer of a result holds."""
    return path.parent / f".{path.name}{LOCK}"


def is_held(lock: Path) -> bool:
    """Tell whether some process holds a lock, by its file."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD_ELSEWHERE
    finally:
        os.close(file)
    return False


class WriteLock:
    """Held from its making until :meth:`release`, or until the process ends, however it ends.

    Parameters
    ----------
    path
        The result; its folder must exist.

    Raises
    ------
    StoreError
        Another process writes it.
    OSError
        The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = lock_path(path)
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._lock(path)
                if self._is_current():
                    break
            except BaseException:
                os.close(self._file)
                raise
            # Its last holder removed the file after it was opened here.
            os.close(self._file)
        try:
            self._say_who()
        except BaseException:
            # On a full disk there is a file and nothing in it.
            self.release()
            raise

    def _say_who(self) -> None:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(holder).encode(), 0)

    def _lock(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD_ELSEWHERE:
                raise _is_written(path, self._holder()) from None
            if error.errno not in _NO_LOCKS_HERE:
                raise
            log.warning("%s: the file system has no locks (%s)", path.parent, error.strerror)
            holder = self._holder()
            if holder and not _is_dead(holder):
                raise _is_written(path, holder, remove=self._path) from None

    def _is_current(self) -> bool:
        """Whether the file that is locked is still the one that others would open."""
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    def _holder(self) -> dict[str, Any]:
        try:
            holder = json.loads(os.pread(self._file, 4096, 0) or b"{}")
        except ValueError:
            return {}
        return holder if isinstance(holder, dict) else {}

    def release(self) -> None:
        """Let others write; harmless when called again."""
        if self._file >= 0:
            # Removed while it is held: whoever has it open then sees that it is gone.
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; of other machines nothing is known."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError):
        pass
    return False


def _is_written(path: Path, holder: dict[str, Any], *, remove: Path | None = None) -> StoreError:
    who = "another process"
    if holder:
        who = "process {pid} on {host}, since {since},".format_map({"since": "?", **holder})
    more = f"; if it has ended: rm {remove}" if remove else ""
    return StoreError(
        f"{path}: {who} is writing it; a job that outlived its Snakemake may be left. Wait for it, "
        f"or end it (kill {holder.get('pid', 'PID')} there), and run again{more}"
    )
