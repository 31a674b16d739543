"""How alike the dissimilarities of subjects are: bounds for those of any model.

The noise ceiling of Nili et al. (2014, *PLoS Computational Biology* 10:e1003553) for Pearson
correlation, in the outer folds of the fits and between the images that these compare. Lower bound:
a subject's dissimilarities against the mean of the others'. Upper bound: against the mean of
all subjects', its own among them, which no dissimilarities that all have in common can exceed on
average. Dissimilarities need no common places, only common images.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.fit import scale_responses
from gradbrain.encoding.inputs import Responses, read_responses
from gradbrain.encoding.prediction_rsa import (
    can_be_compared,
    images_compared,
    measured_distances,
)
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.roles import TIME

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]


@dataclass(frozen=True)
class PersonRdms:
    """Dissimilarities of one subject.

    Attributes
    ----------
    attrs
        Attributes of the response store.
    images
        Images that dissimilarities are taken between, fold by fold.
    units
        Dict of str to list of arrays of shape (n_pairs,). Unit -> dissimilarities in each fold,
        centred and of length 1.
    unit_time
        Seconds from image onset; NaN for regions.
    """

    attrs: dict[str, Any]
    images: tuple[str, ...]
    units: dict[str, list[FLOATS]]
    unit_time: dict[str, float]


def rdm_ceilings(
    paths: Sequence[Path], settings: EncodingSettings, rsa: RsaSettings, *, study: str
) -> pd.DataFrame:
    """Compare the dissimilarities of every subject with those of the others.

    Parameters
    ----------
    paths
        Response stores of the subjects of one data set.
    settings
        Outer folds, and the noise ceiling below which targets belong to no unit.
    rsa
        How many images of a fold are compared.
    study
        Name of the study.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``rdm_ceilings``; no rows of a subject who saw images of its own.

    Raises
    ------
    EncodingError
        Fewer than two subjects were given.
    """
    if len(paths) < 2:
        raise EncodingError(
            f"responses of {len(paths)} subject(s) were given; a ceiling takes two or more"
        )
    people = [_rdms_of(path, settings, rsa) for path in paths]
    rows = []
    for person in people:
        alike = [other for other in people if other.images == person.images]
        if len(alike) < 2:
            log.warning(
                "%s saw other images than all others, and has no ceiling", person.attrs["subject"]
            )
            continue
        rows += _rows_of(person, alike, study)
    return pd.DataFrame.from_records(rows, columns=list(columns_of("rdm_ceilings")))


def _rdms_of(path: Path, settings: EncodingSettings, rsa: RsaSettings) -> PersonRdms:
    brain = read_responses(path, settings.min_noise_ceiling, settings.ceiling_floor)
    names = brain.layout.names
    units: dict[str, list[FLOATS]] = {name: [] for name in names}
    images: list[str] = []
    for split in brain.images.splits(settings):
        if split.test_images:
            continue
        groups = brain.groups[split.held_out]
        own = images_compared(groups, rsa.max_images, settings.seed, split.number)
        images += [*brain.image_ids[split.held_out[own]], ""]
        if not can_be_compared(groups[own]):
            continue
        for name, distances in zip(
            names, _fold_distances(brain, split.train, split.held_out[own]), strict=True
        ):
            units[name].append(_standardised(distances))
    times = np.full(len(names), np.nan) if brain.unit_time is None else brain.unit_time
    return PersonRdms(
        attrs=brain.attrs,
        images=tuple(images),
        units=units,
        unit_time=dict(zip(names, map(float, times), strict=True)),
    )


def _fold_distances(brain: Responses, train: NDArray[np.intp], images: NDArray[np.intp]) -> FLOATS:
    """Dissimilarities between some images, in the scaling of a fold, shape (n_units, n_pairs)."""
    _, values, _, scale = scale_responses(
        brain.values,
        train,
        images,
        centre_only=brain.layout.pooled,
        dtype=np.dtype(np.float32),
    )
    return measured_distances(values, scale, brain, images, np.triu_indices(len(images), 1))


def _standardised(distances: FLOATS) -> FLOATS:
    centred = distances - distances.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 0 else np.full_like(centred, np.nan)


def _rows_of(person: PersonRdms, people: Sequence[PersonRdms], study: str) -> list[dict[str, Any]]:
    attrs, rows = person.attrs, []
    by_time = attrs["axis"] == TIME
    ranks = {str(name): rank for rank, name in enumerate(attrs["roi_order"])}
    for name, own in person.units.items():
        others = [one.units[name] for one in people if one is not person and name in one.units]
        if not others or not own:
            continue
        low, high = [], []
        for fold, mine in enumerate(own):
            rest = np.sum([other[fold] for other in others], axis=0)
            low.append(float(np.corrcoef(mine, rest)[0, 1]))
            high.append(float(np.corrcoef(mine, rest + mine)[0, 1]))
        rows.append(
            {
                "study": study,
                **{key: attrs[key] for key in ("dataset", "subject", "modality", "axis")},
                "roi": "" if by_time else name,
                "roi_rank": -1 if by_time else ranks[name],
                "time": person.unit_time[name],
                "ceiling_low": float(np.mean(low)),
                "ceiling_high": float(np.mean(high)),
                "n_other_subjects": len(others),
            }
        )
    return rows
