"""A small tree in the layout of the Algonauts 2023 release: same names, shapes, types and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

N_VERTICES = 163_842
LABELS = {
    "prf-visualrois": ["V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"],
    "streams": [
        "early",
        "midventral",
        "midlateral",
        "midparietal",
        "ventral",
        "lateral",
        "parietal",
    ],
    "floc-bodies": ["EBA", "FBA-1", "FBA-2", "mTL-bodies"],
    "floc-faces": ["OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"],
    "floc-places": ["OPA", "PPA", "RSC"],
    "floc-words": ["OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"],
}
#: What the columns of a hemisphere are, in turn: (prf-visualrois, streams, floc-faces).
COLUMNS = (
    ("V1v", "early", ""),
    ("V1d", "early", ""),
    ("V2v", "early", ""),
    ("V3d", "early", ""),
    ("hV4", "midventral", ""),
    ("", "ventral", "FFA-1"),
    ("", "lateral", ""),
    ("", "parietal", ""),
    ("", "", ""),
)


def write_algonauts_tree(
    root: Path,
    *,
    subjects: tuple[str, ...] = ("subj01",),
    n_images: int = 6,
    n_vertices: int = 2 * len(COLUMNS),
    size: int = 16,
    seed: int = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """Write subjects below `root`; return their betas by subject and hemisphere."""
    written = {}
    for number, subject in enumerate(subjects):
        rng = np.random.default_rng([seed, number])
        folder = root / subject
        write_images(folder, n_images, size, rng, first=100 * number)
        (folder / "training_split" / "training_fmri").mkdir(parents=True)
        (folder / "roi_masks").mkdir()
        written[subject] = {
            code: write_hemisphere(folder, code, n_images, n_vertices, rng) for code in ("lh", "rh")
        }
        for name, labels in LABELS.items():
            mapping = {0: "Unknown"} | dict(enumerate(labels, start=1))
            np.save(folder / "roi_masks" / f"mapping_{name}.npy", mapping)
    return written


def write_images(
    folder: Path, n_images: int, size: int, rng: np.random.Generator, *, first: int
) -> None:
    images = folder / "training_split" / "training_images"
    images.mkdir(parents=True)
    for row in range(n_images):
        # Numbers of the images of NSD rise with gaps, as in the release.
        name = f"train-{row + 1:04d}_nsd-{first + 13 + 3 * row:05d}.png"
        pixels = rng.integers(256, size=(size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / name)


def write_hemisphere(
    folder: Path, code: str, n_images: int, n_vertices: int, rng: np.random.Generator
) -> np.ndarray:
    betas = rng.standard_normal((n_images, n_vertices)).astype(np.float32)
    np.save(folder / "training_split" / "training_fmri" / f"{code}_training_fmri.npy", betas)
    masks = folder / "roi_masks"
    # Every other vertex lies beyond fsaverage5, so that its position is not known without surfaces.
    vertices = np.sort(
        np.concatenate(
            [
                rng.choice(10_242, n_vertices // 2, replace=False),
                rng.choice(
                    np.arange(10_242, N_VERTICES), n_vertices - n_vertices // 2, replace=False
                ),
            ]
        )
    )
    everything = np.zeros(N_VERTICES, dtype=int)
    everything[vertices] = 1
    np.save(masks / f"{code}.all-vertices_fsaverage_space.npy", everything)
    for name, labels in LABELS.items():
        place = {"prf-visualrois": 0, "streams": 1, "floc-faces": 2}.get(name)
        values = np.zeros(n_vertices, dtype=int)
        if place is not None:
            for column in range(n_vertices):
                label = COLUMNS[column % len(COLUMNS)][place]
                values[column] = labels.index(label) + 1 if label else 0
        np.save(masks / f"{code}.{name}_challenge_space.npy", values)
        whole = np.zeros(N_VERTICES, dtype=int)
        whole[vertices] = values
        np.save(masks / f"{code}.{name}_fsaverage_space.npy", whole)
    return betas
