"""The encoding job on small stores: contents, invariants, leaks and bad input."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fit_encoding import main
from sklearn.linear_model import RidgeCV

from gradbrain.config import GradbrainError
from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.averages import Averages
from gradbrain.encoding.bands import principal_components
from gradbrain.encoding.baseline import reduce_activations
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.fit import (
    SplitFits,
    choose_selection,
    fit_encoding,
    fit_layer,
    make_bands,
)
from gradbrain.encoding.inputs import read_features, read_responses
from gradbrain.encoding.measures import PAIRS
from gradbrain.encoding.regression import BandFit
from gradbrain.encoding.scores import Score, UnitLayout
from gradbrain.encoding.solver import search_and_solve
from gradbrain.encoding.splits import OuterSplit, grouped_folds
from gradbrain.encoding.tables import tidy_scores
from gradbrain.store import (
    StoreError,
    open_store,
    read_table,
    write_store,
    write_table,
    write_tree,
)
from gradbrain.vocabulary.artefacts import columns_of

N_IMAGES, N_LAYERS = 60, 3
IMAGE_IDS = np.array([f"image-{number:02d}" for number in range(N_IMAGES)])
GROUPS = np.array([f"photograph-{number % 15:02d}" for number in range(N_IMAGES)])
# Role, rule and objective.
IDENTITIES = {
    "activation": ("activation", "activation", ""),
    "gradient": ("learning", "backprop", "dino"),
    "control": ("control", "backprop", "feature_norm"),
}
ROIS = ("V1", "V2", "IT")
SETTINGS = EncodingSettings(n_draws=20, n_band_weights=4, n_penalties=5, dtype="float64")
ALONE = SETTINGS.model_copy(update={"variance_partitioning": False})


def signals(layer, latent):
    """Activations carry four latents; the gradient of layer 1 carries a fifth that none has."""
    generator = np.random.default_rng(layer)

    def mix(columns, width):
        source = latent[:, columns]
        values = source @ generator.standard_normal((source.shape[1], width))
        return values + 0.3 * generator.standard_normal(values.shape)

    return {
        "activation": mix(slice(0, 4), 30 + 20 * layer),
        "gradient": mix(slice(3, 5), 40),
        "control": generator.standard_normal((N_IMAGES, 25)),
    }


@pytest.fixture
def latent():
    return np.random.default_rng(99).standard_normal((N_IMAGES, 5))


@pytest.fixture
def features(tmp_path, latent):
    paths = []
    for layer in range(N_LAYERS):
        paths.append(tmp_path / f"layer{layer}.zarr")
        write_features(paths[-1], layer, signals(layer, latent))
    return paths


def write_features(
    path, number, values, image_ids=IMAGE_IDS, identities=IDENTITIES, missing=False, **attrs
):
    """Write a store whose signals have widths of their own, which the reader does not ask for."""
    described = {
        "model": "net",
        "layer": f"layer{number}",
        "depth": number / (N_LAYERS - 1),
        "pooling": "mean",
        "signal_set": "set",
        "stimuli": "images",
        **attrs,
    }
    per_image = (("image", "signal"), np.zeros((len(image_ids), len(values)), np.float32))
    roles, rules, objectives = zip(*(identities[name] for name in values), strict=True)
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={
            "image_id": ("image", image_ids),
            "signal": ("signal", list(values)),
            "role": ("signal", list(roles)),
            "rule": ("signal", list(rules)),
            "objective": ("signal", list(objectives)),
        },
        attrs=described,
    )
    arrays = {
        name: (
            ("image", f"feature_{name}"),
            array.astype(np.float32),
            {"missing_allowed": True} if missing else {},
        )
        for name, array in values.items()
    }
    tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})
    write_tree(path, tree, kind="features")
    return path


def describe(**attrs):
    return {
        "dataset": "made",
        "subject": "made-s1",
        "modality": "fmri",
        "axis": "roi",
        "sensors": "voxels",
        "space": "virtual",
        "units": "a.u.",
        "rotation_invariant": False,
        "roi_order": list(ROIS),
        "early_rois": ["V1"],
        "high_rois": ["IT"],
        "onset_s": 0.0,
        "n_masked_targets": 0,
        "licence": "",
        "citation": "",
        "preprocessing": "",
        **attrs,
    }


def fmri_values(latent, n_targets=12, columns=slice(0, 5)):
    generator = np.random.default_rng(5)
    source = latent[:, columns]
    return source @ generator.standard_normal((source.shape[1], n_targets)) + (
        1.5 * generator.standard_normal((N_IMAGES, n_targets))
    )


def write_fmri(path, values, order=None, roi=None, ceiling=None, **attrs):
    n_targets = values.shape[1]
    order = np.arange(N_IMAGES) if order is None else order
    # Regions are interleaved, and one target lies outside all of them.
    roi = np.append(np.resize(ROIS, n_targets - 1), "") if roi is None else roi
    ceiling = np.full(n_targets, 0.5) if ceiling is None else ceiling
    dataset = xr.Dataset(
        {
            "response": (("image", "target"), values[order].astype(np.float32)),
            "noise_ceiling": ("target", ceiling.astype(np.float32), {"missing_allowed": True}),
        },
        coords={
            "image_id": ("image", IMAGE_IDS[order]),
            "group": ("image", GROUPS[order]),
            "n_repeats": ("image", np.ones(N_IMAGES, dtype=int)),
            "roi": ("target", roi),
            "hemisphere": ("target", np.array(["left"] * n_targets)),
            "x": ("target", np.arange(n_targets, dtype=float)),
            "vertex": ("target", np.arange(n_targets)),
        },
        attrs=describe(roi_distance={"V1": 0.0, "V2": 9.5, "IT": 40.0}, **attrs),
    )
    write_store(path, dataset, kind="responses")
    return path


def write_meg(path, latent):
    generator = np.random.default_rng(6)
    values = generator.standard_normal((N_IMAGES, 4, 5))
    values[:, 2:] += np.einsum("il,lts->its", latent[:, :4], np.ones((4, 2, 5)))
    dataset = xr.Dataset(
        {"response": (("image", "time", "sensor"), values.astype(np.float32))},
        coords={
            "image_id": ("image", IMAGE_IDS),
            "group": ("image", GROUPS),
            "n_repeats": ("image", np.ones(N_IMAGES, dtype=int)),
            "time": ("time", np.array([-0.1, 0.0, 0.1, 0.2])),
            "sensor": ("sensor", np.array([f"MEG{number}" for number in range(5)])),
            "sensor_x": ("sensor", np.arange(5.0)),
            "sensor_y": ("sensor", np.arange(5.0)),
        },
        attrs=describe(
            modality="meg",
            axis="time",
            sensors="sensors",
            space="sensors",
            roi_order=[],
            early_rois=[],
            high_rois=[],
        ),
    )
    write_store(path, dataset, kind="responses")
    return path


def fit(features, responses, layer="layer1", nuisance=(), **changes):
    return fit_encoding(
        features=features,
        layer=layer,
        responses=responses,
        settings=SETTINGS.model_copy(update=changes),
        study="test",
        nuisance=nuisance,
    )


def row(store, signal, measure, variable="score"):
    found = (store["signal"].values == signal) & (store["measure"].values == measure)
    assert found.sum() == 1
    return store[variable].isel(score_row=int(np.flatnonzero(found)[0])).values


@pytest.fixture
def fmri(tmp_path, latent):
    return write_fmri(tmp_path / "fmri.zarr", fmri_values(latent))


def test_fits_without_pairs_are_those_of_the_single_bands(features, fmri):
    asked = {
        "features": features, "layer": "layer1", "responses": fmri, "settings": SETTINGS,
        "study": "test",
    }  # fmt: skip
    whole, alone = fit_encoding(**asked), fit_encoding(**asked | {"settings": ALONE})
    names = [str(name) for name in alone["fit"].values]
    assert names and not any("+" in name for name in names)
    assert set(names) < {str(name) for name in whole["fit"].values}
    rows = list(zip(alone["signal"].values, alone["measure"].values, strict=True))
    assert {measure for _, measure in rows} == {"r", "r2", "r_normalised", "r2_normalised"}
    # An activation and two signals; baselines are asked for by pairs alone.
    assert len(rows) == len(set(rows)) == 3 * 4
    for variable in ("score", "unit_score", "boot", "null"):
        for signal, measure in rows:
            np.testing.assert_array_equal(
                row(alone, signal, measure, variable), row(whole, signal, measure, variable)
            )


def test_a_study_without_variance_partitioning_reads_one_layer_and_fits_its_signals_alone(
    tmp_path, features, fmri
):
    def fit(name, stores, **changes):
        settings = SETTINGS.model_copy(update={"nuisance": (), **changes})
        output = tmp_path / f"{name}.zarr"
        main(["--features", *map(str, stores), "--layers", "layer1", "--responses", str(fmri),
              "--settings", settings.model_dump_json(), "--study", "test",
              "--output", str(output), "--table", str(tmp_path / f"{name}.parquet")])  # fmt: skip
        return open_store(output, kind="encoding").load()

    whole = fit("whole", features)
    # Values of other layers are damaged, which shows where they are read.
    for path in (features[0], features[2]):
        (chunk,) = (path / "signals" / "activation" / "c").glob("*/*")
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)
    with pytest.raises(StoreError, match=r"layer0\.zarr"):
        fit("broken", features)
    alone = fit("alone", features, variance_partitioning=False)
    assert {"joint_r", "full_r", "unique_r2"} <= set(whole["measure"].values)
    assert set(alone["measure"].values) == {"r", "r2", "r_normalised", "r2_normalised"}
    assert "baseline" not in alone["role"].values
    for name in ("layer_index", "n_layers", "depth"):
        assert alone.attrs[name] == whole.attrs[name]
    for signal in IDENTITIES:
        for measure in ("r", "r2"):
            np.testing.assert_array_equal(row(alone, signal, measure), row(whole, signal, measure))


def test_signals_alone_have_no_dissimilarities_beside_a_baseline(features, fmri):
    with pytest.raises(EncodingError, match="these fits are of signals alone"):
        fit_encoding(
            features=features, layer="layer1", responses=fmri, settings=ALONE, study="test",
            rsa=RsaSettings(encoding=True),
        )  # fmt: skip


def test_layers_of_one_process_are_those_of_a_process_each(tmp_path, features, fmri):
    layers = [open_store(path, kind="features").attrs["layer"] for path in features]
    assert len(layers) > 1
    common = ["--responses", str(fmri), "--settings", SETTINGS.model_dump_json(), "--study", "test"]
    common += ["--features", *map(str, features)]

    def paths(folder, suffix, names):
        return [str(tmp_path / folder / f"{name}.{suffix}") for name in names]

    def fit(folder, names):
        stores, tables = paths(folder, "zarr", names), paths(folder, "parquet", names)
        main([*common, "--layers", *names, "--output", *stores, "--table", *tables])

    fit("whole", layers)
    for layer in layers:
        fit("single", [layer])
    for layer in layers:
        whole, single = (
            open_store(tmp_path / folder / f"{layer}.zarr", kind="encoding", verify=True)
            for folder in ("whole", "single")
        )
        assert single.attrs["layer"] == layer
        xr.testing.assert_identical(whole.load(), single.load())
        one, other = (
            read_table(tmp_path / folder / f"{layer}.parquet", kind="fit_scores")
            for folder in ("whole", "single")
        )
        assert one.equals(other)
    with pytest.raises(GradbrainError, match="--output: 1 paths for"):
        main([*common, "--layers", *layers, "--output", *paths("short", "zarr", layers[:1]),
              "--table", *paths("short", "parquet", layers)])  # fmt: skip
    assert not (tmp_path / "short").exists()


def test_command_writes_the_store_and_table_of_the_contract(tmp_path, features, fmri):
    output, table = tmp_path / "out" / "fit.zarr", tmp_path / "out" / "fit.parquet"
    arguments = {
        "--layers": "layer1",
        "--responses": str(fmri),
        "--settings": SETTINGS.model_dump_json(),
        "--study": "test",
        "--output": str(output),
        "--table": str(table),
    }
    flat = [word for pair in arguments.items() for word in pair]
    main(["--features", *map(str, features), *flat])
    store = open_store(output, kind="encoding", verify=True)
    rows = list(zip(store["signal"].values, store["measure"].values, strict=True))
    assert len(rows) == len(set(rows)) == 4 * 4 + 2 * len(PAIRS)
    assert store["score"].dims == ("score_row", "target")
    assert store["boot"].shape == store["null"].shape == (20, len(rows), 3)
    assert list(store["unit"].values) == list(ROIS)
    np.testing.assert_array_equal(store["vertex"].values, np.arange(12))
    assert store.attrs["layer"] == "layer1"
    assert store.attrs["depth"] == 0.5
    of_signal = {
        str(name): (str(role), str(rule), str(objective))
        for name, role, rule, objective in zip(
            *(store[key].values for key in ("signal", "role", "rule", "objective")), strict=True
        )
    }
    assert of_signal == {**IDENTITIES, "all_activations": ("baseline", "", "")}
    assert (store.attrs["axis"], store.attrs["sensors"]) == ("roi", "voxels")
    assert not {"roles", "objectives"} & set(store.attrs)
    assert store.attrs["roi_distance"]["IT"] == 40.0
    assert "all_activations+gradient" in store["fit"].values
    scores = read_table(table, kind="fit_scores")
    assert list(scores.columns) == list(columns_of("fit_scores"))
    assert len(scores) == len(rows) * 3
    one = scores[(scores.signal == "gradient") & (scores.measure == "unique_r2")]
    assert list(one.roi) == list(ROIS)
    assert list(one.roi_rank) == [0, 1, 2]
    assert list(one.distance_mm) == [0.0, 9.5, 40.0]
    assert list(one.n_targets) == [4, 4, 3]
    assert one.time.isna().all()
    assert (one.role == "learning").all()
    assert (one.rule == "backprop").all()
    assert (one.objective == "dino").all()
    assert (one.axis == "roi").all()
    assert (scores.boot_low <= scores.boot_high).all()


def test_signals_that_are_fitted_alone_have_the_scores_that_they_have_beside_others(features, fmri):
    whole = fit_encoding(
        features=features, layer="layer1", responses=fmri, settings=SETTINGS, study="study"
    )
    brain = read_responses(fmri)
    layer = replace(read_features(features, "layer1", brain.image_ids, fmri), paired=False)
    bands = {}
    alone = fit_layer(layer, brain, SETTINGS, "study", bands=bands)
    assert len(bands) == SETTINGS.n_folds
    # Bands that were kept give the same once more.
    xr.testing.assert_identical(fit_layer(layer, brain, SETTINGS, "study", bands=bands), alone)
    wanted = whole["measure"].isin(["r", "r2", "r_normalised", "r2_normalised"])
    kept = whole.isel(score_row=np.flatnonzero(wanted & (whole["role"] != "baseline")))
    for name in ("signal", "measure", "score", "unit_score", "boot", "null"):
        np.testing.assert_array_equal(alone[name].values, kept[name].values, err_msg=name)


def test_fits_for_claims_have_the_scores_that_statistics_read_and_no_others(features, fmri):
    brain = read_responses(fmri)
    layer = replace(read_features(features, "layer1", brain.image_ids, fmri), paired=False)
    alone = fit_layer(layer, brain, SETTINGS, "study")
    asked = fit_layer(replace(layer, for_claims=True), brain, SETTINGS, "study")
    read = alone["measure"].isin(["r", "r_normalised"])
    read |= (alone["role"] == "activation") & (alone["measure"] == "r2")
    kept = alone.isel(score_row=np.flatnonzero(read))
    assert 0 < kept.sizes["score_row"] < alone.sizes["score_row"]
    for name in ("signal", "measure", "score", "unit_score", "boot", "null", "penalty_log10"):
        np.testing.assert_array_equal(asked[name].values, kept[name].values, err_msg=name)


def test_scores_are_consistent_with_each_other(features, fmri):
    store = fit(features, fmri)
    for signal in ("gradient", "control"):
        for variable in ("score", "unit_score", "boot"):
            split = row(store, signal, "split_activation_r2", variable) + row(
                store, signal, "split_signal_r2", variable
            )
            joint = row(store, signal, "joint_r2", variable)
            np.testing.assert_allclose(split, joint, atol=1e-6)
            unique = row(store, signal, "full_r2", variable) - row(
                store, "all_activations", "r2", variable
            )
            np.testing.assert_allclose(row(store, signal, "unique_r2", variable), unique, atol=1e-6)
            gained = joint - row(store, "activation", "r2", variable)
            np.testing.assert_allclose(
                row(store, signal, "layer_unique_r2", variable), gained, atol=1e-6
            )
    for name, targets in (("V1", slice(0, 11, 3)), ("IT", slice(2, 11, 3))):
        place = list(store["unit"].values).index(name)
        np.testing.assert_allclose(
            store["unit_score"].values[:, place],
            store["score"].values[:, targets].mean(axis=1),
            atol=1e-6,
        )


def test_scores_are_those_of_scikit_learn_on_the_same_folds(tmp_path, latent, features):
    """One penalty, so that nothing is selected: every step but the search is redone by hand."""
    from sklearn.linear_model import Ridge

    values = fmri_values(latent)
    path = write_fmri(tmp_path / "one.zarr", values)
    store = fit(features, path, n_penalties=1, log10_penalty_min=2.0, log10_penalty_max=2.0)
    order = np.lexsort((IMAGE_IDS, GROUPS))
    X = signals(1, latent)["activation"].astype(np.float32)[order].astype(float)
    Y = values.astype(np.float32)[order].astype(float)
    folds = grouped_folds(GROUPS[order], 5, 0)
    r, r2 = np.zeros(12), np.zeros(12)
    for fold in range(5):
        train, test = folds != fold, folds == fold
        x = (X - X[train].mean(0)) / X[train].std(0) * np.sqrt(1000 / X.shape[1])
        y = (Y - Y[train].mean(0)) / Y[train].std(0)
        predicted = Ridge(alpha=100.0).fit(x[train], y[train]).predict(x[test])
        r += [np.corrcoef(predicted[:, t], y[test][:, t])[0, 1] / 5 for t in range(12)]
        r2 += (1 - ((y[test] - predicted) ** 2).sum(0) / (y[test] ** 2).sum(0)) / 5
    np.testing.assert_allclose(row(store, "activation", "r"), r, atol=1e-6)
    np.testing.assert_allclose(row(store, "activation", "r2"), r2, atol=1e-6)


def test_unique_part_is_found_only_where_it_was_planted(tmp_path, latent, features):
    with_gradient = write_fmri(tmp_path / "with.zarr", fmri_values(latent))
    without = write_fmri(tmp_path / "without.zarr", fmri_values(latent, columns=slice(0, 4)))
    planted, absent = fit(features, with_gradient), fit(features, without)
    # Of the mean over regions: in V1 the latent weighs least, under the noise of 60 images.
    null = row(planted, "gradient", "unique_r2", "null").mean(axis=1)
    found = row(planted, "gradient", "unique_r2", "unit_score").mean()
    assert found > np.quantile(null, 0.95)
    assert row(planted, "gradient", "unique_r2", "unit_score").mean() > 0.05
    assert row(absent, "gradient", "unique_r2", "unit_score").mean() < 0.01
    assert row(planted, "control", "unique_r2", "unit_score").mean() < 0.01
    # The gradient shares a latent with the activations: raw, it predicts in both worlds.
    assert row(absent, "gradient", "r", "unit_score").mean() > 0.1


def test_meg_units_are_times_and_targets_are_time_by_sensor(tmp_path, latent, features):
    store = fit(features, write_meg(tmp_path / "meg.zarr", latent))
    assert list(store["unit"].values) == ["-0.1", "0", "0.1", "0.2"]
    np.testing.assert_allclose(store["unit_time"].values, [-0.1, 0, 0.1, 0.2])
    assert store.sizes["target"] == 20
    np.testing.assert_allclose(store["time"].values[:6], [-0.1] * 5 + [0.0])
    assert list(store["sensor"].values[:2]) == ["MEG0", "MEG1"]
    by_time = row(store, "activation", "r", "unit_score")
    assert by_time[2:].min() > 0.5 > by_time[:2].max()
    table = tidy_scores(store)
    assert set(table.axis) == {"time"}
    assert set(table.roi) == {""}
    assert set(table.roi_rank) == {-1}
    assert set(table[table.signal == "all_activations"].role) == {"baseline"}


def test_order_of_images_in_the_stores_does_not_matter(tmp_path, latent, features, fmri):
    order = np.random.default_rng(3).permutation(N_IMAGES)
    shuffled = write_fmri(tmp_path / "shuffled.zarr", fmri_values(latent), order=order)
    xr.testing.assert_equal(fit(features, shuffled), fit(features, fmri))


def test_draws_are_the_same_for_every_layer(features, fmri):
    first, last = fit(features, fmri, layer="layer0"), fit(features, fmri, layer="layer2")
    for variable in ("boot", "null"):
        np.testing.assert_allclose(
            row(first, "all_activations", "r", variable),
            row(last, "all_activations", "r", variable),
            atol=1e-6,
        )


def test_rotating_virtual_voxels_changes_nothing(tmp_path, latent, features):
    roi = np.repeat(ROIS, 4)
    values = fmri_values(latent)
    generator = np.random.default_rng(7)
    rotations = [np.linalg.qr(generator.standard_normal((4, 4)))[0] for _ in ROIS]
    turned = np.concatenate(
        [part @ q for part, q in zip(np.split(values, 3, axis=1), rotations, strict=True)], axis=1
    )
    stores = []
    for name, response in (("plain", values), ("turned", turned)):
        path = tmp_path / f"{name}.zarr"
        stores.append(fit(features, write_fmri(path, response, roi=roi, rotation_invariant=True)))
    assert stores[0].sizes["target"] == 3
    assert list(stores[0]["roi"].values) == list(ROIS)
    for variable in stores[0].data_vars:
        # Responses are stored as float32.
        np.testing.assert_allclose(
            stores[0][variable].values, stores[1][variable].values, atol=2e-5, err_msg=variable
        )


def test_responses_that_are_not_pooled_do_change_under_rotation(tmp_path, latent, features):
    roi = np.repeat(ROIS, 4)
    values = fmri_values(latent) * np.linspace(0.1, 3, 12)
    q = np.linalg.qr(np.random.default_rng(7).standard_normal((12, 12)))[0]
    plain = fit(features, write_fmri(tmp_path / "plain.zarr", values, roi=roi))
    turned = fit(features, write_fmri(tmp_path / "turned.zarr", values @ q, roi=roi))
    assert np.abs(plain["unit_score"].values - turned["unit_score"].values).max() > 0.01


def test_test_images_touch_neither_standardisation_nor_selection(
    tmp_path, latent, features, monkeypatch
):
    """Garbage in the responses and features of test images leaves the fit bitwise the same."""
    solutions = []

    def record(*arguments, **options):
        result = search_and_solve(*arguments, **options)
        solutions.append(result[0])
        return result

    monkeypatch.setattr("gradbrain.encoding.regression.search_and_solve", record)
    values = fmri_values(latent)
    brain = read_responses(write_fmri(tmp_path / "plain.zarr", values))
    folds = grouped_folds(brain.groups, SETTINGS.n_folds, SETTINGS.seed)
    test_images = np.isin(IMAGE_IDS, brain.image_ids[folds == 0])

    def garbage(array):
        return np.where(test_images[:, None], 1e3 * np.roll(array, 1, axis=0) - 77, array)

    spoiled = []
    for layer in range(N_LAYERS):
        spoiled.append(tmp_path / f"spoiled{layer}.zarr")
        changed = {name: garbage(array) for name, array in signals(layer, latent).items()}
        write_features(spoiled[-1], layer, changed)
    spoiled_brain = write_fmri(tmp_path / "spoiled.zarr", garbage(values))
    runs = []
    settings = SETTINGS.model_copy(update={"baseline_components": 10})
    for paths, brain_path in ((features, tmp_path / "plain.zarr"), (spoiled, spoiled_brain)):
        brain = read_responses(brain_path)
        layer_features = read_features(paths, "layer1", brain.image_ids, brain_path)
        solutions.clear()
        SplitFits(layer_features, brain, settings).run()
        # Fits of the first outer fold: four single bands and four pairs.
        runs.append(solutions[:8])
    for clean, dirty in zip(*runs, strict=True):
        np.testing.assert_array_equal(clean.penalty, dirty.penalty)
        np.testing.assert_array_equal(clean.candidate, dirty.candidate)
        for ours, theirs in zip(clean.coefficients, dirty.coefficients, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def reduced(path, features, responses, settings):
    store = reduce_activations(features=features, responses=responses, settings=settings)
    write_store(path, store, kind="baseline")
    return path


@pytest.mark.parametrize("n_components", [10, 500], ids=["fewer", "more than there are"])
def test_components_taken_beforehand_give_the_store_of_a_fit_that_takes_them_itself(
    tmp_path, features, fmri, n_components
):
    settings = SETTINGS.model_copy(update={"baseline_components": n_components})
    common = {"layer": "layer1", "responses": fmri, "settings": settings, "study": "test"}
    alone = fit_encoding(features=features, **common)
    baseline = reduced(tmp_path / "baseline.zarr", features, fmri, settings)
    shared = fit_encoding(features=features[1:2], baseline=baseline, **common)
    xr.testing.assert_allclose(shared, alone, rtol=1e-9, atol=1e-12)
    assert shared.attrs == alone.attrs


def test_components_of_other_settings_features_or_images_are_refused(
    tmp_path, latent, features, fmri
):
    settings = SETTINGS.model_copy(update={"baseline_components": 10})
    baseline = reduced(tmp_path / "baseline.zarr", features, fmri, settings)

    def refit(paths=features[1:2], **changes):
        changed = settings.model_copy(update=changes)
        return fit_encoding(
            features=paths,
            layer="layer1",
            responses=fmri,
            settings=changed,
            study="test",
            baseline=baseline,
        )

    with pytest.raises(EncodingError, match=r"baseline\.zarr: was made with .*'n_folds': 5"):
        refit(n_folds=4)
    other = tmp_path / "other.zarr"
    write_features(other, 1, {**signals(1, latent), "activation": signals(2, latent)["gradient"]})
    with pytest.raises(EncodingError, match="other features of layer 'layer1'"):
        refit([other])
    # What the components do not depend on may differ.
    refit(n_penalties=3)
    regrouped = open_store(fmri, kind="responses").load()
    regrouped = regrouped.assign_coords(group=("image", IMAGE_IDS[::-1]))
    regrouped.attrs.pop("digest")
    write_store(fmri, regrouped, kind="responses")
    with pytest.raises(EncodingError, match="was made for other responses than"):
        refit()


def test_layers_of_different_weights_are_not_joined(tmp_path, latent, features, fmri):
    other = tmp_path / "other.zarr"
    write_features(other, 2, signals(2, latent), weights_digest="b" * 64)
    match = "extracted with different weights_digest"
    refused([*features[:2], other], fmri, match, error=StoreError)


def test_components_of_images_that_repeat_are_as_many_as_the_images_span():
    rows = np.random.default_rng(0).standard_normal((60, 400))
    train, test = np.repeat(rows[:50], 3, axis=0), rows[50:]
    train, test = train - train.mean(0), test - train.mean(0)
    inside, outside = principal_components(train, test, 120)
    assert inside.shape == (150, 49)
    np.testing.assert_allclose(inside @ inside.T, train @ train.T, atol=1e-8)
    assert np.isfinite(outside).all()
    assert np.abs(outside).max() < 10 * np.abs(inside).max()


def test_garbage_in_held_out_images_leaves_the_components_of_training_images(
    tmp_path, latent, features, fmri
):
    settings = SETTINGS.model_copy(update={"baseline_components": 10})
    clean = reduce_activations(features=features, responses=fmri, settings=settings)
    groups = read_responses(fmri).groups
    held_out = grouped_folds(groups, settings.n_folds, settings.seed) == 0
    ids = clean["image_id"].values[held_out]
    spoiled = []
    for layer in range(N_LAYERS):
        values = signals(layer, latent)
        values["activation"][np.isin(IMAGE_IDS, ids)] *= -1e3
        spoiled.append(tmp_path / f"spoiled{layer}.zarr")
        write_features(spoiled[-1], layer, values)
    dirty = reduce_activations(features=spoiled, responses=fmri, settings=settings)
    first = clean["component"].values[0], dirty["component"].values[0]
    np.testing.assert_array_equal(first[0][~held_out], first[1][~held_out])
    assert np.abs(first[0][held_out] - first[1][held_out]).max() > 1.0


def with_test_images(path, fmri, marked, n_repeats):
    store = open_store(fmri, kind="responses").load()
    store = store.assign_coords(
        test_image=("image", np.isin(store["image_id"].values, marked)),
        n_repeats=("image", np.where(np.isin(store["image_id"].values, marked), n_repeats, 1)),
    )
    digest = store.attrs.pop("digest")
    assert digest
    write_store(path, store, kind="responses")
    return path


def test_test_images_are_predicted_from_images_of_other_groups_alone(tmp_path, features, fmri):
    marked = IMAGE_IDS[np.isin(GROUPS, ["photograph-00", "photograph-01", "photograph-02"])][::2]
    path = with_test_images(tmp_path / "marked.zarr", fmri, marked, 4)
    store = fit(features, path)
    plain = fit(features, fmri)
    assert store.attrs["n_test_images"] == len(marked) == 6
    assert plain.attrs["n_test_images"] == 0
    # The folds are those of a data set without test images.
    xr.testing.assert_equal(
        store.isel(score_row=slice(0, plain.sizes["score_row"])).drop_vars(
            "n_repeats", errors="ignore"
        ),
        plain,
    )
    # The reference: ridge on the activation alone, from images that share no group with them.
    brain = read_responses(path)
    layer_features = read_features(features, "layer1", brain.image_ids, path)
    test = np.isin(brain.image_ids, marked)
    train = ~np.isin(brain.groups, np.unique(brain.groups[test]))
    assert train.sum() == 48
    X = layer_features.signals[layer_features.fits.others[0]]
    mean, scale = X[train].mean(0), X[train].std(0)
    X = (X - mean) / scale * np.sqrt(1000.0 / X.shape[1])
    Y = brain.values.T.astype(float)
    Y = (Y - Y[train].mean(0)) / Y[train].std(0)
    model = RidgeCV(alphas=np.logspace(0, 8, SETTINGS.n_penalties), alpha_per_target=True)
    predicted = model.fit(X[train], Y[train]).predict(X[test])
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, Y[test].T, strict=True)]
    fitted = fit(features, path, selection="loo")
    row = (fitted["signal"].values == "gradient") & (fitted["measure"].values == "test_r")
    found = fitted["score"].values[row][0][brain.target_order]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_ceiling_of_test_images_is_that_of_their_repeats(tmp_path, fmri):
    marked = IMAGE_IDS[:6]
    brain = read_responses(with_test_images(tmp_path / "marked.zarr", fmri, marked, 12))
    # Signal and noise of variance 1 and 3, averaged over 1 or 12 repeats.
    shares = np.where(np.isin(brain.image_ids, marked), 1 / 12, 1.0)
    whole = 1.0 / (1.0 + 3.0 * shares.mean())
    known = replace(brain, ceiling=np.array([whole, np.nan]))
    np.testing.assert_allclose(known.test_ceiling, [1.0 / (1.0 + 3.0 / 12), np.nan])


def test_test_images_that_leave_none_to_train_on_are_refused(tmp_path, features, fmri):
    first_of_each = [IMAGE_IDS[group == GROUPS][0] for group in np.unique(GROUPS)]
    path = with_test_images(tmp_path / "marked.zarr", fmri, first_of_each, 2)
    with pytest.raises(EncodingError, match="0 of the 60 images share no group with the 15 test"):
        fit(features, path)


def test_the_leak_test_catches_a_leak(tmp_path, latent, features):
    """Standardising with all images, test ones too, changes the bands of training images."""
    brain_path = write_fmri(tmp_path / "plain.zarr", fmri_values(latent))
    brain = read_responses(brain_path)
    layer_features = read_features(features, "layer1", brain.image_ids, brain_path)
    folds = grouped_folds(brain.groups, SETTINGS.n_folds, SETTINGS.seed)
    train, test = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    gradient = layer_features.fits.others[0]
    honest = make_bands(layer_features, OuterSplit(0, train, test), SETTINGS)[gradient]
    leaked = OuterSplit(0, np.arange(N_IMAGES), test)
    leaky = make_bands(layer_features, leaked, SETTINGS)[gradient]
    assert np.abs(honest.train - leaky.train[train]).max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {"solver": "himalaya"},
        {"selection": "gcv"},
        {"selection": "loo"},
        {"selection": "kfold"},
        {"penalty_scope": "roi"},
        {"baseline_components": 5},
        {"dtype": "float32"},
        {"target_batch": 5},
    ],
    ids=str,
)
def test_every_option_agrees_with_the_default_on_what_predicts(features, fmri, changes):
    default, other = fit(features, fmri), fit(features, fmri, **changes)
    for signal in ("activation", "gradient", "all_activations"):
        np.testing.assert_allclose(
            row(default, signal, "r", "unit_score"),
            row(other, signal, "r", "unit_score"),
            atol=0.08,
        )


def test_images_in_groups_are_selected_on_by_folds_that_keep_groups_together(features, fmri):
    assert choose_selection(SETTINGS, IMAGE_IDS) == ("gcv", 5)
    assert choose_selection(SETTINGS, GROUPS) == ("kfold", 5)
    assert choose_selection(SETTINGS, GROUPS[[0, 1, 2, 15, 16, 17]]) == ("kfold", 3)
    twins = np.where(IMAGE_IDS == "image-01", "image-00", IMAGE_IDS)
    assert choose_selection(SETTINGS, twins) == ("gcv", 5)
    asked = SETTINGS.model_copy(update={"selection": "loo"})
    assert choose_selection(asked, GROUPS) == ("loo", 5)
    chosen = fit(features, fmri)
    np.testing.assert_array_equal(
        row(chosen, "gradient", "r", "unit_score"),
        row(fit(features, fmri, selection="kfold"), "gradient", "r", "unit_score"),
    )
    by_gcv = row(fit(features, fmri, selection="gcv"), "gradient", "r", "unit_score")
    assert not np.array_equal(row(chosen, "gradient", "r", "unit_score"), by_gcv)


def test_the_error_of_inner_folds_names_their_own_setting(features, fmri):
    with pytest.raises(EncodingError, match=r"encoding.n_inner_folds is 13, .* 12 groups"):
        fit(features, fmri, selection="kfold", n_inner_folds=13)


def test_torch_gives_the_store_of_numpy_and_the_device_does_not_enter_it(features, fmri):
    ours = fit(features, fmri)
    theirs = fit(features, fmri, backend="torch", device="cpu")
    for variable in ours.data_vars:
        np.testing.assert_allclose(
            ours[variable].values, theirs[variable].values, atol=1e-6, err_msg=variable
        )
    assert theirs.attrs["settings"]["backend"] == "torch"
    assert "device" not in theirs.attrs["settings"]


def test_targets_of_a_region_share_their_penalty_when_asked(features, fmri):
    store = fit(features, fmri, penalty_scope="roi")
    for targets in (slice(0, 11, 3), slice(1, 11, 3)):
        chosen = store["penalty_log10"].values[:, targets]
        np.testing.assert_allclose(chosen, chosen[:, :1] * np.ones(chosen.shape[1]), atol=1e-6)


def test_unreliable_targets_are_left_out_of_units_and_counted(tmp_path, latent, features):
    ceiling = np.full(12, 0.5)
    ceiling[[0, 4]] = 0.01, np.nan
    path = tmp_path / "ceiling.zarr"
    values = fmri_values(latent)
    store = fit(features, write_fmri(path, values, ceiling=ceiling), min_noise_ceiling=0.1)
    assert store.attrs["n_unreliable_targets"] == 2
    assert store.attrs["n_unit_targets"] == [3, 3, 3]
    np.testing.assert_allclose(
        row(store, "activation", "r", "unit_score")[0],
        row(store, "activation", "r")[[3, 6, 9]].mean(),
        atol=1e-6,
    )


def test_reliable_targets_are_marked_in_the_store(tmp_path, latent, features):
    ceiling = np.full(12, 0.5)
    ceiling[[0, 4]] = 0.01, np.nan
    path = write_fmri(tmp_path / "ceiling.zarr", fmri_values(latent), ceiling=ceiling)
    marked = fit(features, path, min_noise_ceiling=0.1)["reliable"]
    assert marked.dims == ("target",)
    np.testing.assert_array_equal(marked.values, ~np.isin(np.arange(12), [0, 4]))
    # Without a threshold nothing is unreliable.
    assert fit(features, path)["reliable"].values.all()


def test_normalised_scores_are_means_over_targets_whose_ceiling_is_above_the_floor(
    tmp_path, latent, features
):
    ceiling = np.linspace(0.3, 0.9, 12)
    ceiling[[0, 4]] = 0.05, np.nan
    # All of IT is below the floor.
    ceiling[2:11:3] = 0.01
    path = write_fmri(tmp_path / "ceiling.zarr", fmri_values(latent), ceiling=ceiling)
    store = fit(features, path)
    write_store(tmp_path / "out.zarr", store, kind="encoding")
    assert store.attrs["n_targets_below_ceiling_floor"] == 5
    known = np.where(ceiling >= 0.1, ceiling, np.nan)
    for signal in ("activation", "all_activations", "gradient"):
        for measure, scale in (("r", known**-0.5), ("r2", 1 / known)):
            normalised = row(store, signal, f"{measure}_normalised")
            np.testing.assert_allclose(normalised, row(store, signal, measure) * scale, atol=1e-6)
            units = row(store, signal, f"{measure}_normalised", "unit_score")
            for place, targets in enumerate(([3, 6, 9], [1, 7, 10])):
                np.testing.assert_allclose(units[place], normalised[targets].mean(), atol=1e-6)
            assert np.isnan(units[2])
            for draws in ("boot", "null"):
                found = row(store, signal, f"{measure}_normalised", draws)
                assert np.isnan(found[:, 2]).all()
                assert np.isfinite(found[:, :2]).all()
    table = tidy_scores(store)
    rows = table[(table.measure == "r_normalised") & (table.signal == "gradient")]
    np.testing.assert_allclose(rows.value, row(store, "gradient", "r_normalised", "unit_score"))


def test_responses_without_a_ceiling_have_no_normalised_scores(tmp_path, latent, features):
    unknown = write_fmri(
        tmp_path / "unknown.zarr", fmri_values(latent), ceiling=np.full(12, np.nan)
    )
    for responses in (unknown, write_meg(tmp_path / "meg.zarr", latent)):
        measures = set(fit(features, responses)["measure"].values)
        assert not {"r_normalised", "r2_normalised"} & measures


def test_predictions_of_named_regions_are_kept_in_units_of_the_responses(
    tmp_path, latent, features
):
    values = fmri_values(latent) * 50 + 1000
    path = write_fmri(tmp_path / "scaled.zarr", values)
    store = fit(features, path, save_predictions=("IT", "elsewhere"))
    np.testing.assert_array_equal(store["saved_target"].values, [2, 5, 8])
    np.testing.assert_array_equal(store["roi"].values[[2, 5, 8]], ["IT"] * 3)
    place = [int(np.flatnonzero(name == IMAGE_IDS)[0]) for name in store["image_id"].values]
    predicted = store["prediction"].sel(fit=store["fit"] == "activation").values[0]
    truth = values[place][:, [2, 5, 8]]
    for column in range(3):
        assert np.corrcoef(predicted[:, column], truth[:, column])[0, 1] > 0.3
    np.testing.assert_allclose(predicted.mean(), truth.mean(), rtol=0.02)


def test_penalties_on_the_edge_are_counted_and_reported(features, fmri, caplog):
    store = fit(features, fmri, log10_penalty_min=6, log10_penalty_max=8)
    assert row(store, "gradient", "r", "edge_share") > 0.5
    assert "lie on the edge of the grid 1e6 to 1e8" in caplog.text


def test_the_table_tells_the_share_on_the_edge_and_the_mean_band_weight(features, fmri):
    store = fit(features, fmri)
    table = tidy_scores(store)
    np.testing.assert_array_equal(
        table.edge_share, np.repeat(store["edge_share"].values, store.sizes["unit"])
    )
    fits = list(store["fit"].values)
    fit_of_measure = {
        "joint_r": "activation+gradient",
        "split_signal_r2": "activation+gradient",
        "layer_unique_r2": "activation+gradient",
        "full_r2": "all_activations+gradient",
        "unique_r2": "all_activations+gradient",
    }
    for measure, name in fit_of_measure.items():
        weights = np.array(
            [store["band_weight"].values[fits.index(name), first:11:3].mean() for first in range(3)]
        )
        rows = table[(table.signal == "gradient") & (table.measure == measure)]
        np.testing.assert_allclose(rows.band_weight, weights, atol=1e-6)
        assert 0 < weights.min() <= weights.max() < 1
    assert (table[table.measure == "r"].band_weight == 1).all()


def test_targets_that_share_a_unit_in_pooled_scores_share_its_band_weight(
    tmp_path, latent, features
):
    roi = np.repeat(ROIS, 4)
    path = write_fmri(tmp_path / "v.zarr", fmri_values(latent), roi=roi, rotation_invariant=True)
    store = fit(features, path)
    np.testing.assert_allclose(
        store["unit_band_weight"].values, store["band_weight"].values, atol=1e-6
    )


def refused(features, responses, match, error=EncodingError, **options):
    with pytest.raises(error, match=match):
        fit(features, responses, **options)


def test_a_missing_image_names_both_stores(tmp_path, latent, features, fmri):
    write_features(
        features[0],
        0,
        {name: values[:-2] for name, values in signals(0, latent).items()},
        image_ids=IMAGE_IDS[:-2],
    )
    match = r"layer0.zarr lacks 2 of the 60 images of .*fmri.zarr.*image-58"
    refused(features, fmri, match, error=StoreError)


def test_features_that_are_not_finite_are_refused(tmp_path, latent, features, fmri):
    spoiled = signals(1, latent)
    spoiled["gradient"][3, 4] = np.inf
    write_features(features[1], 1, spoiled, missing=True)
    match = "layer1.zarr: 'gradient' holds 1 NaN or infinite of 2400"
    refused(features, fmri, match, error=StoreError)


def test_a_voxel_that_is_dead_in_one_session_is_scored_in_the_others(
    tmp_path, latent, features, caplog
):
    """Its responses to the images of one fold are its mean over all others."""
    values = fmri_values(latent)
    fold = grouped_folds(GROUPS, SETTINGS.n_folds, SETTINGS.seed)
    dead = values.copy()
    dead[fold == 0, 3] = 100 + dead[fold != 0, 3].mean()
    dead[fold != 0, 3] += 100
    whole = fit(features, write_fmri(tmp_path / "a.zarr", values))
    assert not whole["masked_folds"].any() and "do not vary" not in caplog.text
    store = fit(features, write_fmri(tmp_path / "b.zarr", dead))
    assert np.flatnonzero(store["masked_folds"]).tolist() == [3]
    assert "1 of 12 targets do not vary over the images of some outer fold" in caplog.text
    for measure in ("r", "r2", "unique_r2", "full_r2"):
        signal = "activation" if measure in ("r", "r2") else "gradient"
        scores = row(store, signal, measure)
        # Before, R² was -1e9 and less here.
        assert np.isfinite(scores).all() and (scores > -20).all()
        others = np.delete(np.arange(len(scores)), 3)
        np.testing.assert_allclose(scores[others], row(whole, signal, measure)[others], atol=1e-5)
    assert np.isfinite(store["boot"].values).all() and (store["boot"].values > -100).all()
    table = tidy_scores(store)
    assert table.groupby("roi")["n_masked"].max().sum() == 1


def test_a_voxel_that_is_alive_in_one_session_only_has_no_score_there(tmp_path, latent, features):
    """A constant leaves the rounding of its mean in training, by which nothing may be divided."""
    values = fmri_values(latent)
    fold = grouped_folds(GROUPS, SETTINGS.n_folds, SETTINGS.seed)
    values[fold != 0, 3] = 0.1
    store = fit(features, write_fmri(tmp_path / "a.zarr", values))
    assert store["masked_folds"].values[3] == SETTINGS.n_folds
    assert np.isnan(row(store, "activation", "r2")[3])
    units = store["unit_score"].values
    assert np.isfinite(units).all() and (units > -20).all()


def test_responses_that_are_constant_or_repeat_images_are_refused(tmp_path, latent, features):
    values = fmri_values(latent)
    values[:, 3] = 2.0
    refused(features, write_fmri(tmp_path / "a.zarr", values), "1 of 12 targets are constant")
    twice = np.r_[np.arange(N_IMAGES - 1), 0]
    path = write_fmri(tmp_path / "b.zarr", fmri_values(latent), order=twice)
    match = "b.zarr: 1 image ids occur more than once, first image-00"
    refused(features, path, match, error=StoreError)


def test_layers_and_models_must_fit_together(tmp_path, latent, features, fmri):
    refused(features, fmri, "layer 'layer9' is in 0 of the 3 feature stores", layer="layer9")
    match = "two feature stores of layer layer1 were given"
    refused([*features, features[1]], fmri, match, error=StoreError)
    write_features(features[2], 2, signals(2, latent), model="other")
    match = r"different models were given \(net, other\)"
    refused(features, fmri, match, error=StoreError)


def test_too_few_groups_for_the_folds_are_refused(features, fmri):
    refused(features, fmri, "encoding.n_folds is 16, .* 15 groups", n_folds=16)


def test_folds_of_a_single_group_are_reported(features, fmri, caplog):
    fit(features, fmri, n_folds=14)
    assert "hold one group of images each" in caplog.text


def test_a_region_without_targets_is_refused(tmp_path, latent, features):
    path = write_fmri(tmp_path / "a.zarr", fmri_values(latent), roi=np.array(["V1"] * 12))
    refused(features, path, r"\['IT', 'V2'\] has no target")


def test_signals_of_another_rule_leave_every_row_of_all_others_as_it_was(
    tmp_path, latent, features, fmri
):
    """Bit by bit, in the store and in the table, the share on the edge included."""
    wider = {}
    for layer in range(N_LAYERS):
        values = signals(layer, latent)
        # In the midst of the set, and of the width and name of others.
        wider[layer] = {
            "activation": values["activation"],
            "perturbed": signals(layer, latent[::-1])["gradient"],
            "gradient": values["gradient"],
            "another": signals(layer + 7, latent)["control"],
            "control": values["control"],
        }
    identities = {
        **IDENTITIES,
        "perturbed": ("learning", "perturbation", "dino"),
        "another": ("control", "perturbation", "feature_norm"),
    }
    paths = [
        write_features(tmp_path / f"wider{layer}.zarr", layer, values, identities=identities)
        for layer, values in wider.items()
    ]
    # A narrow grid, so that shares on the edge are not zero; regions of odd sizes.
    options = {"log10_penalty_max": 3, "selection": "gcv", "dtype": "float32"}
    for responses in (fmri, write_meg(tmp_path / "meg.zarr", latent)):
        small, large = (fit(given, responses, **options) for given in (features, paths))
        old = ~np.isin(large["signal"].values, ["perturbed", "another"])
        assert np.count_nonzero(~old) == 2 * (2 + len(PAIRS)) + (
            4 if "r_normalised" in large["measure"].values else 0
        )
        assert small["edge_share"].values.max() > 0
        kept = large.isel(score_row=np.flatnonzero(old))
        for name in ("score", "unit_score", "boot", "null", "signal", "role", "rule", "objective",
                     "measure", "edge_share"):  # fmt: skip
            np.testing.assert_array_equal(kept[name].values, small[name].values, err_msg=name)
        np.testing.assert_array_equal(
            large["fit"].values[kept["row_fit"].values],
            small["fit"].values[small["row_fit"].values],
        )
        table = tidy_scores(large)
        table = table[~table.signal.isin(["perturbed", "another"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, tidy_scores(small), check_exact=True)


@pytest.mark.parametrize("name", ["all_activations", "magnitude", "signal", "image", "activation"])
def test_a_signal_may_be_called_anything(tmp_path, latent, features, fmri, name):
    """Also as the baseline, as an array or coordinate of a store, or as another role."""
    other = {"gradient": name, "activation": "gradient" if name == "activation" else "activation"}
    identities = {other.get(old, old): who for old, who in IDENTITIES.items()}
    paths = []
    for layer in range(N_LAYERS):
        values = {other.get(old, old): array for old, array in signals(layer, latent).items()}
        path = tmp_path / f"renamed{layer}.zarr"
        paths.append(write_features(path, layer, values, identities=identities))
    plain, renamed = fit(features, fmri), fit(paths, fmri)
    for variable in plain.data_vars:
        np.testing.assert_array_equal(plain[variable].values, renamed[variable].values)
    for coordinate in ("role", "rule", "objective", "measure", "row_fit", "edge_share", "fit_role"):
        np.testing.assert_array_equal(plain[coordinate].values, renamed[coordinate].values)
    tables = [tidy_scores(store).drop(columns="signal") for store in (plain, renamed)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    write_store(tmp_path / "fit.zarr", renamed, kind="encoding")


def test_an_activation_is_found_by_its_role_and_there_is_one(tmp_path, latent, features, fmri):
    values = signals(1, latent)
    none = {**IDENTITIES, "activation": ("control", "activation", "")}
    write_features(features[1], 1, values, identities=none)
    match = r"layer1.zarr: 0 signals have the role 'activation'"
    refused(features, fmri, match, error=StoreError)
    two = {**IDENTITIES, "control": ("activation", "activation", "")}
    write_features(features[1], 1, values, identities=two)
    match = r"2 signals have the role 'activation' \(activation, control\)"
    refused(features, fmri, match, error=StoreError)


def test_the_share_on_the_edge_is_that_of_the_fits_of_the_signal(features, fmri):
    """Counted over the targets that are predicted above zero."""
    options = {"n_folds": 2, "log10_penalty_max": 2, "n_penalties": 4, "selection": "gcv"}
    brain = read_responses(fmri)
    layer = read_features(features, "layer1", brain.image_ids, fmri)
    one, other = layer.fits.others
    averages = Averages.zeros(1, 1, 1, brain.layout)
    blank = np.zeros(4)
    found = BandFit((), blank, np.array([True, True, False, False]), np.ones((1, 4)), blank)
    score = Score(np.array([0.2, -0.1, 0.1, 0.0]), blank, blank)
    layout = UnitLayout(("V1",), np.array([4]), 4, False)
    averages.count_edges(one, found, score, layout)
    assert averages.edge_share([one]) == 1 / 2
    assert averages.edge_share([other]) == 0
    averages.count_edges(other, found, Score(np.ones(4), blank, blank), layout)
    assert averages.edge_share([one, other]) == 3 / 6
    averages = SplitFits(layer, brain, SETTINGS.model_copy(update=options)).run()
    store = fit(features, fmri, **options)
    for signal in layer.fits.singles:
        assert row(store, signal.name, "r", "edge_share") == averages.edge_share([signal])


NUISANCE = {"name": "gabor", "model": "bank", "layer": "energy", "signal_set": "set"}


@pytest.fixture
def gabor(tmp_path, latent):
    """A feature space of another model, which holds what of the layer its gradient alone holds."""
    return write_gabor(tmp_path / "gabor.zarr", latent)


def write_gabor(path, latent, order=slice(None), **attrs):
    generator = np.random.default_rng(11)
    values = latent[:, 4:] @ generator.standard_normal((1, 12))
    values = values + 0.2 * generator.standard_normal(values.shape)
    described = {"model": "bank", "layer": "energy", **attrs}
    write_features(path, 0, {"activation": values[order]}, IMAGE_IDS[order], **described)
    return path


def with_gabor(features, responses, gabor, *, bands=(NUISANCE,), **changes):
    settings = SETTINGS.model_dump() | {"n_simplex_draws": 6, "selection": "gcv"} | changes
    settings["nuisance"] = bands
    return fit_encoding(
        features=features,
        layer="layer1",
        responses=responses,
        settings=EncodingSettings.model_validate(settings),
        study="test",
        nuisance=[gabor] * len(bands) if not isinstance(gabor, list) else gabor,
    )


def test_signals_must_exceed_the_nuisance_bands_too(tmp_path, features, fmri, gabor):
    plain = fit(features, fmri, selection="gcv")
    store = with_gabor(features, fmri, gabor)
    assert row(plain, "gradient", "unique_r2", "unit_score").mean() > 0.05
    # The latent that only the gradient had is the nuisance band's as well.
    assert row(store, "gradient", "unique_r2", "unit_score").mean() < 0.03
    alone = {
        name: row(store, name, "r2", "unit_score").mean() for name in ("all_activations", "gabor")
    }
    assert alone["all_activations"] > row(plain, "all_activations", "r2", "unit_score").mean()
    assert alone["all_activations"] > alone["gabor"] > 0
    of_gabor = store.isel(score_row=store["signal"].values == "gabor")
    assert list(of_gabor["measure"].values) == ["r", "r2", "r_normalised", "r2_normalised"]
    assert set(of_gabor["role"].values) == {"nuisance"}
    assert set(of_gabor["rule"].values) == {"activation"}
    for variable in ("score", "unit_score", "boot"):
        baseline = row(store, "all_activations", "r2", variable)
        for signal in ("gradient", "control"):
            gained = row(store, signal, "full_r2", variable) - baseline
            np.testing.assert_allclose(row(store, signal, "unique_r2", variable), gained, atol=1e-6)
    # What has no part in it is as it was.
    for signal, measures in {
        "activation": ("r", "r2"),
        "gradient": ("r", "joint_r2", "split_signal_r2", "layer_unique_r2"),
    }.items():
        for measure in measures:
            for variable in ("score", "unit_score", "boot", "null"):
                np.testing.assert_array_equal(
                    row(store, signal, measure, variable), row(plain, signal, measure, variable)
                )
    bands = [tuple(filter(None, names)) for names in store["fit_band"].values]
    assert bands[int(row(store, "gradient", "unique_r2", "row_fit"))] == (
        "all_activations", "gabor", "gradient",
    )  # fmt: skip
    assert store.attrs["nuisance_digests"] == [open_store(gabor, kind="features").attrs["digest"]]
    write_store(tmp_path / "fit.zarr", store, kind="encoding")
    write_table(tmp_path / "fit.parquet", tidy_scores(store), kind="fit_scores")


def test_order_of_images_and_of_calls_does_not_matter_to_nuisance_bands(
    tmp_path, latent, features, fmri, gabor
):
    order = np.random.default_rng(3).permutation(N_IMAGES)
    shuffled = write_gabor(tmp_path / "shuffled.zarr", latent, order)
    first, second = (with_gabor(features, fmri, path) for path in (gabor, shuffled))
    xr.testing.assert_equal(first, second)


def test_himalaya_agrees_on_what_predicts_beside_nuisance_bands(features, fmri, gabor):
    ours = with_gabor(features, fmri, gabor, selection="kfold")
    theirs = with_gabor(features, fmri, gabor, solver="himalaya")
    for signal, measure in (
        ("gabor", "r"),
        ("all_activations", "r"),
        ("gradient", "full_r"),
        ("control", "full_r"),
    ):
        np.testing.assert_allclose(
            row(ours, signal, measure, "unit_score"),
            row(theirs, signal, measure, "unit_score"),
            atol=0.02,
        )
    for store in (ours, theirs):
        assert row(store, "gradient", "unique_r2", "unit_score").mean() < 0.03


def test_two_nuisance_bands_and_signals_of_their_names_are_told_apart(features, fmri, gabor):
    bands = (NUISANCE, {**NUISANCE, "name": "gradient"})
    store = with_gabor(features, fmri, gabor, bands=bands)
    found = [
        (str(name), str(role))
        for name, role in zip(store["signal"].values, store["role"].values, strict=True)
    ]
    for who in (("gradient", "learning"), ("gradient", "nuisance"), ("gabor", "nuisance")):
        assert who in found
    scores = store["score"].values
    measures = store["measure"].values
    same = [
        scores[[place for place, who in enumerate(found) if who == (name, "nuisance")
                and measures[place] == "r"]]
        for name in ("gabor", "gradient")
    ]  # fmt: skip
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize("n_components", [10, 500], ids=["fewer", "more than there are"])
def test_reduced_activations_stand_beside_nuisance_bands(
    tmp_path, features, fmri, gabor, n_components
):
    changes = {"baseline_components": n_components}
    alone = with_gabor(features, fmri, gabor, **changes)
    settings = EncodingSettings.model_validate(
        SETTINGS.model_dump() | changes | {"n_simplex_draws": 6, "selection": "gcv",
                                           "nuisance": [NUISANCE]}
    )  # fmt: skip
    shared = fit_encoding(
        features=features[1:2],
        layer="layer1",
        responses=fmri,
        settings=settings,
        study="test",
        baseline=reduced(tmp_path / "baseline.zarr", features, fmri, settings),
        nuisance=[gabor],
    )
    xr.testing.assert_allclose(shared, alone, rtol=1e-9, atol=1e-12)
    assert shared.attrs == alone.attrs


def test_test_images_are_scored_beside_nuisance_bands(tmp_path, features, fmri, gabor):
    marked = IMAGE_IDS[np.isin(GROUPS, ["photograph-00", "photograph-01", "photograph-02"])][::2]
    path = with_test_images(tmp_path / "marked.zarr", fmri, marked, 4)
    store = with_gabor(features, path, gabor)
    gained = row(store, "gradient", "test_full_r2") - row(store, "all_activations", "test_r2")
    np.testing.assert_allclose(row(store, "gradient", "test_unique_r2"), gained, atol=1e-6)
    assert np.isfinite(row(store, "gabor", "test_r")).all()


def test_nuisance_stores_that_are_not_those_of_their_bands_are_refused(
    tmp_path, latent, features, fmri, gabor
):
    def wrong(match, gabor=gabor, error=EncodingError, bands=(NUISANCE,)):
        with pytest.raises(error, match=match):
            with_gabor(features, fmri, gabor, bands=bands)

    wrong(r"names 1 bands \(gabor\), and 0 feature stores were given", gabor=[])
    wrong("names 0 bands .none., and 1 feature stores", gabor=[gabor], bands=())
    wrong("nuisance: gabor is there twice", bands=(NUISANCE, NUISANCE), error=ValueError)
    wrong(
        r"gabor.zarr: is not the store of the nuisance band 'gabor' .*model 'bank', expected 'net'",
        bands=({**NUISANCE, "model": "net"},),
    )
    wrong("layer 'energy', expected 'c1'", bands=({**NUISANCE, "layer": "c1"},))
    wrong("signal_set 'set', expected 'x'", bands=({**NUISANCE, "signal_set": "x"},))
    wrong(
        "gabor.zarr: holds no signal 'gradient', only activation",
        error=StoreError,
        bands=({**NUISANCE, "signal": "gradient"},),
    )
    other = write_gabor(tmp_path / "other.zarr", latent, stimuli="others")
    wrong("stimuli 'others', expected 'images'", gabor=other)
    short = write_gabor(tmp_path / "short.zarr", latent, slice(0, -2))
    wrong("short.zarr lacks 2 of the 60 images of .*fmri.zarr", gabor=short, error=StoreError)


def test_command_takes_nuisance_stores_in_the_order_of_the_settings(
    tmp_path, features, fmri, gabor
):
    settings = SETTINGS.model_dump(mode="json") | {"n_simplex_draws": 6, "nuisance": [NUISANCE]}
    output, table = tmp_path / "out.zarr", tmp_path / "out.parquet"
    main(["--features", *map(str, features), "--nuisance", str(gabor), "--layers", "layer1",
          "--responses", str(fmri), "--settings", json.dumps(settings), "--study", "test",
          "--output", str(output), "--table", str(table)])  # fmt: skip
    scores = read_table(table, kind="fit_scores")
    assert set(scores.loc[scores.role == "nuisance", "signal"]) == {"gabor"}
    again = open_store(output, kind="encoding").attrs["settings"]["nuisance"]
    assert again == [{**NUISANCE, "signal": None}]


def with_folds(path, responses, folds):
    """The same responses, in outer folds of a study's own."""
    dataset = open_store(responses, kind="responses").load()
    folds = pd.Series(folds, index=IMAGE_IDS).loc[dataset["image_id"].values]
    dataset = dataset.assign_coords(fold=("image", folds.to_numpy(dtype=np.int64)))
    dataset.attrs.pop("digest", None)
    write_store(path, dataset, kind="responses")
    return path


