"""The reader of feature stores: who signals are, alignment to images, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gradbrain.store import SignalIdentity, StoreError, StreamingStore, open_features, write_tree

IDS = np.array(["c", "a", "b", "d"])
SIGNALS = (
    SignalIdentity("magnitude", "learning", "backprop", "dino"),
    SignalIdentity("signal", "activation", "activation"),
    SignalIdentity("image", "control", "backprop", "feature_norm"),
)
WANTED_BY = Path("responses.zarr")


def values_of(signal):
    return np.random.default_rng(len(signal.name)).standard_normal((4, 3)).astype(np.float32)


def tree(signals=SIGNALS, ids=IDS, arrays=None):
    per_image = (("image", "signal"), np.zeros((len(ids), len(signals)), np.float32))
    labels = {
        "signal": [signal.name for signal in signals],
        "role": [signal.role for signal in signals],
        "rule": [signal.rule for signal in signals],
        "objective": [signal.objective for signal in signals],
    }
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={
            "image_id": ("image", ids),
            **{name: ("signal", np.array(values, dtype=str)) for name, values in labels.items()},
        },
        attrs={"layer": "conv"},
    )
    if arrays is None:
        arrays = {signal.name: (("image", "feature"), values_of(signal)) for signal in signals}
    return xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features.zarr"


def test_signals_are_told_apart_by_coordinates_whatever_their_names(path):
    write_tree(path, tree(), kind="features")
    store = open_features(path)
    assert store.signals == SIGNALS
    assert store.activation == SIGNALS[1]
    assert store.signal("image") == SIGNALS[2]
    assert store.layer == "conv"
    for signal in SIGNALS:
        np.testing.assert_array_equal(store.values(signal), values_of(signal))


def test_stores_that_were_written_row_by_row_are_read_alike(path):
    whole = tree()
    root = whole.to_dataset(inherit=False)
    arrays = {f"signals/{signal.name}": values_of(signal) for signal in SIGNALS}
    arrays |= {name: root[name].values for name in root.data_vars}
    dims = dict.fromkeys(root.data_vars, ("image", "signal"))
    template = {
        name: (dims.get(name, ("image", "feature")), array.shape, array.dtype)
        for name, array in arrays.items()
    }
    coords = {str(name): (item.dims, item.values) for name, item in root.coords.items()}
    with StreamingStore(
        path, kind="features", template=template, coords=coords, attrs=root.attrs
    ) as streamed:
        streamed.write_rows(0, arrays)
        streamed.finish()
    store = open_features(path)
    assert store.signals == SIGNALS
    for signal in SIGNALS:
        np.testing.assert_array_equal(store.values(signal), values_of(signal))


def test_images_are_found_by_their_ids(path):
    write_tree(path, tree(), kind="features")
    store = open_features(path)
    np.testing.assert_array_equal(store.rows(np.array(["a", "d", "c"]), WANTED_BY), [1, 3, 0])
    with pytest.raises(
        StoreError, match=r"features.zarr lacks 1 of the 2 images of responses.zarr"
    ):
        store.rows(np.array(["a", "e"]), WANTED_BY)


def test_what_cannot_be_read_is_named(path):
    write_tree(path, tree(ids=np.array(["a", "a", "b", "c"])), kind="features")
    with pytest.raises(StoreError, match="1 image ids occur more than once, first a"):
        open_features(path)
    write_tree(
        path, tree(arrays={"image": (("image", "feature"), np.ones((4, 2)))}), kind="features"
    )
    store = open_features(path)
    with pytest.raises(StoreError, match="names the signal 'magnitude', which its group 'signals'"):
        store.values(SIGNALS[0])
    with pytest.raises(StoreError, match="holds no signal 'x', only magnitude, signal, image"):
        store.signal("x")
    two = (*SIGNALS, SignalIdentity("x", "activation"))
    write_tree(path, tree(two), kind="features")
    match = r"2 signals have the role 'activation' \(signal, x\), expected one"
    with pytest.raises(StoreError, match=match):
        _ = open_features(path).activation
