import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, permutation_test

from gradbrain.hierarchy.statistics import (
    TestResult,
    bootstrap_test,
    false_discovery_q,
    image_permutation_test,
    sign_flip_at_peaks,
    sign_flip_test,
    strictest,
)


def test_six_positive_subjects_reach_the_smallest_p_of_one_in_64():
    result = sign_flip_test(np.array([0.1, 0.2, 0.3, 0.1, 0.4, 0.2]))
    assert result.p == result.p_min == 1 / 64
    assert result.p_opposite == 1.0


def test_sign_flip_counts_by_hand():
    # Means of (±3 ±1)/2: 2, 1, −1, −2. Observed (3 − 1)/2 = 1, reached by two of four.
    result = sign_flip_test(np.array([3.0, -1.0]))
    assert (result.p, result.p_opposite, result.p_min) == (0.5, 0.75, 0.25)


def test_sign_flip_equals_the_exact_permutation_test_of_scipy():
    values = np.random.default_rng(3).standard_normal(9) + 0.4
    theirs = permutation_test(
        (values,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert sign_flip_test(values).p == pytest.approx(theirs.pvalue)


def test_equal_values_tie_in_spite_of_rounding():
    assert sign_flip_test(np.full(7, 0.1)).p == 1 / 128
    assert sign_flip_test(np.zeros(6)).p == 1.0


def test_many_subjects_are_flipped_at_random_and_reproducibly():
    values = np.random.default_rng(0).standard_normal(20) + 0.3
    first, second = sign_flip_test(values, seed=1), sign_flip_test(values, seed=1)
    assert first == second
    assert first.p_min == pytest.approx(1 / 10_001)
    exact = permutation_test(
        (values,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=100_000,
        random_state=0,
    ).pvalue
    assert first.p == pytest.approx(exact, abs=0.015)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=10))
def test_both_directions_of_a_sign_flip_mirror_each_other(values):
    values = np.array(values)
    there, back = sign_flip_test(values), sign_flip_test(-values)
    assert there.p == back.p_opposite
    assert there.p_min <= there.p <= 1
    assert there.p + there.p_opposite >= 1


def test_sign_flip_rejects_at_its_level_under_the_null():
    random = np.random.default_rng(0)
    p = np.array([sign_flip_test(random.standard_normal(8)).p for _ in range(2000)])
    # Standard error at .05 is .005.
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_image_permutation_counts_the_observed_among_the_draws():
    null = np.array([-0.2, -0.1, 0.1, 0.2])
    assert image_permutation_test(0.15, null).p == 2 / 5
    assert image_permutation_test(0.5, null).p == image_permutation_test(0.5, null).p_min == 1 / 5
    assert image_permutation_test(-0.5, null).p_opposite == 1 / 5


def test_a_biased_null_never_makes_the_test_easier():
    null = np.array([-0.2, -0.1, 0.1, 0.2])
    low, high = null - 1.0, null + 1.0
    assert image_permutation_test(0.15, low).p == image_permutation_test(0.15, null).p
    assert image_permutation_test(0.15, high).p == 1.0
    assert image_permutation_test(-0.15, high).p_opposite == 2 / 5


def test_undefined_draws_are_left_out_and_none_gives_no_p():
    null = np.array([-0.2, np.nan, 0.2])
    assert image_permutation_test(0.3, null).p == pytest.approx(1 / 3)
    assert np.isnan(image_permutation_test(0.3, np.full(3, np.nan)).p)


def test_q_is_benjamini_hochberg_over_the_tests_that_were_made():
    q = false_discovery_q(np.array([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(q, [0.03, np.nan, 0.04, 0.04])
    assert np.isnan(false_discovery_q(np.array([np.nan]))).all()


def at_peaks(maps):
    """Each subject's mean over layers at the places that the others choose, written out."""
    layers = np.arange(maps.shape[1])
    return np.array(
        [
            one[layers, np.delete(maps, k, axis=0).mean(axis=0).argmax(axis=1)].mean()
            for k, one in enumerate(maps)
        ]
    )


def test_a_flip_turns_the_whole_map_and_the_choice_with_it():
    maps = np.random.default_rng(1).normal(0.2, 1, (5, 3, 7))
    observed = at_peaks(maps).mean()
    flips = [
        at_peaks(maps * np.reshape(signs, (5, 1, 1))).mean()
        for signs in itertools.product((1, -1), repeat=5)
    ]
    result = sign_flip_at_peaks(maps)
    assert result.p == np.mean(np.array(flips) >= observed - 1e-12)
    assert result.p_opposite == np.mean(np.array(flips) <= observed + 1e-12)
    assert result.p_min == 1 / 32


def test_choosing_places_by_the_others_keeps_the_level_only_when_flips_choose_anew():
    """Subjects who hold nothing: signs of the chosen values alone reject three times too often."""
    rng = np.random.default_rng(0)
    anew, alone = [], []
    for _ in range(400):
        maps = rng.normal(size=(6, 8, 50))
        anew.append(sign_flip_at_peaks(maps).p <= 0.05)
        alone.append(sign_flip_test(at_peaks(maps)).p <= 0.05)
    # The level that n = 6 can reach is 3/64 = .047; four standard errors of 400 draws are .042.
    assert np.mean(anew) < 0.047 + 0.042
    assert np.mean(alone) > 0.1


def test_places_that_a_subject_lacks_are_never_its_own():
    maps = np.full((6, 2, 3), 0.1) + 0.01 * np.random.default_rng(0).normal(size=(6, 2, 3))
    maps[0, :, 1] = np.nan
    maps[1:, :, 2] = np.nan  # only the first subject has it
    result = sign_flip_at_peaks(maps)
    assert result.p == result.p_min == 1 / 64
    assert np.isnan(sign_flip_at_peaks(maps[:1]).p)


def test_tests_together_are_as_strict_as_the_strictest_that_could_be_made():
    loose, strict = TestResult(0.01, 1.0, 0.01), TestResult(0.2, 0.8, 0.005)
    undefined = TestResult(np.nan, np.nan, np.nan)
    assert strictest([loose, undefined, strict]) == TestResult(0.2, 1.0, 0.01)
    assert np.isnan(strictest([undefined]).p)


def test_resampled_images_on_the_wrong_side_count_against_a_lag():
    draws = np.array([-1.0, 2.0, 3.0, 4.0, np.nan])
    assert bootstrap_test(draws, 0.0).p == 2 / 5
    assert bootstrap_test(draws, 5.0).p_opposite == 1 / 5
    assert np.isnan(bootstrap_test(np.array([np.nan]), 0.0).p)


def test_a_maximum_against_maxima_keeps_the_level_and_its_bias_makes_no_verdict_cheaper():
    """One subject chooses its own places; without effect, at the margin, and well above it."""
    random = np.random.default_rng(5)
    n_sets, n_draws, shape = 400, 100, (4, 15)

    def rates(effect, margin):
        found = np.zeros(2)
        for _ in range(n_sets):
            observed = random.standard_normal(shape)
            observed[:, 3] += effect
            null = random.standard_normal((n_draws, *shape)).max(axis=-1).mean(axis=-1)
            test = image_permutation_test(observed.max(axis=-1).mean() - margin, null)
            found += test.p <= 0.05, test.p_opposite <= 0.05
        return found / n_sets

    most = binom.ppf(0.999, n_sets, 0.05) / n_sets
    assert rates(0.0, 0.0)[0] <= most
    assert (rates(2.0, 2.0) <= most).all()
    assert rates(5.0, 1.5)[0] > 0.9
