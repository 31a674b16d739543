"""How much of a response can be explained at all: ceilings from repeats and from other people."""

from __future__ import annotations

import numpy as np


def average_repeats(repeats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average repeats of the same images, and estimate the explainable share of the average.

    The noise variance is the variance across repeats, averaged over images; what the variance
    of the averages over images exceeds it by (divided by the number of repeats) is signal. With
    ncsnr = sd(signal) / sd(noise), the share is ncsnr² / (ncsnr² + 1/n).

    Parameters
    ----------
    repeats
        Shape (n_repeats, n_images, ...). At least two repeats and two images.

    Returns
    -------
    average : ndarray of float64, shape (n_images, ...)
    ceiling : ndarray of float64, shape (...)
        In [0, 1).

    References
    ----------
    Allen et al. 2022, Nature Neuroscience 25:116, Methods, "Noise ceiling estimation".
    """
    n_repeats, n_images = repeats.shape[:2]
    if n_repeats < 2 or n_images < 2:
        raise ValueError(
            f"{n_repeats} repeat(s) of {n_images} image(s) given, expected at least 2 of 2"
        )
    average = repeats.mean(axis=0, dtype=np.float64)
    noise = ((repeats - average) ** 2).sum(axis=0, dtype=np.float64) / (n_repeats - 1)
    noise_variance = noise.mean(axis=0)
    signal_variance = np.clip(average.var(axis=0, ddof=1) - noise_variance / n_repeats, 0, None)
    total = signal_variance + noise_variance / n_repeats
    ceiling = np.divide(signal_variance, total, out=np.zeros_like(total), where=total > 0)
    return average, ceiling


def average_presentations(
    responses: np.ndarray, image: np.ndarray, n_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average presentations of images that were shown unequally often, and estimate the ceiling.

    As :func:`average_repeats`, which it equals where all images have as many presentations: the
    noise variance is pooled over the images that were repeated, and its share in the averages is
    its product with the mean of 1/n over images.

    Parameters
    ----------
    responses
        Shape (n_presentations, ...). One row per presentation.
    image
        Shape (n_presentations,), int. Index of the image of each row; every image has a row.
    n_images
        How many images there are.

    Returns
    -------
    average : ndarray of float64, shape (n_images, ...)
    ceiling : ndarray of float64, shape (...)
        In [0, 1); NaN where fewer than two images were repeated.

    References
    ----------
    Allen et al. 2022, Nature Neuroscience 25:116, Methods, "Noise ceiling estimation".
    """
    counts = np.bincount(image, minlength=n_images)
    if len(counts) != n_images or not counts.all():
        raise ValueError(f"{(counts == 0).sum()} of {n_images} images have no presentation")
    order = np.argsort(image, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rows = responses[order].astype(np.float64)
    scale = counts.reshape(-1, *(1 for _ in responses.shape[1:]))
    average = np.add.reduceat(rows, starts, axis=0) / scale
    if np.count_nonzero(counts > 1) < 2:
        return average, np.full(responses.shape[1:], np.nan)
    ratio = signal_to_noise(responses.reshape(len(responses), -1), image)
    return average, ceiling_of_average(ratio, counts).reshape(responses.shape[1:])


def signal_to_noise(trials: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Estimate the variance of the signal over that of one trial's noise, ncsnr².

    The noise variance is that between repeats of an image, pooled over images. What the variance
    of the images' averages exceeds their own noise by is signal. Images need not have the same
    number of repeats; where they have, this is the estimate of Allen et al.

    Parameters
    ----------
    trials
        Shape (n_trials, n_targets). Single trials; NaN makes the target's estimate NaN.
    image
        Shape (n_trials,), int. Image of each trial, numbered from 0 without gaps.

    Returns
    -------
    ndarray of float64, shape (n_targets,)
        NaN where no image is repeated, there are fewer than two images, or trials do not vary.

    References
    ----------
    Allen et al. 2022, Nature Neuroscience 25:116, Methods, "Noise ceiling estimation".
    """
    n_images = int(image.max(initial=-1)) + 1
    count = np.bincount(image, minlength=n_images)
    spare = int(count.sum() - n_images)
    if n_images < 2 or spare < 1:
        return np.full(trials.shape[1], np.nan)
    order = np.argsort(image, kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    ordered = trials[order].astype(np.float64)
    mean = np.add.reduceat(ordered, starts, axis=0) / count[:, None]
    noise = ((ordered - mean[image[order]]) ** 2).sum(axis=0) / spare
    signal = np.clip(mean.var(axis=0, ddof=1) - noise * np.mean(1 / count), 0, None)
    return np.divide(signal, noise, out=np.full_like(noise, np.nan), where=noise > 0)


def ceiling_of_average(snr: np.ndarray, n_repeats: np.ndarray | int) -> np.ndarray:
    """Share of the variance over images that can be explained, from the signal-to-noise ratio.

    ``snr / (snr + mean(1 / n))``: with one presentation per image the ceiling of single trials,
    with as many as there are the ceiling of the averages, and with different numbers that of the
    mixture, as for images of NSD that were shown once, twice or three times.

    Parameters
    ----------
    snr
        Shape (...). Variance of the signal / variance of one trial's noise, ncsnr².
    n_repeats
        Array of int, shape (n_images,), or int. Presentations averaged.

    Returns
    -------
    ndarray of float64, shape (...)
        In [0, 1); NaN where `snr` is.

    References
    ----------
    Allen et al. 2022, Nature Neuroscience 25:116, Methods, "Noise ceiling estimation".
    """
    return snr / (snr + np.mean(1 / np.asarray(n_repeats, dtype=np.float64)))


def signal_to_noise_of_ceiling(ceiling: np.ndarray) -> np.ndarray:
    """Invert the ceiling of a single presentation: ``c / (1 - c)``.

    Parameters
    ----------
    ceiling
        Shape (...). Ceiling of one presentation, in [0, 1).

    Returns
    -------
    ndarray of float64, shape (...)
    """
    return ceiling / (1 - ceiling)


def centre_kernel(kernel: np.ndarray) -> np.ndarray:
    """Centre a kernel in feature space: H K H with H = 1 − 11ᵀ/n.

    Parameters
    ----------
    kernel
        Shape (n_images, n_images).
    """
    kernel = kernel - kernel.mean(axis=0, keepdims=True)
    return kernel - kernel.mean(axis=1, keepdims=True)


def kernel_ceiling(kernel: np.ndarray, others: np.ndarray, *, n_penalties: int = 25) -> float:
    """Predict one person's responses from the mean kernel of the others (*ours*).

    Kernel ridge regression with the others' mean kernel in the place of a model's, scored by
    leave-one-image-out R² pooled over response dimensions. It depends on the responses Y only
    through their kernel YYᵀ, so it is the same for any rotation of Y. One penalty is shared by
    all dimensions and is the best of a grid. Leave-one-out residuals are the residuals divided by
    1 − H_ii − 1/n, where 1/n is the mean's own leverage.

    Parameters
    ----------
    kernel
        Shape (n_images, n_images). Kernel of the person's responses.
    others
        Shape (n_images, n_images). Mean kernel of everybody else.
    n_penalties
        Penalties, log-spaced between 1e-3 and 1e5 of the mean eigenvalue.

    Returns
    -------
    float
        R² in [0, 1]; negative values are 0.
    """
    n_images = len(kernel)
    kernel = centre_kernel(kernel)
    values, vectors = np.linalg.eigh(centre_kernel(others))
    values = np.clip(values, 0, None)
    total = np.trace(kernel) * (n_images / (n_images - 1)) ** 2
    if total <= 0 or not values.any():
        return 0.0
    rotated = vectors.T @ kernel @ vectors
    best = -np.inf
    for penalty in values.mean() * np.logspace(-3, 5, n_penalties):
        shrunken = penalty / (values + penalty)
        leverage = (vectors**2) @ (1 - shrunken)
        residuals = vectors * shrunken
        squares = np.einsum("ij,jk,ik->i", residuals, rotated, residuals, optimize=True)
        denominator = 1 - leverage - 1 / n_images
        if denominator.min() < 1e-9:
            continue
        best = max(best, 1 - float(np.sum(squares / denominator**2) / total))
    return float(np.clip(best, 0.0, 1.0))
