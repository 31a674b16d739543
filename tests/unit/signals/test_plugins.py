"""Rules, objectives and sources of weights: those of the library, and those of one's own."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from extract_features import main as extract_features
from fit_feedback import main as fit_feedback

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import (
    LIBRARY_PLUGINS,
    Plugins,
    PluginUse,
    signal_needs,
    signal_randomness,
    weights_use,
)
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import ModelEntry, SignalEntry, Weights
from gradbrain.models.build import build_model
from gradbrain.models.errors import WeightsError
from gradbrain.models.layers import list_layers
from gradbrain.objectives import build_objective
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.store import StoreError, open_tree

ROOT = Path(__file__).resolve().parents[3]
OWN = Path(__file__).parent / "plugins"
CHAIN = list_layers("test_resnet")["layer"].tolist()
STORED = [CHAIN[0], CHAIN[-1]]
ENTRY = ModelEntry(
    name="small",
    architecture="test_resnet",
    weights={"source": "random", "seed": 2},
    input_size=32,
)
RIDGE = SignalEntry(
    name="magnitude",
    role="learning",
    rule="ridge_feedback",
    rule_options={"penalty": 0.5},
    objective="dino",
    label="ridge feedback",
    colour="#123456",
)


# --- the library's own -----------------------------------------------------------------------

#: Objective with its options -> what it needs, and which of its randomness is what.
OBJECTIVES = {
    "contrastive": ({"calibration"}, {"views": "monte_carlo"}),
    "cross_entropy": ({"labels"}, {}),
    "dino": ({"calibration"}, {"views": "monte_carlo"}),
    "entropy": (set(), {}),
    "feature_norm": (set(), {}),
    "fixed_cotangent": (set(), {"vector": "identity"}),
    "image_text": ({"text_tower", "captions"}, {}),
    "masked_feature": ({"calibration"}, {"masks": "monte_carlo"}),
    "reconstruction": ({"decoder"}, {}),
    "shuffled_cotangent": (
        {"calibration"},
        {"permutation": "identity", "views": "monte_carlo"},
    ),
    "view_consistency": ({"calibration"}, {"views": "monte_carlo"}),
}


def use_of(name: str, **options: object):
    return LIBRARY_PLUGINS.resolve(PluginUse("objectives", name, options), where="test")


@pytest.mark.parametrize("name", LIBRARY_PLUGINS.names("objectives"))
def test_every_objective_says_what_it_needs_and_what_of_it_is_random(name):
    options = {"objective": "dino"} if name == "shuffled_cotangent" else {}
    use = use_of(name, **options)
    assert (set(use.needs), use.randomness) == OBJECTIVES[name]


def test_what_an_objective_needs_follows_from_its_options():
    assert use_of("cross_entropy", target="prediction").needs == frozenset()
    assert use_of("image_text", bank="calibration").needs == {
        "text_tower",
        "captions",
        "calibration",
        "calibration_captions",
    }
    assert use_of("shuffled_cotangent", objective="image_text").needs == {
        "text_tower",
        "captions",
        "calibration",
        "calibration_captions",
    }
    assert use_of("shuffled_cotangent", objective="cross_entropy").needs == {
        "calibration",
        "labels",
    }


# The targets of image_text are texts: no image passes through the network for them.
@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"image_text"}))
def test_an_objective_says_how_many_passes_its_targets_take(name, tiny_model, bank, batch, passes):
    use = use_of(name, **({"objective": "dino"} if name == "shuffled_cotangent" else {}))
    objective = build_objective(use, tiny_model, bank)
    passes.clear()
    objective.targets(batch)
    assert use.options.extra_forward_passes() == len(passes)


def test_rules_and_sources_of_weights_say_what_they_are():
    rules = {
        name: set(LIBRARY_PLUGINS.find("rules", name, where="test").options_class.requires)
        for name in LIBRARY_PLUGINS.names("rules")
    }
    graph, other = {"objective", "graph"}, {"objective", "graph", "other_weights"}
    assert rules == {
        "activation": set(),
        "backprop": graph,
        "backprop_error": graph | {"image_graph"},
        "difference_target_propagation": graph | {"chain"},
        "direct_feedback_alignment": {"objective"},
        "feedback_alignment": other,
        "gauss_newton_target": {"objective"},
        "gradient_norm": graph,
        "hebbian": {"chain"},
        "node_perturbation": graph,
        "objective_value": {"objective"},
        "predictive_coding_generative": {"chain", "calibration", "fit"},
        "predictive_coding_inference": {"objective", "graph", "chain"},
        "scalar_feedback": {"objective", "calibration", "fit"},
        "sign_symmetry": other,
        "target_activity": graph | {"chain"},
        "teaching_signal": other | {"chain"},
        "three_factor": {"objective", "chain"},
    }
    trained = {
        name: LIBRARY_PLUGINS.find("weights", name, where="test").options_class.trained
        for name in LIBRARY_PLUGINS.names("weights")
    }
    learnt = dict.fromkeys(("file", "hub", "package", "testbed"), True)
    assert trained == {"random": False, "none": False, **learnt}


def test_sources_of_weights_name_their_files():
    cases = {
        ("random", "timm"): ({}, (), ()),
        ("file", "timm"): ({"path": "weights/a.pth"}, ("weights/a.pth",), ()),
        ("hub", "timm"): ({"tag": "in1k"}, (), ("weights/test_resnet.in1k.safetensors",)),
        ("hub", "transformers"): ({"tag": "a/b"}, (), ("weights/test_resnet.safetensors",)),
    }
    for (source, package), (options, required, optional) in cases.items():
        entry = ENTRY.model_copy(
            update={"source": package, "weights": Weights(source=source, **options)}
        )
        found = weights_use(entry, LIBRARY_PLUGINS, where="test").options
        assert found.required_files(entry) == required
        assert found.optional_files(entry) == optional


def test_planning_the_signals_and_weights_of_all_entries_imports_no_torch():
    code = """
