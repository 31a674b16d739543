"""Untrained twins that a study asks for beside trained models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.study import load_study

ROOT = Path(__file__).resolve().parents[2]
TRAINED = {
    "architecture": "resnet18",
    "weights": {"source": "hub", "tag": "a1_in1k"},
    "input_size": 96,
    "factors": {"family": "resnet", "objective": "supervised", "diet": "in1k", "parameters": 11.7},
}
ENTRIES = {
    "mine": TRAINED,
    "other": TRAINED | {"weights": {"source": "hub", "tag": "tv_in1k"}},
    "wide": TRAINED | {"input_size": 128},
    "there_already": TRAINED | {"weights": {"source": "random", "seed": 1}, "factors": {}},
}


def load(folder, *models, entries=ENTRIES):
    folder.mkdir(exist_ok=True)
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": entries}))
    config = {
        "study": "twins",
        "registries": [str(folder)],
        "datasets": [{"name": "simulated_fmri_backprop"}],
        "models": list(models),
        "features": {"signal_set": "demo"},
    }
    return load_study(config, root=ROOT, where="twins.yaml")


def test_networks_have_twins_once_with_the_layers_of_their_choice(tmp_path):
    choice = {"file": str(tmp_path / "list"), "untrained": 3, "layers": {"count": 2}}
    (tmp_path / "list").write_text("mine\nother\nwide\n")
    study = load(tmp_path, choice)
    assert list(study.models) == [
        *("mine", "mine_untrained_0", "there_already", "mine_untrained_2", "other", "wide"),
        *("wide_untrained_0", "wide_untrained_1", "wide_untrained_2"),
    ]
    assert {len(layers) for layers in study.layers.values()} == {2}
    twin = study.models["mine_untrained_2"]
    assert twin.weights.model_dump() == {"source": "random", "seed": 2}
    assert (twin.architecture, twin.input_size) == ("resnet18", 96)
    assert (twin.factors.family, twin.factors.objective) == ("resnet", "")


def test_a_name_stands_for_the_same_network_whatever_a_study_takes(tmp_path):
    alone = load(tmp_path, {"name": "other", "untrained": 1})
    both = load(tmp_path, {"name": "wide"}, {"name": "mine", "untrained": 1}, {"name": "other"})
    name = "mine_untrained_0"
    assert alone.models[name] == both.models[name]


def test_what_is_asked_for_enters_the_settings_as_models_of_their_own(tmp_path):
    asked = load(tmp_path, {"name": "mine", "untrained": 1})
    choices = json.loads(asked.settings.model_dump_json())["models"]
    assert [(one["name"], one["untrained"]) for one in choices] == [
        ("mine", 0),
        ("mine_untrained_0", 0),
    ]


def test_untrained_models_have_no_twins_and_what_is_no_network_is_refused(tmp_path):
    study = load(tmp_path, {"name": "there_already", "untrained": 2})
    assert list(study.models) == ["there_already"]
    with pytest.raises(GradbrainError, match="image_statistics: untrained: it is no network"):
        load(tmp_path, {"name": "image_statistics", "untrained": 1})


def test_an_entry_that_has_the_name_of_a_twin_is_told(tmp_path):
    entries = ENTRIES | {"mine_untrained_0": TRAINED | {"input_size": 64}}
    with pytest.raises(GradbrainError, match=r"mine_untrained_0.*is not what `untrained` makes"):
        load(tmp_path, {"name": "mine", "untrained": 1}, entries=entries)
