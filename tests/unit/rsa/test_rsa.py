import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from gradbrain.config.schema import RsaSettings
from gradbrain.rsa import compare as comparison
from gradbrain.rsa.compare import compare
from gradbrain.rsa.dissimilarity import (
    correlation_distance,
    embedded_distance,
    standardised_ranks,
)
from gradbrain.rsa.errors import RsaError
from gradbrain.rsa.permutation import (
    block_permutations,
    permutation_p,
    permuted_correlations,
)
from gradbrain.store import StoreError, read_table, write_store, write_tree
from gradbrain.vocabulary.artefacts import columns_of

ROOT = Path(__file__).resolve().parents[3]
N = 24
# Role, rule and objective.
IDENTITIES = {
    "activation": ("activation", "activation", ""),
    "gradient_dino": ("learning", "backprop", "dino"),
}


def feature_store(path, layer, depth, signals, *, model="net", ids=None, identities=IDENTITIES):
    n = len(next(iter(signals.values())))
    ids = [f"image-{k:03d}" for k in range(n)] if ids is None else ids
    per_image = (("image", "signal"), np.zeros((n, len(signals)), np.float32))
    roles, rules, objectives = zip(*(identities[name] for name in signals), strict=True)
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={
            "image_id": ("image", ids),
            "signal": ("signal", list(signals)),
            "role": ("signal", list(roles)),
            "rule": ("signal", list(rules)),
            "objective": ("signal", list(objectives)),
        },
        attrs={
            "model": model,
            "layer": layer,
            "depth": depth,
            "signal_set": "set",
            "stimuli": "seen",
        },
    )
    arrays = {
        name: (("image", "feature"), values.astype(np.float32)) for name, values in signals.items()
    }
    tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})
    write_tree(path, tree, kind="features")
    return path


def response_store(path, response, *, rois=None, times=None, groups=None, embedded=False):
    n = len(response)
    coords = {
        "image_id": ("image", [f"image-{k:03d}" for k in range(n)]),
        "group": ("image", [f"g{k}" for k in range(n)] if groups is None else groups),
        "n_repeats": ("image", np.ones(n, dtype=int)),
    }
    if times is None:
        dims, coords["roi"] = ("image", "target"), ("target", rois)
    else:
        dims, coords["time"] = ("image", "time", "sensor"), ("time", times)
        coords["sensor"] = ("sensor", [f"S{k}" for k in range(response.shape[2])])
    store = xr.Dataset(
        {"response": (dims, response.astype(np.float32))},
        coords=coords,
        attrs={
            "dataset": "brain",
            "subject": "brain-s1",
            "modality": "fmri" if times is None else "meg",
            "axis": "roi" if times is None else "time",
            "rotation_invariant": embedded,
            "roi_order": [] if rois is None else list(dict.fromkeys(r for r in rois if r)),
        },
    )
    write_store(path, store, kind="responses")
    return path


@pytest.fixture
def study(tmp_path):
    """Two layers; V1 holds the first layer's activation, IT the second's gradient."""
    random = np.random.default_rng(0)
    signals = {
        layer: {name: random.standard_normal((N, 12)) for name in IDENTITIES}
        for layer in ("a", "b")
    }
    features = [
        feature_store(tmp_path / "b.zarr", "b", 0.9, signals["b"]),
        feature_store(tmp_path / "a.zarr", "a", 0.1, signals["a"]),
    ]
    v1 = signals["a"]["activation"]
    it = signals["b"]["gradient_dino"]
    response = np.hstack([v1, it, random.standard_normal((N, 3))])
    responses = response_store(
        tmp_path / "r.zarr", response, rois=["V1"] * 12 + ["IT"] * 12 + [""] * 3
    )
    return features, responses, signals, response


def row(table, **where):
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def test_correlation_distance_is_that_of_scipy():
    patterns = np.random.default_rng(0).standard_normal((9, 30)) * 3 + 50
    distances, n_constant = correlation_distance(patterns)
    np.testing.assert_allclose(distances, squareform(pdist(patterns, "correlation")), atol=1e-12)
    assert n_constant == 0


def test_constant_patterns_are_counted_and_uncorrelated():
    patterns = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    patterns[1], patterns[2] = 0.0, 0.1
    distances, n_constant = correlation_distance(patterns)
    assert n_constant == 2
    np.testing.assert_allclose(distances[1, [0, 2, 3]], 1.0)
    assert np.isfinite(distances).all()


