"""Times above chance, over all times and layers of a model at once."""

from dataclasses import replace

import numpy as np
import pytest

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.time_courses import enhance, image_p, people_p, time_courses


def by_definition(heights, step):
    """TFCE of one course, point by point and height by height."""
    found = np.zeros(len(heights))
    for point in range(len(heights)):
        for number in range(1, int(heights.max() / step + 1e-9) + 1):
            height = number * step
            if heights[point] < height:
                continue
            start, stop = point, point + 1
            while start > 0 and heights[start - 1] >= height:
                start -= 1
            while stop < len(heights) and heights[stop] >= height:
                stop += 1
            found[point] += (stop - start) ** 0.5 * height**2 * step
    return found


def test_enhancement_is_the_sum_over_heights_of_extent_and_height():
    heights = np.random.default_rng(0).standard_normal((2, 3, 12))
    found = enhance(heights, 0.1)
    for layer in range(3):
        for place in range(2):
            expected = by_definition(np.pad(heights[place, layer], 0), 0.1)
            np.testing.assert_allclose(found[place, layer], expected, atol=1e-12)
    assert (found[heights <= 0] == 0).all()


def bump(times, height):
    return height * np.exp(-(((times - 0.3) / 0.05) ** 2))


def draws_of(random, *shape, n_times=40):
    """Smooth noise: sums of three neighbouring times."""
    noise = random.standard_normal((*shape, n_times + 2))
    return noise[..., :-2] + noise[..., 1:-1] + noise[..., 2:]


def test_a_bump_passes_where_it_is_and_nothing_else_does():
    random = np.random.default_rng(1)
    times = np.arange(1, 41) / 40
    null = 0.01 * draws_of(random, 6, 199, 3)
    scores = 0.01 * draws_of(random, 6, 3)
    scores[:, 1] += bump(times, 0.1)
    for p, p_min in ((image_p(scores, null), 1 / 200), people_p(scores, 0)):
        passed = p <= 0.05
        assert passed[1, np.argmin(np.abs(times - 0.3))]
        assert not passed[[0, 2]].any()
        assert not passed[1, np.abs(times - 0.3) > 0.25].any()
        assert p.min() == pytest.approx(p_min)
    assert people_p(scores, 0)[1] == 1 / 64


def test_with_few_people_no_pattern_of_signs_is_rare():
    scores = np.ones((3, 1, 10))
    p, p_min = people_p(scores, 0)
    assert p_min == 1 / 8 and p.min() == 1 / 8


@pytest.mark.parametrize("bias", [0.0, -0.02, 0.02])
def test_noise_passes_somewhere_in_one_of_twenty_studies(bias):
    """Whatever the mean of useless scores is."""
    random = np.random.default_rng(2)
    images, people = [], []
    for _ in range(200):
        null = bias + 0.01 * draws_of(random, 6, 99, 3)
        scores = bias + 0.01 * draws_of(random, 6, 3)
        images.append((image_p(scores, null) <= 0.05).any())
        people.append((people_p(scores - bias, 0)[0] <= 0.05).any())
    # Two standard errors of 200 studies above the level.
    assert np.mean(images) <= 0.08
    assert np.mean(people) <= 0.08


def test_a_score_that_is_missing_is_left_out_for_that_person_layer_and_time(
    make_subject_stores, read_scores
):
    times = np.round(np.arange(-0.08, 0.81, 0.04), 3)

    def truth(signal, measure, depth):
        return bump(times, 0.1)

    stores = [
        make_subject_stores(f"brain-s{k}", truth=truth, modality="meg", seed=k) for k in range(6)
    ]
    people = read_scores([path for own in stores for path in own])
    key, layer, time = ("activation", "r"), 1, int(np.argmin(np.abs(times - 0.32)))

    def without(person, scores=True, draw=None):
        parts = {"unit_score": person.unit_score[key], "null": person.null[key]}
        name = "unit_score" if scores else "null"
        values = parts[name].copy()
        values[(layer, time) if scores else (draw, layer, time)] = np.nan
        return replace(person, **{name: getattr(person, name) | {key: values}})

    def course(people):
        table = time_courses(people, StatisticsSettings())
        own = table[(table["signal"] == key[0]) & (table["layer"] == "blocks.1")]
        return table, own.set_index("time").loc[times[time]]

    whole, expected = course(people)
    for one in (without(people[0]), without(people[0], scores=False, draw=7)):
        table, row = course([one, *people[1:]])
        assert row["n_subjects"] == 5 and (table["n_subjects"] < 6).sum() == 1
        others = np.mean([person.unit_score[key][layer, time] for person in people[1:]])
        assert row["mean"] == pytest.approx(others)
        assert row["p"] <= 0.05 and expected["p"] <= 0.05
        np.testing.assert_array_equal(table["p"].notna(), True)
    # Where nobody has a score there is nothing to test, and the row says so.
    table, row = course([without(person) for person in people])
    assert row["n_subjects"] == 0 and np.isnan(row["mean"]) and np.isnan(row["p"])
    assert table["p"].isna().sum() == 1 and len(table) == len(whole)