import sys
from pathlib import Path
from gradbrain.config.plugins import signal_uses, weights_use
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import SignalEntry
folder = Path(sys.argv[1])
registries = Registries([folder])
signals = read_yaml(folder / "signals.yaml")["signals"]
for name, content in signals.items():
    assert signal_uses(SignalEntry(name=name, **content), registries.plugins, where=name)
models = read_yaml(folder / "models.yaml")["models"]
for name in models:
    assert weights_use(registries.model(name, where=name), registries.plugins, where=name)
heavy = {"torch", "timm", "torchvision", "transformers"} & set(sys.modules)
assert len(signals) > 5 and len(models) > 5 and not heavy, heavy
"""
    subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "config")],
        check=True,
        env={"PYTHONPATH": str(ROOT / "workflow")},
    )


def test_every_signal_of_the_registry_resolves():
    content = read_yaml(ROOT / "config" / "signals.yaml")
    signals = [SignalEntry(name=name, **entry) for name, entry in content["signals"].items()]
    registries = Registries([ROOT / "config"])
    needs = {signal.name: signal_needs(signal, registries.plugins) for signal in signals}
    assert needs["activation"] == frozenset()
    assert needs["gradient_dino"] == {"objective", "graph", "calibration"}
    assert "calibration_captions" in needs["gradient_shuffled_image_text"]


# --- a rule of one's own ---------------------------------------------------------------------


class Study:
    """Stimuli, calibration images and a folder of plug-ins, and the two command lines."""

    def __init__(self, folder: Path, tools) -> None:
        self.folder, self.tools = folder, tools
        self.plugins = folder / "mine"
        shutil.copytree(OWN, self.plugins, ignore=shutil.ignore_patterns("__pycache__"))
        self.files = [self.plugins / "rules" / "ridge_feedback.py"]
        self.stimuli = tools["stimuli"](folder, "seen", 7, 0)
        self.calibration = tools["stimuli"](folder, "other", 9, 1)
        self.entry, self.signal = ENTRY, RIDGE
        self.fitted = folder / "feedback" / "small" / "magnitude" / "other.zarr"
        # Named as the row of a table is: nothing is read off names.
        self.others = (
            tools["backprop"]("dino").model_copy(update={"name": "all_activations"}),
            tools["backprop"]("fixed_cotangent", "control"),
        )

    def shared(self, batch_size: int) -> list[str]:
        return [
            *("--model", self.entry.model_dump_json()),
            *("--calibration", str(self.calibration), "--data", str(self.folder)),
            *("--plugins", *map(str, self.files)),
            *("--batch-size", str(batch_size), "--device", "cpu"),
        ]

    def fit(self, *more: str, chain=CHAIN, batch_size: int = 4) -> str:
        fit_feedback(
            [
                *self.shared(batch_size),
                *("--signal", self.signal.model_dump_json(), "--chain", *chain),
                *("--calibration-name", "other", "--output", str(self.fitted), *more),
            ]
        )
        return open_tree(self.fitted, kind="feedback", verify=True).attrs["digest"]

    def output(self, layer: str) -> Path:
        return self.folder / "features" / layer / "seen.zarr"

    def extract(
        self, *, layers=STORED, chain=CHAIN, feedback=None, signals=None, batch_size: int = 4
    ) -> dict[str, xr.DataTree]:
        chosen = self.tools["signal_set"](*(signals or (*self.others, self.signal)))
        depths = [str((CHAIN.index(layer) + 1) / len(CHAIN)) for layer in layers]
        feedback = [self.fitted] if feedback is None else feedback
        extract_features(
            [
                *self.shared(batch_size),
                *("--layers", *layers, "--depths", *depths),
                # As jobs get it: without what is said of signals.
                *("--signal-set", json.dumps(chosen.without_words())),
                *("--stimuli", str(self.stimuli), "--stimuli-name", "seen"),
                *("--output", *(str(self.output(layer)) for layer in layers)),
                *("--chain", *chain, "--feedback", *map(str, feedback)),
            ]
        )
        return {
            layer: open_tree(self.output(layer), kind="features", verify=True).load()
            for layer in layers
        }


@pytest.fixture
def study(tmp_path, tools) -> Study:
    return Study(tmp_path, tools)


def test_a_rule_with_a_fitted_model_goes_through_both_commands(study):
    digest = study.fit()
    stores = study.extract()
    for layer, store in stores.items():
        assert store["signal"].values.tolist() == [
            "activation",
            "all_activations",
            "gradient_fixed_cotangent",
            "magnitude",
        ]
        assert store["role"].values.tolist() == ["activation", "learning", "control", "learning"]
        assert store["rule"].values.tolist()[-1] == "ridge_feedback"
        assert store["objective"].values.tolist()[-1] == "dino"
        assert store.attrs["feedback_digests"] == {"magnitude": digest}
        assert store.attrs["chain"] == CHAIN
        np.testing.assert_allclose(
            store["signals/magnitude"].values, by_hand(study, layer), rtol=1e-3, atol=1e-5
        )


def by_hand(study: Study, layer: str) -> np.ndarray:
    """Ridge regression of the layer's mean on the top error, in NumPy, image by image."""
    model = build_model(study.entry)
    other = StimulusImages.read(study.calibration, study.entry)
    bank = CalibrationBank(model, StoredImages(other, 9, torch.device("cpu")).batches)
    dino = LIBRARY_PLUGINS.resolve(PluginUse("objectives", "dino", {}), where="test")
    objective = dino.plugin.load().Objective(model, dino.options, bank, 0)

    def error_and_mean(batch):
        kept = []
        module = model.module.get_submodule(layer)
        with module.register_forward_hook(lambda _, __, out: kept.append(out.mean((2, 3)))):
            output = model.outputs(batch.raw)["features"].requires_grad_()
        bound = objective.bind(batch)
        (error,) = torch.autograd.grad(bound.values(output).sum(), output)
        return error.double().numpy(), kept[0].detach().double().numpy()

    (images,) = bank.batches()
    error, mean = error_and_mean(images)
    penalty = 0.5 * np.eye(error.shape[1])
    matrix = np.linalg.solve(error.T @ error + penalty, error.T @ mean).T
    seen = StimulusImages.read(study.stimuli, study.entry)
    (batch,) = seen.batches(7, torch.device("cpu"))
    rows = error_and_mean(batch)[0] @ matrix.T
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_signals_of_a_second_rule_leave_those_of_the_first_as_they_were(study):
    before = study.extract(signals=study.others, feedback=[])
    study.fit()
    study.folder /= "with"
    after = study.extract()
    for layer in STORED:
        assert "chain" not in before[layer].attrs
        for name in before[layer]["signal"].values:
            np.testing.assert_array_equal(
                before[layer]["signals"][name], after[layer]["signals"][name], err_msg=name
            )
        for name in ("objective_value", "magnitude"):
            np.testing.assert_array_equal(
                before[layer][name], after[layer][name][:, : before[layer].sizes["signal"]]
            )


