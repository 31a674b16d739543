r"""How well a signal repeats itself between two independent draws of what is random in it.

A signal with Monte-Carlo randomness (views, masks, perturbations) is an estimate. Of two draws

.. math:: A = S + N_A, \quad B = S + N_B

with independent errors, the centred cosine :math:`\langle A, B \rangle / (\|A\| \|B\|)` tends to
:math:`\|S\|^2 / (\|S\|^2 + \|N\|^2)`: the share of the signal's variance over images that is the
same in every draw. It is the intraclass correlation, and of single features Pearson's r between
test and retest (Shrout & Fleiss 1979, *Psychological Bulletin* 86:420).

What a signal adds to activations lives on less: on what is left of it after regression on all of
them. Predictions :math:`P` of a draw are fitted to other images, twice, to two halves of them that
share no group. What a prediction misses by chance (its variance) is then independent between
:math:`P` and :math:`P'` and drops out of

.. math:: \frac{\langle A - P, B - P' \rangle}
    {\sqrt{\langle A - P, A - P' \rangle \langle B - P, B - P' \rangle}},

which tends to :math:`\|U\|^2 / (\|U\|^2 + \|N\|^2)`, with :math:`U` the part of :math:`S` that is
no linear function of activations (*ours*). With one prediction in the place of both, its variance
is taken for a part of :math:`U` that repeats itself: a signal without any unique part comes out at
.13 (150 images, 600 features, half of the signal noise) in the place of 0. What remains is the
bias of :math:`P`: where half of the images are too few to learn all that activations could
predict, the estimate lies between the reliability of the unique part and that of the signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from sklearn.model_selection import GroupKFold

from gradbrain.signals import SignalError

FLOATS = NDArray[np.floating]

#: Draws that scores are made from, and draws in each of the two halves that are compared.
DRAWS_USED, DRAWS_PER_HALF = 1, 1
#: Share of a signal's squared length below which its variance over images is rounding error.
CONSTANT = 1e-9
#: Penalties of the regression, as multiples of the mean squared length of an image's features.
PENALTIES = np.logspace(-5, 3, 9)
#: Folds in which every image is predicted from images of other groups.
N_FOLDS = 5
#: Groups without which no fold leaves two halves to train on.
MIN_GROUPS = 3


def spearman_brown(split_half: float, lengthening: float) -> float:
    """Reliability of a measurement that is as many times as long as each half (Spearman–Brown).

    Parameters
    ----------
    split_half
        Correlation of the two halves.
    lengthening
        Length of what is used, over the length of a half; 1 where a half is as long.

    Returns
    -------
    float
        k r / (1 + (k − 1) r). Source: Spearman 1910 and Brown 1910, *British Journal of
        Psychology* 3:271 and 3:296.
    """
    return lengthening * split_half / (1.0 + (lengthening - 1.0) * split_half)


def centred_cosine(first: FLOATS, second: FLOATS) -> float:
    """Cosine of two matrices whose columns are centred over images (Frobenius).

    Parameters
    ----------
    first, second
        Shape (n_images, n_features).

    Returns
    -------
    float
        NaN where one of them is the same for all images but for rounding, as a signal that is
        zero is.
    """
    parts = [_centred(values) for values in (first, second)]
    if any(part is None for part in parts):
        return float("nan")
    one, other = (part for part in parts if part is not None)
    return float(np.vdot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


def _about_mean(values: FLOATS) -> FLOATS:
    return values - values.mean(axis=0)


def _centred(values: FLOATS) -> FLOATS | None:
    whole = np.asarray(values, dtype=np.float64)
    centred = _about_mean(whole)
    varies = np.vdot(centred, centred) > CONSTANT * np.vdot(whole, whole)
    return centred if varies else None


def spread_over_groups(groups: ArrayLike, n_images: int, seed: int) -> NDArray[np.intp]:
    """Draw images so that as many groups as possible take part, each with as few as possible.

    Parameters
    ----------
    groups
        Shape (n_all_images,): group of every image.
    n_images
        Images drawn; all where there are no more.
    seed
        Of the order of groups, and of images within them.

    Returns
    -------
    array of shape (n_drawn,)
        Rows, ascending.
    """
    random = np.random.default_rng(seed)
    names, membership = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    images = random.permutation(len(membership))
    order_of_group = random.permutation(len(names))
    shuffled = pd.Series(membership[images])
    turn = shuffled.groupby(shuffled).cumcount().to_numpy()
    place = np.lexsort((order_of_group[membership[images]], turn))
    return np.sort(images[place[:n_images]])


@dataclass(frozen=True)
class Sample:
    """Images of a measurement.

    Attributes
    ----------
    images
        Shape (n_images,): rows of the images that are compared, ascending.
    pool
        Shape (n_pool,): rows of those that the regression sees, the former among them, ascending.
    groups
        Shape (n_pool,): what folds must not split.
    """

    images: NDArray[np.intp]
    pool: NDArray[np.intp]
    groups: NDArray[np.str_]

    @classmethod
    def draw(
        cls, groups: ArrayLike, *, n_images: int, max_training_images: int, seed: int
    ) -> Sample:
        """Draw the images that are compared, and others for the regression.

        Parameters
        ----------
        groups
            Group of every image.
        n_images
            Images that are compared.
        max_training_images
            Other images at most.
        seed
            Of both choices.

        Raises
        ------
        SignalError
            There are fewer than three images: two of them always agree in direction.
        """
        names = np.asarray(groups).astype(str)
        images = spread_over_groups(names, n_images, seed)
        if len(images) < 3:
            raise SignalError(
                f"reliability is measured over {len(images)} images, expected at least 3: raise "
                "reliability.n_images, or take a stimulus set of more images"
            )
        others = np.setdiff1d(np.arange(len(names)), images)
        chosen = spread_over_groups(names[others], max_training_images, seed)
        pool = np.sort(np.concatenate([images, others[chosen]]))
        return cls(images, pool, names[pool])

    @property
    def places(self) -> NDArray[np.intp]:
        """Places in the pool of the images that are compared."""
        return np.searchsorted(self.pool, self.images)


@dataclass(frozen=True)
class _Half:
    """Weights that predict held-out images from half of the training images, for each penalty."""

    held_out: NDArray[np.intp]
    train: NDArray[np.intp]
    weights: FLOATS


class ActivationRegression:
    """Ridge regression of signals on activations, cross-fitted over grouped folds.

    Every image that is compared is predicted from images of other groups, once by each half of
    them. All features are standardised by training statistics and share one penalty, as in the
    baseline of the encoding fits. Activations enter through kernels that grow layer by layer, so
    that memory grows with the square of the number of images and with the features of one layer.

    Parameters
    ----------
    activations
        Activations layer by layer, each of shape (n_pool, n_features_of_layer); may be read
        lazily.
    sample
        Images.
    seed
        Of the halves.

    Attributes
    ----------
    n_training
        Training images behind a prediction, on average, rounded; 0 where there are none.
    """

    def __init__(self, activations: Iterable[FLOATS], sample: Sample, seed: int) -> None:
        self._places = sample.places
        splits = _splits(sample, seed)
        kernels = [np.zeros((len(train) + len(held), len(train))) for train, held in splits]
        n_features = 0
        for values in activations:
            n_features += values.shape[1]
            for kernel, (train, held) in zip(kernels, splits, strict=True):
                rows = _standardised(values, train, held)
                kernel += rows @ rows[: len(train)].T
        sizes = [len(train) for train, _ in splits]
        self.n_training = round(float(np.mean(sizes))) if sizes else 0
        self._halves = [
            _Half(held, train, _weights(kernel / n_features, len(train)))
            for kernel, (train, held) in zip(kernels, splits, strict=True)
        ]

    def reliability_of_rest(self, used: FLOATS, other: FLOATS) -> float:
        """Reliability of what is left of a signal after regression on activations.

        Parameters
        ----------
        used
            Shape (n_pool, n_features): the draw that the regression is fitted to.
        other
            Shape (n_images, n_features): another draw, of the images that are compared.

        Returns
        -------
        float
            NaN where nothing is left, or where the images are of too few groups to train on.
        """
        if not self._halves:
            return float("nan")
        first, second = (self._predictions(used, half) for half in (0, 1))
        draws = [used[self._places].astype(np.float64), other.astype(np.float64)]
        if any(_centred(draw) is None for draw in draws):
            return float("nan")
        left = [
            sum(float(np.vdot(draw - one, draw - two)) for draw in draws)
            for one, two in zip(first, second, strict=True)
        ]
        best = int(np.argmin(left))
        return _common_share(draws, first[best], second[best])

    def _predictions(self, used: FLOATS, half: int) -> FLOATS:
        """Predict the images that are compared, shape (n_penalties, n_images, n_features)."""
        row_of = {place: row for row, place in enumerate(self._places)}
        predicted = np.empty((len(PENALTIES), len(self._places), used.shape[1]))
        for fit in self._halves[half::2]:
            train = used[fit.train].astype(np.float64)
            mean = train.mean(axis=0)
            rows = [row_of[place] for place in fit.held_out]
            predicted[:, rows] = fit.weights @ (train - mean) + mean
        return predicted


def _common_share(draws: Sequence[FLOATS], first: FLOATS, second: FLOATS) -> float:
    """Share of the rest of two draws that is the same in both, with predictions of two halves."""
    (one, one_again), (other, other_again) = (
        [_about_mean(draw - predicted) for predicted in (first, second)] for draw in draws
    )
    common = (np.vdot(one, other_again) + np.vdot(one_again, other)) / 2
    own, others = np.vdot(one, one_again), np.vdot(other, other_again)
    least = [CONSTANT * float(np.vdot(draw, draw)) for draw in draws]
    if own <= least[0] or others <= least[1]:
        return float("nan")
    return float(common / np.sqrt(own * others))


def _splits(sample: Sample, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Training and held-out images of both halves of every fold, the halves in turn."""
    n_folds = min(N_FOLDS, len(np.unique(sample.groups)))
    if n_folds < MIN_GROUPS:
        return []
    found = []
    for train, test in GroupKFold(n_folds).split(sample.pool, groups=sample.groups):
        held = np.intersect1d(test, sample.places)
        if len(held):
            halves = GroupKFold(2, shuffle=True, random_state=seed)
            parts = halves.split(train, groups=sample.groups[train])
            found += [(train[half], held) for half, _ in parts]
    return found


def _standardised(values: FLOATS, train: NDArray[np.intp], held: NDArray[np.intp]) -> FLOATS:
    """Training rows, then held-out ones, by training statistics; constant features are zero."""
    rows = values[np.concatenate([train, held])].astype(np.float64)
    rows -= rows[: len(train)].mean(axis=0)
    spread = rows[: len(train)].std(axis=0)
    rows /= np.where(spread > 0, spread, np.inf)
    return rows


def _weights(kernel: FLOATS, n_train: int) -> FLOATS:
    """Weights of training images for each penalty, shape (n_penalties, n_held_out, n_train)."""
    values, vectors = eigh(kernel[:n_train])
    penalties = PENALTIES * max(float(np.trace(kernel[:n_train])) / n_train, np.finfo(float).tiny)
    shrunk = 1.0 / (np.maximum(values, 0.0) + penalties[:, None])
    return (kernel[n_train:] @ vectors)[None] * shrunk[:, None] @ vectors.T
