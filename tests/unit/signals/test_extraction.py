"""Extraction: what is stored, what is kept, what is refused, and what a kill leaves behind."""

from __future__ import annotations

import json
import logging
import signal as process_signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from extract_features import main

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import ModelEntry, Pooling, Projection, Weights
from gradbrain.signals import SignalError
from gradbrain.signals.device import set_up
from gradbrain.signals.layer_stores import finished_path
from gradbrain.store import (
    StoreError,
    StreamingStore,
    open_store,
    open_tree,
    read_definition,
    write_table,
)

ROOT = Path(__file__).resolve().parents[3]
LAYERS = ["layer1.0", "layer2.0", "layer4.0"]
DEPTHS = ["0.25", "0.5", "1.0"]
ENTRY = ModelEntry(
    name="small",
    architecture="test_resnet",
    weights={"source": "random", "seed": 2},
    input_size=32,
)
RESEEDED = ENTRY.model_copy(update={"weights": Weights(source="random", seed=3)})


class Study:
    """A stimulus set, calibration images and the command line that extracts from them."""

    def __init__(self, folder: Path, tools) -> None:
        self.folder = folder
        self.stimuli = tools["stimuli"](folder, "seen", 11, 0)
        self.calibration = tools["stimuli"](folder, "other", 6, 1)
        self.signal_set = tools["signal_set"](
            tools["backprop"]("dino"), tools["backprop"]("fixed_cotangent", "control")
        )
        self.entry = ENTRY

    def output(self, layer: str) -> Path:
        return self.folder / "features" / layer / "seen.zarr"

    def arguments(self, layers=LAYERS, batch_size: int = 4) -> list[str]:
        depths = [DEPTHS[LAYERS.index(layer)] for layer in layers]
        return [
            *("--model", self.entry.model_dump_json()),
            *("--layers", *layers, "--depths", *depths),
            *("--signal-set", self.signal_set.model_dump_json()),
            *("--stimuli", str(self.stimuli), "--stimuli-name", "seen"),
            *("--calibration", str(self.calibration), "--data", str(self.folder)),
            *("--output", *(str(self.output(layer)) for layer in layers)),
            *("--batch-size", str(batch_size), "--device", "cpu"),
        ]

    def extract(self, **choices) -> dict[str, str]:
        main(self.arguments(**choices))
        return {
            layer: open_store(self.output(layer), kind="features", verify=True).attrs["digest"]
            for layer in choices.get("layers", LAYERS)
        }


@pytest.fixture
def study(tmp_path, tools) -> Study:
    return Study(tmp_path, tools)


def test_a_store_holds_what_its_contract_says(study):
    study.extract()
    store = open_tree(study.output("layer2.0"), kind="features", verify=True)
    table = pd.read_parquet(study.stimuli)
    assert store["image_id"].values.tolist() == table["image_id"].tolist()
    assert store["signal"].values.tolist() == [
        "activation",
        "gradient_dino",
        "gradient_fixed_cotangent",
    ]
    for name in store["signal"].values:
        assert store["signals"][name].dims == ("image", "feature")
        assert store["signals"][name].dtype == np.float32
    assert store["magnitude"].dims == store["objective_value"].dims == ("image", "signal")
    assert np.isnan(store["objective_value"].values[:, 0]).all()
    assert np.isfinite(store["objective_value"].values[:, 1:]).all()
    assert store["role"].values.tolist() == ["activation", "learning", "control"]
    assert store["rule"].values.tolist() == ["activation", "backprop", "backprop"]
    assert store["objective"].values.tolist() == ["", "dino", "fixed_cotangent"]
    assert (store.attrs["model"], store.attrs["layer"]) == ("small", "layer2.0")
    assert (store.attrs["depth"], store.attrs["pooling"]) == (0.5, "mean")
    assert (store.attrs["signal_set"], store.attrs["stimuli"]) == ("test", "seen")
    assert store.attrs["definition"] == feature_definition(ENTRY, study.signal_set, LIBRARY_PLUGINS)
    assert len(store.attrs["weights_digest"]) == 64


