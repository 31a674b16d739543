"""The unique variance of signals on small stores: what is planted is found, and nothing else."""

import measure_rule_pairs
import numpy as np
import pytest
import xarray as xr
from measure_unique import main

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.inputs import (
    read_model_and_subject,
    read_model_features,
    read_responses,
)
from gradbrain.encoding.unique_part import explainable_of_units, image_blocks, measure_unique
from gradbrain.store import StoreError, open_store, read_table, write_store, write_tree

N_IMAGES, N_LAYERS, WIDTH, N_TARGETS = 90, 2, 30, 200
IMAGE_IDS = np.array([f"image-{number:02d}" for number in range(N_IMAGES)])
# Every image is a photograph of its own but for a few pairs.
GROUPS = np.array([f"photograph-{max(number, 4):02d}" for number in range(N_IMAGES)])
IDENTITIES = {
    "activation": ("activation", "activation", ""),
    "gradient": ("learning", "backprop", "dino"),
    "constant": ("learning", "backprop", "entropy"),
    "control": ("control", "backprop", "feature_norm"),
}
ROIS = ("V1", "IT")
SETTINGS = EncodingSettings(n_draws=19)
SHARE = 0.3
BAND = {"name": "gabor", "model": "bank", "layer": "energy", "signal_set": "set"}


def drawn(*seed, width=WIDTH):
    return np.random.default_rng(seed).standard_normal((N_IMAGES, width))


def signals(layer):
    """No signal knows anything of another."""
    return {
        "activation": drawn(layer, 0),
        "gradient": drawn(layer, 1),
        "constant": np.ones((N_IMAGES, 5)),
        "control": drawn(layer, 2),
    }


def write_features(path, number, values, order=slice(None), **attrs):
    described = {
        "model": "net",
        "layer": f"layer{number}",
        "depth": number / (N_LAYERS - 1),
        "pooling": "mean",
        "signal_set": "set",
        "stimuli": "images",
        **attrs,
    }
    identities = zip(*(IDENTITIES[name] for name in values), strict=True)
    ids = IMAGE_IDS[order]
    per_image = (("image", "signal"), np.zeros((len(ids), len(values)), np.float32))
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={
            "image_id": ("image", ids),
            "signal": ("signal", list(values)),
            **{
                name: ("signal", list(column))
                for name, column in zip(("role", "rule", "objective"), identities, strict=True)
            },
        },
        attrs=described,
    )
    arrays = {
        name: (("image", f"feature_{name}"), array[order].astype(np.float32))
        for name, array in values.items()
    }
    write_tree(
        path, xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)}), kind="features"
    )
    return path


@pytest.fixture
def features(tmp_path):
    return [
        write_features(tmp_path / f"layer{layer}.zarr", layer, signals(layer))
        for layer in range(N_LAYERS)
    ]


def read_out(values, seed, n_targets=N_TARGETS):
    """Targets of mean variance 1 under random weights, shape (n_images, n_targets)."""
    centred = values - values.mean(axis=0)
    weights = np.random.default_rng([7, seed]).standard_normal((values.shape[1], n_targets))
    made = centred @ weights
    return made / np.sqrt(np.mean(made**2))


def mixture(share=SHARE, source=None):
    """Responses of all activations, noise, and a share of another feature space."""
    other = signals(1)["gradient"] if source is None else source
    parts = [(0.2, read_out(signals(layer)["activation"], layer)) for layer in range(N_LAYERS)]
    parts += [(share, read_out(other, 8)), (0.6 - share, drawn(9, width=N_TARGETS))]
    return sum(np.sqrt(weight) * part for weight, part in parts)


