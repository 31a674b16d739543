"""How many augmented views a signal needs, and of which scheme.

For each way to draw the views of an image, each number of views and each objective that looks at
views: the centred cosine of the signal between two seeds of its views (columns centred over
images, Frobenius inner product, mean over pairs of replicates) and with a reference of many
independent views, in the layer where it is least and in the median layer; and the cost of the
signal as a multiple of a fused pass without views (forward, backward, pooling). Signals are those
that extraction gives: averaged over positions, unit length per image. Views are drawn for
stimuli and calibration images alike.

    python benchmarks/bench_views.py mobilenetv2_100_imagenet1k --size 128 --photos FOLDER

Rows are appended to a CSV file below --results as they are found, and rows that are there are not
made again; the reference is kept beside it. The table comes last; --table prints it alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
from PIL import Image

from gradbrain.config.registries import Registries
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.datasets.images import content_sha256
from gradbrain.models.build import build_model
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.device import set_up
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.image_stream import StimulusImages, StoredImages

OBJECTIVES = ("dino", "view_consistency", "contrastive", "masked_feature")
MASK_SAMPLING = {"independent": "independent", "sobol": "balanced"}
REFERENCE_REPLICATE = 99
KEYS = ["network", "size", "objective", "shared", "sampling", "n_views"]


def photographs(folder: Path, n_images: int, *, part: int) -> pd.DataFrame:
    """Stimulus table of photographs of a folder: every other one, from the first or the second."""
    rows = []
    for path in sorted(folder.glob("*.jpg"))[part::2][:n_images]:
        locator = json.dumps({"path": str(path)})
        with Image.open(path) as picture:
            content = content_sha256(np.asarray(picture.convert("RGB")))
        rows.append((path.stem, pd.NA, "file", locator, content))
    columns = ["image_id", "label", "loader", "locator", "content_sha256"]
    return pd.DataFrame(rows, columns=columns).astype({"label": "Int64"})


def signal_of(objective: str, *, shared: bool, sampling: str, n_views: int) -> SignalEntry:
    """Entry of a signal whose views, or masks, are drawn in one way."""
    views = {"n_views": n_views, "shared": shared, "sampling": sampling}
    options = {"views": views}
    if objective == "masked_feature":
        options = {"n_masks": n_views, "shared": shared, "sampling": MASK_SAMPLING[sampling]}
    return SignalEntry(
        name=objective, role="learning", rule="backprop", objective=objective, options=options
    )


class Bench:
    """One network and its photographs."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        registries = Registries([ROOT / "config", *arguments.registries])
        entry = registries.model(arguments.model, where="command line")
        self.entry: ModelEntry = _resized(entry, arguments.size)
        self.compute = set_up(arguments.device, arguments.precision, arguments.threads)
        self.model = build_model(
            self.entry,
            data=arguments.data,
            device=self.compute.device,
            autocast=self.compute.autocast,
        )
        layers = registries.layers(entry.architecture, where="command line")
        self.layers = [layer.name for layer in layers]
        self.batch_size = arguments.batch_size
        stimuli, others = (
            StimulusImages(
                photographs(arguments.photos, arguments.images, part=part), self.entry, "photos"
            )
            for part in (0, 1)
        )
        self.n_images = len(stimuli)
        # Decoded once; what is timed and compared is the passes.
        self.stimuli, self.calibration = (
            StoredImages(images, self.batch_size, self.compute.device)
            for images in (stimuli, others)
        )

    def extractor(self, signals: list[SignalEntry], replicate: int = 0) -> SignalExtractor:
        """Extractor of some signals, fitted on calibration images of its own."""
        bank = CalibrationBank(self.model, self.calibration.batches)
        signal_set = SignalSet(name="bench", signals=tuple(signals))
        return SignalExtractor(self.model, self.layers, signal_set, bank, replicate=replicate)

    def signals(self, entries: list[SignalEntry], replicate: int) -> dict[str, np.ndarray]:
        """Signal and layer -> (images, features), centred and of Frobenius norm one."""
        extractor = self.extractor(entries, replicate)
        parts = [extractor.take(batch) for batch in self.stimuli.batches()]
        found = {}
        for entry, layer in itertools.product(entries, self.layers):
            values = np.concatenate([part[layer].features[entry.name] for part in parts])
            values = values.astype(np.float64) - values.mean(0, dtype=np.float64)
            found[f"{entry.name} {layer}"] = values / np.linalg.norm(values)
        return found

    def seconds(self, entries: list[SignalEntry], rounds: int = 3) -> float:
        """Processor seconds of the passes for all images, the fastest of some rounds."""
        extractor, times = self.extractor(entries), []
        for _ in range(rounds):
            batches = list(self.stimuli.batches())
            started = time.process_time()
            for batch in batches:
                extractor.take(batch)
            times.append(time.process_time() - started)
        return min(times)

    def costs(self, objective: str) -> tuple[float, float]:
        """Seconds of a fused pass of all images without views, and of one view of all images."""
        bare = SignalEntry(
            name="bare", role="control", rule="backprop", objective="fixed_cotangent"
        )
        without = self.seconds([bare])
        views = signal_of(objective, shared=True, sampling="sobol", n_views=4)
        return without, (self.seconds([views]) - without) / 4


