"""Responses of a part of the images: those that a study chooses, in folds of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.responses import TargetBlocks, image_coordinates, leave_out_unusable

#: Attribute that counts the images that are left out.
N_LEFT_OUT = "n_images_left_out"


def narrow_responses(
    made: xr.Dataset | TargetBlocks,
    whole: pd.DataFrame,
    chosen: pd.DataFrame,
    folds: pd.DataFrame | None = None,
) -> tuple[xr.Dataset | TargetBlocks, pd.DataFrame]:
    """Keep the rows of some images.

    Noise ceilings follow, since they depend on how often the images behind the rows were shown.

    Parameters
    ----------
    made
        Responses to all images, rows in the order of `whole`.
    whole
        Stimulus table that they were made with.
    chosen
        Stimulus table of the study: some of these images, perhaps in wider groups.
    folds
        Of kind ``folds``: outer folds of the study's own; images without row are left out.

    Returns
    -------
    responses : Dataset or TargetBlocks
        Targets that no longer vary are left out and counted.
    stimuli : DataFrame
        Rows of `chosen` that are left.

    Raises
    ------
    DatasetError
        A chosen image is not among the responses.
    """
    if folds is not None:
        chosen = chosen[chosen["image_id"].isin(set(folds["image_id"]))].reset_index(drop=True)
    rows = pd.Index(whole["image_id"]).get_indexer(pd.Index(chosen["image_id"]))
    if (rows < 0).any():
        lost = chosen["image_id"][rows < 0]
        raise DatasetError(
            f"{len(lost)} of {len(chosen)} chosen images are not among the responses, e.g. "
            f"{lost.iloc[0]!r}; make the stimulus table again"
        )
    fold = None
    if folds is not None:
        fold = folds.set_index("image_id")["fold"].loc[chosen["image_id"]].to_numpy(dtype=np.int64)
    n_left_out = len(whole) - len(rows)
    if isinstance(made, TargetBlocks):
        return _narrow_blocks(made, chosen, rows, fold, n_left_out), chosen
    return _narrow_dataset(made, chosen, rows, fold, n_left_out), chosen


def _narrow_blocks(
    made: TargetBlocks,
    chosen: pd.DataFrame,
    rows: np.ndarray,
    fold: np.ndarray | None,
    n_left_out: int,
) -> TargetBlocks:
    before = np.broadcast_to(made.n_repeats, n_left_out + len(rows))
    return replace(
        made,
        stimuli=chosen,
        n_repeats=before[rows],
        noise_ceiling=rescaled_ceiling(made.noise_ceiling, before, before[rows]),
        attrs={**made.attrs, N_LEFT_OUT: n_left_out},
        blocks=(block[rows] for block in made.blocks),
        test_image=None if made.test_image is None else made.test_image[rows],
        fold=fold,
    )


def _narrow_dataset(
    made: xr.Dataset,
    chosen: pd.DataFrame,
    rows: np.ndarray,
    fold: np.ndarray | None,
    n_left_out: int,
) -> xr.Dataset:
    before = made["n_repeats"].values
    part = made.isel(image=rows)
    test = part["test_image"].values if "test_image" in part.coords else None
    coordinates: dict[str, Any] = image_coordinates(chosen, before[rows], test, fold)
    ceiling = rescaled_ceiling(made["noise_ceiling"].values, before, before[rows])
    part = part.assign_coords(coordinates).assign(
        noise_ceiling=made["noise_ceiling"].copy(data=ceiling.astype(np.float32))
    )
    n_masked = int(made.attrs["n_masked_targets"])
    part = leave_out_unusable(part, str(part["response"].dims[-1]))
    part.attrs |= {
        N_LEFT_OUT: n_left_out,
        "n_masked_targets": n_masked + part.attrs["n_masked_targets"],
    }
    return part


def rescaled_ceiling(ceiling: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Noise ceilings of averages over other numbers of presentations.

    With c = s / (s + mean(1/n)) over the images before, s follows, and the ceiling over the images
    after (Allen et al. 2022, *Nature Neuroscience* 25:116, Methods, "Noise ceiling estimation").

    Parameters
    ----------
    ceiling
        Shape (...). In [0, 1); NaN stays.
    before, after
        Shape (n_images,), int. Presentations behind the rows.

    Returns
    -------
    ndarray of float64, shape (...)
    """
    ceiling = np.asarray(ceiling, dtype=np.float64)
    then, now = (np.mean(1 / np.maximum(count, 1)) for count in (before, after))
    if then == now:
        return ceiling
    return ceiling * then / (ceiling * then + (1 - ceiling) * now)
