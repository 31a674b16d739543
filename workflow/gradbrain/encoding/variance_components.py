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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.symmetric import UpperBlocks

FLOATS = NDArray[np.floating]
# Least share of the identity in the covariance that whitens.
LEAST_NOISE = 0.01
ITERATIONS = 3
# Share of a signal's squared kernel, below which the baseline has it already.
SAME = 1e-9
# Principal components of a layer that have a kernel of their own.
N_LEADING = 10
# Signals whose forms are subtracted from together; bounds memory.
SIGNALS_AT_ONCE = 16
# Of features, in the components that a flat kernel makes equal.
FLAT_VARIANCE = 0.99


def centred_kernel(features: FLOATS) -> FLOATS:
    """Linear kernel of centred features, scaled to a mean diagonal of 1.

    Parameters
    ----------
    features
        Shape (n_images, n_features).

    Returns
    -------
    array of shape (n_images, n_images), float64
        Zeros where no feature varies.
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    kernel = centred @ centred.T
    trace = np.trace(kernel)
    return kernel * (len(kernel) / trace) if trace > 0 else np.zeros_like(kernel)


def leading_kernel(features: FLOATS) -> FLOATS:
    """Kernel of the ten leading principal components of features.

    Parameters
    ----------
    features
        Shape (n_images, n_features).

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
    features
        Shape (n_images, n_features).

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


def kernel_root(kernel: FLOATS) -> FLOATS:
    """Split a kernel into a matrix times its transpose.

    Products with the root of a kernel of few features cost as many columns as these span, not as
    many as there are images.

    Parameters
    ----------
    kernel
        Shape (n_images, n_images). Positive semidefinite.

    Returns
    -------
    array of shape (n_images, rank)
    """
    eigenvalues, vectors = np.linalg.eigh(kernel)
    smallest = len(kernel) * np.finfo(float).eps * max(eigenvalues[-1], 0.0)
    kept = eigenvalues > smallest
    return np.ascontiguousarray(vectors[:, kept] * np.sqrt(eigenvalues[kept]))


@dataclass(frozen=True)
class Kernels:
    """Kernels of a baseline, and their roots side by side: what many regions have in common.

    Attributes
    ----------
    each
        Each of shape (n_images, n_images). Centred, mean diagonal 1.
    roots
        Shape (n_images, n_columns).
    starts
        Shape (n_kernels,), int. First column of the root of every kernel; each has one.
    """

    each: list[FLOATS]
    roots: FLOATS
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, kernels: Sequence[FLOATS]) -> Kernels:
        """Take the roots of kernels.

        Parameters
        ----------
        kernels
            Each of shape (n_images, n_images).

        Returns
        -------
        Kernels
        """
        roots = [kernel_root(kernel) for kernel in kernels]
        # Of a feature that is the same for all images.
        roots = [root if root.shape[1] else np.zeros((len(root), 1)) for root in roots]
        starts = np.cumsum([0, *(root.shape[1] for root in roots)])[:-1]
        return cls(list(kernels), np.concatenate(roots, axis=1), starts.astype(np.intp))

    @classmethod
    def known(cls, kernels: Kernels | Sequence[FLOATS]) -> Kernels:
        """Kernels whose roots are known; those of others are taken."""
        return kernels if isinstance(kernels, Kernels) else cls.of(kernels)

    @property
    def are_narrow(self) -> bool:
        """Whether products of all roots cost less than one product of images for each kernel."""
        n_images, n_columns = self.roots.shape
        return n_columns * (n_images + n_columns) < 2 * (len(self.each) + 1) * n_images**2

    def by_kernel(self, values: FLOATS, axis: int = -1) -> FLOATS:
        """Sum over the columns of the root of every kernel."""
        return np.add.reduceat(values, self.starts, axis=axis)

    @property
    def equal_weights(self) -> FLOATS:
        """Weights that estimates start from: half for the kernels together, half for the noise."""
        weights = np.full(len(self.each) + 1, 0.5 / len(self.each))
        weights[-1] = 0.5
        return weights

    @cached_property
    def first_look(self) -> _SeenRoots:
        """Roots through the covariance that estimates start from, the same for all responses."""
        return _SeenRoots.of(self, self.equal_weights)

    def covariance(self, weights: FLOATS) -> FLOATS:
        """Weighted sum of kernels and the identity, which has the mean as an axis of its own."""
        return _covariance(self.each, weights)