def test_embedded_rdm_comes_back_exactly_and_in_any_rotation():
    random = np.random.default_rng(0)
    published = squareform(pdist(random.standard_normal((10, 40)), "correlation"))
    centre = np.eye(10) - 1 / 10
    values, vectors = np.linalg.eigh(centre @ (1 - published) @ centre)
    voxels = vectors * np.sqrt(np.clip(values, 0, None))
    np.testing.assert_allclose(embedded_distance(voxels), published, atol=1e-10)
    rotation = np.linalg.qr(random.standard_normal((10, 10)))[0]
    np.testing.assert_allclose(embedded_distance(voxels @ rotation), published, atol=1e-10)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.booleans())
def test_products_of_standardised_ranks_are_spearman_correlations(seed, ties):
    random = np.random.default_rng(seed)
    first, second = random.random((2, 7, 7))
    if ties:
        first, second = np.round(3 * first), np.round(3 * second)
    upper = np.triu_indices(7, 1)
    found = standardised_ranks(first) @ standardised_ranks(second)
    assert found == pytest.approx(spearmanr(first[upper], second[upper]).statistic, abs=1e-6)


def test_ranks_of_equal_distances_do_not_exist():
    assert np.isnan(standardised_ranks(np.ones((4, 4)))).all()


def test_distances_that_differ_by_rounding_alone_have_no_ranks():
    """A signal that is the same for all images but for its last bits: a fixed cotangent's."""
    random = np.random.default_rng(0)
    same = np.tile(random.standard_normal(40), (12, 1)).astype(np.float32)
    rounded = same * (1 + 1e-7 * random.standard_normal(same.shape)).astype(np.float32)
    assert np.ptp(correlation_distance(rounded)[0]) > 0
    assert np.isnan(standardised_ranks(correlation_distance(rounded)[0])).all()
    offset = 1e3 + 1e-9 * random.standard_normal((12, 5))
    assert np.isnan(standardised_ranks(embedded_distance(offset), scale=5e6)).all()
    small = 1e-4 * random.standard_normal((12, 5))
    assert np.isfinite(standardised_ranks(embedded_distance(small), scale=1e-8)).all()


def test_block_permutations_keep_groups_together():
    groups = ["b", "a", "c", "b", "a", "c", "c", "a", "b"]
    codes = np.array(groups)
    permutations = block_permutations(groups, 50, seed=0)
    for order in permutations:
        np.testing.assert_array_equal(np.sort(order), np.arange(9))
        for group in "abc":
            assert len(set(codes[order[codes == group]])) == 1
    assert len({tuple(order) for order in permutations}) == 6
    np.testing.assert_array_equal(permutations, block_permutations(groups, 50, seed=0))


def test_single_images_are_permuted_freely_and_one_group_cannot_be():
    draws = block_permutations(list("abcd"), 600, seed=0)
    assert len({tuple(order) for order in draws}) == 24
    with pytest.raises(RsaError, match="belong to one group"):
        block_permutations(["a"] * 5, 10, seed=0)


def test_permuted_ranks_equal_rdms_of_permuted_images():
    random = np.random.default_rng(1)
    models, brains = random.standard_normal((2, 3, 8, 20))
    ranks = [
        np.stack([standardised_ranks(correlation_distance(p)[0]) for p in patterns], axis=1)
        for patterns in (models, brains)
    ]
    permutations = block_permutations([str(k) for k in range(8)], 5, seed=3)
    null = permuted_correlations(*ranks, permutations)
    upper = np.triu_indices(8, 1)
    for draw, order in zip(null, permutations, strict=True):
        for i, model in enumerate(models):
            for j, brain in enumerate(brains):
                expected = spearmanr(
                    correlation_distance(model)[0][upper],
                    correlation_distance(brain[order])[0][upper],
                ).statistic
                assert draw[i, j] == pytest.approx(expected, abs=1e-6)


def test_p_counts_the_observed_correlation_and_keeps_gaps():
    null = np.array([[0.1, 0.1], [0.3, 0.3], [0.2, 0.2]])
    np.testing.assert_allclose(permutation_p(np.array([0.2, np.nan]), null), [3 / 4, np.nan])