def test_signals_have_unit_length_and_activations_their_own(study):
    study.extract()
    store = open_tree(study.output("layer1.0"), kind="features")
    for index, name in enumerate(store["signal"].values):
        length = np.linalg.norm(store["signals"][name].values.astype(float), axis=1)
        expected = store["magnitude"].values[:, index] if name == "activation" else 1
        np.testing.assert_allclose(length, expected, rtol=1e-5)
    assert not np.allclose(store["magnitude"].values, 1)


def test_magnitudes_are_those_of_the_signal_before_scaling(study, tools):
    study.extract(layers=["layer4.0"])
    scaled = open_tree(study.output("layer4.0"), kind="features").load()
    study.signal_set = study.signal_set.model_copy(update={"normalise": "none", "name": "raw"})
    study.folder /= "raw"
    study.extract(layers=["layer4.0"])
    raw = open_tree(study.output("layer4.0"), kind="features")
    np.testing.assert_allclose(raw["magnitude"], scaled["magnitude"], rtol=1e-6)
    length = scaled["magnitude"].values[:, [1]]
    np.testing.assert_allclose(
        raw["signals"]["gradient_dino"],
        scaled["signals"]["gradient_dino"].values * length,
        rtol=1e-5,
        atol=1e-12,
    )


def test_projected_signals_have_unit_length_too(study):
    study.signal_set = study.signal_set.model_copy(
        update={
            "projection": Projection(n_components=20),
            "pooling": Pooling(kind="grid", size=2),
        }
    )
    study.extract(layers=["layer4.0"])
    store = open_tree(study.output("layer4.0"), kind="features")
    assert store["signals"]["activation"].shape == (11, 20)
    assert store.attrs["pooling"] == "grid2"
    length = np.linalg.norm(store["signals"]["gradient_dino"].values.astype(float), axis=1)
    np.testing.assert_allclose(length, 1, rtol=1e-5)


def test_one_job_per_layer_writes_the_same_stores_as_one_job_per_model(study):
    fused = study.extract()
    study.folder /= "alone"
    alone = {}
    for layer in LAYERS:
        alone |= study.extract(layers=[layer])
    assert alone == fused


def test_the_batch_size_does_not_change_the_result(study):
    study.extract(layers=["layer4.0"])
    expected = open_tree(study.output("layer4.0"), kind="features").load()
    study.folder /= "other"
    study.extract(layers=["layer4.0"], batch_size=3)
    found = open_tree(study.output("layer4.0"), kind="features")
    for name in expected["signals"]:
        # float32: convolutions add up in another order for another batch.
        np.testing.assert_allclose(
            found["signals"][name], expected["signals"][name], rtol=1e-3, atol=1e-6
        )
    for name in ("objective_value", "magnitude"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-6)


def test_layers_that_are_complete_are_kept(study, caplog):
    caplog.set_level(logging.INFO)
    study.extract(layers=["layer2.0"])
    before = (study.output("layer2.0") / "zarr.json").stat().st_mtime_ns
    study.extract()
    assert (study.output("layer2.0") / "zarr.json").stat().st_mtime_ns == before
    assert f"{study.output('layer2.0')} is complete and kept" in caplog.text
    assert "3 signals of 2 layers for 11 images" in caplog.text


def test_an_entry_that_changed_under_its_store_is_an_error(study):
    study.extract(layers=["layer2.0"])
    study.entry = RESEEDED
    with pytest.raises(SignalError) as caught:
        main(study.arguments(layers=["layer2.0"]))
    assert (
        "model_entry.weights was {'source': 'random', 'seed': 2} and is {'source': 'random', "
        "'seed': 3}"
    ) in str(caught.value)
    assert f"rm -r {study.output('layer2.0')}" in str(caught.value)


def test_a_changed_description_is_no_change(study, caplog):
    caplog.set_level(logging.INFO)
    study.extract(layers=["layer2.0"])
    study.entry = ENTRY.model_copy(update={"licence": "MIT", "citation": "somebody"})
    main(study.arguments(layers=["layer2.0"]))
    assert "is complete and kept" in caplog.text