@dataclass(frozen=True)
class Whitened:
    """Kernels seen through the root of a covariance.

    Attributes
    ----------
    root
        Shape (n_images, n_images). W = V^-½.
    blocks
        How symmetric matrices of the images are held.
    forms
        Shape (n_components, blocks.size). M_j = W K_j W, the identity's last.
    information
        Shape (n_components, n_components). F_ij = tr(M_i M_j).
    """

    root: FLOATS
    blocks: UpperBlocks
    forms: FLOATS
    information: FLOATS


def whiten(kernels: Kernels | Sequence[FLOATS], covariance_weights: FLOATS) -> Whitened:
    """Look at kernels through the root of a weighted sum of them and the identity.

    Parameters
    ----------
    kernels
        Kernels or sequence of arrays of shape (n_images, n_images). Centred.
    covariance_weights
        Shape (n_kernels + 1,). Of V, the identity's last and positive.

    Returns
    -------
    Whitened
    """
    kernels = Kernels.known(kernels)
    n = len(kernels.roots)
    eigenvalues, vectors = np.linalg.eigh(kernels.covariance(covariance_weights))
    # V^-½ as a matrix times its transpose, which costs half a product.
    half = vectors * eigenvalues**-0.25
    root = half @ half.T
    seen = root @ kernels.roots
    blocks = UpperBlocks(n)
    forms = np.empty((len(kernels.each) + 1, blocks.size))
    for form, own in zip(forms, np.split(seen, kernels.starts[1:], axis=1), strict=False):
        blocks.outer(own, form)
    # W C W = V⁻¹ without the mean, which is an axis of its own.
    blocks.outer(root, forms[-1])
    forms[-1] -= blocks.scale / (n * covariance_weights[-1])
    return Whitened(root, blocks, forms, forms @ forms.T)


def _covariance(kernels: Sequence[FLOATS], weights: FLOATS) -> FLOATS:
    """Weighted sum of kernels and the identity, which has the mean as an axis of its own."""
    covariance = weights[-1] * np.eye(len(kernels[0]))
    for weight, kernel in zip(weights[:-1], kernels, strict=True):
        if weight:
            covariance += weight * kernel
    return covariance


def estimate_components(kernels: Kernels | Sequence[FLOATS], responses: FLOATS) -> FLOATS:
    """Variance that each kernel explains, pooled over targets, by iterated MINQUE.

    Parameters
    ----------
    kernels
        Kernels or sequence of arrays of shape (n_images, n_images). Centred, mean diagonal 1.
    responses
        Shape (n_targets, n_images).

    Returns
    -------
    array of shape (n_kernels + 1,)
        Of the last round, not negative, the noise's last and at least `LEAST_NOISE` of the sum:
        weights of a covariance.
    """
    kernels = Kernels.known(kernels)
    centred = products_root(responses - responses.mean(axis=1, keepdims=True))
    weights = kernels.equal_weights
    for number in range(ITERATIONS):
        if kernels.are_narrow:
            seen = kernels.first_look if number == 0 else _SeenRoots.of(kernels, weights)
            information, squares = seen.information, seen.squares(kernels, centred)
        else:
            information, squares = _moments_by_products(kernels, weights, centred)
        # Layers of a deep network may be all but the same kernel: only their sum is then known.
        weights = np.maximum(np.linalg.lstsq(information, squares, rcond=None)[0], 0.0)
        weights[-1] = max(weights[-1], LEAST_NOISE * max(weights.sum(), np.finfo(float).tiny))
    return weights


def _moments_by_products(
    kernels: Kernels, weights: FLOATS, centred: FLOATS
) -> tuple[FLOATS, FLOATS]:
    """F_ij = tr(V⁻¹ K_i V⁻¹ K_j) and q_i = tr(V⁻¹ YᵀY V⁻¹ K_i), by one product for each kernel."""
    n = len(kernels.roots)
    centring = np.eye(n) - 1.0 / n
    inverse = np.linalg.inv(kernels.covariance(weights))
    seen = np.stack([inverse @ kernel for kernel in (*kernels.each, centring)])
    turned = np.ascontiguousarray(seen.swapaxes(1, 2)).reshape(len(seen), -1)
    of_products = (inverse @ centred.T) @ centred
    return seen.reshape(len(seen), -1) @ turned.T, turned @ of_products.ravel()


