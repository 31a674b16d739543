"""Activations and gradients of a trained network for `compare_unique_tests.py`, in one .npz file.

    python benchmarks/extract_unique_features.py --photographs FOLDER --weights FILE \
        --out results/unique/features.npz
    python benchmarks/extract_unique_features.py --package-crops 640 \
        --model efficientnet_lite0_128px --layers blocks.0 blocks.2 blocks.4 --out FILE

FOLDER holds photographs (a sample of ImageNet in docs/unique_part.md), FILE the weights of
`mobilenetv2_100_imagenet1k` in config/models.yaml. Each photograph gives `--crops` images: the
whole one, then random crops of 30 to 80 % of its area. Signals are those of the study's own
extraction: cross-entropy against the network's own prediction, and the feature norm, averaged over
positions and of unit length per image. Without a folder the images are crops of the photographs
that installed packages carry, as the simulated brains see them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.datasets.images import content_sha256
from gradbrain.datasets.photographs import Options, crops
from gradbrain.models.build import build_model
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.image_stream import StimulusImages

MODEL = "mobilenetv2_100_imagenet1k"
LAYERS = ("blocks.1", "blocks.3", "blocks.5")
SIGNALS = SignalSet(
    name="bench",
    signals=(
        SignalEntry(name="activation", role="activation", rule="activation"),
        SignalEntry(
            name="cross_entropy",
            role="learning",
            rule="backprop",
            objective="cross_entropy",
            options={"target": "prediction"},
        ),
        SignalEntry(name="feature_norm", role="control", rule="backprop", objective="feature_norm"),
    ),
)


def crop_box(size: tuple[int, int], generator: np.random.Generator) -> tuple[int, int, int, int]:
    """A random rectangle of 30 to 80 % of the area, of the shape of the whole."""
    edge = np.sqrt(generator.uniform(0.3, 0.8))
    width, height = (round(edge * length) for length in size)
    left = int(generator.integers(size[0] - width + 1))
    top = int(generator.integers(size[1] - height + 1))
    return left, top, left + width, top + height


def write_crops(photographs: Path, folder: Path, n_crops: int) -> pd.DataFrame:
    """Write crops and return their stimulus table, photograph by photograph."""
    generator, rows = np.random.default_rng(0), []
    files = sorted(path for path in photographs.iterdir() if path.suffix in (".jpg", ".png"))
    for file in files:
        with Image.open(file) as opened:
            whole = opened.convert("RGB")
        for number in range(n_crops):
            shown = whole.crop(crop_box(whole.size, generator)) if number else whole
            path = folder / f"{file.stem}-{number}.png"
            shown.resize((256, 256), Image.Resampling.BICUBIC).save(path)
            rows.append(
                {
                    "image_id": path.stem,
                    "label": pd.NA,
                    "loader": "file",
                    "locator": json.dumps({"path": str(path)}),
                    "content_sha256": content_sha256(np.asarray(Image.open(path))),
                    "photograph": file.stem,
                }
            )
    return pd.DataFrame(rows).astype({"label": "Int64"})


def read_model(name: str, weights: Path | None) -> ModelEntry:
    """Entry of the registry, with weights from a file where one is given."""
    entry = yaml.safe_load((ROOT / "config/models.yaml").read_text())["models"][name]
    if weights is not None:
        entry["weights"] = {"source": "file", "path": str(weights.resolve())}
    return ModelEntry(name=name, **entry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--photographs", type=Path)
    source.add_argument("--package-crops", type=int, metavar="N", help="N crops in all")
    parser.add_argument("--weights", type=Path, help="in the place of those of the registry")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--layers", nargs="+", default=list(LAYERS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=8, help="images per photograph")
    arguments = parser.parse_args()
    model = build_model(read_model(arguments.model, arguments.weights), device=torch.device("cpu"))
    layers = tuple(arguments.layers)
    extractor = SignalExtractor(model, layers, SIGNALS, calibration=None)
    found: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.photographs is None:
            table = crops(Options(n_images=arguments.package_crops), name="crops")
            table = table.assign(photograph=table["group"])
        else:
            table = write_crops(arguments.photographs, Path(folder), arguments.crops)
        images = StimulusImages(table, model.entry, "crops")
        for batch in images.batches(25, torch.device("cpu")):
            for layer, signals in extractor.take(batch).items():
                for name, rows in signals.features.items():
                    found.setdefault(f"{layer}/{name}", []).append(rows)
            print(f"{sum(map(len, found[f'{layers[0]}/activation']))} of {len(table)}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        arguments.out,
        photograph=table["photograph"].to_numpy(dtype=str),
        **{name: np.concatenate(rows) for name, rows in found.items()},
    )


if __name__ == "__main__":
    main()
