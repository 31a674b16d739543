"""A clean clone of the repository, and the shell of a new user with an empty home folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL_DATA = ROOT.parent / "shared" / "data"
# Of no command: a machine on which other jobs compute takes four times as long.
MINUTES = 30


@dataclass(frozen=True)
class Clone:
    """A clone of the repository and the shell of a new user."""

    folder: Path
    home: Path

    def run(self, command: str) -> str:
        """Type a command; return what it printed, or fail with it."""
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        # Of the packages that are fetched, what is there already is not fetched anew.
        cache = kept.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
        path = os.pathsep.join([str(self.folder / ".venv" / "bin"), *_system_path()])
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self.folder,
            env=kept | {"HOME": str(self.home), "PATH": path, "PIP_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout + done.stderr


def _system_path() -> list[str]:
    """The path without environments of Python that happen to be active."""
    own = os.environ.get("VIRTUAL_ENV")
    parts = os.environ["PATH"].split(os.pathsep)
    return [part for part in parts if not own or not part.startswith(own)]


@pytest.fixture(scope="session")
def clone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Files that git knows, as they are now; beside them the real data, where there are any."""
    if not request.config.getoption("--readme"):
        pytest.skip("takes minutes: asked for with --readme (make test-readme)")
    above = tmp_path_factory.mktemp("readme")
    folder, home = above / "gradbrain", above / "home"
    home.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    if REAL_DATA.exists():
        (above / "shared").mkdir()
        (above / "shared" / "data").symlink_to(REAL_DATA)
    return Clone(folder, home)


@pytest.fixture(scope="session")
def after_the_demo(clone: Clone) -> Clone:
    """The clone in which `make demo` was typed, which makes the environment as well."""
    clone.run("make demo")
    return clone
