"""Entries of timm's models: from its own metadata, with what sets each apart."""

from __future__ import annotations

import add_models
import pytest
import timm
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.registries import Registries
from gradbrain.config.study import load_study
from gradbrain.models import timm_entries


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("in1k", {"objective": "supervised", "diet": "in1k"}),
        ("a1_in1k", {"objective": "supervised", "diet": "in1k", "recipe": "a1"}),
        (
            "augreg_in21k_ft_in1k",
            {
                "objective": "supervised",
                "diet": "in21k",
                "fine_tuned_on": "in1k",
                "recipe": "augreg",
            },
        ),
        ("dino", {"objective": "dino", "diet": "in1k"}),
        ("mae", {"objective": "masked_pixels", "diet": "in1k"}),
        ("lvd142m", {"objective": "dinov2", "diet": "lvd142m"}),
        ("dinov3_lvd1689m", {"objective": "dinov3", "diet": "lvd1689m"}),
        (
            "openai_ft_in12k_in1k",
            {"objective": "contrastive", "diet": "wit400m", "fine_tuned_on": "in12k_in1k"},
        ),
        ("fb_dist_in1k", {"objective": "distilled", "diet": "in1k", "recipe": "fb"}),
        (
            "fb_swsl_ig1b_ft_in1k",
            {
                "objective": "semi_supervised",
                "diet": "instagram1b",
                "fine_tuned_on": "in1k",
                "recipe": "fb",
            },
        ),
        ("untold", {"recipe": "untold"}),
    ],
)
def test_tags_of_timm_tell_the_training(tag, expected):
    assert timm_entries.factors_of_tag(tag) == expected


def test_most_published_weights_have_an_objective_and_a_diet():
    tags = [name.partition(".")[2] for name in timm.list_pretrained()]
    told = [timm_entries.factors_of_tag(tag) for tag in tags]
    known = sum({"objective", "diet"} <= set(factors) for factors in told)
    assert len(tags) > 1000
    assert known / len(tags) > 0.85


def test_an_entry_takes_what_timm_says_of_the_input():
    name = "vit_small_patch16_224.dino"
    found = timm_entries.pretrained([name]).entries[name]
    config = timm.get_pretrained_cfg(name)
    assert found["input_size"] == config.input_size[1] and found["crop_pct"] == config.crop_pct
    assert tuple(found["mean"]) == config.mean and tuple(found["std"]) == config.std
    assert found["weights"] == {"source": "hub", "tag": "dino"}
    assert found["factors"]["family"] == "vision_transformer"
    # 21.7 million, as the paper has it (Caron et al. 2021: 21 million).
    assert 21 < found["factors"]["parameters"] < 23


def test_nothing_that_matches_is_an_error():
    with pytest.raises(GradbrainError, match=r"has nothing that matches 'vit_tinny\*'; did you"):
        timm_entries.pretrained(["vit_tinny*"])


def test_hundreds_of_models_are_a_study_after_one_command(tmp_path, caplog):
    registry = tmp_path / "many"
    add_models.main(["resnet18.*", "vit_tiny_patch16_*", "--registry", str(registry)])
    add_models.main(
        ["mobilenetv3_small_050", "vgg11", "--untrained", "3", "--input-size", "64",
         "--registry", str(registry)]
    )  # fmt: skip
    entries = yaml.safe_load((registry / "models.yaml").read_text())["models"]
    names = list(timm.list_pretrained("resnet18.*"))
    assert set(names) < set(entries)
    config = yaml.safe_load((add_models.ROOT / "config" / "config.yaml").read_text())
    models = [
        {"pattern": "resnet18.*", "layers": {"count": 3}},
        {"pattern": "*_untrained_*", "leave_out": ["efficientnet*", "vgg11_untrained_2"]},
    ]
    config |= {"models": models, "registries": [str(registry)]}
    study = load_study(config, root=add_models.ROOT, where="study.yaml")
    assert list(study.models) == [
        *names,
        *(f"mobilenetv3_small_050_untrained_{seed}" for seed in range(3)),
        *("vgg11_untrained_0", "vgg11_untrained_1"),
    ]
    assert [len(study.layers[name]) for name in names] == [3] * len(names)
    assert study.models["vgg11_untrained_1"].input_size == 64
    assert study.models["resnet18.a1_in1k"].factors.diet == "in1k"


def test_entries_that_are_there_stay_as_they_are(tmp_path):
    registry = tmp_path / "mine"
    add_models.main(["resnet18.a1_in1k", "--registry", str(registry)])
    models = registry / "models.yaml"
    content = yaml.safe_load(models.read_text())
    content["models"]["resnet18.a1_in1k"]["factors"]["recipe"] = "corrected"
    models.write_text(yaml.safe_dump(content))
    add_models.main(["resnet18.*", "--registry", str(registry)])
    kept = Registries([add_models.ROOT / "config", registry])
    assert kept.model("resnet18.a1_in1k", where="here").factors.recipe == "corrected"
    assert "resnet18.a2_in1k" in kept.models
