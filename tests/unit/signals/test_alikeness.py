"""How alike signals are: cosines of pairs, and which signals count as the gradient."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gradbrain.signals.alikeness import compare_signals, said
from gradbrain.store import StoreError, write_table, write_tree

#: Signal -> role, rule, objective.
SIGNALS = {
    "activation": ("activation", "activation", ""),
    "gradient": ("learning", "backprop", "cross_entropy"),
    "almost": ("learning", "backprop_error", "cross_entropy"),
    "nowhere": ("learning", "sign_symmetry", "cross_entropy"),
    "hebbian": ("learning", "hebbian", ""),
    "control": ("control", "backprop", "feature_norm"),
}


@pytest.fixture
def store(tmp_path):
    """Write a layer whose signals have a given cosine with the gradient, at every image."""

    def store(layer, depth, cosines, *, model="m", zero=None):
        random = np.random.default_rng(int(100 * depth))
        unit = random.standard_normal((12, 6))
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        values = {}
        for name in SIGNALS:
            across = random.standard_normal((12, 6))
            across -= (across * unit).sum(1, keepdims=True) * unit
            across /= np.linalg.norm(across, axis=1, keepdims=True)
            cosine = cosines.get(name, 1.0)
            # Lengths are no part of an angle.
            values[name] = 3 * (cosine * unit + np.sqrt(1 - cosine**2) * across)
        if zero is not None:
            values[zero][:5] = 0
        labels = {"signal": list(SIGNALS)}
        for place, name in enumerate(("role", "rule", "objective")):
            labels[name] = [identity[place] for identity in SIGNALS.values()]
        numbers = ("image", "signal"), np.zeros((12, len(SIGNALS)), dtype="float32")
        root = xr.Dataset(
            {"objective_value": numbers, "magnitude": numbers},
            coords={
                "image_id": ("image", [f"i{index}" for index in range(12)]),
                **{name: ("signal", labels[name]) for name in labels},
            },
            attrs={
                "model": model,
                "layer": layer,
                "depth": depth,
                "signal_set": "s",
                "stimuli": "x",
            },
        )
        group = xr.Dataset(
            {
                name: (("image", f"feature_{name}"), array.astype("float32"))
                for name, array in values.items()
            }
        )
        path = tmp_path / f"results/features/{model}/{layer}/s/x.zarr"
        write_tree(path, xr.DataTree.from_dict({"/": root, "signals": group}), kind="features")
        return path

    return store


def cosine_of(table, layer, signal, other):
    rows = table[(table["layer"] == layer) & (table["signal"] == signal)]
    return float(rows.set_index("other")["cosine"][other])


def test_cosines_are_those_of_pairs_at_every_layer(store, tmp_path):
    paths = [
        store("b", 1.0, {"almost": 0.95, "nowhere": 0.0, "hebbian": -0.5}),
        store("a", 0.5, {"almost": 0.99, "nowhere": 0.95, "hebbian": 0.2}),
    ]
    table = compare_signals(paths, study="study")
    assert list(dict.fromkeys(table["layer"])) == ["a", "b"]
    for layer, expected in (("a", (0.99, 0.95, 0.2)), ("b", (0.95, 0.0, -0.5))):
        for signal, cosine in zip(("almost", "nowhere", "hebbian"), expected, strict=True):
            assert cosine_of(table, layer, signal, "gradient") == pytest.approx(cosine, abs=1e-6)
            assert cosine_of(table, layer, "gradient", signal) == pytest.approx(cosine, abs=1e-6)
    assert "activation" not in set(table["signal"])
    # Above .9 at every layer, and not at one of them alone.
    same = dict(zip(table["signal"], table["same_as"], strict=True))
    assert same == dict.fromkeys(same, "") | {"almost": "gradient"}
    assert said(table) == "almost counts as gradient (cosine above 0.9 at every layer)"
    write_table(tmp_path / "a.parquet", table, kind="alikeness")


def test_a_signal_without_an_objective_is_held_against_the_only_gradient_that_learns(store):
    table = compare_signals([store("a", 0.5, {"hebbian": 0.97, "almost": 0.0})], study="study")
    same = dict(zip(table["signal"], table["same_as"], strict=True))
    # A control of another objective is one with the gradient by its values, and no rule.
    assert same["hebbian"] == "gradient" and same["control"] == ""


def test_images_without_a_signal_are_left_out(store):
    table = compare_signals([store("a", 0.5, {"nowhere": 0.6}, zero="nowhere")], study="study")
    assert cosine_of(table, "a", "nowhere", "gradient") == pytest.approx(0.6, abs=1e-6)
    assert "no signal has a cosine above 0.9" in said(table[table["signal"] == "nowhere"])


def test_layers_of_two_models_are_refused(store):
    paths = [store("a", 0.5, {}), store("b", 1.0, {}, model="other")]
    with pytest.raises(StoreError, match=r"different models were given \(\w+, other\)"):
        compare_signals(paths, study="study")
