"""Permutation of images in blocks, and the null distribution of RDM correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradbrain.rsa.errors import RsaError

# Single precision leaves equal correlations unequal in the last digits; p counts them as equal.
TIE_TOLERANCE = 1e-6


def block_permutations(groups: Sequence[str], n_draws: int, seed: int) -> np.ndarray:
    """Permute groups of images as blocks.

    Images are sorted by group; the groups are put in a new order, and the k-th image of the new
    order takes the place of the k-th of the old one. With one image per group this is a plain
    permutation; with equal groups, images that belong together stay together.

    Parameters
    ----------
    groups
        Group of each image.
    n_draws, seed
        How many permutations, and their seed.

    Returns
    -------
    numpy.ndarray
        Shape (draw, image), int64; row d says which image takes the place of image i.

    Raises
    ------
    RsaError
        There is only one group, which cannot be permuted.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise RsaError(
            f"all {len(codes)} images belong to one group ({names.tolist()}), so that no "
            "permutation exists; give the stimulus set at least two groups"
        )
    old = np.argsort(codes, kind="stable")
    members = np.split(old, np.cumsum(np.bincount(codes))[:-1])
    random = np.random.default_rng(seed)
    permutations = np.empty((n_draws, len(codes)), dtype=np.int64)
    for draw in permutations:
        draw[old] = np.concatenate([members[g] for g in random.permutation(len(names))])
    return permutations


def permuted_correlations(
    model_ranks: np.ndarray, brain_ranks: np.ndarray, permutations: np.ndarray
) -> np.ndarray:
    """Spearman correlations of all model RDMs with all brain RDMs of permuted images.

    Ranks are taken once: permuting images permutes the pairs, not the set of ranks. Each draw is
    one gather of the brain's pairs and one matrix product.

    Parameters
    ----------
    model_ranks
        Shape (pair, model RDM), from :func:`~gradbrain.rsa.dissimilarity.standardised_ranks`.
    brain_ranks
        Shape (pair, brain RDM).
    permutations
        Shape (draw, image).

    Returns
    -------
    numpy.ndarray
        Shape (draw, model RDM, brain RDM), float32.
    """
    n_images = permutations.shape[1]
    rows, columns = np.triu_indices(n_images, 1)
    pair_of = np.zeros((n_images, n_images), dtype=np.intp)
    pair_of[rows, columns] = pair_of[columns, rows] = np.arange(len(rows))
    brain = np.ascontiguousarray(brain_ranks)
    model = np.ascontiguousarray(model_ranks.T)
    null = np.empty((len(permutations), model.shape[0], brain.shape[1]), dtype=np.float32)
    for draw, order in zip(null, permutations, strict=True):
        np.matmul(model, brain[pair_of[order[rows], order[columns]]], out=draw)
    return null


def permutation_p(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """One-sided p of correlations above chance, (1 + #{null ≥ observed}) / (1 + draws).

    Parameters
    ----------
    observed
        Shape (...).
    null
        Shape (draw, ...).

    Returns
    -------
    numpy.ndarray
        Shape (...); NaN where `observed` is.

    References
    ----------
    Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39.
    """
    exceeding = np.sum(null >= observed - TIE_TOLERANCE, axis=0)
    return np.where(np.isnan(observed), np.nan, (1 + exceeding) / (1 + len(null)))
