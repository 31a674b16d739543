"""Augmented views and masks: how they are drawn together leaves each of them as it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from gradbrain.objectives.masked_feature import Options as MaskOptions
from gradbrain.objectives.masked_feature import hidden_patches, masked_copy
from gradbrain.objectives.seeds import generator
from gradbrain.objectives.views import (
    N_PARAMETERS,
    ViewOptions,
    augmented_view,
    drawn_parameters,
    view_features,
    view_parameters,
    view_points,
)

SAMPLINGS = ("independent", "antithetic", "latin", "sobol")
N_SEEDS = 600
N_VIEWS = 6


def points(sampling: str, *, shared: bool = False, n_views: int = N_VIEWS) -> np.ndarray:
    """Views of one image under many seeds, (seeds, views, parameters)."""
    options = ViewOptions(sampling=sampling, shared=shared, n_views=n_views)
    name = None if shared else "cat"
    drawn = [view_points(name, seed=seed, options=options) for seed in range(N_SEEDS)]
    return np.stack(drawn)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("shared", [False, True])
def test_every_parameter_of_every_view_is_uniform(sampling, shared):
    drawn = points(sampling, shared=shared)
    assert drawn.shape == (N_SEEDS, N_VIEWS, N_PARAMETERS)
    found = [
        stats.kstest(drawn[:, view, parameter], "uniform").pvalue
        for view in range(N_VIEWS)
        for parameter in range(N_PARAMETERS)
    ]
    # 54 tests: by chance the smallest p value falls below this once in 200 runs; seeds are fixed.
    assert min(found) > 0.005 / len(found)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_parameters_of_one_view_are_independent_of_each_other(sampling):
    drawn = points(sampling)
    for view in range(N_VIEWS):
        correlations = np.corrcoef(drawn[:, view].T)[np.triu_indices(N_PARAMETERS, 1)]
        # 36 correlations of standard error 1/sqrt(600).
        assert np.abs(correlations).max() < 4 / N_SEEDS**0.5


@pytest.mark.parametrize("sampling", ["latin", "sobol"])
def test_stratified_views_take_each_stratum_once(sampling):
    drawn = np.sort(points(sampling, n_views=8), axis=1)
    assert (np.floor(8 * drawn) == np.arange(8)[None, :, None]).all()


@pytest.mark.parametrize("sampling", ["latin", "sobol"])
def test_half_of_stratified_views_are_mirrored_and_a_fifth_are_grey(sampling):
    options = ViewOptions()
    for drawn in points(sampling, n_views=16)[:50]:
        found = view_parameters(drawn, options)
        assert (found[:, 0] < 0).sum() == 8
        # 16 / 5 = 3.2 of them: the fraction is left to chance.
        assert (found[:, 6] == 0).sum() in (3, 4)


def test_antithetic_views_are_opposite_points():
    drawn = points("antithetic")
    np.testing.assert_allclose(drawn[:, 0::2] + drawn[:, 1::2], 1)


@pytest.mark.parametrize("sampling", ["antithetic", "latin", "sobol"])
def test_an_average_over_views_keeps_its_expectation_and_loses_variance(sampling):
    options = ViewOptions()

    def averages(sampling: str) -> np.ndarray:
        """Mean area of the crop times brightness, over the views of each seed."""
        found = view_parameters(points(sampling, n_views=8), options)
        return (np.abs(found[..., 0] * found[..., 1]) * found[..., 4]).mean(1)

    plain, chosen = averages("independent"), averages(sampling)
    spread = (plain.var() + chosen.var()) ** 0.5
    assert abs(plain.mean() - chosen.mean()) < 4 * spread / N_SEEDS**0.5
    assert chosen.var() < plain.var() / 4


def test_independent_views_of_an_image_are_those_of_its_name_seed_and_number():
    options = ViewOptions(sampling="independent", shared=False, n_views=3)
    drawn = view_parameters(view_points("cat", seed=5, options=options), options)
    for view in range(3):
        random = generator("cat", 5, "view", view)
        area = random.uniform(0.4, 1)
        aspect = np.exp(random.uniform(-0.2877, 0.2877))
        width, height = min(1, (area * aspect) ** 0.5), min(1, (area / aspect) ** 0.5)
        shifts = random.uniform(-(1 - width), 1 - width), random.uniform(-(1 - height), 1 - height)
        mirror = -1 if random.uniform() < 0.5 else 1
        colour = 1 + random.uniform([-0.4, -0.4, -0.2], [0.4, 0.4, 0.2])
        colour[2] *= random.uniform() >= 0.2
        expected = [width * mirror, height, *shifts, *colour]
        np.testing.assert_allclose(drawn[view], expected, rtol=1e-12)


def test_common_views_are_the_same_for_all_images_and_others_are_not(batch):
    common = drawn_parameters(batch, seed=0, options=ViewOptions(n_views=4, shared=True))
    assert common.shape == (1, 4, 7)
    own = drawn_parameters(batch, seed=0, options=ViewOptions(n_views=4, shared=False))
    assert own.shape == (6, 4, 7)
    assert len(np.unique(own[:, 0, 1])) == 6


def test_views_are_images_that_differ_between_seeds_and_views(batch):
    def views(seed: int) -> list[torch.Tensor]:
        drawn = drawn_parameters(batch, seed=seed, options=ViewOptions(n_views=2))
        return [augmented_view(batch.raw, drawn[:, view]) for view in range(2)]

    first, second = views(0)
    assert first.shape == batch.raw.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, views(1)[0])


def test_a_common_view_is_that_view_of_each_image_alone(batch):
    drawn = drawn_parameters(batch, seed=0, options=ViewOptions(n_views=1, shared=True))[:, 0]
    together = augmented_view(batch.raw, drawn)
    spread = augmented_view(batch.raw, drawn.repeat(len(batch), axis=0))
    torch.testing.assert_close(together, spread, rtol=0, atol=1e-15)
    for row in range(len(batch)):
        alone = augmented_view(batch.raw[row : row + 1], drawn)
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=1e-15)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("shared", [False, True])
def test_features_of_views_do_not_depend_on_the_batch(tiny_model, batch, sampling, shared):
    options = ViewOptions(sampling=sampling, shared=shared, n_views=3)
    together = view_features(tiny_model, batch, seed=0, options=options)
    assert together.shape == (6, 3, 6)
    alone = view_features(tiny_model, batch.part(slice(2, 3)), seed=0, options=options)
    torch.testing.assert_close(alone, together[2:3], rtol=1e-12, atol=1e-14)


def test_views_of_other_options_are_not_taken_for_those_of_a_batch(tiny_model, batch):
    first = view_features(tiny_model, batch, seed=0, options=ViewOptions(n_views=2))
    for options in (ViewOptions(n_views=2, shared=False), ViewOptions(n_views=2, min_area=0.9)):
        assert not torch.allclose(first, view_features(tiny_model, batch, seed=0, options=options))
    other = dataclasses.replace(tiny_model, entry=tiny_model.entry.model_copy())
    assert view_features(other, batch, seed=0, options=ViewOptions(n_views=2)) is first


# --- masks -------------------------------------------------------------------------------------


def test_masking_hides_the_asked_share(batch):
    colour = torch.full((1, 3, 1, 1), -1.0, dtype=torch.float64)
    options = MaskOptions(grid=8, masked_share=0.75)
    for name in (None, "cat"):
        places = hidden_patches(name, seed=0, options=options)
        assert (places.sum(1) == 48).all()
        masked = masked_copy(batch.raw, places[:1], grid=8, colour=colour)
        hidden = (masked == -1).all(1)
        assert (hidden.float().mean((1, 2)) == 0.75).all()
        shown = ~hidden[:, None].expand_as(masked)
        assert torch.equal(masked[shown], batch.raw[shown])


def test_balanced_masks_show_every_patch_equally_often():
    options = MaskOptions(grid=8, masked_share=0.75, n_masks=8)
    shown = ~hidden_patches("cat", seed=0, options=options)
    assert (shown.sum(0) == 2).all()
    assert not np.array_equal(shown[:4], shown[4:])


@pytest.mark.parametrize("sampling", ["independent", "balanced"])
@pytest.mark.parametrize("shared", [False, True])
def test_each_mask_hides_each_patch_and_each_pair_equally_often(sampling, shared):
    options = MaskOptions(grid=4, masked_share=0.7, n_masks=5, sampling=sampling)
    name = None if shared else "cat"
    drawn = np.stack([hidden_patches(name, seed=seed, options=options) for seed in range(2000)])
    n_hidden = 11  # of 16
    assert (drawn.sum(2) == n_hidden).all()
    for mask in range(5):
        together = drawn[:, mask].T.astype(float) @ drawn[:, mask] / 2000
        single, pair = np.diag(together), together[np.triu_indices(16, 1)]
        # Standard errors of .01; 16 and 120 shares for each of 5 masks.
        assert np.abs(single - n_hidden / 16).max() < 0.045
        assert np.abs(pair - n_hidden * (n_hidden - 1) / (16 * 15)).max() < 0.055
