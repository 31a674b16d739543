"""How much of the responses' variance feature spaces explain, without fitting a prediction.

Responses y of every target are taken for draws with mean zero and covariance Σ_j θ_j K_j over
images, where K_j = X_j X_jᵀ is the kernel of a feature space (weights that are as large for one
feature as for another) and the last K is the identity (noise). MINQUE (Rao 1971, *J Multivar Anal*
1:257) estimates θ from quadratic forms: with W = V^-½ for any guess V of the covariance and
M_j = W K_j W,

    θ = F⁻¹ q,   F_ij = tr(M_i M_j),   q_i = mean over targets of (W y)ᵀ M_i (W y)

is unbiased whatever V and however few images, since no ridge shrinks it; V near the truth makes it
precise, and iterated it is restricted maximum likelihood. With V of the *null* model (no signal)
the estimate for the signal is its efficient score over its information, and W y has independent
rows: permuting them gives the null distribution with the activations' part kept (as Abney 2015,
*Genet Epidemiol* 39:249, for one component). A draw is one look at n² products, for any number of
targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOATS = NDArray[np.floating]
# Least share of the identity in the covariance that whitens.
LEAST_NOISE = 0.01
ITERATIONS = 3
# Share of a signal's squared kernel, below which the baseline has it already.
SAME = 1e-9
# Principal components of a layer that have a kernel of their own.
N_LEADING = 10
# Of features, in the components that a flat kernel makes equal.
FLAT_VARIANCE = 0.99


def centred_kernel(features: FLOATS) -> FLOATS:
    """Linear kernel of centred features, scaled to a mean diagonal of 1.

    Parameters
    ----------
    features : array of shape (n_images, n_features)

    Returns
    -------
    array of shape (n_images, n_images), float64
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    kernel = centred @ centred.T
    return kernel * (len(kernel) / np.trace(kernel))


def leading_kernel(features: FLOATS) -> FLOATS:
    """Kernel of the ten leading principal components of features.

    Parameters
    ----------
    features : array of shape (n_images, n_features)

    Returns
    -------
    array of shape (n_images, n_images), float64
        As `centred_kernel` scales it.
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    # Of whichever is smaller, products of images or of features.
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    return centred_kernel((left * scale)[:, :N_LEADING])


def flat_kernel(features: FLOATS) -> FLOATS:
    """Kernel of the leading principal components of features, each as large as the others.

    Parameters
    ----------
    features : array of shape (n_images, n_features)

    Returns
    -------
    array of shape (n_images, n_images), float64
        Of as many components as hold `FLAT_VARIANCE` of the features' variance; scaled as
        `centred_kernel` does it.
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    held = np.cumsum(scale**2) / np.sum(scale**2)
    return centred_kernel(left[:, : int(np.searchsorted(held, FLAT_VARIANCE)) + 1])


@dataclass(frozen=True)
class Whitened:
    """Kernels seen through the root of a covariance.

    Attributes
    ----------
    root : array of shape (n_images, n_images)
        W = V^-½.
    forms : list of arrays of shape (n_images, n_images)
        M_j = W K_j W, the identity's last.
    information : array of shape (n_components, n_components)
        F_ij = tr(M_i M_j).
    """

    root: FLOATS
    forms: list[FLOATS]
    information: FLOATS


def whiten(kernels: Sequence[FLOATS], covariance_weights: FLOATS) -> Whitened:
    """Look at kernels through the root of a weighted sum of them and the identity.

    Parameters
    ----------
    kernels : sequence of arrays of shape (n_images, n_images)
        Centred.
    covariance_weights : array of shape (n_kernels + 1,)
        Of V, the identity's last and positive.

    Returns
    -------
    Whitened
    """
    n = len(kernels[0])
    centring = np.eye(n) - 1.0 / n
    eigenvalues, vectors = np.linalg.eigh(_covariance(kernels, covariance_weights))
    root = (vectors / np.sqrt(eigenvalues)) @ vectors.T
    forms = [root @ kernel @ root for kernel in (*kernels, centring)]
    information = np.array([[np.vdot(left, right) for right in forms] for left in forms])
    return Whitened(root, forms, information)


