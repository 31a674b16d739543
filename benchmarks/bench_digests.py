"""What it costs that readers compare all that they read with its SHA-256, in processor time.

    python benchmarks/bench_digests.py read
    python benchmarks/bench_digests.py objects92
    python benchmarks/bench_digests.py job scripts/fit_encoding.py --features … (a printed command)

`read` writes stores of the size of one person of NSD (responses by column, features row by row,
components of all activations), and reads each with and without digests, in turn. `objects92` runs a
fit of a person of objects92, all layers of a MobileNetV2 in one process, on random numbers of its
shapes, and counts what its digests take; `job` does so with a job as Snakemake prints it. All print
JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
import xarray as xr

from gradbrain.config.schema import EncodingSettings
from gradbrain.store import (
    ColumnStore,
    StreamingStore,
    file_digests,
    open_tree,
    verified_files,
    write_store,
    write_tree,
)

ROOT = Path(__file__).resolve().parents[1]

NSD_IMAGES, NSD_TARGETS, NSD_FEATURES, NSD_COMPONENTS = 9_000, 40_000, 1_024, 3_000
BLOCK = 500


def write_responses(path: Path, n_images: int, n_targets: int) -> None:
    """Responses by column."""
    rng = np.random.default_rng(0)
    with ColumnStore(
        path,
        kind="feedback",
        name="response",
        dims=("image", "target"),
        n_rows=n_images,
        max_columns=n_targets,
    ) as store:
        for start in range(0, n_targets, BLOCK):
            width = min(BLOCK, n_targets - start)
            store.append(rng.standard_normal((n_images, width), dtype=np.float32))
        store.finish(xr.Dataset())


def write_rows(path: Path, n_rows: int, widths: dict[str, int]) -> None:
    """Arrays row by row."""
    rng = np.random.default_rng(0)
    template = {
        name: (("image", f"width_of_{name}"), (n_rows, width), np.float32)
        for name, width in widths.items()
    }
    with StreamingStore(path, kind="feedback", template=template, coords={}, attrs={}) as store:
        for start in range(0, n_rows, BLOCK):
            count = min(BLOCK, n_rows - start)
            rows = {
                name: rng.standard_normal((count, width), dtype=np.float32)
                for name, width in widths.items()
            }
            store.write_rows(start, rows)
        store.finish()


def read(path: Path) -> int:
    """Read all of a store; bytes of its arrays."""
    dataset = open_tree(path, kind="feedback").to_dataset()
    return sum(dataset[name].values.nbytes for name in dataset.variables)


class _AsExpected(str):
    """A digest that is equal to whatever is expected."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class _NoHashing:
    """In the place of `hashlib`, at no cost."""

    @staticmethod
    def sha256(_: bytes) -> _NoHashing:
        """Take no digest."""
        return _NoHashing()

    def hexdigest(self) -> str:
        """Digest that was not taken."""
        return _AsExpected()


@contextmanager
def without_digests() -> Iterator[None]:
    """Read as it would be without comparing."""
    own = vars(verified_files)
    kept = {name: own[name] for name in ("hashlib", "sha256_of")}
    own.update(hashlib=_NoHashing, sha256_of=lambda _: _AsExpected())
    try:
        yield
    finally:
        own.update(kept)


