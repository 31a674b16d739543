"""Damage files of other people: what readers of data sets, images, weights and settings make of it.

    python benchmarks/torture_external.py --seeds 0:2000 --out torture.jsonl
    python benchmarks/torture_external.py --readers "npy responses" --seeds 0:200

Small trees of every data set (``tests/trees``) are written in the published formats; one file is
damaged at a time, and read as a job reads it. An attack follows from its reader and seed, and is
one line of the file; those that are there already are not repeated. Readers work in a process of
their own, which a crash, a limit of memory or of processor time ends.

What others made carries no digest of ours: a value that was changed in its place cannot be told,
unless the entry pins a checksum (``--pinned``). What may never happen is a crash, a hang, more
memory than a file of its size can need, an error that is not ours or not one line, rows that are
gone or came besides without a word, and a row or column with the values of another. Those are
printed, and end the campaign with 1. A table that was changed to another valid table is followed,
where no other file tells: then rows may change places (``follows the table``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

import numpy as np
import pandas as pd

from gradbrain.config import GradbrainError
from gradbrain.config.schema import DatasetEntry, FetchFile, FetchSpec

CPU_S, MEMORY_BYTES, ADDRESS_BYTES = 20.0, 512 << 20, 6 << 30
FINE = (
    "refused",
    "same values",
    "values changed in place",
    "follows the table",
    "masked and counted",
)


# --- what a reader sees --------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What was read, as far as it can be held against what was written.

    Attributes
    ----------
    values
        Rows × columns.
    rows, columns
        Their names.
    labels
        Whatever else was read.
    n_masked
        Columns that were left out and counted.
    per_masked
        Columns that one of these stands for: a sensor is left out at all times.
    """

    values: np.ndarray
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    n_masked: int = 0
    per_masked: int = 1


def seen_of_array(values: Any) -> Seen:
    """An array alone: its first axis are rows."""
    values = np.asarray(values)
    return Seen(values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1))


def seen_of_pairs(pairs: dict[Any, Any]) -> Seen:
    """A mapping: each key is a row, and its value a label."""
    return Seen(
        np.zeros((len(pairs), 1)),
        rows=tuple(map(str, pairs)),
        labels=tuple(map(str, pairs.values())),
    )


def seen_of_responses(dataset: Any, table: pd.DataFrame) -> Seen:
    """Responses of a subject as an adapter hands them on."""
    values = dataset["response"].values
    flat = values.reshape(len(values), -1)
    names = [name for name in ("roi", "hemisphere", "vertex", "sensor", "time") if name in dataset]
    about = zip(*(map(str, dataset[name].values) for name in names), strict=False)
    per_target = tuple("/".join(words) for words in about) if "roi" in names else ()
    labels = () if per_target else tuple("/".join(map(str, dataset[n].values)) for n in names)
    columns = tuple(map(str, dataset["vertex"].values)) if "vertex" in names else ()
    return Seen(
        flat,
        rows=tuple(map(str, dataset["image_id"].values)),
        columns=columns,
        labels=(*per_target, *labels, *map(str, table["group"])),
        n_masked=int(dataset.attrs.get("n_masked_targets", 0)),
        per_masked=int(dataset.sizes.get("time", 1)),
    )


def judged(whole: Seen, seen: Seen) -> str:
    """Hold what was read of a damaged file against what was written."""
    if whole.values.shape == seen.values.shape and whole.rows == seen.rows:
        same = np.array_equal(whole.values, seen.values, equal_nan=whole.values.dtype.kind == "f")
        if same and (whole.columns, whole.labels) == (seen.columns, seen.labels):
            return "same values"
        if _moved(whole.values, seen.values) or _moved(whole.values.T, seen.values.T):
            return "MISALIGNED"
        return "values changed in place"
    n_columns = seen.values.shape[1] + seen.n_masked * seen.per_masked
    if whole.rows == seen.rows and n_columns == (
        whole.values.shape[1] + whole.n_masked * whole.per_masked
    ):
        return "masked and counted"
    if len(seen.values) < len(whole.values) or n_columns < whole.values.shape[1]:
        return "DROPPED"
    if sorted(seen.rows) == sorted(whole.rows):
        return "MISALIGNED"
    return "CAME BESIDES" if seen.values.shape != whole.values.shape else "values changed in place"