@dataclass(frozen=True)
class _SeenRoots:
    """Roots X of kernels through a covariance V = L Lᵀ: moments as `_moments_by_products` has them.

    Attributes
    ----------
    lower
        Shape (n_images, n_images). L.
    roots
        Shape (n_images, n_columns). L⁻¹ X.
    information
        Shape (n_components, n_components). F_ij = tr(V⁻¹ K_i V⁻¹ K_j), the identity's last.
    """

    lower: FLOATS
    roots: FLOATS
    information: FLOATS

    @classmethod
    def of(cls, kernels: Kernels, weights: FLOATS) -> _SeenRoots:
        """Look at roots through the covariance that weights give."""
        # scipy takes a while to import, and no module that names this one needs it.
        from scipy.linalg import solve_triangular

        n, last = len(kernels.roots), len(kernels.each)
        information = np.empty((last + 1, last + 1))
        lower = np.linalg.cholesky(kernels.covariance(weights))
        seen = solve_triangular(lower, kernels.roots, lower=True, check_finite=False)
        cross = seen.T @ seen
        # F_ij = |X_iᵀ V⁻¹ X_j|² with K = X Xᵀ.
        traces = kernels.by_kernel(cross.diagonal())
        np.square(cross, out=cross)
        own, noise = weights[:last], weights[last]
        information[:last, :last] = kernels.by_kernel(kernels.by_kernel(cross), axis=0)
        # Since V is the weighted sum itself: tr(V⁻¹ K_i V⁻¹ V) = tr(V⁻¹ K_i), and likewise for the
        # identity without the mean, whose V⁻¹ V has n − 1 axes.
        information[last, :last] = (traces - information[:last, :last] @ own) / noise
        information[:last, last] = information[last, :last]
        trace = (n - 1 - own @ traces) / noise
        information[last, last] = (trace - information[last, :last] @ own) / noise
        return cls(lower, seen, information)

    def squares(self, kernels: Kernels, centred: FLOATS) -> FLOATS:
        """Of responses Y, q_i = tr(V⁻¹ YᵀY V⁻¹ K_i) = |Y V⁻¹ X_i|²; shape (n_components,)."""
        from scipy.linalg import solve_triangular

        turned = solve_triangular(self.lower, centred.T, lower=True, check_finite=False)
        squares = np.empty(len(self.information))
        squares[:-1] = kernels.by_kernel(np.square(turned.T @ self.roots).sum(axis=0))
        whole = solve_triangular(self.lower, turned, lower=True, trans="T", check_finite=False)
        squares[-1] = np.square(whole).sum()
        return squares


def products_root(responses: FLOATS) -> FLOATS:
    """A matrix Y of few rows whose YᵀY is the mean product of responses.

    Parameters
    ----------
    responses
        Shape (n_targets, n_images).

    Returns
    -------
    array of shape (min(n_targets, n_images), n_images)
    """
    n_targets, n_images = responses.shape
    if n_targets <= n_images:
        return responses / np.sqrt(n_targets)
    return kernel_root(responses.T @ responses / n_targets).T


def novel_part(
    baseline: Kernels | Sequence[FLOATS], signal: FLOATS, weights: FLOATS | None = None
) -> FLOATS:
    """Part of a signal that a baseline does not account for: σ² V⁻¹ S.

    The best linear prediction of S's independent part when its columns have covariance
    V = Σ θ_j K_j + σ² I (Henderson 1975); the in-sample residual of ridge regression at the
    penalties that restricted maximum likelihood finds.

    Parameters
    ----------
    baseline
        Kernels or sequence of arrays of shape (n_images, n_images). Centred, mean diagonal 1.
    signal
        Shape (n_images, n_features).
    weights
        Shape (n_kernels + 1,). Components of the signal, as `estimate_components` gives them;
        estimated where left out.

    Returns
    -------
    array of shape (n_images, n_features)
    """
    baseline = Kernels.known(baseline)
    centred = signal - signal.mean(axis=0, dtype=np.float64)
    if weights is None:
        weights = estimate_components(baseline, centred.T)
    return weights[-1] * np.linalg.solve(baseline.covariance(weights), centred)