def write_responses(path, values, order=None, targets=None, test_images=None, **attrs):
    order = np.arange(N_IMAGES) if order is None else order
    targets = np.arange(values.shape[1]) if targets is None else targets
    groups = attrs.pop("groups", GROUPS)
    coords = {
        "image_id": ("image", IMAGE_IDS[order]),
        "group": ("image", groups[order]),
        "n_repeats": ("image", np.ones(len(order), dtype=int)),
        "roi": ("target", np.resize(ROIS, values.shape[1])[targets]),
        "hemisphere": ("target", ["left"] * len(targets)),
        "x": ("target", targets * 1.0),
        "vertex": ("target", targets),
    }
    if test_images is not None:
        coords["test_image"] = ("image", test_images[order])
    ceiling = attrs.pop("ceiling", np.linspace(0.2, 0.6, values.shape[1]))[targets]
    described = {
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
        "roi_distance": {"V1": 0.0, "IT": 40.0},
        **attrs,
    }
    store = xr.Dataset(
        {
            "response": (("image", "target"), values[order][:, targets].astype(np.float32)),
            "noise_ceiling": ("target", ceiling.astype(np.float32), {"missing_allowed": True}),
        },
        coords=coords,
        attrs=described,
    )
    write_store(path, store, kind="responses")
    return path


@pytest.fixture
def planted(tmp_path):
    return write_responses(tmp_path / "planted.zarr", mixture())


def measure(features, responses, bands=(), **changes):
    settings = EncodingSettings.model_validate(SETTINGS.model_dump() | changes)
    model, brain = read_model_and_subject(features, responses, settings, bands)
    return measure_unique(model, brain, settings, "test")


def found(store, signal, layer=1):
    """Mean over regions of the estimate of a signal."""
    return float(store["component"].sel(layer=f"layer{layer}", signal=signal).mean())


def test_a_planted_share_is_found_where_it_is_and_nowhere_else(features, planted):
    store = measure(features, planted)
    assert found(store, "gradient") == pytest.approx(SHARE, abs=0.06)
    for layer, signal in ((0, "gradient"), (0, "control"), (1, "control")):
        assert abs(found(store, signal, layer)) < 0.06
    gradient = store.sel(layer="layer1", signal="gradient")
    assert (gradient["component"] > gradient["null"].max("draw")).all()
    # A planted share is unbiased: all of the responses would read as about all.
    assert gradient["held"].sel(kernel="scaled").mean() == pytest.approx(1.0, abs=0.15)
    np.testing.assert_allclose(store["explained"], 0.4, atol=0.1)
    np.testing.assert_allclose(store["explainable"], 0.4, atol=0.01)


def test_activations_alone_hold_no_signal(tmp_path, features):
    path = write_responses(tmp_path / "plain.zarr", mixture(share=0.0))
    store = measure(features, path)
    for layer in range(N_LAYERS):
        for signal in ("gradient", "control"):
            assert abs(found(store, signal, layer)) < 0.05


def test_a_signal_that_does_not_vary_has_exactly_nothing(features, planted):
    store = measure(features, planted).sel(signal="constant")
    for name in ("component", "null", "held", "cross_variance", "dose_variance", "new_share"):
        np.testing.assert_array_equal(store[name], 0.0)


def test_moments_are_known_of_learning_signals_alone(features, planted):
    store = measure(features, planted)
    learning = store["role"].values == "learning"
    for name in ("held", "cross_variance", "dose_variance"):
        assert np.isfinite(store[name].values[:, :, learning]).all()
        assert np.isnan(store[name].values[:, :, ~learning]).all()


def test_the_order_of_images_and_of_targets_does_not_matter(tmp_path, features, planted):
    random = np.random.default_rng(3)
    order, targets = random.permutation(N_IMAGES), random.permutation(N_TARGETS)
    shuffled = write_responses(tmp_path / "shuffled.zarr", mixture(), order, targets)
    turned = [
        write_features(tmp_path / f"turned{layer}.zarr", layer, signals(layer), order)
        for layer in range(N_LAYERS)
    ]
    first, second = measure(features, planted), measure(turned, shuffled)
    for name in first.data_vars:
        np.testing.assert_allclose(second[name], first[name], atol=1e-6)


def test_blocks_keep_groups_whole_and_are_of_one_size():
    groups = np.repeat([f"g{number:02d}" for number in range(30)], np.resize([1, 2, 5], 30))
    blocks = image_blocks(groups, 20, seed=0)
    assert len(blocks) == 4
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(len(groups)))
    members = [set(groups[block]) for block in blocks]
    assert sum(map(len, members)) == len(set().union(*members)) == 30
    sizes = [len(block) for block in blocks]
    assert max(sizes) - min(sizes) <= 5
    assert [list(b) for b in image_blocks(groups, 20, seed=0)] == [list(b) for b in blocks]
    assert len(image_blocks(groups, len(groups), seed=0)) == 1


