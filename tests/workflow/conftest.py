"""Real Snakemake runs on copies of the checkout."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    "Snakefile",
    "workflow",
    "scripts",
    "config",
    "profiles",
    "envs",
    "tests/workflow/learning_rules",
    "tests/workflow/multiverse",
    "tests/workflow/paper",
    "tests/workflow/statistics",
    "tests/workflow/tiny",
    "tests/workflow/worlds",
    "tests/workflow/public_data",
    "tests/workflow/things_meg",
)
STUDY = "tests/workflow/tiny/study.yaml"


class JobServer:
    """An interpreter that has imported what jobs import, and forks for each; started when needed.

    It ends with the process of the tests.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def python(self) -> str:
        """Program by which jobs are its forks."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
            server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("job_server.py")), self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert server.stdout is not None and server.stdout.readline() == "ready\n"
            atexit.register(server.kill)
        return str(Path(self._folder.name, "python"))


class SnakemakeServer:
    """An interpreter that has imported Snakemake, and forks for each run; started when needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._jobs = JobServer()

    def run(self, folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in a folder."""
        with tempfile.TemporaryDirectory() as name:
            out, err = Path(name) / "out", Path(name) / "err"
            request = {"folder": str(folder), "arguments": arguments}
            request |= {"environment": dict(os.environ), "python": self._jobs.python()}
            request |= {"out": str(out), "err": str(err)}
            status = self._ask(json.dumps(request))
            return subprocess.CompletedProcess(
                ["snakemake", *arguments], status, out.read_text(), err.read_text()
            )

    def _ask(self, request: str) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("snakemake_server.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(request + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())


#: Ends with the process of the tests, whose end of the pipe it reads.
SERVER = SnakemakeServer()


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository in which a study is run."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake as a user would by `python -m snakemake`."""
        # Networks this small gain nothing from a second thread.
        threads = ["--set-threads", "extract_features=1", "measure_reliability=1"]
        done = SERVER.run(self.folder, [*threads, "--cores", "2", *arguments])
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}")
        return done

    def run(self, *arguments: str) -> dict[str, int]:
        """Run the tiny study; return how many jobs of each rule were executed."""
        # Options that take several values would swallow targets: one that takes none follows.
        return jobs_of(self.snakemake("--configfile", STUDY, "--nocolor", *arguments))

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs of each rule that a run would execute now."""
        return self.run("--dry-run", *arguments)

    def dry_run(self, config: str, *arguments: str) -> tuple[str, dict[str, int]]:
        """Plan any study; return what was printed, and the jobs of each rule."""
        done = self.snakemake("--configfile", config, "--dry-run", "--nocolor", *arguments)
        return done.stdout + done.stderr, jobs_of(done)

    def attempt(self, config: str, *arguments: str) -> tuple[int, dict[str, int]]:
        """Run any study, which may fail; return its exit status and the jobs that it began with."""
        done = self.snakemake("--configfile", config, "--nocolor", *arguments, check=False)
        return done.returncode, jobs_of(done)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a passage of a file."""
        file = self.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def append(self, path: str, text: str) -> None:
        """Add lines to a file."""
        with (self.folder / path).open("a") as file:
            file.write(text)

    def contents(self, pattern: str) -> dict[Path, tuple[int, bytes]]:
        """Modification time and bytes of the result files that match a pattern."""
        return {
            file.relative_to(self.folder): (file.stat().st_mtime_ns, file.read_bytes())
            for file in sorted((self.folder / "results").glob(pattern))
            if file.is_file()
        }


def jobs_of(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Read the job table that Snakemake prints; target rules are left out."""
    text = done.stdout + done.stderr
    table = re.search(r"Job stats:\n(.*?)\ntotal", text, re.DOTALL)
    if table is None:
        assert "Nothing to be done" in text, text
        return {}
    rows = (line.split() for line in table.group(1).splitlines()[2:])
    targets = ("all", "features", "encoding", "scores", "maps", "claims", "figures", "report")
    return {name: int(count) for name, count in rows if name not in targets}


def copy_code(folder: Path) -> Checkout:
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    return Checkout(folder)


@pytest.fixture(scope="session")
def fresh_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkout]:
    """Make a checkout in a temporary folder of the given name."""
    return lambda name: copy_code(tmp_path_factory.mktemp(name))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh checkout without results."""
    return copy_code(tmp_path)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, dict[str, int]]:
    """The tiny study, run once from nothing."""
    fresh = copy_code(tmp_path_factory.mktemp("finished"))
    return fresh, fresh.run()


@pytest.fixture
def finished(first_run: tuple[Checkout, dict[str, int]], tmp_path: Path) -> Checkout:
    """A copy of the finished tiny study, Snakemake's records included, to be changed at will."""
    shutil.copytree(first_run[0].folder, tmp_path / "copy", symlinks=True)
    return Checkout(tmp_path / "copy")
