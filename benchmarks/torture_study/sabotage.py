"""Disturbs jobs of a study; lies as ``sitecustomize.py`` on the path of every Python of a run.

What it does is said by files of the folder that ``TORTURE`` names: ``mode`` (``record``, ``kill``
or ``full``), ``seed``, and ``known.jsonl``, what jobs did in an undisturbed run: how many times
they opened a file of the results for writing, made a folder, renamed or removed something there,
and their processor time. A job is disturbed at its first attempt, and at some of the next two,
before one of these calls or after a share of its processor time, both by chance. What was done is a
line of ``done.jsonl``; every job that begins is one of ``begun.jsonl``.
"""

import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

FOLDER = os.environ.get("TORTURE", "")
CALLS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
MOST_ATTEMPTS, AGAIN = 3, 0.25


def job_of(words):
    """Script and key of a job; None for other Pythons."""
    scripts = [word for word in words[1:2] if Path(word).parent.name == "scripts"]
    if not scripts or not any(word.startswith("--output") for word in words):
        return None
    return Path(scripts[0]).stem, hashlib.sha256("\0".join(words[1:]).encode()).hexdigest()[:16]


def append(name, **row):
    """Append a line to a file of the folder, whole, by whichever process."""
    line = (json.dumps(row) + "\n").encode()
    file = os.open(f"{FOLDER}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, line)
    os.close(file)


def log_of():
    """Where what the job says goes."""
    try:
        return str(Path("/proc/self/fd/2").readlink())
    except OSError:
        return ""


def seconds_of(process):
    """Processor time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Counter:
    """Counts calls that change results, and disturbs before one of them."""

    def __init__(self, disturb=None, at=0):
        self.n, self.at, self.disturb = 0, at, disturb
        self.process, self.busy = os.getpid(), False
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        """See an event of the interpreter."""
        if event != "open" and event not in CALLS:
            return
        if self.busy or os.getpid() != self.process or "results" not in str(arguments[0]):
            return
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        self.n += 1
        if self.n == self.at and self.disturb is not None:
            self.busy = True
            self.disturb()
            self.busy = False


def record(script, key):
    """Write down, when the job ends, what it did."""
    import atexit

    counter = Counter()

    def finish():
        append("known.jsonl", script=script, key=key, calls=counter.n, seconds=time.process_time())

    atexit.register(finish)


def kill_self(**row):
    """End this process as nothing can hinder."""
    append("done.jsonl", **row)
    os.kill(os.getpid(), 9)


def kill_later(seconds, **row):
    """Have another process end this one once it has taken so much processor time."""
    parent = os.getpid()
    if os.fork():
        return
    os.closerange(0, 64)
    try:
        while os.getppid() == parent and seconds_of(parent) < seconds:
            time.sleep(0.005)
        if os.getppid() == parent:
            append("done.jsonl", **row)
            os.kill(parent, 9)
    finally:
        os._exit(0)


def fill(filler):
    """Take all the room that is left on the disk of the results."""
    import atexit

    atexit.register(filler.unlink, missing_ok=True)
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def begin():
    """Look whether this process is a job, and what is to be done to it."""
    found = job_of(sys.orig_argv)
    if found is None:
        return
    script, key = found
    folder = Path(FOLDER)
    mode = (folder / "mode").read_text()
    append(f"attempts/{key}", process=os.getpid())
    attempt = len((folder / "attempts" / key).read_text().splitlines()) - 1
    append("begun.jsonl", script=script, key=key, attempt=attempt, log=log_of(), mode=mode)
    if mode == "record":
        record(script, key)
        return
    known = next(
        (
            row
            for row in map(json.loads, (folder / "known.jsonl").read_text().splitlines())
            if row["key"] == key
        ),
        None,
    )
    rng = random.Random(f"{(folder / 'seed').read_text()}/{key}/{attempt}")
    if known is None or attempt >= MOST_ATTEMPTS or (attempt and rng.random() > AGAIN):
        return
    about = {"script": script, "key": key, "attempt": attempt, "log": log_of()}
    at = rng.randint(1, max(1, known["calls"]))
    if mode == "full":
        filler = Path("results") / "filler"
        about["where"] = f"before call {at} of {known['calls']}"

        def disturb():
            append("done.jsonl", **about)
            fill(filler)

        Counter(disturb, at)
    elif mode == "kill" and rng.random() < 0.5 and known["calls"]:
        where = f"before call {at} of {known['calls']}"
        Counter(lambda: kill_self(**about, where=where), at)
    elif mode == "kill":
        share = rng.random()
        where = f"after {share:.0%} of its processor time"
        kill_later(share * known["seconds"], **about, where=where)


if FOLDER:
    begin()
