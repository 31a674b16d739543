import numpy as np
import pytest
from scipy.stats import pearsonr

from gradbrain.hierarchy.correlation import correlation_with
from gradbrain.hierarchy.spatial import (
    best_layer_depth,
    distance_ranks,
    has_distances,
    high_minus_early,
    mean_by_region,
    regions_above_chance,
    spatial_correlation,
)

DEPTHS = np.array([0.1, 0.5, 0.9])


def test_best_layer_is_the_depth_of_the_highest_score_of_each_target():
    scores = np.array([[0.3, 0.1, 0.0], [0.2, 0.4, 0.1], [0.1, 0.3, 0.5]])
    np.testing.assert_array_equal(best_layer_depth(scores, DEPTHS, "argmax"), [0.1, 0.5, 0.9])


def test_centre_of_mass_weighs_depth_by_positive_scores_only():
    scores = np.array([[1.0, -5.0], [0.0, 1.0], [1.0, 3.0]])
    found = best_layer_depth(scores, DEPTHS, "centre_of_mass")
    np.testing.assert_allclose(found, [0.5, 0.25 * 0.5 + 0.75 * 0.9])


def test_best_layer_is_unknown_where_nothing_is_known_or_nothing_positive():
    scores = np.array([[np.nan, -1.0], [np.nan, -2.0], [np.nan, -3.0]])
    for method in ("argmax", "centre_of_mass"):
        assert np.isnan(best_layer_depth(scores, DEPTHS, method)).all()
    # A fit that leaves the signal out gives exactly zero, in many layers: none of them is best.
    assert np.isnan(best_layer_depth(np.zeros((3, 1)), DEPTHS, "argmax"))


def test_layers_that_share_the_best_score_share_its_depth():
    scores = np.array([[0.2], [0.1], [0.2]])
    assert best_layer_depth(scores, DEPTHS, "argmax")[0] == pytest.approx(0.5)


def test_a_region_above_chance_exceeds_the_maxima_of_permuted_images():
    rng = np.random.default_rng(0)
    null = 0.1 * rng.standard_normal((1000, 5, 3))
    chance = np.percentile(null.max(axis=1), 95, axis=0)
    scores = np.zeros((5, 3))
    scores[2] = [chance[0] * 1.01, chance[1] * 0.99, 0.0]
    np.testing.assert_array_equal(regions_above_chance(scores, null), [True, False, False])
    # Beyond every permuted image, and still nothing.
    assert not regions_above_chance(np.full((5, 1), -0.1), np.full((9, 5, 1), -1.0)).any()


def test_few_draws_let_no_more_regions_pass():
    """The observed scores are one more draw: 20 draws are a test at 1/21."""
    scores = np.random.default_rng(2).standard_normal((400, 21, 4, 10))
    passed = [regions_above_chance(one[0], one[1:]) for one in scores]
    # Standard error .004.
    assert np.mean(passed) == pytest.approx(1 / 21, abs=0.012)


def test_a_score_that_is_not_known_never_wins():
    scores = np.array([[0.1], [np.nan], [0.2]])
    assert best_layer_depth(scores, DEPTHS, "argmax")[0] == 0.9


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="'median' is unknown; choose one of"):
        best_layer_depth(np.zeros((3, 1)), DEPTHS, "median")


def test_statistics_of_draws_equal_those_of_each_draw():
    random = np.random.default_rng(0)
    draws = random.standard_normal((7, 3, 6))
    mm = {f"r{k}": float(k * k) for k in range(6)}
    for method in ("argmax", "centre_of_mass"):
        together = spatial_correlation(best_layer_depth(draws, DEPTHS, method), list(mm), mm)
        one_by_one = [
            spatial_correlation(best_layer_depth(draw, DEPTHS, method), list(mm), mm)
            for draw in draws
        ]
        np.testing.assert_allclose(together, one_by_one)


