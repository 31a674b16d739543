"""Measure the memory of whole encoding jobs against the size of the responses that they read.

Each job is the real command (`scripts/fit_encoding.py`) on stores of random numbers, in a process
of its own, so that its peak is its own. Responses are float32 in memory; the last line is JSON with
the peak over them, from which `workflow/rules/inputs.smk` takes what a job asks of a cluster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import xarray as xr

from gradbrain.config.schema import EncodingSettings
from gradbrain.store import write_store, write_tree

ROIS = [f"region{number:02d}" for number in range(20)]


def write_responses(path: Path, n_images: int, n_targets: int) -> None:
    generator = np.random.default_rng(0)
    dataset = xr.Dataset(
        {
            "response": (
                ("image", "target"),
                generator.standard_normal((n_images, n_targets), dtype=np.float32),
            ),
            "noise_ceiling": ("target", np.full(n_targets, 0.5, dtype=np.float32)),
        },
        coords={
            "image_id": ("image", image_ids(n_images)),
            "group": ("image", image_ids(n_images)),
            "n_repeats": ("image", np.ones(n_images, dtype=np.int64)),
            "roi": ("target", np.resize(ROIS, n_targets)),
        },
        attrs={
            "dataset": "random",
            "subject": "random-s1",
            "modality": "fmri",
            "axis": "roi",
            "sensors": "voxels",
            "space": "none",
            "rotation_invariant": False,
            "roi_order": ROIS,
            "early_rois": ROIS[:1],
            "high_rois": ROIS[-1:],
            "onset_s": 0.0,
        },
    )
    write_store(path, dataset, kind="responses")


def write_features(path: Path, n_images: int, n_features: int) -> None:
    generator = np.random.default_rng(1)
    names = ["activation", "gradient"]
    per_image = (("image", "signal"), np.zeros((n_images, len(names)), dtype=np.float32))
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={
            "image_id": ("image", image_ids(n_images)),
            "signal": ("signal", names),
            "role": ("signal", ["activation", "learning"]),
            "rule": ("signal", ["activation", "backprop"]),
            "objective": ("signal", ["", "dino"]),
        },
        attrs={
            "model": "random",
            "layer": "layer0",
            "depth": 0.5,
            "signal_set": "random",
            "stimuli": "random",
        },
    )
    signals = {
        name: (
            ("image", "feature"),
            generator.standard_normal((n_images, n_features), dtype=np.float32),
        )
        for name in names
    }
    tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(signals)})
    write_tree(path, tree, kind="features")


def image_ids(count: int) -> np.ndarray:
    return np.array([f"image{number:06d}" for number in range(count)])


def peak_of_fit(folder: Path, settings: EncodingSettings) -> float:
    """Run a fit; return its peak resident memory in GiB."""
    measured = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [
        *(sys.executable, "-c", measured, str(ROOT / "scripts" / "fit_encoding.py")),
        *("--features", str(folder / "features.zarr"), "--layers", "layer0"),
        *("--responses", str(folder / "responses.zarr"), "--study", "random"),
        *("--settings", settings.model_dump_json()),
        *("--output", str(folder / "fit.zarr"), "--table", str(folder / "fit.parquet")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--features", type=int, default=256, help="per band")
    parser.add_argument("--targets", type=int, nargs="+", default=[5000, 10000, 20000, 40000])
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--target-batch", type=int, default=EncodingSettings().target_batch)
    arguments = parser.parse_args()
    settings = EncodingSettings(
        n_folds=arguments.folds, n_draws=arguments.draws, target_batch=arguments.target_batch
    )
    peaks, sizes = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_features(folder / "features.zarr", arguments.images, arguments.features)
        for count in arguments.targets:
            write_responses(folder / "responses.zarr", arguments.images, count)
            peaks.append(peak_of_fit(folder, settings))
            sizes.append(arguments.images * count * 4 / 2**30)
            print(f"{count} targets, {sizes[-1]:.3f} GiB: {peaks[-1]:.2f} GiB", file=sys.stderr)
    slope, base = np.polyfit(sizes, peaks, 1)
    print(
        json.dumps(
            {
                **vars(arguments),
                "response_gib": [round(size, 3) for size in sizes],
                "peak_gib": [round(peak, 2) for peak in peaks],
                "gib_per_response_gib": round(float(slope), 2),
                "base_gib": round(float(base), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
