"""Dissimilarities of held-out predictions: exact, of one fold, unbiased, with a fair null."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import binomtest, pearsonr

from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.draws import ImageDraws, draw_images
from gradbrain.encoding.fit import SplitFits
from gradbrain.encoding.inputs import ImageGroups, LayerFeatures, Responses
from gradbrain.encoding.measures import ALL_ACTIVATIONS
from gradbrain.encoding.prediction_rsa import (
    Comparison,
    FoldRdms,
    images_compared,
    noise_of_pairs,
    squared_distances,
)
from gradbrain.encoding.scores import UnitLayout
from gradbrain.encoding.splits import grouped_folds, outer_splits
from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.measures import FULL_RDM_R, RDM_R, UNIQUE_RDM_R

ACTIVATION = SignalIdentity("activation", "activation", "activation")
GRADIENT = SignalIdentity("gradient", "learning", "backprop", "dino")
SETTINGS = EncodingSettings(
    n_draws=40, n_folds=4, n_band_weights=5, n_penalties=6, selection="gcv", dtype="float64"
)
ON = RsaSettings(encoding=True)


def make_features(activation, gradient):
    return LayerFeatures(
        signals={ACTIVATION: activation, GRADIENT: gradient},
        activations={"layer": activation},
        layers=["layer"],
        attrs={"layer": "layer"},
    )


def make_responses(values, groups=None, n_repeats=None, ceiling=None, stops=None, pooled=False):
    """Responses of one subject; `values` has shape (n_targets, n_images)."""
    n_targets, n_images = values.shape
    groups = np.array([f"g{i:03d}" for i in range(n_images)]) if groups is None else groups
    stops = np.array([n_targets]) if stops is None else np.array(stops)
    images = ImageGroups(
        image_ids=np.array([f"i{i:03d}" for i in range(n_images)]),
        groups=groups,
        test_images=None,
        n_repeats=np.ones(n_images, dtype=np.int64) if n_repeats is None else n_repeats,
        order=np.arange(n_images),
        digest="",
    )
    return Responses(
        values=values.astype(np.float32),
        images=images,
        layout=UnitLayout(tuple(f"u{i}" for i in range(len(stops))), stops, n_targets, pooled),
        target_order=np.arange(n_targets),
        target_coords={},
        unit_time=None,
        n_unreliable=0,
        reliable=np.ones(n_targets, dtype=bool),
        ceiling=ceiling,
        noise_ceiling=ceiling,
        n_below_floor=0,
        attrs={},
    )


def planted(random, n_images=80, unique=1.0, noise=1.0, n_targets=30, width=12):
    """Activations, a gradient and responses that hold both, or activations alone."""
    activation = random.standard_normal((n_images, width))
    gradient = random.standard_normal((n_images, width))
    weights = random.standard_normal((2, width, n_targets)) / np.sqrt(width)
    signal = activation @ weights[0] + unique * gradient @ weights[1]
    return activation, gradient, (signal + noise * random.standard_normal(signal.shape)).T


def rdms_of(features, responses, settings=SETTINGS, rsa=ON):
    averages = SplitFits(features, responses, settings, rsa=rsa).run()
    keys = [(row.signal, row.measure) for row in averages.rdms.rows]
    return averages, keys


def test_scores_are_those_of_a_direct_computation_within_each_fold():
    random = np.random.default_rng(0)
    activation, gradient, values = planted(random)
    responses = make_responses(values, stops=(18, 30))
    features = make_features(activation, gradient)
    saved = SETTINGS.model_copy(update={"save_predictions": ("u0", "u1")})
    averages, keys = rdms_of(features, responses, saved)
    fits = features.fits.fits
    folds = grouped_folds(responses.groups, SETTINGS.n_folds, SETTINGS.seed)
    expected = {}
    for fold in range(SETTINGS.n_folds):
        own, train = folds == fold, folds != fold
        spread = responses.values[:, train].std(axis=1, dtype=float)[:, None]
        for unit, targets in enumerate(responses.layout.slices):

            def distances(patterns, targets=targets, spread=spread, own=own):
                return pdist((patterns / spread)[targets][:, own].T, "sqeuclidean")

            measured = distances(responses.values)
            of = {fit: distances(averages.predictions[place].T) for place, fit in enumerate(fits)}
            base, full = of[(ALL_ACTIVATIONS,)], of[(ALL_ACTIVATIONS, GRADIENT)]
            r, b, between = (
                pearsonr(*pair)[0] for pair in ((full, measured), (base, measured), (full, base))
            )
            found = {
                (ACTIVATION, RDM_R.name): pearsonr(of[(ACTIVATION,)], measured)[0],
                (GRADIENT, RDM_R.name): pearsonr(of[(GRADIENT,)], measured)[0],
                (ALL_ACTIVATIONS, RDM_R.name): b,
                (GRADIENT, FULL_RDM_R.name): r,
                (GRADIENT, UNIQUE_RDM_R.name): (r - b * between)
                / np.sqrt((1 - b**2) * (1 - between**2)),
            }
            for key, value in found.items():
                expected.setdefault((key, unit), []).append(value)
    for (key, unit), parts in expected.items():
        score = averages.rdms.score[keys.index(key), unit]
        assert score == pytest.approx(np.mean(parts), abs=2e-5), key


def test_the_draws_are_those_of_a_direct_computation():
    random = np.random.default_rng(1)
    groups = np.repeat([f"g{i}" for i in range(7)], 3)
    draws = draw_images(groups, 6, 0, 0)
    comparison = Comparison.of(draws)
    patterns = {name: random.standard_normal((21, 5)) for name in ("full", "base", "brain")}
    full, base, brain = (pdist(values, "sqeuclidean") for values in patterns.values())
    rows = np.stack([full, full])
    point, boot, null = comparison.score(rows, base, np.array([False, True]), brain)
    assert point[0] == pytest.approx(pearsonr(full, brain)[0], abs=1e-5)

    def partial(x, y, z):
        x, y = (v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y))
        return pearsonr(x, y)[0]

    assert point[1] == pytest.approx(partial(full, brain, base), abs=1e-5)
    for draw, (counts, moved) in enumerate(zip(draws.counts, draws.permutations, strict=True)):
        # Images as they were drawn, one after the other; an image is no pair with its double.
        images = np.repeat(np.arange(21), counts)
        first, second = np.triu_indices(len(images), 1)
        kept = images[first] != images[second]
        resampled = [pdist(values[images], "sqeuclidean")[kept] for values in patterns.values()]
        assert boot[draw, 0] == pytest.approx(pearsonr(resampled[0], resampled[2])[0], abs=1e-4)
        assert boot[draw, 1] == pytest.approx(
            partial(resampled[0], resampled[2], resampled[1]), abs=1e-4
        )
        permuted = pdist(patterns["brain"][moved], "sqeuclidean")
        assert null[draw, 0] == pytest.approx(pearsonr(full, permuted)[0], abs=1e-5)
        slope, intercept = np.polyfit(base, brain, 1)
        # Rows and columns of the residual change places together.
        square = np.zeros((21, 21))
        square[np.triu_indices(21, 1)] = brain - slope * base - intercept
        square += square.T
        residual = square[np.ix_(moved, moved)][np.triu_indices(21, 1)]
        assert null[draw, 1] == pytest.approx(partial(full, residual, base), abs=1e-5)


def test_no_pair_of_two_folds_is_compared():
    random = np.random.default_rng(2)
    activation, gradient, values = planted(random)
    features, responses = make_features(activation, gradient), make_responses(values)
    before = rdms_of(features, responses)[0].rdms
    # A constant for all images of a fold changes every distance across folds, and none within.
    folds = grouped_folds(responses.groups, SETTINGS.n_folds, SETTINGS.seed)
    split = outer_splits(responses.groups, SETTINGS.n_folds, SETTINGS.seed, None)[1]
    made = []
    for shift in (0.0, 5.0 * (folds[split.held_out] == 1)):
        rdms = FoldRdms(
            responses,
            split,
            responses.values[:, split.held_out] + shift,
            np.ones((len(values), 1)),
            rows=before.rows,
            max_images=200,
            n_draws=5,
            seed=0,
        )
        for row in before.rows:
            rdms.add(row.fit, responses.values[:, split.held_out] ** 2 + shift)
        made.append(rdms.scores((ALL_ACTIVATIONS,))[0])
    np.testing.assert_allclose(made[0], made[1], atol=1e-4)
    n_pairs = sum(n * (n - 1) // 2 for n in np.bincount(folds))
    assert n_pairs < len(folds) * (len(folds) - 1) // 2


def test_a_rotation_of_targets_changes_no_score():
    random = np.random.default_rng(3)
    activation, gradient, values = planted(random)
    turn = np.linalg.qr(random.standard_normal((len(values), len(values))))[0]
    scores = [
        rdms_of(make_features(activation, gradient), make_responses(turned, pooled=True))[0].rdms
        for turned in (values, turn @ values)
    ]
    np.testing.assert_allclose(scores[0].score, scores[1].score, atol=1e-4)
    np.testing.assert_allclose(scores[0].null, scores[1].null, atol=1e-4)


def test_groups_are_whole_among_the_images_that_are_drawn():
    groups = np.repeat([f"g{i:02d}" for i in range(20)], 7)
    for fold in range(3):
        own = groups[images_compared(groups, 50, 0, fold)]
        assert len(own) == 49
        assert set(np.unique(own, return_counts=True)[1]) == {7}
    np.testing.assert_array_equal(images_compared(groups, 140, 0, 0), np.arange(140))


def test_a_fold_of_one_group_has_no_score_and_says_so(caplog):
    random = np.random.default_rng(4)
    activation, gradient, values = planted(random, n_images=40)
    groups = np.repeat(["a", "b", "c", "d"], 10)
    found = rdms_of(make_features(activation, gradient), make_responses(values, groups))[0].rdms
    assert np.isnan(found.score).all()
    assert "too few for dissimilarities" in caplog.text


def test_distances_without_noise_are_unbiased_as_those_over_repeats():
    """Subtracting the expected noise agrees with cross-validated distances over repeats."""
    random = np.random.default_rng(5)
    n_images, n_targets, n_data_sets = 12, 400, 200
    truth = random.standard_normal((n_targets, n_images))
    n_repeats = np.where(np.arange(n_images) < 6, 2, 8)
    pairs = np.triu_indices(n_images, 1)
    true = squared_distances(truth, pairs)
    plain, corrected, crossed = (np.zeros(len(true)) for _ in range(3))
    for _ in range(n_data_sets):
        halves = [
            truth + random.standard_normal(truth.shape) / np.sqrt(n_repeats / 2) for _ in range(2)
        ]
        mean = sum(halves) / 2
        noise = np.full(n_targets, (1.0 / n_repeats).mean())
        distances = squared_distances(mean, pairs)
        plain += distances / n_data_sets
        corrected += (distances - noise_of_pairs(noise, n_repeats, pairs)) / n_data_sets
        steps = [half[:, pairs[0]] - half[:, pairs[1]] for half in halves]
        crossed += (steps[0] * steps[1]).sum(axis=0) / n_data_sets
    standard_error = 2 * np.sqrt(2 * n_targets) / np.sqrt(n_data_sets)
    assert np.abs(plain - true).max() > 20 * standard_error
    assert np.abs(corrected - true).max() < 5 * standard_error
    assert np.abs(crossed - true).max() < 5 * standard_error


def test_unequal_repeats_no_longer_pull_the_correlation():
    """Images with little noise look close together; the predicted distances do not say so."""
    random = np.random.default_rng(6)
    activation, gradient, values = planted(random, n_images=120, unique=0.0, noise=0.0)
    n_repeats = np.where(np.arange(120) % 2, 1, 16)
    noisy = values + 1.5 * random.standard_normal(values.shape) / np.sqrt(n_repeats)
    noise = 1.5**2 * (1.0 / n_repeats).mean()
    ceiling = 1.0 - noise / noisy.var(axis=1)
    scores = []
    for known in (None, ceiling):
        responses = make_responses(noisy, n_repeats=n_repeats, ceiling=known)
        averages, keys = rdms_of(make_features(activation, gradient), responses)
        scores.append(averages.rdms.score[keys.index((ACTIVATION, RDM_R.name)), 0])
    assert scores[1] > scores[0] + 0.1


def test_a_planted_signal_is_found_and_the_activation_beside_it():
    random = np.random.default_rng(7)
    averages, keys = rdms_of(
        *map_planted(planted(random, n_images=160, unique=1.0, noise=0.7, n_targets=60))
    )
    score, null = averages.rdms.score[:, 0], averages.rdms.null[..., 0]
    for key in ((ACTIVATION, RDM_R.name), (GRADIENT, RDM_R.name), (GRADIENT, UNIQUE_RDM_R.name)):
        place = keys.index(key)
        assert score[place] > np.abs(null[:, place]).max(), key
    full, base = (
        score[keys.index(key)]
        for key in ((GRADIENT, FULL_RDM_R.name), (ALL_ACTIVATIONS, RDM_R.name))
    )
    assert full > base + 0.05


def map_planted(made):
    activation, gradient, values = made
    return make_features(activation, gradient), make_responses(values)


@pytest.mark.parametrize(
    ("measure", "unique", "signal"),
    [(UNIQUE_RDM_R, 0.0, GRADIENT), (RDM_R, 0.0, GRADIENT)],
    ids=["beside-activations", "alone"],
)
def test_a_signal_that_a_brain_does_not_hold_passes_as_often_as_it_should(measure, unique, signal):
    n_seeds, alpha, hits = 60, 0.1, 0
    for seed in range(n_seeds):
        random = np.random.default_rng([8, seed])
        averages, keys = rdms_of(*map_planted(planted(random, unique=unique, n_images=60)))
        place = keys.index((signal, measure.name))
        null = averages.rdms.null[:, place, 0]
        hits += (1 + (null >= averages.rdms.score[place, 0]).sum()) / (1 + len(null)) <= alpha
    assert binomtest(hits, n_seeds, alpha, alternative="greater").pvalue > 0.01, hits


def test_rows_name_every_signal_alone_and_beside_the_baseline():
    rows = make_features(np.ones((3, 2)), np.ones((3, 2))).fits.rdm_rows
    assert [(row.signal, row.measure) for row in rows] == [
        (ACTIVATION, "rdm_r"),
        (ALL_ACTIVATIONS, "rdm_r"),
        (GRADIENT, "rdm_r"),
        (GRADIENT, "full_rdm_r"),
        (GRADIENT, "unique_rdm_r"),
    ]


def test_without_being_asked_for_nothing_is_compared():
    random = np.random.default_rng(9)
    features, responses = map_planted(planted(random, n_images=40))
    assert SplitFits(features, responses, SETTINGS).run().rdms is None


def test_a_constant_prediction_scores_zero_and_a_constant_response_nothing():
    comparison = Comparison.of(
        ImageDraws(np.ones((2, 5), dtype=np.int64), np.array([[1, 0, 2, 3, 4]] * 2))
    )
    distances = np.random.default_rng(10).random(10)
    beside = np.array([False, True])
    rows = np.stack([np.ones(10), distances])
    point, _, null = comparison.score(rows, distances, beside, np.arange(10.0))
    assert point.tolist() == [0.0, 0.0]
    assert (null == 0).all()
    point, boot, _ = comparison.score(rows, distances, beside, np.ones(10))
    assert np.isnan(point).all() and np.isnan(boot).all()
