"""A pooling that asks for tokens which a layer lacks is refused before any job, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.registries import LAYOUTS, Layer, Registries
from gradbrain.config.schema import ModelEntry, Pooling
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
NSD = {
    "adapter": "nsd",
    "modality": "fmri",
    "subjects": ["captioned_nsd-subj01"],
    "options": {"captions": "annotations"},
}


@pytest.fixture
def plan_of(tmp_path):
    """Plan of a model under a signal set, or under a pooling of one's own."""

    def plan_of(model: str, *, signal_set: str = "mine", pooling=None, layers=None, **models):
        signals = {"signals": ["activation"], "pooling": pooling or {}}
        contents = {
            "signals.yaml": {"signal_sets": {"mine": {**signals, "calibration": "calibration"}}},
            "datasets.yaml": {"datasets": {"captioned_nsd": NSD}},
            "models.yaml": {"models": models},
        }
        for name, content in contents.items():
            (tmp_path / name).write_text(yaml.safe_dump(content))
        config = {
            "study": "mine",
            "registries": [str(tmp_path)],
            "datasets": [{"name": "captioned_nsd"}],
            "models": [{"name": model, "layers": layers or "all"}],
            "features": {"signal_set": signal_set},
        }
        return Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)

    return plan_of


def test_siglip_under_cls_mean_is_refused_with_the_remedy_and_runs_under_mean(plan_of):
    with pytest.raises(GradbrainError) as refused:
        plan_of("siglip2_large", signal_set="image_text").check_signals()
    message = str(refused.value)
    assert "signals.yaml: signal set 'image_text': pooling: 'cls_mean' cannot pool" in message
    assert "layers blocks.0, blocks.1, blocks.2, … of model 'siglip2_large'" in message
    assert "no class token (layout 'patches'); take a signal set with pooling {kind: mean}" in (
        message
    )
    plan_of("siglip2_large", signal_set="image_text_mean").check_signals()
    plan_of("clip_large_quickgelu", signal_set="image_text").check_signals()


@pytest.mark.parametrize("kind", ["cls", "cls_mean"])
@pytest.mark.parametrize("model", ["resnet50_imagenet1k", "convnext_large_imagenet1k"])
def test_a_convnet_has_no_class_token(model, kind, plan_of):
    with pytest.raises(GradbrainError, match=rf"'{kind}' cannot pool .* \(layout 'map'\)"):
        plan_of(model, pooling={"kind": kind}).check_signals()
    for fitting in ({"kind": "mean"}, {"kind": "grid", "size": 3}):
        plan_of(model, pooling=fitting).check_signals()


def of_architecture(architecture: str, **kwargs: object) -> dict[str, object]:
    return {"architecture": architecture, "weights": {"source": "random"}, "kwargs": kwargs}


def test_kwargs_that_add_or_remove_the_class_token_are_minded(plan_of):
    without = of_architecture("vit_tiny_patch16_224", class_token=False, global_pool="avg")
    with pytest.raises(GradbrainError, match="of model 'without', which have no class token"):
        plan_of("without", pooling={"kind": "cls"}, without=without).check_signals()
    added = of_architecture("vit_base_patch16_siglip_256", class_token=True)
    plan_of("added", pooling={"kind": "cls"}, added=added).check_signals()


def test_layers_that_a_table_says_nothing_or_the_worst_of(plan_of, tmp_path):
    rows = ["architecture,layer,layer_index,depth,layout"]
    rows += ["resnet10t,layer1.0,0,0.5,", "resnet10t,layer2.0,1,1,other"]
    (tmp_path / "layers.csv").write_text("\n".join(rows) + "\n")
    models = {"mine": of_architecture("resnet10t")}
    # What is not known is left to the extraction, which looks at the network.
    plan_of("mine", pooling={"kind": "cls"}, layers=["layer1.0"], **models).check_signals()
    with pytest.raises(GradbrainError, match=r"layer2\.0 of model 'mine', which give neither"):
        plan_of("mine", layers=["layer2.0"], **models).check_signals()


def test_a_layout_that_there_is_not_is_refused_with_those_there_are(tmp_path):
    rows = "architecture,layer,layer_index,depth,layout\nmine,a,0,1,tokens\n"
    (tmp_path / "layers.csv").write_text(rows)
    with pytest.raises(GradbrainError, match=r"line 2: .*class_and_patches, .*layout 'tokens'"):
        Registries([tmp_path])


def test_a_layout_is_no_part_of_which_layer_it_is():
    entry = ModelEntry(name="a", architecture="b", weights={"source": "random"})
    assert Layer("b", "c", 0, 1.0, "map") == Layer("b", "c", 0, 1.0)
    assert Layer("b", "c", 0, 1.0).layout_in(entry) is None
    accepted = {
        kind: [layout for layout in LAYOUTS if Pooling(kind=kind).accepts(layout)]
        for kind in ("cls", "cls_mean", "mean", "grid")
    }
    assert accepted["cls"] == accepted["cls_mean"] == ["class_and_patches"]
    assert accepted["mean"] == accepted["grid"] == [word for word in LAYOUTS if word != "other"]
