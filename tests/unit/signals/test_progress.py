"""What a long extraction says of itself."""

from __future__ import annotations

import logging

import torch

from gradbrain.signals import progress
from gradbrain.signals.progress import LOG_EVERY_S, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(caplog, *, batches: int, seconds_each: float, device: str = "cpu") -> list[str]:
    caplog.set_level(logging.INFO, logger="gradbrain")
    clock = Clock()
    where = torch.device(device)
    with Progress(total=10 * batches, name="net", device=where, clock=clock) as counted:
        for _ in range(batches):
            clock.now += seconds_each
            counted.update(10)
    assert counted.images_per_s == 10 / seconds_each
    return [record.getMessage() for record in caplog.records]


def test_the_log_says_images_per_second_and_time_left(caplog):
    lines = run(caplog, batches=4, seconds_each=LOG_EVERY_S)
    assert lines[0] == "net: 10 of 40 images, 0.3 images/s, 90 s left"
    assert lines[-1] == "net: 40 of 40 images, 0.3 images/s, 0 s left"
    assert len(lines) == 4


def test_short_batches_do_not_flood_the_log(caplog):
    assert len(run(caplog, batches=50, seconds_each=1.0)) == 2


def test_memory_of_a_gpu_is_shown(caplog, monkeypatch):
    monkeypatch.setattr(progress, "peak_gpu_mib", lambda device: 1234.5)
    assert run(caplog, batches=1, seconds_each=2.0) == [
        "net: 10 of 10 images, 5.0 images/s, 0 s left, GPU 1234 MiB"
    ]
