"""Where and with which precision the network runs, and what running out of memory looks like."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal

import torch

from gradbrain.config.schema import VIEWS_BF16, Precision, precision_of_passes
from gradbrain.signals import SignalError
from gradbrain.store.gpu_lock import use_free_gpu

log = logging.getLogger(__name__)

DeviceName = Literal["auto", "cpu", "cuda"]
AUTOCAST: dict[str, torch.dtype | None] = {
    "fp32": None,
    "tf32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class Compute:
    """Device and precision of an extraction."""

    device: torch.device
    precision: Precision

    @property
    def autocast(self) -> torch.dtype | None:
        """Reduced precision of the forward pass, or None."""
        return AUTOCAST[precision_of_passes(self.precision)]

    @property
    def view_autocast(self) -> torch.dtype | None:
        """Reduced precision of the passes of augmented views, where it is another."""
        return torch.bfloat16 if self.precision.endswith(VIEWS_BF16) else None

    def describe(self) -> dict[str, str]:
        """Device and precision, for the provenance."""
        gpu = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if gpu else "cpu"
        return {"device": name, "precision": self.precision}


def set_up(device: DeviceName, precision: Precision, threads: int) -> Compute:
    """Choose the device and make its arithmetic repeatable.

    Parameters
    ----------
    device
        ``auto`` takes a GPU where there is one; of several, one that no other job has taken.
    precision
        ``tf32`` rounds the factors of matrix products to 10 bits on NVIDIA GPUs; elsewhere it is
        fp32. ``bf16`` and ``fp16`` run the forward pass under autocast; ``fp32_views_bf16`` and
        ``tf32_views_bf16`` that of augmented views alone.
    threads
        Of the CPU.

    Raises
    ------
    SignalError
        A GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SignalError(
            "device 'cuda' is asked for but torch finds no GPU; set features.device to auto or cpu"
        )
    torch.set_num_threads(threads)
    use_gpu = device != "cpu" and torch.cuda.is_available()
    if use_gpu:
        use_free_gpu(torch.cuda)
        # cuBLAS reads this when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    allow_tf32 = precision_of_passes(precision) == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = allow_tf32
    torch.backends.cudnn.allow_tf32 = allow_tf32
    compute = Compute(torch.device("cuda" if use_gpu else "cpu"), precision)
    log.info("extraction runs on %(device)s in %(precision)s", compute.describe())
    return compute


def precision_of(autocast: torch.dtype | None, device: torch.device) -> str:
    """Precision that a network with this autocast runs in on a device."""
    for name, dtype in AUTOCAST.items():
        if autocast is not None and dtype == autocast:
            return name
    on_gpu = device.type == "cuda"
    return "tf32" if on_gpu and torch.backends.cuda.matmul.allow_tf32 else "fp32"


def wider_than(precision: str) -> str:
    """Say what to do about values that a precision cannot hold."""
    if precision == "fp32":
        return (
            "no wider precision is at hand: look at this image and at the weights, leave the layer "
            "out, or take another objective"
        )
    others = "bf16 or fp32" if precision == "fp16" else "fp32"
    return f"take a wider precision (features.precision: {others}) or another objective"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell an exhausted memory, of a GPU or the host, from other errors of torch."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    message = str(error).lower()
    return "out of memory" in message or "can't allocate memory" in message


def peak_gpu_mib(device: torch.device) -> float | None:
    """Peak memory of the GPU in MiB, or None on a CPU."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
