import numpy as np
import pytest
from scipy.stats import pearsonr

from gradbrain.hierarchy.temporal import (
    exceeds_null,
    jackknifed,
    peak_lag,
    peak_time,
    temporal_correlation,
    without_each,
)

TIMES = np.array([-0.1, 0.0, 0.1, 0.2, 0.3, 0.4])


def test_peak_time_is_the_mean_of_the_times_near_the_maximum():
    scores = np.array([0.0, 0.0, 0.1, 0.96, 1.0, 0.94])
    assert peak_time(scores, TIMES, 0.95) == pytest.approx(0.25)
    assert peak_time(scores, TIMES, 1.0) == pytest.approx(0.3)
    assert peak_time(scores, TIMES, 0.9) == pytest.approx(0.3)


def test_peaks_before_or_at_onset_do_not_count():
    scores = np.array([9.0, 9.0, 0.1, 0.2, 0.1, 0.1])
    assert peak_time(scores, TIMES, 0.95) == pytest.approx(0.2)


def test_peak_time_exists_for_negative_scores_and_not_without_times_after_onset():
    assert peak_time(np.array([0, 0, -0.5, -0.1, -0.3, -0.4]), TIMES, 0.95) == pytest.approx(0.2)
    assert np.isnan(peak_time(np.ones(2), TIMES[:2], 0.95))


def test_peak_time_does_not_depend_on_the_scale_of_scores():
    scores = np.random.default_rng(0).random((4, 6))
    np.testing.assert_array_equal(
        peak_time(scores, TIMES, 0.95), peak_time(4 * scores, TIMES, 0.95)
    )


def test_a_layer_passes_when_its_maximum_exceeds_the_maxima_of_permuted_images():
    null = np.random.default_rng(0).standard_normal((400, 1, 6))
    maxima = np.sort(null[:, 0, 2:].max(axis=-1))
    scores = np.zeros((1, 6))
    scores[0, 0] = 99.0  # before onset
    # Of 400 draws 19 may be as large: 20 / 401 is at most .05, and 21 / 401 is not.
    for at_least, passes in ((maxima[-20], True), (maxima[-21], False)):
        scores[0, 3] = at_least + 1e-9
        assert exceeds_null(scores, null, TIMES) == passes
    assert not exceeds_null(np.full((1, 6), np.nan), null, TIMES).any()


def test_a_layer_passes_whatever_the_scale_of_its_scores():
    random = np.random.default_rng(0)
    null, scores = random.standard_normal((400, 2, 6)), np.zeros((2, 6))
    scores[:, 3] = [9.0, 1.0]
    scale = np.array([[1.0], [30.0]])
    np.testing.assert_array_equal(exceeds_null(scores, null, TIMES), [True, False])
    np.testing.assert_array_equal(exceeds_null(scale * scores, scale * null, TIMES), [True, False])


@pytest.mark.parametrize("n_layers", [1, 8])
def test_one_in_twenty_models_without_signal_has_a_layer_that_passes(n_layers):
    random = np.random.default_rng(1)
    null = random.standard_normal((500, n_layers, 20))
    times = np.arange(1, 21) / 10
    passed = [
        exceeds_null(random.standard_normal((n_layers, 20)), null, times).any() for _ in range(2000)
    ]
    # Standard error .005; the threshold itself is estimated from 500 draws (another .01).
    assert np.mean(passed) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("n_layers", [3, 12])
def test_few_draws_let_no_more_models_pass(n_layers):
    """The observed scores are one more draw: 20 draws are a test at 1/21."""
    random = np.random.default_rng(2)
    times = np.arange(1, 21) / 100
    passed = [
        exceeds_null(scores[0], scores[1:], times).any()
        for scores in random.standard_normal((1000, 21, n_layers, 20))
    ]
    # Standard error .007.
    assert np.mean(passed) == pytest.approx(1 / 21, abs=0.02)
    scores = random.standard_normal((19, n_layers, 20))
    assert not exceeds_null(scores[0] + 99, scores[1:], times).any()


def test_temporal_correlation_is_pearson_over_the_layers_that_passed():
    peaks, depths = np.array([0.1, np.nan, 0.2, 0.15]), np.array([0.1, 0.4, 0.7, 1.0])
    expected = pearsonr([0.1, 0.7, 1.0], [0.1, 0.2, 0.15]).statistic
    assert temporal_correlation(peaks, depths) == pytest.approx(expected)
    assert np.isnan(temporal_correlation(np.array([0.1, np.nan, 0.2, np.nan]), depths))


def test_what_subjects_have_of_averages_has_the_mean_and_the_error_of_the_jackknife():
    values = np.random.default_rng(0).standard_normal((7, 3))
    others = (values.sum(axis=0) - values) / 6
    # Of a mean, every subject has its own value.
    np.testing.assert_allclose(jackknifed(others), values)
    latencies = others**3
    found = jackknifed(latencies)
    centre = latencies.mean(axis=0)
    np.testing.assert_allclose(found.mean(axis=0), centre)
    error = np.sqrt(6 / 7 * np.square(latencies - centre).sum(axis=0))
    np.testing.assert_allclose(found.std(axis=0, ddof=1) / np.sqrt(7), error)
    np.testing.assert_allclose(without_each(found), latencies)


def test_a_lone_subject_has_its_own_latency_and_two_have_each_others():
    np.testing.assert_allclose(jackknifed(np.array([[0.1, 0.2]])), [[0.1, 0.2]])
    np.testing.assert_allclose(without_each(np.array([[0.1, 0.2]])), [[0.1, 0.2]])
    np.testing.assert_allclose(jackknifed(np.array([0.1, 0.3])), [0.3, 0.1])


def test_one_missing_latency_is_one_of_all():
    assert np.isnan(jackknifed(np.array([0.1, np.nan, 0.2]))).all()


def test_lag_is_taken_within_layers_where_both_are_known():
    signal = np.array([0.4, np.nan, 0.3, 0.5])
    activation = np.array([0.1, 0.1, 0.2, 0.3])
    assert peak_lag(signal, activation) == pytest.approx(0.2)
    # A lag of two of four layers is none of the model.
    assert np.isnan(peak_lag(np.where([0, 0, 0, 1], np.nan, signal), activation))
    assert peak_lag(signal[:1], activation[:1]) == pytest.approx(0.3)