def test_the_chain_is_whole_whichever_layers_are_stored(study):
    study.fit()
    together = study.extract()
    study.folder /= "alone"
    (alone,) = study.extract(layers=STORED[1:]).values()
    np.testing.assert_array_equal(
        alone["signals/magnitude"], together[STORED[1]]["signals/magnitude"]
    )


def test_another_fit_makes_the_features_again(study, caplog):
    caplog.set_level(logging.INFO)
    first = study.fit()
    study.extract()
    study.extract()
    assert f"{study.output(STORED[0])} is complete and kept" in caplog.text
    shutil.rmtree(study.fitted)
    assert study.fit("--precision", "bf16") != first
    study.extract()
    assert "is made again: feedback_digests changed" in caplog.text


def test_a_fit_that_is_there_is_kept_and_follows_from_what_it_says(study, caplog):
    caplog.set_level(logging.INFO)
    first = study.fit()
    attributes = open_tree(study.fitted, kind="feedback").attrs
    assert (attributes["model"], attributes["signal"]) == ("small", "magnitude")
    assert attributes["calibration"] == "other"
    for name in ("definition", "weights_digest", "calibration_digest", "code_digest"):
        assert len(attributes[name]) == 64
    assert study.fit() == first
    assert "is complete and kept" in caplog.text
    # Label, colour, and who controls whom bear on nothing.
    study.signal = RIDGE.model_copy(update={"label": "another", "colour": None})
    assert study.fit() == first
    study.signal = RIDGE.model_copy(update={"rule_options": {"penalty": 2.0}})
    with pytest.raises(SignalError, match=r"signal_entry.rule_options was .*0.5.* and is .*2.0"):
        study.fit()