def _moved(whole: np.ndarray, seen: np.ndarray) -> bool:
    """Whether a row holds what another row was written with, and did not before."""
    # Of a few numbers others may hold the same by chance.
    if len(whole) < 2 or whole.shape[1] < 4 or np.ptp(whole) == 0:
        return False
    place = {row.tobytes(): number for number, row in enumerate(np.ascontiguousarray(whole))}
    return any(
        place.get(row.tobytes(), number) != number
        for number, row in enumerate(np.ascontiguousarray(seen))
        if not np.array_equal(row, whole[number])
    )


# --- trees, and how they are read ----------------------------------------------------------------


@dataclass(frozen=True)
class Tree:
    """Files of others, and what reads them.

    Attributes
    ----------
    write
        Writes them into a folder.
    read
        Reads them.
    files
        Name of a reader -> pattern of the files that it reads; the first one is attacked.
    tables
        Readers of texts with rows, which may change places.
    """

    write: Callable[[Path], Any]
    read: Callable[[Path], Seen]
    files: dict[str, str]
    tables: tuple[str, ...] = ()
    entry: Any = None


def _entry(name: str, modality: str, subject: str, **options: Any) -> DatasetEntry:
    from trees.modalities import MODALITIES

    shared = {} if name in ("nsd", "algonauts2023") else {"stimuli": name}
    return DatasetEntry(
        name=name,
        adapter=name if name != "mine" else "arrays",
        modality=MODALITIES[modality],
        subjects=(subject,),
        options=options,
        licence="none",
        **shared,
    )


def prepare(entry: DatasetEntry, data: Path) -> Seen:
    """Read stimuli and responses of the only subject of an entry, as its jobs do."""
    from gradbrain.datasets.registry import adapter, read_options
    from gradbrain.datasets.responses import TargetBlocks, check_responses

    (subject,) = entry.subjects
    source, options = adapter(entry.adapter), read_options(entry)
    problems = source.check(entry, options, data)
    if problems:
        raise GradbrainError("; ".join(problems))
    table = source.stimuli(entry, options, entry.stimuli_of(subject), data)
    made = source.responses(entry, options, subject, table, data, [])
    if isinstance(made, TargetBlocks):
        made = _joined(made, data)
    else:
        check_responses(made, table)
    return seen_of_responses(made, table)


def _joined(made: Any, data: Path) -> Any:
    from gradbrain.datasets.responses import write_target_blocks
    from gradbrain.store import open_store

    path = data / "made.zarr"
    try:
        write_target_blocks(path, made)
        return open_store(path, kind="responses").load()
    finally:
        shutil.rmtree(path, ignore_errors=True)
        path.with_name(f"{path.name}.provenance.json").unlink(missing_ok=True)


def write_mine(folder: Path, ending: str = "npy") -> None:
    """Images and responses of one's own, in three sessions."""
    from PIL import Image

    rng = np.random.default_rng(0)
    images = [f"picture_{number}" for number in range(6)]
    (folder / "images").mkdir(parents=True)
    for name in images:
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    table = pd.DataFrame({"image_id": images, "file": [f"images/{name}.png" for name in images]})
    table["group"] = ["a", "a", "b", "b", "c", "d"]
    table["label"] = range(6)
    table["caption"] = [f"a picture of number {number}, seen twice" for number in range(6)]
    table.to_csv(folder / "images.csv", index=False)
    rows = pd.DataFrame({"image_id": images * 3, "session": np.repeat(["x", "y", "z"], 6)})
    targets = pd.DataFrame({"roi": np.repeat(["V1", "V2", "LO", "EVC"], 5)})
    targets["hemisphere"] = ["left", "right"] * 10
    for axis in "xyz":
        targets[axis] = np.round(rng.normal(scale=30, size=20), 2)
    values = rng.standard_normal((len(rows), len(targets))).astype(np.float32)
    if ending == "npy":
        np.save(folder / "s1.npy", values)
        rows.to_csv(folder / "rows.csv", index=False)
        targets.to_csv(folder / "targets.csv", index=False)
        return
    if ending == "parquet":
        np.save(folder / "s1.npy", values)
        rows.to_parquet(folder / "rows.parquet", index=False)
        targets.to_parquet(folder / "targets.parquet", index=False)
        return
    import xarray as xr

    dataset = xr.Dataset(
        {"response": (("presentation", "target"), values)},
        coords={
            **{name: ("presentation", rows[name].to_numpy(dtype=str)) for name in rows},
            **{name: ("target", np.asarray(targets[name], dtype=None)) for name in "xyz"},
            "roi": ("target", targets["roi"].to_numpy(dtype=str)),
            "hemisphere": ("target", targets["hemisphere"].to_numpy(dtype=str)),
        },
    )
    if ending == "zarr":
        dataset.to_zarr(folder / "s1.zarr")
    else:
        dataset.to_netcdf(folder / "s1.nc")


