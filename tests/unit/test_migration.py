"""Results of the layout before are brought to the present one, and nothing wrong with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from gradbrain.config.registries import Registries
from gradbrain.plan.migration import describe, migrate
from gradbrain.store import StoreError, open_store, open_tree, read_table
from gradbrain.store.zarr_store import _digest_arrays, _encode, _plain

ROOT = Path(__file__).resolve().parents[2]
REGISTRIES = Registries([ROOT / "config", Path(__file__).parent / "migration"])
FEATURES = "features/mobilenetv2_050_untrained/blocks.1/before/simulated.zarr"
RESPONSES = "demo/responses/simulated_meg_feedforward-s01.zarr"
ENCODING = "demo/encoding/mobilenetv2_050_untrained/blocks.1/simulated_meg_feedforward-s01.zarr"
# Of an entry as it was written before, without what is the same today.
MODEL_ENTRY = {
    "name": "mobilenetv2_050_untrained",
    "architecture": "mobilenetv2_050",
    "source": "timm",
    "kwargs": {},
    "untrained": True,
    "seed": 0,
    "checkpoint": None,
    "checkpoint_sha256": None,
    "pretrained": None,
    "revision": None,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "input_size": 96,
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "default_objective": "dino",
}
SIGNALS = [
    {"name": name, "role": role, "rule": rule, "objective": objective, "options": {}}
    for name, role, rule, objective in (
        ("activation", "activation", "activation", None),
        ("gradient_cross_entropy", "learning", "backprop", "cross_entropy"),
    )
]
SIGNAL_SET_ENTRY = {
    "name": "before",
    "signals": SIGNALS,
    "pooling": {"kind": "grid", "size": 2},
    "projection": None,
    "normalise": "unit",
    "calibration": "calibration",
    "seed": 0,
}
WHO = {"roles": {"activation": "activation", "gradient_cross_entropy": "learning"}}
WHO["objectives"] = {"activation": "", "gradient_cross_entropy": "cross_entropy"}


def write_before(path, kind, dataset):
    """Write a store as version 2 did: no groups, a mark without version, sizes of files alone."""
    group = zarr.create_group(
        path,
        attributes={**dataset.attrs, "coordinates": " ".join(sorted(map(str, dataset.coords)))},
    )
    arrays = {}
    for name, variable in dataset.variables.items():
        values = _encode(np.asarray(variable.values))
        group.create_array(
            str(name), data=values, dimension_names=variable.dims, attributes=dict(variable.attrs)
        )
        arrays[str(name)] = (tuple(map(str, variable.dims)), values)
    root = path / "zarr.json"
    metadata = json.loads(root.read_text())
    metadata["attributes"]["gradbrain"] = {
        "kind": kind,
        "complete": True,
        "digest": _digest_arrays(arrays, _plain(dataset.attrs), {}),
        "files": {
            str(file.relative_to(path)): file.stat().st_size
            for file in sorted(path.rglob("*"))
            if file.is_file() and file != root
        },
    }
    root.write_text(json.dumps(metadata))
    return metadata["attributes"]["gradbrain"]["digest"]


def features(**attrs):
    rng = np.random.default_rng(0)
    images = [f"i{k}" for k in range(6)]
    return xr.Dataset(
        {
            "activation": (("image", "feature"), rng.standard_normal((6, 3)).astype("float32")),
            "gradient_cross_entropy": (
                ("image", "feature"),
                rng.standard_normal((6, 3)).astype("float32"),
            ),
            "objective_value": (("image", "signal"), np.full((6, 2), np.nan, dtype="float32")),
            "magnitude": (("image", "signal"), np.ones((6, 2), dtype="float32")),
        },
        coords={"image_id": ("image", images), "signal": ["activation", "gradient_cross_entropy"]},
        attrs={
            "model": "mobilenetv2_050_untrained",
            "layer": "blocks.1",
            "depth": 0.3,
            "signal_set": "before",
            "stimuli": "simulated",
            "definition": "0" * 64,
            "model_entry": MODEL_ENTRY,
            "signal_set_entry": SIGNAL_SET_ENTRY,
            **WHO,
            **attrs,
        },
    )


def responses():
    rng = np.random.default_rng(1)
    return xr.Dataset(
        {"response": (("image", "time", "sensor"), rng.standard_normal((6, 2, 3)))},
        coords={
            "image_id": ("image", [f"i{k}" for k in range(6)]),
            "group": ("image", list("aabbcc")),
            "n_repeats": ("image", np.full(6, 2)),
            "time": [-0.1, 0.1],
            "sensor": ["MEG 1", "MEG 2", "MEG 3"],
        },
        attrs={"dataset": "simulated_meg_feedforward", "modality": "meg", "space": "sensors"},
    )


def encoding(features_digest, **settings):
    fits = ["activation", "all_activations", "gradient_cross_entropy", "all_activations+activation"]
    fits += ["activation+gradient_cross_entropy", "all_activations+gradient_cross_entropy"]
    rows = [
        ("activation", "r", "activation"),
        ("all_activations", "r", "all_activations"),
        ("activation", "reweighting_r2", "all_activations+activation"),
        ("gradient_cross_entropy", "unique_r2", "all_activations+gradient_cross_entropy"),
    ]
    rng = np.random.default_rng(2)

    def numbers(*dims, **sizes):
        return (dims, rng.standard_normal([sizes[dim] for dim in dims]).astype("float32"))

    sizes = {"score_row": 4, "target": 6, "unit": 2, "draw": 4, "fit": 6}
    return xr.Dataset(
        {
            "score": numbers("score_row", "target", **sizes),
            "unit_score": numbers("score_row", "unit", **sizes),
            "boot": numbers("draw", "score_row", "unit", **sizes),
            "null": numbers("draw", "score_row", "unit", **sizes),
            "penalty_log10": numbers("fit", "target", **sizes),
            "band_weight": numbers("fit", "target", **sizes),
            "effective_dof": numbers("fit", "target", **sizes),
            "unit_band_weight": numbers("fit", "unit", **sizes),
        },
        coords={
            "signal": ("score_row", [row[0] for row in rows]),
            "measure": ("score_row", [row[1] for row in rows]),
            "row_fit": ("score_row", [row[2] for row in rows]),
            "fit": fits,
            "unit": ["-0.1", "0.1"],
            "unit_time": ("unit", [-0.1, 0.1]),
            "reliable": ("target", np.ones(6, dtype=bool)),
        },
        attrs={
            "study": "demo",
            "dataset": "simulated_meg_feedforward",
            "subject": "simulated_meg_feedforward-s01",
            "modality": "meg",
            "space": "sensors",
            "model": "mobilenetv2_050_untrained",
            "layer": "blocks.1",
            "depth": 0.3,
            "layer_index": 0,
            "n_groups": 40,
            "n_unit_targets": [3, 3],
            "edge_share": 0.25,
            "roi_order": [],
            "onset_source": "",
            "settings": {"n_folds": 5, "third_band": False, **settings},
            "features_digest": features_digest,
            "responses_digest": "1" * 64,
            **WHO,
        },
    )


@pytest.fixture
def results(tmp_path):
    """A results folder of the layout before."""
    folder = tmp_path / "results"
    for path in (FEATURES, RESPONSES, ENCODING):
        (folder / path).parent.mkdir(parents=True)
    digest = write_before(folder / FEATURES, "features", features())
    write_before(folder / RESPONSES, "responses", responses())
    write_before(folder / ENCODING, "encoding", encoding(digest))
    return folder


def test_results_of_before_are_refused_until_they_are_brought_over(results):
    with pytest.raises(StoreError, match=r"features of an earlier layout.*migrate_results\.py"):
        open_tree(results / FEATURES, kind="features")
    assert len(migrate(results, REGISTRIES, dry_run=True).done) == 3
    with pytest.raises(StoreError, match="earlier layout"):
        open_tree(results / FEATURES, kind="features")
    report = migrate(results, REGISTRIES)
    assert (len(report.done), report.kept, report.refused) == (3, [], {})
    # A second time there is nothing to do.
    again = migrate(results, REGISTRIES)
    assert (again.done, len(again.kept)) == ([], 3)


def test_every_value_comes_out_as_it_went_in(results):
    migrate(results, REGISTRIES)
    tree = open_tree(results / FEATURES, kind="features", verify=True)
    for name in ("activation", "gradient_cross_entropy"):
        np.testing.assert_array_equal(tree["signals"][name], features()[name])
    np.testing.assert_array_equal(tree["magnitude"], features()["magnitude"])
    assert list(tree["rule"].values) == ["activation", "backprop"]
    assert "roles" not in tree.attrs
    read = open_store(results / RESPONSES, kind="responses", verify=True)
    np.testing.assert_array_equal(read["response"], responses()["response"])
    assert (read.attrs["axis"], read.attrs["sensors"]) == ("time", "sensors")
    # A layer's activation is no longer offered a second time.
    before = encoding("").drop_isel(fit=3, score_row=2)
    fitted = open_store(results / ENCODING, kind="encoding", verify=True)
    for name in before.data_vars:
        np.testing.assert_array_equal(fitted[name], before[name])
    assert list(fitted["role"].values) == ["activation", "baseline", "learning"]
    assert list(fitted["fit"].values[fitted["row_fit"].values]) == list(before["row_fit"].values)
    assert fitted.attrs["features_digest"] == tree.attrs["digest"]
    table = read_table((results / ENCODING).with_suffix(".parquet"), kind="fit_scores")
    assert set(table["edge_share"]) == {0.25}
    record = json.loads((results / f"{FEATURES}.provenance.json").read_text())
    assert record["migrated_from"] == 2


def test_what_does_not_fit_is_left_as_it_is_and_named(results, tmp_path):
    def refused(path, kind, dataset):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(results, copy)
        shutil.rmtree(copy / path)
        write_before(copy / path, kind, dataset)
        before = {file: file.read_bytes() for file in (copy / path).rglob("*") if file.is_file()}
        report = migrate(copy, REGISTRIES)
        assert list(report.refused) == [copy / path]
        assert before == {f: f.read_bytes() for f in (copy / path).rglob("*") if f.is_file()}
        assert any("left: " in line for line in describe(report))
        return report.refused[copy / path]

    other = features(model_entry={**MODEL_ENTRY, "seed": 3})
    assert "are not those that it was made from" in refused(FEATURES, "features", other)
    entry = {**SIGNAL_SET_ENTRY, "name": "drawn_before"}
    entry["signals"] = [SIGNALS[0], {**SIGNALS[1], "name": "gradient_dino", "objective": "dino"}]
    drawn = features(signal_set="drawn_before", signal_set_entry=entry)
    assert "gradient_dino, whose views" in refused(FEATURES, "features", drawn)
    assert "third_band" in refused(ENCODING, "encoding", encoding("", third_band=True))


def test_a_changed_value_is_not_brought_over(results):
    root = results / FEATURES / "zarr.json"
    root.write_text(root.read_text().replace('"depth": 0.3', '"depth": 0.4'))
    report = migrate(results, REGISTRIES)
    assert "is not that which it was marked with" in report.refused[results / FEATURES]
    assert len(report.done) == 2
