"""Targets that one job computes for all layers: the features are the same, and passed by none."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import compute_objective_targets
import extract_features
import pytest
import torch

from gradbrain.config.plugins import LIBRARY_PLUGINS, signal_uses, viewing_objectives
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet, Weights
from gradbrain.objectives import build_objective
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError, objective_targets
from gradbrain.store import StoreError, open_store, open_tree
from gradbrain.store.provenance import provenance_path

LAYERS, DEPTHS = ["layer1.0", "layer2.0", "layer4.0"], ["0.25", "0.5", "1.0"]
ENTRY = ModelEntry(
    name="small", architecture="test_resnet", weights={"source": "random", "seed": 2}, input_size=32
)
N_IMAGES, N_DISTURBED, BATCH_SIZE = 11, 4, 4


def shuffled(objective: str, **options) -> SignalEntry:
    return SignalEntry(
        name=f"shuffled_{objective}",
        role="control",
        rule="backprop",
        objective="shuffled_cotangent",
        options={"objective": objective, "options": options},
    )


def every_view(tools) -> list[SignalEntry]:
    """Signals of all objectives that look at views or masks, and controls with such ones inside."""
    names = ("dino", "view_consistency", "contrastive", "masked_feature")
    return [
        *(tools["backprop"](name) for name in names),
        tools["backprop"]("fixed_cotangent", "control"),
        shuffled("dino", views={"n_views": 2}),
        shuffled("masked_feature", n_masks=3),
    ]


class Study:
    """A stimulus set, calibration images and the command lines that work on them."""

    def __init__(self, folder: Path, tools) -> None:
        self.folder, self.tools, self.entry, self.precision = folder, tools, ENTRY, "fp32"
        self.stimuli = tools["stimuli"](folder, "seen", N_IMAGES, 0)
        self.calibration = tools["stimuli"](folder, "other", 6, 1)
        self.signal_set: SignalSet = tools["signal_set"](*every_view(tools))
        self.targets = folder / "targets" / "seen.zarr"
        self.plugins: list[Path] = []

    def common(self) -> list[str]:
        return [
            *("--model", self.entry.model_dump_json()),
            *("--signal-set", self.signal_set.model_dump_json()),
            *("--stimuli", str(self.stimuli), "--stimuli-name", "seen"),
            *("--calibration", str(self.calibration), "--data", str(self.folder)),
            *("--batch-size", str(BATCH_SIZE), "--device", "cpu", "--precision", self.precision),
            *("--plugins", *map(str, self.plugins)),
        ]

    def compute(self) -> Path:
        compute_objective_targets.main([*self.common(), "--output", str(self.targets)])
        return self.targets

    def output(self, layer: str, run: str) -> Path:
        return self.folder / run / layer / "seen.zarr"

    def extract(self, run: str, layers: list[str] = LAYERS, *, targets: bool = False) -> dict:
        """Layer -> digest of its features."""
        extract_features.main(
            [
                *self.common(),
                *("--layers", *layers, "--depths", *(DEPTHS[LAYERS.index(one)] for one in layers)),
                *("--output", *(str(self.output(layer, run)) for layer in layers)),
                *(["--targets", str(self.targets)] if targets else []),
            ]
        )
        stores = {layer: self.output(layer, run) for layer in layers}
        return {
            layer: open_store(store, kind="features", verify=True).attrs["digest"]
            for layer, store in stores.items()
        }

    def facts(self, run: str, layer: str) -> dict:
        return json.loads(provenance_path(self.output(layer, run)).read_text())


@pytest.fixture
def study(tmp_path, tools) -> Study:
    return Study(tmp_path, tools)


def test_features_are_bit_for_bit_those_of_one_job_and_of_layers_that_pass_views(study):
    fused = study.extract("fused")
    study.compute()
    with_targets, alone = {}, {}
    for layer in LAYERS:
        with_targets |= study.extract("with_targets", [layer], targets=True)
        alone |= study.extract("alone", [layer])
    assert with_targets == alone == fused
    # What the log warns of is the same, too.
    for layer in LAYERS:
        one, other = (study.facts(run, layer) for run in ("with_targets", "alone"))
        for key in ("objectives", "rounding", "degenerate"):
            assert one[key] == other[key]
        assert one["objective_targets"] and other["objective_targets"] is None


def test_a_layer_passes_the_images_alone(study, passes):
    study.compute()
    # 2 views, 4 masks of stimuli and of their disturbed copies, and all that calibration takes.
    assert sum(passes) > (2 + 4) * (N_IMAGES + N_DISTURBED)
    passes.clear()
    study.extract("layers", ["layer2.0"], targets=True)
    probe = 1
    assert sum(passes) == probe + N_IMAGES + N_DISTURBED
    passes.clear()
    study.extract("alone", ["layer2.0"])
    assert sum(passes) > 6 * (probe + N_IMAGES + N_DISTURBED)


def test_no_calibration_image_is_read_by_a_layer_that_fits_nothing(study):
    study.compute()
    for image in (study.folder / "images").glob("other_*.png"):
        image.unlink()
    assert study.extract("layers", ["layer4.0"], targets=True)


def test_an_objective_that_looks_at_no_view_is_fitted_where_it_is_used(study):
    signals = [study.tools["backprop"]("dino"), shuffled("cross_entropy")]
    study.signal_set = study.tools["signal_set"](*signals)
    study.compute()
    assert study.extract("layers", targets=True) == study.extract("fused")


def test_a_control_alone_needs_the_views_of_calibration_images(study, passes):
    study.signal_set = study.tools["signal_set"](shuffled("dino", views={"n_views": 2}))
    store = open_tree(study.compute(), kind="objective_targets", verify=True)
    # It compares no stimulus with anything: nothing is stored but what it fitted.
    assert {name for node in store.subtree for name in node.data_vars} == {
        "state_gradients", "state_mean", "state_inverse_spread", "state_centre",
        "state_teacher_entropy",
    }  # fmt: skip
    passes.clear()
    layers = study.extract("layers", targets=True)
    assert sum(passes) == 1 + N_IMAGES + N_DISTURBED
    assert layers == study.extract("fused")


@pytest.mark.parametrize("name", ["dino", "view_consistency", "contrastive", "masked_feature"])
def test_an_objective_that_is_handed_its_state_looks_at_no_calibration_image(
    name, tools, tiny_model, bank, batch
):
    signal = tools["backprop"](name)
    (use,) = viewing_objectives([signal], LIBRARY_PLUGINS)
    fitted = build_objective(use, tiny_model, bank)

    def unread():
        raise AssertionError("calibration images were read")

    handed = CalibrationBank(tiny_model, unread, {use.key: fitted.state})
    other = build_objective(use, tiny_model, handed)
    output = tiny_model.outputs(batch.raw)["features"]
    assert torch.equal(fitted.loss(output, batch), other.loss(output, batch))
    assert fitted.report() == other.report()


def test_those_objectives_are_found_that_pass_more_than_the_images(tools):
    signals = [*every_view(tools), shuffled("cross_entropy"), tools["backprop"]("entropy")]
    found = viewing_objectives([*signals, *signals], LIBRARY_PLUGINS)
    expected = [signal for signal in every_view(tools) if signal.objective != "fixed_cotangent"]
    keys = [signal_uses(one, LIBRARY_PLUGINS, where="test")[1].key for one in expected]
    assert [use.key for use in found] == keys


DARKER = """
from typing import ClassVar
import torch
from gradbrain.config.plugins import PluginOptions
from gradbrain.objectives.base import BaseObjective

