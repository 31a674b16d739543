"""Time extraction against a bare loop of the same model and objective, in one run.

Extraction decodes images, pools, normalises and writes stores; the bare loop gets its images
preloaded and keeps nothing. Both draw the objective's augmented views and make the same forward
passes and one backward pass (`views_ready`: the bare loop gets its views preloaded, too). Also
timed: one layer against a bare truncated backward pass, and the naive way, a full backward pass
down to the image for each layer. Rounds alternate between the ways, the fastest round of each
counts. The last line is JSON: the worse of the two networks for ratios to the bare loop.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
import torch
from PIL import Image

from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet, Weights
from gradbrain.datasets.images import content_sha256
from gradbrain.models.build import build_model
from gradbrain.models.layers import list_layers
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.objectives.views import augmented_view, drawn_parameters
from gradbrain.signals.device import set_up
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.signals.layer_stores import LayerRequest, LayerStores

NETWORKS = {
    "vit": ("vit_tiny_patch16_224", {"global_pool": "avg"}),
    "cnn": ("mobilenetv2_100", {}),
}
SIGNALS = SignalSet(
    name="bench",
    signals=(
        SignalEntry(name="activation", role="activation", rule="activation"),
        SignalEntry(
            name="gradient_dino",
            role="learning",
            rule="backprop",
            objective="dino",
            options={"views": {"n_views": 2}},
        ),
    ),
)


def write_images(folder: Path, prefix: str, n_images: int, seed: int) -> pd.DataFrame:
    """Write smooth random photographs of 256 px and return their stimulus table."""
    random, rows = np.random.default_rng(seed), []
    for index in range(n_images):
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        path = folder / f"{prefix}{index}.jpg"
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(path)
        rows.append(
            {
                "image_id": f"{prefix}{index}",
                "group": f"{prefix}{index}",
                "label": pd.NA,
                "loader": "file",
                "locator": json.dumps({"path": str(path)}),
                "content_sha256": content_sha256(np.asarray(Image.open(path))),
            }
        )
    return pd.DataFrame(rows).astype({"label": "Int64"})


class Bench:
    """One network, its images, and the ways to take its signals."""

    def __init__(self, network: str, folder: Path, arguments: argparse.Namespace) -> None:
        architecture, kwargs = NETWORKS[network]
        self.compute = set_up(arguments.device, "fp32", arguments.threads)
        self.folder, self.batch_size = folder, arguments.batch_size
        self.entry = ModelEntry(
            name=network, architecture=architecture, kwargs=kwargs, weights=Weights(source="random")
        )
        self.model = build_model(self.entry, device=self.compute.device)
        self.layers = list_layers(architecture)["layer"].tolist()
        stimuli = write_images(folder, f"{network}-seen", arguments.images, 0)
        others = write_images(folder, f"{network}-other", 16, 1)
        self.images = StimulusImages(stimuli, self.entry, "stimuli")
        calibration = StimulusImages(others, self.entry, "calibration")
        stored = StoredImages(calibration, self.batch_size, self.compute.device)
        self.bank = CalibrationBank(self.model, stored.batches)
        self.fused = SignalExtractor(self.model, self.layers, SIGNALS, self.bank)
        self.middle = self.layers[len(self.layers) // 2]
        self.single = SignalExtractor(self.model, [self.middle], SIGNALS, self.bank)
        self.dino = self.fused.sources[1].objective
        self.preloaded = [self._with_views(batch) for batch in self._batches()]

    def _batches(self) -> Iterator[ImageBatch]:
        return self.images.batches(self.batch_size, self.compute.device)

    def _with_views(self, batch: ImageBatch) -> tuple[ImageBatch, list[torch.Tensor]]:
        options = self.dino.options.views
        drawn = drawn_parameters(batch, seed=0, options=options)
        views = (augmented_view(batch.raw, drawn[:, view]) for view in range(options.n_views))
        ready = [self.model.normalise(view) for view in views]
        return batch, [view.contiguous(memory_format=torch.channels_last) for view in ready]

    def extract(self, extractor: SignalExtractor) -> None:
        """Take the signals as a job does: decode, compute, write stores."""
        names = list(extractor.widths)
        requests = [LayerRequest(name, 1.0, self.folder / f"{name}.zarr") for name in names]
        at = 0
        with LayerStores(
            requests,
            {name: {} for name in names},
            self.images.image_ids,
            extractor.widths,
            SIGNALS.signals,
        ) as stores:
            for batch in self._batches():
                for layer, found in extractor.take(batch).items():
                    stores.write_rows(at, layer, found.rows())
                at += len(batch)
            stores.finish({name: {} for name in names})

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        module = self.model.module
        return module.forward_head(module.forward_features(images), pre_logits=True)

    def _student_loss(
        self, images: torch.Tensor, views: list[torch.Tensor], layers: list[str], *, leaf: bool
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Run the objective's forward passes; with `leaf` the graph starts at the first layer."""
        kept: list[torch.Tensor] = []
        modules = dict(self.model.module.named_modules())

        def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
            tensor = output.detach().requires_grad_() if leaf and not kept else output
            kept.append(tensor)
            return tensor

        with torch.no_grad():
            teacher = torch.stack([self.dino._code(self._forward(view)) for view in views], 1)
            teacher = self.dino._log_teacher(teacher, self.dino.state["centre"]).exp().mean(1)
        handles = [modules[layer].register_forward_hook(hook) for layer in layers]
        features = self._forward(images)
        for handle in handles:
            handle.remove()
        student = self.dino._code(features).log_softmax(-1)
        return -(teacher * student).sum(), kept

    def bare(self, layers: list[str], *, views_ready: bool = False) -> None:
        """Forward passes and one backward pass, truncated at the first layer; nothing is kept."""
        for batch, ready in self.preloaded:
            views = ready if views_ready else self._with_views(batch)[1]
            loss, kept = self._student_loss(
                self.model.normalise(batch.raw), views, layers, leaf=True
            )
            torch.autograd.grad(loss, kept)
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize()

    def naive(self, n_layers: int, n_batches: int) -> None:
        """For each layer a forward pass and a backward pass down to the image."""
        for layer in self.layers[:n_layers]:
            for batch, views in self.preloaded[:n_batches]:
                images = self.model.normalise(batch.raw).requires_grad_()
                loss, kept = self._student_loss(images, views, [layer], leaf=False)
                torch.autograd.grad(loss, [images, *kept])
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize()


