"""The closed-form solver against direct solves, explicit refits, scikit-learn and himalaya."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.band_weights import BandWeights, simplex_candidates
from gradbrain.encoding.bands import BAND_TRACE, make_band, principal_components, standardise
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.himalaya_reference import HimalayaRegression
from gradbrain.encoding.regression import ClosedFormRegression
from gradbrain.encoding.solver import (
    Choice,
    DualProblem,
    PrimalProblem,
    Search,
    check_penalties,
    feature_products,
    penalty_grid,
    search_and_solve,
    selection_errors,
)

PENALTIES = penalty_grid(-1, 4, 6)
WEIGHTS = np.array([0.3, 0.7])


def centre(values):
    return values - values.mean(axis=0)


def two_bands(seed, n_train, widths, n_targets, n_test=20, noise=1.0):
    """Centred training features, test features, and responses (targets, images)."""
    generator = np.random.default_rng(seed)
    n_images = n_train + n_test
    bands = [generator.standard_normal((n_images, width)) for width in widths]
    responses = noise * generator.standard_normal((n_targets, n_images))
    for band in bands:
        coefficients = generator.standard_normal((n_targets, band.shape[1]))
        responses += coefficients @ band.T / np.sqrt(band.shape[1])
    means = [band[:n_train].mean(axis=0) for band in bands]
    train = [band[:n_train] - mean for band, mean in zip(bands, means, strict=True)]
    test = [band[n_train:] - mean for band, mean in zip(bands, means, strict=True)]
    responses -= responses[:, :n_train].mean(axis=1, keepdims=True)
    return train, test, responses[:, :n_train], responses[:, n_train:]


def primal(train, test, dtype=np.float64):
    return PrimalProblem(train, test, feature_products(train), np.dtype(dtype))


def dual(train, test, dtype=np.float64):
    return DualProblem(
        [band @ band.T for band in train],
        [held_out @ band.T for band, held_out in zip(train, test, strict=True)],
        np.dtype(dtype),
    )


def direct_prediction(train, test, responses, weights, penalty):
    """Ridge on the stacked, weighted features by one linear solve."""
    stacked = np.concatenate(
        [np.sqrt(w) * band for w, band in zip(weights, train, strict=True)], axis=1
    )
    held_out = np.concatenate(
        [np.sqrt(w) * band for w, band in zip(weights, test, strict=True)], axis=1
    )
    gram = stacked.T @ stacked + penalty * np.eye(stacked.shape[1])
    return (held_out @ np.linalg.solve(gram, stacked.T @ responses.T)).T


def errors_of(problem, weights, responses, search):
    decomposition = problem.decompose(weights, leverage=search.selection == "loo")
    return selection_errors(
        problem, decomposition, weights, responses, problem.right_hand_side(responses), search
    )


FORMS = {"primal": (primal, 60, (8, 12)), "dual": (dual, 30, (40, 25))}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_prediction_is_that_of_a_direct_solve(form, penalty):
    make, n_train, widths = FORMS[form]
    train, test, responses, _ = two_bands(0, n_train, widths, 5)
    problem = make(train, test)
    solution, _ = search_and_solve(
        problem, WEIGHTS[None], responses, Search(penalties=np.array([penalty]))
    )
    predicted = sum(problem.predict(solution.coefficients[0], WEIGHTS))
    expected = direct_prediction(train, test, responses, WEIGHTS, penalty)
    np.testing.assert_allclose(predicted, expected, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_prediction_splits_into_the_contribution_of_each_band(form):
    make, n_train, widths = FORMS[form]
    train, test, responses, _ = two_bands(1, n_train, widths, 4)
    problem = make(train, test)
    solution, _ = search_and_solve(
        problem, WEIGHTS[None], responses, Search(penalties=np.array([3.0]))
    )
    parts = problem.predict(solution.coefficients[0], WEIGHTS)
    stacked = np.concatenate(train, axis=1) * np.repeat(np.sqrt(WEIGHTS), widths)
    gram = stacked.T @ stacked + 3.0 * np.eye(sum(widths))
    coefficients = np.linalg.solve(gram, stacked.T @ responses.T)
    coefficients *= np.repeat(np.sqrt(WEIGHTS), widths)[:, None]
    for part, held_out, rows in zip(parts, test, np.split(coefficients, [widths[0]]), strict=True):
        np.testing.assert_allclose(part, (held_out @ rows).T, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_gcv_is_that_of_the_explicit_hat_matrix_with_the_mean(form):
    make, n_train, widths = FORMS[form]
    train, test, responses, _ = two_bands(2, n_train, widths, 6)
    found = errors_of(make(train, test), WEIGHTS, responses, Search(penalties=PENALTIES))
    kernel = sum(w * band @ band.T for w, band in zip(WEIGHTS, train, strict=True))
    for index, penalty in enumerate(PENALTIES):
        hat = kernel @ np.linalg.inv(kernel + penalty * np.eye(n_train)) + 1.0 / n_train
        residual = responses - responses @ hat.T
        expected = (residual**2).mean(axis=1) / (1 - np.trace(hat) / n_train) ** 2
        np.testing.assert_allclose(found[:, index], expected, rtol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_leave_one_out_is_that_of_explicit_refits_of_features_and_mean(form):
    make, n_train, widths = FORMS[form]
    train, test, responses, _ = two_bands(3, n_train, widths, 3)
    search = Search(penalties=PENALTIES, selection="loo")
    found = errors_of(make(train, test), WEIGHTS, responses, search)
    expected = np.zeros_like(found)
    stacked = np.concatenate(train, axis=1) * np.repeat(np.sqrt(WEIGHTS), widths)
    for index, penalty in enumerate(PENALTIES):
        for image in range(n_train):
            kept = np.arange(n_train) != image
            # scikit-learn's ridge leaves the intercept unpenalised: the mean is fitted anew.
            model = Ridge(alpha=penalty).fit(stacked[kept], responses[:, kept].T)
            error = responses[:, image] - model.predict(stacked[image][None])[0]
            expected[:, index] += error**2 / n_train
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_kfold_is_that_of_explicit_refits_of_features_and_mean(form):
    make, n_train, widths = FORMS[form]
    train, test, responses, _ = two_bands(4, n_train, widths, 3)
    folds = np.arange(n_train) % 4
    search = Search(penalties=PENALTIES, selection="kfold", inner_folds=folds)
    found = errors_of(make(train, test), WEIGHTS, responses, search)
    expected = np.zeros_like(found)
    stacked = np.concatenate(train, axis=1) * np.repeat(np.sqrt(WEIGHTS), widths)
    for index, penalty in enumerate(PENALTIES):
        for fold in range(4):
            held_out = folds == fold
            model = Ridge(alpha=penalty).fit(stacked[~held_out], responses[:, ~held_out].T)
            error = responses[:, held_out] - model.predict(stacked[held_out]).T
            expected[:, index] += (error**2).sum(axis=1) / n_train
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("selection", ["gcv", "loo", "kfold"])
def test_primal_and_dual_choose_and_predict_alike(selection):
    train, test, responses, _ = two_bands(5, 50, (10, 15), 30)
    search = Search(
        penalties=PENALTIES, selection=selection, inner_folds=np.arange(50) % 5, target_batch=7
    )
    weights = np.stack([np.linspace(0.1, 0.9, 5), np.linspace(0.9, 0.1, 5)], axis=1)
    predictions = []
    for make in (primal, dual):
        problem = make(train, test)
        solution, choice = search_and_solve(problem, weights, responses, search)
        predicted = np.zeros((30, len(test[0])))
        for row, targets, coefficients in zip(
            weights, solution.targets, solution.coefficients, strict=True
        ):
            predicted[targets] = sum(problem.predict(coefficients, row))
        predictions.append((predicted, choice, solution.degrees_of_freedom))
    np.testing.assert_allclose(predictions[0][0], predictions[1][0], atol=1e-6)
    np.testing.assert_array_equal(predictions[0][1].candidate, predictions[1][1].candidate)
    np.testing.assert_array_equal(predictions[0][1].penalty, predictions[1][1].penalty)
    np.testing.assert_allclose(predictions[0][2], predictions[1][2], atol=1e-6)


def test_leave_one_out_selects_the_penalty_of_scikit_learn():
    train, test, responses, _ = two_bands(6, 80, (10,), 12)
    search = Search(penalties=PENALTIES, selection="loo")
    problem = primal(train, test)
    solution, _ = search_and_solve(problem, np.ones((1, 1)), responses, search)
    # RidgeCV gives every target a penalty; its intercept makes it count the mean.
    reference = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(train[0], responses.T)
    np.testing.assert_allclose(solution.penalty, reference.alpha_)
    predicted = problem.predict(solution.coefficients[0], np.ones(1))[0]
    np.testing.assert_allclose(predicted, reference.predict(test[0]).T, atol=1e-8)


def test_targets_in_batches_give_the_same_result():
    train, test, responses, _ = two_bands(7, 40, (60, 30), 25)
    weights = np.stack([np.linspace(0.2, 0.8, 4), np.linspace(0.8, 0.2, 4)], axis=1)
    solutions = [
        search_and_solve(
            dual(train, test), weights, responses, Search(PENALTIES, target_batch=batch)
        )[0]
        for batch in (4, 1000)
    ]
    np.testing.assert_array_equal(solutions[0].candidate, solutions[1].candidate)
    np.testing.assert_array_equal(solutions[0].penalty, solutions[1].penalty)


def test_targets_of_a_group_share_penalty_and_band_weights():
    train, test, responses, _ = two_bands(8, 40, (60, 30), 9)
    groups = np.repeat([0, 1, 2], 3)
    weights = np.stack([np.linspace(0.0, 1.0, 5), np.linspace(1.0, 0.0, 5)], axis=1)
    problem = dual(train, test)
    search = Search(PENALTIES, target_groups=groups)
    solution, _ = search_and_solve(problem, weights, responses, search)
    per_target = np.stack(
        [errors_of(problem, row, responses, Search(PENALTIES)) for row in weights]
    )
    for group in range(3):
        summed = per_target[:, groups == group].sum(axis=1)
        candidate, penalty = np.unravel_index(summed.argmin(), summed.shape)
        assert set(solution.candidate[groups == group]) == {candidate}
        assert set(solution.penalty[groups == group]) == {PENALTIES[penalty]}


def mean_r2(predicted, truth):
    return float(np.mean(1 - ((truth - predicted) ** 2).sum(1) / (truth**2).sum(1)))


def naive_gcv_prediction(train, test, responses, penalties):
    """GCV that forgets the mean: 1 − tr H / n."""
    kernel = train @ train.T
    n_train = len(train)
    best = np.full(len(responses), np.inf)
    predicted = np.zeros((len(responses), len(test)))
    for penalty in penalties:
        hat = kernel @ np.linalg.inv(kernel + penalty * np.eye(n_train))
        error = ((responses - responses @ hat.T) ** 2).mean(1) / (1 - np.trace(hat) / n_train) ** 2
        better = error < best
        best[better] = error[better]
        predicted[better] = direct_prediction(
            [train], [test], responses[better], np.ones(1), penalty
        )
    return predicted


@pytest.mark.parametrize(("n_train", "n_features"), [(74, 1280), (300, 2000)])
def test_counting_the_mean_keeps_selection_sound_with_fewer_images_than_features(
    n_train, n_features
):
    generator = np.random.default_rng(9)
    # Features of falling variance, as those of a network, and responses that are mostly noise.
    spectrum = 1.0 / np.sqrt(1.0 + np.arange(n_features))
    features = generator.standard_normal((n_train + 200, n_features)) * spectrum
    features *= np.sqrt(BAND_TRACE / (spectrum**2).sum())
    signal = features[:, :20] @ generator.standard_normal((20, 40))
    responses = signal / signal.std(axis=0) + 2.5 * generator.standard_normal(signal.shape)
    mean = features[:n_train].mean(axis=0)
    train, test = features[:n_train] - mean, features[n_train:] - mean
    responses = (responses - responses[:n_train].mean(axis=0)).T
    held_in, held_out = responses[:, :n_train], responses[:, n_train:]
    penalties = penalty_grid(0, 8, 10)
    problem = dual([train], [test])
    scores = {}
    for selection in ("gcv", "loo", "kfold"):
        search = Search(penalties, selection, inner_folds=np.arange(n_train) % 5)
        solution, _ = search_and_solve(problem, np.ones((1, 1)), held_in, search)
        predicted = problem.predict(solution.coefficients[0], np.ones(1))[0]
        scores[selection] = mean_r2(predicted, held_out)
    naive = mean_r2(naive_gcv_prediction(train, test, held_in, penalties), held_out)
    assert scores["gcv"] > scores["kfold"] - 0.02
    assert scores["loo"] > scores["kfold"] - 0.02
    assert naive < scores["kfold"] - 0.1


@pytest.mark.parametrize("widths", [(30, 40), (90, 120)], ids=["primal", "dual"])
def test_pairs_predict_as_well_as_himalaya_and_split_exactly(widths):
    generator = np.random.default_rng(10)
    features = [generator.standard_normal((180, width)) for width in widths]
    responses = generator.standard_normal((60, 180))
    for number, values in enumerate(features):
        targets = np.arange(60) % 3 != number
        coefficients = generator.standard_normal((int(targets.sum()), values.shape[1]))
        responses[targets] += coefficients @ values.T / np.sqrt(values.shape[1])
    held_out = np.arange(180) % 3 == 0
    bands = {
        name: make_band(values[~held_out], values[held_out])
        for name, values in zip("ab", features, strict=True)
    }
    scaled = standardise(responses.T[~held_out], responses.T[held_out])
    truth = scaled.test.T
    search = Search(penalty_grid(0, 8, 10), inner_folds=np.arange(120) % 5)
    arguments = (bands, np.ascontiguousarray(scaled.train.T), search, 11)
    closed, reference = ClosedFormRegression(*arguments), HimalayaRegression(*arguments)
    for fit in (lambda solver: solver.single("a"), lambda solver: solver.pair("a", "b")):
        ours, theirs = fit(closed), fit(reference)
        correlation = [
            np.mean([np.corrcoef(p, y)[0, 1] for p, y in zip(f.prediction, truth, strict=True)])
            for f in (ours, theirs)
        ]
        assert correlation[0] > 0.2
        assert abs(correlation[0] - correlation[1]) < 0.01
        for result in (ours, theirs):
            shares = sum(
                (part * (2 * truth - result.prediction)).sum(axis=1) for part in result.parts
            )
            explained = (truth**2).sum(1) - ((truth - result.prediction) ** 2).sum(1)
            np.testing.assert_allclose(shares, explained, atol=1e-8)
    # Where both chose the same penalty and weight, predictions are equal.
    ours, theirs = closed.pair("a", "b"), reference.pair("a", "b")
    alike = (np.abs(ours.log10_penalty - theirs.log10_penalty) < 1e-4) & (
        np.abs(ours.band_weight - theirs.band_weight) < 1e-4
    )
    assert alike.sum() >= 10
    np.testing.assert_allclose(ours.prediction[alike], theirs.prediction[alike], atol=1e-4)


def test_the_ends_of_a_pair_are_its_single_fits():
    train, test, responses, _ = two_bands(11, 40, (5, 50), 20)
    bands = {name: make_band(a, b) for name, a, b in zip("ab", train, test, strict=True)}
    regression = ClosedFormRegression(bands, responses, Search(PENALTIES), 2)
    pair = regression.pair("a", "b")
    assert set(pair.band_weight) <= {0.0, 1.0}
    first = pair.band_weight == 1.0
    assert 0 < first.sum() < 20
    np.testing.assert_array_equal(pair.prediction[first], regression.single("a").prediction[first])
    np.testing.assert_array_equal(
        pair.prediction[~first], regression.single("b").prediction[~first]
    )


@pytest.mark.parametrize("width", [10, 200])
def test_the_end_at_which_a_fit_is_the_mean_is_no_edge_of_the_grid(width):
    """Nor does a wider grid change anything: what cannot be predicted takes any largest penalty."""
    random = np.random.default_rng(12)
    band = make_band(random.standard_normal((80, width)), random.standard_normal((20, width)))
    noise = random.standard_normal((200, 80))
    noise -= noise.mean(axis=1, keepdims=True)

    def alone(log10_max, count):
        search = Search(penalty_grid(0, log10_max, count))
        return ClosedFormRegression({"a": band}, noise, search, 2).single("a")

    default, wider, narrow = alone(8, 9), alone(12, 13), alone(3, 4)
    for fit, largest in ((default, 8), (wider, 12)):
        assert np.mean(fit.log10_penalty == largest) > 0.3
        np.testing.assert_array_equal(fit.on_edge, fit.log10_penalty == 0)
    assert np.mean(default.log10_penalty == 8) == np.mean(wider.log10_penalty >= 8)
    np.testing.assert_array_equal(
        narrow.on_edge, (narrow.log10_penalty == 0) | (narrow.log10_penalty == 3)
    )
    assert np.mean(narrow.log10_penalty == 3) > 0.3


def mixed_bands(widths, n_targets=30):
    """Bands a, b, c, of which each third of the targets is made from one, and responses."""
    generator = np.random.default_rng(16)
    features = [generator.standard_normal((120, width)) for width in widths]
    responses = generator.standard_normal((n_targets, 120))
    for number, values in enumerate(features):
        targets = np.arange(n_targets) % 3 == number
        coefficients = generator.standard_normal((int(targets.sum()), values.shape[1]))
        responses[targets] += coefficients @ values.T / np.sqrt(values.shape[1])
    bands = {
        name: make_band(values[:80], values[80:])
        for name, values in zip("abc", features, strict=True)
    }
    responses -= responses[:, :80].mean(axis=1, keepdims=True)
    return bands, np.ascontiguousarray(responses[:, :80])


def exhaustive_choice(kernels, held_in, candidates):
    """Row of weights and penalty with the smallest generalised cross-validation error."""
    n_targets, n_images = held_in.shape
    best = np.full(n_targets, np.inf)
    chosen = np.zeros((n_targets, 2), dtype=int)
    for number, row in enumerate(candidates):
        kernel = np.tensordot(row, kernels, axes=1)
        # Of equal errors that of the largest penalty counts, and of the first row.
        for place in reversed(range(len(PENALTIES))):
            hat = kernel @ np.linalg.inv(kernel + PENALTIES[place] * np.eye(n_images))
            residual = np.square(held_in - held_in @ hat.T).sum(axis=1) / n_images
            error = residual / (1.0 - (np.trace(hat) + 1.0) / n_images) ** 2
            better = error < best * (1.0 - 1e-9)
            best[better], chosen[better] = error[better], (number, place)
    return candidates[chosen[:, 0]], PENALTIES[chosen[:, 1]]


@pytest.mark.parametrize("widths", [(10, 15, 20), (60, 50, 40)], ids=["primal", "dual"])
def test_three_bands_take_the_best_point_of_the_simplex(widths):
    bands, held_in = mixed_bands(widths)
    search = Search(PENALTIES, inner_folds=np.arange(80) % 5)
    candidates = simplex_candidates(3, 30, seed=0)
    ours = ClosedFormRegression(bands, held_in, search, 11).mixture("abc", candidates)
    kernels = np.stack([band.train_kernel for band in bands.values()])
    weights, penalties = exhaustive_choice(kernels, held_in, candidates)
    np.testing.assert_allclose(ours.band_weights.T, weights, atol=1e-10)
    np.testing.assert_allclose(10**ours.log10_penalty, penalties)
    for target, (row, penalty) in enumerate(zip(weights, penalties, strict=True)):
        ridge = np.tensordot(row, kernels, axes=1) + penalty * np.eye(80)
        dual_coefficients = np.linalg.solve(ridge, held_in[target])
        for part, weight, band in zip(ours.parts, row, bands.values(), strict=True):
            expected = weight * band.test_kernel @ dual_coefficients
            np.testing.assert_allclose(part[target], expected, atol=1e-8)
    reference = HimalayaRegression(bands, held_in, search, 11).mixture("abc", candidates)
    np.testing.assert_allclose(reference.band_weights.sum(axis=0), 1, atol=1e-6)
    for number in range(3):
        # Each third of the targets was made from one band, which gets most weight.
        own = np.arange(30) % 3 == number
        for result in (ours, reference):
            assert result.band_weights[:, own].mean(axis=1).argmax() == number


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_a_larger_fit_and_its_baseline_try_the_same_ratios_of_shared_bands(n_bands):
    settings = EncodingSettings(n_band_weights=5, n_simplex_draws=8, seed=3)
    weights = BandWeights.of(n_bands, settings)
    for points in (weights.base, weights.extended, weights.with_fallback):
        np.testing.assert_allclose(points.sum(axis=1), 1.0)
        assert (points >= 0).all()
    assert (weights.extended[:, -1] > 0).all()
    tried = {tuple(row) for row in weights.base.round(6)}
    assert len(tried) == len(weights.base)
    for row in weights.extended[weights.extended[:, -1] < 1]:
        ratios = row[:-1] / row[:-1].sum()
        assert np.abs(weights.base - ratios).max(axis=1).min() < 1e-6
    np.testing.assert_array_equal(weights.with_fallback[: len(weights.base), :-1], weights.base)
    # Whatever the mixture of as many bands would try is among the points of the baseline.
    count = {1: 1, 2: 5, 3: 8}[n_bands]
    usual = simplex_candidates(n_bands, count, seed=3)
    for row in usual:
        assert np.abs(weights.base - row).max(axis=1).min() < 1e-6


@pytest.mark.parametrize("widths", [(10, 15, 20), (60, 50, 40)], ids=["primal", "dual"])
@pytest.mark.parametrize("shared", [False, True], ids=["per target", "per group"])
def test_a_mixture_with_one_band_more_is_the_best_point_of_both_searches(widths, shared):
    bands, held_in = mixed_bands(widths)
    groups = np.arange(30) // 3 if shared else None
    search = Search(PENALTIES, inner_folds=np.arange(80) % 5, target_groups=groups)
    weights = BandWeights.of(2, EncodingSettings(n_band_weights=5, n_simplex_draws=20))
    regression = ClosedFormRegression(bands, held_in, search, 5)
    base = regression.mixture("ab", weights.base)
    larger = regression.extension("ab", "c", weights)
    whole = ClosedFormRegression(bands, held_in, search, 5).mixture("abc", weights.with_fallback)
    np.testing.assert_allclose(larger.band_weights, whole.band_weights, atol=1e-10)
    np.testing.assert_array_equal(larger.log10_penalty, whole.log10_penalty)
    for one, other in zip(larger.parts, whole.parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)
    np.testing.assert_allclose(larger.degrees_of_freedom, whole.degrees_of_freedom, atol=1e-6)
    # A target that does without the new band keeps what it had, bit by bit.
    without = larger.band_weights[2] == 0
    assert 0 < without.sum() < 30 or shared
    np.testing.assert_array_equal(larger.prediction[without], base.prediction[without])
    np.testing.assert_array_equal(larger.band_weights[:2, without], base.band_weights[:, without])
    np.testing.assert_array_equal(larger.log10_penalty[without], base.log10_penalty[without])


@pytest.mark.parametrize("widths", [(10, 15, 20), (60, 50, 40)], ids=["primal", "dual"])
def test_a_mixture_with_one_band_more_is_that_of_himalaya_where_both_choose_alike(widths):
    bands, held_in = mixed_bands(widths)
    search = Search(PENALTIES, "kfold", inner_folds=np.arange(80) % 5)
    weights = BandWeights.of(2, EncodingSettings(n_band_weights=5, n_simplex_draws=20))
    arguments = (bands, held_in, search, 5)
    ours, theirs = (
        solver(*arguments).extension("ab", "c", weights)
        for solver in (ClosedFormRegression, HimalayaRegression)
    )
    alike = (np.abs(ours.band_weights - theirs.band_weights) < 1e-4).all(axis=0)
    alike &= np.abs(ours.log10_penalty - theirs.log10_penalty) < 1e-4
    assert alike.sum() >= 20
    np.testing.assert_allclose(ours.prediction[alike], theirs.prediction[alike], atol=1e-3)


@pytest.mark.parametrize("added", ["silent", "noise"])
def test_a_band_that_tells_nothing_costs_and_gains_next_to_nothing(added):
    generator = np.random.default_rng(17)
    features = [generator.standard_normal((700, width)) for width in (40, 20, 30)]
    share = generator.random(100)
    responses = 1.5 * generator.standard_normal((100, 700))
    for values, part in zip(features[:2], (share, 1 - share), strict=True):
        made = generator.standard_normal((100, values.shape[1])) @ values.T
        responses += np.sqrt(part / values.shape[1])[:, None] * made
    if added == "silent":
        features[2] = np.zeros((700, 30))
    bands = {
        name: make_band(values[:400], values[400:], allow_constant=True)
        for name, values in zip("abc", features, strict=True)
    }
    responses -= responses[:, :400].mean(axis=1, keepdims=True)
    held_in, truth = np.ascontiguousarray(responses[:, :400]), responses[:, 400:]
    search = Search(penalty_grid(0, 8, 10))
    weights = BandWeights.of(2, EncodingSettings())
    regression = ClosedFormRegression(bands, held_in, search, 11)
    base, larger = regression.mixture("ab", weights.base), regression.extension("ab", "c", weights)
    gain = mean_r2(larger.prediction, truth) - mean_r2(base.prediction, truth)
    # Weight on a silent band is a finer grid of penalties, and nothing else.
    assert -0.005 < gain < 0.005
    # A search that forgets what the baseline chose loses more by its choice alone.
    draws = simplex_candidates(3, 50, seed=0)
    fresh = ClosedFormRegression(bands, held_in, search, 11).mixture("abc", draws)
    assert mean_r2(fresh.prediction, truth) < mean_r2(larger.prediction, truth)


def test_standardisation_uses_training_statistics_and_drops_constant_columns():
    generator = np.random.default_rng(12)
    train, test = generator.standard_normal((50, 4)), generator.standard_normal((10, 4))
    train[:, 2] = 7.0
    scaled = standardise(train, test)
    np.testing.assert_array_equal(scaled.kept, [True, True, False, True])
    np.testing.assert_allclose(scaled.train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.train.std(axis=0), 1, atol=1e-12)
    kept = train[:, [0, 1, 3]]
    expected = (test[:, [0, 1, 3]] - kept.mean(axis=0)) / kept.std(axis=0)
    np.testing.assert_allclose(scaled.test, expected, atol=1e-12)


def test_every_band_has_the_variance_of_a_thousand_standardised_features():
    generator = np.random.default_rng(13)
    for width in (3, 300):
        band = make_band(
            5 * generator.standard_normal((60, width)), generator.standard_normal((10, width))
        )
        assert band.train.var(axis=0).sum() == pytest.approx(BAND_TRACE)


def test_a_band_that_is_constant_altogether_is_refused():
    with pytest.raises(EncodingError, match=r"all 3 columns .* constant over the 20 training"):
        make_band(np.ones((20, 3)), np.ones((5, 3)))


@pytest.mark.parametrize("shape", [(40, 12), (40, 90)])
def test_principal_components_keep_the_leading_variance_of_training(shape):
    generator = np.random.default_rng(14)
    values = generator.standard_normal((shape[0] + 10, shape[1])) * np.linspace(3, 0.1, shape[1])
    values -= values[: shape[0]].mean(axis=0)
    train, test = principal_components(values[: shape[0]], values[shape[0] :], 6)
    _, singular, axes = np.linalg.svd(values[: shape[0]], full_matrices=False)
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(train, axis=0))[::-1], singular[:6], rtol=1e-8
    )
    projection = values[shape[0] :] @ axes[:6].T
    np.testing.assert_allclose(test @ test.T, projection @ projection.T, atol=1e-8)


@pytest.mark.parametrize("penalties", [[0.0, 1.0], [-1.0], [2.0, 1.0], [1.0, np.inf], [1.0, 1.0]])
def test_penalties_out_of_range_are_refused(penalties):
    with pytest.raises(EncodingError, match="positive, finite and strictly rising"):
        check_penalties(penalties)


def test_float32_agrees_with_float64():
    train, test, responses, _ = two_bands(15, 120, (40, 150), 50)
    bands = {name: make_band(a, b) for name, a, b in zip("ab", train, test, strict=True)}
    narrow = {
        name: make_band(a, b, dtype=np.float32)
        for name, a, b in zip("ab", train, test, strict=True)
    }
    search = Search(penalty_grid(0, 8, 10))
    wide_fit = ClosedFormRegression(bands, responses, search, 11).pair("a", "b")
    narrow_fit = ClosedFormRegression(narrow, responses.astype(np.float32), search, 11).pair(
        "a", "b"
    )
    assert narrow_fit.prediction.dtype == np.float32
    same = wide_fit.log10_penalty == narrow_fit.log10_penalty
    same &= wide_fit.band_weight == narrow_fit.band_weight
    # Only near-ties may be decided otherwise.
    assert same.mean() > 0.9
    np.testing.assert_allclose(
        narrow_fit.prediction[same], wide_fit.prediction[same], atol=1e-4 * responses.std()
    )


def test_a_signal_that_is_the_same_for_all_images_predicts_the_mean_and_adds_nothing():
    train, test, responses = two_bands(3, 60, (12, 5), 4)[:3]
    constant = np.full((60, 7), 0.25) + 1e-9 * np.random.default_rng(0).standard_normal((60, 7))
    with pytest.raises(EncodingError, match="all 7 columns"):
        make_band(constant, constant[:20])
    bands = {
        "activation": make_band(train[0], test[0]),
        "signal": make_band(constant, constant[:20], allow_constant=True),
    }
    assert bands["signal"].n_constant == 7
    fits = ClosedFormRegression(bands, np.ascontiguousarray(responses), Search(PENALTIES), 5)
    assert not fits.single("signal").prediction.any()
    alone, joint = fits.single("activation"), fits.pair("activation", "signal")
    np.testing.assert_allclose(joint.parts[1], 0)
    correlation = [
        np.corrcoef(a, b)[0, 1] for a, b in zip(alone.prediction, joint.prediction, strict=True)
    ]
    assert min(correlation) > 0.99


def test_equal_errors_leave_a_target_with_what_was_offered_first_and_the_largest_penalty():
    choice = Choice.start(3)
    choice.offer(np.array([[2.0, 1.0, 1.0 + 1e-7], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), 0)
    assert choice.penalty.tolist() == [2, 0, 2]
    better = np.array([[1 - 1e-7, 9, 9], [0.99, 9, 9], [1 - 1e-7, 9, 9]])
    choice.offer(better, 1)
    assert choice.candidate.tolist() == [0, 1, 0]
    assert choice.error[1] == 0.99


@pytest.mark.parametrize(("n_train", "width"), [(74, 300), (300, 100)])
def test_the_last_bit_decides_on_no_band_of_an_unpredicted_target(n_train, width):
    """The same images in another order: sums differ in their last digits, and nothing else."""
    generator = np.random.default_rng(1)
    layer = generator.standard_normal((n_train + 20, width))
    signal = layer @ generator.standard_normal((width, width)) / np.sqrt(width)
    responses = generator.standard_normal((400, n_train))
    responses -= responses.mean(axis=1, keepdims=True)
    fits = []
    for order in (np.arange(n_train), generator.permutation(n_train)):
        bands = {
            key: make_band(values[:n_train][order], values[n_train:], dtype=np.float32)
            for key, values in (("layer", layer), ("signal", signal))
        }
        shuffled = np.ascontiguousarray(responses[:, order], dtype=np.float32)
        regression = ClosedFormRegression(bands, shuffled, Search(penalty_grid(0, 8, 10)), 11)
        fits.append(regression.pair("layer", "signal"))
    first, second = fits
    np.testing.assert_array_equal(first.band_weight, second.band_weight)
    np.testing.assert_array_equal(first.log10_penalty, second.log10_penalty)
    # Many targets are at the largest penalty, where bands hardly differ: they keep the baseline.
    flat = first.log10_penalty == 8
    assert flat.sum() > 50
    assert (first.band_weight[flat] == 1).mean() > 0.5