def mine(ending: str, readers: dict[str, str], tables: tuple[str, ...] = ()) -> Tree:
    """One's own arrays, with tables of some format."""
    options: dict[str, Any] = {"table": "images.csv", "responses": "s1.npy"}
    if ending in ("zarr", "nc"):
        options["responses"] = f"s1.{ending}"
    else:
        table = "csv" if ending == "npy" else "parquet"
        options |= {"rows": f"rows.{table}", "targets": f"targets.{table}"}
    entry = _entry("mine", "fmri", "mine-s1", **options)
    write, read = partial(write_mine, ending=ending), partial(prepare, entry)
    return Tree(write, read, readers, tables, entry)


def write_matrices(folder: Path, ending: str) -> None:
    """Dissimilarities of two people in two regions, and images."""
    from PIL import Image
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(1, 9):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"image_{number}.png")
    for region in ("evc", "it"):
        rdms = np.stack([1 - np.corrcoef(rng.standard_normal((8, 40))) for _ in range(2)])
        rdms = (rdms + rdms.transpose(0, 2, 1)) / 2
        rdms[:, range(8), range(8)] = 0
        path = folder / f"{region}.{ending}"
        if ending == "npz":
            np.savez(path, rdm=rdms)
        elif ending == "npy":
            np.save(path, rdms)
        else:
            savemat(path, {"rdm": rdms}, do_compression=True)


def matrices(ending: str) -> Tree:
    """Dissimilarities in some format."""
    files = {
        region: {"path": f"{region.lower()}.{ending}"} | ({} if ending == "npy" else {"key": "rdm"})
        for region in ("EVC", "IT")
    }
    options = {"files": files, "images": "images/*.png", "roi_order": ["EVC", "IT"]}
    options |= {"early_rois": ["EVC"], "high_rois": ["IT"]}
    entry = _entry("dissimilarity", "fmri", "mine-s01", **options)
    return Tree(
        partial(write_matrices, ending=ending),
        partial(prepare, entry),
        {f"{ending} matrices": f"evc.{ending}"},
        entry=entry,
    )


NSD_REGIONS = {"early": ["early"], "high": ["ventral", "lateral", "parietal"]}


def write_nsd(folder: Path) -> None:
    """Surface and volume of a person of NSD in two sessions, without its images."""
    import trees.nsd as nsd

    nsd.write_images = lambda tree: None
    tree = nsd.write_nsd_tree(folder, width=24)
    nsd.write_nsd_volume(tree)


def read_nsd(folder: Path, space: str = "fsaverage") -> Seen:
    """Responses of a person of NSD to the images that its design names."""
    from gradbrain.datasets import nsd
    from gradbrain.datasets.nsd_design import read_design

    options = {"sessions": 2, "regions": NSD_REGIONS, "early_rois": ["early"], "space": space}
    entry = _entry("nsd", "fmri", "nsd-subj01", **options)
    parsed = nsd.Options.model_validate(options)
    for problem in nsd.Adapter().check(entry, parsed, folder):
        # The images alone are not written.
        if nsd.STIMULI not in problem:
            raise GradbrainError(problem)
    images, _ = nsd._images(parsed, 1, read_design(folder))
    names = [nsd.image_id(image) for image in images.tolist()]
    table = pd.DataFrame({"image_id": names, "group": names})
    made = nsd.Adapter().responses(entry, parsed, "nsd-subj01", table, folder, [])
    return seen_of_responses(_joined(made, folder), table)


def write_pictures(folder: Path) -> None:
    """A picture in every format, and images in HDF5."""
    import h5py
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(24, 32, 3), dtype=np.uint8)
    for ending in ("png", "jpg", "webp", "gif"):
        Image.fromarray(pixels).save(folder / f"picture.{ending}")
    with h5py.File(folder / "images.hdf5", "w") as file:
        values = rng.integers(256, size=(6, 8, 8, 3), dtype=np.uint8)
        file.create_dataset("imgBrick", data=values, chunks=(1, 8, 8, 3), compression="gzip")


