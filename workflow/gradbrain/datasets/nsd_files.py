"""Where the files of a subject of the Natural Scenes Dataset lie, as its download lays them out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HEMISPHERES = {"left": "lh", "right": "rh"}


@dataclass(frozen=True, kw_only=True)
class SubjectFiles:
    """Paths of one subject.

    Attributes
    ----------
    data
        Folder of the data set.
    number
        Of the subject, from 1.
    space
        ``fsaverage`` or ``func1pt8mm``.
    betas_version
        Name of the folder of betas.
    label_folder
        Folder of label files below `data`, in which ``{subject}`` stands for e.g. ``subj01``;
        empty: as published.
    """

    data: Path
    number: int
    space: Literal["fsaverage", "func1pt8mm"]
    betas_version: str
    label_folder: str = ""

    @property
    def subject(self) -> str:
        """Name of the subject in paths."""
        return f"subj{self.number:02d}"

    @property
    def on_surface(self) -> bool:
        """Whether files are of hemispheres, and not of volumes."""
        return self.space == "fsaverage"

    @property
    def beta_folder(self) -> Path:
        """Folder of betas and signal-to-noise ratios."""
        return self.data / "nsddata_betas/ppdata" / self.subject / self.space / self.betas_version

    def surface_betas(self, session: int, hemisphere: str) -> Path:
        """Betas of one session on a hemisphere (``lh``, ``rh``)."""
        return self.beta_folder / f"{hemisphere}.betas_session{session:02d}.mgh"

    def volume_betas(self, session: int) -> Path:
        """Betas of one session in the volume; the uncompressed file where both are there."""
        stem = self.beta_folder / f"betas_session{session:02d}"
        uncompressed = stem.with_suffix(".hdf5")
        return uncompressed if uncompressed.is_file() else stem.with_suffix(".nii.gz")

    def ncsnr(self, hemisphere: str = "") -> Path:
        """Ratio of signal to noise, of a hemisphere or the volume."""
        name = f"{hemisphere}.ncsnr.mgh" if self.on_surface else "ncsnr.nii.gz"
        return self.beta_folder / name

    def labels(self, name: str, hemisphere: str) -> Path:
        """Label of each vertex or voxel."""
        suffix = "mgz" if self.on_surface else "nii.gz"
        return self._label_folder / f"{hemisphere}.{name}.{suffix}"

    def colour_table(self, name: str) -> Path:
        """Names of the labels."""
        owner = "fsaverage" if self.on_surface else self.subject
        published = self.data / f"nsddata/freesurfer/{owner}/label"
        folder = self._label_folder if self.label_folder else published
        return folder / f"{name}.mgz.ctab"

    def surface(self, hemisphere: str) -> Path:
        """Surface on which vertices have their positions."""
        return self.data / f"nsddata/freesurfer/fsaverage/surf/{hemisphere}.pial"

    @property
    def brain_mask(self) -> Path:
        """Voxels that are brain."""
        return self.data / f"nsddata/ppdata/{self.subject}/{self.space}/brainmask.nii.gz"

    @property
    def _label_folder(self) -> Path:
        if self.label_folder:
            return self.data / self.label_folder.format(subject=self.subject)
        if self.on_surface:
            return self.data / "nsddata/freesurfer/fsaverage/label"
        return self.data / f"nsddata/ppdata/{self.subject}/{self.space}/roi"
