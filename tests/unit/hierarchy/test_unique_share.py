"""Shares of the explainable variance: tests, bounds and power on brains drawn from their model."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from gradbrain.hierarchy.unique_share import FLAT, SCALED, Cells, GroupShare, PersonShare

N_DRAWS, MARGIN = 199, 0.05
NOISE, EXPLAINABLE, HELD = 0.01, 0.4, (1.0, 0.5)
CROSS, DOSE = 2e-4, 1e-3


def person(random, share=0.0, kernel=SCALED, noise=NOISE, explainable=EXPLAINABLE):
    """A person who holds a share of the signal along one of the kernels."""
    v = share * explainable
    spread = noise**2 + 4 * v * (1 - v) * CROSS + v**2 * DOSE
    return PersonShare(
        component=v * HELD[kernel] + np.sqrt(spread) * random.standard_normal(),
        null=noise * random.standard_normal(N_DRAWS),
        explainable=explainable,
        held=HELD,
        cross_variance=(CROSS, CROSS),
        dose_variance=(DOSE, DOSE),
    )


def group(random, n=6, population=True, **facts):
    return GroupShare([person(random, **facts) for _ in range(n)], population)


def cells(people, *, population=True, shape=(1, 1)):
    """The same people where they are read at one layer and unit."""

    def of_all(name):
        return np.array([np.broadcast_to(getattr(one, name)[FLAT], shape) for one in people])

    return Cells(
        component=np.array([np.broadcast_to(one.component, shape) for one in people]),
        null=np.array(
            [np.broadcast_to(one.null[:, None, None], (N_DRAWS, *shape)) for one in people]
        ),
        explainable=np.array([np.broadcast_to(one.explainable, shape[1:]) for one in people]),
        population=population,
        **{name: of_all(name) for name in ("held", "cross_variance", "dose_variance")},
    )


def holding(component, explainable=EXPLAINABLE, seed=0):
    return replace(
        person(np.random.default_rng(seed), explainable=explainable), component=component
    )


def people_at(values, **facts):
    return [holding(value, seed=seed, **facts) for seed, value in enumerate(values)]


@pytest.mark.parametrize(("n", "population"), [(6, True), (3, False), (1, False)])
def test_bounds_and_intervals_contain_the_truth(n, population):
    random = np.random.default_rng(n)
    share, repeats = 0.3, 120
    below, within, above = 0, 0, 0
    for _ in range(repeats):
        scaled = group(random, n, population, share=share)
        low, high = scaled.interval()
        within += low <= share <= high
        below += scaled.lower() <= share + 1e-9
        flat = group(random, n, population, share=share, kernel=FLAT)
        above += cells(flat.people, population=population).upper() >= share - 0.01
    # 95 % of 120: fewer than 107 in less than .5 % of cases.
    assert min(below, within, above) >= 107


def test_a_margin_that_is_held_is_neither_found_nor_ruled_out_more_often_than_at_the_level():
    random = np.random.default_rng(1)
    found, missed = 0, 0
    for _ in range(200):
        found += group(random, share=MARGIN).above(MARGIN).p <= 0.05
        missed += cells(group(random, share=MARGIN, kernel=FLAT).people).absent(MARGIN) <= 0.05
    assert found <= 19 and missed <= 19


def test_bounds_and_p_follow_the_estimate():
    apart = 0.003 * (np.arange(6) - 2.5)
    groups = [people_at(level + apart) for level in (0.0, 0.02, 0.05, 0.1, 0.2)]
    lower = [GroupShare(people, True).lower() for people in groups]
    p = [GroupShare(people, True).above(MARGIN).p for people in groups]
    upper = [cells(people).upper() for people in groups]
    absent = [cells(people).absent(MARGIN) for people in groups]
    assert lower == sorted(lower) and upper == sorted(upper) and absent == sorted(absent)
    assert p == sorted(p, reverse=True)
    assert lower[0] <= 0.05 and p[0] > 0.9 and absent[0] < 0.05
    assert lower[-1] > MARGIN and p[-1] < 0.05 and absent[-1] > 0.9
    assert all(low <= high for low, high in zip(lower, upper, strict=True))


def with_maps(some, random):
    """The same people, who choose each other's places: theirs, and another that holds nothing."""
    maps = []
    for one in some.people:
        own = np.array([[one.component, NOISE * random.standard_normal()]])
        expected = np.multiply.outer(HELD, np.full((1, 2), one.explainable))
        names = {"layer": ["one"], "unit": ["here", "there"]}
        dims = ("layer", "unit")
        maps.append(
            (
                xr.DataArray(own, dims=dims, coords=names),
                xr.DataArray(expected, dims=("kernel", *dims), coords=names),
            )
        )
    return replace(some, maps=tuple(maps))


