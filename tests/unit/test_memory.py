"""What allocator and garbage collector of a job are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
