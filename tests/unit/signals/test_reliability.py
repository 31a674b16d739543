"""Reliability of signals: on signals whose parts are known, and from images to the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from extract_features import main as extract
from measure_reliability import main as measure
from sklearn.linear_model import Ridge

from gradbrain.config.plugins import LIBRARY_PLUGINS, uncertain_signals
from gradbrain.config.schema import ModelEntry, ReliabilitySettings, SignalEntry, Weights
from gradbrain.models.build import build_model
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.signals.reliability import (
    PENALTIES,
    ActivationRegression,
    Sample,
    _splits,
    _weights,
    centred_cosine,
    spearman_brown,
    spread_over_groups,
)
from gradbrain.store import StoreError, open_features, read_table

ENTRY = ModelEntry(
    name="small",
    architecture="test_resnet",
    weights={"source": "random", "seed": 2},
    input_size=32,
)

# Mean over six data sets: three standard errors of it, which are below .009 in all worlds here.
TOLERANCE = 0.03


def draws(n_images, n_features, *, predictable, unique, noise, seed, n_latents=30):
    """Activations of two layers and two draws of a signal, with variances as stated.

    The first is a linear function of what activations share, the second of nothing that they hold,
    the third is drawn anew.
    """
    random = np.random.default_rng(seed)
    latents = random.standard_normal((n_images, n_latents)) / np.sqrt(1.0 + np.arange(n_latents))
    layers = [
        latents @ random.standard_normal((n_latents, n_features // 2))
        + 0.1 * random.standard_normal((n_images, n_features // 2))
        for _ in range(2)
    ]
    linear = latents @ random.standard_normal((n_latents, 40))
    signal = np.sqrt(predictable) * linear / linear.std()
    signal = signal + np.sqrt(unique) * random.standard_normal(signal.shape)
    first, second = (
        signal + np.sqrt(noise) * random.standard_normal(signal.shape) for _ in range(2)
    )
    return layers, first, second


def measured(layers, first, second, groups, *, n_images=128, seed=0):
    sample = Sample.draw(groups, n_images=n_images, max_training_images=4000, seed=seed)
    regression = ActivationRegression((layer[sample.pool] for layer in layers), sample, seed)
    return (
        centred_cosine(first[sample.images], second[sample.images]),
        regression.reliability_of_rest(first[sample.pool], second[sample.images]),
    )


@pytest.mark.parametrize(
    ("n_images", "n_features", "predictable", "unique", "noise"),
    [
        (600, 120, 0.5, 0.3, 0.2),
        (600, 1700, 0.5, 0.3, 0.2),
        (300, 1700, 0.7, 0.05, 0.25),
        (150, 600, 0.5, 0.0, 0.5),
        (150, 600, 0.9, 0.1, 0.0),
    ],
)
def test_both_reliabilities_are_the_shares_that_were_made(
    n_images, n_features, predictable, unique, noise
):
    parts = {"predictable": predictable, "unique": unique, "noise": noise}
    found = [
        measured(*draws(n_images, n_features, seed=seed, **parts), np.arange(n_images), seed=seed)
        for seed in range(6)
    ]
    whole, rest = np.mean(found, axis=0)
    assert whole == pytest.approx(1 - noise, abs=TOLERANCE)
    assert rest == pytest.approx(unique / (unique + noise), abs=TOLERANCE)


def test_one_regression_in_the_place_of_two_would_take_its_own_error_for_a_unique_part():
    layers, first, second = draws(150, 600, predictable=0.5, unique=0.0, noise=0.5, seed=0)
    sample = Sample.draw(np.arange(150), n_images=128, max_training_images=4000, seed=0)
    regression = ActivationRegression((layer[sample.pool] for layer in layers), sample, 0)
    twice = regression._predictions(first[sample.pool], 0)
    once = max(
        centred_cosine(first[sample.images] - one, second[sample.images] - one) for one in twice
    )
    rest = regression.reliability_of_rest(first[sample.pool], second[sample.images])
    assert once > 0.1 > abs(rest)


def test_images_of_a_group_do_not_predict_one_another():
    random = np.random.default_rng(0)
    # Crops of 60 photographs. What they share is a feature of their own that no linear function of
    # other photographs' features gives, but with many features that of their crops does.
    groups = np.repeat(np.arange(60), 5)
    layer = random.standard_normal((60, 4))[groups]
    signal = layer @ random.standard_normal((4, 10)) + random.standard_normal((60, 10))[groups]
    layer = np.hstack([layer, 0.3 * random.standard_normal((60, 200))[groups]])
    noise = [random.standard_normal((300, 10)) * np.sqrt(0.5) for _ in range(2)]
    sample = Sample.draw(groups, n_images=120, max_training_images=4000, seed=0)
    for train, held in _splits(sample, 0):
        assert not set(sample.groups[train]) & set(sample.groups[held])
    whole, rest = measured([layer], signal + noise[0], signal + noise[1], groups)
    _, split = measured([layer], signal + noise[0], signal + noise[1], np.arange(300))
    assert 1 / 1.5 - 0.05 < rest < whole
    assert split < 0.3


def test_predictions_are_those_of_ridge_regression():
    random = np.random.default_rng(0)
    train, held = random.standard_normal((30, 50)), random.standard_normal((7, 50))
    values = random.standard_normal((30, 4))
    rows = np.concatenate([train, held])
    kernel = rows @ train.T / 50
    weights = _weights(kernel, 30)
    scale = np.trace(kernel[:30]) / 30
    for weight, penalty in zip(weights, PENALTIES, strict=True):
        ridge = Ridge(alpha=penalty * scale * 50, fit_intercept=False, solver="svd")
        expected = ridge.fit(train, values).predict(held)
        np.testing.assert_allclose(weight @ values, expected, atol=1e-5)


def test_reliability_does_not_depend_on_the_order_or_scale_of_features():
    layers, first, second = draws(200, 100, predictable=0.5, unique=0.3, noise=0.2, seed=1)
    order = np.random.default_rng(2).permutation(first.shape[1])
    expected = measured(layers, first, second, np.arange(200))
    found = measured(
        [7.0 * layers[1][:, ::-1] + 3.0, layers[0]],
        100.0 * first[:, order] + 5.0,
        100.0 * second[:, order] + 5.0,
        np.arange(200),
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_signal_that_is_the_same_for_all_images_has_no_reliability():
    layers, first, _ = draws(60, 40, predictable=0.5, unique=0.3, noise=0.2, seed=1)
    for constant in (np.zeros_like(first), np.full_like(first, 0.3, dtype=np.float32)):
        assert np.isnan(measured(layers, constant, constant, np.arange(60))).all()
        assert np.isnan(centred_cosine(first, constant))


def test_nothing_is_left_of_a_linear_function_of_activations():
    random = np.random.default_rng(0)
    layer = random.standard_normal((200, 5))
    signal = layer @ random.standard_normal((5, 8))
    whole, rest = measured([layer], signal, signal, np.arange(200))
    assert whole == pytest.approx(1.0)
    assert np.isnan(rest)


def test_spearman_brown_has_its_known_values():
    assert spearman_brown(0.36, 1) == 0.36
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    # Halves of a test, by its parts: 4 parts of .36 each, against .69 measured with 8 views of 2.
    assert spearman_brown(0.36, 4) == pytest.approx(1.44 / 2.08)
    assert spearman_brown(spearman_brown(0.36, 4), 1 / 4) == pytest.approx(0.36)


def test_images_are_spread_over_groups():
    groups = np.repeat([f"g{index}" for index in range(10)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    chosen = spread_over_groups(groups, 25, seed=0)
    counts = pd.Series(groups[chosen]).value_counts()
    assert len(set(chosen)) == 25 and list(chosen) == sorted(chosen)
    sizes = pd.Series(groups).value_counts().reindex(counts.index)
    # Every group gives two or the one that it has (19 images), and six of the others a third.
    assert (counts >= np.minimum(sizes, 2)).all() and (counts == 3).sum() == 6
    assert len(spread_over_groups(groups, 99, seed=0)) == len(groups)
    assert not np.array_equal(chosen, spread_over_groups(groups, 25, seed=1))


def test_too_few_images_are_refused():
    with pytest.raises(SignalError, match=r"over 2 images, expected at least 3"):
        Sample.draw(["a", "b"], n_images=128, max_training_images=10, seed=0)


def test_images_of_two_groups_leave_none_to_train_on():
    layers, first, second = draws(40, 20, predictable=0.5, unique=0.3, noise=0.2, seed=1)
    whole, rest = measured(layers, first, second, np.arange(40) // 20)
    assert whole > 0 and np.isnan(rest)


def test_signals_that_depend_on_chance_are_known_from_their_plugins(tools):
    names = ("dino", "view_consistency", "cross_entropy", "feature_norm", "fixed_cotangent")
    shuffled = [
        SignalEntry(
            name=f"shuffled_{name}",
            role="control",
            rule="backprop",
            objective="shuffled_cotangent",
            options={"objective": name},
        )
        for name in ("dino", "cross_entropy")
    ]
    signal_set = tools["signal_set"](*map(tools["backprop"], names), *shuffled)
    found = [signal.name for signal in uncertain_signals(signal_set, LIBRARY_PLUGINS)]
    assert found == ["gradient_dino", "gradient_view_consistency", "shuffled_dino"]


# --- from images to the table ----------------------------------------------------------------


@pytest.fixture
def job(request, tmp_path, tools):
    """Features of two layers, and the command line that measures them."""
    normalise = getattr(request, "param", "unit")
    shuffled = SignalEntry(
        name="shuffled",
        role="control",
        rule="backprop",
        objective="shuffled_cotangent",
        options={"objective": "dino"},
    )
    signal_set = tools["signal_set"](
        tools["backprop"]("dino"),
        tools["backprop"]("feature_norm", "control"),
        shuffled,
        normalise=normalise,
    )
    stimuli = tools["stimuli"](tmp_path, "seen", 24, 0)
    calibration = tools["stimuli"](tmp_path, "other", 6, 1)
    layers = ["layer1.0", "layer3.0"]
    stores = [str(tmp_path / "features" / layer / "seen.zarr") for layer in layers]
    shared = [
        *("--model", ENTRY.model_dump_json(), "--signal-set", signal_set.model_dump_json()),
        *("--stimuli", str(stimuli), "--stimuli-name", "seen", "--data", str(tmp_path)),
        *("--calibration", str(calibration), "--batch-size", "5", "--device", "cpu"),
    ]
    extract([*shared, "--layers", *layers, "--depths", "0.25", "0.75", "--output", *stores])
    settings = ReliabilitySettings(n_images=15)
    output = tmp_path / "reliability.parquet"
    own = ["--study", "test", "--settings", settings.model_dump_json(), "--output", str(output)]
    return [*shared, *own, "--features", *stores], output, signal_set, stimuli, calibration


def test_what_depends_on_chance_is_drawn_again_and_nothing_else(job):
    arguments, output, signal_set, stimuli, calibration = job
    measure(arguments)
    table = read_table(output, kind="reliability")
    assert list(zip(table["layer"], table["signal"], strict=True)) == [
        (layer, signal)
        for layer in ("layer1.0", "layer3.0")
        for signal in ("gradient_dino", "shuffled")
    ]
    assert set(table["n_images"]) == {15}
    # Four of five folds of 24 images, halved.
    assert table["n_training_images"].between(9, 10).all()
    assert table["reliability"].between(-1, 0.999).all()
    pd.testing.assert_series_equal(
        table["reliability"], table["split_half"], check_names=False, check_exact=True
    )
    # The same as from two extractions of all images, by hand.
    images = StimulusImages.read(stimuli, ENTRY)
    rows = Sample.draw(images.table["group"], n_images=15, max_training_images=4000, seed=0).images
    model = build_model(ENTRY, data=stimuli.parent, device=torch.device("cpu"))
    stored = StoredImages(StimulusImages.read(calibration, ENTRY), 8, torch.device("cpu"))
    drawn = []
    for replicate in (0, 1):
        extractor = SignalExtractor(
            model,
            ["layer1.0", "layer3.0"],
            signal_set,
            CalibrationBank(model, stored.batches),
            replicate=replicate,
        )
        (batch,) = images.batches(24, torch.device("cpu"))
        drawn.append(extractor.take(batch))
    for row in table.itertuples():
        first, second = (one[row.layer].features[row.signal][rows] for one in drawn)
        assert row.split_half == pytest.approx(centred_cosine(first, second), abs=1e-5)


@pytest.mark.parametrize("job", ["unit_and_magnitude"], indirect=True)
def test_a_magnitude_that_is_a_feature_is_compared_too(job):
    arguments, output, _, stimuli, _ = job
    measure(arguments)
    images = StimulusImages.read(stimuli, ENTRY)
    sample = Sample.draw(images.table["group"], n_images=15, max_training_images=4000, seed=0)
    stores = map(open_features, arguments[arguments.index("--features") + 1 :])
    by_layer = {store.layer: store for store in stores}
    table = read_table(output, kind="reliability")
    for row in table.itertuples():
        store = by_layer[row.layer]
        signal = store.signal(row.signal)
        used = store.values(signal)[sample.images]
        assert used.shape[1] > store.directions(signal).shape[1]
        # The second draw is neither the first one nor another signal.
        assert 0 < row.split_half < 0.999
        assert np.isfinite(row.unique_split_half)


def test_the_table_is_the_same_bytes_and_does_not_depend_on_the_size_of_batches(job):
    arguments, output, *_ = job
    measure(arguments)
    first = output.read_bytes()
    measure(arguments)
    assert output.read_bytes() == first
    expected = read_table(output)
    measure([*arguments, "--batch-size", "24"])
    columns = ["split_half", "unique_split_half"]
    np.testing.assert_allclose(read_table(output)[columns], expected[columns], atol=1e-5)


def test_features_of_other_weights_are_refused(job):
    arguments, output, *_ = job
    changed = ENTRY.model_copy(update={"weights": Weights(source="random", seed=3)})
    arguments[arguments.index("--model") + 1] = changed.model_dump_json()
    with pytest.raises(StoreError, match=r"weights_digest is .* differ by chance alone"):
        measure(arguments)
    assert not output.exists()


def test_a_signal_set_without_chance_is_refused(job, tools):
    arguments, *_ = job
    certain = tools["signal_set"](tools["backprop"]("feature_norm", "control"))
    arguments[arguments.index("--signal-set") + 1] = certain.model_dump_json()
    with pytest.raises(SignalError, match="no signal of it has Monte-Carlo randomness"):
        measure(arguments)
