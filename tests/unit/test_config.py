import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition
from gradbrain.config.plugins import LIBRARY_PLUGINS, check_controls
from gradbrain.config.registries import Layer, Registries, validate
from gradbrain.config.schema import (
    DatasetEntry,
    Modality,
    ModelEntry,
    SignalEntry,
    SignalSet,
    Study,
    Weights,
)
from gradbrain.config.study import layers_by_count, load_study
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
SHUFFLED = {"objective": "shuffled_cotangent"}
FMRI = Modality(name="fmri", axis="roi")
LAYERS = "models.mobilenetv2_050_untrained.layers"
STUDIES = sorted(
    path
    for path in (ROOT / "config").glob("*.yaml")
    if path.stem not in ("models", "datasets", "modalities", "signals")
)


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def study_config():
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def load(config, root=ROOT):
    return load_study(config, root=root, where="config/mine.yaml")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_in_the_repository_is_valid(path):
    study = load_study(yaml.safe_load(path.read_text()), root=ROOT, where=str(path))
    assert study.subjects
    assert all(study.layers[model] for model in study.models)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"studdy": 1}, "studdy: unknown key"),
        (
            {
                "encoding": {
                    "nuisance": [{"name": "a", "model": "m", "layer": "l", "signal_set": "s"}] * 2
                }
            },
            "encoding: nuisance: a is there twice",
        ),
        ({"encoding": {"n_fold": 3}}, "encoding.n_fold: unknown key"),
        ({"encoding": {"n_folds": 1}}, "encoding.n_folds: .*greater than or equal to 2, found 1"),
        ({"models": [{"name": "resnet_5"}]}, "models: there is no model 'resnet_5'"),
        (
            {"models": [{"name": "mobilenetv2_050_untrained", "layers": ["blocks.9"]}]},
            f"{LAYERS}: there is no layer of mobilenetv2_050_untrained 'blocks.9'.*"
            "Allowed: .*blocks.0",
        ),
        ({"datasets": [{"name": "nsdd"}]}, "datasets: there is no data set 'nsdd'"),
        (
            {"datasets": [{"name": "objects92", "subjects": ["objects92-s99"]}]},
            "datasets.objects92.subjects: there is no subject of objects92 'objects92-s99'.*"
            "Allowed: objects92-s01",
        ),
        ({"features": {"signal_set": "demoo"}}, "there is no signal set 'demoo'. Did you mean"),
        ({"only_models": ["other"]}, "only_models: there is no model 'other'"),
        ({"study": "features"}, "study: 'features' names a folder"),
        ({"study": "a/b"}, "study: expected letters, digits and _ . -.*found 'a/b'"),
        ({"roots": {"a/b": "x"}}, "roots.a/b: expected letters"),
        ({"models": []}, "models: expected at least 1 entry$"),
        ({"models": ["resnet50"]}, "models.0: expected a mapping, e.g. {name: ...}, found 'res"),
        ({"registries": ["nosuch"]}, "config/mine.yaml: registries: there is no folder 'nosuch'"),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_what_is_allowed(change, message):
    with pytest.raises(GradbrainError) as error:
        load({**study_config(), **change})
    assert re.search(message, str(error.value), re.DOTALL), str(error.value)
    assert "config/mine.yaml" in str(error.value)


def test_a_registry_entry_that_is_wrong_is_named_with_its_file(checkout):
    path = checkout / "config" / "models.yaml"
    registry = yaml.safe_load(path.read_text())
    registry["models"]["efficientnet_lite0_96px"]["checkpoint"] = "x.safetensors"
    path.write_text(yaml.safe_dump(registry))
    with pytest.raises(GradbrainError, match=r"models\.yaml: model 'efficientnet_lite0_96px'"):
        load(study_config(), root=checkout)


