"""Folds, image draws and scores: exact expectations and invariants."""

import numpy as np
import pytest

from gradbrain.encoding.draws import draw_images, permuted_traces
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.measures import NORMALISED_MEASURES, RAW_MEASURES
from gradbrain.encoding.scores import FoldScorer, UnitLayout
from gradbrain.encoding.splits import FoldSplitter, grouped_folds

GROUPS = np.repeat(["a", "b", "c", "d", "e"], [4, 1, 3, 3, 5])
N_IMAGES = len(GROUPS)
STOPS = np.array([4, 9])


def layout(pooled, n_targets=11):
    return UnitLayout(("early", "late"), STOPS, n_targets, pooled)


def fold_data(seed=0, n_targets=11):
    generator = np.random.default_rng(seed)
    responses = generator.standard_normal((n_targets, N_IMAGES)) + 0.3
    baseline = 0.4 * responses + 0.5 * generator.standard_normal(responses.shape)
    full = baseline + 0.2 * responses + 0.1 * generator.standard_normal(responses.shape)
    return responses, baseline, full


def scorer(responses, pooled, n_draws=30):
    draws = draw_images(GROUPS, n_draws, seed=3, fold=0)
    return FoldScorer(responses, layout(pooled, len(responses)), draws), draws


def brute_r(responses, predicted, pooled, counts=None):
    """Pearson r by np.repeat of images, per target or per unit."""
    if counts is not None:
        responses = np.repeat(responses, counts, axis=1)
        predicted = np.repeat(predicted, counts, axis=1)
    y = responses - responses.mean(axis=1, keepdims=True)
    p = predicted - predicted.mean(axis=1, keepdims=True)
    cross, norm_y, norm_p = (y * p).sum(1), (y**2).sum(1), (p**2).sum(1)
    if pooled:
        cross, norm_y, norm_p = (by_unit_sum(v) for v in (cross, norm_y, norm_p))
    return cross / np.sqrt(norm_y * norm_p)


def brute_r2(responses, predicted, pooled, counts=None):
    if counts is not None:
        responses = np.repeat(responses, counts, axis=1)
        predicted = np.repeat(predicted, counts, axis=1)
    residual, total = ((responses - predicted) ** 2).sum(1), (responses**2).sum(1)
    if pooled:
        residual, total = by_unit_sum(residual), by_unit_sum(total)
    return 1 - residual / total


def by_unit_sum(values):
    return np.array([values[:4].sum(), values[4:9].sum()])


def unit_mean(values, pooled):
    return values if pooled else np.array([values[:4].mean(), values[4:9].mean()])


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("brute", [brute_r, brute_r2])
def test_scores_and_bootstrap_are_those_of_repeated_images(pooled, brute):
    responses, predicted, _ = fold_data()
    fold_scorer, draws = scorer(responses, pooled)
    score = fold_scorer.scores(predicted, RAW_MEASURES)[brute is brute_r2]
    np.testing.assert_allclose(score.point, brute(responses, predicted, pooled), atol=1e-12)
    expected = [
        unit_mean(brute(responses, predicted, pooled, counts), pooled) for counts in draws.counts
    ]
    np.testing.assert_allclose(score.boot, expected, atol=1e-10)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("brute", [brute_r, brute_r2])
def test_fast_null_is_that_of_permuted_predictions(pooled, brute):
    responses, predicted, _ = fold_data()
    fold_scorer, draws = scorer(responses, pooled)
    score = fold_scorer.scores(predicted, RAW_MEASURES)[brute is brute_r2]
    expected = [
        unit_mean(brute(responses, predicted[:, order], pooled), pooled)
        for order in draws.permutations
    ]
    np.testing.assert_allclose(score.null, expected, atol=1e-6)


@pytest.mark.parametrize("pooled", [False, True])
def test_gain_matches_the_residuals_of_the_baseline_with_other_images(pooled):
    responses, baseline, full = fold_data()
    fold_scorer, draws = scorer(responses, pooled)
    difference = (
        fold_scorer.scores(full, RAW_MEASURES)[1] - fold_scorer.scores(baseline, RAW_MEASURES)[1]
    )
    gain = fold_scorer.gain(baseline, full, difference)
    expected = brute_r2(responses, full, pooled) - brute_r2(responses, baseline, pooled)
    np.testing.assert_allclose(gain.point, expected, atol=1e-12)
    total = (responses**2).sum(1)
    for null, order in zip(gain.null, draws.permutations, strict=True):
        residual, step = responses - baseline, (full - baseline)[:, order]
        lost = (residual**2).sum(1) - ((residual - step) ** 2).sum(1)
        ratio = by_unit_sum(lost) / by_unit_sum(total) if pooled else lost / total
        np.testing.assert_allclose(null, unit_mean(ratio, pooled), atol=1e-6)