def test_permutation_null_rejects_at_its_level():
    random = np.random.default_rng(0)
    permutations = block_permutations([str(k) for k in range(12)], 99, seed=0)
    model, brain = (
        np.stack(
            [
                standardised_ranks(correlation_distance(random.standard_normal((12, 10)))[0])
                for _ in range(30)
            ],
            axis=1,
        )
        for _ in range(2)
    )
    p = permutation_p(model.T @ brain, permuted_correlations(model, brain, permutations))
    # 900 comparisons of 30 by 30 RDMs are not independent; .02 is two standard errors of 150.
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_a_planted_layer_and_signal_are_found(study):
    features, responses, signals, response = study
    table = compare(features, responses, RsaSettings(n_draws=99), study="test")
    assert list(table.columns) == list(columns_of("rsa"))
    assert len(table) == 2 * 2 * 2
    upper = np.triu_indices(N, 1)
    for (layer, signal, roi), targets in {
        ("a", "activation", "V1"): response[:, :12],
        ("a", "gradient_dino", "V1"): response[:, :12],
        ("b", "gradient_dino", "IT"): response[:, 12:24],
    }.items():
        found = row(table, layer=layer, signal=signal, roi=roi)
        expected = spearmanr(
            correlation_distance(signals[layer][signal])[0][upper],
            correlation_distance(targets)[0][upper],
        ).statistic
        assert found["rho"] == pytest.approx(expected, abs=1e-5)
    planted = row(table, layer="b", signal="gradient_dino", roi="IT")
    assert planted["rho"] == pytest.approx(1.0, abs=1e-5) and planted["p"] == 0.01
    assert planted["null_high"] < 0.3
    assert (planted["layer_index"], planted["roi_rank"], planted["role"]) == (1, 1, "learning")
    assert (planted["rule"], planted["objective"], planted["axis"]) == ("backprop", "dino", "roi")
    assert row(table, layer="b", signal="activation", roi="V1")["p"] > 0.05


def test_a_signal_may_be_called_anything(study, tmp_path):
    features, responses, signals, _ = study
    names = {"activation": "gradient_dino", "gradient_dino": "signal"}
    renamed = [
        feature_store(
            tmp_path / f"renamed-{layer}.zarr", layer, depth,
            {names[name]: values for name, values in signals[layer].items()},
            identities={names[name]: who for name, who in IDENTITIES.items()},
        )
        for layer, depth in (("b", 0.9), ("a", 0.1))
    ]  # fmt: skip
    settings = RsaSettings(n_draws=10)
    plain, found = (
        compare(paths, responses, settings, study="test") for paths in (features, renamed)
    )
    assert list(found["signal"]) == [names[name] for name in plain["signal"]]
    pd.testing.assert_frame_equal(found.drop(columns="signal"), plain.drop(columns="signal"))


def test_scale_and_offset_of_responses_do_not_matter(study, tmp_path):
    features, responses, _, response = study
    rois = ["V1"] * 12 + ["IT"] * 12 + [""] * 3
    scaled = response_store(tmp_path / "s.zarr", 1e3 * response + 7.0, rois=rois)
    first, second = (
        compare(features, path, RsaSettings(n_draws=20), study="test")
        for path in (responses, scaled)
    )
    np.testing.assert_allclose(first["rho"], second["rho"], atol=1e-3)


def test_virtual_voxels_give_the_same_in_any_rotation(study, tmp_path):
    features = study[0]
    random = np.random.default_rng(5)
    voxels = random.standard_normal((N, 15))
    rotation = np.linalg.qr(random.standard_normal((15, 15)))[0]
    tables = [
        compare(
            features,
            response_store(tmp_path / f"{k}.zarr", patterns, rois=["IT"] * 15, embedded=True),
            RsaSettings(n_draws=20),
            study="test",
        )
        for k, patterns in enumerate((voxels, voxels @ rotation))
    ]
    np.testing.assert_allclose(tables[0]["rho"], tables[1]["rho"], atol=2e-3)


