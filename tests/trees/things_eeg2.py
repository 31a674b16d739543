"""Small trees of THINGS-EEG2 in the layout and formats of its download.

Names of files and keys, containers, axes, types and numbering are the published ones; only the
numbers of concepts, channels, repetitions and samples are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from trees.things import write_images

CHANNELS = ("Pz", "P3", "O1", "Oz", "O2")
CAP = ("Fp1", "Cz", *CHANNELS)
TRAINING = ("aardvark", "air_mattress", "bat1", "coat_rack")
TEST = ("dog", "mango", "panda")
TIMES = np.round(np.arange(-0.2, 0.8, 0.01), 2)
RATE = 1000.0
TARGET = 99999


@dataclass(frozen=True)
class Epochs:
    """What was written of a person: partition -> (conditions, repetitions, channels, times)."""

    training: np.ndarray
    test: np.ndarray


def save_dictionary(path: Path, content: dict, protocol: int = 4) -> None:
    """Write a dictionary as ``numpy.save`` does, with any protocol of pickle."""
    import pickle

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        array = np.array(content, dtype=object)
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        pickle.dump(array, file, protocol=protocol)


def write_images_of_eeg2(root: Path, *, per_concept: int = 2, edge: int = 64) -> dict[str, list]:
    """Write ``image_set`` and ``image_metadata.npy``; returns the files of each partition."""
    files = {}
    # At once, so that no two have the same pixels.
    write_images(root / "image_set", (*TRAINING, *TEST), per_concept=per_concept, edge=edge)
    for concept in TEST:
        for path in sorted((root / "image_set" / concept).iterdir())[1:]:
            path.unlink()
    for partition, concepts in (("training", TRAINING), ("test", TEST)):
        folder = root / "image_set" / f"{partition}_images"
        folder.mkdir()
        for number, concept in enumerate(concepts, start=1):
            (root / "image_set" / concept).rename(folder / f"{number:05d}_{concept}")
        files[partition] = sorted(folder.glob("*/*.jpg"))
    save_dictionary(
        root / "image_metadata.npy",
        {
            "train_img_concepts": [path.parent.name for path in files["training"]],
            "train_img_files": [path.name for path in files["training"]],
            "test_img_concepts": [path.parent.name for path in files["test"]],
            "test_img_files": [path.name for path in files["test"]],
        },
    )
    return files


def write_preprocessed(
    root: Path,
    *,
    people: Sequence[int] = (1, 2),
    repeats: tuple[int, int] = (4, 8),
    noise: float = 1.0,
    protocol: int = 4,
) -> dict[int, Epochs]:
    """Write images and the preprocessed epochs of some people."""
    files = write_images_of_eeg2(root)
    written = {}
    for person in people:
        rng = np.random.default_rng(person)
        found = {}
        for partition, count in zip(("training", "test"), repeats, strict=True):
            shape = (len(files[partition]), 1, len(CHANNELS), len(TIMES))
            signal = rng.standard_normal(shape)
            values = signal + noise * rng.standard_normal((shape[0], count, *shape[2:]))
            found[partition] = values
            save_dictionary(
                root
                / "preprocessed_data"
                / f"sub-{person:02d}"
                / f"preprocessed_eeg_{partition}.npy",
                {
                    "preprocessed_eeg_data": values,
                    "ch_names": list(CHANNELS),
                    "times": TIMES,
                },
                protocol,
            )
        written[person] = Epochs(**found)
    return written


def write_raw(
    root: Path, *, person: int = 1, sessions: int = 2, mixing: np.ndarray | None = None
) -> dict[tuple[int, str], tuple[np.ndarray, np.ndarray]]:
    """Write images and recordings; returns per session and partition events and samples.

    Images come every 200 ms, with a target trial among them. In a session each training image
    comes twice and each test image three times. Samples are noise, mixed between channels.
    """
    files = write_images_of_eeg2(root)
    rng = np.random.default_rng(7)
    mixing = np.eye(len(CAP)) if mixing is None else mixing
    written = {}
    for session in range(1, sessions + 1):
        for partition, count in (("training", 2), ("test", 3)):
            order = np.concatenate(
                [rng.permutation(len(files[partition])) + 1 for _ in range(count)] + [[TARGET]]
            )
            onsets = 400 + 200 * np.arange(len(order))
            n_samples = int(onsets[-1]) + 1500
            # Slow enough to be kept at 100 Hz.
            slow = rng.standard_normal((len(CAP), n_samples // 50 + 2))
            samples = np.array(
                [
                    np.interp(np.arange(n_samples), 50 * np.arange(slow.shape[1]), row)
                    for row in slow
                ]
            )
            samples = mixing @ samples
            stim = np.zeros((1, n_samples))
            stim[0, onsets] = order
            save_dictionary(
                root
                / "raw_data"
                / f"sub-{person:02d}"
                / f"ses-{session:02d}"
                / f"raw_eeg_{partition}.npy",
                {
                    "raw_eeg_data": np.concatenate([samples, stim]),
                    "ch_names": [*CAP, "stim"],
                    "ch_types": ["eeg"] * len(CAP) + ["stim"],
                    "sfreq": int(RATE),
                },
            )
            written[session, partition] = (np.stack([onsets, order]), samples)
    return written