@pytest.mark.parametrize("pooled", [False, True])
def test_split_sums_to_the_joint_score_in_every_draw(pooled):
    responses, first, full = fold_data()
    second = full - first
    fold_scorer, _ = scorer(responses, pooled)
    joint = fold_scorer.scores(full, RAW_MEASURES)[1]
    shares = [fold_scorer.split(part, full) for part in (first, second)]
    for field in ("point", "boot", "null"):
        total = sum(getattr(share, field) for share in shares)
        np.testing.assert_allclose(total, getattr(joint, field), atol=1e-6)


def test_pooled_scores_do_not_change_under_rotation_of_the_targets():
    responses, baseline, full = fold_data()
    generator = np.random.default_rng(8)
    rotations = [np.linalg.qr(generator.standard_normal((n, n)))[0] for n in (4, 5, 2)]

    def rotate(values):
        parts = np.split(values, [4, 9])
        return np.concatenate([q @ part for q, part in zip(rotations, parts, strict=True)])

    results = []
    for turn in (lambda values: values, rotate):
        fold_scorer, _ = scorer(turn(responses), pooled=True)
        scores = [*fold_scorer.scores(turn(full), RAW_MEASURES)]
        scores.append(fold_scorer.split(turn(baseline), turn(full)))
        scores.append(fold_scorer.gain(turn(baseline), turn(full), scores[1]))
        results.append(scores)
    for ours, theirs in zip(*results, strict=True):
        for field in ("point", "boot", "null"):
            np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), atol=1e-6)


def test_a_prediction_without_variance_scores_zero():
    responses, _, _ = fold_data()
    fold_scorer, _ = scorer(responses, pooled=False)
    r, r2 = fold_scorer.scores(np.zeros_like(responses), RAW_MEASURES)
    for score in (r, r2):
        np.testing.assert_array_equal(score.point, 0)
        np.testing.assert_array_equal(score.boot, 0)
        np.testing.assert_array_equal(score.null, 0)


def test_null_is_centred_and_a_planted_effect_exceeds_it():
    groups = np.arange(120).astype(str)
    generator = np.random.default_rng(1)
    responses = generator.standard_normal((9, 120))
    related = responses + 2 * generator.standard_normal(responses.shape)
    draws = draw_images(groups, 400, seed=0, fold=0)
    fold_scorer = FoldScorer(responses, layout(False, 9), draws)
    score = fold_scorer.scores(related, RAW_MEASURES)[0]
    # Standard error of the mean of 400 draws of a mean of ≥ 4 correlations of 120 images: .0023.
    assert np.abs(score.null.mean(axis=0)).max() < 0.01
    assert (score.boot.mean(axis=0) > np.quantile(score.null, 0.99, axis=0)).all()
    assert np.all(np.abs(score.boot.mean(axis=0) - fold_scorer.unit_mean(score.point)) < 0.02)


def test_permuted_traces_are_sums_along_permutations():
    generator = np.random.default_rng(2)
    products = generator.standard_normal((3, N_IMAGES, N_IMAGES))
    draws = draw_images(GROUPS, 10, seed=0, fold=1)
    found = permuted_traces(products, draws.permutations)
    for draw, order in enumerate(draws.permutations):
        expected = [product[np.arange(N_IMAGES), order].sum() for product in products]
        np.testing.assert_allclose(found[draw], expected, atol=1e-10)


def test_draws_keep_groups_whole():
    draws = draw_images(GROUPS, 50, seed=0, fold=0)
    n_groups = len(np.unique(GROUPS))
    for counts, order in zip(draws.counts, draws.permutations, strict=True):
        taken = [set(counts[name == GROUPS]) for name in np.unique(GROUPS)]
        assert all(len(values) == 1 for values in taken)
        assert sum(values.pop() for values in taken) == n_groups
        np.testing.assert_array_equal(np.sort(order), np.arange(N_IMAGES))
        # Groups arrive as blocks, their images in order.
        changes = np.flatnonzero(GROUPS[order][1:] != GROUPS[order][:-1])
        assert len(changes) == n_groups - 1
        for name in np.unique(GROUPS):
            assert (np.diff(order[GROUPS[order] == name]) == 1).all()


def test_draws_of_single_images_are_plain_resampling_and_permutation():
    draws = draw_images(np.arange(40), 20, seed=0, fold=0)
    assert (draws.counts.sum(axis=1) == 40).all()
    assert draws.counts.max() > 1
    assert len({tuple(order) for order in draws.permutations}) == 20