def test_meg_is_compared_at_every_time(tmp_path):
    random = np.random.default_rng(0)
    activation = random.standard_normal((N, 12))
    response = random.standard_normal((N, 3, 12))
    response[:, 1] = activation
    features = [feature_store(tmp_path / "a.zarr", "a", 0.5, {"activation": activation})]
    responses = response_store(tmp_path / "r.zarr", response, times=[0.0, 0.1, 0.2])
    table = compare(features, responses, RsaSettings(n_draws=99), study="test")
    assert list(table["time"]) == [0.0, 0.1, 0.2]
    assert set(table["axis"]) == {"time"} and set(table["roi_rank"]) == {-1}
    assert table["rho"].idxmax() == 1 and table["p"].iloc[1] == 0.01


def test_images_are_matched_by_name(study, tmp_path):
    features, responses, signals, _ = study
    settings = RsaSettings(n_draws=10)
    whole = compare(features[1:], responses, settings, study="test")
    extra = 5
    ids = [f"image-{k:03d}" for k in range(N + extra)][::-1]
    padded = {
        name: np.vstack([values, np.zeros((extra, values.shape[1]))])[::-1]
        for name, values in signals["a"].items()
    }
    shuffled = feature_store(tmp_path / "shuffled.zarr", "a", 0.1, padded, ids=ids)
    found = compare([shuffled], responses, settings, study="test")
    np.testing.assert_allclose(found["rho"], whole["rho"], atol=1e-6)


def test_large_image_sets_are_cut_to_whole_groups(study, monkeypatch, tmp_path):
    features, _, _, response = study
    responses = response_store(
        tmp_path / "grouped.zarr", response[:, :12], rois=["V1"] * 12,
        groups=[f"g{k // 4}" for k in range(N)],
    )  # fmt: skip
    monkeypatch.setattr(comparison, "MAX_IMAGES", 15)
    table = compare(features, responses, RsaSettings(n_draws=10), study="test")
    assert set(table["n_images"]) == {12}
    monkeypatch.setattr(comparison, "MAX_IMAGES", 3)
    with pytest.raises(RsaError, match="groups hold more than 3 images each"):
        compare(features, responses, RsaSettings(n_draws=10), study="test")


def test_bad_input_is_named(study, tmp_path):
    features, responses, signals, _ = study
    settings = RsaSettings(n_draws=5)
    short = {name: values[:20] for name, values in signals["a"].items()}
    lacking = feature_store(tmp_path / "short.zarr", "c", 0.5, short)
    with pytest.raises(StoreError, match=r"short\.zarr lacks 4 of the 24 images .*image-020"):
        compare([lacking], responses, settings, study="test")
    twice = feature_store(tmp_path / "twice.zarr", "c", 0.5, signals["a"], ids=["image-000"] * N)
    with pytest.raises(StoreError, match="occur more than once, first image-000"):
        compare([twice], responses, settings, study="test")
    other = feature_store(tmp_path / "other.zarr", "c", 0.5, signals["a"], model="other")
    with pytest.raises(StoreError, match=r"different models were given \(net, other\)"):
        compare([*features, other], responses, settings, study="test")
    with pytest.raises(StoreError, match="two feature stores of layer b were given"):
        compare([features[0], features[0]], responses, settings, study="test")
    narrow = {name: values[:, :1] for name, values in signals["a"].items()}
    thin = feature_store(tmp_path / "thin.zarr", "c", 0.5, narrow)
    with pytest.raises(RsaError, match=r"'activation' has 1 feature\(s\)"):
        compare([thin], responses, settings, study="test")
    lonely = response_store(tmp_path / "lonely.zarr", np.ones((N, 1)), rois=["V1"])
    with pytest.raises(RsaError, match="holds the two targets"):
        compare(features, lonely, settings, study="test")
    with pytest.raises(StoreError, match="no feature store"):
        compare([], responses, settings, study="test")


def test_command_line_writes_the_same_table_twice(study, tmp_path):
    features, responses, _, _ = study
    script = ROOT / "scripts" / "compute_rsa.py"
    tables = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in tables:
        subprocess.run(
            [sys.executable, script, "--features", *features, "--responses", responses,
             "--settings", json.dumps({"n_draws": 20}), "--study", "test", "--output", path],
            check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert len(read_table(tables[0], kind="rsa")) == 8
    failed = subprocess.run(
        [sys.executable, script, "--features", tmp_path / "none.zarr", "--responses", responses,
         "--study", "test", "--output", tmp_path / "x.parquet"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert failed.returncode == 1 and "none.zarr: there is no such store" in failed.stderr
