"""Whether this machine is ready: environment, GPU, weights, data sets, disk and memory.

The quick look reads names and sizes alone. The full one imports what jobs import, computes on the
GPU, reads all weights and the headers of data sets, and writes a store where results go.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import xarray as xr

from gradbrain import __version__
from gradbrain.command.catalogue import Catalogue
from gradbrain.config import GradbrainError
from gradbrain.config.plugins import weights_use
from gradbrain.config.schema import DatasetEntry, ModelEntry
from gradbrain.config.study import ResolvedStudy
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.store import open_store, write_store

State = Literal["ok", "note", "fault"]
OK: State = "ok"
#: Worth knowing; a study that needs it would not run.
NOTE: State = "note"
FAULT: State = "fault"
DATA = Path("data")
# The demo takes less of both.
LEAST_DISK_GB, LEAST_MEMORY_GB = 5.0, 4.0
OLDEST_PYTHON = (3, 11)
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes
    ----------
    state
        ``ok``, ``note`` or ``fault``.
    group
        ``environment``, ``gpu``, ``weights``, ``data``, ``disk`` or ``memory``.
    what
        The thing.
    found
        What was found.
    remedy
        What to do; empty where nothing is to be done.
    """

    state: State
    group: str
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.state:<6} {self.group:<12} {self.what}: {self.found}{remedy}"


def examine(
    root: Path, catalogue: Catalogue, *, study: ResolvedStudy | None = None, full: bool = False
) -> list[Finding]:
    """Look at this machine.

    Parameters
    ----------
    root
        Folder of the project.
    catalogue
        Models and data sets that there are.
    study
        What it needs must be there; without one, what is missing is a note.
    full
        Also what takes time.

    Returns
    -------
    list of Finding
        In the order of what depends on what.
    """
    found = [*_environment(root), *_imports(full), *_gpus(full)]
    if study is not None:
        models, datasets = list(study.models.values()), list(study.datasets.values())
        roots = {name: Path(folder) for name, folder in study.settings.roots.items()}
    else:
        registries = catalogue.registries
        models = [registries.model(name, where="doctor") for name in registries.models]
        datasets = [registries.dataset(name, where="doctor") for name in registries.datasets]
        roots = {}
    needed = study is not None
    for model in models:
        found += _weights(model, catalogue, roots, needed=needed, full=full)
    for entry in datasets:
        found += _dataset(entry, catalogue, roots, needed=needed, full=full)
    return [*found, *_disk(full), *_memory()]


# --- environment ---------------------------------------------------------------------------------


def _environment(root: Path) -> Iterator[Finding]:
    version = platform.python_version()
    old = sys.version_info < OLDEST_PYTHON
    yield Finding(
        FAULT if old else OK,
        "environment",
        "Python",
        f"{version}, {sys.executable}",
        "needs 3.11 or later" if old else "",
    )
    yield Finding(OK, "environment", "gradbrain", f"{__version__} in {root.resolve()}")
    lock = root / "envs" / "requirements.txt"
    if not lock.is_file():
        yield Finding(NOTE, "environment", "lock", f"no {lock}", "not a checkout?")
        return
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    pins = [line.split("==") for line in lines]
    missing, other = [], []
    for name, pin in pins:
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed != pin:
            other.append(f"{name} {installed} (lock: {pin})")
    if not missing and not other:
        yield Finding(OK, "environment", "lock", f"all {len(pins)} packages as pinned")
    if missing:
        yield Finding(FAULT, "environment", "lock", f"missing: {_few(missing)}", "make env")
    if other:
        yield Finding(NOTE, "environment", "lock", f"other versions: {_few(other)}", "make env")


def _imports(full: bool) -> Iterator[Finding]:
    if not full:
        return
    for name in ("torch", "timm", "himalaya", "nilearn", "mne", "snakemake"):
        # In a process of its own: an import that fails may leave half of it behind.
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, check=False
        )
        took = f"{time.monotonic() - started:.1f} s"
        if done.returncode == 0:
            yield Finding(OK, "environment", f"import {name}", took)
        else:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            yield Finding(FAULT, "environment", f"import {name}", last, "make env")
    # Installed by `make env`; says why torchvision has no compiled operators where it has none.
    asked = "import torch, torchvision_operators as found; print(found.why_missing())"
    told = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False
    )
    if told.stdout.strip():
        yield Finding(NOTE, "environment", "torchvision without operators", told.stdout.strip())


