"""The table of a stimulus set: which images, what folds must not split, how to load each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.images import content_sha256, read_picture
from gradbrain.datasets.locators import LOADERS, WHITE, Background
from gradbrain.store import read_table
from gradbrain.vocabulary.artefacts import CAPTION, columns_of

#: Columns that every table of a stimulus set has.
COLUMNS = columns_of("stimuli")


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One image of a stimulus set."""

    image_id: str
    group: str
    loader: str
    locator: Mapping[str, Any]
    content_sha256: str
    label: int | None = None
    caption: str | None = None


def file_stimulus(
    path: Path,
    *,
    image_id: str,
    group: str,
    background: Background = WHITE,
    label: int | None = None,
    caption: str | None = None,
) -> Stimulus:
    """Read an image file and describe it as a stimulus.

    Parameters
    ----------
    path
        The file, as jobs will find it.
    image_id, group, label, caption
        What the table says of it.
    background
        What transparent pixels are laid on. The locator names it where the image has some.

    Raises
    ------
    ImageError
        The file cannot be read; see :func:`gradbrain.datasets.images.read_picture`.
    """
    picture = read_picture(path, background=background)
    return Stimulus(
        image_id=image_id,
        group=group,
        loader="file",
        locator={"path": path.as_posix(), **picture.locator_keys},
        content_sha256=content_sha256(np.array(picture.rgb)),
        label=label,
        caption=caption,
    )


def stimuli_table(stimuli: list[Stimulus], *, name: str) -> pd.DataFrame:
    """Make the table of the stimulus set `name`; its rows keep the order given.

    Returns
    -------
    DataFrame
        Columns ``image_id``, ``group``, ``label`` (nullable integer), ``loader``, ``locator``
        (JSON) and ``content_sha256``; ``caption`` (nullable text) where any image has one.
    """
    frame = pd.DataFrame(
        {
            "image_id": [stimulus.image_id for stimulus in stimuli],
            "group": [stimulus.group for stimulus in stimuli],
            "label": pd.array([stimulus.label for stimulus in stimuli], dtype="Int64"),
            "loader": [stimulus.loader for stimulus in stimuli],
            "locator": [json.dumps(dict(stimulus.locator)) for stimulus in stimuli],
            "content_sha256": [stimulus.content_sha256 for stimulus in stimuli],
        },
        columns=list(COLUMNS),
    )
    captions = [stimulus.caption for stimulus in stimuli]
    if any(caption is not None for caption in captions):
        frame[CAPTION] = pd.array(captions, dtype="string")
    check_stimuli(frame, name=name)
    return frame


def check_stimuli(frame: pd.DataFrame, *, name: str) -> None:
    """Refuse a table that breaks the contract of stimulus sets.

    Raises
    ------
    DatasetError
        It has no rows, lacks a column or a value, repeats an image id, names an unknown loader,
        has a caption without words, or holds the same pixels in two groups (folds would then
        leak).
    """
    where = f"stimulus set {name!r}"
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DatasetError(f"{where}: lacks the column(s) {', '.join(missing)}")
    if frame.empty:
        raise DatasetError(f"{where}: holds no images")
    for column in COLUMNS:
        if column != "label" and bool((frame[column].isna() | (frame[column] == "")).any()):
            raise DatasetError(f"{where}: the column {column!r} has empty cells")
    repeated = frame["image_id"][frame["image_id"].duplicated()].unique()
    if len(repeated):
        raise DatasetError(
            f"{where}: {len(repeated)} image id(s) occur more than once, e.g. {repeated[0]!r}; "
            "give one row per distinct image"
        )
    unknown = sorted(set(frame["loader"]) - set(LOADERS))
    if unknown:
        raise DatasetError(
            f"{where}: unknown loader(s) {', '.join(unknown)}; expected one of {', '.join(LOADERS)}"
        )
    _check_captions(frame, where)
    groups = frame.groupby("content_sha256")["group"].nunique()
    if bool((groups > 1).any()):
        twins = frame.loc[frame["content_sha256"] == groups.index[groups > 1][0], "image_id"]
        raise DatasetError(
            f"{where}: the images {', '.join(twins)} are the same pixels but lie in different "
            "groups, so that folds could put one in training and one in test; give them one group"
        )


def _check_captions(frame: pd.DataFrame, where: str) -> None:
    if CAPTION not in frame.columns:
        return
    given = frame[frame[CAPTION].notna()]
    blank = given.loc[given[CAPTION].astype(str).str.strip() == "", "image_id"]
    if len(blank):
        raise DatasetError(
            f"{where}: {len(blank)} caption(s) have no words, e.g. that of {blank.iloc[0]!r}; "
            "give the image a caption or none"
        )


def read_stimuli(path: Path) -> pd.DataFrame:
    """Read the table of a stimulus set and check it."""
    frame = read_table(path, kind="stimuli")
    check_stimuli(frame, name=str(path))
    return frame