def test_ones_own_registry_folder_adds_entries_but_may_not_redefine(checkout, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    entry = {"architecture": "mobilenetv2_050", "weights": {"source": "random", "seed": 7}}
    (mine / "models.yaml").write_text(yaml.safe_dump({"models": {"my_net": entry}}))
    config = {**study_config(), "registries": [str(mine)], "models": [{"name": "my_net"}]}
    assert load(config, root=checkout).models["my_net"].weights.options == {"seed": 7}
    (mine / "models.yaml").write_text(
        yaml.safe_dump({"models": {"mobilenetv2_050_untrained": entry}})
    )
    with pytest.raises(GradbrainError, match="already defined"):
        load(config, root=checkout)


def test_layers_listed_again_in_ones_own_folder_are_taken_once(checkout, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(checkout / "config" / "layers.csv", mine / "layers.csv")
    folders = [checkout / "config", mine]
    once = Registries(folders[:1]).layers("mobilenetv2_050", where="test")
    assert Registries(folders).layers("mobilenetv2_050", where="test") == once
    with (mine / "layers.csv").open("a") as file:
        file.write("mobilenetv2_050,blocks.0,0,0.9\n")
    with pytest.raises(GradbrainError, match=r"'blocks\.0' of 'mobilenetv2_050' is already listed"):
        Registries(folders)


def test_layers_that_are_not_listed_are_written_into_ones_own_registry(checkout, tmp_path):
    def command(*folders):
        with pytest.raises(GradbrainError) as error:
            Registries([checkout / "config", *folders]).layers("resnet 18", where="test")
        return str(error.value).partition("To add them: ")[2]

    script = "python scripts/list_layers.py 'resnet 18' --output"
    assert command() == (
        f"{script} my_registry/layers.csv, and registries: [my_registry] in the study"
    )
    first, second = tmp_path / "first", tmp_path / "sec ond"
    first.mkdir()
    second.mkdir()
    assert command(first, second) == f"{script} '{second}/layers.csv'"
    entry = {"architecture": "resnet 18", "weights": {"source": "random"}}
    (first / "models.yaml").write_text(yaml.safe_dump({"models": {"mine": entry}}))
    assert command(first, second) == f"{script} {first}/layers.csv"


def test_a_section_that_is_no_mapping_and_a_data_set_without_subjects_are_named(checkout):
    (checkout / "config" / "models.yaml").write_text("models: [a, b]")
    with pytest.raises(GradbrainError, match=r"models\.yaml: models: expected a mapping"):
        load(study_config(), root=checkout)
    with pytest.raises(ValueError, match="subjects: name at least one"):
        DatasetEntry(name="a", adapter="simulated", modality=FMRI)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"only_models": ["other"]}, "--config: only_models: there is no model 'other'"),
        ({"only_models": 3}, "--config: only_models: expected a list"),
        ({"study": "features"}, "--config: study: 'features' names"),
        ({"models": [{"name": "net"}]}, "--config: models: there is no model 'net'"),
        ({"registries": ["nosuch"]}, "--config: registries: there is no folder"),
        ({"encoding": {"n_fold": 3}}, "--config: encoding.n_fold: unknown key"),
    ],
)
def test_what_came_from_the_command_line_is_said_to(given, message):
    with pytest.raises(GradbrainError) as error:
        load_study(study_config() | given, root=ROOT, where="mine.yaml", overrides=given)
    assert str(error.value).startswith(message)


def test_each_fault_is_told_with_its_source():
    config = study_config() | {"only_models": 3, "encoding": {"n_fold": 3, "n_draws": 5}}
    given = {"only_models": 3, "encoding": {"n_draws": 5}}
    with pytest.raises(GradbrainError) as error:
        load_study(config, root=ROOT, where="mine.yaml", overrides=given)
    told = sorted(str(error.value).splitlines())
    assert told[0].startswith("--config: only_models: expected a list")
    assert told[1].startswith("mine.yaml: encoding.n_fold: unknown key")


def test_layers_of_several_models_are_allowed_once():
    models = [{"name": name} for name in ("mobilenetv2_050_untrained", "mobilenetv2_100_untrained")]
    with pytest.raises(GradbrainError) as error:
        load({**study_config(), "models": models, "only_layers": ["blocks.99"]})
    allowed = str(error.value).partition("Allowed: ")[2].split(", ")
    assert len(set(allowed)) == len(allowed) > 5


def test_an_unknown_key_of_a_section_lists_the_keys_of_that_section():
    with pytest.raises(GradbrainError) as error:
        load({**study_config(), "features": {"signal_set": "demo", "unitt": "layer"}})
    assert "Known keys: signal_set, unit, batch_size" in str(error.value)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"n": 2},
            f"{LAYERS}.count: missing key; {LAYERS}.n: unknown key. Known keys: count",
        ),
        ([1], f"{LAYERS}.0: Input should be a valid string, found 1"),
        (
            {"count": 0},
            f"{LAYERS}.count: Input should be greater than or equal to 1, found 0",
        ),
    ],
)
def test_where_several_kinds_may_stand_the_fault_of_the_one_that_was_given_is_told(layers, message):
    choice = {"name": "mobilenetv2_050_untrained", "layers": layers}
    with pytest.raises(GradbrainError) as error:
        load({**study_config(), "models": [choice]})
    assert str(error.value) == f"config/mine.yaml: {message}"