def _gpus(full: bool) -> Iterator[Finding]:
    listed = _nvidia_smi()
    if not listed:
        yield Finding(OK, "gpu", "NVIDIA", "none; extraction and fits run on cores")
    for line in listed:
        yield Finding(OK, "gpu", "NVIDIA", line)
    build = _torch_build()
    if listed and build == "cpu":
        yield Finding(
            FAULT, "gpu", "torch", "is a build for CPUs", "install the same version for CUDA"
        )
    if full:
        yield from _compute()


def _nvidia_smi() -> list[str]:
    """Name, driver, total and free memory of each GPU; empty where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,driver_version,memory.total,memory.free"
    done = subprocess.run(
        [program, query, "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines() if done.returncode == 0 else []


def _torch_build() -> str:
    """Local version tag of the installed torch, such as ``cpu`` or ``cu130``."""
    try:
        return metadata.version("torch").partition("+")[2]
    except metadata.PackageNotFoundError:
        return ""


def _compute() -> Iterator[Finding]:
    """Multiply on each device and compare with what the CPU finds."""
    import torch

    matrix = torch.linspace(-1, 1, 256 * 256, dtype=torch.float64).reshape(256, 256)
    expected = matrix @ matrix
    for device in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(device)
        try:
            there = matrix.to(f"cuda:{device}")
            error = float(((there @ there).cpu() - expected).abs().max())
        except RuntimeError as fault:
            yield Finding(FAULT, "gpu", name, str(fault).splitlines()[0])
            continue
        state = OK if error < 1e-9 else FAULT
        yield Finding(state, "gpu", name, f"multiplies, largest error {error:.1e}")


# --- weights and data ----------------------------------------------------------------------------


def _below(path: str, roots: dict[str, Path]) -> Path:
    """Where a path below ``data/`` lies; ``roots`` of a study may not be linked yet."""
    first, _, rest = path.partition("/")
    return roots[first] / rest if first in roots else DATA / path


def _weights(
    entry: ModelEntry, catalogue: Catalogue, roots: dict[str, Path], *, needed: bool, full: bool
) -> Iterator[Finding]:
    where = catalogue.registries.place("model", entry.name)
    options = weights_use(entry, catalogue.plugins, where=where).options
    bad: State = FAULT if needed else NOTE
    problems = [
        *(f"no file {_below(name, roots)}" for name in options.required_files(entry)
          if not _below(name, roots).is_file()),
        *options.missing_packages(entry),
    ]  # fmt: skip
    if problems:
        yield Finding(bad, "weights", entry.name, "; ".join(problems))
        return
    files = [
        _below(name, roots)
        for name in (*options.required_files(entry), *options.optional_files(entry))
        if _below(name, roots).is_file()
    ]
    digest = getattr(options, "sha256", None)
    if full and not files and entry.weights.source == "package":
        yield _loaded(entry, catalogue)
    elif full and digest and len(files) == 1:
        with files[0].open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == digest:
            yield Finding(OK, "weights", entry.name, f"{files[0]}, SHA-256 as pinned")
        else:
            yield Finding(
                FAULT, "weights", entry.name, f"{files[0]} has another SHA-256", "get it again"
            )
    elif files:
        yield Finding(OK, "weights", entry.name, ", ".join(map(str, files)))
    elif entry.weights.source == "hub":
        yield Finding(NOTE, "weights", entry.name, "comes from its hub when it is first used")
    elif needed:
        yield Finding(OK, "weights", entry.name, f"source {entry.weights.source}")


def _loaded(entry: ModelEntry, catalogue: Catalogue) -> Finding:
    """Load weights that a package carries, tensor by tensor, against their digest."""
    use = weights_use(entry, catalogue.plugins, where=entry.name)
    try:
        _, origin = use.plugin.load().load(entry, use.options, DATA)
    except GradbrainError as error:
        return Finding(FAULT, "weights", entry.name, str(error))
    return Finding(OK, "weights", entry.name, origin)


def _dataset(
    entry: DatasetEntry, catalogue: Catalogue, roots: dict[str, Path], *, needed: bool, full: bool
) -> Iterator[Finding]:
    bad: State = FAULT if needed else NOTE
    folder = roots.get(entry.name, DATA / entry.name)
    if entry.arrives_by_itself and not folder.exists():
        yield Finding(NOTE, "data", entry.name, f"no {folder}", "a run fetches it")
        return
    try:
        if full:
            inventory = take_inventory(entry, folder, plugins=catalogue.plugins)
            names = entry.subjects or ("",)
            problems = [text for name in names for text in inventory.obstacles(name)]
        else:
            options = read_options(entry, plugins=catalogue.plugins)
            module = adapter(entry.adapter, plugins=catalogue.plugins)
            problems = list(module.check(entry, options, folder))
    except GradbrainError as error:
        problems = [str(error)]
    if problems:
        told = list(dict.fromkeys(problems))
        remedy = f"python scripts/check_dataset.py {entry.name}"
        yield Finding(bad, "data", entry.name, _few(told), remedy)
    else:
        place = f", {folder.resolve()}" if folder.exists() else ""
        yield Finding(OK, "data", entry.name, f"{len(entry.subjects)} subjects{place}")


# --- disk and memory -----------------------------------------------------------------------------


def _disk(full: bool) -> Iterator[Finding]:
    for name in ("results", "data", tempfile.gettempdir()):
        place = Path(name)
        there = next(path for path in (place, *place.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free / 1e9
        if not os.access(there, os.W_OK):
            yield Finding(FAULT, "disk", name, "cannot be written to")
        elif free < LEAST_DISK_GB:
            remedy = "python scripts/estimate_study.py CONFIG says what a study takes"
            yield Finding(NOTE, "disk", name, f"{free:.1f} GB free", remedy)
        else:
            yield Finding(OK, "disk", name, f"{free:.0f} GB free")
    if full:
        yield _write_and_read()


def _write_and_read() -> Finding:
    """Write a store where results go, as jobs do, and read it back."""
    home = Path("results")
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=home) as folder:
        path = Path(folder) / "store.zarr"
        values = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000)
        dims = ("split", "image", "component")
        dataset = xr.Dataset(
            {"component": (dims, values[None]), "n_constant": ("split", np.zeros(1, dtype=int))},
            coords={"image_id": ("image", np.arange(1000).astype(str))},
        )
        started = time.monotonic()
        try:
            write_store(path, dataset, kind="baseline")
            same = bool(
                (open_store(path, kind="baseline", verify=True)["component"] == values).all()
            )
        except (OSError, GradbrainError) as error:
            return Finding(FAULT, "disk", "store", str(error))
        took = time.monotonic() - started
    if not same:
        return Finding(FAULT, "disk", "store", "what was read is not what was written")
    return Finding(OK, "disk", "store", f"8 MB written, read and verified in {took:.2f} s")


def _memory() -> Iterator[Finding]:
    total, available = (
        value / 2**30
        for value in (psutil.virtual_memory().total, psutil.virtual_memory().available)
    )
    limit = _control_group_limit()
    if limit is not None and limit < total:
        available = min(available, limit)
        yield Finding(
            OK, "memory", "limit", f"{limit:.1f} GiB of {total:.1f}, by the control group"
        )
    low = available < LEAST_MEMORY_GB
    yield Finding(
        NOTE if low else OK,
        "memory",
        "available",
        f"{available:.1f} of {total:.1f} GiB",
        "the demo takes up to 4 GiB a job" if low else "",
    )
    yield Finding(OK, "memory", "cores", f"{_cores()} for this process")


def _control_group_limit() -> float | None:
    """Memory limit of this process's control group (version 2) in GiB; None where there is none."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
        places = [Path("/sys/fs/cgroup" + own), *Path("/sys/fs/cgroup" + own).parents]
        texts = [
            (place / "memory.max").read_text().strip()
            for place in places
            if (place / "memory.max").is_file()
        ]
    except OSError:
        return None
    limits = [int(text) / 2**30 for text in texts if re.fullmatch(r"\d+", text)]
    return min(limits, default=None)


def _cores() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _few(texts: list[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more
