"""Outer and inner folds over images that never split a group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradbrain.encoding.errors import EncodingError

# Share of images with another one in their group up to which groups do not matter.
FEW_IN_GROUPS = 0.1


def many_share_groups(groups: ArrayLike) -> bool:
    """Tell whether many images have another one in their group, so that groups matter.

    A few pairs, such as a picture that a data set holds twice, do not.

    Parameters
    ----------
    groups
        Shape (n_images,). Group of every image.

    Returns
    -------
    bool
        Whether more than a tenth of the images do.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    return bool(sizes[sizes > 1].sum() > FEW_IN_GROUPS * sizes.sum())


def grouped_folds(
    groups: ArrayLike, n_folds: int, seed: int, *, setting: str = "encoding.n_folds"
) -> NDArray[np.intp]:
    """Give every image a fold so that all images of a group share one.

    The groups are shuffled under `seed`, ordered by falling size (stable) and put one after
    another into the fold that holds the fewest images so far. The result depends on the set of
    groups and their sizes only, not on the order of the images.

    Parameters
    ----------
    groups
        Shape (n_images,). Group of every image, e.g. its source photograph or category.
    n_folds
        Number of folds, at least 2.
    seed
        Seed of the shuffle.
    setting
        Key of the config that asked for so many, for the error.

    Returns
    -------
    array of shape (n_images,)
        Fold of every image, from 0 to n_folds − 1; no fold is empty.

    Raises
    ------
    EncodingError
        If there are fewer groups than folds.
    """
    names, membership, sizes = np.unique(
        np.asarray(groups).astype(str), return_inverse=True, return_counts=True
    )
    if n_folds < 2 or len(names) < n_folds:
        examples = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise EncodingError(
            f"{setting} is {n_folds}, but the {membership.size} images to divide belong to "
            f"{len(names)} groups ({examples}) and a group is never split: set {setting} to a "
            "number from 2 to the number of groups, or give the images finer groups"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    by_size = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold_sizes = np.zeros(n_folds, dtype=np.int64)
    fold_of_group = np.empty(len(names), dtype=np.intp)
    for group in by_size:
        fold = int(np.argmin(fold_sizes))
        fold_of_group[group] = fold
        fold_sizes[fold] += sizes[group]
    return fold_of_group[membership]


@dataclass(frozen=True)
class OuterSplit:
    """Training and held-out images of one set of fits.

    Attributes
    ----------
    number
        Outer fold, or the number of folds for the split that holds out the test images.
    train, held_out
        They share no group.
    test_images
        Whether the images held out are the test images of the data set.
    """

    number: int
    train: NDArray[np.intp]
    held_out: NDArray[np.intp]
    test_images: bool = False


def outer_splits(
    groups: NDArray[np.str_],
    n_folds: int,
    seed: int,
    test_images: NDArray[np.bool_] | None = None,
    folds: NDArray[np.intp] | None = None,
) -> list[OuterSplit]:
    """List the outer folds and, where a data set has test images, the split that holds them out.

    Parameters
    ----------
    groups
        Shape (n_images,).
    n_folds
        Number of folds.
    seed
        Seed of the draws.
    test_images
        Shape (n_images,), bool. Images with more repeats, which are scored on their own as well.
        Images that share a group with one of them are in neither part of their split.
    folds
        Shape (n_images,). Folds of the study's own, in the place of `n_folds` and `seed`: from 0;
        -1 for images that are trained on and never held out.

    Returns
    -------
    list of OuterSplit

    Raises
    ------
    EncodingError
        If there are fewer groups than folds, or no image is left to train on.
    """
    if folds is None:
        folds = grouped_folds(groups, n_folds, seed)
    else:
        n_folds = int(folds.max()) + 1
    splits = [
        OuterSplit(fold, np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
        for fold in range(n_folds)
    ]
    if test_images is not None:
        train = np.flatnonzero(~np.isin(groups, np.unique(groups[test_images])))
        if len(train) < 2:
            raise EncodingError(
                f"{len(train)} of the {len(groups)} images share no group with the "
                f"{int(test_images.sum())} test images, so that none are left to train on: give "
                "the images finer groups, or mark no test images"
            )
        splits.append(OuterSplit(n_folds, train, np.flatnonzero(test_images), test_images=True))
    return splits


class FoldSplitter:
    """Folds in the shape of a scikit-learn splitter, as himalaya takes them for `cv`.

    Parameters
    ----------
    folds
        Shape (n_images,). Fold of every image.
    """

    def __init__(self, folds: ArrayLike):
        self.folds = np.asarray(folds)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Return the number of folds."""
        return len(np.unique(self.folds))

    def split(
        self, X: object = None, y: object = None, groups: object = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield training and test indices of each fold in turn."""
        for fold in np.unique(self.folds):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)
