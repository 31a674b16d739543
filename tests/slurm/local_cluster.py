"""A Slurm of one node on this machine, started for tests and removed after them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# Job steps do not inherit SLURM_CONF, so the files must be where Slurm looks by itself.
CONFIGURATION = Path("/etc/slurm")
FOLDER = Path("/run/gradbrain-test-slurm")
MARK = "# Written by gradbrain's tests/slurm, which removes it."
DAEMONS = ("slurmctld", "slurmd", "munged")
COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo", "scancel", "srun", "sacct")
SECONDS_TO_START = 30


class ClusterError(RuntimeError):
    """A Slurm cannot be started here; the message says why."""


@dataclass(frozen=True)
class Site:
    """How a site configures its Slurm, as far as the profile may depend on it."""

    select: str
    gpus: int = 0
    partitions: tuple[str, ...] = ("main",)

    def slurm_conf(self, folder: Path) -> str:
        """Text of slurm.conf: one node, no accounting, memory enforced by killing."""
        host = socket.gethostname().split(".")[0]
        # More than the machine may have, so that requests decide and not the machine.
        node = f"NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 State=UNKNOWN"
        lines = [
            MARK,
            "ClusterName=gradbrain",
            f"SlurmctldHost={host}(127.0.0.1)",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/munge/socket",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            f"SelectTypeParameters={self.select}",
            "AccountingStorageType=accounting_storage/none",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=1",
            "JobAcctGatherParams=OverMemoryKill",
            "SlurmdParameters=config_overrides",
            "ReturnToService=2",
            # Finished jobs are kept for what the tests ask about them.
            "MinJobAge=3600",
            "SchedulerParameters=sched_min_interval=200000,batch_sched_delay=0",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool",
            f"SlurmctldPidFile={folder}/slurmctld.pid",
            f"SlurmdPidFile={folder}/slurmd.pid",
            *(["GresTypes=gpu"] if self.gpus else []),
            f"{node} Gres=gpu:{self.gpus}" if self.gpus else node,
            *(
                f"PartitionName={name} Nodes={host} Default={'YES' if first else 'NO'} State=UP"
                for first, name in zip(
                    [True] + [False] * len(self.partitions), self.partitions, strict=False
                )
            ),
        ]
        return "\n".join(lines) + "\n"

    def gres_conf(self) -> str:
        """Text of gres.conf: character devices in the place of GPUs."""
        devices = ",".join(["/dev/null", "/dev/zero"][: self.gpus])
        return f"{MARK}\nName=gpu Count={self.gpus} File={devices}\n"


@dataclass
class LocalSlurm:
    """A running Slurm and a record of what was asked of it."""

    site: Site
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        """File that holds one line for every Slurm command that was called."""
        return self.folder / "calls.log"

    def calls(self, command: str) -> list[str]:
        """Command lines of one Slurm command since the last call of `forget`."""
        lines = self.journal.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.split(" ", 1)[0] == command]

    def n_calls(self) -> dict[str, int]:
        """Calls per Slurm command."""
        lines = self.journal.read_text(encoding="utf-8").splitlines()
        return dict(Counter(line.split(" ", 1)[0] for line in lines))

    def forget(self) -> None:
        """Empty the record of calls."""
        self.journal.write_text("", encoding="utf-8")

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, as ``scontrol show job`` tells them."""
        shown = subprocess.run(
            ["/usr/bin/scontrol", "show", "job", "--oneliner"],
            capture_output=True,
            text=True,
            check=True,
        )
        return [
            dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
            for line in shown.stdout.splitlines()
            if line.startswith("JobId=")
        ]