def _resized(entry: ModelEntry, size: int | None) -> ModelEntry:
    """Entry with another input size; networks whose size is an argument are told it, too."""
    if size is None:
        return entry
    kwargs = dict(entry.kwargs)
    if "img_size" in kwargs:
        kwargs["img_size"] = size
    return entry.model_copy(update={"input_size": size, "kwargs": kwargs})


def reference(bench: Bench, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Signals of many independent views; taken from the file of an earlier run if there is one."""
    name = f"{arguments.model}-{bench.entry.input_size}-{arguments.reference}.npz"
    path = arguments.results / name
    if not path.is_file():
        entries = [
            signal_of(name, shared=False, sampling="independent", n_views=arguments.reference)
            for name in OBJECTIVES
        ]
        np.savez(path, **bench.signals(entries, REFERENCE_REPLICATE))
    return dict(np.load(path))


def compared(
    replicates: list[dict[str, np.ndarray]], truth: dict[str, np.ndarray], objective: str
) -> dict[str, float]:
    """Cosines between replicates and with the reference: least and median over layers."""
    keys = [key for key in truth if key.partition(" ")[0] == objective]
    between, with_truth = [], []
    for key in keys:
        found = [replicate[key] for replicate in replicates]
        pairs = itertools.combinations(found, 2)
        between.append(np.mean([(one * other).sum() for one, other in pairs]))
        with_truth.append(np.mean([(one * truth[key]).sum() for one in found]))
    return {
        "between_seeds": min(between),
        "between_seeds_median": float(np.median(between)),
        "with_reference": min(with_truth),
        "with_reference_median": float(np.median(with_truth)),
    }


def measure(bench: Bench, arguments: argparse.Namespace, done: set[tuple]) -> Iterator[dict]:
    """Rows of the table that are not there yet."""
    truth = reference(bench, arguments)
    costs = {name: bench.costs(name) for name in ("dino", "masked_feature")}
    grid = itertools.product(arguments.views, arguments.shared, arguments.sampling)
    for n_views, shared, sampling in grid:
        scheme = {"shared": bool(shared), "sampling": sampling, "n_views": n_views}
        row = {"network": arguments.model, "size": bench.entry.input_size}
        names = [
            name
            for name in arguments.objectives
            if (*row.values(), name, *scheme.values()) not in done
            and (name != "masked_feature" or sampling in MASK_SAMPLING)
        ]
        if not names:
            continue
        entries = [signal_of(name, **scheme) for name in names]
        seeds = range(1, arguments.replicates + 1)
        replicates = [bench.signals(entries, replicate) for replicate in seeds]
        for name in names:
            fused, view = costs["masked_feature" if name == "masked_feature" else "dino"]
            yield {
                **row,
                "objective": name,
                **scheme,
                **compared(replicates, truth, name),
                "cost": 1 + n_views * view / fused,
                "ms_per_image": 1e3 * (fused + n_views * view) / bench.n_images,
            }


def print_table(table: pd.DataFrame) -> None:
    """Print a table in Markdown per network: between seeds / with the reference, least layer."""
    for (network, size), rows in table.groupby(["network", "size"]):
        print(f"\n{network}, {size} px\n")
        names = [name for name in OBJECTIVES if name in set(rows["objective"])]
        print("| views | drawn | cost | " + " | ".join(f"`{name}`" for name in names) + " |")
        print("|---|---|---|" + "---|" * len(names))
        for (n_views, sampling, shared), part in rows.groupby(["n_views", "sampling", "shared"]):
            found = part.set_index("objective")
            cells = [
                f"{found.loc[name, 'between_seeds']:.2f} / {found.loc[name, 'with_reference']:.2f}"
                if name in found.index
                else "–"
                for name in names
            ]
            drawn = f"{sampling}, {'common' if shared else 'own'}"
            cost = part["cost"].median()
            print(f"| {n_views} | {drawn} | {cost:.1f} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="entry of models.yaml")
    parser.add_argument("--size", type=int, help="edge of the input in px, instead of the entry's")
    parser.add_argument("--photos", type=Path, help="folder of .jpg files")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of weights")
    parser.add_argument("--registries", type=Path, nargs="*", default=[])
    parser.add_argument("--results", type=Path, default=Path("results/bench_views"))
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--views", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--shared", type=int, nargs="+", choices=(0, 1), default=[0, 1])
    parser.add_argument(
        "--sampling",
        nargs="+",
        default=["independent", "sobol"],
        choices=("independent", "antithetic", "latin", "sobol"),
    )
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=OBJECTIVES)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--reference", type=int, default=512, help="views of the reference")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print what is there and stop")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / "views.csv"
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    if not arguments.table:
        done = {tuple(row[key] for key in KEYS) for row in rows}
        for row in measure(Bench(arguments), arguments, done):
            rows.append(row)
            pd.DataFrame([row]).to_csv(path, mode="a", header=not path.is_file(), index=False)
    print_table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
