"""A study of one's own captioned images: its text tower is an input, and its signals are made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from trees.text_towers import write_clip

from gradbrain.store import open_store

N_IMAGES, N_TARGETS = 24, 4
SIGNALS = [
    "activation",
    "gradient_image_text",
    "gradient_feature_norm",
    "gradient_fixed_cotangent",
    "gradient_shuffled_image_text",
]
REGISTRY = {
    "datasets.yaml": {
        "datasets": {
            "mine": {
                "adapter": "arrays",
                "modality": "fmri",
                "subjects": ["mine-s1"],
                "stimuli": "mine",
                "options": {
                    "table": "images.csv",
                    "responses": "s1.npy",
                    "targets": "targets.csv",
                },
            }
        }
    },
    "models.yaml": {
        "models": {
            "small_clip": {
                "architecture": "test_vit",
                "kwargs": {"img_size": 32, "num_classes": 12},
                "weights": {"source": "random"},
                "input_size": 32,
                "text_tower": {"repository": "nobody/tiny-clip", "kind": "clip"},
            }
        }
    },
}
STUDY = {
    "study": "mine",
    "registries": ["mine"],
    "datasets": [{"name": "mine"}],
    "models": [{"name": "small_clip", "layers": ["blocks.2", "blocks.4"]}],
    "features": {"signal_set": "image_text", "device": "cpu"},
}


@pytest.fixture
def captioned(checkout):
    """A checkout with captioned images, responses to them and a model with its text tower."""
    data, registry = checkout.folder / "data" / "mine", checkout.folder / "mine"
    (data / "images").mkdir(parents=True)
    registry.mkdir()
    random = np.random.default_rng(0)
    names = [f"image_{number}" for number in range(N_IMAGES)]
    for name in names:
        pixels = random.integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / "images" / f"{name}.png")
    files = [f"images/{name}.png" for name in names]
    captions = [f"a photo of animal {number}" for number in range(N_IMAGES)]
    table = pd.DataFrame({"image_id": names, "file": files, "caption": captions})
    table.to_csv(data / "images.csv", index=False)
    pd.DataFrame({"roi": ["V1", "V1", "IT", "IT"]}).to_csv(data / "targets.csv", index=False)
    np.save(data / "s1.npy", random.standard_normal((N_IMAGES, N_TARGETS)).astype(np.float32))
    for name, content in REGISTRY.items():
        (registry / name).write_text(yaml.safe_dump(content))
    rows = ["architecture,layer,layer_index,depth"]
    rows += [f"test_vit,blocks.{number},{number},{(number + 1) / 6:.4f}" for number in range(6)]
    (registry / "layers.csv").write_text("\n".join(rows) + "\n")
    write_clip(checkout.folder / "data" / "weights" / "tiny-clip", width=12)
    return checkout


def features(checkout, unit: str, *arguments: str) -> dict[str, int]:
    """Make the features of the study; return how many jobs of each rule were planned."""
    study = {**STUDY, "features": {**STUDY["features"], "unit": unit}}
    (checkout.folder / "study.yaml").write_text(yaml.safe_dump(study))
    if "--dry-run" not in arguments:
        checkout.snakemake("features", "--configfile", "study.yaml", *arguments)
    return checkout.dry_run("study.yaml", "features")[1]


@pytest.mark.parametrize("unit", ["layer", "model"])
def test_the_signals_of_image_and_caption_are_made_and_follow_their_text_tower(captioned, unit):
    planned = features(captioned, unit, "--dry-run")
    assert planned["prepare_stimuli"] == 2
    assert features(captioned, unit) == {}
    path = captioned.folder / "results/features/small_clip/blocks.4/image_text/mine.zarr"
    store = open_store(path, kind="features", verify=True)
    assert store["signal"].values.tolist() == SIGNALS
    assert (store["magnitude"].values > 0).all()
    assert len(store.attrs["image_text_weights"]) == 64
    write_clip(captioned.folder / "data" / "weights" / "tiny-clip", width=12, seed=1)
    rules = {
        "layer": {"extract_features": 2},
        "model": {"extract_features_small_clip_image_text": 1},
    }
    assert features(captioned, unit, "--dry-run") == rules[unit]


def test_images_without_captions_are_refused_before_any_job(captioned):
    path = captioned.folder / "data" / "mine" / "images.csv"
    pd.read_csv(path).drop(columns="caption").to_csv(path, index=False)
    (captioned.folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    done = captioned.snakemake("features", "--configfile", "study.yaml", "--dry-run", check=False)
    assert done.returncode != 0
    assert "the images of stimulus set 'mine' have no captions" in done.stdout + done.stderr
