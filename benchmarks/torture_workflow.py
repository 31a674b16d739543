"""Disturb whole runs of a study: killed jobs, a killed Snakemake, full disks, two runs at once.

    python benchmarks/torture_workflow.py kills --seeds 0:4 --out torture.jsonl
    python benchmarks/torture_workflow.py stops --seeds 0:2 --out torture.jsonl
    python benchmarks/torture_workflow.py full --seeds 0:2 --out torture.jsonl
    python benchmarks/torture_workflow.py two --seeds 0:8 --out torture.jsonl
    python benchmarks/torture_workflow.py slurm --seeds 0:1 --out torture.jsonl

A seed is one study (``benchmarks/torture_study``) from nothing to the report, with as many faults
as come its way; of killed jobs and full disks even seeds work by layer, odd ones by model. It is
run again until it is done, and
then every file of its results is compared, byte by byte, with an undisturbed run, which is made
once and kept in ``--scratch``. A fault is one line of the file; seeds that are there already are
not repeated. Faults after which anything differs, is missing or left over, or that were told in
another way than one clear line, are printed, and end the campaign with 1.

``kills``: SIGKILL to every job at its first attempt, and to some at the next two, before one of
their calls that change the results or after a share of their processor time. ``stops``: Snakemake
itself. ``full``: all the room on the disk of the results is taken while a job runs (a small tmpfs;
needs user namespaces). ``two``: a second run in the same folder. ``slurm``: ``scancel`` on a Slurm
that is started for it on this machine, as root.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import psutil

from gradbrain.store.atomic import TEMPORARY
from gradbrain.store.file_digests import sha256_of
from gradbrain.store.write_lock import LOCK

STUDIES = ROOT / "benchmarks" / "torture_study"
CODE = (
    *("Snakefile", "workflow", "scripts", "config", "profiles", "envs"),
    *("tests/workflow/tiny", "tests/workflow/learning_rules", "benchmarks/torture_study"),
    # For the Slurm profile.
    "slurm",
)
UNITS = ("by_layer", "by_model")
#: What varies from run to run, and no rule reads.
VARYING = (".provenance.json", ".snakemake_timestamp")
SECONDS_FOR_ALL, MOST_RUNS, MOST_STOPS = 3600, 60, 40
FINE = ("equal", "refused", "no room was needed", "refused by name")


# --- a folder in which a study is run ------------------------------------------------------------


@dataclass(frozen=True)
class Checkout:
    """A copy of the code in which a study is run, and what disturbs its jobs.

    Attributes
    ----------
    folder
        Where the copy lies.
    study
        Name of the config file.
    """

    folder: Path
    study: str

    @property
    def orders(self) -> Path:
        """Folder that says how jobs are disturbed."""
        return self.folder / "torture"

    def order(self, mode: str, seed: object = 0) -> None:
        """Say what is done to jobs that begin from now on."""
        self.orders.mkdir(exist_ok=True)
        (self.orders / "attempts").mkdir(exist_ok=True)
        shutil.copy2(STUDIES / "sabotage.py", self.orders / "sitecustomize.py")
        (self.orders / "mode").write_text(mode)
        (self.orders / "seed").write_text(str(seed))

    def command(self, *arguments: str) -> list[str]:
        """Command line of Snakemake, as a user would type it."""
        config = f"benchmarks/torture_study/{self.study}.yaml"
        program = [sys.executable, "-m", "snakemake", "--configfile", config, "--nocolor"]
        return [*program, *arguments]

    def environment(self) -> dict[str, str]:
        """Environment in which jobs are disturbed."""
        more = {"TORTURE": str(self.orders), "PYTHONPATH": str(self.orders)}
        return {**os.environ, **more, "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str, cores: int = 1) -> subprocess.Popen[bytes]:
        """Start Snakemake in a session of its own; what it says goes to ``said.log``."""
        with (self.folder / "said.log").open("ab") as said:
            return subprocess.Popen(
                self.command("--cores", str(cores), *arguments),
                cwd=self.folder,
                env=self.environment(),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str, cores: int = 1) -> int:
        """Run Snakemake to its end; returns its status."""
        return self.start(*arguments, cores=cores).wait(SECONDS_FOR_ALL)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What jobs wrote down."""
        file = self.orders / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def said(self) -> str:
        """The end of what Snakemake said."""
        return (self.folder / "said.log").read_text(errors="replace")[-3000:]