def read_pictures(folder: Path, ending: str) -> Seen:
    """Pixels of a picture, or of all images of an HDF5 file."""
    from gradbrain.datasets import images

    if ending != "hdf5":
        pixels = np.array(images.read_picture(folder / f"picture.{ending}").rgb)
        # One image is one value: what is damaged may move all pixels that follow, and where its
        # width or height is, the picture has others.
        digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
        return Seen(np.zeros((1, 1)), labels=(digest,))
    images._hdf5_images.cache_clear()
    path = folder / "images.hdf5"
    return seen_of_array([images.read_hdf5_image(path, "imgBrick", index) for index in range(6)])


def write_weights(folder: Path) -> None:
    """A state dictionary in both formats."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    state = {f"layer{number}.weight": torch.randn(6, 5, generator=generator) for number in range(4)}
    save_file(state, folder / "model.safetensors")
    torch.save(state, folder / "model.pth")


def read_weights(folder: Path, ending: str) -> Seen:
    """Weights, by name, loaded strictly into a network of these layers."""
    import torch

    from gradbrain.config.schema import ModelEntry
    from gradbrain.models.weights import load_strictly, read_state

    entry = ModelEntry(
        name="m", architecture="mobilenetv2_050", weights={"source": "random"}, input_size=48
    )
    path = folder / f"model.{ending}"
    network = torch.nn.ModuleDict(
        {f"layer{number}": torch.nn.Linear(5, 6, bias=False) for number in range(4)}
    )
    load_strictly(network, read_state(path, entry), path=path, entry=entry)
    state = network.state_dict()
    return Seen(np.stack([value.numpy().ravel() for value in state.values()]), rows=tuple(state))


def write_settings(folder: Path) -> None:
    """A registry, a study and a table of layers."""
    folder.mkdir()
    shutil.copyfile(ROOT / "tests/workflow/tiny/datasets.yaml", folder / "datasets.yaml")


def read_settings(folder: Path) -> Seen:
    """Entries of a registry of data sets."""
    from gradbrain.config.registries import Registries

    found = Registries([ROOT / "config", folder])
    names = ("few_photographs", "tiny_fmri", "tiny_meg")
    return seen_of_pairs({name: found.dataset(name, where="a study") for name in names})


def write_captions(folder: Path) -> None:
    """Captions of COCO, and NSD's table of its images."""
    from trees.coco import write_coco

    write_coco(folder / "captions", folder / "info.csv", range(12))


def read_captions(folder: Path) -> Seen:
    """Captions of images of NSD."""
    from gradbrain.datasets.coco_captions import coco_captions

    return seen_of_pairs(
        coco_captions(range(12), folder=folder / "captions", info=folder / "info.csv")
    )


def _write(module: str, function: str, **options: Any) -> Callable[[Path], Any]:
    """Write a tree of ``tests/trees``."""

    def write(folder: Path) -> Any:
        import importlib

        return getattr(importlib.import_module(f"trees.{module}"), function)(folder, **options)

    return write


def write_things_raw(folder: Path) -> None:
    """A person of THINGS-MEG as it was recorded."""
    from trees.things import CONCEPTS, write_raw_runs, write_things_meg

    subject = write_things_meg(folder, participants=[1], concepts=CONCEPTS[:3], sessions=1)[1]
    write_raw_runs(folder, 1, subject.table, duration=30.0)