@pytest.mark.parametrize(
    ("model_class", "entry", "message"),
    [
        (DatasetEntry, {"expected": {"images": 3}}, "Known keys: n_images, n_targets, n_units"),
        (
            DatasetEntry,
            {"fetch": {"files": {"a": {"ur": 1}}}},
            "a.ur: unknown key. Known keys: url",
        ),
        (SignalSet, {"projection": {"n": 5}}, "n: unknown key. Known keys: n_components, seed"),
        (ModelEntry, {"mean": [0, 0]}, "mean.2: missing entry"),
        (ModelEntry, {"interpolation": "cubic"}, "expected 'bicubic' or 'bilinear', found 'cubic'"),
    ],
)
def test_optional_sections_and_mappings_tell_their_own_keys(model_class, entry, message):
    with pytest.raises(GradbrainError) as error:
        validate(model_class, entry, where="mine.yaml: entry")
    assert message in str(error.value)


def test_a_rule_between_keys_is_told_without_the_whole_entry():
    entry = {"name": "a", "adapter": "simulated", "modality": FMRI}
    with pytest.raises(GradbrainError) as error:
        validate(DatasetEntry, entry, where="mine.yaml: data set 'a'")
    assert str(error.value) == (
        "mine.yaml: data set 'a': subjects: name at least one; only `modality: none` has no "
        "subjects"
    )


def test_only_a_control_controls():
    entry = {"name": "mysig", "role": "learning", "rule": "backprop", "control_of": ["other"]}
    with pytest.raises(GradbrainError, match=r"mine\.yaml: control_of: is of `role: control`"):
        validate(SignalEntry, entry, where="mine.yaml")
    entry |= {"role": "control", "control_of": {}}
    with pytest.raises(GradbrainError, match="rule, objective: give one or both"):
        validate(SignalEntry, entry, where="mine.yaml")


@pytest.fixture
def own_signals(tmp_path):
    """Write a signals.yaml with one signal and its set; return a study that takes the set."""
    folder = tmp_path / "mine"
    folder.mkdir()

    def write(signal=None, **settings):
        entry = {"role": "learning", "rule": "backprop", "objective": "dino", **(signal or {})}
        signal_set = {"signals": ["activation", "mysig"], **settings}
        content = {"signals": {"mysig": entry}, "signal_sets": {"mine": signal_set}}
        (folder / "signals.yaml").write_text(yaml.safe_dump(content))
        features = {"signal_set": "mine"}
        return {**study_config(), "registries": [str(folder)], "features": features}

    return write


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ({"objective": None}, "objective: rule 'backprop' needs one, found None"),
        ({"rule": "activation"}, "objective: rule 'activation' reads none, found 'dino'"),
        (
            {"options": {"teacher_temprature": 1}},
            "objective: objective 'dino': teacher_temprature: unknown key. Known keys: "
            "code, student_temperature, teacher_temperature",
        ),
        (
            SHUFFLED | {"options": {"objective": "dino", "options": {"x": 1}}},
            "objective: inside shuffled_cotangent: objective 'dino': x: unknown key. Known keys:",
        ),
        ({"rule_options": {"k": 3}}, "rule: rule 'backprop': k: unknown key"),
    ],
)  # fmt: skip
def test_options_and_objectives_are_checked_before_any_job(own_signals, signal, message):
    plan = Plan(load(own_signals(signal)), ROOT)
    with pytest.raises(GradbrainError) as error:
        plan.check_signals()
    assert f"mine/signals.yaml: signal 'mysig': {message}" in str(error.value)


@pytest.fixture
def sets_of(tmp_path):
    """Look up a set of signals that are written as entries of a registry of one's own."""

    def look_up(**signals):
        content = {
            "signals": signals,
            "signal_sets": {"mine": {"signals": ["activation", *signals]}},
        }
        (tmp_path / "signals.yaml").write_text(yaml.safe_dump(content))
        return Registries([ROOT / "config", tmp_path]).signal_set("mine", where="test")

    return look_up


LEARNING = {"role": "learning", "rule": "backprop", "objective": "dino"}
CONTROL = {"role": "control", "rule": "backprop", "objective": "feature_norm"}


