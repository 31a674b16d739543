"""Bootstrap and permutation draws over images, the same for every layer, model and subject.

Draws depend on a seed, the outer fold and the group structure of the fold's images alone, so that
intervals and chance levels of anything derived from scores (a difference of layers, a correlation
over depths) can be taken draw by draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLOATS = NDArray[np.floating]


@dataclass(frozen=True)
class ImageDraws:
    """Draws over the test images of one outer fold.

    Attributes
    ----------
    counts
        Shape (n_draws, n_images). How often every image is taken in every bootstrap draw.
    permutations
        Shape (n_draws, n_images). ``permutations[d, k]`` is the image that is matched with image k
        under the null.
    """

    counts: NDArray[np.int64]
    permutations: NDArray[np.intp]


def draw_images(groups: ArrayLike, n_draws: int, seed: int, fold: int) -> ImageDraws:
    """Draw bootstrap counts and permutations of images, keeping groups whole.

    The bootstrap takes as many groups as there are, with replacement, each with all its images.
    The permutation puts the groups into a new order, images within a group keeping theirs, and
    matches the k-th image of the new order with the k-th of the old. With one image per group
    these are the plain bootstrap and permutation of images.

    Parameters
    ----------
    groups
        Shape (n_images,). Group of every test image; images of a group are neighbours.
    n_draws
        Number of draws.
    seed, fold
        Seed of the study and number of the outer fold.

    Returns
    -------
    ImageDraws
    """
    names, membership = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    generator = np.random.default_rng([seed, fold])
    taken = generator.integers(0, len(names), size=(n_draws, len(names)))
    order_key = generator.random((n_draws, len(names)))
    group_counts = np.zeros((n_draws, len(names)), dtype=np.int64)
    np.add.at(group_counts, (np.arange(n_draws)[:, None], taken), 1)
    permutations = np.argsort(order_key[:, membership], axis=1, kind="stable")
    return ImageDraws(counts=group_counts[:, membership], permutations=permutations)


def permuted_traces(products: FLOATS, permutations: NDArray[np.intp]) -> FLOATS:
    """Sum the products of matched images under every permutation.

    With ``products[u, i, j]`` = ⟨a_i, b_j⟩ summed over the targets of unit u, the sum over images
    of ⟨a_i, b_π(i)⟩ needs no second look at the targets.

    Parameters
    ----------
    products
        Shape (n_units, n_images, n_images). Inner products between images.
    permutations
        Shape (n_draws, n_images). `ImageDraws.permutations`.

    Returns
    -------
    array of shape (n_draws, n_units)
        Σ_i products[u, i, π_d(i)].
    """
    n_images = products.shape[1]
    by_pair = np.ascontiguousarray(products.reshape(len(products), -1).T)
    return by_pair[np.arange(n_images) * n_images + permutations].sum(axis=1)