class Options(PluginOptions):
    requires: ClassVar = frozenset({"calibration"})

    def extra_forward_passes(self) -> float:
        return 1.0

class Objective(BaseObjective):
    def targets(self, batch):
        return self.model.outputs(batch.raw / 2)["features"]

    def evaluate(self, output, batch, targets):
        return (output - targets - self.MEAN).square().sum(-1)
"""
FITTED_ONCE = """
    def fit(self):
        return {"mean": self.fitted().outputs("features").mean(0)}
"""
FITTED_BY_EVERY_JOB = """
    def prepare(self):
        self.mean = self.fitted().outputs("features").mean(0)
"""


@pytest.mark.parametrize(
    ("text", "n_calibration"),
    [
        (DARKER.replace("MEAN", 'state["mean"]') + FITTED_ONCE, 0),
        (DARKER.replace("MEAN", "mean") + FITTED_BY_EVERY_JOB, 6),
    ],
)
def test_an_objective_of_ones_own_needs_to_know_nothing_of_it(text, n_calibration, study, passes):
    folder = study.folder / "objectives"
    folder.mkdir()
    (folder / "darker.py").write_text(text)
    study.plugins = [folder / "darker.py"]
    study.signal_set = study.tools["signal_set"](study.tools["backprop"]("darker"))
    study.compute()
    passes.clear()
    layers = study.extract("layers", targets=True)
    # What `prepare` fits is fitted again, and right.
    assert sum(passes) == 1 + N_IMAGES + N_DISTURBED + n_calibration
    assert layers == study.extract("fused")


# --- refusals --------------------------------------------------------------------------------


def other_weights(study):
    study.entry = ENTRY.model_copy(update={"weights": Weights(source="random", seed=3)})


def other_seed(study):
    study.signal_set = study.signal_set.model_copy(update={"seed": 1})


def other_options(study):
    signals = list(study.signal_set.signals)
    views = {"views": {"n_views": 3}}
    signals[1] = signals[1].model_copy(update={"options": views})
    study.signal_set = study.signal_set.model_copy(update={"signals": tuple(signals)})


def other_images(study):
    study.stimuli = study.tools["stimuli"](study.folder, "seen", N_IMAGES, 99)


def fewer_images(study):
    study.stimuli = study.tools["stimuli"](study.folder, "seen", N_IMAGES - 1, 0)


def other_calibration(study):
    study.calibration = study.tools["stimuli"](study.folder, "other", 6, 98)


def other_precision(study):
    study.precision = "tf32"


REFUSALS = {
    other_weights: "model_entry.weights was {.*2} and is {.*3}; the weights of the network are",
    other_seed: "signal_set_entry.seed was 0 and is 1",
    other_options: 'signal_set_entry.objectives was .*n_views":2.* and is .*n_views":3',
    other_images: "the images are others",
    fewer_images: "the images are others",
    other_calibration: "the calibration images are others",
    other_precision: "the precision is another",
}


@pytest.mark.parametrize("change", REFUSALS)
def test_targets_of_something_else_are_refused(change, study):
    study.compute()
    change(study)
    with pytest.raises(SignalError, match=REFUSALS[change]) as caught:
        study.extract("layers", ["layer2.0"], targets=True)
    assert f"rm -r {study.targets}" in str(caught.value)
    assert not study.output("layer2.0", "layers").exists()


def test_targets_for_signals_that_look_at_no_view_are_refused(study):
    study.compute()
    study.signal_set = study.tools["signal_set"](study.tools["backprop"]("entropy"))
    with pytest.raises(SignalError, match=r"signal_set_entry.objectives was .* and is \[\]"):
        study.extract("layers", ["layer2.0"], targets=True)
    with pytest.raises(SignalError, match="no objective of it passes more than the images"):
        study.compute()


def test_a_missing_damaged_or_foreign_store_is_refused(study):
    with pytest.raises(StoreError, match="no such store"):
        study.extract("layers", ["layer2.0"], targets=True)
    study.compute()
    chunk = next(file for file in study.targets.glob("*/targets/c/**/*") if file.is_file())
    chunk.unlink()
    with pytest.raises(StoreError, match="is missing"):
        study.extract("layers", ["layer2.0"], targets=True)
    study.extract("alone", ["layer2.0"])
    shutil.rmtree(study.targets)
    shutil.copytree(study.output("layer2.0", "alone"), study.targets)
    with pytest.raises(StoreError, match="objective_targets"):
        study.extract("layers", ["layer2.0"], targets=True)


# --- the job ---------------------------------------------------------------------------------


def test_complete_targets_are_kept_and_others_made_again(study, passes, caplog):
    caplog.set_level(logging.INFO)
    study.compute()
    passes.clear()
    study.compute()
    assert passes == [] and "is complete and kept" in caplog.text
    other_calibration(study)
    study.compute()
    assert "calibration_digest changed" in caplog.text and passes
    other_seed(study)
    with pytest.raises(SignalError, match=f"rm -r {study.targets}"):
        study.compute()


def test_a_failing_job_leaves_nothing_and_other_targets_alone(study, monkeypatch):
    class Failing(objective_targets.StreamingStore):
        def finish(self, *arguments, **keywords):
            raise OSError("no space left on device")

    monkeypatch.setattr(objective_targets, "StreamingStore", Failing)
    with pytest.raises(OSError, match="no space left"):
        study.compute()
    assert list(study.targets.parent.iterdir()) == []


def test_batches_are_halved_where_memory_runs_out(study, monkeypatch, caplog):
    expected = open_tree(study.compute(), kind="objective_targets").load()
    shutil.rmtree(study.targets)
    take = objective_targets._Teacher._take

    def greedy(teacher, batch):
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return take(teacher, batch)

    monkeypatch.setattr(objective_targets._Teacher, "_take", greedy)
    found = open_tree(study.compute(), kind="objective_targets", verify=True)
    assert caplog.text.count("batches of 2 images") == 1
    for group, node in expected.children.items():
        for name, values in node.data_vars.items():
            # float32: convolutions add up in another order for another batch.
            torch.testing.assert_close(
                torch.from_numpy(found[group][name].values),
                torch.from_numpy(values.values),
                rtol=1e-3,
                atol=1e-6,
            )


def test_in_half_precision_targets_serve_layers_as_well(study):
    study.precision = "bf16"
    study.signal_set = study.tools["signal_set"](study.tools["backprop"]("dino"))
    study.compute()
    assert study.extract("layers", ["layer2.0"], targets=True) == study.extract(
        "alone", ["layer2.0"]
    )
