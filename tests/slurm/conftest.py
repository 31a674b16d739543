"""Runs of a small study through ``snakemake --profile slurm``, on a real Slurm."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm.local_cluster import LocalSlurm, Site, running

ROOT = Path(__file__).resolve().parents[2]
STUDY = "tests/slurm/study.yaml"
CODE = ("Snakefile", "slurm", "workflow", "scripts", "config", "profiles", "envs", "tests")
SECONDS_PER_RUN = 600
# The profile's 40 s are for sites; here most jobs are done after 10. Networks this small gain
# nothing from a second thread.
HASTE = (
    *("--slurm-init-seconds-before-status-checks", "10", "--max-status-checks-per-second", "1"),
    *("--set-threads", "extract_features=1"),
)


@dataclass(frozen=True)
class Run:
    """What a run of Snakemake printed, and how long it took in seconds."""

    returncode: int
    text: str
    seconds: float


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository in which a study is run."""

    folder: Path

    def snakemake(self, cluster: LocalSlurm, *arguments: str, check: bool = True) -> Run:
        """Run the study as a user at a login node would."""
        program = str(Path(sys.executable).with_name("snakemake"))
        command = [program, "--profile", "slurm", "--configfile", STUDY, *HASTE, *arguments]
        cluster.forget()
        begin = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=cluster.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_PER_RUN,
        )
        run = Run(done.returncode, done.stdout + done.stderr, time.monotonic() - begin)
        if check and run.returncode != 0:
            raise AssertionError(f"{' '.join(command)}\n{run.text}")
        return run

    def edit_profile(self, old: str, new: str) -> None:
        """Change the profile as its comments tell a site to."""
        file = self.folder / "profiles" / "slurm" / "config.yaml"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def remove(self, pattern: str) -> list[Path]:
        """Remove results that match a pattern below results/; return them."""
        found = sorted((self.folder / "results").glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return found


@pytest.fixture(scope="session")
def slurm_of(request: pytest.FixtureRequest) -> Callable[[Site], AbstractContextManager]:
    """Start a Slurm; skip, and say so, unless pytest was called with --slurm."""
    if not request.config.getoption("--slurm"):
        pytest.skip("SLURM TESTS DID NOT RUN: `make test-slurm` starts a Slurm for them, as root")
    return running


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Checkout]]:
    """Copy the checkout into a folder of the given name."""

    def copy(name: str) -> Checkout:
        folder = tmp_path_factory.mktemp(name)
        for source in (ROOT / name for name in CODE):
            if source.is_dir() and not source.is_symlink():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / source.name, ignore=ignore)
            else:
                shutil.copy2(source, folder / source.name, follow_symlinks=False)
        return Checkout(folder)

    return copy
