"""Claims about how much of a response can be explained."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from gradbrain.datasets.noise_ceiling import (
    average_presentations,
    average_repeats,
    centre_kernel,
    kernel_ceiling,
)


def test_identical_repeats_can_be_explained_wholly():
    signal = np.random.default_rng(0).standard_normal((20, 3))
    average, ceiling = average_repeats(np.stack([signal, signal]))
    np.testing.assert_allclose(average, signal)
    np.testing.assert_allclose(ceiling, 1)


def test_the_ceiling_is_the_share_of_signal_in_the_average():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((400, 200))
    repeats = signal + 1.5 * rng.standard_normal((3, 400, 200))
    _, ceiling = average_repeats(repeats)
    # Signal variance 1, noise variance 2.25 over 3 repeats; mean of 200 estimates, each ± .03.
    assert ceiling.mean() == pytest.approx(1 / (1 + 2.25 / 3), abs=0.01)


def test_noise_alone_cannot_be_explained():
    repeats = np.random.default_rng(0).standard_normal((4, 500, 100))
    _, ceiling = average_repeats(repeats)
    assert ceiling.min() >= 0
    assert ceiling.mean() < 0.05


def test_the_ceiling_does_not_depend_on_scale_offset_or_image_order():
    rng = np.random.default_rng(0)
    repeats = rng.standard_normal((40, 5)) + rng.standard_normal((3, 40, 5))
    _, ceiling = average_repeats(repeats)
    np.testing.assert_allclose(average_repeats(7 * repeats + 3)[1], ceiling)
    np.testing.assert_allclose(average_repeats(repeats[:, rng.permutation(40)])[1], ceiling)


def test_one_repeat_is_not_enough():
    with pytest.raises(ValueError, match="at least 2"):
        average_repeats(np.zeros((1, 5, 2)))


def test_centring_a_kernel_is_centring_its_features():
    features = np.random.default_rng(0).standard_normal((8, 3))
    centred = features - features.mean(axis=0)
    np.testing.assert_allclose(centre_kernel(features @ features.T), centred @ centred.T)


def test_the_kernel_ceiling_equals_leave_one_out_refits():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((25, 4))
    others = shared + 0.5 * rng.standard_normal((25, 4))
    own = shared + 0.5 * rng.standard_normal((25, 4))
    eigenvalues = np.linalg.eigvalsh(centre_kernel(others @ others.T))
    scores = []
    for penalty in eigenvalues.mean() * np.logspace(-3, 5, 25):
        errors, totals = 0.0, 0.0
        for left_out in range(25):
            kept = np.arange(25) != left_out
            model = Ridge(alpha=penalty).fit(others[kept], own[kept])
            predicted = model.predict(others[left_out : left_out + 1])[0]
            errors += ((own[left_out] - predicted) ** 2).sum()
            totals += ((own[left_out] - own[kept].mean(axis=0)) ** 2).sum()
        scores.append(1 - errors / totals)
    ceiling = kernel_ceiling(own @ own.T, others @ others.T)
    assert ceiling == pytest.approx(max(scores), abs=1e-8)
    assert 0.4 < ceiling < 1


def test_the_kernel_ceiling_of_unrelated_people_is_near_zero():
    rng = np.random.default_rng(0)
    own, others = rng.standard_normal((2, 60, 20))
    assert kernel_ceiling(own @ own.T, others @ others.T) < 0.05


def test_the_kernel_ceiling_is_the_same_for_any_rotation():
    rng = np.random.default_rng(0)
    others = rng.standard_normal((30, 6))
    own = others + rng.standard_normal((30, 6))
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    rotated = own @ rotation
    assert kernel_ceiling(rotated @ rotated.T, others @ others.T) == pytest.approx(
        kernel_ceiling(own @ own.T, others @ others.T)
    )


def test_presentations_shown_equally_often_are_repeats():
    values = np.random.default_rng(0).standard_normal((4, 7, 3))
    image = np.tile(np.arange(7), 4)
    found = average_presentations(values.reshape(28, 3), image, 7)
    for one, other in zip(found, average_repeats(values), strict=True):
        assert np.allclose(one, other)


def test_the_ceiling_of_unequal_presentations_is_that_which_was_simulated():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, size=3000)
    image = np.repeat(np.arange(3000), counts)
    signal = rng.standard_normal(3000)
    values = signal[image] + 2 * rng.standard_normal(len(image))
    average, ceiling = average_presentations(values[:, None], image, 3000)
    # Noise of variance 4, averaged over 1 to 3 presentations.
    expected = 1 / (1 + 4 * np.mean(1 / counts))
    assert ceiling[0] == pytest.approx(expected, abs=0.03)
    # The ceiling is the variance that the true signal explains in the averages.
    assert np.corrcoef(average[:, 0], signal)[0, 1] ** 2 == pytest.approx(ceiling[0], abs=0.03)


def test_presentations_without_repeats_have_no_ceiling_and_images_need_one():
    average, ceiling = average_presentations(np.eye(3), np.array([2, 0, 1]), 3)
    assert np.array_equal(average, np.eye(3)[[1, 2, 0]])
    assert np.isnan(ceiling).all()
    with pytest.raises(ValueError, match="1 of 3 images have no presentation"):
        average_presentations(np.eye(3), np.array([0, 0, 1]), 3)
