"""Measure the host memory of an extraction whose layers are as large as those of a ViT-L.

The network is synthetic: its layers give tokens of ViT-L's size, (images, 257, 1024), for next to
no arithmetic, so that 10,000 images pass in minutes. All else is real: images are decoded,
gradients are taken, features are pooled and stream to one store per layer. Resident memory is
sampled after every batch. The last line is JSON; the exit code is 1 above the limit.

What a batch takes does not depend on how many there are, so `--computed` runs the network for the
first images only and writes their signals again for the others: what could grow, images that wait
and rows that wait, is then still exercised to the end.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet, Weights
from gradbrain.datasets.images import content_sha256
from gradbrain.models.build import VisionModel, freeze
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.device import set_up
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.signals.layer_stores import LayerRequest, LayerStores
from gradbrain.signals.progress import Progress

LIMIT_MIB = 8192
DISTINCT_FILES = 64
SAMPLE_EVERY = 1000


def control(name: str, **options: str) -> SignalEntry:
    return SignalEntry(
        name=f"gradient_{name}",
        role="control",
        rule="backprop",
        objective=name,
        options=options,
    )


SIGNALS = SignalSet(
    name="bench",
    signals=(
        SignalEntry(name="activation", role="activation", rule="activation"),
        control("feature_norm"),
        control("fixed_cotangent"),
        control("shuffled_cotangent", objective="feature_norm"),
    ),
)


class Gain(nn.Module):
    """A layer that costs one multiplication per number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(value))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Multiply every number, (B, N, D) to (B, N, D)."""
        return tokens * self.gain


class LargeOutputs(nn.Module):
    """Layers as large as a transformer's, with timm's protocol."""

    num_classes, num_prefix_tokens = 0, 1

    def __init__(self, n_layers: int, n_patches: int, width: int) -> None:
        super().__init__()
        self.num_features = width
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randn(1 + n_patches, width, generator=generator)
        self.tokens = nn.Parameter(tokens)
        self.blocks = nn.ModuleList(Gain(1 + 0.01 * index) for index in range(n_layers))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens behind the last layer, (B, 3, S, S) to (B, N, D)."""
        hidden = self.tokens * images.mean((1, 2, 3))[:, None, None]
        for block in self.blocks:
            hidden = block(hidden)
        return hidden

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """Features of an image, (B, N, D) to (B, D)."""
        return hidden.tanh().mean(1)


def stimulus_table(folder: Path, prefix: str, n_images: int, seed: int) -> pd.DataFrame:
    """Describe many images in few files: each is decoded as often as it is named."""
    random, files = np.random.default_rng(seed), []
    for index in range(min(n_images, DISTINCT_FILES)):
        pixels = random.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        path = folder / f"{prefix}{index}.jpg"
        Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC).save(path)
        files.append((str(path), content_sha256(np.asarray(Image.open(path)))))
    rows = [
        {
            "image_id": f"{prefix}{index}",
            "label": pd.NA,
            "loader": "file",
            "locator": json.dumps({"path": files[index % len(files)][0]}),
            "content_sha256": files[index % len(files)][1],
        }
        for index in range(n_images)
    ]
    return pd.DataFrame(rows).astype({"label": "Int64"})


def resident_mib() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(arguments: argparse.Namespace, folder: Path) -> dict[int, float]:
    """Extract; return the largest resident memory in each thousand of images."""
    compute = set_up("cpu", "fp32", arguments.threads)
    entry = ModelEntry(
        name="large", architecture="none", weights=Weights(source="random"), input_size=224
    )
    network = LargeOutputs(arguments.layers, arguments.tokens - 1, arguments.width)
    model = VisionModel(freeze(network), entry)
    images = StimulusImages(stimulus_table(folder, "seen", arguments.images, 0), entry, "stimuli")
    others = StimulusImages(stimulus_table(folder, "other", 64, 1), entry, "calibration")
    stored = StoredImages(others, arguments.batch_size, compute.device)
    layers = [f"blocks.{index}" for index in range(arguments.layers)]
    extractor = SignalExtractor(model, layers, SIGNALS, CalibrationBank(model, stored.batches))
    largest: dict[int, float] = {}
    at = 0
    with (
        LayerStores(
            [LayerRequest(name, 1.0, folder / f"{name}.zarr") for name in layers],
            {name: {} for name in layers},
            images.image_ids,
            extractor.widths,
            SIGNALS.signals,
        ) as stores,
        Progress(total=len(images), name="large", device=compute.device) as progress,
    ):
        for batch in images.batches(arguments.batch_size, compute.device):
            if at < (arguments.computed or len(images)):
                taken = extractor.take(batch)
            for layer, found in taken.items():
                # Copies, as a new batch would bring: rows that wait must not share their memory.
                rows = {name: values[: len(batch)].copy() for name, values in found.rows().items()}
                stores.write_rows(at, layer, rows)
            at += len(batch)
            progress.update(len(batch))
            key = -(-at // SAMPLE_EVERY) * SAMPLE_EVERY
            largest[key] = max(largest.get(key, 0.0), resident_mib())
        stores.finish({name: {} for name in layers})
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--computed", type=int, help="images that run through the network; all")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=257)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="of the stores; default: a temporary one")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        largest = run(arguments, Path(folder))
    for images, mib in largest.items():
        print(f"to image {images}: {mib:.0f} MiB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = {
        "images": arguments.images,
        "computed": arguments.computed or arguments.images,
        "layers": arguments.layers,
        "tokens": arguments.tokens,
        "width": arguments.width,
        "signals": len(SIGNALS.signals),
        "batch_size": arguments.batch_size,
        "peak_mib": round(peak),
        "limit_mib": LIMIT_MIB,
        "seconds": round(time.perf_counter() - started),
    }
    print(json.dumps(record))
    sys.exit(peak > LIMIT_MIB)


if __name__ == "__main__":
    main()
