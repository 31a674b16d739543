"""A small tree of the Natural Scenes Dataset, in the published layout and formats.

Names, containers, byte order, types, axes, index bases, 750 trials per session and the whole
design of 30,000 trials are those of the download. Small are the number of subjects and sessions,
and the number of vertices that hold anything: the others are holes of sparse files, so that a
session of full width is 491 MB long and takes a few MB on disk.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import nibabel
import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader, MGHImage
from scipy.io import savemat

from gradbrain.datasets.cortex import pial_coordinates

FULL_WIDTH = 163842
N_TRIALS = 750
# Two sessions show 500 images, each three times.
IMAGES_PER_GROUP = 500
STREAMS = ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal")
SIDES = {"lh": "left", "rh": "right"}
BETAS = "betas_fithrf_GLMdenoise_RR"


@dataclass(frozen=True)
class NsdTree:
    """What was written, to compare with.

    Attributes
    ----------
    root
        Folder of the data set.
    subjects, sessions
        Numbers of the subjects, and how many sessions each has.
    width
        Vertices per hemisphere.
    n_live
        The first so many of them hold values, the others 0 in all trials.
    n_labelled
        The first so many of these lie in regions.
    nan_vertices
        Vertices of the left hemisphere whose betas are NaN.
    """

    root: Path
    subjects: tuple[int, ...]
    sessions: int
    width: int
    n_live: int
    n_labelled: int
    nan_vertices: tuple[int, ...] = ()
    seed: int = 0

    @cached_property
    def ordering(self) -> np.ndarray:
        """Number, from 1, of the image of each of 30,000 trials."""
        rng = np.random.default_rng([self.seed, 1])
        groups = np.arange(1, 10001).reshape(-1, IMAGES_PER_GROUP)
        return np.concatenate([rng.permutation(np.repeat(group, 3)) for group in groups])

    @cached_property
    def subject_images(self) -> np.ndarray:
        """73k IDs, from 1, of the 10,000 images of each of 8 subjects; the first 1,000 shared."""
        ids = np.random.default_rng([self.seed, 2]).permutation(73000) + 1
        own = ids[1000:].reshape(8, 9000)
        return np.concatenate([np.tile(ids[:1000], (8, 1)), own], axis=1)

    def shown(self, subject: int, session: int) -> np.ndarray:
        """73k IDs, from 1, of the images of a session."""
        trials = self.ordering[(session - 1) * N_TRIALS : session * N_TRIALS]
        return self.subject_images[subject - 1, trials - 1]

    def patches(self, identity: int) -> np.ndarray:
        """Colours of the 5 × 5 patches of an image, (5, 5, 3) uint8."""
        rng = np.random.default_rng([self.seed, 3, identity])
        centre = rng.uniform(60, 195, size=3)
        return np.clip(rng.normal(centre, 30, size=(5, 5, 3)), 0, 255).astype(np.uint8)

    def image(self, identity: int) -> np.ndarray:
        """Image of a 73k ID, from 1: (425, 425, 3) uint8."""
        return np.kron(self.patches(identity), np.ones((85, 85, 1), dtype=np.uint8))

    def colour(self, identity: int) -> np.ndarray:
        """Mean colour of an image, about standardised."""
        return (self.patches(identity).reshape(-1, 3).mean(axis=0) - 128) / 39

    def betas(self, subject: int, session: int, hemisphere: str) -> np.ndarray:
        """Betas of the live vertices, (750, n_live) float32: mean colour and noise."""
        side = list(SIDES).index(hemisphere)
        weights = np.random.default_rng([self.seed, 4, subject, side]).normal(size=(3, self.n_live))
        colours = np.array([self.colour(identity) for identity in self.shown(subject, session)])
        rng = np.random.default_rng([self.seed, 5, subject, session, side])
        noise = rng.normal(scale=2.0, size=(N_TRIALS, self.n_live))
        betas = (0.25 * session + colours @ weights + noise).astype(np.float32)
        if hemisphere == "lh":
            betas[:, list(self.nan_vertices)] = np.nan
        return betas

    def ncsnr(self, subject: int, hemisphere: str) -> np.ndarray:
        """Ratio of signal to noise of every vertex, (width,) float32."""
        side = list(SIDES).index(hemisphere)
        rng = np.random.default_rng([self.seed, 6, subject, side])
        return rng.uniform(0.1, 1.0, size=self.width).astype(np.float32)

    def positions(self, hemisphere: str) -> np.ndarray:
        """Positions of the vertices, (width, 3); those of fsaverage5 where there are enough."""
        rng = np.random.default_rng([self.seed, 7, list(SIDES).index(hemisphere)])
        positions = rng.normal(scale=30, size=(self.width, 3))
        known = pial_coordinates(SIDES[hemisphere])
        if self.width >= len(known):
            positions[: len(known)] = known
        return positions

    def labels(self, hemisphere: str) -> np.ndarray:
        """Stream of each vertex, (width,): 1 to 7 by distance from the rearmost, else 0."""
        labels = np.zeros(self.width, dtype=np.int32)
        positions = self.positions(hemisphere)[: self.n_labelled]
        rearmost = positions[positions[:, 1].argmin()]
        order = np.argsort(np.linalg.norm(positions - rearmost, axis=1))
        for number, part in enumerate(np.array_split(order, len(STREAMS)), start=1):
            labels[part] = number
        return labels

    def general(self) -> np.ndarray:
        """Mask nsdgeneral, (width,): every second live vertex."""
        mask = np.zeros(self.width, dtype=np.int32)
        mask[: self.n_live : 2] = 1
        return mask

    def session_file(self, subject: int, session: int, hemisphere: str) -> Path:
        """File of betas of a session."""
        folder = self.root / f"nsddata_betas/ppdata/subj{subject:02d}/fsaverage/{BETAS}"
        return folder / f"{hemisphere}.betas_session{session:02d}.mgh"


def write_nsd_tree(
    root: Path,
    *,
    subjects: tuple[int, ...] = (1,),
    sessions: int = 2,
    width: int = 64,
    n_live: int | None = None,
    n_labelled: int | None = None,
    nan_vertices: tuple[int, ...] = (),
    seed: int = 0,
) -> NsdTree:
    """Write a tree of surface data below `root`."""
    n_live = width if n_live is None else n_live
    tree = NsdTree(
        root=root,
        subjects=tuple(subjects),
        sessions=sessions,
        width=width,
        n_live=n_live,
        n_labelled=n_live if n_labelled is None else n_labelled,
        nan_vertices=tuple(nan_vertices),
        seed=seed,
    )
    write_design(tree)
    write_images(tree)
    write_labels(tree)
    for subject in tree.subjects:
        for hemisphere in SIDES:
            for session in range(1, sessions + 1):
                path = tree.session_file(subject, session, hemisphere)
                write_session(path, tree.betas(subject, session, hemisphere), width=width)
            ncsnr = tree.ncsnr(subject, hemisphere)
            write_mgh(path.parent / f"{hemisphere}.ncsnr.mgh", ncsnr)
    return tree


def write_design(tree: NsdTree, *, base: int = 1) -> None:
    """Write ``nsd_expdesign.mat``, counted from `base`; MATLAB's numbers are doubles."""
    path = tree.root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    shift = float(base - 1)
    savemat(
        path,
        {
            "masterordering": tree.ordering[None].astype(np.float64) + shift,
            "subjectim": tree.subject_images.astype(np.float64) + shift,
            "sharedix": np.sort(tree.subject_images[:1, :1000]).astype(np.float64) + shift,
            "basiccnt": np.zeros((3, 40)),
        },
        do_compression=True,
    )