def copy_code(folder: Path, study: str) -> Checkout:
    """Copy the code into a folder."""
    for name in CODE:
        source, target = ROOT / name, folder / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return Checkout(folder, study)


def contents(checkout: Checkout) -> dict[str, str]:
    """SHA-256 of every result by its path, but for what varies from run to run."""
    results = checkout.folder / "results"
    return {
        file.relative_to(results).as_posix(): sha256_of(file)
        for file in sorted(results.rglob("*"))
        if file.is_file() and not file.name.endswith(VARYING)
    }


def left_over(checkout: Checkout) -> list[str]:
    """What writers leave that are killed: drafts, locks, layers that wait."""
    names = (TEMPORARY, LOCK, ".finished")
    found = sorted((checkout.folder / "results").rglob("*"))
    return [str(path) for path in found if any(name in path.name for name in names)]


def verified(checkout: Checkout) -> bool:
    """Whether ``verify_results.py`` finds nothing."""
    script = checkout.folder / "scripts" / "verify_results.py"
    config = f"benchmarks/torture_study/{checkout.study}.yaml"
    command = [sys.executable, str(script), "results", "--configfile", config]
    done = subprocess.run(command, cwd=checkout.folder, capture_output=True, text=True)
    return done.returncode == 0


def differences(checkout: Checkout, whole: dict[str, str]) -> list[str]:
    """In what results differ from those of an undisturbed run; empty where in nothing."""
    found = contents(checkout)
    told = [f"missing: {name}" for name in sorted(set(whole) - set(found))]
    told += [f"besides: {name}" for name in sorted(set(found) - set(whole))]
    told += [
        f"differs: {name}" for name in sorted(whole) if found.get(name, whole[name]) != whole[name]
    ]
    told += [f"left over: {name}" for name in left_over(checkout)]
    if not verified(checkout):
        told.append("verify_results.py finds faults")
    return told


def undisturbed(scratch: Path, study: str) -> tuple[Path, dict[str, str]]:
    """What jobs do in a run that nothing disturbs, and its results; made once."""
    kept = scratch / f"undisturbed_{study}"
    if not (kept / "contents.json").exists():
        shutil.rmtree(kept, ignore_errors=True)
        checkout = copy_code(kept, study)
        checkout.order("record")
        if checkout.run() != 0:
            raise SystemExit(f"the undisturbed run of {study} failed:\n{checkout.said()}")
        (kept / "contents.json").write_text(json.dumps(contents(checkout)))
    return kept / "torture" / "known.jsonl", json.loads((kept / "contents.json").read_text())


def disturbed_checkout(scratch: Path, study: str, mode: str, seed: object) -> Checkout:
    """A fresh copy of the code whose jobs are disturbed."""
    known, _ = undisturbed(scratch, study)
    folder = scratch / f"{mode}_{study}_{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    checkout = copy_code(folder, study)
    checkout.order(mode, seed)
    shutil.copy2(known, checkout.orders)
    return checkout


def run_until_done(checkout: Checkout, *arguments: str) -> int:
    """Run Snakemake again and again, as long as jobs are disturbed; returns how many times.

    Raises
    ------
    SystemExit
        A run fails in which nothing was disturbed.
    """
    for number in range(1, MOST_RUNS):
        before = len(checkout.lines("done.jsonl"))
        if checkout.run("--keep-going", *arguments) == 0:
            return number
        if len(checkout.lines("done.jsonl")) == before:
            raise SystemExit(f"a run failed that nothing disturbed:\n{checkout.said()}")
    raise SystemExit(f"not done after {MOST_RUNS} runs:\n{checkout.said()}")


# --- killed jobs ---------------------------------------------------------------------------------


