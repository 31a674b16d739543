"""Small trees of LAION-fMRI in the layout and formats of its bucket.

Names of files, columns, axes, types and units are the published ones; only the numbers of voxels,
trials and images are small.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

SHAPE = (7, 6, 5)
AFFINE = np.diag([-1.778, 1.778, 1.778, 1.0])
AFFINE[:3, 3] = (5.0, -8.0, -3.0)
REGIONS = ("V1", "hV4", "FFA1")


@dataclass
class Person:
    """What was written of a person."""

    labels: dict[str, list[str]] = field(default_factory=dict)
    betas: dict[str, np.ndarray] = field(default_factory=dict)
    mask: np.ndarray = field(default_factory=lambda: np.zeros(SHAPE, bool))
    regions: dict[str, np.ndarray] = field(default_factory=dict)
    ceiling: np.ndarray = field(default_factory=lambda: np.zeros(SHAPE))


def labels_of(person: str, *, n_shared: int, n_unique: int, n_odd: int) -> list[str]:
    """Labels of a person: shared photographs, pictures of other kinds, photographs of its own."""
    shared = [f"shared_12rep_LAION_cluster_{n}_i0.jpg" for n in range(n_shared)]
    odd = [f"shared_4rep_OOD_gabor_{n}.png" for n in range(n_odd)]
    own = [f"unique_{person}_LAION_cluster_{n}_i0.jpg" for n in range(n_unique)]
    return [*shared, *odd, *own]


def write_laion_fmri(
    root: Path,
    *,
    people: Sequence[str] = ("sub-01", "sub-03"),
    sessions: int = 2,
    n_shared: int = 10,
    n_unique: int = 5,
    n_odd: int = 4,
    earlier: bool = False,
    signal: float = 2.0,
    edge: int = 32,
) -> dict[str, Person]:
    """Write a tree; each image is shown twice over two sessions.

    Responses follow the mean colours of the images, so that features predict them.
    """
    written = {}
    for number, person in enumerate(people):
        rng = np.random.default_rng(number)
        labels = labels_of(person, n_shared=n_shared, n_unique=n_unique, n_odd=n_odd)
        colours = write_images(root / "stimuli" / "images", labels, edge=edge)
        own = Person(mask=rng.random(SHAPE) < 0.8)
        halves = np.array_split(np.argsort(rng.random(SHAPE).ravel()), len(REGIONS) + 1)
        for region, places in zip(REGIONS, halves, strict=False):
            mask = np.zeros(SHAPE, bool)
            mask.ravel()[places] = True
            own.regions[region] = mask
            _write_region(root, person, region, mask, earlier=earlier)
        folder = root / "derivatives" / "glmsingle-tedana" / person
        weights = rng.standard_normal((3, *SHAPE))
        shown = [label for label in labels for _ in range(2)]
        order = rng.permutation(len(shown))
        for place, part in enumerate(np.array_split(order, sessions), start=1):
            session = f"ses-{place:02d}"
            chosen = [shown[index] for index in part]
            known = np.stack([colours[label] for label in chosen])
            values = signal * np.einsum("tc,cxyz->xyzt", known, weights)
            values += rng.standard_normal(values.shape)
            values = (values + place).astype(np.float32)
            own.labels[session], own.betas[session] = chosen, values
            _write_session(folder, person, session, chosen, values)
        own.ceiling = rng.uniform(5, 60, SHAPE).astype(np.float32)
        stem = f"{person}_task-images_space-T1w"
        mask_name = (
            f"{stem}_desc-meanR2gt15mask_mask.nii.gz"
            if earlier
            else f"{stem}_stat-rsquare_desc-R2mean_statmap.nii.gz"
        )
        explained = own.mask.astype(np.uint8 if earlier else np.float32)
        save(folder / mask_name, explained if earlier else 20 * explained)
        save(folder / f"{stem}_desc-Noiseceiling4rep_statmap.nii.gz", own.ceiling)
        written[person] = own
        _write_splits(root / "splits" / person, labels)
    _write_splits(
        root / "splits" / "shared", labels_of("", n_shared=n_shared, n_unique=0, n_odd=n_odd)
    )
    return written


def save(path: Path, values: np.ndarray) -> None:
    """Write a volume on the tree's grid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)


def write_images(folder: Path, labels: Sequence[str], *, edge: int) -> dict[str, np.ndarray]:
    """Write images of random colours, those of a label always the same; returns mean colours."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = {}
    for label in labels:
        rng = np.random.default_rng(list(label.encode()))
        colour = rng.uniform(0.1, 0.9, 3)
        noise = 0.1 * rng.standard_normal((edge, edge, 3))
        pixels = (255 * np.clip(colour + noise, 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / label, quality=95)
        colours[label] = colour - 0.5
    return colours


def _write_session(
    folder: Path, person: str, session: str, labels: Sequence[str], values: np.ndarray
) -> None:
    stem = folder / session / "func" / f"{person}_{session}_task-images"
    save(
        stem.with_name(f"{stem.name}_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"),
        values,
    )
    rows = ["session\trun\tbeta_index\tlabel"]
    rows += [f"{session}\trun-01\t{number}\t{label}" for number, label in enumerate(labels)]
    path = stem.with_name(f"{stem.name}_desc-SingletrialBetas_trials.tsv")
    path.write_text("\n".join(rows) + "\n")


def _write_region(root: Path, person: str, region: str, mask: np.ndarray, *, earlier: bool) -> None:
    derivatives = root / "derivatives"
    path = (
        derivatives / "atlases" / person / "rois" / f"{region}.nii.gz"
        if earlier
        else derivatives
        / "rois"
        / person
        / "visual"
        / f"{person}_space-T1w_res-1pt8_label-{region}_mask.nii.gz"
    )
    save(path, mask.astype(np.uint8))


def _write_splits(folder: Path, labels: Sequence[str]) -> None:
    """Write the package's splits: a file for each fold, and pictures of other kinds held out."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = [label for label in labels if "OOD" not in label]
    tests = {f"cluster_k5_{fold}": pool[fold::5] for fold in range(5)}
    tests |= {"tau": pool[: len(pool) // 3], "ood": [one for one in labels if "OOD" in one]}
    for name, test in tests.items():
        train = [label for label in pool if label not in set(test)]
        content = {
            "name": name,
            "pool": "of a test",
            "splitter": "test",
            "params": {},
            "n_train": len(train),
            "n_test": len(test),
            "variants": [{"variant_id": 0, "train_ids": train, "test_ids": test}],
        }
        (folder / f"{name}.json").write_text(json.dumps(content))