def test_a_fit_does_not_depend_on_the_seed_of_a_signal_set_but_on_its_own(study):
    matrices = []
    for seed in (0, 1):
        study.signal = RIDGE.model_copy(update={"rule_options": {"seed": seed}})
        study.fitted = study.fitted.with_name(f"{seed}.zarr")
        study.fit()
        matrices.append(open_tree(study.fitted, kind="feedback")[CHAIN[0]]["matrix"].values)
    assert not np.allclose(*matrices)


# --- what is missing or does not fit ---------------------------------------------------------


def test_without_its_fitted_model_a_rule_is_refused_before_anything_is_read(study):
    study.stimuli = study.folder / "absent.parquet"
    with pytest.raises(
        SignalError,
        match=r"signals.yaml: signal 'magnitude': rule 'ridge_feedback' needs its fitted model.*"
        r"scripts/fit_feedback.py",
    ):
        study.extract(feedback=[])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("signal", r"signal_entry.rule_options was {'penalty': 0.5} and is {'penalty': 2.0}"),
        ("model", r"model_entry.weights was .*'seed': 2.* and is .*'seed': 3"),
        ("calibration", r"fitted on the images of 'other', which are not the calibration images"),
    ],
)
def test_a_model_that_was_fitted_for_something_else_is_refused(change, message, study):
    study.fit()
    if change == "signal":
        study.signal = RIDGE.model_copy(update={"rule_options": {"penalty": 2.0}})
    elif change == "model":
        weights = Weights(source="random", seed=3)
        study.entry = ENTRY.model_copy(update={"weights": weights})
    else:
        study.calibration = study.tools["stimuli"](study.folder, "third", 9, 5)
    with pytest.raises(SignalError, match=message) as caught:
        study.extract()
    assert f"rm -r {study.fitted}" in str(caught.value)
    assert not study.output(STORED[0]).exists()


