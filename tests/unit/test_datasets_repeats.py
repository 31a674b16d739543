"""Claims about signal and noise seen from repeats."""

import numpy as np
import pytest

from gradbrain.datasets.noise_ceiling import (
    average_repeats,
    ceiling_of_average,
    signal_to_noise,
    signal_to_noise_of_ceiling,
)


def trials_of(signal, n_repeats, noise_sd, seed=0):
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(len(signal)), n_repeats)
    order = rng.permutation(len(image))
    noise = noise_sd * rng.standard_normal((len(image), signal.shape[1]))
    return (signal[image] + noise)[order], image[order]


def test_with_equal_repeats_the_ceiling_is_that_of_average_repeats():
    rng = np.random.default_rng(1)
    repeats = rng.standard_normal((4, 30, 5)) + rng.standard_normal((30, 5))
    expected = average_repeats(repeats)[1]
    trials, image = repeats.reshape(120, 5), np.tile(np.arange(30), 4)
    assert ceiling_of_average(signal_to_noise(trials, image), 4) == pytest.approx(expected)


def test_planted_ratios_are_found_with_unequal_repeats():
    rng = np.random.default_rng(2)
    signal = 2.0 * rng.standard_normal((800, 20))
    n_repeats = rng.integers(2, 7, 800)
    trials, image = trials_of(signal, n_repeats, noise_sd=4.0)
    # 800 images tell a variance to about 2 sqrt(1 / 800) = 7 %; 20 targets to a quarter of that.
    assert signal_to_noise(trials, image).mean() == pytest.approx(0.25, rel=0.06)


def test_the_ceiling_of_one_presentation_inverts():
    ceiling = np.array([0.0, 0.1, 0.5, 0.9])
    snr = signal_to_noise_of_ceiling(ceiling)
    assert ceiling_of_average(snr, 1) == pytest.approx(ceiling)
    assert ceiling_of_average(snr, 12)[1] == pytest.approx(0.1 / (0.1 + 0.9 / 12))


def test_a_mixture_of_repeats_lies_between_its_parts():
    snr = np.array([0.3])
    mixed = ceiling_of_average(snr, np.array([1, 1, 1, 12]))
    assert ceiling_of_average(snr, 1) < mixed < ceiling_of_average(snr, 12)


def test_what_cannot_be_estimated_is_missing():
    trials = np.random.default_rng(3).standard_normal((6, 2))
    assert np.isnan(signal_to_noise(trials, np.arange(6))).all()
    assert np.isnan(signal_to_noise(trials, np.zeros(6, dtype=int))).all()
    assert np.isnan(signal_to_noise(trials[:0], np.empty(0, dtype=int))).all()
    trials[2, 1] = np.nan
    found = signal_to_noise(trials, np.array([0, 0, 1, 1, 2, 2]))
    assert np.isfinite(found[0]) and np.isnan(found[1])