def test_blocks_estimate_the_same_with_less_precision(features, planted):
    whole, blocks = measure(features, planted), measure(features, planted, unique_images=45)
    assert found(blocks, "gradient") == pytest.approx(SHARE, abs=0.1)
    assert abs(found(blocks, "control")) < 0.1
    # Of two independent blocks the null is wider than that of all pairs of images, by about √2.
    of_control = [store["null"].sel(signal="control") for store in (whole, blocks)]
    spread = [float(null.std("draw").mean()) for null in of_control]
    assert 1.0 < spread[1] / spread[0] < 2.2


def test_test_images_take_no_part(tmp_path, features):
    marked = np.arange(N_IMAGES) % 9 == 8
    values = mixture()
    first = write_responses(tmp_path / "first.zarr", values, test_images=marked)
    values[marked] = 100 * drawn(4, width=N_TARGETS)[marked]
    second = write_responses(tmp_path / "second.zarr", values, test_images=marked)
    stores = [measure(features, path) for path in (first, second)]
    assert stores[0].attrs["n_images"] == N_IMAGES - marked.sum()
    xr.testing.assert_equal(*stores)


def test_a_nuisance_band_takes_what_it_holds(tmp_path, features, planted):
    band = write_features(
        tmp_path / "band.zarr",
        0,
        {"activation": signals(1)["gradient"] + 0.2 * drawn(5)},
        model="bank",
        layer="energy",
    )
    store = measure(features, planted, [band], nuisance=[BAND])
    assert abs(found(store, "gradient")) < 0.1 < found(measure(features, planted), "gradient")
    np.testing.assert_allclose(store["explained"], 0.4 + SHARE, atol=0.12)
    assert store.attrs["nuisance_digests"] == [open_store(band, kind="features").attrs["digest"]]


def test_pooled_responses_give_the_same_when_they_are_rotated(tmp_path, features):
    values = mixture() * np.geomspace(0.5, 5, N_TARGETS)
    rotated = values.copy()
    for first in range(len(ROIS)):
        own = np.arange(first, N_TARGETS, len(ROIS))
        turn = np.linalg.qr(np.random.default_rng(first).standard_normal((len(own), len(own))))[0]
        rotated[:, own] = values[:, own] @ turn
    facts = {"rotation_invariant": True, "space": "rdm"}
    stores = [
        measure(features, write_responses(tmp_path / f"{name}.zarr", one, **facts))
        for name, one in (("plain", values), ("rotated", rotated))
    ]
    for name in ("component", "null", "held", "explained"):
        np.testing.assert_allclose(stores[1][name], stores[0][name], atol=1e-5)


def test_people_who_saw_the_same_images_share_kernels(tmp_path, features, planted):
    other = write_responses(tmp_path / "other.zarr", mixture(0.1))
    kernels = {}
    for path in (planted, other):
        brain = read_responses(path)
        model = read_model_features(features, brain.image_ids, path)
        shared = measure_unique(model, brain, SETTINGS, "study", kernels)
        xr.testing.assert_identical(shared, measure_unique(model, brain, SETTINGS, "study"))
    assert len(kernels) == 1


def test_what_can_be_explained_is_the_mean_over_targets_whose_ceiling_is_known(tmp_path, features):
    ceiling = np.resize([0.3, 0.2], N_TARGETS)
    ceiling[0] = np.nan
    ceiling[1::2] = np.nan
    responses = write_responses(tmp_path / "some.zarr", mixture(), ceiling=ceiling)
    _, brain = read_model_and_subject(features, responses, SETTINGS)
    explainable = dict(zip(brain.layout.names, explainable_of_units(brain), strict=True))
    assert explainable["V1"] == pytest.approx(0.3)
    assert np.isnan(explainable["IT"])


