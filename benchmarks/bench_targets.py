"""Processor time of extraction by layer, with and without shared targets, against one job.

Three ways to the same features of all layers, in one run: one job (`unit: model`); a job per layer
that passes the views of its objective itself; and `compute_objective_targets` with a job per layer
that is handed what it computed (`unit: layer`). Each way builds the network, decodes its images and
writes its stores as its jobs do; Python's start is not in it (some 2 s a job). The features of the
three ways are compared by their digests. The last line is JSON: times over that of one job.

    python benchmarks/bench_targets.py --network cnn --size 96
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
from bench_extraction import NETWORKS, write_images

from gradbrain.config.schema import ModelEntry, Pooling, SignalEntry, SignalSet, Weights
from gradbrain.models.layers import list_layers
from gradbrain.signals.device import Compute, set_up
from gradbrain.signals.extraction import ExtractionJob, run_extraction
from gradbrain.signals.layer_stores import LayerRequest
from gradbrain.signals.objective_targets import TargetsJob, run_targets
from gradbrain.store import write_table


def signals(n_views: int) -> SignalSet:
    """Signals of the paper's set."""
    views = {"views": {"n_views": n_views}}
    shuffled = {"objective": "dino", "options": views}
    rows = [
        ("gradient_dino", "learning", "dino", views),
        ("gradient_feature_norm", "control", "feature_norm", {}),
        ("gradient_fixed_cotangent", "control", "fixed_cotangent", {}),
        ("gradient_shuffled_dino", "control", "shuffled_cotangent", shuffled),
    ]
    return SignalSet(
        name="bench",
        signals=(
            SignalEntry(name="activation", role="activation", rule="activation"),
            *(
                SignalEntry(
                    name=name, role=role, rule="backprop", objective=objective, options=options
                )
                for name, role, objective, options in rows
            ),
        ),
        pooling=Pooling(kind="mean"),
    )


class Bench:
    """A network, its images, and the three ways."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        architecture, kwargs = NETWORKS[arguments.network]
        kwargs = kwargs | ({"img_size": arguments.size} if arguments.network == "vit" else {})
        self.entry = ModelEntry(
            name=arguments.network,
            architecture=architecture,
            kwargs=kwargs,
            weights=Weights(source="random"),
            input_size=arguments.size,
        )
        names = list_layers(architecture)["layer"].tolist()
        places = np.linspace(0, len(names) - 1, min(arguments.layers, len(names)))
        self.layers = [names[round(place)] for place in places]
        self.folder, self.batch_size = folder, arguments.batch_size
        self.signal_set = signals(arguments.views)
        self.compute: Compute = set_up(arguments.device, "fp32", arguments.threads)
        for seed, (name, n_images) in enumerate(
            {"seen": arguments.images, "other": arguments.calibration}.items()
        ):
            table = write_images(folder, name, n_images, seed)
            write_table(folder / f"{name}.parquet", table, kind="stimuli")

    def _common(self) -> dict:
        return {
            "entry": self.entry,
            "signal_set": self.signal_set,
            "stimuli": self.folder / "seen.parquet",
            "stimuli_name": "seen",
            "calibration": self.folder / "other.parquet",
            "data": self.folder,
            "batch_size": self.batch_size,
            "code_digest": "bench",
        }

    def extract(self, way: str, layers: list[str], targets: Path | None = None) -> dict[str, str]:
        """One extraction job; layer -> digest of its features."""
        requests = [
            LayerRequest(name, 1.0, self.folder / way / name / "seen.zarr") for name in layers
        ]
        job = ExtractionJob(layers=tuple(requests), targets=targets, **self._common())
        return run_extraction(job, self.compute)

    def model(self) -> dict[str, str]:
        """All layers in one job."""
        return self.extract("model", self.layers)

    def layers_alone(self) -> dict[str, str]:
        """A job per layer, each of which passes the views."""
        found: dict[str, str] = {}
        for layer in self.layers:
            found |= self.extract("alone", [layer])
        return found

    def layers_with_targets(self) -> dict[str, str]:
        """A job that passes the views, and a job per layer that passes none."""
        targets = self.folder / "targets.zarr"
        run_targets(TargetsJob(output=targets, **self._common()), self.compute)
        found: dict[str, str] = {}
        for layer in self.layers:
            found |= self.extract("with_targets", [layer], targets)
        return found


def timed(way: Callable[[], dict[str, str]]) -> tuple[float, dict[str, str]]:
    """Processor seconds of a way, and the digests that it gave."""
    started = time.process_time()
    digests = way()
    return time.process_time() - started, digests


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=NETWORKS, default="cnn")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--layers", type=int, default=4, help="evenly spaced in depth")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--calibration", type=int, default=32)
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, Path(folder))
        bench.extract("warm", bench.layers[-1:])
        seconds, digests = {}, {}
        for way in (bench.model, bench.layers_alone, bench.layers_with_targets):
            seconds[way.__name__], digests[way.__name__] = timed(way)
            print(f"{way.__name__}: {seconds[way.__name__]:.1f} s of a processor", flush=True)
    same = len({json.dumps(found, sort_keys=True) for found in digests.values()}) == 1
    model = seconds["model"]
    print(
        json.dumps(
            {
                "network": arguments.network,
                "layers": bench.layers,
                "layers_alone_vs_model": round(seconds["layers_alone"] / model, 2),
                "layers_with_targets_vs_model": round(seconds["layers_with_targets"] / model, 2),
                "same_features": same,
                "device": bench.compute.describe()["device"],
            }
        )
    )


if __name__ == "__main__":
    main()