@dataclass(frozen=True)
class BaselineCovariance:
    """Responses of a region as they are seen when they follow a baseline alone.

    Attributes
    ----------
    whitened
        Kernels of the baseline through the root of its covariance.
    """

    whitened: Whitened

    @classmethod
    def of(cls, baseline: Kernels | Sequence[FLOATS], weights: FLOATS) -> BaselineCovariance:
        """Whiten by the covariance that the weights give.

        Parameters
        ----------
        baseline
            Kernels or sequence of arrays of shape (n_images, n_images). Centred, mean diagonal 1.
        weights
            Shape (n_kernels + 1,). As `estimate_components` gives them.

        Returns
        -------
        BaselineCovariance
        """
        return cls(whiten(baseline, weights))

    def seen(self, kernel: FLOATS) -> FLOATS:
        """W K W of a kernel, shape (n_images, n_images)."""
        return self.whitened.root @ kernel @ self.whitened.root

    def seen_root(self, root: FLOATS) -> FLOATS:
        """W X of the root X of a kernel, shape (n_images, rank)."""
        return self.whitened.root @ root

    def products(self, responses: FLOATS) -> FLOATS:
        """Mean over targets of the products of whitened responses.

        Parameters
        ----------
        responses
            Shape (n_targets, n_images).

        Returns
        -------
        array of shape (n_images, n_images)
        """
        root = self.products_root(responses)
        return root.T @ root

    def products_root(self, responses: FLOATS) -> FLOATS:
        """A matrix Y of few rows whose YᵀY is `products`, shape (n_rows, n_images).

        Parameters
        ----------
        responses
            Shape (n_targets, n_images).
        """
        centred = responses - responses.mean(axis=1, keepdims=True)
        return products_root(centred) @ self.whitened.root

    def explained(self, products: FLOATS, n_kernels: int) -> float:
        """Variance that kernels explain, in the squared unit of the responses; unbiased.

        Parameters
        ----------
        products
            Shape (n_images, n_images). As `products` gives them.
        n_kernels
            Of the baseline, the first so many.
        """
        squares = self.whitened.forms @ self.whitened.blocks.pack(products)
        components = np.linalg.lstsq(self.whitened.information, squares, rcond=None)[0]
        return float(components[:n_kernels].sum())

    def forms(self, signals: Sequence[FLOATS]) -> FLOATS:
        """Matrices Q whose products with the whitened responses' are the components of signals.

        Parameters
        ----------
        signals
            Each of shape (n_images, rank). W X of the roots X of the signals' kernels, as
            `seen_root` gives them.

        Returns
        -------
        array of shape (n_signals, n_images, n_images)
            Estimate = ⟨Q, `products`⟩, in the squared unit of the responses; may be negative.
            Zeros for a signal that the baseline has already, whose component cannot be told.
        """
        return np.stack([self.whitened.blocks.unpack(form) for form in self.packed_forms(signals)])

    def packed_forms(self, signals: Sequence[FLOATS]) -> FLOATS:
        """The same as `Whitened.blocks` holds them.

        Parameters
        ----------
        signals
            Each of shape (n_images, rank).

        Returns
        -------
        array of shape (n_signals, blocks.size)
        """
        blocks, forms = self.whitened.blocks, self.whitened.forms
        found = np.empty((len(signals), blocks.size))
        for form, own in zip(found, signals, strict=True):
            blocks.outer(own, form)
        shared = forms @ found.T
        # The signal less its regression on the baseline's forms: Q ∝ M_s − Σ c_j M_j, which no
        # component of the baseline moves.
        weights = np.linalg.lstsq(self.whitened.information, shared, rcond=None)[0]
        whole = np.einsum("ij,ij->i", found, found)
        own = whole - np.einsum("ji,ji->i", weights, shared)
        known = own > SAME * whole
        for start in range(0, len(found), SIGNALS_AT_ONCE):
            rows = slice(start, start + SIGNALS_AT_ONCE)
            found[rows] -= weights.T[rows] @ forms
        found *= np.where(known, 1.0 / np.where(known, own, 1.0), 0.0)[:, None]
        return found

    def form(self, signal: FLOATS) -> FLOATS:
        """The form of one signal, from its kernel.

        Parameters
        ----------
        signal
            Shape (n_images, n_images). Kernel of the signal, centred, mean diagonal 1.

        Returns
        -------
        array of shape (n_images, n_images)
            As `forms` has it.
        """
        return self.forms([self.seen_root(kernel_root(signal))])[0]

    def test(
        self, signal: FLOATS, responses: FLOATS, permutations: NDArray[np.intp]
    ) -> tuple[float, FLOATS]:
        """Estimate a signal's component, and the same with the whitened responses of other images.

        Parameters
        ----------
        signal
            Shape (n_images, n_images). Kernel.
        responses
            Shape (n_targets, n_images).
        permutations
            Shape (n_draws, n_images).

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
    forms: FLOATS | Sequence[FLOATS], products: FLOATS, permutations: NDArray[np.intp]
) -> FLOATS:
    """Components of signals with the whitened responses of other images.

    Parameters
    ----------
    forms
        Each of shape (n_images, n_images). Symmetric.
    products
        Shape (n_images, n_images). Mean over targets of the products of whitened responses;
        symmetric.
    permutations
        Shape (n_draws, n_images).

    Returns
    -------
    array of shape (n_draws, n_forms), float64
        Summed in single precision: right to a millionth of the spread of the draws.
    """
    blocks = UpperBlocks(len(products))
    packed = np.stack([blocks.pack(form) for form in forms])
    return blocks.permuted_products(packed, products, permutations)
