"""Preparing responses of the Natural Scenes Dataset against reading their bytes with numpy.

Session files of full width (163,842 vertices × 750 trials, 491 MB per hemisphere) are written to a
temporary folder. Peers are ``numpy.fromfile`` of the two files of one session (``read``) and the
same followed by a conversion to this machine's byte order (``read_native``: what can be computed
with). They take turns, and the fastest round of each counts. All read from the page cache, from
which numpy copies at the speed of memory (5 to 9 GB/s), or, with ``--cold``, from the disk: the
files' pages are dropped before each measurement.

``average``
    Betas to averages: reading, byte order, z-scores, averaging by image, no store.
``prepare``
    The whole job after its imports: checking the files, design, regions, positions, averages, and
    the store with its digest and checksums.

Each for the vertices in regions (39,548 of 327,684, the default mask, ``_regions``) and for all
(``_all``). ``--clock cpu`` counts processor seconds, system calls included: wall time on a shared
machine says more of its neighbours. Prints a JSON line.

``--sessions 1 4 40`` measures memory instead: the whole job in fresh processes with several numbers
of sessions. The same files are linked as every session, so that 1 GB of disk (and the store) do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

import numpy as np
import pandas as pd
from trees.nsd import FULL_WIDTH, STREAMS, NsdTree, write_design, write_labels, write_mgh
from trees.nsd import write_session as write_session_file

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import nsd
from gradbrain.datasets.nsd_design import read_design
from gradbrain.datasets.responses import TargetBlocks, write_target_blocks

SUBJECT = "nsd-subj01"
# The seven streams hold 39,548 of 327,684 vertices in the published label files.
LABELLED = 39548 // 2


class FullTree(NsdTree):
    """A tree whose streams are patches all over the surface, as large as the published ones."""

    def labels(self, hemisphere: str) -> np.ndarray:
        """Stream of each vertex, in runs of neighbours."""
        labels = np.zeros(self.width, dtype=np.int32)
        rng = np.random.default_rng(0)
        # Neighbours on the surface lie in runs of the index.
        starts = rng.choice(self.width // 32, size=LABELLED // 32, replace=False) * 32
        for number, start in enumerate(starts):
            labels[start : start + 32] = 1 + number % len(STREAMS)
        return labels


def write_tree(root: Path, n_sessions: int) -> NsdTree:
    """Write one pair of session files; the other sessions are links to them."""
    tree = FullTree(
        root=root, subjects=(1,), sessions=n_sessions, width=FULL_WIDTH, n_live=0, n_labelled=0
    )
    write_design(tree)
    write_labels(tree)
    images = root / nsd.STIMULI
    images.parent.mkdir(parents=True)
    images.write_bytes(nsd.HDF5_SIGNATURE)
    rng = np.random.default_rng(0)
    for hemisphere in ("lh", "rh"):
        first = tree.session_file(1, 1, hemisphere)
        write_session_file(
            first, rng.normal(0.3, 1.7, (750, FULL_WIDTH)).astype(np.float32), width=FULL_WIDTH
        )
        for session in range(2, n_sessions + 1):
            tree.session_file(1, session, hemisphere).symlink_to(first)
        write_mgh(first.parent / f"{hemisphere}.ncsnr.mgh", tree.ncsnr(1, hemisphere))
    return tree


def source(tree: NsdTree, n_sessions: int, mask: str) -> TargetBlocks:
    """Responses of the subject, to be made block by block."""
    options = nsd.Options.model_validate(
        {"sessions": n_sessions, "mask": mask, "regions": {name: [name] for name in STREAMS}}
    )
    entry = DatasetEntry(name="nsd", adapter="nsd", modality="fmri", subjects=(SUBJECT,))
    images, _ = nsd._images(options, 1, read_design(tree.root))
    names = [nsd.image_id(image) for image in images.tolist()]
    stimuli = pd.DataFrame({"image_id": names, "group": names})
    problems = nsd.Adapter().check(entry, options, tree.root)
    if problems:
        raise SystemExit("\n".join(problems))
    return nsd.Adapter().responses(entry, options, SUBJECT, stimuli, tree.root, [])


def seconds(function: Any, *arguments: Any, clock: Any = time.perf_counter) -> float:
    start = clock()
    function(*arguments)
    return clock() - start


def read_bytes(tree: NsdTree) -> None:
    """The peer: each file into an array."""
    for hemisphere in ("lh", "rh"):
        np.fromfile(tree.session_file(1, 1, hemisphere), dtype=">f4")


def read_native(tree: NsdTree) -> None:
    """The same, and into numbers of this machine."""
    for hemisphere in ("lh", "rh"):
        np.fromfile(tree.session_file(1, 1, hemisphere), dtype=">f4").astype(np.float32)


def average(tree: NsdTree, mask: str) -> None:
    for _ in source(tree, 1, mask).blocks:
        pass


def prepare(tree: NsdTree, mask: str, n_sessions: int = 1) -> None:
    write_target_blocks(store_of(tree), source(tree, n_sessions, mask))


def store_of(tree: NsdTree) -> Path:
    return tree.root.parent / "responses.zarr"


def drop_pages(tree: NsdTree) -> None:
    """Let the next reader of the session find it on the disk only."""
    for hemisphere in ("lh", "rh"):
        with tree.session_file(1, 1, hemisphere).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(tree: NsdTree, rounds: int, clock: Any, *, cold: bool) -> dict[str, float]:
    """Fastest of some rounds in which all take turns, in seconds."""
    tasks = {
        "read": (read_bytes, tree),
        "read_native": (read_native, tree),
        "average_all": (average, tree, "all"),
        "average_regions": (average, tree, "parcellation"),
        "prepare_all": (prepare, tree, "all"),
        "prepare_regions": (prepare, tree, "parcellation"),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, (function, *arguments) in tasks.items():
            # A job writes where nothing stands; removing 1 GB is none of its work.
            shutil.rmtree(store_of(tree), ignore_errors=True)
            if cold:
                drop_pages(tree)
            times[name].append(seconds(function, *arguments, clock=clock))
    return {name: min(found) for name, found in times.items()}


def peak_gib() -> float:
    """Peak memory of this process since it began.

    ``ru_maxrss`` would be that of the process which started it, where that was larger.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 2**20