def write_images(tree: NsdTree) -> None:
    """Write ``nsd_stimuli.hdf5``: 73,000 images, of which those that were seen are not black."""
    path = tree.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    seen = {
        int(identity)
        for subject in tree.subjects
        for session in range(1, tree.sessions + 1)
        for identity in tree.shown(subject, session)
    }
    with h5py.File(path, "w") as file:
        bricks = file.create_dataset(
            "imgBrick",
            (73000, 425, 425, 3),
            dtype=np.uint8,
            chunks=(1, 425, 425, 3),
            compression="gzip",
            compression_opts=1,
        )
        for identity in sorted(seen):
            bricks[identity - 1] = tree.image(identity)


def write_labels(tree: NsdTree) -> None:
    """Write the label files and surfaces of fsaverage."""
    folder = tree.root / "nsddata/freesurfer/fsaverage"
    (folder / "surf").mkdir(parents=True, exist_ok=True)
    for hemisphere in SIDES:
        write_mgh(folder / f"label/{hemisphere}.streams.mgz", tree.labels(hemisphere))
        write_mgh(folder / f"label/{hemisphere}.nsdgeneral.mgz", tree.general())
        nibabel.freesurfer.write_geometry(
            folder / f"surf/{hemisphere}.pial", tree.positions(hemisphere), np.array([[0, 1, 2]])
        )
    write_colour_table(folder / "label/streams.mgz.ctab")


