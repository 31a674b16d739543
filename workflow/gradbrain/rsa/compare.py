"""Compare all layers and signals of a model with all regions or times of a subject."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.schema import RsaSettings
from gradbrain.rsa.dissimilarity import (
    correlation_distance,
    embedded_distance,
    standardised_ranks,
)
from gradbrain.rsa.errors import RsaError
from gradbrain.rsa.permutation import block_permutations, permutation_p, permuted_correlations
from gradbrain.store import open_layers, open_store
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import NULL_PERCENTILE
from gradbrain.vocabulary.roles import TIME

log = logging.getLogger(__name__)

# Pairs grow with the square of the images: of larger sets whole groups are drawn up to this many.
MAX_IMAGES = 1500


@dataclass(frozen=True)
class Unit:
    """A region or a time: what one brain RDM is taken of.

    Attributes
    ----------
    roi, roi_rank
        Region and its place in the order of the hierarchy; ``""`` and −1 for times.
    time
        Seconds from image onset; NaN for regions.
    """

    roi: str
    roi_rank: int
    time: float


def compare(
    features: Sequence[Path], responses: Path, settings: RsaSettings, *, study: str
) -> pd.DataFrame:
    """Correlate the RDMs of every layer and signal with those of every region or time.

    Parameters
    ----------
    features
        Feature stores of all layers of one model, for the images that the subject saw.
    responses
        Response store of the subject.
    settings
        Number of permutations and their seed.
    study
        Name of the study, kept in the table.

    Returns
    -------
    pandas.DataFrame
        One row per layer, signal and unit, with Spearman's ``rho`` of the upper triangles, the
        95th percentile of its permutations ``null_high``, and one-sided ``p``.

    Raises
    ------
    RsaError
        The stores hold what cannot be compared.
    StoreError
        A store cannot be read, lacks images, or is not of the other layers' model.
    """
    brain = open_store(responses, kind="responses")
    rows = _images_compared(brain, responses, settings.seed)
    units, of_brain = brain_ranks(brain.isel(image=rows), responses)
    labels, of_model = model_ranks(features, brain["image_id"].values.astype(str)[rows], responses)
    rho = (of_model.T @ of_brain).astype(np.float64)
    permutations = block_permutations(brain["group"].values[rows], settings.n_draws, settings.seed)
    null = permuted_correlations(of_model, of_brain, permutations)
    p = permutation_p(rho, null)
    null_high = np.percentile(null, NULL_PERCENTILE, axis=0)
    constant = {
        "study": study,
        **{key: brain.attrs[key] for key in ("dataset", "subject", "modality", "axis")},
        "onset_source": brain.attrs.get("onset_source", ""),
        "n_images": len(rows),
    }
    records = [
        {
            **constant,
            **label,
            "roi": unit.roi,
            "roi_rank": unit.roi_rank,
            "time": unit.time,
            "rho": rho[i, j],
            "null_high": null_high[i, j],
            "p": p[i, j],
        }
        for i, label in enumerate(labels)
        for j, unit in enumerate(units)
    ]
    return pd.DataFrame.from_records(records, columns=list(columns_of("rsa")))


def _images_compared(brain: xr.Dataset, path: Path, seed: int) -> np.ndarray:
    """Rows of the responses that enter: all, or whole groups up to ``MAX_IMAGES``."""
    groups, codes = np.unique(brain["group"].values, return_inverse=True)
    n_images = len(codes)
    if n_images < 3:
        raise RsaError(f"{path}: holds {n_images} images, RSA needs at least 3")
    if n_images <= MAX_IMAGES:
        return np.arange(n_images)
    order = np.random.default_rng(seed).permutation(len(groups))
    taken = order[np.cumsum(np.bincount(codes)[order]) <= MAX_IMAGES]
    if not len(taken):
        raise RsaError(
            f"{path}: its groups hold more than {MAX_IMAGES} images each, which is the most that "
            "RSA takes; give the stimulus set smaller groups"
        )
    rows = np.flatnonzero(np.isin(codes, taken))
    log.info(
        "RSA takes %d of %d images (%d of %d groups)",
        len(rows),
        n_images,
        len(taken),
        len(groups),
    )
    return rows


def brain_ranks(brain: xr.Dataset, path: Path) -> tuple[list[Unit], np.ndarray]:
    """Rank the RDMs of all regions or times of a person.

    Parameters
    ----------
    brain
        Responses: ``response`` along ``image``, and what it lies along besides.
    path
        Where they lie, for errors.

    Returns
    -------
    units : list of Unit
        Regions in their order, or times.
    ranks : ndarray, shape (n_pairs, n_units)
        As :func:`gradbrain.rsa.dissimilarity.standardised_ranks` gives them.
    """
    if brain.attrs["axis"] == TIME:
        return _ranks_by_time(brain, path)
    return _ranks_by_region(brain, path)


def _ranks_by_time(brain: xr.Dataset, path: Path) -> tuple[list[Unit], np.ndarray]:
    response = brain["response"].transpose("time", "image", "sensor").values
    if response.shape[2] < 2:
        raise RsaError(f"{path}: holds {response.shape[2]} sensor(s), RSA needs at least 2")
    units, ranks = [], []
    for time, patterns in zip(brain["time"].values, response, strict=True):
        units.append(Unit("", -1, float(time)))
        ranks.append(standardised_ranks(correlation_distance(patterns)[0]))
    return units, np.stack(ranks, axis=1)


def _ranks_by_region(brain: xr.Dataset, path: Path) -> tuple[list[Unit], np.ndarray]:
    response = brain["response"].transpose("image", "target").values
    embedded = bool(brain.attrs["rotation_invariant"])
    units, ranks = [], []
    for place, roi in enumerate(brain.attrs["roi_order"]):
        patterns = response[:, brain["roi"].values == roi]
        if patterns.shape[1] < (1 if embedded else 2):
            log.warning("%s: region %s has too few targets for an RDM, left out", path, roi)
            continue
        distances = embedded_distance(patterns) if embedded else correlation_distance(patterns)[0]
        # Embedded patterns have lengths of their own, from which distances come by cancellation.
        scale = float(np.square(patterns, dtype=np.float64).sum(axis=1).max()) if embedded else 1.0
        units.append(Unit(roi, place, np.nan))
        ranks.append(standardised_ranks(distances, scale))
    if not units:
        raise RsaError(
            f"{path}: none of its regions {list(brain.attrs['roi_order'])} holds the two targets "
            "that an RDM needs"
        )
    return units, np.stack(ranks, axis=1)


def model_ranks(
    features: Sequence[Path],
    image_ids: np.ndarray,
    responses: Path,
    average: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[list[dict], np.ndarray]:
    """Rank the RDMs of all layers and signals of a model.

    Parameters
    ----------
    features
        Feature stores of all layers of one model.
    image_ids
        Shape (n_images,), str. Images, in the order that the patterns take.
    responses
        What the images are of, for errors.
    average
        What is done to patterns, shape (n_images, n_features), before they are compared; none:
        nothing.

    Returns
    -------
    labels : list of dict
        Model, layer and identity of the signal of each RDM.
    ranks : ndarray, shape (n_pairs, n_rdms)
    """
    labels, ranks = [], []
    for index, store in enumerate(open_layers(features, image_ids, responses)):
        for signal in store.signals:
            patterns = store.directions(signal)
            if average is not None:
                patterns = average(patterns)
            if patterns.shape[1] < 2:
                raise RsaError(
                    f"{store.path}: signal {signal.name!r} has {patterns.shape[1]} feature(s); a "
                    "correlation distance needs at least 2: choose another pooling"
                )
            distances, n_constant = correlation_distance(patterns)
            if n_constant:
                log.warning("%s: %d images have a constant %s", store.path, n_constant, signal.name)
            ranks.append(standardised_ranks(distances))
            labels.append(
                {
                    "model": store.attrs["model"],
                    "layer": store.layer,
                    "depth": float(store.attrs["depth"]),
                    "layer_index": index,
                    "signal": signal.name,
                    "role": signal.role,
                    "rule": signal.rule,
                    "objective": signal.objective,
                }
            )
    return labels, np.stack(ranks, axis=1)