def test_region_means_leave_out_unknown_targets():
    values = np.array([1.0, np.nan, 3.0, 5.0])
    regions = np.array(["V1", "V1", "V2", "V2"])
    np.testing.assert_array_equal(
        mean_by_region(values, regions, ["V1", "V2", "V3"]), [1.0, 4.0, np.nan]
    )


def test_high_minus_early_is_the_difference_of_pole_means():
    values = np.array([[1.0, 2.0, 10.0, 20.0], [0.0, 0.0, 0.0, 1.0]])
    found = high_minus_early(values, ["V1", "V2", "V3", "LO"], ["V1", "V2"], ["LO"])
    np.testing.assert_array_equal(found, [18.5, 1.0])
    assert np.isnan(high_minus_early(values, ["a", "b", "c", "d"], ["V1"], ["d"])).all()


def test_spatial_correlation_is_pearson_over_regions_with_a_distance():
    depth = np.array([0.2, 0.5, 0.3, 0.9, 0.1])
    mm = {"a": 0.0, "b": 10.0, "c": 15.0, "d": 40.0}
    found = spatial_correlation(depth, ["a", "b", "c", "d", "e"], mm)
    assert found == pytest.approx(pearsonr([0, 10, 15, 40], depth[:4]).statistic)


def test_correlation_needs_more_than_three_regions_with_a_distance():
    mm = {"a": 0.0, "b": 1.0, "c": 2.0}
    assert not has_distances(["a", "b", "c", "d"], mm)
    assert has_distances(["a", "b", "c", "d"], mm | {"d": 3.0})


def test_the_same_best_layer_everywhere_is_no_hierarchy():
    assert correlation_with(np.arange(4.0), np.full(4, 0.3)) == 0.0
    assert np.isnan(correlation_with(np.ones(4), np.arange(4.0)))
    assert np.isnan(correlation_with(np.arange(4.0), np.array([1.0, 2.0, np.nan, np.nan])))


def test_correlation_ignores_units_and_origin():
    random = np.random.default_rng(1)
    x, y = random.standard_normal(8), random.standard_normal((3, 8))
    np.testing.assert_allclose(
        correlation_with(1000 + 3 * x, 0.1 * y - 7), correlation_with(x, y), atol=1e-10
    )


def test_ranks_of_distance_start_at_one_and_ties_share_theirs():
    mm = np.array([0.0, 80.0, 12.0, 80.0, np.nan, 40.0])
    everywhere = np.isfinite(mm)
    np.testing.assert_array_equal(distance_ranks(mm, everywhere), [1, 4.5, 2, 4.5, np.nan, 3])
    # Of each map among the regions that it has.
    known = np.array([everywhere, [True, True, False, True, True, True]])
    expected = [[1, 4.5, 2, 4.5, np.nan, 3], [1, 3.5, np.nan, 3.5, np.nan, 2]]
    np.testing.assert_array_equal(distance_ranks(mm, known), expected)


def test_a_region_without_a_best_layer_has_no_rank():
    """Ranks 1, 2, 3, 5 would stretch the distance of the last region, whatever it is in mm."""
    names = ["V1", "V2", "V3", "V4", "LO"]
    mm = dict(zip(names, (0.0, 12.0, 20.0, 33.0, 45.0), strict=True))
    depth = np.array([0.1, 0.5, 0.4, np.nan, 0.6])
    alone = spatial_correlation(depth[[0, 1, 2, 4]], [*names[:3], "LO"], mm, rank=True)
    found = spatial_correlation(depth, names, mm, rank=True)
    assert found == alone == pytest.approx(pearsonr([1, 2, 3, 4], depth[[0, 1, 2, 4]]).statistic)
    # Nor has a region that has a distance and was not scored.
    assert spatial_correlation(depth, names, mm | {"FFA": 30.0}, rank=True) == found
    # Nor one that has a best layer and no distance.
    assert spatial_correlation(np.append(depth, 0.2), [*names, "A1"], mm, rank=True) == found
