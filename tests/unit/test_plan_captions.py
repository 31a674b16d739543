"""Plans of studies that compare images with text: refused before any job, or complete."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition
from gradbrain.config.registries import Registries
from gradbrain.config.schema import TextTower
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
REGISTRIES = Registries([ROOT / "config"])
NSD = {
    "adapter": "nsd",
    "modality": "fmri",
    "subjects": ["captioned_nsd-subj01"],
    "options": {"captions": "annotations"},
}


@pytest.fixture
def plan_of(tmp_path):
    def plan_of(model="clip_large", dataset="captioned_nsd", calibration=None, **options):
        signal_set = {
            "signals": ["activation", "gradient_bank", "shuffled_bank"],
            "calibration": calibration or "captioned_calibration",
        }
        bank = {"role": "learning", "rule": "backprop", "objective": "image_text"}
        shuffled = {
            "role": "control",
            "rule": "backprop",
            "objective": "shuffled_cotangent",
            "options": {"objective": "image_text"},
            "control_of": ["gradient_bank"],
        }
        content = {
            "signals.yaml": {
                "signals": {
                    "gradient_bank": {**bank, "options": options},
                    "shuffled_bank": shuffled,
                },
                "signal_sets": {
                    "mine": signal_set,
                    "unshuffled": {**signal_set, "signals": ["activation", "gradient_bank"]},
                },
            },
            "datasets.yaml": {"datasets": {"captioned_nsd": NSD}},
        }
        for name, entries in content.items():
            (tmp_path / name).write_text(yaml.safe_dump(entries))
        config = {
            "study": "mine",
            "registries": [str(tmp_path)],
            "datasets": [{"name": dataset}],
            "models": [{"name": model, "layers": ["blocks.3", "blocks.11"]}],
            "features": {"signal_set": "mine"},
        }
        return lambda name="mine": Plan(
            load_study(config | {"features": {"signal_set": name}}, root=ROOT, where="study.yaml"),
            ROOT,
        )

    return plan_of


@pytest.mark.parametrize(
    "model", ["clip_large", "clip_large_quickgelu", "siglip2_large", "siglip2_base"]
)
def test_models_with_a_text_tower_and_images_with_captions_may_be_compared(plan_of, model):
    plan_of(model)().check_signals()


@pytest.mark.parametrize("model", ["dinov3_small", "vit_large_imagenet1k"])
def test_a_model_without_text_tower_is_refused_by_name(plan_of, model):
    with pytest.raises(GradbrainError) as error:
        plan_of(model)().check_signals()
    assert "signal 'gradient_bank': compares images with text" in str(error.value)
    assert f"model {model!r} has no text_tower" in str(error.value)
    assert "config/models.yaml" in str(error.value)


@pytest.mark.parametrize(("dataset", "stimuli"), [("nsd", "nsd-subj01"), ("objects92",) * 2])
def test_images_without_captions_are_refused_by_name(plan_of, dataset, stimuli):
    with pytest.raises(GradbrainError) as error:
        plan_of(dataset=dataset)().check_signals()
    assert f"the images of stimulus set {stimuli!r} have no captions" in str(error.value)
    assert f"data set {dataset!r}" in str(error.value)


def test_calibration_images_need_captions_to_be_shuffled_or_a_bank_and_else_none(plan_of):
    message = "the images of stimulus set 'calibration' have no captions"
    with pytest.raises(GradbrainError, match=rf"shuffled_bank'.*{message}"):
        plan_of(calibration="calibration")().check_signals()
    plan_of(calibration="calibration")("unshuffled").check_signals()
    with pytest.raises(GradbrainError, match=rf"gradient_bank'.*{message}"):
        plan_of(calibration="calibration", bank="calibration")("unshuffled").check_signals()


def test_the_signal_set_of_the_registry_holds_the_signal_and_its_three_controls():
    signal_set = REGISTRIES.signal_set("image_text", where="test")
    roles = {signal.name: signal.role for signal in signal_set.signals}
    assert roles["gradient_image_text"] == "learning"
    assert [name for name, role in roles.items() if role == "control"] == [
        "gradient_feature_norm",
        "gradient_fixed_cotangent",
        "gradient_shuffled_image_text",
    ]


def test_only_jobs_that_compare_with_text_depend_on_the_code_of_text_towers(plan_of):
    plan = plan_of()()
    modules = ("objectives/image_text.py", "models/text_tower.py")
    for module in modules:
        path = str(ROOT / "workflow" / "gradbrain" / module)
        assert path in plan.extraction_code("clip_large", "mine")
        assert path in plan.extraction_code("clip_large", "image_text")
        assert path not in plan.extraction_code("clip_large", "paper")


def test_a_text_tower_that_lies_here_is_an_input_of_the_jobs_that_read_it(
    plan_of, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    plan = plan_of()()
    assert plan.text_weights("clip_large", "mine") == []
    folder = tmp_path / "data" / "weights" / "clip-vit-large-patch14"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    (folder / "config.json").touch()
    assert plan.text_weights("clip_large", "mine") == [
        "data/weights/clip-vit-large-patch14/config.json",
        "data/weights/clip-vit-large-patch14/model.safetensors",
    ]
    assert plan.text_weights("clip_large", "paper") == []
    assert plan.text_weights("dinov3_small", "mine") == []


def test_a_text_tower_bears_on_signals_that_compare_with_text_alone(plan_of):
    entry = REGISTRIES.model("clip_large", where="test")
    tower = TextTower(repository="other/tower", kind="clip")
    changed = entry.model_copy(update={"text_tower": tower})
    definition = partial(feature_definition, plugins=REGISTRIES.plugins)
    with_text, without = (
        REGISTRIES.signal_set(name, where="test") for name in ("image_text", "paper")
    )
    assert definition(entry, without) == definition(changed, without)
    assert definition(entry, with_text) != definition(changed, with_text)
    plan = plan_of()()
    assert "text_tower" not in plan.extraction_entry("clip_large", "paper")
    assert "openai/clip-vit-large-patch14" in plan.extraction_entry("clip_large", "image_text")


@pytest.mark.parametrize("name", ["clip_large", "clip_large_quickgelu", "siglip2_large"])
def test_revisions_of_published_text_towers_are_pinned(name):
    tower = REGISTRIES.model(name, where="test").text_tower
    assert tower is not None
    assert len(str(tower.revision)) == 40
    assert int(str(tower.revision), 16) > 0


def test_the_checks_import_neither_torch_nor_timm_nor_transformers(plan_of, tmp_path):
    plan_of()
    code = (
        "import sys; from pathlib import Path; from gradbrain.config.study import load_study;"
        "from gradbrain.plan.jobs import Plan;"
        "config = {'study': 'mine', 'registries': [%r], 'datasets': [{'name': 'captioned_nsd'}],"
        " 'models': [{'name': 'clip_large'}], 'features': {'signal_set': 'mine'}};"
        "plan = Plan(load_study(config, root=Path(%r), where='test'), Path(%r));"
        "plan.check_signals(); plan.extraction_code('clip_large', 'mine');"
        "found = {'torch', 'timm', 'transformers'} & set(sys.modules); assert not found, found"
    )
    subprocess.run(
        [sys.executable, "-c", code % (str(tmp_path), str(ROOT), str(ROOT))],
        check=True,
        env={"PYTHONPATH": str(ROOT / "workflow")},
    )