def test_draws_depend_on_seed_and_fold_only():
    same = draw_images(GROUPS, 5, 1, 2)
    np.testing.assert_array_equal(same.counts, draw_images(GROUPS, 5, 1, 2).counts)
    np.testing.assert_array_equal(same.permutations, draw_images(GROUPS, 5, 1, 2).permutations)
    for seed, fold in ((2, 2), (1, 3)):
        assert not np.array_equal(
            same.permutations, draw_images(GROUPS, 5, seed, fold).permutations
        )


def test_folds_never_split_a_group_and_are_balanced():
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 30, size=300).astype(str)
    folds = grouped_folds(groups, 5, seed=0)
    for name in np.unique(groups):
        assert len(set(folds[groups == name])) == 1
    sizes = np.bincount(folds, minlength=5)
    assert sizes.max() - sizes.min() <= np.unique(groups, return_counts=True)[1].max()
    assert sizes.min() > 0


def test_folds_do_not_depend_on_the_order_of_images():
    order = np.random.default_rng(0).permutation(N_IMAGES)
    folds = grouped_folds(GROUPS, 3, seed=4)
    np.testing.assert_array_equal(grouped_folds(GROUPS[order], 3, seed=4), folds[order])
    single = np.arange(50)
    assert not np.array_equal(grouped_folds(single, 5, 0), grouped_folds(single, 5, 1))
    np.testing.assert_array_equal(np.bincount(grouped_folds(single, 5, 0)), [10] * 5)


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(
        EncodingError, match=r"n_folds is 6, but the 16 images to divide belong to 5 groups"
    ):
        grouped_folds(GROUPS, 6, seed=0)


def test_fold_splitter_yields_every_image_once():
    splitter = FoldSplitter([0, 1, 0, 2, 1])
    held_out = [test for _, test in splitter.split()]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), np.arange(5))
    assert splitter.get_n_splits() == 3
    for train, test in splitter.split():
        assert not set(train) & set(test)


@pytest.mark.parametrize("pooled", [False, True])
def test_normalised_scores_divide_every_draw_by_the_ceiling(pooled):
    """Bootstrap draws by repeated images; null draws are linear in the scores of targets."""
    responses, predicted, _ = fold_data()
    ceiling = np.full(11, 0.25) if pooled else np.linspace(0.2, 0.9, 11)
    ceiling[9:] = np.nan
    draws = draw_images(GROUPS, 30, seed=3, fold=0)
    fold_scorer = FoldScorer(responses, layout(pooled), draws, ceiling)
    found = fold_scorer.scores(predicted, (*RAW_MEASURES, *NORMALISED_MEASURES))
    plain = FoldScorer(responses, layout(pooled), draws).scores(predicted, RAW_MEASURES)
    for score, raw, normalised, brute, power in zip(
        found[:2], plain, found[2:], (brute_r, brute_r2), (0.5, 1.0), strict=True
    ):
        for name in ("point", "boot", "null"):
            np.testing.assert_allclose(getattr(score, name), getattr(raw, name))
        scale = np.full(2, 0.25**-power) if pooled else ceiling**-power
        np.testing.assert_allclose(normalised.point, raw.point * scale)
        expected = [
            unit_mean(brute(responses, predicted, pooled, counts) * scale, pooled)
            for counts in draws.counts
        ]
        np.testing.assert_allclose(normalised.boot, expected, atol=1e-10)
        if pooled:
            np.testing.assert_allclose(normalised.null, raw.null * scale)


def test_normalised_null_is_that_of_permuted_predictions():
    responses, predicted, _ = fold_data()
    ceiling = np.linspace(0.2, 0.9, 11)
    draws = draw_images(GROUPS, 30, seed=3, fold=0)
    found = FoldScorer(responses, layout(False), draws, ceiling).scores(
        predicted, (*RAW_MEASURES, *NORMALISED_MEASURES)
    )[2:]
    for score, brute, power in zip(found, (brute_r, brute_r2), (0.5, 1.0), strict=True):
        expected = [
            unit_mean(brute(responses, predicted[:, order], False) * ceiling**-power, False)
            for order in draws.permutations
        ]
        np.testing.assert_allclose(score.null, expected, atol=1e-10)