def trees() -> Iterator[Tree]:
    """Every kind of file that others make and this code reads."""
    yield mine(
        "npy",
        {
            "npy responses": "s1.npy",
            "CSV of images": "images.csv",
            "CSV of rows": "rows.csv",
            "CSV of targets": "targets.csv",
        },
        ("CSV of images", "CSV of rows", "CSV of targets"),
    )
    yield mine(
        "parquet", {"Parquet of rows": "rows.parquet", "Parquet of targets": "targets.parquet"}
    )
    yield mine("zarr", {"Zarr responses": "s1.zarr/**/*"})
    yield mine("nc", {"netCDF responses": "s1.nc"})
    for ending in ("npz", "npy", "mat"):
        yield matrices(ending)
    betas = "nsddata_betas/ppdata/subj01"
    labels = "nsddata/freesurfer/fsaverage"
    yield Tree(
        write_nsd,
        read_nsd,
        {
            "NSD design (mat)": "nsddata/experiments/nsd/nsd_expdesign.mat",
            "NSD betas (mgh)": f"{betas}/fsaverage/*/lh.betas_session01.mgh",
            "NSD signal to noise (mgh)": f"{betas}/fsaverage/*/lh.ncsnr.mgh",
            "NSD labels (mgz)": f"{labels}/label/lh.streams.mgz",
            "NSD names (ctab)": f"{labels}/label/streams.mgz.ctab",
            "NSD surface": f"{labels}/surf/lh.pial",
        },
        ("NSD names (ctab)",),
    )
    yield Tree(
        write_nsd,
        partial(read_nsd, space="func1pt8mm"),
        {
            "NSD volume (hdf5)": f"{betas}/func1pt8mm/*/betas_session01.hdf5",
            "NSD volume (nii.gz)": f"{betas}/func1pt8mm/*/betas_session02.nii.gz",
            "NSD volume labels (nii.gz)": "nsddata/ppdata/subj01/func1pt8mm/roi/lh.streams.nii.gz",
        },
    )
    yield Tree(
        write_captions,
        read_captions,
        {
            "COCO captions (json)": "captions/captions_train2017.json",
            "NSD's table of COCO (CSV)": "info.csv",
        },
        ("NSD's table of COCO (CSV)",),
    )
    entry = _entry("algonauts2023", "fmri", "algonauts2023-subj01")
    yield Tree(
        _write("algonauts", "write_algonauts_tree"),
        partial(prepare, entry),
        {
            "Algonauts responses (npy)": "subj01/training_split/training_fmri/lh_training_fmri.npy",
            "Algonauts labels (pickle)": "subj01/roi_masks/mapping_streams.npy",
            "Algonauts masks (npy)": "subj01/roi_masks/lh.streams_challenge_space.npy",
        },
        entry=entry,
    )
    entry = _entry("things_fmri", "fmri", "things_fmri-sub-01")
    folder = "derivatives/betas_csv"
    yield Tree(
        _write("things", "write_things_fmri", subjects=("01",), shape=(6, 5, 5)),
        partial(prepare, entry),
        {
            "THINGS-fMRI responses (h5)": f"{folder}/sub-01_ResponseData.h5",
            "THINGS-fMRI trials (CSV)": f"{folder}/sub-01_StimulusMetadata.csv",
            "THINGS-fMRI voxels (CSV)": f"{folder}/sub-01_VoxelMetadata.csv",
            "THINGS-fMRI mask (nii.gz)": "derivatives/brainmasks/*.nii.gz",
        },
        ("THINGS-fMRI trials (CSV)", "THINGS-fMRI voxels (CSV)"),
        entry,
    )
    entry = _entry("things_meg", "meg", "things_meg-P1")
    yield Tree(
        _write("things", "write_things_meg", participants=(1,)),
        partial(prepare, entry),
        {
            "THINGS-MEG epochs (fif)": "derivatives/preprocessed/preprocessed_P1-epo.fif",
            "THINGS-MEG trials (CSV)": "sourcedata/sample_attributes_P1.csv",
        },
        ("THINGS-MEG trials (CSV)",),
        entry,
    )
    entry = _entry("things_meg", "meg", "things_meg-P1", source="raw", onset="events")
    run = "sub-BIGMEG1/ses-01/meg/sub-BIGMEG1_ses-01_task-main_run-01"
    yield Tree(
        write_things_raw,
        partial(prepare, entry),
        {
            "THINGS-MEG recording (meg4)": f"{run}_meg.ds/*.meg4",
            "THINGS-MEG recording (res4)": f"{run}_meg.ds/*.res4",
            "THINGS-MEG events (TSV)": f"{run}_events.tsv",
        },
        ("THINGS-MEG events (TSV)",),
        entry,
    )
    entry = _entry("things_eeg2", "eeg", "things_eeg2-sub-01")
    yield Tree(
        _write("things_eeg2", "write_preprocessed", people=(1,)),
        partial(prepare, entry),
        {"THINGS-EEG2 epochs (pickle)": "preprocessed_data/sub-01/preprocessed_eeg_training.npy"},
        entry=entry,
    )
    for ending in ("png", "jpg", "webp", "gif"):
        yield Tree(
            write_pictures,
            partial(read_pictures, ending=ending),
            {f"image ({ending})": f"picture.{ending}"},
        )
    yield Tree(
        write_pictures, partial(read_pictures, ending="hdf5"), {"images (HDF5)": "images.hdf5"}
    )
    for ending in ("safetensors", "pth"):
        yield Tree(
            write_weights,
            partial(read_weights, ending=ending),
            {f"weights ({ending})": f"model.{ending}"},
        )
    yield Tree(write_settings, read_settings, {"registry (YAML)": "datasets.yaml"})