def _covariance(kernels: Sequence[FLOATS], weights: FLOATS) -> FLOATS:
    """Weighted sum of kernels and the identity, which has the mean as an axis of its own."""
    covariance = weights[-1] * np.eye(len(kernels[0]))
    for weight, kernel in zip(weights[:-1], kernels, strict=True):
        if weight:
            covariance += weight * kernel
    return covariance


def estimate_components(kernels: Sequence[FLOATS], responses: FLOATS) -> FLOATS:
    """Variance that each kernel explains, pooled over targets, by iterated MINQUE.

    Parameters
    ----------
    kernels : sequence of arrays of shape (n_images, n_images)
        Centred, mean diagonal 1.
    responses : array of shape (n_targets, n_images)

    Returns
    -------
    array of shape (n_kernels + 1,)
        Of the last round, not negative, the noise's last and at least `LEAST_NOISE` of the sum:
        weights of a covariance.
    """
    centred = responses - responses.mean(axis=1, keepdims=True)
    products = centred.T @ centred / len(centred)
    n = len(products)
    centring = np.eye(n) - 1.0 / n
    weights = np.full(len(kernels) + 1, 0.5 / len(kernels))
    weights[-1] = 0.5
    for _ in range(ITERATIONS):
        inverse = np.linalg.inv(_covariance(kernels, weights))
        # F_ij = tr(V⁻¹ K_i V⁻¹ K_j) and q_i = tr(V⁻¹ Z V⁻¹ K_i), by one product for each kernel.
        seen = [inverse @ kernel for kernel in (*kernels, centring)]
        turned = [np.ascontiguousarray(one.T) for one in seen]
        information = np.array([[np.vdot(one, other) for other in turned] for one in seen])
        of_products = inverse @ products
        squares = np.array([np.vdot(of_products, other) for other in turned])
        # Layers of a deep network may be all but the same kernel: only their sum is then known.
        weights = np.maximum(np.linalg.lstsq(information, squares, rcond=None)[0], 0.0)
        weights[-1] = max(weights[-1], LEAST_NOISE * max(weights.sum(), np.finfo(float).tiny))
    return weights


def novel_part(baseline: Sequence[FLOATS], signal: FLOATS, weights: FLOATS | None = None) -> FLOATS:
    """Part of a signal that a baseline does not account for: σ² V⁻¹ S.

    The best linear prediction of S's independent part when its columns have covariance
    V = Σ θ_j K_j + σ² I (Henderson 1975); the in-sample residual of ridge regression at the
    penalties that restricted maximum likelihood finds.

    Parameters
    ----------
    baseline : sequence of arrays of shape (n_images, n_images)
        Kernels, centred, mean diagonal 1.
    signal : array of shape (n_images, n_features)
    weights : array of shape (n_kernels + 1,), optional
        Components of the signal, as `estimate_components` gives them; estimated where left out.

    Returns
    -------
    array of shape (n_images, n_features)
    """
    centred = signal - signal.mean(axis=0, dtype=np.float64)
    if weights is None:
        weights = estimate_components(baseline, centred.T)
    return weights[-1] * np.linalg.solve(_covariance(baseline, weights), centred)