@pytest.mark.parametrize("n", [4, 6, 8])
def test_the_lower_bound_is_above_the_margin_where_the_test_is_passed_and_nowhere_else(n):
    random = np.random.default_rng(n)
    margin = MARGIN * EXPLAINABLE
    # All beyond the margin, one of them far: by Student's t the six would not exceed it.
    ragged = margin + np.array([0.3, *np.full(n - 1, 0.03)])
    groups = [GroupShare(people_at(ragged), True)]
    groups += [group(random, n, share=share) for share in (0.0, 0.05, 0.08, 0.1) for _ in range(5)]
    passed = []
    for some in groups:
        for one in (some, with_maps(some, random)):
            passed.append(one.above(MARGIN).p <= 0.05)
            assert (one.lower() > MARGIN) == passed[-1]
    # Four people have sixteen patterns of signs, of which one is no rare one.
    assert not any(passed) if n == 4 else passed[0] and 2 < sum(passed) < len(passed)


def test_a_share_is_less_absent_the_larger_it_is():
    some = cells(group(np.random.default_rng(2)).people)
    found = [some.absent(share) for share in (0.01, 0.05, 0.2, 0.5)]
    assert found == sorted(found, reverse=True) and found[-1] < 0.01


def test_one_person_is_bounded_by_images_alone():
    alone = GroupShare([holding(0.1)], population=False)
    found = alone.judge(MARGIN)
    assert found.estimate == pytest.approx(0.1 / EXPLAINABLE)
    assert found.low < found.lower < found.estimate < found.high
    assert found.test.p == found.test.p_min == 1 / (1 + N_DRAWS)
    assert found.ceiling_low == EXPLAINABLE
    assert found.lower <= cells(alone.people, population=False).upper()


def test_a_population_counts_the_spread_of_people():
    alike = people_at(np.full(6, 0.1) + 0.001 * np.arange(6))
    apart = people_at(np.array([0.35, 0.3, 0.15, -0.05, -0.05, -0.085]))
    assert sum(one.component for one in alike) == pytest.approx(sum(one.component for one in apart))
    of_images = [GroupShare(people, False) for people in (alike, apart)]
    assert of_images[0].lower() == of_images[1].lower()
    of_people = [GroupShare(people, True) for people in (alike, apart)]
    assert of_people[0].lower() > 2 * of_people[1].lower()
    assert of_people[0].above(MARGIN).p == 1 / 64 < of_people[1].above(MARGIN).p
    width = [high - low for low, high in (one.interval() for one in of_people)]
    assert width[1] > 3 * width[0]
    assert cells(apart).upper() > cells(alike).upper()


def test_what_is_detectable_is_found_four_times_of_five():
    random = np.random.default_rng(3)
    some = group(random)
    share = some.detectable(MARGIN)
    assert MARGIN < share < 0.3
    assert some.power(share, MARGIN) >= 0.8 > some.power(share - 0.02, MARGIN)
    tests = [group(random, share=share).above(MARGIN).p <= 0.05 for _ in range(100)]
    # .8 of 100, and a group of its own each: fewer than 65 in less than .1 % of cases.
    assert np.sum(tests) >= 65
    # Of a hundredth of it not even all can be told from nothing.
    assert np.isnan(group(random, explainable=0.004).detectable(MARGIN))


def test_a_ceiling_that_is_not_known_well_makes_the_test_less_sure():
    values = np.full(6, 0.05)
    sure = GroupShare(people_at(values), False)
    unsure = GroupShare(
        [replace(one, explainable=c) for one, c in zip(sure.people, RAGGED, strict=True)], False
    )
    assert unsure.explainable == pytest.approx(sure.explainable)
    assert 0 < unsure.ceiling_low() < sure.ceiling_low() == pytest.approx(EXPLAINABLE)
    assert unsure.lower() <= sure.lower()
    drawn = [one.draws(0.3, SCALED).sum(axis=0).std() for one in (sure, unsure)]
    assert drawn[1] > 1.5 * drawn[0]


RAGGED = (0.1, 0.7, 0.2, 0.6, 0.1, 0.7)


def test_a_share_that_could_not_be_seen_is_not_absent():
    low = people_at(0.001 * (np.arange(6) - 2.5))
    assert cells(low).absent(MARGIN) < 0.05
    blind = [replace(one, held=(1.0, 0.0)) for one in low]
    assert cells(blind).absent(MARGIN) > 0.9
    nothing = [replace(one, explainable=0.0) for one in low]
    assert cells(nothing).absent(MARGIN) == 1.0
    assert cells([replace(one, component=np.nan) for one in low]).absent(MARGIN) == 1.0