# --- attacks -------------------------------------------------------------------------------------


def one_bit(content: bytearray, rng: np.random.Generator) -> bytes:
    """Change one bit."""
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return content


def some_bytes(content: bytearray, rng: np.random.Generator) -> bytes:
    """Change up to eight bytes, often in the head."""
    end = len(content) if rng.random() < 0.5 else min(len(content), 512)
    for place in rng.integers(0, end, rng.integers(1, 9)):
        content[place] = int(rng.integers(256))
    return content


def extreme_number(content: bytearray, rng: np.random.Generator) -> bytes:
    """Write the largest, the smallest or another odd number into the head, of 2, 4 or 8 bytes."""
    size = int(rng.choice([2, 4, 8]))
    start = int(rng.integers(min(len(content), 2048)))
    value = [b"\xff" * size, b"\x00" * size, b"\x7f" + b"\xff" * (size - 1), rng.bytes(size)]
    content[start : start + size] = value[rng.integers(4)]
    return content


def zeros(content: bytearray, rng: np.random.Generator) -> bytes:
    """Set a stretch to zero, as a lost block of a disk does."""
    start = int(rng.integers(len(content)))
    stop = min(len(content), start + int(rng.integers(1, 513)))
    content[start:stop] = bytes(stop - start)
    return content


def cut(content: bytearray, rng: np.random.Generator) -> bytes:
    """Cut it short."""
    return content[: int(rng.integers(len(content)))]


def _block(content: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    size = int(rng.choice([1, 4, 8, 80, 512, 4096]))
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + size)


def block_lost(content: bytearray, rng: np.random.Generator) -> bytes:
    """Drop a block, what follows moves up."""
    start, stop = _block(content, rng)
    return content[:start] + content[stop:]


def block_twice(content: bytearray, rng: np.random.Generator) -> bytes:
    """Have a block twice, what follows moves down."""
    start, stop = _block(content, rng)
    return content[:stop] + content[start:]


def grown(content: bytearray, rng: np.random.Generator) -> bytes:
    """Put bytes in somewhere, or behind the end."""
    place = int(rng.integers(len(content) + 1)) if rng.random() < 0.5 else len(content)
    return content[:place] + rng.bytes(int(rng.integers(1, 100))) + content[place:]


def _lines(content: bytearray) -> list[bytes]:
    return bytes(content).splitlines(keepends=True)


def line_lost(content: bytearray, rng: np.random.Generator) -> bytes:
    """Leave out a line."""
    lines = _lines(content)
    lines.pop(int(rng.integers(len(lines))))
    return b"".join(lines)


def line_twice(content: bytearray, rng: np.random.Generator) -> bytes:
    """Have a line twice."""
    lines = _lines(content)
    place = int(rng.integers(len(lines)))
    return b"".join([*lines[:place], lines[place], *lines[place:]])


def lines_swapped(content: bytearray, rng: np.random.Generator) -> bytes:
    """Let two lines change places, but for the first."""
    lines = _lines(content)
    one, two = 1 + rng.integers(0, len(lines) - 1, 2)
    lines[one], lines[two] = lines[two], lines[one]
    return b"".join(lines)


def field_lost(content: bytearray, rng: np.random.Generator) -> bytes:
    """Leave out a field of a line, or have one more."""
    lines = _lines(content)
    place = int(rng.integers(len(lines)))
    mark = b"\t" if b"\t" in lines[place] else b","
    fields = lines[place].split(mark)
    where = int(rng.integers(len(fields)))
    if rng.random() < 0.5 and len(fields) > 1:
        fields.pop(where)
    else:
        fields.insert(where, b"0")
    lines[place] = mark.join(fields)
    return b"".join(lines)