@dataclass(frozen=True)
class BaselineCovariance:
    """Responses of a region as they are seen when they follow a baseline alone.

    Attributes
    ----------
    whitened : Whitened
        Kernels of the baseline through the root of its covariance.
    """

    whitened: Whitened

    @classmethod
    def of(cls, baseline: Sequence[FLOATS], weights: FLOATS) -> BaselineCovariance:
        """Whiten by the covariance that the weights give.

        Parameters
        ----------
        baseline : sequence of arrays of shape (n_images, n_images)
            Kernels, centred, mean diagonal 1.
        weights : array of shape (n_kernels + 1,)
            As `estimate_components` gives them.

        Returns
        -------
        BaselineCovariance
        """
        return cls(whiten(baseline, weights))

    def seen(self, kernel: FLOATS) -> FLOATS:
        """W K W of a kernel, shape (n_images, n_images)."""
        return self.whitened.root @ kernel @ self.whitened.root

    def products(self, responses: FLOATS) -> FLOATS:
        """Mean over targets of the products of whitened responses.

        Parameters
        ----------
        responses : array of shape (n_targets, n_images)

        Returns
        -------
        array of shape (n_images, n_images)
        """
        whitened = (responses - responses.mean(axis=1, keepdims=True)) @ self.whitened.root
        return whitened.T @ whitened / len(responses)

    def explained(self, products: FLOATS) -> float:
        """Variance that the baseline explains, in the squared unit of the responses; unbiased.

        Parameters
        ----------
        products : array of shape (n_images, n_images)
            As `products` gives them.
        """
        squares = [np.vdot(form, products) for form in self.whitened.forms]
        components = np.linalg.lstsq(self.whitened.information, squares, rcond=None)[0]
        return float(components[:-1].sum())

    def form(self, signal: FLOATS) -> FLOATS:
        """Matrix Q whose product with the whitened responses' is the component of a signal.

        Parameters
        ----------
        signal : array of shape (n_images, n_images)
            Kernel of the signal, centred, mean diagonal 1.

        Returns
        -------
        array of shape (n_images, n_images)
            Estimate = ⟨Q, `products`⟩, in the squared unit of the responses; may be negative.
            Zeros for a signal that the baseline has already, whose component cannot be told.
        """
        seen = self.seen(signal)
        forms = self.whitened.forms
        shared = np.array([np.vdot(form, seen) for form in forms])
        # The signal less its regression on the baseline's forms: Q ∝ M_s − Σ c_j M_j, which no
        # component of the baseline moves.
        weights = np.linalg.lstsq(self.whitened.information, shared, rcond=None)[0]
        own = float(np.vdot(seen, seen) - weights @ shared)
        if own <= SAME * np.vdot(seen, seen):
            return np.zeros_like(seen)
        for weight, form in zip(weights, forms, strict=True):
            seen = seen - weight * form
        return seen / own

    def test(
        self, signal: FLOATS, responses: FLOATS, permutations: NDArray[np.intp]
    ) -> tuple[float, FLOATS]:
        """Estimate a signal's component, and the same with the whitened responses of other images.

        Parameters
        ----------
        signal : array of shape (n_images, n_images)
            Kernel.
        responses : array of shape (n_targets, n_images)
        permutations : array of shape (n_draws, n_images)

        Returns
        -------
        estimate : float
            Mean over targets, in the squared unit of the responses; may be negative.
        null : array of shape (n_draws,)
        """
        form, products = self.form(signal), self.products(responses)
        null = permuted_estimates([form], products, permutations)[:, 0]
        return float(np.vdot(form, products)), null


def permuted_estimates(
    forms: Sequence[FLOATS], products: FLOATS, permutations: NDArray[np.intp]
) -> FLOATS:
    """Components of signals with the whitened responses of other images.

    Parameters
    ----------
    forms : sequence of arrays of shape (n_images, n_images)
    products : array of shape (n_images, n_images)
        Mean over targets of the products of whitened responses.
    permutations : array of shape (n_draws, n_images)

    Returns
    -------
    array of shape (n_draws, n_forms)
    """
    flat = np.stack([form.ravel() for form in forms])
    return np.stack([flat @ products[np.ix_(order, order)].ravel() for order in permutations])


def whitened_surrogates(
    baseline: Sequence[FLOATS],
    weights: FLOATS,
    responses: FLOATS,
    permutations: NDArray[np.intp],
) -> Iterator[FLOATS]:
    """Make responses that follow the baseline as much as the real ones, and nothing else.

    Whitened by the covariance that the baseline gives, permuted over images, and coloured again:
    the null of any statistic, refitted on them. A baseline's held-out prediction with permuted
    residuals would do so with too small a share of the baseline, since ridge shrinks it.

    Parameters
    ----------
    baseline : sequence of arrays of shape (n_images, n_images)
        Kernels, centred, mean diagonal 1.
    weights : array of shape (n_kernels + 1,)
        As `estimate_components` gives them.
    responses : array of shape (n_targets, n_images)
    permutations : array of shape (n_draws, n_images)

    Yields
    ------
    array of shape (n_targets, n_images)
        Centred; one per permutation, the same for all targets.
    """
    root = whiten(baseline, weights).root
    colour = np.linalg.inv(root)
    white = (responses - responses.mean(axis=1, keepdims=True)) @ root
    for order in permutations:
        yield white[:, order] @ colour
