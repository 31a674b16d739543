"""Whether a signal's unique part is nowhere: bounds over all layers and places of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.subject_scores import SubjectScores
from gradbrain.hierarchy.unique_share import FLAT, Cells
from gradbrain.vocabulary.measures import UNIQUE_VARIANCE
from gradbrain.vocabulary.roles import LEARNING


def absences(
    subjects: Sequence[SubjectScores], settings: StatisticsSettings
) -> dict[tuple[str, str], tuple[float, float]]:
    """Bound what the learning signals hold anywhere, alone and beyond each of their controls.

    Beyond a control the bound is of the difference of both estimates, for a share of which the
    control sees nothing. What a control shares with the signal lowers the difference, so that the
    bound is too low for a share that the control sees as well.

    Parameters
    ----------
    subjects
        All subjects of one data set.
    settings
        Margin, number of subjects for population inference.

    Returns
    -------
    dict
        (signal, control or ``""``) -> p of people who hold the margin at some layer and place, and
        the upper 95 % bound of the share.
    """
    if subjects[0].unique is None:
        return {}
    units = tuple(dict.fromkeys(unit for subject in subjects for unit in subject.units))
    found = {}
    for name, signal in subjects[0].signals.items():
        if signal.role != LEARNING:
            continue
        for control in ("", *signal.controls):
            cells = _cells(subjects, units, name, control, settings)
            found[name, control] = (cells.absent(settings.smallest_unique_share), cells.upper())
    return found


def _cells(
    subjects: Sequence[SubjectScores],
    units: Sequence[str],
    signal: str,
    control: str,
    settings: StatisticsSettings,
) -> Cells:
    """Lay subjects out over all units that any of them has; before onset there are none."""

    def laid(subject: SubjectScores, values: np.ndarray) -> np.ndarray:
        whole = np.full((*values.shape[:-1], len(units)), np.nan)
        used = subject.after_onset
        places = [units.index(unit) for unit in np.array(subject.units)[used]]
        whole[..., places] = values[..., used]
        return whole

    def of_all(name: str) -> tuple[np.ndarray, np.ndarray]:
        key = (name, UNIQUE_VARIANCE.name)
        return (
            np.stack([laid(subject, subject.unit_score[key]) for subject in subjects]),
            np.stack([laid(subject, subject.null[key]) for subject in subjects]),
        )

    component, null = of_all(signal)
    if control:
        # Draws are shared by all signals: differences are paired.
        others, null_of_others = of_all(control)
        component, null = component - others, null - null_of_others
    known = [subject.unique for subject in subjects if subject.unique is not None]
    moments = {
        moment: np.stack(
            [
                laid(subject, np.maximum(unique.moments[moment, signal][FLAT], 0.0))
                for subject, unique in zip(subjects, known, strict=True)
            ]
        )
        for moment in ("held", "cross_variance", "dose_variance")
    }
    explainable = np.stack(
        [laid(subject, one.explainable) for subject, one in zip(subjects, known, strict=True)]
    )
    # Of who has no ceiling where others have one no share is known.
    unknown = np.isnan(explainable) & np.isfinite(explainable).any(axis=0)
    component = np.where(unknown[:, None], np.nan, component)
    null = np.where(unknown[:, None, None], np.nan, null)
    return Cells(
        component=component,
        null=null,
        explainable=explainable,
        population=len(subjects) >= settings.min_subjects,
        **moments,
    )
