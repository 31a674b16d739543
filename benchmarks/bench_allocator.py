"""What the allocator of the C library costs a network on a CPU: as it is, and with memory kept.

Processor time per image of one core, in the network's own code and in the system: of features
alone, as objectives ask for views, and of a pass with gradients at all blocks. One JSON line.

    python benchmarks/bench_allocator.py
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

N_IMAGES, SIZE, N_REPEATS = 32, 128, 4


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Milliseconds per image of processor time, after one run that is not counted."""
    work()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(N_REPEATS):
        work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    per_image = 1000 / (N_REPEATS * N_IMAGES)
    return {
        "user_ms": round((after.ru_utime - before.ru_utime) * per_image, 2),
        "system_ms": round((after.ru_stime - before.ru_stime) * per_image, 2),
    }


def passes(keep: bool) -> dict[str, dict[str, float]]:
    """Measure both kinds of pass in this process."""
    import timm
    import torch

    from gradbrain.config.memory import keep_freed_memory

    if keep:
        keep_freed_memory()
    torch.set_num_threads(1)
    network = timm.create_model("tf_efficientnet_lite0").eval().requires_grad_(False)
    images = torch.rand(N_IMAGES, 3, SIZE, SIZE)
    rows = images.contiguous(memory_format=torch.channels_last)

    def features() -> None:
        with torch.no_grad():
            network.forward_features(rows)

    def gradients() -> None:
        hidden, outputs = network.bn1(network.conv_stem(images)), []
        for block in network.blocks:
            hidden = block(hidden).requires_grad_()
            outputs.append(hidden)
        torch.autograd.grad(hidden.sum(), outputs)

    return {"features": measured(features), "gradients": measured(gradients)}


def main() -> None:
    # A process each: what the allocator was told cannot be taken back.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        found = {
            name: pool.apply(passes, (keep,))
            for name, keep in (("as_it_is", False), ("kept", True))
        }
    print(json.dumps({"benchmark": "allocator", "images": N_IMAGES, "size": SIZE, **found}))


if __name__ == "__main__":
    main()