def seconds(function: Callable[[], object]) -> float:
    """Processor time of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def bench_read(scale: float, repeats: int) -> dict[str, Any]:
    """Read stores of a person of NSD with and without digests, in turn."""
    n_targets = int(NSD_TARGETS * scale)
    result: dict[str, Any] = {"images": NSD_IMAGES, "targets": n_targets}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_responses(folder / "responses.zarr", NSD_IMAGES, n_targets)
        signals = dict.fromkeys(("activation", "gradient", "control"), NSD_FEATURES)
        write_rows(folder / "features.zarr", NSD_IMAGES, signals)
        write_rows(folder / "components.zarr", NSD_IMAGES, {"component": NSD_COMPONENTS})
        total = 0.0
        for path in sorted(folder.glob("*.zarr")):
            n_bytes = read(path)
            with_, without = [], []
            for _ in range(repeats):
                with_.append(seconds(lambda path=path: read(path)))
                with without_digests():
                    without.append(seconds(lambda path=path: read(path)))
            more = median(with_) - median(without)
            total += more
            result[path.stem] = {
                "gib": round(n_bytes / 2**30, 3),
                "with_s": round(median(with_), 3),
                "without_s": round(median(without), 3),
                "digests_s": round(more, 3),
            }
        empty = folder / "small.zarr"
        write_rows(empty, 92, {"activation": 20})
        opened = [seconds(lambda: [read(empty) for _ in range(50)]) / 50 for _ in range(repeats)]
        with without_digests():
            plain = [seconds(lambda: [read(empty) for _ in range(50)]) / 50 for _ in range(repeats)]
    result["digests_s"] = round(total, 3)
    result["small_store_ms"] = round(1000 * median(opened), 2)
    result["small_store_without_ms"] = round(1000 * median(plain), 2)
    return result


# MobileNetV2, blocks 0 to 6 on a grid of 4 × 4; signals of the set objects92.
CHANNELS = (16, 24, 32, 64, 96, 160, 320)
OBJECTS92_SIGNALS = (
    "activation",
    "dino",
    "entropy",
    "norm",
    "fixed",
    "other_dino",
    "other_entropy",
)
ROIS = ("EVC", "IT")


def write_objects92(folder: Path) -> list[str]:
    """Write random stores of the shapes of a person of objects92; arguments of the fit."""
    rng = np.random.default_rng(0)
    ids = np.array([f"object-{number:02d}" for number in range(92)])
    n_targets = 2 * 91
    brain = xr.Dataset(
        {"response": (("image", "target"), rng.standard_normal((92, n_targets), np.float32))},
        coords={
            "image_id": ("image", ids),
            "group": ("image", ids),
            "n_repeats": ("image", np.ones(92, dtype=np.int64)),
            "roi": ("target", np.repeat(ROIS, 91)),
        },
        attrs={
            **{"dataset": "random", "subject": "s1", "modality": "fmri", "axis": "roi"},
            **{"sensors": "voxels", "space": "none", "rotation_invariant": True, "onset_s": 0.0},
            **{"roi_order": list(ROIS), "early_rois": ["EVC"], "high_rois": ["IT"]},
        },
    )
    write_store(folder / "responses.zarr", brain, kind="responses")
    n_signals = len(OBJECTS92_SIGNALS)
    roles = ["activation", "learning", "learning", *["control"] * (n_signals - 3)]
    per_image = (("image", "signal"), np.ones((92, n_signals), dtype=np.float32))
    labels = {"signal": list(OBJECTS92_SIGNALS), "role": roles}
    labels |= {name: list(OBJECTS92_SIGNALS) for name in ("rule", "objective")}
    layers = [f"blocks.{number}" for number in range(len(CHANNELS))]
    for number, channels in enumerate(CHANNELS):
        root = xr.Dataset(
            {"objective_value": per_image, "magnitude": per_image},
            coords={
                "image_id": ("image", ids),
                **{name: ("signal", values) for name, values in labels.items()},
            },
            attrs={
                **{"model": "random", "layer": layers[number], "depth": (number + 1) / 7},
                **{"signal_set": "random", "stimuli": "random"},
            },
        )
        signals = {
            name: (("image", "feature"), rng.standard_normal((92, 16 * channels), np.float32))
            for name in OBJECTS92_SIGNALS
        }
        tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(signals)})
        write_tree(folder / f"{layers[number]}.zarr", tree, kind="features")

    def paths(ending: str) -> list[str]:
        return [str(folder / f"{layer}{ending}") for layer in layers]

    return [
        *("--features", *paths(".zarr"), "--layers", *layers),
        *("--responses", str(folder / "responses.zarr"), "--study", "random"),
        *("--settings", EncodingSettings(n_draws=200).model_dump_json()),
        *("--output", *paths("_fit.zarr"), "--table", *paths("_fit.parquet")),
    ]


class Counter:
    """Adds up the processor time of digests, over threads."""

    def __init__(self) -> None:
        self.seconds, self.n_bytes, self.n_files = 0.0, 0, 0

    @contextmanager
    def counting(self, n_bytes: int) -> Iterator[None]:
        """Count the block."""
        start = time.thread_time()
        yield
        self.seconds += time.thread_time() - start
        self.n_bytes += n_bytes
        self.n_files += 1


def bench_job(script: Path, arguments: list[str]) -> dict[str, Any]:
    """Run a job, and count what its digests take."""
    counter = Counter()
    sha256, of_file = hashlib.sha256, verified_files.sha256_of

    def counted(content: bytes = b"", **options: Any) -> Any:
        with counter.counting(len(content)):
            return sha256(content, **options)

    def counted_file(path: Path) -> str:
        with counter.counting(path.stat().st_size):
            return of_file(path)

    class Hashing:
        sha256 = staticmethod(counted)

    for module in (verified_files, file_digests):
        vars(module)["hashlib"] = type("hashlib", (Hashing,), {"file_digest": hashlib.file_digest})
    verified_files.sha256_of = counted_file
    sys.argv = [str(script), *arguments]
    start = time.process_time()
    runpy.run_path(str(script), run_name="__main__")
    total = time.process_time() - start
    return {
        "job": script.name,
        "processor_s": round(total, 2),
        "digests_s": round(counter.seconds, 4),
        "share": round(counter.seconds / total, 5),
        "files": counter.n_files,
        "mib": round(counter.n_bytes / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    reading = commands.add_parser("read")
    reading.add_argument("--scale", type=float, default=1.0, help="of the targets of NSD")
    reading.add_argument("--repeats", type=int, default=3)
    commands.add_parser("objects92")
    job = commands.add_parser("job")
    job.add_argument("script", type=Path)
    job.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.what == "read":
        print(json.dumps(bench_read(arguments.scale, arguments.repeats)))
    elif arguments.what == "objects92":
        with tempfile.TemporaryDirectory() as name:
            fit = write_objects92(Path(name))
            print(json.dumps(bench_job(ROOT / "scripts" / "fit_encoding.py", fit)))
    else:
        print(json.dumps(bench_job(arguments.script, arguments.arguments)))


if __name__ == "__main__":
    main()