def test_controls_are_those_that_say_so_whatever_they_are_called(sets_of):
    found = sets_of(
        a_shuffled_b=LEARNING,
        other={**LEARNING, "objective": "entropy"},
        feedback={**LEARNING, "rule": "feedback_alignment"},
        x={**CONTROL, "control_of": ["a_shuffled_b"]},
        y={**CONTROL, "control_of": {"rule": ["backprop"]}},
        z={**CONTROL, "control_of": {"rule": ["feedback_alignment"], "objective": ["dino"]}},
        w={**CONTROL, "control_of": {"objective": ["dino"]}},
    )
    assert found.controls_of("a_shuffled_b") == ("x", "y", "w")
    assert found.controls_of("other") == ("y",)
    assert found.controls_of("feedback") == ("z", "w")
    assert found.activation == "activation"


def test_a_control_uses_an_objective_as_the_signal_does_that_it_controls(sets_of):
    views = {"views": {"n_views": 8}}
    own = {**LEARNING, "options": views}
    other = {**LEARNING, "objective": "entropy"}
    shuffled = {**CONTROL, "objective": "shuffled_cotangent"}
    alike = {**shuffled, "options": {"objective": "dino", "options": views}}
    # A default that is written out is the same; of another objective nothing is asked.
    default = {**shuffled, "options": {"objective": "dino", "options": {"views": {}}}}
    for signal, control in ((own, alike), (LEARNING, default), (other, default)):
        found = sets_of(mine=signal, control={**control, "control_of": ["mine"]})
        check_controls(found, LIBRARY_PLUGINS, where="set")
    for control_of in (["mine"], {"rule": ["backprop"]}):
        found = sets_of(mine=own, control={**default, "control_of": control_of})
        with pytest.raises(GradbrainError) as error:
            check_controls(found, LIBRARY_PLUGINS, where="set")
        for part in ("set: the control 'control' uses objective 'dino'", "'mine'", '"n_views":8'):
            assert part in str(error.value)


@pytest.mark.parametrize(
    ("control_of", "said"),
    [
        ({"rule": ["backprop", "hebian"]}, "control_of: rule: there is no rule 'hebian'. Did you"),
        ({"objective": ["dino", "dinno"]}, "control_of: objective: there is no objective 'dinno'"),
    ],
)
def test_a_family_of_what_there_is_not_is_refused_though_it_controls_another(
    sets_of, control_of, said
):
    found = sets_of(mine=LEARNING, control={**CONTROL, "control_of": control_of})
    with pytest.raises(GradbrainError, match=said):
        check_controls(found, LIBRARY_PLUGINS, where="set")


def test_a_control_of_a_signal_that_there_is_not_is_refused_by_name(sets_of):
    with pytest.raises(GradbrainError, match=r"control_of: there is no signal 'mime'.*'mine'"):
        sets_of(mine=LEARNING, control={**CONTROL, "control_of": ["mine", "mime"]})


def test_controls_of_the_registry_see_as_many_views_as_their_signals():
    registries = Registries([ROOT / "config"])
    for name in registries.signal_sets:
        check_controls(registries.signal_set(name, where="test"), LIBRARY_PLUGINS, where=name)


def test_planning_refuses_a_control_with_other_views(tmp_path):
    control = {"role": "control", "rule": "backprop", "objective": "shuffled_cotangent"}
    control |= {"options": {"objective": "dino"}, "control_of": ["mine"]}
    mine = {**LEARNING, "options": {"views": {"n_views": 8}}}
    content = {
        "signals": {"mine": mine, "control": control},
        "signal_sets": {"mine": {"signals": ["activation", "mine", "control"]}},
    }
    (tmp_path / "signals.yaml").write_text(yaml.safe_dump(content))
    settings = {"registries": [str(tmp_path)], "features": {"signal_set": "mine"}}
    plan = Plan(load({**study_config(), **settings}), ROOT)
    with pytest.raises(GradbrainError, match="signal set 'mine': the control 'control' uses"):
        plan.check_signals()


@pytest.mark.parametrize(
    ("control_of", "message"),
    [
        (None, r"signals\.yaml: signal 'mycontrol': control_of: missing key"),
        (["gradient_entropy"], "the control 'mycontrol' controls none of the learning signals"),
        ({"rule": ["hebbian"]}, "the control 'mycontrol' controls none of the learning signals"),
    ],
)
def test_a_control_without_a_partner_is_refused_by_name(sets_of, control_of, message):
    control = CONTROL if control_of is None else {**CONTROL, "control_of": control_of}
    with pytest.raises(GradbrainError, match=message):
        sets_of(mine=LEARNING, mycontrol=control)


