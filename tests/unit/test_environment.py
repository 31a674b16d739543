"""The environment itself: what it imports, and what is installed from the checkout."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

from gradbrain import __version__

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "envs" / "torchvision_operators"


@pytest.fixture
def shim():
    """The module of the checkout, not the one that is installed."""
    spec = importlib.util.spec_from_file_location("shim", SHIM / "torchvision_operators.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("code", ["import timm", "import torchvision", "from torch import nn"])
def test_timm_and_torchvision_are_imported_as_everywhere(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_operators_work_or_say_that_they_could_not_be_loaded(shim):
    import torchvision

    boxes, scores = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1)
    if shim.why_missing():
        with pytest.raises(RuntimeError, match="Couldn't load custom C"):
            torchvision.ops.nms(boxes, scores, 0.5)
    else:
        assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [0]


def test_nothing_is_tried_nor_declared_where_both_are_of_one_build(shim, monkeypatch):
    monkeypatch.setattr(shim, "_build", lambda folder: torch.__version__.partition("+")[2])
    monkeypatch.setattr(torch.ops, "load_library", lambda path: pytest.fail("was loaded"))
    monkeypatch.setattr(torch.library, "Library", lambda *_: pytest.fail("was declared"))
    assert shim.declare_where_missing() == ""


def test_nothing_is_declared_where_the_library_of_another_build_loads(shim, monkeypatch):
    monkeypatch.setattr(shim, "_build", lambda folder: "another")
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    monkeypatch.setattr(torch.library, "Library", lambda *_: pytest.fail("was declared"))
    assert shim.declare_where_missing() == ""


def test_why_it_does_not_load_is_said(shim, monkeypatch):
    def refuse(path):
        raise OSError("Could not load") from OSError("no libsomething.so")

    declared = []

    class Library:
        def __init__(self, *about):
            declared.append(about)

        def define(self, text):
            declared.append(text.partition("(")[0])

    monkeypatch.setattr(shim, "_build", lambda folder: "cu999")
    monkeypatch.setattr(torch.ops, "load_library", refuse)
    monkeypatch.setattr(torch.library, "Library", Library)
    assert "cu999" in shim.declare_where_missing()
    assert "no libsomething.so" in shim.declare_where_missing()
    assert declared == [("torchvision", "FRAGMENT"), "nms", "qnms"]


def test_the_version_of_torchvision_is_read_without_importing_it(shim, tmp_path):
    for line, build in (("'1.2+cu130'", "cu130"), ("'1.2'", "")):
        (tmp_path / "version.py").write_text(f"__version__ = {line}\ngit_version = 'a'\n")
        assert shim._build(tmp_path) == build
    (tmp_path / "version.py").unlink()
    assert shim._build(tmp_path) == ""


def test_the_wheel_holds_the_whole_package_and_its_version(tmp_path):
    """What `pip install .` installs; the editable one is the checkout itself."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"gradbrain-{__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "gradbrain = gradbrain.command.entry:main" in archive.read(entry_points).decode()
    library = ROOT / "workflow" / "gradbrain"
    files = [*library.rglob("*.py"), *library.rglob("*.mplstyle"), *library.rglob("*.jinja")]
    assert {f"gradbrain/{file.relative_to(library)}" for file in files} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_what_reading_results_takes_is_named_in_the_lock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "envs" / "requirements.txt").read_text().lower()
    for requirement in project["dependencies"]:
        assert f"\n{requirement.partition('>')[0]}==" in lock
