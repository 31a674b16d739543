"""Scores of one subject by the dissimilarities of held-out predictions: a second reading.

Laid out like encoding scores, so that the same statistics are taken of them: how well the
predictions of a layer's signal reproduce which images a region (or a time) tells apart, and
what they add to those of all layers' activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from gradbrain.config.schema import SignalSet
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.subject_scores import SubjectScores, fits_by_subject
from gradbrain.store import rebuild_hint
from gradbrain.vocabulary.measures import BY_DISSIMILARITY, UNIQUE_RDM_R
from gradbrain.vocabulary.roles import ACTIVATION


def rdm_scores(
    fits: Sequence[tuple[Path, xr.Dataset]], signal_set: SignalSet
) -> list[SubjectScores]:
    """Lay out the scores of dissimilarities of one model.

    Parameters
    ----------
    fits
        Content of an encoding store per layer and subject, with the path named in errors.
    signal_set
        The signals of the fits, which says what controls what.

    Returns
    -------
    list of SubjectScores
        Read by ``BY_DISSIMILARITY``: no scores of single targets, no unique variance.

    Raises
    ------
    HierarchyError
        As for :func:`~gradbrain.hierarchy.subject_scores.read_subjects`, or if a store holds no
        dissimilarities.
    """
    for path, store in fits:
        if "rdm_score" not in store:
            raise HierarchyError(
                f"{path}: holds no dissimilarities of predictions, which were not asked for when "
                f"it was fitted; set rsa.encoding. {rebuild_hint(path)}"
            )
    return [_read_by_rdms(subject, pairs) for subject, pairs in fits_by_subject(fits, signal_set)]


def _read_by_rdms(
    subject: SubjectScores, pairs: Sequence[tuple[Path, xr.Dataset]]
) -> SubjectScores:
    first = pairs[0][1]
    columns = [first[f"rdm_{name}"].values.astype(str) for name in ("signal", "role", "measure")]
    for path, store in pairs[1:]:
        if any(
            not np.array_equal(store[f"rdm_{name}"].values.astype(str), values)
            for name, values in zip(("signal", "role", "measure"), columns, strict=True)
        ):
            raise HierarchyError(
                f"{path}: its rows of dissimilarities are not those of {pairs[0][0]}, another "
                "layer of the same subject; fit both with the same signal set"
            )
    keys = {
        (name, measure): row
        for row, (name, role, measure) in enumerate(zip(*columns, strict=True))
        if name in subject.signals and role == subject.signals[name].role
    }
    wanted = {
        (name, measure.name): keys[name, measure.name]
        for name, signal in subject.signals.items()
        for measure in BY_DISSIMILARITY.judged.values()
        if signal.role != ACTIVATION or measure != UNIQUE_RDM_R
    }
    levels = {
        name: np.stack([store[f"rdm_{name}"].values for _, store in pairs], axis=-2).astype(float)
        for name in ("score", "boot", "null")
    }
    # (row, layer, unit), and with the draw first.
    score, boot, null = (
        {key: values[..., row, :, :] for key, row in wanted.items()} for values in levels.values()
    )
    return replace(
        subject,
        unit_score=score,
        boot=boot,
        null=null,
        target_score={},
        n_groups=int(first.attrs["n_rdm_groups"]),
        reading=BY_DISSIMILARITY,
    )
