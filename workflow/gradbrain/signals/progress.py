"""How far an extraction is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from tqdm import tqdm

from gradbrain.signals.device import peak_gpu_mib

log = logging.getLogger(__name__)

LOG_EVERY_S = 30.0


class Progress:
    """Count images, with images/s, time left and memory of the GPU.

    Parameters
    ----------
    total
        Number of images.
    name
        What is run, e.g. the model.
    device
        Where it runs.
    clock
        Seconds from any origin; another one in tests.
    """

    def __init__(
        self,
        *,
        total: int,
        name: str,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._total, self._name, self._device, self._clock = total, name, device, clock
        self._started = self._logged = clock()
        self._done = 0
        # None: no bar where standard error is a file; the lines of the log serve there.
        self._bar = tqdm(total=total, unit="image", desc=name, mininterval=1, disable=None)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @property
    def images_per_s(self) -> float:
        """Images per second so far."""
        return self._done / max(self._clock() - self._started, 1e-9)

    def update(self, n_images: int) -> None:
        """Count images that are done."""
        self._done += n_images
        self._bar.set_postfix_str(self._memory(), refresh=False)
        self._bar.update(n_images)
        if self._clock() - self._logged >= LOG_EVERY_S or self._done == self._total:
            self._logged = self._clock()
            log.info("%s", self._line())

    def _memory(self) -> str:
        used = peak_gpu_mib(self._device)
        return "" if used is None else f"GPU {used:.0f} MiB"

    def _line(self) -> str:
        rate = self.images_per_s
        left = (self._total - self._done) / rate if rate else float("inf")
        parts = [
            f"{self._name}: {self._done} of {self._total} images",
            f"{rate:.1f} images/s",
            f"{left:.0f} s left",
            self._memory(),
        ]
        return ", ".join(part for part in parts if part)
