"""Which image a subject of the Natural Scenes Dataset saw in which trial.

``nsddata/experiments/nsd/nsd_expdesign.mat`` holds the design as it was planned for 40 sessions of
750 trials (NSD Data Manual, section Experiments, https://cvnlab.slite.page/p/NKalgWd__F/Experiments):

``masterordering`` (1, 30000)
    Trial -> number of the image among the subject's 10,000, from 1; the same for all subjects.
``subjectim`` (8, 10000)
    Subject, number of the image -> 73k ID, from 1 to 73000.
``sharedix`` (1, 1000)
    73k IDs, from 1, of the images that all subjects saw.

Everywhere else in this package images are counted from 0, as in ``nsdId`` of
``nsd_stim_info_merged.csv``, along ``imgBrick`` and in file names of Algonauts 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.matlab import read_mat

DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
# NSD Data Manual, Technical notes, https://cvnlab.slite.page/p/h_T_2Djeid/Technical-notes
SESSIONS = {1: 40, 2: 40, 3: 32, 4: 30, 5: 40, 6: 32, 7: 40, 8: 30}
TRIALS_PER_SESSION = 750
SHAPES = {"masterordering": (1, 30000), "subjectim": (8, 10000), "sharedix": (1, 1000)}


def read_design(data: Path) -> dict[str, np.ndarray]:
    """Read the design, counted from 1 as in the file.

    Returns
    -------
    dict
        ``masterordering``, ``subjectim``, ``sharedix`` as int64 arrays.

    Raises
    ------
    DatasetError
        The file is missing or damaged, lacks a variable, or counts from 0.
    """
    path = data / DESIGN
    if not path.is_file():
        raise DatasetError(f"{path}: is missing; get it with the data set's nsddata folder")
    content = read_mat(path, list(SHAPES))
    design = {}
    for name, shape in SHAPES.items():
        values = content.get(name)
        if values is None or values.shape != shape:
            found = "nothing" if values is None else f"shape {values.shape}"
            raise DatasetError(f"{path}: {name}: found {found}, expected shape {shape}")
        design[name] = values.astype(np.int64)
    _check_base(path, design)
    return design


def trial_images(design: dict[str, np.ndarray], subject: int, session: int) -> np.ndarray:
    """Images of the trials of one session.

    Parameters
    ----------
    design
        From :func:`read_design`.
    subject, session
        Counted from 1.

    Returns
    -------
    ndarray of int64, shape (750,)
        Index of the image among the 73,000, from 0.
    """
    start = (session - 1) * TRIALS_PER_SESSION
    numbers = design["masterordering"][0, start : start + TRIALS_PER_SESSION]
    return design["subjectim"][subject - 1, numbers - 1] - 1


def seen_images(
    design: dict[str, np.ndarray], subject: int, sessions: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Images that a subject saw in some sessions, and how often.

    Returns
    -------
    images : ndarray of int64, shape (n_images,)
        Sorted, counted from 0.
    n_repeats : ndarray of int64, shape (n_images,)
    """
    trials = [trial_images(design, subject, session) for session in sessions]
    images, counts = np.unique(np.concatenate(trials), return_counts=True)
    return images, counts


def sessions_of_images(
    design: dict[str, np.ndarray], subject: int, sessions: Sequence[int], images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tell in which of some sessions images were seen first and last.

    Parameters
    ----------
    design
        From :func:`read_design`.
    subject, sessions
        Counted from 1; sessions ascending.
    images
        Shape (n_images,), int64. Sorted, counted from 0, each seen in one of the sessions.

    Returns
    -------
    first, last : ndarray of int64, shape (n_images,)
        Numbers of sessions.
    """
    first = np.zeros(len(images), dtype=np.int64)
    last = np.zeros(len(images), dtype=np.int64)
    for session in sessions:
        seen = np.isin(images, trial_images(design, subject, session))
        first[seen & (first == 0)] = session
        last[seen] = session
    return first, last


def _check_base(path: Path, design: dict[str, np.ndarray]) -> None:
    """The numbers that occur are known, so that another base cannot pass unnoticed."""
    n_images = SHAPES["subjectim"][1]
    limits = {"masterordering": (1, n_images), "subjectim": (1, 73000)}
    for name, (low, high) in limits.items():
        found = (int(design[name].min()), int(design[name].max()))
        if found != (low, high):
            base = "; it counts from 0, the published file from 1" if found[0] == 0 else ""
            raise DatasetError(
                f"{path}: {name} runs from {found[0]} to {found[1]}, expected {low} to {high}"
                f"{base}: get the file again"
            )
    for number, row in enumerate(design["subjectim"], start=1):
        if not np.isin(design["sharedix"], row, kind="table").all():
            raise DatasetError(
                f"{path}: sharedix names images that subjectim does not list for subject {number}; "
                "one of them counts from another base: get the file again"
            )