def kills(seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Kill every job of a study; rerun by hand, or by Snakemake's own retries."""
    study = UNITS[seed % 2]
    checkout = disturbed_checkout(scratch, study, "kill", seed)
    # As profiles do that retry; then a killed job is run again by the same Snakemake.
    retries = ("--retries", "3") if seed % 4 >= 2 else ()
    n_runs = run_until_done(checkout, *retries)
    wrong = differences(checkout, undisturbed(scratch, study)[1])
    for row in checkout.lines("done.jsonl"):
        yield {
            "target": row["script"],
            "fault": f"SIGKILL of {row['script']}",
            "where": f"{study}, attempt {row['attempt'] + 1}, {row['where']}",
            "outcome": "equal" if not wrong else "OTHER RESULTS",
            "told": "; ".join(wrong[:20]) or f"{n_runs} runs",
        }
    if not wrong:
        shutil.rmtree(checkout.folder)


# --- a full disk ---------------------------------------------------------------------------------

_SMALL_DISK = """
set -e
mount -t tmpfs -o size={size}m tmpfs {mount}
exec {command}
"""


def full(seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Take all the room on the disk of the results while a job runs, once per job."""
    study = UNITS[seed % 2]
    checkout = disturbed_checkout(scratch, study, "full", seed)
    (checkout.folder / "results").mkdir()
    program = [sys.executable, str(Path(__file__).resolve()), "full-inside", "--seeds"]
    program += [f"{seed}:{seed + 1}", "--scratch", str(scratch)]
    script = _SMALL_DISK.format(
        size=64, mount=checkout.folder / "results", command=shlex.join(program)
    )
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the run on a small disk failed: {done.stdout}\n{done.stderr}")
    for line in done.stdout.splitlines():
        yield json.loads(line)
    shutil.rmtree(checkout.folder)


def full_inside(seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """The same, where the small disk is mounted."""
    study = UNITS[seed % 2]
    checkout = Checkout(scratch / f"full_{study}_{seed}", study)
    told: dict[tuple[str, int], tuple[str, str]] = {}
    seen = 0
    for _ in range(MOST_RUNS):
        status = checkout.run("--keep-going")
        rows = checkout.lines("done.jsonl")
        for row in rows[seen:]:
            told[row["key"], row["attempt"]] = _told_of_room(Path(row["log"]), checkout)
        if status == 0:
            break
        if len(rows) == seen:
            raise SystemExit(f"a run failed that nothing disturbed:\n{checkout.said()}")
        seen = len(rows)
    wrong = differences(checkout, undisturbed(scratch, study)[1])
    for row in checkout.lines("done.jsonl"):
        outcome, line = told[row["key"], row["attempt"]]
        yield {
            "target": row["script"],
            "fault": f"disk full in {row['script']}",
            "where": f"{study}, attempt {row['attempt'] + 1}, {row['where']}",
            "outcome": outcome if not wrong else "OTHER RESULTS",
            "told": "; ".join(wrong[:20]) or line,
        }


def _told_of_room(log: Path, checkout: Checkout) -> tuple[str, str]:
    """What a job said of a full disk, by its log; the log of one that ended well says nothing."""
    text = (checkout.folder / log).read_text(errors="replace") if log.is_file() else ""
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    if "Traceback" in text:
        return "TRACEBACK", text[-1500:]
    if not errors:
        return "no room was needed", ""
    good = len(errors) == 1 and "the disk is full" in errors[0]
    return ("refused" if good else "ANOTHER ERROR"), errors[0]


# --- Snakemake itself ----------------------------------------------------------------------------

STOPS = (
    "SIGKILL of Snakemake, its jobs live on",
    "SIGKILL of Snakemake and its jobs",
    "SIGTERM to the group, SIGKILL after a grace",
    "SIGTERM to Snakemake alone",
    "SIGINT to the group, as Ctrl-C",
)
GRACE_S = 20


def stops(seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Stop Snakemake over and over, until the study is done nevertheless."""
    rng = random.Random(f"stops/{seed}")
    study = "small"
    checkout = disturbed_checkout(scratch, study, "record", f"stops-{seed}")
    made: list[dict[str, Any]] = []
    failures = 0
    while True:
        begun = len(checkout.lines("begun.jsonl"))
        run = checkout.start("--keep-going")
        after = rng.randint(1, 4) if len(made) < MOST_STOPS else sys.maxsize
        if not _wait_for_jobs(checkout, begun + after, run):
            if run.returncode == 0:
                break
            # A job that outlived its Snakemake may still write what this run would have written.
            failures += 1
            if failures > MOST_RUNS:
                raise SystemExit(f"does not get done:\n{checkout.said()}")
            _wait_for_orphans(checkout)
            _unlock(checkout)
            continue
        time.sleep(rng.random() * 1.5)
        how = STOPS[rng.randrange(len(STOPS))]
        ended = _stop(run, how)
        orphans = len(_jobs_of(checkout))
        _unlock(checkout)
        made.append({"fault": how, "where": f"{study}, {orphans} jobs alive", "told": ended})
    _wait_for_orphans(checkout)
    # Once more: what an orphan wrote last may be newer than what was made of it.
    status = checkout.run()
    wrong = differences(checkout, undisturbed(scratch, study)[1])
    if status:
        wrong.append("the last run failed")
    for row in made:
        bad = wrong or row["told"] == "DID NOT END"
        told = "; ".join(wrong[:20]) or row["told"]
        outcome = "OTHER RESULTS" if bad else "equal"
        yield {"target": study, **row, "outcome": outcome, "told": told}
    if not wrong:
        shutil.rmtree(checkout.folder)


def _wait_for_jobs(checkout: Checkout, n_begun: int, run: subprocess.Popen[bytes]) -> bool:
    """Wait until so many jobs have begun; tells whether the run is still there."""
    until = time.monotonic() + SECONDS_FOR_ALL
    while len(checkout.lines("begun.jsonl")) < n_begun:
        if run.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.05)
    return run.poll() is None


def _stop(run: subprocess.Popen[bytes], how: str) -> str:
    """Stop Snakemake; returns how it ended."""
    if how == STOPS[0]:
        run.kill()
    elif how == STOPS[1]:
        os.killpg(run.pid, signal.SIGKILL)
    elif how == STOPS[3]:
        run.terminate()
    else:
        os.killpg(run.pid, signal.SIGTERM if how == STOPS[2] else signal.SIGINT)
    grace = GRACE_S if how == STOPS[2] else 300
    try:
        run.wait(grace)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return "killed after the grace" if how == STOPS[2] else "DID NOT END"
    return f"status {run.returncode}"


def _jobs_of(checkout: Checkout) -> list[psutil.Process]:
    """Jobs that run in a checkout, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(checkout.folder) and "scripts/" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _wait_for_orphans(checkout: Checkout) -> None:
    until = time.monotonic() + SECONDS_FOR_ALL
    while _jobs_of(checkout) and time.monotonic() < until:
        time.sleep(0.2)


def _unlock(checkout: Checkout) -> None:
    checkout.run("--unlock")


# --- two runs at once ----------------------------------------------------------------------------

TWO = (
    "a second Snakemake in the same folder",
    "a second Snakemake with --nolock",
    "another study that shares features",
    "another study that shares features, with --nolock",
)


def two(seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Start a second run in the folder of one that runs."""
    rng = random.Random(f"two/{seed}")
    fault = TWO[seed % len(TWO)]
    whole = undisturbed(scratch, "small")[1]
    checkout = disturbed_checkout(scratch, "small", "record", f"two-{seed}")
    other = checkout
    if "another" in fault:
        folder = checkout.folder / "benchmarks/torture_study"
        text = (folder / "small.yaml").read_text().replace("study: torture", "study: torture_too")
        (folder / "small_too.yaml").write_text(text)
        other = Checkout(checkout.folder, "small_too")
    nolock = ("--nolock",) if "--nolock" in fault else ()
    first = checkout.start("--keep-going", *nolock)
    _wait_for_jobs(checkout, rng.randint(1, 5), first)
    before = len(checkout.said())
    second = other.start("--keep-going", *nolock).wait(SECONDS_FOR_ALL)
    one = first.wait(SECONDS_FOR_ALL)
    said = (checkout.folder / "said.log").read_text(errors="replace")[before:]
    locked = "cannot be locked" in said or "LockException" in said
    told = f"first run ended with {one}, second with {second}" + (", locked" if locked else "")
    wrong = [] if nolock or (one == 0 and (second == 0 or locked)) else [told]
    for each in dict.fromkeys((checkout, other)):
        if each.run() != 0:
            wrong.append(f"the rerun failed: {each.said()}")
    found = contents(checkout)
    if other is not checkout:
        # Studies differ in their names, which stand in their results.
        found = {name: found[name] for name in found if not name.startswith("torture_too/")}
    wrong += [f"differs: {name}" for name in sorted(whole) if found.get(name) != whole[name]]
    wrong += [f"besides: {name}" for name in sorted(set(found) - set(whole))]
    wrong += [f"left over: {name}" for name in left_over(checkout)]
    if not verified(checkout):
        wrong.append("verify_results.py finds faults")
    outcome = "OTHER RESULTS" if wrong else "equal"
    yield {
        "target": "small",
        "fault": fault,
        "where": "",
        "outcome": outcome,
        "told": "; ".join(wrong[:20]) or told,
    }
    if not wrong:
        shutil.rmtree(checkout.folder)


# --- a cluster -----------------------------------------------------------------------------------

HASTE = (
    *("--slurm-init-seconds-before-status-checks", "5", "--max-status-checks-per-second", "1"),
)
N_CANCELLED = 10


def slurm(seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Cancel running jobs of a run on a Slurm of this machine; the profile tries them again."""
    sys.path.insert(0, str(ROOT / "tests"))
    from slurm.local_cluster import Site, running

    rng = random.Random(f"slurm/{seed}")
    whole = undisturbed(scratch, "small")[1]
    checkout = disturbed_checkout(scratch, "small", "record", f"slurm-{seed}")
    cancelled: list[dict[str, str]] = []
    program = str(Path(sys.executable).with_name("snakemake"))
    command = [program, "--profile", "slurm", *checkout.command()[3:], *HASTE]
    with running(Site(select="CR_Core_Memory", gpus=2, partitions=("cpu", "gpu"))) as cluster:
        environment = {**checkout.environment(), **cluster.environment}
        environment |= {"TORTURE": "", "PYTHONPATH": ""}
        for _ in range(4):
            with (checkout.folder / "said.log").open("ab") as said:
                run = subprocess.Popen(
                    command, cwd=checkout.folder, env=environment, stdout=said, stderr=said
                )
            while run.poll() is None:
                time.sleep(1 + 6 * rng.random())
                jobs = [job for job in cluster.jobs() if job["JobState"] == "RUNNING"]
                if jobs and len(cancelled) < N_CANCELLED:
                    job = rng.choice(jobs)
                    subprocess.run(["scancel", job["JobId"]], check=False)
                    cancelled.append(job)
            if run.returncode == 0:
                break
    wrong = differences(checkout, whole)
    if run.returncode:
        wrong.append(f"the run failed: {checkout.said()}")
    for job in cancelled:
        yield {
            "target": re.sub(r"[^a-z_].*", "", job.get("Comment", job.get("JobName", ""))),
            "fault": "scancel of a running job",
            "where": job.get("Comment", ""),
            "outcome": "OTHER RESULTS" if wrong else "equal",
            "told": "; ".join(wrong[:20]),
        }
    if not wrong:
        shutil.rmtree(checkout.folder)


# --- campaigns -----------------------------------------------------------------------------------

CAMPAIGNS = {"kills": kills, "stops": stops, "full": full, "two": two, "slurm": slurm}


def main(argv: Sequence[str] | None = None) -> None:
    from torture import read_log, seeds_of, table_of

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", choices=(*CAMPAIGNS, "full-inside"))
    parser.add_argument("--seeds", type=seeds_of, default=range(2), metavar="FIRST:STOP")
    parser.add_argument("--out", type=Path, default=Path("torture.jsonl"))
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()) / "gradbrain-torture",
        help="folder for undisturbed runs, and for those that are disturbed",
    )
    arguments = parser.parse_args(argv)
    scratch = arguments.scratch.resolve()
    if arguments.campaign == "full-inside":
        for row in full_inside(arguments.seeds[0], scratch):
            print(json.dumps(row))
        return
    scratch.mkdir(parents=True, exist_ok=True)
    log = read_log(arguments.out)
    done = {row["seed"] for row in log if row["campaign"] == arguments.campaign}
    bad = 0
    for seed in arguments.seeds:
        if seed in done:
            continue
        print(f"{arguments.campaign}, seed {seed}", flush=True)
        rows = list(CAMPAIGNS[arguments.campaign](seed, scratch))
        # Together: a seed that was cut short is made again as a whole.
        lines = [
            json.dumps({"campaign": arguments.campaign, "seed": seed, **row}) + "\n" for row in rows
        ]
        with arguments.out.open("a", encoding="utf-8") as out:
            out.write("".join(lines))
        for row in rows:
            if row["outcome"] not in FINE:
                bad += 1
                print(f"seed {seed}: {row}", flush=True)
    rows = [row for row in read_log(arguments.out) if row["campaign"] == arguments.campaign]
    print("\n".join(table_of(rows)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
