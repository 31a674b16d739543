"""Draws of unique variance for intervals, of people and signals that each hold something."""

import numpy as np
import pytest

from gradbrain.hierarchy.unique_variance import KERNELS, MOMENTS, UniqueVariance

SIGNALS = ("gradient_dino", "gradient_feature_norm")
N_DRAWS, N_LAYERS, N_UNITS = 400, 2, 3
HELD, NULL, CROSS, DOSE = 0.3, 0.005, 4e-4, 4e-3
#: Standard deviation of an estimate of one person, layer and unit.
SPREAD = np.sqrt(NULL**2 + 4 * HELD * (1 - HELD) * CROSS + HELD**2 * DOSE)


def person(seed):
    """A brain that holds both signals everywhere, with null draws of its own."""
    random = np.random.default_rng(seed)
    shape = (N_LAYERS, N_UNITS)
    values = dict(zip(MOMENTS, (1.0, CROSS, DOSE), strict=True))
    return UniqueVariance(
        component={name: np.full(shape, HELD) for name in SIGNALS},
        null={name: NULL * random.standard_normal((N_DRAWS, *shape)) for name in SIGNALS},
        moments={
            (moment, name): np.full((len(KERNELS), *shape), values[moment])
            for moment in MOMENTS
            for name in SIGNALS
        },
        explainable=np.full(N_UNITS, 0.5),
        explained=np.full(N_UNITS, 0.4),
    )


def whose(number, model="net", objective="dino"):
    return ("brain", f"brain-s{number}", model, "learning", "backprop", objective, "0")


def test_draws_of_people_and_signals_are_those_of_each():
    people = [person(number) for number in range(6)]
    drawn = np.array(
        [
            [one.scattered(name, whose(number, objective=name)) for name in SIGNALS]
            for number, one in enumerate(people)
        ]
    )
    assert drawn.std(axis=2).mean() == pytest.approx(SPREAD, rel=0.02)
    # Four standard errors of a correlation over so many draws and places, which are independent.
    few = 4 / np.sqrt(N_DRAWS * N_LAYERS * N_UNITS)
    rows = np.corrcoef((drawn - drawn.mean(axis=2, keepdims=True)).reshape(12, -1))
    assert np.abs(rows[~np.eye(12, dtype=bool)]).max() < few
    # So the mean over six people is known √6 times as well as one of them.
    of_mean = drawn.mean(axis=0).std(axis=1).mean()
    assert of_mean == pytest.approx(SPREAD / np.sqrt(6), rel=0.05)


def test_draws_of_one_person_model_and_signal_are_always_the_same():
    one = person(0)
    first = one.scattered(SIGNALS[0], whose(0))
    np.testing.assert_array_equal(first, person(0).scattered(SIGNALS[0], whose(0)))
    for other in (whose(1), whose(0, "other"), whose(0, objective="contrastive")):
        assert np.abs(first - one.scattered(SIGNALS[0], other)).max() > SPREAD