def test_what_groups_share_is_not_explained_by_activations(tmp_path, features):
    """Pairs of images share two fifths of the variance, and activations explain nothing."""
    pairs = np.arange(N_IMAGES) // 2
    groups = np.array([f"photograph-{pair:02d}" for pair in pairs])
    values = np.sqrt(0.4) * drawn(3, width=N_TARGETS)[pairs]
    values += np.sqrt(0.6) * drawn(4, width=N_TARGETS)
    responses = write_responses(tmp_path / "pairs.zarr", values, groups=groups)
    explained = measure(features, responses)["explained"]
    np.testing.assert_allclose(explained, 0.0, atol=0.1)


def test_settings_of_fits_do_not_enter(features, planted):
    plain = measure(features, planted)
    other = measure(features, planted, solver="himalaya", n_folds=3, selection="kfold")
    xr.testing.assert_identical(other, plain)
    assert set(plain.attrs["settings"]) == {
        "unique_images", "n_draws", "seed", "min_noise_ceiling", "nuisance",
    }  # fmt: skip


def test_the_command_writes_the_store_of_the_contract(tmp_path, features, planted):
    output = tmp_path / "out" / "unique.zarr"
    main(
        ["--features", *map(str, features), "--responses", str(planted), "--nuisance",
         "--settings", SETTINGS.model_dump_json(), "--study", "test", "--output", str(output)]
    )  # fmt: skip
    store = open_store(output, kind="unique", verify=True)
    assert store["component"].dims == ("layer", "signal", "unit")
    assert store["null"].shape == (19, N_LAYERS, 3, len(ROIS))
    assert list(store["signal"].values) == ["gradient", "constant", "control"]
    assert store.attrs["responses_digest"] == open_store(planted, kind="responses").attrs["digest"]
    digests = [open_store(path, kind="features").attrs["digest"] for path in features]
    assert list(store.attrs["features_digests"].values()) == digests
    assert store.attrs["n_unit_targets"] == [N_TARGETS // 2] * 2


def test_stores_that_do_not_belong_together_are_refused_by_name(tmp_path, features, planted):
    other = write_features(tmp_path / "other.zarr", 1, signals(1), model="other")
    with pytest.raises(StoreError, match=r"different models were given \(net, other\)"):
        measure([features[0], other], planted)
    few = {name: values for name, values in signals(1).items() if name != "control"}
    fewer = write_features(tmp_path / "fewer.zarr", 1, few)
    with pytest.raises(
        EncodingError, match=r"fewer\.zarr: holds the signals activation, gradient, c"
    ):
        measure([features[0], fewer], planted)
    with pytest.raises(StoreError, match="two feature stores of layer layer0 were given"):
        measure([features[0], features[0]], planted)


def test_too_few_groups_are_refused(tmp_path, features):
    groups = np.resize(["a", "b"], N_IMAGES)
    path = write_responses(tmp_path / "pairs.zarr", mixture(), groups=groups)
    with pytest.raises(EncodingError, match=r"made-s1: 2 groups of images; .* at least three"):
        measure(features, path)


# --- beside another signal ----------------------------------------------------------------------


@pytest.fixture
def twins(tmp_path):
    """Features of a gradient, of another signal that is it but for a little, and of a control."""

    def values(layer):
        own = signals(layer)
        twin = own["gradient"] + 0.3 * drawn(layer, 5)
        return {**own, "constant": twin}

    return [
        write_features(tmp_path / f"twin{layer}.zarr", layer, values(layer))
        for layer in range(N_LAYERS)
    ]


def write_pairs(output, features, responses, *pairs):
    settings = EncodingSettings.model_validate(SETTINGS.model_dump() | {"rule_pairs": pairs})
    measure_rule_pairs.main(
        ["--features", *map(str, features), "--responses", str(responses), "--nuisance",
         "--settings", settings.model_dump_json(), "--study", "test", "--output", str(output)]
    )  # fmt: skip
    return read_table(output, kind="rule_pairs")


def test_what_a_signal_shares_with_another_is_not_found_beside_it(tmp_path, twins, planted):
    pairs = write_pairs(
        tmp_path / "pairs.parquet", twins, planted, "gradient", "constant", "control"
    )
    assert len(pairs) == 6 * N_LAYERS * len(ROIS)
    mean = pairs.groupby(["layer", "signal", "other"])["component"].mean()["layer1"]
    assert mean["gradient", "control"] == pytest.approx(SHARE, abs=0.07)
    # The twin reads as most of it beside a stranger, and as next to nothing beside the original.
    assert mean["constant", "control"] > 0.2
    assert abs(mean["constant", "gradient"]) < 0.1
    assert abs(mean["control", "gradient"]) < 0.06
    gradient = pairs[(pairs["signal"] == "gradient") & (pairs["layer"] == "layer1")]
    beside_stranger = gradient[gradient["other"] == "control"]
    assert (beside_stranger["component"] > beside_stranger["null_high"]).all()
    of_nothing = pairs[pairs["signal"] == "control"]
    assert (of_nothing["component"] > of_nothing["null_high"]).mean() < 0.4
    assert set(pairs["explainable"].round(3)) == {0.399, 0.401}


def test_two_signals_with_parts_of_their_own_each_keep_theirs(tmp_path):
    """Half of the planted share is of each of two disjoint signals; a third one has none of it."""
    own = drawn(1, 6)
    features = [
        write_features(
            tmp_path / f"both{layer}.zarr",
            layer,
            {**signals(layer), "constant": own if layer else drawn(0, 6)},
        )
        for layer in range(N_LAYERS)
    ]
    half = SHARE / 2
    responses = mixture(half) + np.sqrt(half) * read_out(own, 10)
    path = write_responses(tmp_path / "both.zarr", responses)
    pairs = write_pairs(
        tmp_path / "pairs.parquet", features, path, "gradient", "constant", "control"
    )
    mean = pairs.groupby(["layer", "signal", "other"])["component"].mean()["layer1"]
    variance = responses.var(axis=0).mean()
    for signal, other in (("gradient", "constant"), ("constant", "gradient")):
        # Eight such brains have a standard deviation of .01.
        assert mean[signal, other] == pytest.approx(half / variance, abs=0.03)
        assert mean[signal, "control"] == pytest.approx(half / variance, abs=0.03)
        assert mean["control", other] == pytest.approx(0, abs=0.03)


def test_a_signal_has_nothing_beside_itself_at_another_length(tmp_path, planted):
    features = [
        write_features(
            tmp_path / f"copy{layer}.zarr",
            layer,
            {**signals(layer), "constant": 2.5 * signals(layer)["gradient"]},
        )
        for layer in range(N_LAYERS)
    ]
    pairs = write_pairs(tmp_path / "pairs.parquet", features, planted, "gradient", "constant")
    np.testing.assert_allclose(pairs["component"], 0, atol=0.01)


def test_beside_a_signal_that_does_not_vary_a_signal_has_what_it_has_alone(
    tmp_path, features, planted
):
    pairs = write_pairs(tmp_path / "pairs.parquet", features, planted, "gradient", "constant")
    of = pairs.groupby(["signal", "layer"])["component"].mean()
    alone = measure(features, planted)
    for layer in range(N_LAYERS):
        expected = found(alone, "gradient", layer)
        assert of["gradient", f"layer{layer}"] == pytest.approx(expected, abs=1e-6)
        assert of["constant", f"layer{layer}"] == 0.0


def test_activations_of_a_layer_that_do_not_vary_explain_nothing(tmp_path, planted):
    layers = [signals(layer) for layer in range(N_LAYERS)]
    layers[0]["activation"] = np.ones((N_IMAGES, WIDTH))
    features = [
        write_features(tmp_path / f"still{number}.zarr", number, values)
        for number, values in enumerate(layers)
    ]
    store = measure(features, planted)
    assert np.isfinite(store["component"]).all()
    assert found(store, "gradient") == pytest.approx(SHARE, abs=0.1)


def test_pairs_of_signals_that_features_lack_are_refused(tmp_path, twins, planted):
    with pytest.raises(EncodingError, match="rule_pairs: sign_symmetry: not among the signals"):
        write_pairs(tmp_path / "pairs.parquet", twins, planted, "gradient", "sign_symmetry")
    with pytest.raises(ValueError, match="name two signals or more"):
        EncodingSettings(rule_pairs=("gradient",))
