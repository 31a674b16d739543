"""Claims about which GPU a job takes on a machine with several."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradbrain.store import gpu_lock

LIBRARY = Path(gpu_lock.__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from gradbrain.store.gpu_lock import claim_gpu
print(claim_gpu(sys.argv[2:], folder=Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


class Job:
    """A process that takes a GPU and keeps it until it is told to end."""

    def __init__(self, folder, uuids):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), *uuids],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=LIBRARY,
        )

    def gpu(self):
        return int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    jobs = []

    def start(*uuids):
        jobs.append(Job(tmp_path, uuids))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()


def test_jobs_at_the_same_time_take_different_gpus(start):
    jobs = [start("gpu-a", "gpu-b", "gpu-c") for _ in range(3)]
    assert sorted(job.gpu() for job in jobs) == [0, 1, 2]


def test_a_gpu_is_free_again_when_its_job_is_killed(start):
    first = start("gpu-a", "gpu-b")
    assert first.gpu() == 0
    first.kill()
    assert start("gpu-a", "gpu-b").gpu() == 0


def test_a_job_waits_until_one_of_the_gpus_is_free(start):
    holders = [start("gpu-a", "gpu-b") for _ in range(2)]
    taken = [job.gpu() for job in holders]
    waiting = start("gpu-a", "gpu-b")
    assert "all 2 GPUs are taken" in waiting.process.stderr.readline()
    holders[1].kill()
    assert waiting.gpu() == taken[1]


def test_a_gpu_is_known_by_its_identity_and_not_by_its_number(start):
    assert start("gpu-a", "gpu-b").gpu() == 0
    assert start("gpu-b", "gpu-a").gpu() == 0


def fake_cuda(uuids):
    chosen = []
    return chosen, SimpleNamespace(
        device_count=lambda: len(uuids),
        get_device_properties=lambda index: SimpleNamespace(uuid=uuids[index]),
        set_device=chosen.append,
    )


def test_the_gpu_that_was_taken_becomes_the_current_one(start, tmp_path):
    assert start("gpu-0", "gpu-1").gpu() == 0
    chosen, cuda = fake_cuda(["gpu-0", "gpu-1"])
    gpu_lock.use_free_gpu(cuda, folder=tmp_path)
    gpu_lock.use_free_gpu(cuda, folder=tmp_path)
    assert chosen == [1, 1]


def test_a_single_gpu_is_taken_without_a_lock(tmp_path):
    chosen, cuda = fake_cuda(["gpu-0"])
    gpu_lock.use_free_gpu(cuda, folder=tmp_path)
    assert chosen == []
    assert list(tmp_path.iterdir()) == []
