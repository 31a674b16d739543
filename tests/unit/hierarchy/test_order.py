"""Orders against arbitrary maps that people share."""

import numpy as np
import pytest

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.correlation import correlation_with
from gradbrain.hierarchy.order import draw_correlations, order_of_claim, order_test
from gradbrain.hierarchy.statistics import sign_flip_test
from gradbrain.hierarchy.summaries import summarise_all

N_PEOPLE = 6


def along(values):
    return correlation_with(np.arange(values.shape[-1], dtype=float), values)


def smoothness(n, neighbours):
    place = np.arange(n)
    return neighbours ** np.abs(place[:, None] - place)


def people(common, random):
    return common + 0.05 * random.standard_normal((N_PEOPLE, len(common)))


@pytest.mark.parametrize("n", [4, 6])
def test_a_perfect_order_has_the_smallest_p_that_so_many_places_allow(n):
    found = order_test(np.tile(np.arange(n), (N_PEOPLE, 1)), along, np.eye(n))
    exact = 1 / np.prod(np.arange(1, n + 1))
    assert found.p == found.p_min == pytest.approx(exact, abs=0.006)
    assert found.p_opposite == 1.0
    falling = order_test(np.tile(-np.arange(n), (N_PEOPLE, 1)), along, np.eye(n))
    assert falling.p == 1.0 and falling.p_opposite == pytest.approx(exact, abs=0.006)


def test_places_that_are_alike_are_no_independent_witnesses():
    maps = np.tile(np.arange(4.0), (N_PEOPLE, 1))
    free, alike = (order_test(maps, along, smoothness(4, r)) for r in (0.0, 0.9))
    assert free.p_min < 0.05 < alike.p_min
    # Places that are all equally alike are exchangeable.
    equal = 0.2 * np.eye(4) + 0.8
    assert order_test(maps, along, equal).p == pytest.approx(free.p, abs=0.006)


def test_a_map_without_any_order_is_not_tested_as_one():
    flat = order_test(np.ones((N_PEOPLE, 6)), along, np.eye(6))
    assert flat.p == flat.p_opposite == 1.0
    unknown = order_test(np.full((N_PEOPLE, 6), np.nan), along, np.eye(6))
    assert np.isnan(unknown.p)


def test_a_place_that_some_lack_takes_its_gap_along():
    maps = np.tile(np.arange(7.0), (N_PEOPLE, 1))
    maps[:2, 3] = np.nan
    maps[:, 5] = np.nan
    found = order_test(maps, along, np.eye(7))
    assert found.p == found.p_min < 0.01


@pytest.mark.parametrize("neighbours", [0.0, 0.6])
def test_arbitrary_maps_pass_as_seldom_as_the_level_says_and_planted_ones_often(neighbours):
    """People's signs alone pass the same maps in a third of cases and more."""
    random = np.random.default_rng(5)
    similarity = smoothness(7, neighbours)
    mixing = np.linalg.cholesky(similarity)
    passed, flipped, planted = [], [], []
    for seed in range(200):
        maps = people(mixing @ random.standard_normal(7), random)
        passed.append(order_test(maps, along, similarity, seed=seed).p <= 0.05)
        flipped.append(sign_flip_test(along(maps)).p <= 0.05)
        if seed < 50:
            noisy = np.linspace(0, 1, 7) + 0.1 * random.standard_normal(7)
            found = order_test(people(noisy, random), along, similarity, seed=seed)
            planted.append(found.p <= 0.05)
    # Two standard errors of 200 cases above the level.
    assert np.mean(passed) <= 0.08
    assert np.mean(flipped) > 0.3
    assert np.mean(planted) > 0.8


def test_how_alike_places_are_is_their_correlation_over_draws():
    random = np.random.default_rng(0)
    draws = random.standard_normal((3, 50, 4)) @ np.linalg.cholesky(smoothness(4, 0.5)).T
    draws[..., 3] = 0.0
    found = draw_correlations(draws)
    for outer in range(3):
        expected = np.corrcoef(draws[outer, :, :3], rowvar=False)
        np.testing.assert_allclose(found[outer, :3, :3], expected)
        np.testing.assert_array_equal(found[outer, 3], 0.0)


@pytest.mark.parametrize("statistic", ["spatial_r", "spatial_rank_r"])
def test_the_order_that_is_tested_is_that_of_the_table(
    statistic, make_subject_stores, read_scores, monkeypatch
):
    """Where a region is not above chance, and another that has a distance was not scored."""

    def truth(signal, measure, depth):
        centre = np.array([0.2, 0.8, 0.6, 0.4, 1.0])
        return np.where(np.arange(5) == 3, -0.1, 0.5 - 0.2 * np.abs(centre - depth))

    distances = {"V1": 0.0, "V2": 12.0, "V3": 20.0, "V4": 33.0, "FFA": 35.0, "LO": 45.0}
    paths = [
        make_subject_stores(f"brain-s{k}", truth=truth, noise=0.001, seed=k, roi_distance=distances)
        for k in range(3)
    ]
    subjects = read_scores([path for own in paths for path in own])
    found = summarise_all(subjects, StatisticsSettings())
    table = found.table
    known = table[(table["statistic"] == statistic) & (table["signal"] == "activation")]
    known = known[known["best_layer"] == "argmax"]
    assert len(known) == 3 and (known["n"] == 4).all()
    seen = []
    monkeypatch.setattr(
        "gradbrain.hierarchy.order.order_test",
        lambda maps, order, similarity, seed: seen.append(order(maps)),
    )
    order_of_claim(found, known, sign=1.0, seed=0)
    np.testing.assert_allclose(seen[0], known["value_at_units"])