def test_a_set_has_one_activation_whatever_it_is_called(sets_of):
    with pytest.raises(GradbrainError, match=r"2 have `role: activation` \(activation, h\)"):
        sets_of(h={"role": "activation", "rule": "activation"})


def test_a_modality_is_an_entry_of_a_registry(tmp_path):
    modalities = {"ieeg": {"axis": "time", "unit": "µV", "label": "iEEG", "sensors": "contacts"}}
    (tmp_path / "modalities.yaml").write_text(yaml.safe_dump({"modalities": modalities}))
    entry = {"adapter": "arrays", "modality": "ieeg", "subjects": ["p1"]}
    datasets = {"mine": entry, "images": {"adapter": "arrays", "modality": "none"}}
    datasets["wrong"] = {**entry, "modality": "ieg"}
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"datasets": datasets}))
    registries = Registries([ROOT / "config", tmp_path])
    found = registries.dataset("mine", where="test")
    assert (found.axis, found.modality.sensors) == ("time", "contacts")
    assert registries.dataset("images", where="test").axis is None
    with pytest.raises(GradbrainError, match=r"modality: there is no modality 'ieg'\. Did"):
        registries.dataset("wrong", where="test")


def test_calibration_images_that_are_no_stimulus_set_are_named_when_the_study_is_loaded(
    own_signals,
):
    with pytest.raises(GradbrainError) as error:
        load(own_signals(calibration="calibratoin"))
    assert "mine/signals.yaml: signal set 'mine': calibration: there is no stimulus set" in str(
        error.value
    )
    assert "Did you mean 'calibration'? Allowed: calibration" in str(error.value)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (
            {"rule": "backprp"},
            "rule: there is no rule 'backprp'. Did you mean 'backprop'? "
            "Allowed: activation, backprop",
        ),
        (
            {"objective": "dinoo"},
            "objective: there is no objective 'dinoo'. Did you mean 'dino'? "
            "Allowed: contrastive, cross_entropy, dino, entropy",
        ),
        (
            {"objective": "shuffled_cotangent", "options": {"objective": "dinoo"}},
            "objective: inside shuffled_cotangent: there is no objective 'dinoo'. Did you mean ",
        ),
    ],
)
def test_a_rule_or_objective_that_does_not_exist_is_named_with_its_entry(
    own_signals, signal, message
):
    plan = Plan(load(own_signals(signal)), ROOT)
    with pytest.raises(GradbrainError) as error:
        plan.check_signals()
    assert f"mine/signals.yaml: signal 'mysig': {message}" in str(error.value)


def test_options_of_ones_own_data_set_are_told_with_ones_own_file(tmp_path):
    entry = {
        "adapter": "arrays",
        "modality": "fmri",
        "subjects": ["mine-s1"],
        "options": {"imagess": "x"},
    }
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}}))
    config = {**study_config(), "registries": [str(tmp_path)], "datasets": [{"name": "mine"}]}
    study = load(config)
    where = f"{tmp_path}/datasets.yaml: data set 'mine': options: .*imagess: unknown key"
    with pytest.raises(GradbrainError, match=where):
        Plan(study, ROOT).adapter(study.datasets["mine"])


def test_a_figure_that_does_not_exist_is_named_with_its_key():
    study = load({**study_config(), "figures": {"names": ["claims_overvew"]}})
    with pytest.raises(GradbrainError) as error:
        _ = Plan(study, ROOT).figures
    assert "config/mine.yaml: figures.names: there is no figure 'claims_overvew'." in str(
        error.value
    )
    assert "Did you mean 'claims_overview'" in str(error.value)


def test_a_damaged_yaml_file_is_named(checkout):
    (checkout / "config" / "signals.yaml").write_text("signals: [")
    with pytest.raises(GradbrainError, match=r"signals\.yaml, line 1: is not valid YAML"):
        load(study_config(), root=checkout)


def test_layers_by_count_take_the_predecessors_depths():
    registries = Registries([ROOT / "config"])
    layers = registries.layers("mobilenetv2_050", where="test")
    assert [layer.name for layer in layers_by_count(layers, 22)] == [row.name for row in layers]
    assert layers_by_count(layers, 1) == [layers[-1]]


