"""Preparing one person of THINGS-EEG2 at full size, against reading the same files with numpy.

Files of the published shapes (16,540 × 4 and 200 × 80 trials of 17 channels at 100 times, 1.1 GB)
are written to a temporary folder. The peer is ``numpy.load(allow_pickle=True)`` of both and the
mean over repetitions: it runs whatever a file names, and knows no ceilings and images. Each runs in
a process of its own; prints a JSON line with processor seconds and the largest memory of each.

    python benchmarks/bench_things_eeg2.py
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

import numpy as np

SHAPES = {"training": (16540, 4, 17, 100), "test": (200, 80, 17, 100)}
CHANNELS = [
    *("P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8"),
    *("PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2"),
]
SUBJECT = "things_eeg2-sub-01"


def write(root: Path) -> None:
    """Write epochs, and images that are names alone: responses read no pixels."""
    from trees.things_eeg2 import TIMES, save_dictionary

    rng = np.random.default_rng(0)
    for partition, shape in SHAPES.items():
        content = {
            "preprocessed_eeg_data": rng.standard_normal(shape),
            "ch_names": CHANNELS,
            "times": TIMES,
        }
        folder = root / "preprocessed_data" / "sub-01"
        save_dictionary(folder / f"preprocessed_eeg_{partition}.npy", content)
        per_concept = 10 if partition == "training" else 1
        for number in range(shape[0]):
            concept = number // per_concept + 1
            folder = root / "image_set" / f"{partition}_images" / f"{concept:05d}_{partition}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{partition}{concept}_{number % per_concept + 1:02d}s.jpg").touch()


def ours(root: Path) -> None:
    """Averages, ceilings and places of channels, as the job makes them."""
    import pandas as pd
    from trees.modalities import MODALITIES

    from gradbrain.config.schema import DatasetEntry
    from gradbrain.datasets import things_eeg2

    entry = DatasetEntry(
        name="things_eeg2",
        adapter="things_eeg2",
        modality=MODALITIES["eeg"],
        subjects=(SUBJECT,),
        stimuli="things_eeg2",
        licence="none",
    )
    options = things_eeg2.Options()
    files = [
        path.stem
        for partition in SHAPES
        for path in things_eeg2.image_files(root, options, partition)
    ]
    stimuli = pd.DataFrame({"image_id": files, "group": files})
    found = things_eeg2.Adapter().responses(entry, options, SUBJECT, stimuli, root, [])
    assert found["response"].shape == (16740, 100, 17)


def peer(root: Path) -> None:
    """Averages alone."""
    for partition in SHAPES:
        path = root / "preprocessed_data" / "sub-01" / f"preprocessed_eeg_{partition}.npy"
        np.load(path, allow_pickle=True).item()["preprocessed_eeg_data"].mean(axis=1)


def measured(who: str, root: Path) -> dict[str, float]:
    """Run one of both in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", who, "--root", str(root)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        start = time.process_time()
        {"ours": ours, "peer": peer}[arguments.child](arguments.root)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        seconds = time.process_time() - start
        print(json.dumps({"cpu_s": round(seconds, 2), "max_gib": round(memory, 2)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        found = {who: measured(who, Path(folder)) for who in ("peer", "ours")}
    ratio = found["ours"]["cpu_s"] / found["peer"]["cpu_s"]
    print(json.dumps({"benchmark": "things_eeg2", **found, "cpu_ratio": round(ratio, 2)}))


if __name__ == "__main__":
    main()
