"""Intervals of means over people from draws of images."""

import numpy as np
import pytest
from scipy import stats

from gradbrain.encoding.draws import draw_images
from gradbrain.store.intervals import ImageSample, interval_of_mean, score_interval

MANY = ImageSample(n_groups=100_000, n_folds=5)


def test_people_who_agree_on_images_have_students_interval():
    values = np.random.default_rng(0).standard_normal(8)
    found = interval_of_mean(values, np.repeat(values[:, None], 5, axis=1), MANY, population=True)
    expected = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    np.testing.assert_allclose(found, expected)


def test_what_people_share_of_the_images_is_added_to_their_spread():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    draws = np.tile(np.random.default_rng(0).standard_normal(500), (4, 1))
    low, high = interval_of_mean(values, draws, ImageSample(20, 5), population=True)
    variance = values.var(ddof=1) / 4 + draws[0].var(ddof=1) * 20 / 15
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 3) * np.sqrt(variance))
    assert (low + high) / 2 == pytest.approx(2.5)


def test_these_people_have_the_images_alone_at_twice_their_variance():
    draws = np.random.default_rng(0).standard_normal((1, 500))
    low, high = interval_of_mean(np.array([0.5]), draws, ImageSample(20, 5), population=False)
    half = stats.t.ppf(0.975, 19) * np.sqrt(2 * 20 / 15) * draws.std(ddof=1)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))
    of_score = score_interval(np.array([0.5]), draws.T, ImageSample(20, 5))
    assert np.ravel(of_score) == pytest.approx((low, high))


def test_ends_are_values_that_the_statistic_can_take():
    draws = np.random.default_rng(0).standard_normal((2, 50))
    values = np.array([0.9, 0.8])
    found = interval_of_mean(values, draws, MANY, population=False, within=(-1.0, 1.0))
    assert found[1] == 1.0 and found[0] >= -1.0


def test_without_draws_groups_or_people_there_is_no_interval():
    values, draws = np.array([1.0, 2.0]), np.random.default_rng(0).standard_normal((2, 9))
    assert np.isnan(interval_of_mean(values, draws[:, :0], MANY, population=True)).all()
    assert np.isnan(interval_of_mean(values, np.nan * draws, MANY, population=True)).all()
    assert np.isnan(interval_of_mean(values[:1], draws[:1], MANY, population=True)).all()
    lone = ImageSample(n_groups=5, n_folds=5)
    assert np.isnan(interval_of_mean(values, draws, lone, population=False)).all()
    assert np.isnan(score_interval(values, draws.T, lone)).all()


def test_widened_draws_keep_their_mean_and_gaps():
    draws = np.array([1.0, np.nan, 2.0, 3.0])
    np.testing.assert_allclose(ImageSample(10, 5).widen(draws), [2.0 - 2.0, np.nan, 2.0, 2.0 + 2.0])
    # Of a population only what few groups lack: the square root of 10 / 5.
    wide = np.sqrt(2.0) * np.array([-1.0, np.nan, 0.0, 1.0])
    np.testing.assert_allclose(ImageSample(10, 5).widen(draws, population=True), 2.0 + wide)


def _mean_over_folds(random, n_groups, n_draws):
    """r over five folds of noise and of a fit to the other folds, with its image draws."""
    x, y = random.standard_normal((2, n_groups, 20))
    fold = np.arange(n_groups) % 5
    points, draws = [], []
    for number in range(5):
        test, train = fold == number, fold != number
        weights = np.linalg.solve(x[train].T @ x[train] + 20 * np.eye(20), x[train].T @ y[train])
        predicted = x[test] @ weights
        counts = draw_images(np.arange(test.sum()), n_draws, 0, number).counts
        sums = np.stack([np.ones(test.sum()), *counts]) @ (predicted * y[test]).mean(axis=1)
        points.append(sums[0])
        draws.append(sums[1:])
    return np.mean(points), np.mean(draws, axis=0)


@pytest.mark.parametrize("n_groups", [20, 60])
def test_the_interval_of_one_subject_holds_the_truth_as_often_as_it_says(n_groups):
    """Held-out covariance of noise is 0 on average; raw percentiles hold it in 8 of 10 cases."""
    random = np.random.default_rng(3)
    images = ImageSample(n_groups, 5)
    held, raw = [], []
    for _ in range(500):
        value, draws = _mean_over_folds(random, n_groups, 60)
        low, high = interval_of_mean(np.array([value]), draws[None], images, population=False)
        held.append(low <= 0 <= high)
        raw.append(np.quantile(draws, 0.025) <= 0 <= np.quantile(draws, 0.975))
    assert np.mean(held) >= 0.93
    assert np.mean(raw) < 0.9