def test_weights_that_changed_under_a_fitted_model_are_noticed(study):
    of_file = ENTRY.model_copy(update={"weights": Weights(source="file", path="weights/small.pth")})
    study.entry = of_file
    (study.folder / "weights").mkdir()
    for seed in (1, 2):
        weights = Weights(source="random", seed=seed)
        module = build_model(ENTRY.model_copy(update={"weights": weights})).module
        torch.save(module.state_dict(), study.folder / "weights" / "small.pth")
        if seed == 1:
            study.fit()
    with pytest.raises(SignalError, match="the weights of the network are others"):
        study.extract()


def test_a_store_that_is_not_asked_for_is_refused(study):
    study.fit()
    with pytest.raises(SignalError, match=r"a fitted model of signal 'magnitude'; .* no signal"):
        study.extract(signals=study.others)
    with pytest.raises(SignalError, match=r"'magnitude', and so is .*; give one"):
        study.extract(feedback=[study.fitted, study.fitted])
    with pytest.raises(SignalError, match=r"absent.zarr: is none"):
        study.extract(feedback=[study.folder / "absent.zarr"])
    next(file for file in study.fitted.glob(f"{CHAIN[0]}/**/c/**/*") if file.is_file()).unlink()
    with pytest.raises(StoreError, match=r"its file .* is missing"):
        study.extract()


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (
            [],
            r"signal 'magnitude': rule 'ridge_feedback' works on the chain of all layers.*--chain",
        ),
        (CHAIN[:-1], rf"lacks {CHAIN[-1]}; give all layers"),
        (CHAIN[::-1], r"and the network calls them as .*; correct their order in layers.csv"),
    ],
)
def test_a_chain_that_is_not_whole_or_not_in_order_is_refused(chain, message, study):
    study.fit(chain=chain) if chain else study.fit()
    with pytest.raises(SignalError, match=message):
        study.extract(chain=chain)


def test_only_rules_with_a_model_are_fitted(study):
    study.signal = study.tools["backprop"]("dino")
    with pytest.raises(SignalError, match=r"'gradient_dino': rule 'backprop' fits no model"):
        study.fit()


def write_plugin(study: Study, kind: str, name: str, text: str) -> Path:
    path = study.plugins / kind / f"{name}.py"
    path.write_text(text)
    study.files = [path]
    return path