def write_colour_table(path: Path) -> None:
    """Write the names of the streams."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{number} {name}" for number, name in enumerate(("Unknown", *STREAMS))]
    path.write_text("\n".join(lines) + "\n")


def write_mgh(path: Path, values: np.ndarray) -> None:
    """Write one value per vertex, (vertices, 1, 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    MGHImage(values.reshape(-1, 1, 1), np.eye(4)).to_filename(path)


def write_session(path: Path, betas: np.ndarray, *, width: int, byte_order: str = ">") -> None:
    """Write a session, (width, 1, 1, 750) float32; vertices beyond those given are a hole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = MGHHeader()
    header.set_data_dtype(np.float32)
    header.set_data_shape((width, 1, 1, len(betas)))
    with path.open("wb") as file:
        header.writehdr_to(file)
        for trial, row in enumerate(betas.astype(f"{byte_order}f4")):
            file.seek(284 + trial * width * 4)
            file.write(row.tobytes())
        # The tags after the values, which begin with four scan parameters.
        file.seek(284 + len(betas) * width * 4)
        file.write(struct.pack(">4f", 0, 0, 0, 0))


@dataclass(frozen=True)
class NsdVolume:
    """A subject's volume: betas × 300 of each session as int16, and what lies beside them."""

    betas: dict[int, np.ndarray]
    left: np.ndarray
    right: np.ndarray
    ncsnr: np.ndarray


def write_nsd_volume(
    tree: NsdTree, *, subject: int = 1, shape: tuple[int, int, int] = (6, 5, 4)
) -> NsdVolume:
    """Write the volume variant beside a tree: odd sessions as HDF5, even ones as NIfTI."""
    rng = np.random.default_rng([tree.seed, 8, subject])
    name = f"subj{subject:02d}"
    folder = tree.root / f"nsddata_betas/ppdata/{name}/func1pt8mm/{BETAS}"
    regions = tree.root / f"nsddata/ppdata/{name}/func1pt8mm/roi"
    folder.mkdir(parents=True, exist_ok=True)
    regions.mkdir(parents=True, exist_ok=True)
    betas = {}
    for session in range(1, tree.sessions + 1):
        values = rng.integers(-900, 900, size=(*shape, N_TRIALS)).astype(np.int16)
        betas[session] = values
        if session % 2:
            with h5py.File(folder / f"betas_session{session:02d}.hdf5", "w") as file:
                # MATLAB's axes are reversed in C order; one chunk per voxel.
                file.create_dataset(
                    "betas", data=values.transpose(3, 2, 1, 0), chunks=(N_TRIALS, 1, 1, 1)
                )
        else:
            nibabel.save(
                nibabel.Nifti1Image(values, np.diag([1.8, 1.8, 1.8, 1])),
                folder / f"betas_session{session:02d}.nii.gz",
            )
    sides = {}
    for number, hemisphere in enumerate(SIDES):
        labels = np.full(shape, -1, dtype=np.int16)
        half = slice(0, shape[0] // 2) if number else slice(shape[0] // 2, None)
        labels[half] = rng.integers(0, 8, size=labels[half].shape)
        sides[hemisphere] = labels
        save_volume(regions / f"{hemisphere}.streams.nii.gz", labels)
    ncsnr = rng.uniform(0.1, 1.0, size=shape).astype(np.float32)
    save_volume(folder / "ncsnr.nii.gz", ncsnr)
    save_volume(regions.parent / "brainmask.nii.gz", np.ones(shape, dtype=np.int16))
    write_colour_table(tree.root / f"nsddata/freesurfer/{name}/label/streams.mgz.ctab")
    return NsdVolume(betas, sides["lh"], sides["rh"], ncsnr)


def save_volume(path: Path, values: np.ndarray) -> None:
    """Write one value per voxel."""
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.8, 1.8, 1.8, 1])), path)
