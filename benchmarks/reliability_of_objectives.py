"""Measure how well the gradient of every objective of the registry repeats itself, on photographs.

    python benchmarks/reliability_of_objectives.py --photographs FOLDER --weights FOLDER

Takes all signals of config/signals.yaml that need no captions as one set, extracts them from every
stage of a trained MobileNetV2, draws those that depend on chance a second time for all photographs,
and prints a table in Markdown: the median over stages, with the lowest and the highest. Calibration
images are those of the shipped studies. Nothing is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import pandas as pd

from gradbrain.config.plugins import LIBRARY_PLUGINS, signal_needs, uncertain_signals
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import ModelEntry, ReliabilitySettings, SignalSet
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.datasets.stimuli import file_stimulus, stimuli_table
from gradbrain.signals.device import set_up
from gradbrain.signals.extraction import ExtractionJob, run_extraction
from gradbrain.signals.layer_stores import LayerRequest
from gradbrain.signals.second_draw import ReliabilityJob, measure_reliability
from gradbrain.store import write_table

REGISTRIES = Registries([ROOT / "config"])
WHERE = "benchmark"


def signals_without_text() -> SignalSet:
    """All signals of the registry that look at images alone, as one set."""
    names = read_yaml(ROOT / "config" / "signals.yaml")["signals"]
    signals = [REGISTRIES.signal(name, where=WHERE) for name in names]
    chosen = [
        signal for signal in signals if "text_tower" not in signal_needs(signal, LIBRARY_PLUGINS)
    ]
    return SignalSet(name="all", signals=tuple(chosen))


def write_images(folder: Path, photographs: Path) -> tuple[Path, Path]:
    """Write the tables of the photographs and of the calibration images."""
    paths = sorted(photographs.glob("*.jpg"))
    if not paths:
        raise SystemExit(f"{photographs}: holds no file *.jpg")
    rows = [file_stimulus(path, image_id=path.stem, group=path.stem) for path in paths]
    entry = REGISTRIES.dataset("package_photographs", where=WHERE)
    crops = adapter(entry.adapter, where=WHERE).stimuli(
        entry, read_options(entry, where=WHERE), "calibration", folder
    )
    tables = {"photographs": stimuli_table(rows, name="photographs"), "calibration": crops}
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table, kind="stimuli")
    return folder / "photographs.parquet", folder / "calibration.parquet"


def measure(
    folder: Path, model: ModelEntry, photographs: Path, weights: Path, batch_size: int
) -> tuple[pd.DataFrame, SignalSet]:
    """Extract all signals, draw some of them again, and compare."""
    stimuli, calibration = write_images(folder, photographs)
    (folder / "weights").symlink_to(weights.resolve())
    signal_set = signals_without_text()
    layers = [
        LayerRequest(layer.name, layer.depth, folder / f"{layer.name}.zarr")
        for layer in REGISTRIES.layers(model.architecture, where=WHERE)
    ]
    compute = set_up("auto", "fp32", 1)
    shared = {
        "entry": model,
        "signal_set": signal_set,
        "stimuli": stimuli,
        "stimuli_name": "photographs",
        "calibration": calibration,
        "data": folder,
        "batch_size": batch_size,
    }
    run_extraction(ExtractionJob(layers=tuple(layers), code_digest="", **shared), compute)
    job = ReliabilityJob(
        study=WHERE,
        features=tuple(layer.output for layer in layers),
        settings=ReliabilitySettings(n_images=10**6),
        **shared,
    )
    return measure_reliability(job, compute), signal_set


def markdown(table: pd.DataFrame, signal_set: SignalSet) -> str:
    """Lay reliabilities out: a row per signal, those without chance last."""
    lines = ["| signal | reliability | beyond all activations |", "|---|---|---|"]
    random = [signal.name for signal in uncertain_signals(signal_set, LIBRARY_PLUGINS)]
    for name in random:
        own = table[table["signal"] == name]
        cells = [
            f"{own[column].median():.2f} [{own[column].min():.2f}, {own[column].max():.2f}]"
            for column in ("reliability", "unique_reliability")
        ]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    for signal in signal_set.signals:
        if signal.name not in random:
            lines.append(f"| `{signal.name}` | nothing drawn | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, required=True, help="folder of *.jpg")
    parser.add_argument("--weights", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--model", default="mobilenetv2_100_imagenet1k", help="of models.yaml")
    parser.add_argument("--input-size", type=int, default=224, help="in pixels")
    parser.add_argument("--batch-size", type=int, default=25)
    arguments = parser.parse_args()
    model = REGISTRIES.model(arguments.model, where="--model").model_copy(
        update={"input_size": arguments.input_size}
    )
    with tempfile.TemporaryDirectory() as folder:
        table, signal_set = measure(
            Path(folder), model, arguments.photographs, arguments.weights, arguments.batch_size
        )
    print(f"{model.name} at {model.input_size} px, {table['n_images'].iloc[0]} photographs:\n")
    print(markdown(table, signal_set))


if __name__ == "__main__":
    main()