ATTACKS: dict[str, Callable[[bytearray, np.random.Generator], bytes]] = {
    "one bit": one_bit,
    "up to eight bytes": some_bytes,
    "an odd number in the head": extreme_number,
    "a stretch of zeros": zeros,
    "cut short": cut,
    "a block lost": block_lost,
    "a block twice": block_twice,
    "bytes put in": grown,
}
LOST = "a file lost"
OF_TABLES = {
    "a line lost": line_lost,
    "a line twice": line_twice,
    "two lines swapped": lines_swapped,
    "a field more or less": field_lost,
}


@dataclass
class Reader:
    """One kind of file, in a tree that was written for it."""

    name: str
    tree: Tree
    folder: Path
    attacked: list[Path] = field(default_factory=list)
    originals: dict[Path, bytes] = field(default_factory=dict)
    whole: Seen | None = None

    def prepare(self) -> None:
        """Write the tree, and read it undamaged."""
        self.tree.write(self.folder)
        found = sorted(self.folder.glob(self.tree.files[self.name]))
        self.attacked = [path for path in found if path.is_file()]
        if not self.attacked:
            raise SystemExit(f"{self.name}: no file matches {self.tree.files[self.name]!r}")
        self.originals = {path: path.read_bytes() for path in self.attacked}
        self.whole = self.tree.read(self.folder)

    def attack(self, seed: int, pinned: bool) -> dict[str, Any]:
        """Damage a file, read the tree, put the file back."""
        rng = np.random.default_rng([seed, *hashlib.sha256(self.name.encode()).digest()[:4]])
        attacks = {**ATTACKS, **(OF_TABLES if self.name in self.tree.tables else {})}
        if len(self.attacked) > 1:
            attacks[LOST] = cut
        fault = list(attacks)[rng.integers(len(attacks))]
        path = self.attacked[rng.integers(len(self.attacked))]
        original = self.originals[path]
        if fault == LOST:
            path.unlink()
        else:
            path.write_bytes(attacks[fault](bytearray(original), rng))
        about = {"target": self.name, "fault": fault, "where": path.name}
        try:
            outcome, told = self._outcome(fault, path, pinned)
        finally:
            path.write_bytes(original)
        return {**about, "outcome": outcome, "told": told}

    def _outcome(self, fault: str, path: Path, pinned: bool) -> tuple[str, str]:
        assert self.whole is not None
        held = memory_now()
        try:
            if pinned:
                self._check_pinned(path)
            seen = self.tree.read(self.folder)
        except GradbrainError as error:
            told = str(error).replace(str(self.folder), "")
            if "\n" in told:
                return "ERROR OF SEVERAL LINES", told
            if path.name not in told and path.stem not in told and "image" not in told:
                return "refused", f"(names another file) {told}"
            return "refused", told
        except Exception as error:
            return "ERROR THAT IS NOT OURS", f"{type(error).__name__}: {error}"
        if memory_now(peak=True) - held > MEMORY_BYTES:
            return "TOO MUCH MEMORY", f"{(memory_now(peak=True) - held) >> 20} MiB"
        outcome = judged(self.whole, seen)
        if fault in OF_TABLES and outcome in ("MISALIGNED", "values changed in place"):
            outcome = "follows the table"
        return outcome, ""

    def _check_pinned(self, path: Path) -> None:
        from gradbrain.datasets.pinned_files import check_pinned

        digest = hashlib.sha256(self.originals[path]).hexdigest()
        relative = path.relative_to(self.folder).as_posix()
        spec = FetchSpec(
            base_url="https://example.org", files={relative: FetchFile(url="x", sha256=digest)}
        )
        entry = self.tree.entry or _entry("mine", "fmri", "mine-s1")
        check_pinned(entry.model_copy(update={"fetch": spec}), self.folder)


def memory_now(*, peak: bool = False) -> int:
    """Bytes of memory of this process, or the most since this was last asked for the present."""
    key = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")
    return found


def read_mat_in_a_fork() -> None:
    """Have the reader of MATLAB files fork where it starts an interpreter: the same, but sooner."""
    from gradbrain.datasets import matlab

    def forked(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        *_, path, folder, names, limit = command
        child = os.fork()
        if not child:
            status = 1
            try:
                signal.setitimer(signal.ITIMER_PROF, 0)
                matlab.convert(Path(path), Path(folder), json.loads(names), int(limit))
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), "", "")

    import scipy.io  # noqa: F401 - before the fork

    matlab.subprocess = type("subprocess", (), {"run": staticmethod(forked), **vars(subprocess)})
    matlab.subprocess.run = staticmethod(forked)