def measure(bench: Bench, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Time all ways in alternation; ratios of the fastest rounds."""
    naive_layers, naive_batches = min(3, len(bench.layers)), min(2, len(bench.preloaded))
    ways: dict[str, Callable[[], None]] = {
        "bare": lambda: bench.bare(bench.layers),
        "bare_views_ready": lambda: bench.bare(bench.layers, views_ready=True),
        "fused": lambda: bench.extract(bench.fused),
        "bare_layer": lambda: bench.bare([bench.middle]),
        "layer": lambda: bench.extract(bench.single),
        "naive": lambda: bench.naive(naive_layers, naive_batches),
    }
    bench.bare(bench.layers)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = clock()
            way()
            times[name].append(clock() - started)
    best = {name: min(found) for name, found in times.items()}
    # Every layer and batch costs the naive way the same, so a few of them tell.
    share = naive_layers * naive_batches / (len(bench.layers) * len(bench.preloaded))
    naive = best["naive"] / share
    return {
        "fused_vs_bare": best["bare"] / best["fused"],
        "fused_vs_bare_views_ready": best["bare_views_ready"] / best["fused"],
        "layer_vs_bare": best["bare_layer"] / best["layer"],
        "naive_vs_fused": naive / best["fused"],
        "images_per_s": len(bench.images) / best["fused"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for a machine that others use too; nothing overlaps then",
    )
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    logging.basicConfig(level=logging.WARNING)
    results = {}
    for network in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(network, Path(folder), arguments)
            results[network] = measure(bench, arguments.rounds, clock)
            print(network, {key: round(value, 3) for key, value in results[network].items()})
    worst = {
        key: round(min(result[key] for result in results.values()), 3)
        for key in (
            "fused_vs_bare",
            "fused_vs_bare_views_ready",
            "layer_vs_bare",
            "naive_vs_fused",
            "images_per_s",
        )
    }
    device = bench.compute.describe()["device"]
    print(json.dumps({**worst, "device": device, "clock": arguments.clock}))


if __name__ == "__main__":
    main()
