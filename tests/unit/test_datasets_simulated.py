"""Claims about simulated brains: what is planted, where and when, and what is not told."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from pydantic import ValidationError
from trees.modalities import MODALITIES

from gradbrain.config.registries import Registries
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import simulated
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.responses import check_responses
from gradbrain.datasets.simulated import (
    HIGHER_AREAS,
    Options,
    latencies,
    layer_of_region,
    learning_layer_of_region,
    learning_of,
    readout,
    sample_times,
)
from gradbrain.store import open_store, write_table, write_tree

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["one", "two", "three"]
N_IMAGES = 72
ROLES = {"activation": "activation"}
SIGNALS = ("activation", "gradient")


def options_of(world="feedforward", **changes):
    return {
        "world": world,
        "planting_model": "net",
        "planting_signal_set": "planted",
        "planting_layers": LAYERS,
        "images": {"n_images": N_IMAGES, "size": 32},
        "explainable_variance": 0.99,
        "learning_share": 0.5,
        "vertices_per_region": 4,
        "n_sensors": 12,
        **({} if world == "feedforward" else {"learning_signal": "gradient"}),
        **changes,
    }


def entry_of(modality="fmri", **changes):
    return DatasetEntry(
        name="sim",
        adapter="simulated",
        modality=MODALITIES[modality],
        subjects=("sim-s01", "sim-s02"),
        **{"stimuli": "crops", "options": options_of(), **changes},
    )


@pytest.fixture(scope="module")
def stimuli():
    return simulated.Adapter().stimuli(
        entry_of(), Options(**options_of()), "crops", Path("data/sim")
    )


@pytest.fixture(scope="module")
def planted(stimuli):
    """Independent random features of each layer and signal, in an order of their own."""
    rng = np.random.default_rng(0)
    return {
        layer: {name: rng.standard_normal((len(stimuli), 5)).astype(np.float32) for name in SIGNALS}
        for layer in LAYERS
    }


@pytest.fixture(scope="module")
def features(stimuli, planted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    for layer, signals in planted.items():
        write_features(folder / f"{layer}.zarr", stimuli, signals, layer=layer)
    # Given in another order than that of the layers: the stores say which layer they hold.
    return [folder / f"{layer}.zarr" for layer in reversed(LAYERS)]


def write_features(path, stimuli, signals, *, roles=ROLES, **attrs):
    order = np.random.default_rng(1).permutation(len(stimuli))
    names = list(signals)
    per_signal = np.zeros((len(stimuli), len(names)), dtype=np.float32)
    root = xr.Dataset(
        {
            "objective_value": (("image", "signal"), per_signal),
            "magnitude": (("image", "signal"), per_signal),
        },
        coords={
            "image_id": ("image", stimuli["image_id"].to_numpy(dtype=str)[order]),
            "signal": ("signal", np.array(names)),
            "role": ("signal", np.array([roles.get(name, "learning") for name in names])),
            "rule": ("signal", np.array(["any"] * len(names))),
            "objective": ("signal", np.array([""] * len(names))),
        },
        attrs={"model": "net", "layer": "one", "signal_set": "planted", **attrs},
    )
    arrays = {name: (("image", "feature"), values[order]) for name, values in signals.items()}
    tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})
    write_tree(path, tree, kind="features")


def simulate(features, stimuli, *, modality="fmri", subject="sim-s01", **options):
    dataset = simulated.Adapter().responses(
        entry_of(modality),
        Options(**options_of(**options)),
        subject,
        stimuli,
        Path("data/sim"),
        features,
    )
    check_responses(dataset, stimuli)
    return dataset


def explained(features, response):
    """In-sample R² of responses (image, target) given features, per target."""
    design = np.column_stack([np.ones(len(features)), features])
    residual = response - design @ np.linalg.lstsq(design, response, rcond=None)[0]
    return 1 - residual.var(axis=0) / response.var(axis=0)


def test_each_region_follows_its_layer_and_no_other(features, stimuli, planted):
    dataset = simulate(features, stimuli)
    for region, layer in layer_of_region(Options(**options_of())).items():
        response = dataset["response"].values[:, dataset["roi"].values == region]
        assert response.shape[1] == 8
        scores = {name: explained(planted[name]["activation"], response).mean() for name in LAYERS}
        assert scores[layer] > 0.9
        # Five of 72 independent features explain 7 % by chance.
        assert max(score for name, score in scores.items() if name != layer) < 0.2


def test_the_feedforward_world_holds_no_gradient_and_the_other_does(features, stimuli, planted):
    gradients = np.concatenate([planted[layer]["gradient"] for layer in LAYERS], axis=1)
    without = simulate(features, stimuli)["response"].values
    assert explained(gradients, without).mean() < 0.35  # 15 of 72 features: 21 % by chance
    holding = simulate(features, stimuli, world="backprop")
    for region, layer in layer_of_region(Options(**options_of())).items():
        response = holding["response"].values[:, holding["roi"].values == region]
        both = np.concatenate(list(planted[layer].values()), axis=1)
        assert explained(both, response).mean() > 0.9
        assert 0.3 < explained(planted[layer]["gradient"], response).mean() < 0.7


SEVEN = [f"l{i}" for i in range(7)]


def test_regions_take_layers_in_order_and_reach_both_ends():
    options = Options(**options_of(planting_layers=SEVEN))
    layers = list(layer_of_region(options).values())
    assert layers == ["l0", "l1", "l2", "l3", "l3", "l4", "l5", "l6"]


def learning_map(world, **changes):
    options = Options(**options_of(world, planting_layers=SEVEN, **changes))
    return learning_layer_of_region(options, learning_of(options))


def test_backpropagation_puts_gradients_where_their_activations_are():
    options = Options(**options_of("backprop", planting_layers=SEVEN))
    assert learning_map("backprop") == layer_of_region(options)


def test_the_papers_pattern_puts_gradients_into_higher_regions_against_the_order_of_layers():
    held = learning_map("paper_pattern")
    assert tuple(held) == HIGHER_AREAS == ("hV4", "VO", "LO", "PHC", "FFA")
    assert list(held.values()) == ["l6", "l4", "l3", "l1", "l0"]


def test_options_override_the_preset_of_a_world():
    held = learning_map("backprop", learning_place="reversed", learning_regions=["LO", "V1"])
    assert held == {"V1": "l6", "LO": "l0"}
    first = Options(**options_of("backprop", learning_latency="forward"))
    assert latencies(first) == latencies(Options(**options_of("paper_pattern")))


def test_in_the_papers_pattern_gradients_are_late_first_layer_first():
    forward, late = latencies(Options(**options_of("paper_pattern")))
    assert late == sorted(late)
    assert late[0] > forward[-1]


def test_regions_without_gradients_hold_activations_alone(features, stimuli, planted):
    dataset = simulate(features, stimuli, world="paper_pattern")
    gradients = np.concatenate([planted[layer]["gradient"] for layer in LAYERS], axis=1)
    explains = {
        region: explained(gradients, dataset["response"].values[:, dataset["roi"] == region]).mean()
        for region in dataset.attrs["roi_order"]
    }
    # 15 of 72 features explain 21 % by chance.
    assert max(value for region, value in explains.items() if region not in HIGHER_AREAS) < 0.4
    assert min(value for region, value in explains.items() if region in HIGHER_AREAS) > 0.45


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_learning_signal_has_its_share_of_the_signal(stimuli, features, planted, share):
    dataset = simulate(
        features, stimuli, world="backprop", explainable_variance=0.999, learning_share=share
    )
    own = []
    for region, layer in layer_of_region(Options(**options_of())).items():
        response = dataset["response"].values[:, dataset["roi"].values == region]
        activation = np.column_stack([np.ones(N_IMAGES), planted[layer]["activation"]])
        gradient = planted[layer]["gradient"]
        weights = np.linalg.lstsq(np.column_stack([activation, gradient]), response, rcond=None)[0]
        parts = (activation @ weights[:6]).var(axis=0), (gradient @ weights[6:]).var(axis=0)
        own.append(parts[1] / (parts[0] + parts[1]))
    np.testing.assert_allclose(np.concatenate(own), share, atol=0.02)


def test_along_time_the_learning_signal_has_its_share_at_its_own_peak(stimuli, planted):
    # Peaks fall onto samples, and one source's course is over when the next begins.
    options = Options(
        **options_of(
            "backprop",
            learning_share=0.2,
            sfreq=20,
            first_peak=0.1,
            layer_delay=0.1,
            peak_width=0.01,
        )
    )
    arrays = simulated.Planted(*([planted[x][name] for x in LAYERS] for name in SIGNALS))
    positions = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    signal = simulated.time_signal(options, arrays, positions, np.random.default_rng(0))
    variance = signal.var(axis=0).mean(axis=1)
    times = sample_times(options)
    for peaks, expected in zip(latencies(options), (1.0, 0.2), strict=True):
        found = [variance[np.argmin(abs(times - peak))] for peak in peaks]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_averaged_responses_hold_the_share_of_signal_that_is_asked_for(features, stimuli):
    for modality, default in (("fmri", 0.3), ("meg", 0.1)):
        for asked, expected in ((None, default), (0.6, 0.6)):
            dataset = simulate(
                features, stimuli, modality=modality, explainable_variance=asked, n_repeats=20
            )
            clean = simulate(
                features, stimuli, modality=modality, explainable_variance=1 - 1e-9, n_repeats=20
            )
            # Of the same subject: the noise is what remains.
            noise = (dataset["response"] - clean["response"]).values
            signal = clean["response"].values.var(axis=0)
            strongest = signal.mean(axis=-1).max()
            found = strongest / (strongest + noise.var())
            assert found == pytest.approx(expected, abs=0.02)


def test_provenance_tells_the_shares_and_what_activations_leave(features, stimuli):
    def shares(modality, world):
        return simulated.Adapter().provenance(
            entry_of(modality), Options(**options_of(world)), "sim-s01", stimuli, features
        )["planted"]["shares"]

    assert shares("fmri", "feedforward") == {"explainable_variance": 0.99}
    told = shares("meg", "paper_pattern")
    assert told["learning_share"] == 0.5
    # Independent of the activations here.
    assert min(told["beyond_activations"].values()) > 0.9


def test_what_activations_predict_is_not_beyond_them(stimuli):
    rng = np.random.default_rng(0)
    activations = [rng.standard_normal((N_IMAGES, 3)) for _ in LAYERS]
    learning = [activations[0] @ rng.standard_normal((3, 4)), rng.standard_normal((N_IMAGES, 4))]
    planted = simulated.Planted(activations, learning)
    first, second = simulated.beyond_activations(planted, stimuli, rng)
    assert first < 0.05
    assert second > 0.8


REGISTRIES = sorted(path.parent for path in ROOT.glob("tests/workflow/*/datasets.yaml"))


@pytest.mark.parametrize("folder", [None, *REGISTRIES], ids=lambda path: path and path.name)
def test_no_analysis_draws_the_views_of_a_planted_signal(folder):
    """Wherever brains are simulated, no other set shares the seed of the set they are made from."""
    folders = [ROOT / "config", *([folder] if folder else [])]
    registries = Registries(folders)
    entries = [registries.dataset(name, where="test") for name in registries.datasets]
    brains = [Options(**entry.options) for entry in entries if entry.adapter == "simulated"]
    # Without a learning signal nothing planted is drawn at random.
    planting = {brain.planting_signal_set for brain in brains if brain.learning_signal}
    files = [path / "signals.yaml" for path in folders if (path / "signals.yaml").exists()]
    names = {name for file in files for name in yaml.safe_load(file.read_text())["signal_sets"]}
    seeds = {name: registries.signal_set(name, where="test").seed for name in names}
    assert planting < set(names)
    analyses = {seed for name, seed in seeds.items() if name not in planting}
    assert analyses.isdisjoint(seeds[name] for name in planting)


def test_the_store_names_places_and_not_what_was_planted(features, stimuli):
    dataset = simulate(features, stimuli)
    assert dataset.attrs["space"] == "fsaverage5"
    assert dataset.attrs["early_rois"] == ["V1", "V2", "V3"]
    assert dataset.attrs["high_rois"] == ["LO", "PHC", "FFA"]
    distances = [dataset.attrs["roi_distance"][roi] for roi in dataset.attrs["roi_order"]]
    assert distances == sorted(distances)
    assert dataset.attrs["n_masked_targets"] == 0
    told = json.dumps(dataset.attrs)
    for secret in ("feedforward", "backprop", "planting", "gradient", "net", "one"):
        assert f'"{secret}' not in told
    options = Options(**options_of())
    truth = simulated.Adapter().provenance(entry_of(), options, "sim-s01", stimuli, features)[
        "planted"
    ]
    assert truth["layer_of_region"]["V1"] == "one"


def test_activations_come_in_order_of_depth_and_gradients_last_layer_first(
    features, stimuli, planted
):
    dataset = simulate(features, stimuli, modality="meg", world="backprop")
    time = dataset["time"].values
    response = dataset["response"].values
    peak = {}
    for layer, signals in planted.items():
        for signal, values in signals.items():
            scores = [explained(values, response[:, index]).mean() for index in range(len(time))]
            peak[layer, signal] = time[np.argmax(scores)]
    forward, backward = latencies(Options(**options_of("backprop")))
    for index, layer in enumerate(LAYERS):
        # Within one sample, 40 ms.
        assert peak[layer, "activation"] == pytest.approx(forward[index], abs=0.041)
        assert peak[layer, "gradient"] == pytest.approx(backward[index], abs=0.041)
    assert forward == [0.08, 0.125, 0.17]
    assert backward == [0.36, 0.315, 0.27]


def test_nothing_is_planted_before_the_image(features, stimuli):
    dataset = simulate(features, stimuli, modality="meg")
    time = dataset["time"].values
    assert 0.0 in time
    assert (np.diff(time).round(9) == 0.04).all()
    ceiling = dataset["noise_ceiling"].values
    assert ceiling[time < 0].mean() < 0.1
    assert ceiling[np.argmin(abs(time - 0.12))].mean() > 0.8


def test_sample_times_include_the_onset_and_stay_within_the_window():
    times = sample_times(Options(**options_of(sfreq=30.0)))
    assert 0.0 in times
    assert times[0] >= -0.1 - 1e-9
    assert times[-1] <= 0.8 + 1e-9


def test_noise_ceilings_are_seen_from_the_repeats(features, stimuli):
    dataset = simulate(features, stimuli, explainable_variance=0.57)
    assert dataset["noise_ceiling"].values.mean() == pytest.approx(0.57, abs=0.05)
    assert (dataset["n_repeats"].values == 3).all()


def test_a_subject_is_the_same_each_time_and_differs_from_the_next(features, stimuli):
    first = simulate(features, stimuli)
    assert first.identical(simulate(features, stimuli))
    second = simulate(features, stimuli, subject="sim-s02")
    correlation = np.corrcoef(first["response"].values.ravel(), second["response"].values.ravel())
    assert abs(correlation[0, 1]) < 0.2


def test_a_readout_has_unit_variance_and_ignores_constant_features():
    features = np.random.default_rng(0).standard_normal((50, 4))
    padded = np.column_stack([features, np.full(50, 3.0)])
    read = readout(features, 6, np.random.default_rng(1))
    np.testing.assert_allclose(read.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(read.std(axis=0), 1)
    np.testing.assert_allclose(readout(padded, 6, np.random.default_rng(1)), read)
    with pytest.raises(DatasetError, match="do not vary"):
        readout(np.ones((50, 4)), 2, np.random.default_rng(0))


def test_without_a_shared_set_each_subject_sees_crops_of_its_own():
    entry, options = entry_of(stimuli=None), Options(**options_of())
    first = simulated.Adapter().stimuli(entry, options, "sim-s01", Path("data/sim"))
    second = simulated.Adapter().stimuli(entry, options, "sim-s02", Path("data/sim"))
    assert set(first["content_sha256"]).isdisjoint(second["content_sha256"])
    assert first.equals(simulated.Adapter().stimuli(entry, options, "sim-s01", Path("data/sim")))


def test_required_features_are_one_store_per_layer():
    assert simulated.Adapter().required_features(entry_of(), Options(**options_of())) == [
        ("net", layer, "planted") for layer in LAYERS
    ]


def test_wrong_features_are_named(features, stimuli, planted, tmp_path):
    with pytest.raises(DatasetError, match=r"no features of the planting layer.* one of 'net'"):
        simulate(features[:2], stimuli)
    with pytest.raises(DatasetError, match="each once"):
        simulate([*features, features[0]], stimuli)
    write_features(tmp_path / "other.zarr", stimuli, planted["one"], layer="one", model="other")
    with pytest.raises(DatasetError, match=r"other\.zarr: holds model.*'other'"):
        simulate([tmp_path / "other.zarr", *features[:2]], stimuli)
    write_features(
        tmp_path / "bare.zarr", stimuli, {"activation": planted["one"]["activation"]}, layer="one"
    )
    with pytest.raises(DatasetError, match=r"bare\.zarr: lacks the signal.* gradient"):
        simulate([tmp_path / "bare.zarr", *features[:2]], stimuli, world="backprop")
    few = {"activation": planted["one"]["activation"][:70]}
    write_features(tmp_path / "few.zarr", stimuli.iloc[:70], few, layer="one")
    with pytest.raises(DatasetError, match=r"few\.zarr: lacks 2 of 72 stimuli, e\.g\."):
        simulate([tmp_path / "few.zarr", *features[:2]], stimuli)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_signal": "gradient"}, "learning_signal"),
        ({"world": "backprop", "learning_signal": None}, "learning_signal"),
        ({"world": "paper_pattern", "learning_signal": None}, "learning_signal"),
        ({"learning_latency": "forward"}, "`feedforward` has no learning signal"),
        (
            {"world": "backprop", "learning_signal": "gradient", "learning_regions": ["V9"]},
            "learning_regions: .*'V9'",
        ),
        ({"explainable_variance": 1.0}, "explainable_variance"),
        ({"planting_layers": ["a", "a"]}, "name each layer once"),
        ({"regions": ["V1", "V9"]}, "'V9'.*unknown"),
        ({"regions": ["V2", "FFA"]}, "V1 must be among them"),
        ({"tmin": 0.1}, "must enclose the onset"),
        ({"n_repeats": 1}, "n_repeats"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Options(**{**options_of(), **changes})


def test_a_set_of_images_alone_has_no_responses_to_simulate():
    problems = simulated.Adapter().check(entry_of("none"), Options(**options_of()), Path("data"))
    assert len(problems) == 1
    assert "simulated along regions or along time; name a modality" in problems[0]


def test_another_modality_of_the_same_axis_is_simulated_alike(features, stimuli):
    options = {"layout": "EEG1005", "n_sensors": 12}
    eeg = simulate(features, stimuli, modality="eeg", **options)
    assert {name: eeg.attrs[name] for name in ("modality", "axis", "sensors")} == {
        "modality": "eeg",
        "axis": "time",
        "sensors": "electrodes",
    }
    meg = simulate(features, stimuli, modality="meg", **options)
    assert np.array_equal(eeg["response"].values, meg["response"].values)


def test_the_activation_is_known_by_its_role_whatever_it_is_called(
    features, stimuli, planted, tmp_path
):
    renamed = []
    for layer, signals in planted.items():
        # Called like the coordinate of the store, and another called as the activation was.
        named = {
            "activation": signals["gradient"],
            "signal": signals["activation"],
            "gradient": signals["gradient"],
        }
        path = tmp_path / f"{layer}.zarr"
        write_features(path, stimuli, named, layer=layer, roles={"signal": "activation"})
        renamed.append(path)
    for world in ("feedforward", "backprop"):
        expected = simulate(features, stimuli, world=world)
        assert simulate(renamed, stimuli, world=world).identical(expected)
    bare = tmp_path / "none.zarr"
    write_features(bare, stimuli, planted["one"], layer="one", roles={})
    with pytest.raises(DatasetError, match=r"none\.zarr: lacks the signal\(s\) one of `role: act"):
        simulate([bare, *features[:2]], stimuli)


def test_the_command_writes_a_whole_store_and_the_truth_beside_it(features, stimuli, tmp_path):
    write_table(tmp_path / "crops.parquet", stimuli, kind="stimuli")
    output = tmp_path / "sim-s01.zarr"
    command = [
        sys.executable,
        str(ROOT / "scripts" / "prepare_responses.py"),
        *("--entry", entry_of("meg").model_dump_json()),
        *("--subject", "sim-s01"),
        *("--stimuli", str(tmp_path / "crops.parquet")),
        *("--data", str(tmp_path / "data")),
        *("--features", *map(str, features)),
        *("--output", str(output)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dataset = open_store(output, kind="responses", verify=True)
    assert dict(dataset["response"].sizes) == {"image": N_IMAGES, "time": 23, "sensor": 12}
    record = json.loads((tmp_path / "sim-s01.zarr.provenance.json").read_text())
    assert record["planted"]["activation_latency_s"] == {"one": 0.08, "two": 0.125, "three": 0.17}

    command[command.index("--subject") + 1] = "sim-s09"
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: subject 'sim-s09' is not one of data set 'sim'")