# --- processes that may die ----------------------------------------------------------------------


def work(reader: Reader, seeds: Sequence[int], pinned: bool, out: int) -> None:
    """Make attacks, and write a line before and after each."""
    address = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (address + ADDRESS_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    assert reader.whole is not None
    if judged(reader.whole, reader.tree.read(reader.folder)) != "same values":
        raise AssertionError("undamaged files are not read as before")
    for seed in seeds:
        os.write(out, json.dumps({"begun": seed}).encode() + b"\n")
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        row = reader.attack(seed, pinned)
        os.write(out, json.dumps({"seed": seed, **row}).encode() + b"\n")


def attacks_of(reader: Reader, seeds: Sequence[int], pinned: bool) -> Iterator[dict[str, Any]]:
    """Make attacks in processes of their own; one that dies is a row as well."""
    left = list(seeds)
    while left:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            status = 1
            try:
                work(reader, left, pinned, write)
                status = 0
            except BaseException as error:
                print(f"{reader.name}: {type(error).__name__}: {error}", file=sys.stderr)
            finally:
                os._exit(status)
        os.close(write)
        begun = None
        with os.fdopen(read) as lines:
            for line in lines:
                row = json.loads(line)
                if "begun" in row:
                    begun = row["begun"]
                else:
                    begun = None
                    left.remove(row["seed"])
                    yield row
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if begun is not None:
            left.remove(begun)
            hang = -status == signal.SIGPROF
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            yield {
                "seed": begun,
                "target": reader.name,
                "fault": "any",
                "where": "",
                "outcome": "HANG" if hang else "CRASH",
                "told": name,
            }
            # What was damaged was not put back.
            for path, content in reader.originals.items():
                path.write_bytes(content)
        elif status:
            raise SystemExit(f"{reader.name}: its process ended with {status}")


def readers(folder: Path) -> Iterator[Reader]:
    """One reader after the other, in folders of their own."""
    for number, tree in enumerate(trees()):
        for place, name in enumerate(tree.files):
            yield Reader(name, tree, folder / f"{number}_{place}")


def run_reader(reader: Reader, seeds: Sequence[int], pinned: bool, out: Path) -> int:
    """Make the attacks on a reader that are not done; returns how many went wrong."""
    bad = 0
    campaign = "external, pinned" if pinned else "external"
    with out.open("a", encoding="utf-8") as file:
        for row in attacks_of(reader, seeds, pinned):
            file.write(json.dumps({"campaign": campaign, **row}) + "\n")
            file.flush()
            if row["outcome"] not in FINE:
                bad += 1
                print(f"{reader.name}, seed {row['seed']}: {row}", flush=True)
    return bad


def main(argv: Sequence[str] | None = None) -> None:
    from torture import read_log, seeds_of, table_of

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds_of, default=range(2000), metavar="FIRST:STOP")
    parser.add_argument("--readers", nargs="*", default=[], help="names; all where left out")
    parser.add_argument("--pinned", action="store_true", help="the entry pins a checksum")
    parser.add_argument("--out", type=Path, default=Path("torture.jsonl"))
    arguments = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    campaign = "external, pinned" if arguments.pinned else "external"
    log = [row for row in read_log(arguments.out) if row["campaign"] == campaign]
    done = {(row["target"], row["seed"]) for row in log}
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        for reader in readers(Path(name)):
            if arguments.readers and reader.name not in arguments.readers:
                continue
            seeds = [seed for seed in arguments.seeds if (reader.name, seed) not in done]
            if not seeds:
                continue
            # Each in a process that imports what it needs: libraries of one are not those of all.
            child = os.fork()
            if not child:
                status = 2
                try:
                    read_mat_in_a_fork()
                    reader.prepare()
                    bad = run_reader(reader, seeds, arguments.pinned, arguments.out)
                    status = 1 if bad else 0
                except Exception as error:
                    print(f"{reader.name}: {type(error).__name__}: {error}", flush=True)
                finally:
                    os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(f"{reader.name}: {len(seeds)} attacks, status {status}", flush=True)
            bad += status != 0
    rows = [row for row in read_log(arguments.out) if row["campaign"] == campaign]
    print("\n".join(table_of(rows)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