def test_a_share_is_absent_only_where_it_is_absent_everywhere():
    low = people_at(0.001 * (np.arange(6) - 2.5))
    everywhere = cells(low, shape=(2, 3))
    assert everywhere.absent(MARGIN) == pytest.approx(cells(low).absent(MARGIN))
    component = everywhere.component.copy()
    component[:, 1, 2] = 0.05
    one_place = replace(everywhere, component=component)
    assert one_place.absent(MARGIN) > 0.9 and one_place.upper() > 2 * everywhere.upper()
    # A unit that nobody has, as times before onset, is no place.
    component[:, :, 2] = np.nan
    without = replace(everywhere, component=component)
    assert without.absent(MARGIN) == pytest.approx(everywhere.absent(MARGIN))


@pytest.mark.parametrize("explainable", [0.0, -0.02, np.nan])
def test_a_place_without_explainable_variance_hides_no_share(explainable):
    """Such as an early time that has no ceiling: its estimates are the same whatever is held."""
    everywhere = cells(people_at(0.001 * (np.arange(6) - 2.5)), shape=(2, 3))
    assert everywhere.absent(MARGIN) < 0.05 and everywhere.upper() < 1.0
    of_units = everywhere.explainable.copy()
    of_units[:, 2] = explainable
    early = replace(everywhere, explainable=of_units)
    assert early.absent(MARGIN) == pytest.approx(everywhere.absent(MARGIN))
    assert early.upper() == everywhere.upper()
    # Of one person who has some there, the place counts.
    of_units[0, 2] = EXPLAINABLE
    assert replace(everywhere, explainable=of_units).absent(MARGIN) > everywhere.absent(MARGIN)


def test_a_unit_that_one_person_has_is_judged_by_images_alone():
    some = cells(people_at(0.001 * (np.arange(6) - 2.5)), shape=(2, 3))
    component, null, explainable = (
        values.copy() for values in (some.component, some.null, some.explainable)
    )
    for values in (component, null, explainable):
        values[1:, ..., 2] = np.nan
    # All that this person has there is the signal.
    component[0, :, 2] = EXPLAINABLE * HELD[FLAT]
    held = replace(some, component=component, null=null, explainable=explainable)
    assert held.absent(MARGIN) == 1.0 and held.upper() > 0.5
    alone = replace(held, population=False)
    assert held.absent(MARGIN) == alone.absent(MARGIN)
    component[0, :, 2] = np.nan
    assert replace(held, component=component).absent(MARGIN) < 0.05


def test_draws_are_those_of_the_model():
    one = person(np.random.default_rng(4))
    one = replace(one, null=NOISE * np.random.default_rng(5).standard_normal(100_000))
    share = 0.5
    v = share * EXPLAINABLE
    for kernel in (SCALED, FLAT):
        drawn = one.draws(share, kernel, np.random.default_rng(6).standard_normal(100_000))
        assert drawn.mean() == pytest.approx(v * HELD[kernel], rel=0.01)
        expected = ((1 - v) * NOISE) ** 2 + 4 * v * (1 - v) * CROSS + v**2 * DOSE
        assert drawn.var() == pytest.approx(expected, rel=0.02)
    np.testing.assert_array_equal(one.draws(0.0, SCALED, np.ones(100_000)), one.null)


def test_shares_that_are_asked_together_have_the_draws_that_each_has_alone():
    some = group(np.random.default_rng(8))
    shares = np.array([0.0, 0.1, 0.7])
    together = some.draws(shares, FLAT)
    assert together.shape == (3, 6, N_DRAWS)
    for share, drawn in zip(shares, together, strict=True):
        np.testing.assert_array_equal(drawn, some.draws(share, FLAT))
    np.testing.assert_array_equal(
        some.power(shares, MARGIN), [some.power(share, MARGIN) for share in shares]
    )


def test_the_null_of_a_group_is_that_of_the_sum_over_who_has_the_unit(monkeypatch):
    """Draws are shared by people: the variance of a sum is that of the summed draws."""
    random = np.random.default_rng(9)
    some = cells(group(random).people, shape=(2, 3))
    shared = NOISE * random.standard_normal((1, N_DRAWS, 2, 3))
    null, component = some.null + shared, some.component.copy()
    null[2, ..., 1], component[2, ..., 1] = np.nan, np.nan
    some = replace(some, null=null, component=component)
    share = 0.3
    v = (share * some.explainable)[:, None]
    spread = 4 * v * (1 - v) * some.cross_variance + v**2 * some.dose_variance
    drawn = np.nansum((1 - v)[:, None] * null, axis=0)
    mean = drawn.mean(axis=0) + (v * some.held).sum(axis=0)
    deviation = np.sqrt(drawn.var(axis=0, ddof=1) + spread.sum(axis=0))
    expected = norm.cdf((np.nansum(component, axis=0) - mean) / deviation)
    np.testing.assert_allclose(some._by_images(np.array([share]))[0], expected, rtol=1e-9)
    upper = some.upper()
    monkeypatch.setattr("gradbrain.hierarchy.unique_share.VALUES_AT_ONCE", 1)
    assert some.upper() == upper
