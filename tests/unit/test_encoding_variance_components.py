"""Variance components: unbiased, exact where the algebra says so, calibrated on permuted images."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from compare_unique_tests import whitened_surrogates

from gradbrain.encoding.symmetric import ROWS_AT_ONCE, UpperBlocks
from gradbrain.encoding.variance_components import (
    BaselineCovariance,
    Kernels,
    centred_kernel,
    estimate_components,
    kernel_root,
    novel_part,
    permuted_estimates,
    whiten,
)

N_IMAGES = 40


@pytest.fixture
def features() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    activation = random.standard_normal((N_IMAGES, 60))
    # The signal shares half of its features' variance with the activation.
    mixed = activation @ random.standard_normal((60, 50)) / np.sqrt(60)
    return [activation, mixed + random.standard_normal((N_IMAGES, 50))]


def read_out(features: np.ndarray, n_targets: int, seed: int) -> np.ndarray:
    """Targets (n_targets, n_images) with a mean variance of 1 under random weights."""
    random = np.random.default_rng(seed)
    centred = features - features.mean(axis=0)
    centred *= np.sqrt(len(centred) / np.vdot(centred, centred))
    return random.standard_normal((n_targets, centred.shape[1])) @ centred.T


def noise(n_targets: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_targets, N_IMAGES))


def test_a_kernel_is_centred_and_has_a_mean_diagonal_of_one(features):
    kernel = centred_kernel(features[0] + 5.0)
    np.testing.assert_allclose(kernel.sum(axis=0), 0.0, atol=1e-10)
    assert np.trace(kernel) == pytest.approx(N_IMAGES)


def test_features_that_do_not_vary_have_a_kernel_of_zeros_and_explain_nothing(features):
    same = centred_kernel(np.ones((N_IMAGES, 5)))
    np.testing.assert_array_equal(same, 0.0)
    kernels = [centred_kernel(features[0])]
    responses = np.sqrt(0.5) * read_out(features[0], 50, 1) + np.sqrt(0.5) * noise(50, 2)
    alone, beside = (estimate_components(own, responses) for own in (kernels, [*kernels, same]))
    # Both start from equal weights, of which the kernel of zeros takes a part.
    np.testing.assert_allclose(beside, [alone[0], 0.0, alone[1]], atol=1e-3)


def test_whitening_inverts_the_covariance(features):
    kernels = [centred_kernel(values) for values in features]
    weights = np.array([0.3, 0.2, 0.5])
    root = whiten(kernels, weights).root
    covariance = 0.3 * kernels[0] + 0.2 * kernels[1] + 0.5 * np.eye(N_IMAGES)
    np.testing.assert_allclose(root @ covariance @ root, np.eye(N_IMAGES), atol=1e-10)


@pytest.mark.parametrize("weights", [[0.4, 0.6], [0.05, 0.95], [0.0, 1.0]])
@pytest.mark.parametrize("truth", [[0.3, 0.0, 0.7], [0.3, 0.1, 0.6], [0.0, 0.2, 0.8]])
def test_the_estimate_is_unbiased_whatever_the_covariance_that_whitens(features, weights, truth):
    """E[yᵀ W Q W y] = tr(W Q W V) for responses of covariance V: exact, no draws needed."""
    kernels = [centred_kernel(values) for values in features]
    centring = np.eye(N_IMAGES) - 1.0 / N_IMAGES
    covariance = truth[0] * kernels[0] + truth[1] * kernels[1] + truth[2] * centring
    null = BaselineCovariance.of(kernels[:1], np.array(weights))
    expected = np.vdot(null.seen(null.form(kernels[1])), covariance)
    assert expected == pytest.approx(truth[1], abs=1e-8)


def test_components_are_found(features):
    kernels = [centred_kernel(values) for values in features]
    responses = np.sqrt(0.5) * read_out(features[0], 4000, 1) + np.sqrt(0.5) * noise(4000, 2)
    found = estimate_components(kernels[:1], responses)
    np.testing.assert_allclose(found, [0.5, 0.5], atol=0.03)


def test_a_signal_that_repeats_the_activations_adds_nothing_on_average(features):
    kernels = [centred_kernel(values) for values in features]
    responses = np.sqrt(0.5) * read_out(features[0], 4000, 3) + np.sqrt(0.5) * noise(4000, 4)
    mixed = centred_kernel(features[0] @ np.random.default_rng(5).standard_normal((60, 20)))
    null = BaselineCovariance.of(kernels[:1], estimate_components(kernels[:1], responses))
    value = np.vdot(null.form(mixed), null.products(responses))
    assert abs(value) < 0.02


def test_noise_is_rejected_at_the_level_and_a_planted_signal_more_often(features):
    kernels = [centred_kernel(values) for values in features]
    random = np.random.default_rng(6)
    orders = np.stack([random.permutation(N_IMAGES) for _ in range(99)])
    null_model = BaselineCovariance.of(kernels[:1], np.array([0.4, 0.6]))
    rejected = np.zeros(2)
    for seed in range(200):
        base = np.sqrt(0.4) * read_out(features[0], 10, 10 * seed)
        base += np.sqrt(0.6) * noise(10, 10 * seed + 1)
        planted = base + np.sqrt(0.2) * read_out(features[1], 10, 10 * seed + 2)
        for place, responses in enumerate((base, planted)):
            value, null = null_model.test(kernels[1], responses, orders)
            rejected[place] += (1 + np.sum(null >= value)) / 100 <= 0.05
    # 200 draws at .05: at most 19 in 99.8 % of cases.
    assert rejected[0] <= 19
    assert rejected[1] >= 60


def test_scores_do_not_depend_on_the_order_of_images(features):
    order = np.random.default_rng(7).permutation(N_IMAGES)
    responses = noise(5, 8)
    weights = np.array([0.4, 0.6])
    values = []
    for rows in (slice(None), order):
        kernels = [centred_kernel(values_[rows]) for values_ in features]
        null = BaselineCovariance.of(kernels[:1], weights)
        values.append(np.vdot(null.form(kernels[1]), null.products(responses[:, rows])))
    assert values[0] == pytest.approx(values[1], rel=1e-8)


def test_the_novel_part_is_the_signal_without_what_activations_give():
    """With more images than features nothing of a linear mix is left, and all that is new."""
    random = np.random.default_rng(9)
    activation = random.standard_normal((300, 20))
    new = random.standard_normal((300, 30))
    kernel = centred_kernel(activation)
    signal = activation @ random.standard_normal((20, 30)) / np.sqrt(20) + new
    found = novel_part([kernel], signal)
    correlation = np.corrcoef(found.ravel(), (new - new.mean(axis=0)).ravel())[0, 1]
    assert correlation > 0.95
    assert abs(np.corrcoef(found.ravel(), (signal - new).ravel())[0, 1]) < 0.1


def test_surrogates_follow_the_activations_as_much_as_the_responses_do(features):
    kernels = [centred_kernel(values) for values in features]
    responses = np.sqrt(0.3) * read_out(features[0], 2000, 10)
    responses += np.sqrt(0.2) * read_out(features[1], 2000, 11) + np.sqrt(0.5) * noise(2000, 12)
    weights = estimate_components(kernels[:1], responses)
    order = np.random.default_rng(13).permutation(N_IMAGES)
    same, moved = whitened_surrogates(
        kernels[:1], weights, responses, np.stack([np.arange(N_IMAGES), order])
    )
    np.testing.assert_allclose(same, responses - responses.mean(axis=1, keepdims=True), atol=1e-8)
    found = estimate_components(kernels, moved)
    # The activations' part stays, what the signal had beside them is gone.
    assert found[0] == pytest.approx(weights[0], abs=0.05)
    assert found[1] < 0.05 < estimate_components(kernels, responses)[1]


def test_the_root_of_a_kernel_has_as_many_columns_as_the_features_span():
    few = np.random.default_rng(2).standard_normal((N_IMAGES, 3))
    kernel = centred_kernel(few[:, [0, 1, 2, 2]])
    root = kernel_root(kernel)
    assert root.shape == (N_IMAGES, 3)
    np.testing.assert_allclose(root @ root.T, kernel, atol=1e-12)


@pytest.mark.parametrize("n_targets", [7, 3 * N_IMAGES])
def test_components_are_the_same_by_roots_and_by_products_of_images(
    features, n_targets, monkeypatch
):
    kernels = Kernels.of([centred_kernel(values[:, :5]) for values in features])
    assert kernels.are_narrow
    responses = read_out(features[0][:, :5], n_targets, 3) + noise(n_targets, 4)
    by_roots = estimate_components(kernels, responses)
    monkeypatch.setattr(Kernels, "are_narrow", False)
    np.testing.assert_allclose(estimate_components(kernels, responses), by_roots, rtol=1e-9)


def test_kernels_of_many_features_are_not_looked_at_by_their_roots(features):
    whole = [centred_kernel(features[0] ** power) for power in (1, 2, 3, 4, 5, 6)]
    assert not Kernels.of(whole).are_narrow


def test_forms_of_signals_are_those_of_each_alone_and_zero_for_what_the_baseline_has(features):
    kernels = [centred_kernel(features[0])]
    null = BaselineCovariance.of(kernels, np.array([0.4, 0.6]))
    signals = [centred_kernel(features[1]), kernels[0]]
    forms = null.forms([null.seen_root(kernel_root(signal)) for signal in signals])
    np.testing.assert_allclose(forms[0], null.form(signals[0]), atol=1e-12)
    assert not forms[1].any()


def symmetric(n, seed):
    values = np.random.default_rng([n, seed]).standard_normal((n, n))
    return values + values.T


def test_permuted_estimates_are_products_with_permuted_rows_and_columns():
    random = np.random.default_rng(5)
    # More images than a block of rows.
    n = ROWS_AT_ONCE + N_IMAGES
    forms, products = [symmetric(n, 1), symmetric(n, 2)], symmetric(n, 3)
    orders = np.stack([random.permutation(n) for _ in range(45)])
    expected = np.array(
        [[np.vdot(form, products[np.ix_(order, order)]) for form in forms] for order in orders]
    )
    found = permuted_estimates(forms, products, orders)
    assert np.abs(found - expected).max() < 1e-6 * expected.std()


@pytest.mark.parametrize("n", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 5])
def test_a_symmetric_matrix_is_held_by_what_lies_right_of_its_diagonal(n):
    blocks, one, other = UpperBlocks(n), symmetric(n, 1), symmetric(n, 2)
    assert blocks.pack(one) @ blocks.pack(other) == pytest.approx(np.vdot(one, other), rel=1e-12)
    np.testing.assert_allclose(blocks.unpack(blocks.pack(one)), one, rtol=1e-14)
    root, held = np.random.default_rng(n).standard_normal((n, 3)), np.empty(blocks.size)
    blocks.outer(root, held)
    np.testing.assert_allclose(blocks.unpack(held), root @ root.T, atol=1e-12)


@pytest.mark.parametrize("n", [30, 92, 150])
def test_null_draws_of_a_signal_are_the_same_to_the_last_digit_whatever_the_others_are(n):
    rng = np.random.default_rng(n)
    blocks = UpperBlocks(n)
    matrices = [values + values.T for values in rng.standard_normal((23, n, n))]
    packed = np.stack([blocks.pack(values) for values in matrices])
    permutations = np.stack([rng.permutation(n) for _ in range(30)])
    every = blocks.permuted_products(packed, matrices[0], permutations)
    for own in ([0], [22], [3, 9], list(range(7)), [20, 5, 1, 8, 13, 2, 3, 9, 11, 22, 7]):
        alone = blocks.permuted_products(packed[own], matrices[0], permutations)
        np.testing.assert_array_equal(alone, every[:, own])