def refuse_other_clusters() -> None:
    """Make sure that nothing of another Slurm is touched.

    Raises
    ------
    ClusterError
        This machine has a Slurm, or lacks what one needs.
    """
    missing = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name) is None]
    if missing:
        raise ClusterError(
            f"there is no {', '.join(missing)}; on Debian: apt-get install slurmctld slurmd "
            "slurm-client munge"
        )
    if os.geteuid() != 0:
        raise ClusterError("daemons of Slurm are started as root")
    if "SLURM_CONF" in os.environ:
        raise ClusterError(f"SLURM_CONF is set to {os.environ['SLURM_CONF']}")
    for name in ("slurm.conf", "gres.conf"):
        path = CONFIGURATION / name
        if path.exists() and not path.read_text(encoding="utf-8").startswith(MARK):
            raise ClusterError(f"there is a {path} that these tests did not write")
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in ("slurmctld", "slurmd"):
            raise ClusterError(f"{process.info['name']} runs already, as process {process.pid}")


@contextmanager
def daemon(*command: str, log: Path, user: str | None = None) -> Iterator[None]:
    """Run a program in the foreground mode of its own, and end it by its process."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, user=user, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(folder: Path) -> None:
    """Wait until the node takes jobs.

    Raises
    ------
    ClusterError
        It does not in half a minute; the message carries the daemons' last lines.
    """
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        shown = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True
        )
        if shown.returncode == 0 and set(shown.stdout.split()) == {"idle"}:
            return
        time.sleep(0.2)
    logs = "\n".join(
        f"{log.name}: {' | '.join(log.read_text(errors='replace').splitlines()[-5:])}"
        for log in sorted(folder.glob("*.log"))
    )
    raise ClusterError(f"Slurm did not start in {SECONDS_TO_START} s: {shown.stderr}\n{logs}")


def prepare_folder(folder: Path) -> None:
    """Make the folders of the daemons; munged's belong to its own user."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("state", "spool", "commands", "munge"):
        (folder / name).mkdir(parents=True)
    munge = pwd.getpwnam("munge")
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (folder / "munge", key):
        os.chown(path, munge.pw_uid, munge.pw_gid)


def write_recording_commands(cluster: LocalSlurm) -> None:
    """Put programs before Slurm's on the search path that write down how they are called."""
    cluster.forget()
    cluster.journal.chmod(0o666)
    commands = cluster.folder / "commands"
    for name in COMMANDS:
        program = shutil.which(name)
        script = commands / name
        script.write_text(
            "#!/bin/sh\n"
            # One write per call: calls at the same time must not mix.
            f"line=$(printf '%s ' {name} \"$@\" | tr '\\n' ' ' | cut -c -4000)\n"
            f"printf '%s\\n' \"$line\" >> {cluster.journal}\n"
            f'exec {program} "$@"\n'
        )
        script.chmod(0o755)
    cluster.environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}


@contextmanager
def running(site: Site) -> Iterator[LocalSlurm]:
    """Start a Slurm on this machine, and remove it with all that was made for it.

    Raises
    ------
    ClusterError
        This machine has a Slurm of its own, or none can be started.
    """
    refuse_other_clusters()
    prepare_folder(FOLDER)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, FOLDER, ignore_errors=True)
        if not CONFIGURATION.exists():
            CONFIGURATION.mkdir()
            cleanup.callback(CONFIGURATION.rmdir)
        files = {"slurm.conf": site.slurm_conf(FOLDER)}
        if site.gpus:
            files["gres.conf"] = site.gres_conf()
        for name, text in files.items():
            (CONFIGURATION / name).write_text(text, encoding="utf-8")
            cleanup.callback((CONFIGURATION / name).unlink, missing_ok=True)
        munge = FOLDER / "munge"
        cleanup.enter_context(
            daemon(
                *("munged", "--foreground", "--force"),
                *("--socket", f"{munge}/socket", "--key-file", f"{munge}/key"),
                *("--pid-file", f"{munge}/pid", "--seed-file", f"{munge}/seed"),
                log=FOLDER / "munged.log",
                user="munge",
            )
        )
        cleanup.enter_context(daemon("slurmctld", "-D", log=FOLDER / "slurmctld.log"))
        cleanup.enter_context(daemon("slurmd", "-D", log=FOLDER / "slurmd.log"))
        wait_until_ready(FOLDER)
        cleanup.callback(subprocess.run, ["scancel", "--user=root"], check=False)
        cluster = LocalSlurm(site, FOLDER)
        write_recording_commands(cluster)
        yield cluster