def test_folds_of_a_study_are_those_of_the_fits(tmp_path, features, fmri):
    own = grouped_folds(GROUPS, 3, SETTINGS.seed)
    given = with_folds(tmp_path / "given.zarr", fmri, own)
    expected = fit(features, fmri, n_folds=3)
    # n_folds of the settings is another: that of the folds counts, in the store too.
    found = fit(features, given, n_folds=5)
    xr.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.attrs["settings"]["n_folds"] == 3
    pd.testing.assert_frame_equal(tidy_scores(found), tidy_scores(expected))
    settings = SETTINGS.model_copy(update={"baseline_components": 10})
    baseline = reduced(tmp_path / "baseline.zarr", features, given, settings)
    whole = fit(features, given, baseline_components=10)
    shared = fit_encoding(
        features=features[1:2], baseline=baseline, layer="layer1", responses=given,
        settings=settings, study="test",
    )  # fmt: skip
    xr.testing.assert_allclose(shared, whole, rtol=1e-9, atol=1e-12)


def test_images_that_are_never_held_out_are_trained_on_alone(tmp_path, latent, features, fmri):
    held_out = np.isin(GROUPS, np.unique(GROUPS)[:5])
    given = with_folds(tmp_path / "given.zarr", fmri, np.where(held_out, 0, -1))
    found = fit(features, given, selection="gcv")
    assert found.attrs["settings"]["n_folds"] == 1
    table = tidy_scores(found)
    value = table[(table["signal"] == "activation") & (table["measure"] == "r")]["value"]
    assert np.isfinite(value).all() and value.mean() > 0.2
    # What is trained on and never held out moves the fit; what is held out does not.
    values = fmri_values(latent)
    other = values + np.where(held_out, 0, 1)[:, None] * np.roll(values, 7, axis=0)
    moved = with_folds(
        tmp_path / "moved.zarr",
        write_fmri(tmp_path / "o.zarr", other),
        np.where(held_out, 0, -1),
    )
    assert not np.allclose(
        row(fit(features, moved, selection="gcv"), "activation", "r"),
        row(found, "activation", "r"),
    )
    with pytest.raises(EncodingError, match="40 images are never held out"):
        fit(features, given, selection="gcv", save_predictions=("V1",))