def test_no_layer_is_taken_twice_and_none_nearer_is_left_out():
    depths = [0.1, 0.45, 0.5, 0.55, 0.9, 1.0]
    layers = [Layer("test", f"layer{index}", index, depth) for index, depth in enumerate(depths)]
    for count in range(1, 7):
        found = [layer.depth for layer in layers_by_count(layers, count)]
        wanted = [(step + 1) / count for step in range(count)]

        def distance(chosen, wanted=wanted):
            return sum(abs(a - b) for a, b in zip(chosen, wanted, strict=True))

        best = min(map(distance, itertools.combinations(depths, count)))
        assert distance(found) == pytest.approx(best)


@pytest.mark.parametrize(
    "architecture",
    [
        "vit_large_patch16_dinov3", "resnet50", "convnext_large", "vit_large_patch16_224",
        "vit_large_patch14_clip_224", "vit_large_patch16_siglip_256",
    ],
)  # fmt: skip
def test_networks_of_the_paper_give_22_layers(architecture):
    layers = Registries([ROOT / "config"]).layers(architecture, where="test")
    chosen = layers_by_count(layers, 22)
    assert len({layer.depth for layer in chosen}) == 22
    assert [layer.index for layer in chosen] == sorted(layer.index for layer in chosen)


def test_the_definition_of_features_is_that_which_bears_on_values():
    registries = Registries([ROOT / "config"])
    model = registries.model("mobilenetv2_050_untrained", where="test")
    signal_set = registries.signal_set("demo", where="test")

    def definition(model, signal_set):
        return feature_definition(model, signal_set, LIBRARY_PLUGINS)

    same = definition(model, signal_set)
    words = {"licence": "other", "label": "A net", "colour": "#000000"}
    assert definition(model.model_copy(update=words), signal_set) == same
    # A default that is written out is no change.
    for weights, equal in (({"source": "random"}, True), ({"source": "random", "seed": 1}, False)):
        changed = model.model_copy(update={"weights": Weights.model_validate(weights)})
        assert (definition(changed, signal_set) == same) == equal

    def with_signal(**changes):
        first, second, *others = signal_set.signals
        signals = (first, second.model_copy(update=changes), *others)
        return definition(model, signal_set.model_copy(update={"signals": signals}))

    assert with_signal(label="other", colour="#000000") == same
    assert with_signal(options={"teacher_temperature": 0.4}) == same
    assert with_signal(options={"teacher_temperature": 0.5}) != same
    controls = [
        signal.model_copy(update={"control_of": ("gradient_dino",) if signal.control_of else ()})
        for signal in signal_set.signals
    ]
    assert definition(model, signal_set.model_copy(update={"signals": tuple(controls)})) == same


def test_the_json_schemas_in_the_repository_are_those_of_the_classes():
    from write_schema import FOLDER, SCHEMAS, schema_text

    for name in SCHEMAS:
        assert (FOLDER / f"{name}.schema.json").read_text() == schema_text(name), (
            f"{name}.schema.json is out of step: run `make schema`"
        )


def test_the_reference_page_is_in_step_and_every_key_has_a_meaning():
    from write_schema import PAGE, page_text

    assert PAGE.read_text() == page_text(), "docs/configuration.md is out of step: `make schema`"
    without = [
        line for line in page_text().splitlines() if line.startswith("| `") and "|  |" in line
    ]
    assert not without, "give these keys a description in schema.py: " + "; ".join(without)


def test_the_reference_of_results_is_in_step():
    from write_schema import ARTEFACT_PAGE, artefact_page_text

    assert ARTEFACT_PAGE.read_text() == artefact_page_text(), "docs/artefacts.md: `make schema`"


def test_every_key_of_a_study_is_documented():
    page = (ROOT / "docs" / "configuration.md").read_text()
    schema = Study.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for key in section.get("properties", {}):
            assert f"`{key}`" in page, f"docs/configuration.md does not describe `{key}`"


def test_the_lock_and_the_conda_environment_have_the_same_pins_and_no_build_tags():
    lock = [
        line
        for line in (ROOT / "envs" / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    environment = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == lock
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9A-Za-z.]+", line) for line in lock)
    assert "torch==2.13.0" in lock
    assert "torchvision==0.28.0" in lock
    named = {
        re.split("[=><]", line)[0]
        for line in (ROOT / "envs" / "packages.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert named <= {line.split("==")[0] for line in lock}


def test_schemas_are_valid_json():
    for path in (ROOT / "workflow" / "schemas").glob("*.json"):
        json.loads(path.read_text())