def memory_by_sessions(root: Path, counts: list[int], mask: str) -> list[dict[str, float]]:
    """Peak memory of the whole preparation in a fresh process, for each number of sessions."""
    found = []
    for count in counts:
        command = [sys.executable, __file__, "--worker", str(root), str(count), mask]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--cold", action="store_true", help="read from the disk")
    parser.add_argument("--sessions", type=int, nargs="*", default=[], help="measure memory with")
    parser.add_argument("--mask", choices=("all", "parcellation"), default="all")
    parser.add_argument("--folder", type=Path, help="where files of 1 GB are written for a while")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        root, count, mask = Path(arguments.worker[0]), int(arguments.worker[1]), arguments.worker[2]
        tree = FullTree(
            root=root, subjects=(1,), sessions=count, width=FULL_WIDTH, n_live=0, n_labelled=0
        )
        took = seconds(prepare, tree, mask, count)
        print(
            json.dumps(
                {"sessions": count, "seconds": round(took, 1), "peak_gib": round(peak_gib(), 2)}
            )
        )
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        tree = write_tree(Path(folder) / "nsd", max([1, *arguments.sessions]))
        result: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count()}
        if arguments.sessions:
            result["mask"] = arguments.mask
            result["memory"] = memory_by_sessions(tree.root, arguments.sessions, arguments.mask)
        else:
            clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
            times = measure(tree, arguments.rounds, clock, cold=arguments.cold)
            result |= {"clock": arguments.clock, "cold": arguments.cold}
            result |= {f"{name}_s": round(value, 3) for name, value in times.items()}
            for name in ("average_regions", "prepare_regions", "average_all", "prepare_all"):
                for peer in ("read", "read_native"):
                    result[f"{name}_over_{peer}"] = round(times[name] / times[peer], 2)
            result["prepare_over_read"] = result["prepare_regions_over_read"]
            result["peak_gib"] = round(peak_gib(), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
