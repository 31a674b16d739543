"""The estimator: scikit-learn's face over the closed form."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradbrain.encoding.band_weights import simplex_candidates
from gradbrain.encoding.bands import Band
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.estimator import BandedRidge
from gradbrain.encoding.regression import ClosedFormRegression
from gradbrain.encoding.solver import Search

PENALTIES = np.logspace(-1, 5, 7)


def make_data(widths, n_images=120, n_targets=15, seed=0):
    generator = np.random.default_rng(seed)
    bands = [generator.standard_normal((n_images, width)) + 2 for width in widths]
    responses = generator.standard_normal((n_images, n_targets)) - 5
    responses += bands[0] @ generator.standard_normal((widths[0], n_targets)) / widths[0] ** 0.5
    return bands, responses


def halves(bands, responses):
    return (
        [band[::2] for band in bands],
        responses[::2],
        [band[1::2] for band in bands],
        responses[1::2],
    )


def test_single_band_is_scikit_learns_ridge_with_intercept():
    train, y, test, _ = halves(*make_data((9,)))
    ours = BandedRidge(PENALTIES, selection="loo", dtype=np.float64).fit(train, y)
    theirs = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(train[0], y)
    np.testing.assert_allclose(ours.penalty_, theirs.alpha_)
    np.testing.assert_allclose(ours.predict(test), theirs.predict(test[0]), atol=1e-8)


@pytest.mark.parametrize("widths", [(9, 20), (60, 90), (9, 20, 15), (60, 90, 50)])
@pytest.mark.parametrize("shared", [False, True])
def test_parts_sum_to_the_prediction_and_shares_to_r2(widths, shared):
    train, y, test, truth = halves(*make_data(widths))
    model = BandedRidge(PENALTIES, shared=shared, dtype=np.float64).fit(train, y)
    parts = model.predict(test, split=True)
    assert parts.shape == (len(widths), 60, 15)
    np.testing.assert_allclose(parts.sum(axis=0) + y.mean(axis=0), model.predict(test), atol=1e-9)
    shares = model.score(test, truth, split=True)
    np.testing.assert_allclose(shares.sum(axis=0), model.score(test, truth), atol=1e-9)
    np.testing.assert_allclose(model.band_weights_.sum(axis=1), 1)
    if shared:
        assert len(np.unique(model.penalty_)) == 1
        assert len(np.unique(model.band_weights_, axis=0)) == 1


def test_prediction_is_ridge_on_features_scaled_by_the_chosen_weights():
    train, y, test, _ = halves(*make_data((40, 50)))
    model = BandedRidge(PENALTIES, dtype=np.float64).fit(train, y)
    for target in range(5):
        scale = np.repeat(np.sqrt(model.band_weights_[target]), (40, 50))
        x = np.concatenate(train, axis=1)
        centred = (x - x.mean(axis=0)) * scale
        gram = centred.T @ centred + model.penalty_[target] * np.eye(90)
        beta = np.linalg.solve(gram, centred.T @ (y[:, target] - y[:, target].mean()))
        expected = ((np.concatenate(test, axis=1) - x.mean(axis=0)) * scale) @ beta
        np.testing.assert_allclose(
            model.predict(test)[:, target], expected + y[:, target].mean(), atol=1e-8
        )


def test_score_is_r2_about_the_training_mean():
    train, y, test, truth = halves(*make_data((9, 20)))
    model = BandedRidge(PENALTIES, dtype=np.float64).fit(train, y)
    shifted = truth - truth.mean(axis=0) + y.mean(axis=0)
    expected = r2_score(shifted, model.predict(test), multioutput="raw_values")
    np.testing.assert_allclose(model.score(test, shifted), expected, atol=1e-9)


def test_irrelevant_bands_get_little_weight():
    train, y, _, _ = halves(*make_data((20, 20, 20), n_images=400, seed=2))
    model = BandedRidge(PENALTIES, n_band_weights=30).fit(train, y)
    weights = model.band_weights_.mean(axis=0)
    assert weights[0] > 0.6
    assert weights[0] > 3 * weights[1:].max()


def test_simplex_candidates_lie_on_the_simplex_and_hold_its_corners():
    np.testing.assert_array_equal(simplex_candidates(1, 5, 0), [[1.0]])
    line = simplex_candidates(2, 11, 0)
    np.testing.assert_allclose(line[:, 0], np.linspace(1, 0, 11))
    rows = simplex_candidates(4, 20, 0)
    assert rows.shape == (25, 4)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    np.testing.assert_array_equal(rows[:4], np.eye(4))
    np.testing.assert_array_equal(rows, simplex_candidates(4, 20, 0))


def test_groups_are_not_split_by_inner_folds():
    bands, responses = make_data((9, 20))
    groups = np.arange(120) // 4
    kept = BandedRidge(PENALTIES, selection="kfold").fit(bands, responses, groups=groups)
    assert np.isfinite(kept.predict(bands)).all()
    with pytest.raises(EncodingError, match="n_inner_folds is 5"):
        BandedRidge(PENALTIES, selection="kfold").fit(bands, responses, groups=np.arange(120) // 40)


@pytest.mark.parametrize("widths", [(9, 20), (60, 90), (9, 20, 15), (60, 90, 50)])
def test_the_face_predicts_what_fits_of_studies_do(widths):
    train, y, test, _ = halves(*make_data(widths))
    model = BandedRidge(PENALTIES, n_band_weights=8, dtype=np.float64).fit(train, y)
    means = [band.mean(axis=0) for band in train]
    bands = {
        number: Band(band - mean, held_out - mean)
        for number, (band, held_out, mean) in enumerate(zip(train, test, means, strict=True))
    }
    centred = np.ascontiguousarray((y - y.mean(axis=0)).T)
    engine = ClosedFormRegression(bands, centred, Search(PENALTIES), 8)
    fit = engine.pair(0, 1)
    if len(widths) > 2:
        fit = engine.mixture(range(3), simplex_candidates(3, 8, 0))
    parts = model.predict(test, split=True)
    np.testing.assert_allclose(parts, np.stack(fit.parts).transpose(0, 2, 1), atol=1e-9)
    np.testing.assert_array_equal(model.band_weights_, fit.band_weights.T)
    # Some targets chose one band, some a mixture: both kinds of coefficients predicted.
    assert (fit.band_weights == 1.0).any() and (fit.band_weights.max(axis=0) < 1.0).any()


@parametrize_with_checks([BandedRidge(dtype=np.float64, selection=name) for name in ("gcv", "loo")])
def test_one_band_keeps_the_rules_of_scikit_learn(estimator, check):
    """In double precision, which its checks ask for."""
    check(estimator)


def test_bands_side_by_side_are_the_bands():
    bands, responses = make_data((9, 20))
    model = BandedRidge(PENALTIES).fit(bands, responses)
    together = np.concatenate(bands, axis=1)
    np.testing.assert_array_equal(model.predict(together), model.predict(bands))
    assert (model.n_features_in_, model.widths_) == (29, [9, 20])


def test_bad_input_is_refused():
    bands, responses = make_data((9, 20))
    spoiled = [bands[0].copy(), bands[1]]
    spoiled[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        BandedRidge().fit(spoiled, responses)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BandedRidge().fit(bands, responses[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BandedRidge().fit([bands[0], bands[1][:-1]], responses)
    with pytest.raises(EncodingError, match="at least one band"):
        BandedRidge().fit([], responses)
    with pytest.raises(EncodingError, match="positive, finite"):
        BandedRidge([0.0, 1.0]).fit(bands, responses)
    model = BandedRidge(PENALTIES).fit(bands, responses)
    with pytest.raises(EncodingError, match=r"\[9, 19\] features, expected \[9, 20\]"):
        model.predict([bands[0], bands[1][:, 1:]])