RULE = """
from typing import ClassVar
from gradbrain.config.plugins import PluginOptions
from gradbrain.signals.tape import Taken


class Options(PluginOptions):
    requires: ClassVar = frozenset({requires})


class Rule:
    def __init__(self, context):
        pass

    def take(self, tape, objective, *, keep_graph):
        return Taken({taken})


{more}
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", r"fitless.py: lacks the function fit\(context\)"),
        ("def fit(context): return 3", r"fitless.py: fit gave int, expected an xarray.Dataset"),
        (
            "def fit(context): context.objective(0)",
            r"signal 'magnitude': rule 'fitless' asks for an objective to fit its model",
        ),
    ],
)
def test_a_fit_that_cannot_be_stored_is_named(more, message, study):
    write_plugin(study, "rules", "fitless", RULE.format(requires='{"fit"}', taken="{}", more=more))
    study.signal = SignalEntry(name="magnitude", role="learning", rule="fitless")
    with pytest.raises(SignalError, match=message):
        study.fit()


def test_a_fit_may_be_one_data_set(study):
    more = (
        "def fit(context):\n"
        "    import xarray as xr\n"
        "    return xr.Dataset({'scale': ((), 2.0)}, attrs={'layers': list(context.chain)})"
    )
    text = RULE.format(
        requires='{"fit"}',
        taken="{name: self.scale * tensor for name, tensor in tape.layers.items()}",
        more=more,
    ).replace("        pass", "        self.scale = float(context.fitted['scale'])")
    write_plugin(study, "rules", "scaled", text)
    study.signal = SignalEntry(name="magnitude", role="learning", rule="scaled")
    study.fit()
    for store in study.extract().values():
        activation = store["signals/activation"].values
        unit = activation / np.linalg.norm(activation, axis=1, keepdims=True)
        np.testing.assert_allclose(store["signals/magnitude"], unit, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(store["magnitude"][:, 3], 2 * store["magnitude"][:, 0])
        assert np.isnan(store["objective_value"].values[:, 3]).all()


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        ("{}", r"signal 'magnitude': rule 'faulty' gave nothing for layer 'layer1"),
        (
            "{name: tensor[:, :1] for name, tensor in tape.layers.items()}",
            r"rule 'faulty' gave shape \(4, 1, .* for layer .*, expected \(4, ",
        ),
        (
            "tape.layers, next(iter(tape.layers.values()))",
            r"rule 'faulty' gave objective values of shape .*, expected one per image: \(4,\)",
        ),
    ],
)
def test_a_rule_that_gives_something_else_is_named(taken, message, study):
    write_plugin(study, "rules", "faulty", RULE.format(requires="()", taken=taken, more=""))
    study.signal = SignalEntry(name="magnitude", role="learning", rule="faulty")
    with pytest.raises(SignalError, match=message):
        study.extract(feedback=[])


def test_an_unknown_option_names_entry_option_and_those_there_are(study):
    study.signal = RIDGE.model_copy(update={"rule_options": {"penalti": 1.0}})
    with pytest.raises(GradbrainError) as caught:
        study.extract(feedback=[])
    message = str(caught.value)
    for part in ("signals.yaml: signal 'magnitude': rule", "ridge_feedback", "penalti", "penalty"):
        assert part in message
    study.signal = RIDGE.model_copy(update={"options": {"heads": 1}})
    with pytest.raises(GradbrainError) as caught:
        study.extract(feedback=[])
    for part in ("signals.yaml: signal 'magnitude': objective", "dino", "heads", "views"):
        assert part in str(caught.value)


@pytest.mark.parametrize("command", ["fit", "extract"])
def test_a_rule_without_its_objective_is_refused(command, study):
    study.signal = RIDGE.model_copy(update={"objective": None})
    with pytest.raises(
        GradbrainError,
        match=r"'magnitude': objective: rule 'ridge_feedback' needs one, found None; .*dino",
    ):
        getattr(study, command)()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Rule:\n    def take(self:\n", r"broken.py: is not valid Python"),
        ("class Rule:\n    pass\n", r"broken.py: lacks Options; .* defines Options, Rule"),
        (
            "from gradbrain.config.plugins import NoOptions as Options\nRule = 1 / 0\n",
            r"broken.py: cannot be imported: ZeroDivisionError",
        ),
    ],
)
def test_a_broken_plugin_is_named(text, message, study):
    write_plugin(study, "rules", "broken", text)
    study.signal = SignalEntry(name="magnitude", role="learning", rule="broken")
    with pytest.raises(GradbrainError, match=message):
        study.extract(feedback=[])


def test_a_plugin_may_not_be_named_like_one_of_the_library(study):
    write_plugin(study, "rules", "backprop", RULE.format(requires="()", taken="{}", more=""))
    with pytest.raises(GradbrainError, match=r"another rule 'backprop' in .*signals/backprop.py"):
        study.extract(feedback=[])


def test_the_code_of_a_plugin_is_part_of_the_features(study):
    text = RULE.format(requires="()", taken="tape.layers", more="")
    study.signal = SignalEntry(name="magnitude", role="learning", rule="plain")
    digests = []
    for place, more in (("a", ""), ("b", ""), ("c", "# changed\n")):
        study.plugins = study.folder / place
        (study.plugins / "rules").mkdir(parents=True)
        write_plugin(study, "rules", "plain", text + more)
        (store,) = study.extract(layers=STORED[:1], feedback=[]).values()
        digests.append(store.attrs["code_digest"])
    # Where it lies does not matter.
    assert digests[0] == digests[1] != digests[2]


# --- objectives and sources of weights of one's own ------------------------------------------


def test_weights_that_an_objective_brings_are_part_of_the_features(study, caplog):
    caplog.set_level(logging.INFO)
    study.files = [study.plugins / "objectives" / "towards.py"]
    study.signal = SignalEntry(
        name="magnitude",
        role="learning",
        rule="backprop",
        objective="shuffled_cotangent",
        options={"objective": "towards", "options": {"scale": 2.0}},
    )
    width = build_model(ENTRY).module.num_features
    np.save(study.folder / "point.npy", np.zeros(width, dtype=np.float32))
    (store,) = study.extract(layers=STORED[:1], feedback=[]).values()
    assert len(store.attrs["towards_weights"]) == 64
    np.save(study.folder / "point.npy", np.ones(width, dtype=np.float32))
    study.extract(layers=STORED[:1], feedback=[])
    assert "is made again: towards_weights changed" in caplog.text


def test_randomness_inside_an_objective_is_that_of_the_signal(study):
    signal = study.tools["backprop"]("shuffled_cotangent").model_copy(
        update={"options": {"objective": "masked_feature"}, "rule": "ridge_feedback"}
    )
    found = signal_randomness(signal, Plugins(files=study.files))
    assert found == {
        "feedback": "identity",
        "permutation": "identity",
        "masks": "monte_carlo",
    }


def test_a_source_of_weights_of_ones_own_is_used(study):
    study.files = [study.plugins / "weights" / "constant.py"]
    weights = Weights(source="constant", value=0.25)
    study.entry = ENTRY.model_copy(update={"weights": weights})
    plugins = Plugins(files=study.files)
    model = build_model(study.entry, plugins=plugins)
    assert model.weights_origin == "constant 0.25"
    assert all(bool((weight == 0.25).all()) for weight in model.module.parameters())
    assert not any(weight.requires_grad for weight in model.module.parameters())
    use = weights_use(study.entry, plugins, where="test")
    assert use.options.optional_files(study.entry) == ("weights/test_resnet.constant",)
    assert not use.options.trained
    study.signal = study.tools["backprop"]("feature_norm").model_copy(update={"name": "magnitude"})
    (store,) = study.extract(layers=STORED[:1], feedback=[], signals=[study.signal]).values()
    assert store.attrs["weights_digest"] == model.weights_digest


def test_a_wrong_source_or_option_of_weights_names_those_there_are(study):
    for weights, message in (
        (
            Weights(source="hubb", tag="a"),
            r"'small': weights: .*no source of weights 'hubb'. Did .*'hub'",
        ),
        (Weights(source="random", sead=1), r"'small': weights: source of weights 'random': .*sead"),
        (Weights(source="hub"), r"'small': weights: source of weights 'hub': .*tag"),
    ):
        with pytest.raises(GradbrainError, match=message):
            build_model(ENTRY.model_copy(update={"weights": weights}))


def test_a_source_that_gives_no_network_is_named(study):
    text = (
        "from gradbrain.config.plugins import WeightsOptions\n\n\n"
        "class Options(WeightsOptions):\n    pass\n\n\n"
        "def load(entry, options, data):\n    return None\n"
    )
    path = write_plugin(study, "weights", "nothing", text)
    entry = ENTRY.model_copy(update={"weights": Weights(source="nothing")})
    with pytest.raises(WeightsError, match=r"nothing.py: load gave NoneType, expected"):
        build_model(entry, plugins=Plugins(files=[path]))