def test_other_images_under_the_same_name_are_extracted_again(study, tools, caplog):
    caplog.set_level(logging.INFO)
    first = study.extract(layers=["layer2.0"])
    study.stimuli = tools["stimuli"](study.folder, "seen", 11, 99)
    assert study.extract(layers=["layer2.0"]) != first
    assert "is made again: stimuli_digest changed" in caplog.text


def test_calibration_images_that_are_stimuli_are_refused(study):
    other, seen = pd.read_parquet(study.calibration), pd.read_parquet(study.stimuli)
    both = pd.concat([other, seen.iloc[[4]].assign(image_id="copy")])
    write_table(study.calibration, both, kind="stimuli")
    with pytest.raises(SignalError, match=r"1 calibration image.* content of stimuli.*copy"):
        main(study.arguments())


def test_an_image_that_changed_since_its_table_was_made_is_refused(study, tools):
    table = pd.read_parquet(study.stimuli)
    path = json.loads(table["locator"][3])["path"]
    tools["stimuli"](study.folder, "third", 1, 5)
    Path(path).write_bytes((study.folder / "images" / "third_0.png").read_bytes())
    with pytest.raises(SignalError, match=r"image 'seen_3' .* is not the one"):
        main(study.arguments())
    assert not study.output("layer1.0").exists()
    assert list((study.folder / "features").rglob("*partial*")) == []


def test_repeated_image_ids_are_refused(study):
    table = pd.read_parquet(study.stimuli)
    write_table(study.stimuli, table.assign(image_id="same"), kind="stimuli")
    with pytest.raises(SignalError, match=r"distinct image ids, found 11 rows .*same"):
        main(study.arguments())


def test_signals_that_are_zero_are_counted_and_warned_about(study, tools, caplog):
    # With a class token as the only way out, the last block's patches get no gradient.
    study.entry = ModelEntry(
        name="vit",
        architecture="test_vit",
        kwargs={"img_size": 32, "global_pool": "token", "class_token": True},
        weights={"source": "random"},
        input_size=32,
    )
    study.signal_set = tools["signal_set"](tools["backprop"]("feature_norm"))
    arguments = study.arguments(layers=["layer4.0"])
    arguments[arguments.index("layer4.0")] = "blocks.5"
    main(arguments)
    store = open_tree(study.output("layer4.0"), kind="features")
    assert (store["signals"]["gradient_feature_norm"].values == 0).all()
    message = "layer blocks.5: signal gradient_feature_norm is zero for 11 of 11 images"
    assert message in caplog.text
    provenance = study.output("layer4.0").with_name("seen.zarr.provenance.json")
    facts = json.loads(provenance.read_text())
    assert facts["degenerate"]["zero"] == {"gradient_feature_norm": 11}
    assert facts["images_per_s"] > 0
    assert facts["weights"] == "random, seed 0"


def test_values_that_overflow_are_refused_by_name(study, monkeypatch):
    from gradbrain.objectives.fixed_cotangent import Objective

    evaluate = Objective.evaluate
    monkeypatch.setattr(Objective, "evaluate", lambda *given: evaluate(*given) * float("inf"))
    with pytest.raises(
        SignalError,
        match=r"'gradient_fixed_cotangent' of image 'seen_0' is not finite in fp32; no wider",
    ):
        main(study.arguments())
    assert not study.output("layer1.0").exists()


@pytest.mark.parametrize("flag", ["--layers", "--depths", "--output"])
def test_as_many_layers_depths_and_outputs_are_asked_for(study, flag):
    arguments = study.arguments()
    del arguments[arguments.index(flag) + 1]
    with pytest.raises(GradbrainError, match="expected as many of each"):
        main(arguments)


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SignalError, match="torch finds no GPU"):
        set_up("cuda", "fp32", 1)
    assert set_up("auto", "fp32", 1).device.type == "cpu"