def test_null_draws_hold_the_products_of_few_units_at_once(monkeypatch):
    """Products of all times at once would be 11 GB for MEG with 22,000 images."""
    responses, predicted, _ = fold_data()
    whole = scorer(responses, False)[0].scores(predicted, RAW_MEASURES)
    shapes = []

    def record(products, permutations):
        shapes.append(products.shape)
        return permuted_traces(products, permutations)

    monkeypatch.setattr("gradbrain.encoding.scores.permuted_traces", record)
    monkeypatch.setattr("gradbrain.encoding.scores.PRODUCT_ENTRIES", N_IMAGES**2)
    parts = scorer(responses, False)[0].scores(predicted, RAW_MEASURES)
    assert set(shapes) == {(1, N_IMAGES, N_IMAGES)}
    for ours, theirs in zip(whole, parts, strict=True):
        np.testing.assert_allclose(ours.null, theirs.null, rtol=1e-12)


def test_normalising_without_a_ceiling_is_an_error():
    responses, predicted, _ = fold_data()
    with pytest.raises(ValueError, match="none were given"):
        scorer(responses, False)[0].scores(predicted, (*RAW_MEASURES, *NORMALISED_MEASURES))


@pytest.mark.parametrize("left", [0.0, 1e-9, 0.02], ids=["at the mean", "rounding", "elsewhere"])
def test_a_target_that_does_not_vary_in_a_fold_is_left_out_of_it(left):
    """R² of what is constant at the training mean is a ratio to rounding."""
    responses, predicted, _ = fold_data()
    dead = responses.copy()
    dead[1] = left + 1e-9 * np.random.default_rng(0).standard_normal(N_IMAGES)
    draws = draw_images(GROUPS, 30, seed=3, fold=0)
    one = np.ones(len(responses))
    found = FoldScorer(dead, layout(False), draws, training_variance=one)
    assert np.flatnonzero(found.masked).tolist() == [1]
    # The others are what they are without it.
    others = np.delete(np.arange(len(responses)), 1)
    rest = UnitLayout(("early", "late"), STOPS - 1, len(others), False)
    expected = FoldScorer(responses[others], rest, draws, training_variance=one[others])
    assert not expected.masked.any()
    for score, wanted in zip(
        found.scores(predicted, RAW_MEASURES),
        expected.scores(predicted[others], RAW_MEASURES),
        strict=True,
    ):
        assert np.isnan(score.point[1])
        np.testing.assert_allclose(score.point[others], wanted.point, atol=1e-12)
        np.testing.assert_allclose(score.boot, wanted.boot, atol=1e-10)
        np.testing.assert_allclose(score.null, wanted.null, atol=1e-10)
        np.testing.assert_allclose(
            found.unit_mean(score.point), expected.unit_mean(wanted.point), atol=1e-12
        )


def test_a_target_that_is_dead_in_all_but_one_image_ruins_no_draw():
    """A draw that misses the image over which a target varies says nothing on it."""
    responses, predicted, _ = fold_data()
    responses[1] = 1e-9 * responses[1]
    responses[1, 4] = 1.0
    draws = draw_images(GROUPS, 200, seed=3, fold=0)
    assert (draws.counts[:, 4] == 0).any()
    scorer_ = FoldScorer(responses, layout(False), draws, training_variance=np.ones(11))
    assert not scorer_.masked.any()
    r2 = scorer_.scores(predicted, RAW_MEASURES)[1]
    assert np.isfinite(r2.boot).all()
    # Of draws without that image, the other three targets of the unit are the mean.
    lone = draws.counts[:, 4] == 0
    others = brute_r2(responses, predicted, False, draws.counts[lone][0])[[0, 2, 3]]
    assert r2.boot[lone][0, 0] == pytest.approx(others.mean())


def test_a_unit_of_dead_targets_alone_is_unknown():
    responses, predicted, _ = fold_data()
    responses[:4] = 0.0
    draws = draw_images(GROUPS, 5, seed=3, fold=0)
    for pooled in (False, True):
        found = FoldScorer(responses, layout(pooled), draws, training_variance=np.ones(11))
        r, r2 = found.scores(predicted, RAW_MEASURES)
        gain = found.gain(predicted, 0.5 * predicted, r2 - r2)
        for score in (r, r2, gain):
            assert np.isnan(found.unit_mean(score.point)[0])
            assert np.isnan(score.null[:, 0]).all()
            assert np.isfinite(score.null[:, 1]).all()
        assert np.isfinite(found.unit_mean(r2.point)[1])


def test_a_fold_of_a_single_image_has_an_r2():
    draws = draw_images(np.array(["a"]), 3, seed=0, fold=0)
    lone = UnitLayout(("all",), np.array([2]), 2, False)
    found = FoldScorer(np.array([[0.5], [-1.0]]), lone, draws, training_variance=np.ones(2))
    assert not found.masked.any()
    np.testing.assert_allclose(
        found.scores(np.zeros((2, 1)), RAW_MEASURES)[1].point, 0.0, atol=1e-12
    )
