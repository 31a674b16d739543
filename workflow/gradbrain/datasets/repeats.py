"""Signal and noise of single trials, seen from images that were shown many times.

Most images of the THINGS recordings were shown once; a few test images were shown in every
session. Their repeats tell the noise of a trial, and thereby the ceiling of any number of
presentations.
"""

from __future__ import annotations

import numpy as np


def signal_to_noise(trials: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Estimate the variance of the signal over that of one trial's noise, ncsnr².

    The noise variance is that between repeats of an image, pooled over images. What the variance
    of the images' averages exceeds their own noise by is signal. Images need not have the same
    number of repeats; where they have, this is the estimate of Allen et al.

    Parameters
    ----------
    trials : ndarray, shape (n_trials, n_targets)
        Single trials; NaN makes the target's estimate NaN.
    image : ndarray of int, shape (n_trials,)
        Image of each trial, numbered from 0 without gaps.

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
    snr : ndarray, shape (...)
        Variance of the signal / variance of one trial's noise, ncsnr².
    n_repeats : ndarray of int, shape (n_images,), or int
        Presentations averaged.

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
    ceiling : ndarray, shape (...)
        Ceiling of one presentation, in [0, 1).

    Returns
    -------
    ndarray of float64, shape (...)
    """
    return ceiling / (1 - ceiling)