KILLED_AT = {
    "before the first row": ("SignalExtractor", "take_all", 1),
    "in the middle of the rows": ("LayerStores", "write_rows", 5),
    "between two finished layers": ("StreamingStore", "finish", 2),
}
KILLER = """
import os, signal, sys
from extract_features import main
from gradbrain.config.cli import run
from gradbrain.signals import extraction, layer_stores
place, method, call = sys.argv[1], sys.argv[2], int(sys.argv[3])
cls = getattr(extraction, place, None) or getattr(layer_stores, place)
original, calls = getattr(cls, method), [0]
def deadly(*arguments, **keywords):
    calls[0] += 1
    if calls[0] == call:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **keywords)
setattr(cls, method, deadly)
main(sys.argv[4:])
"""


@pytest.mark.parametrize("moment", KILLED_AT)
def test_a_killed_job_leaves_no_store_that_reads_and_its_rerun_is_the_same(moment, study):
    place, method, call = KILLED_AT[moment]
    killed = subprocess.run(
        [sys.executable, "-c", KILLER, place, method, str(call), *study.arguments()],
        env={"PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT / 'scripts'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -process_signal.SIGKILL, killed.stderr
    survivors = LAYERS[:1] if method == "finish" else []
    for layer in LAYERS:
        with pytest.raises(StoreError, match="no such store"):
            open_store(study.output(layer), kind="features")
        assert finished_path(study.output(layer)).exists() == (layer in survivors)
    assert any(study.folder.glob("features/*/.seen.zarr.gradbrain-partial-*"))
    rerun = study.extract()
    study.folder /= "undisturbed"
    assert rerun == study.extract()
    assert not any(study.folder.parent.glob("features/*/.*"))


@pytest.fixture
def interrupted(study, monkeypatch):
    """A study whose job failed when its first layer was finished and its second was not."""
    finish, calls = StreamingStore.finish, []

    def failing(store, *arguments, **keywords):
        calls.append(store)
        if len(calls) == 2:
            raise OSError("no space left on device")
        return finish(store, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(StreamingStore, "finish", failing)
        with pytest.raises(OSError, match="no space left"):
            study.extract()
    assert not study.output(LAYERS[0]).exists()
    assert finished_path(study.output(LAYERS[0])).exists()
    return study


def test_a_layer_that_was_finished_before_a_failure_is_taken_over(interrupted, caplog):
    caplog.set_level(logging.INFO)
    rerun = interrupted.extract()
    taken_over = interrupted.output(LAYERS[0])
    assert f"{taken_over}: finished by an interrupted job, taken over" in caplog.text
    assert "3 signals of 2 layers for 11 images" in caplog.text
    provenance = json.loads(taken_over.with_name("seen.zarr.provenance.json").read_text())
    assert provenance["digest"] == rerun[LAYERS[0]]
    interrupted.folder /= "undisturbed"
    assert rerun == interrupted.extract()
    assert not any(interrupted.folder.parent.glob("features/*/.*"))


@pytest.mark.parametrize("changed", ["code_digest", "definition", "stimuli_digest"])
def test_a_finished_layer_of_another_making_is_swept(
    changed, interrupted, caplog, tools, monkeypatch
):
    caplog.set_level(logging.INFO)
    if changed == "code_digest":
        monkeypatch.setattr("extract_features.code_digest", lambda *_: "of other code")
    elif changed == "definition":
        interrupted.entry = RESEEDED
    else:
        interrupted.stimuli = tools["stimuli"](interrupted.folder, "seen", 11, 99)
    interrupted.extract()
    assert f"removed: {changed} changed" in caplog.text or f", {changed} changed" in caplog.text
    assert "3 signals of 3 layers for 11 images" in caplog.text
    assert not any(interrupted.folder.glob("features/*/.*"))


def test_a_damaged_finished_layer_is_swept(interrupted, caplog):
    caplog.set_level(logging.INFO)
    waiting = finished_path(interrupted.output(LAYERS[0]))
    next(file for file in waiting.glob("signals/activation/c/**/*") if file.is_file()).unlink()
    interrupted.extract()
    assert "3 signals of 3 layers for 11 images" in caplog.text


def test_definitions_can_be_read_without_opening_the_store(study):
    study.extract(layers=["layer2.0"])
    assert read_definition(study.output("layer2.0"))["definition"] == feature_definition(
        ENTRY, study.signal_set, LIBRARY_PLUGINS
    )
