"""Averaging a session of LAION-fMRI at its real size, against reading it with nibabel.

A session of the published shape (143 × 143 × 143 voxels, float32, gzip; noise in the brain, zero
around it) is written to a temporary folder. The peer is nibabel, ``image.dataobj[..., a:b]``, some
volumes after others with the file kept open, of which the voxels of the mask stay: no averages.
(All volumes at once are 12 GiB, and twice as much while they are read.) Ours reads, z-scores and
averages trials and estimates ceilings, of the voxels in regions or of the whole mask. Each runs in
a process of its own; prints a JSON line with processor seconds and the largest memory of each.

    python benchmarks/bench_laion_fmri.py --trials 1044
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
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np

EDGE = 143
#: Radius of the brain, in voxels, and of what its regions fill.
BRAIN, REGIONS = 38, 16
#: Volumes that the peer reads at once.
VOLUMES = 64
PERSON, SESSION = "sub-01", "ses-01"


def ball(radius: float) -> np.ndarray:
    """Voxels within a radius of the middle."""
    axis = np.arange(EDGE) - EDGE / 2
    return (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < radius**2


def write(root: Path, n_trials: int) -> None:
    """Write a session, volume by volume, and its mask."""
    import gzip

    import nibabel as nib

    from gradbrain.datasets.laion_fmri import _person_file, betas_file

    path, brain = betas_file(root, PERSON, SESSION), ball(BRAIN)
    path.parent.mkdir(parents=True)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((EDGE, EDGE, EDGE, n_trials))
    header.set_sform(np.diag([1.778, 1.778, 1.778, 1]), code=1)
    header.set_slope_inter(1, 0)
    header["magic"] = b"n+1"
    header.set_data_offset(352)
    rng = np.random.default_rng(0)
    inside = brain.reshape(-1, order="F")
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + b"\0" * 4)
        for _ in range(n_trials):
            volume = np.zeros(EDGE**3, dtype=np.float32)
            volume[inside] = rng.standard_normal(inside.sum(), dtype=np.float32)
            file.write(volume.tobytes())
    mask = nib.Nifti1Image(brain.astype(np.uint8), np.diag([1.778, 1.778, 1.778, 1]))
    nib.save(mask, _person_file(root, PERSON, "desc-meanR2gt15mask_mask"))


def ours(root: Path, n_trials: int, radius: float) -> None:
    """Averages and ratios of signal to noise, as the job makes them."""
    from gradbrain.datasets.laion_fmri import average_sessions, read_mask

    mask = read_mask(root, PERSON)
    voxels = np.flatnonzero(mask.values & ball(radius))
    image = np.arange(n_trials) // 2
    average, *_ = average_sessions(
        root,
        PERSON,
        [(SESSION, image)],
        voxels,
        mask,
        n_images=int(image[-1]) + 1,
        zscore=True,
    )
    assert average.shape == (image[-1] + 1, len(voxels))


def peer(root: Path, n_trials: int) -> None:
    """Read the session and keep the voxels of the mask."""
    import nibabel as nib

    from gradbrain.datasets.laion_fmri import betas_file

    image = nib.load(betas_file(root, PERSON, SESSION), keep_file_open=True)
    inside = ball(BRAIN)
    parts = [
        np.asarray(image.dataobj[..., start : start + VOLUMES])[inside]
        for start in range(0, n_trials, VOLUMES)
    ]
    assert np.concatenate(parts, axis=1).shape[1] == n_trials


def measured(who: str, root: Path, n_trials: int) -> dict[str, float]:
    """Run one of them in a process of its own."""
    command = [sys.executable, __file__, "--child", who, "--root", str(root)]
    done = subprocess.run(
        [*command, "--trials", str(n_trials)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1044, help="volumes of the session")
    parser.add_argument("--child", choices=("regions", "mask", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    n_trials = arguments.trials
    if arguments.child:
        start = time.process_time()
        if arguments.child == "peer":
            peer(arguments.root, n_trials)
        else:
            ours(arguments.root, n_trials, REGIONS if arguments.child == "regions" else BRAIN)
        seconds = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"cpu_s": round(seconds, 2), "max_gib": round(memory, 2)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), n_trials)
        found = {who: measured(who, Path(folder), n_trials) for who in ("peer", "regions", "mask")}
    ratios = {
        f"cpu_ratio_{who}": round(found[who]["cpu_s"] / found["peer"]["cpu_s"], 2)
        for who in ("regions", "mask")
    }
    print(json.dumps({"benchmark": "laion_fmri", "n_trials": n_trials, **found, **ratios}))


if __name__ == "__main__":
    main()
