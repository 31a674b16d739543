"""The reader of feature stores: who signals are, alignment to images, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import RidgeCV

from gradbrain.encoding.bands import make_band
from gradbrain.store import SignalIdentity, StoreError, StreamingStore, open_features, write_tree
from gradbrain.store.magnitude import MagnitudeColumns

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
    aligned = store.of_images(np.array(["a", "d", "c"]), WANTED_BY)
    for signal in SIGNALS:
        np.testing.assert_array_equal(aligned.values(signal), values_of(signal)[[1, 3, 0]])
    again = aligned.of_images(np.array(["c", "a"]), WANTED_BY)
    assert again.image_ids.tolist() == ["c", "a"]
    np.testing.assert_array_equal(again.values(SIGNALS[0]), values_of(SIGNALS[0])[[0, 1]])
    with pytest.raises(
        StoreError, match=r"features.zarr lacks 1 of the 2 images of responses.zarr"
    ):
        store.of_images(np.array(["a", "e"]), WANTED_BY)


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


def with_magnitude(lengths):
    """A tree whose learning signals have unit length and the lengths given beside them."""
    made = tree()
    root = made.to_dataset(inherit=False)
    root["magnitude"] = root["magnitude"] + np.asarray(lengths, np.float32)[:, None]
    root.attrs["signal_set_entry"] = {"normalise": "unit_and_magnitude"}
    return xr.DataTree.from_dict({"/": root, "/signals": made["signals"].to_dataset(inherit=False)})


def test_log_magnitude_is_the_last_of_the_features_of_signals_and_not_of_activations(path):
    lengths = np.array([1e-6, 1e-3, 1.0, 1e3])
    write_tree(path, with_magnitude(lengths), kind="features")
    store = open_features(path)
    np.testing.assert_array_equal(store.values(SIGNALS[1]), values_of(SIGNALS[1]))
    for signal in (SIGNALS[0], SIGNALS[2]):
        values, directions = store.values(signal), store.directions(signal)
        np.testing.assert_array_equal(directions, values_of(signal))
        np.testing.assert_array_equal(values[:, : directions.shape[1]], directions)
        added = values[:, directions.shape[1] :]
        assert added.shape[1] == 1
        assert np.corrcoef(added[:, 0], np.log(lengths))[0, 1] == pytest.approx(1.0)
        # What columns stand for is a matter of all images, whichever are read.
        some = store.of_images(IDS[[3, 1]], WANTED_BY)
        np.testing.assert_array_equal(some.values(signal), values[[3, 1]])


def test_a_zero_signal_has_the_smallest_log_magnitude():
    random = np.random.default_rng(0)
    directions, lengths = random.standard_normal((5, 90)), np.array([0.0, 2.0, 8.0, 4.0, 0.0])
    columns = MagnitudeColumns.of(directions, lengths)
    added = columns.beside(directions, lengths)[:, 90:]
    # A tenth of the variance of standardised features.
    assert added.shape[1] == 10
    np.testing.assert_allclose(added, np.repeat(added[:, :1], 10, axis=1))
    np.testing.assert_allclose(added[[0, 4], 0], added[1, 0])
    np.testing.assert_allclose(added[2, 0] - added[3, 0], added[3, 0] - added[1, 0])
    np.testing.assert_allclose(added[:, 0].var(), directions.var(axis=0).mean())


@pytest.mark.parametrize("lengths", [np.zeros(5), np.full(5, 3.0), 1.0 + 1e-7 * np.arange(5)])
def test_magnitudes_that_do_not_differ_give_constant_columns(lengths):
    directions = np.random.default_rng(0).standard_normal((5, 20)).astype(np.float32)
    added = MagnitudeColumns.of(directions, lengths).beside(directions, lengths)[:, 20:]
    assert np.isfinite(added).all()
    assert (added == added[0]).all()


def test_ridge_finds_a_response_that_follows_the_magnitude_alone():
    """One of 1,000 standardised columns is out of its reach; the repeated ones are not."""
    random = np.random.default_rng(1)
    n_train, n_images, n_features = 200, 1000, 1000
    directions = random.standard_normal((n_images, n_features))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.exp(3.0 * random.standard_normal(n_images))
    log = np.log(lengths) - np.log(lengths)[:n_train].mean()
    response = log + 3.0 * random.standard_normal(n_images)
    columns = MagnitudeColumns.of(directions, lengths)
    alone = np.concatenate([directions, np.log(lengths)[:, None]], axis=1)
    found = {}
    for name, values in (("one", alone), ("repeated", columns.beside(directions, lengths))):
        band = make_band(values[:n_train], values[n_train:])
        ridge = RidgeCV(np.logspace(0, 8, 17)).fit(band.train, response[:n_train])
        found[name] = ridge.score(band.test, response[n_train:])
    # Half of the variance is the magnitude's.
    assert found["repeated"] > 0.3
    assert found["one"] < 0.1
