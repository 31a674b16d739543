"""What allocator and garbage collector of a job are told, and how much memory it may take."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gradbrain.config.cli import run
from gradbrain.config.memory_limit import Limit, TooLittleMemoryError, memory_limit
from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.fit_memory import (
    check_fit_memory,
    check_reduction_memory,
    check_unique_memory,
    least_fit_bytes,
)

LIBRARY = Path(__file__).resolve().parents[2] / "workflow"
# Each round asks for 64 MiB and gives them back; pages that the system hands out anew are counted.
CODE = """
import resource, sys
import numpy as np
sys.path.insert(0, {library!r})
from gradbrain.config.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, keep: bool) -> int:
    code = CODE.format(library=str(LIBRARY), keep=keep)
    done = subprocess.run(
        [sys.executable, "-c", code],
        # In small pages, which NumPy alone does without.
        env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt belongs to glibc")
def test_an_array_of_the_size_of_the_last_takes_no_new_pages():
    # A page of 4 KiB holds 512 numbers.
    assert page_faults(keep=False) >= 20 * 2**23 / 512
    assert page_faults(keep=True) < 100


def test_garbage_is_collected_rarely_during_imports_and_as_usual_in_a_job():
    code = (
        "import gc, sys\n"
        "usual = gc.get_threshold()\n"
        f"sys.path.insert(0, {str(LIBRARY)!r})\n"
        "from gradbrain.config import cli\n"
        "importing = gc.get_threshold()\n"
        "cli.run(lambda _: print(importing[0] > 100 * usual[0], gc.get_threshold() == usual))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


# --- what a job may take ---------------------------------------------------------------------


def tree(folder, membership, limits, total_kib=16 * 2**20):
    """Make what the system tells: control groups with limits, and the memory of the machine."""
    for path, value in limits.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"{value}\n")
    (folder / "membership").write_text(membership)
    (folder / "meminfo").write_text(f"MemTotal:  {total_kib} kB\nMemFree: 1 kB\n")
    return folder, folder / "membership", folder / "meminfo"


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/slurm/job\n", {"slurm/job/memory.max": 2**30}, "slurm/job/memory.max"),
        # A group above is stricter, and counts.
        (
            "0::/slurm/job\n",
            {"slurm/job/memory.max": 2**32, "slurm/memory.max": 2**30},
            "slurm/memory.max",
        ),
        # In a container the path is that of the host; what is there is the root.
        ("0::/../../elsewhere\n", {"memory.max": 2**30}, "memory.max"),
        (
            "9:cpu:/x\n4:memory:/slurm/job\n",
            {"memory/slurm/job/memory.limit_in_bytes": 2**30},
            "memory.limit_in_bytes",
        ),
        (
            "4:cpuset,memory:/\n",
            {"memory/memory.limit_in_bytes": 2**30},
            "memory.limit_in_bytes",
        ),
    ],
)
def test_a_job_reads_the_limit_of_its_control_group(tmp_path, membership, limits, expected):
    found = memory_limit(*tree(tmp_path, membership, limits))
    assert found.n_bytes == 2**30
    assert found.source.endswith(expected)


@pytest.mark.parametrize(
    "limits", [{}, {"a/memory.max": "max"}, {"memory/a/memory.limit_in_bytes": 2**63 - 4096}]
)
def test_without_a_limit_there_is_that_of_the_machine(tmp_path, limits):
    found = memory_limit(*tree(tmp_path, "0::/a\n4:memory:/a\n", limits))
    assert found == Limit(16 * 2**30, "memory of this machine")


def test_a_limit_of_the_shell_counts_too():
    code = (
        f"import sys; sys.path.insert(0, {str(LIBRARY)!r})\n"
        "from gradbrain.config.memory_limit import memory_limit\n"
        "print(*memory_limit())\n"
    )
    command = f"ulimit -v 700000; exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{700000 * 1024} ulimit -v"


def settings(**changes):
    return EncodingSettings(**changes)


def test_a_fit_that_cannot_fit_says_so_with_what_to_change(tmp_path):
    def shape(path, *numbers):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "zarr.json").write_text(json.dumps({"shape": numbers}))

    shape("r.zarr/response", 10000, 40000)
    shape("f.zarr/signals/activation", 10000, 500)
    shape("f.zarr/signals/gradient", 10000, 500)
    paths = [tmp_path / "f.zarr"], tmp_path / "r.zarr"
    with pytest.raises(TooLittleMemoryError) as refused:
        check_fit_memory("blocks.3", *paths, settings(), Limit(4 * 2**30, "control group, x"))
    text = str(refused.value)
    assert "the fit of layer 'blocks.3' needs 6.2 GiB at the least" in text
    assert "this job may take 4.0 GiB (control group, x)" in text
    for remedy in ("mem_mb", "baseline_components", "n_draws"):
        assert remedy in text
    check_fit_memory("blocks.3", *paths, settings(), Limit(7 * 2**30, "control group, x"))
    # Draws alone can be too many.
    with pytest.raises(TooLittleMemoryError):
        check_fit_memory("l", *paths, settings(n_draws=10**9), Limit(32 * 2**30, "x"))


def test_what_takes_all_layers_says_before_it_starts_that_it_cannot_fit(tmp_path):
    def shape(path, *numbers):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "zarr.json").write_text(json.dumps({"shape": numbers}))

    shape("r.zarr/response", 10000, 400)
    for layer in "ab":
        shape(f"{layer}.zarr/signals/activation", 10000, 50000)
    paths = [tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "r.zarr"
    small, large = Limit(4 * 2**30, "x"), Limit(5 * 2**30, "x")
    with pytest.raises(TooLittleMemoryError, match=r"reduction .* 4\.7 GiB .*reduce_activations"):
        check_reduction_memory(*paths, small)
    check_reduction_memory(*paths, large)
    few = settings(unique_images=5000)
    smaller = Limit(3 * 2**30, "x")
    with pytest.raises(TooLittleMemoryError, match=r"unique parts .* 4\.2 GiB .*unique_images"):
        check_unique_memory(*paths, few, smaller)
    check_unique_memory(*paths, few, large)


def test_what_a_fit_is_said_to_need_is_no_more_than_was_measured():
    # benchmarks/bench_fit_memory.py --images 4000 --folds 5 (docs/scaling.md), GiB.
    for n_targets, measured in ((5000, 0.65), (10000, 1.04), (20000, 1.66)):
        needed = least_fit_bytes((4000, n_targets), [256], settings()) / 2**30
        assert 0.6 * measured < needed < measured


def test_running_out_of_memory_ends_in_one_line_that_says_what_to_change(tmp_path):
    script = tmp_path / "fit_something.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(LIBRARY)!r})\n"
        "from gradbrain.config.cli import run\n"
        "import numpy as np\n"
        "run(lambda _: np.ones(2**50), memory='encoding.n_draws')\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: memory ran out (Unable to allocate 8.00 PiB")
    for part in ("the job held up to", "fit_something:mem_mb=MB", "or encoding.n_draws"):
        assert part in line


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried",
    ],
)
def test_torch_runs_out_of_memory_in_its_own_words(text, capsys):
    def main(_):
        raise RuntimeError(text)

    with pytest.raises(SystemExit):
        run(main, [])
    assert capsys.readouterr().err.startswith("error: memory ran out (")
    with pytest.raises(RuntimeError, match="shapes"):
        run(lambda _: raise_(RuntimeError("shapes differ")), [])


def raise_(error):
    raise error
