"""Small networks and images for the tests of models, objectives and signals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.datasets.images import content_sha256
from gradbrain.models.build import VisionModel, freeze
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.store import write_table

SIZE = 16


class TinyNetwork(nn.Module):
    """Two convolutions and a classifier that follow timm's protocol."""

    num_classes = 5
    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.classifier = nn.Linear(6, 5)

    def rest_after_first(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.second(nn.functional.gelu(hidden)), pre_logits=True)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(nn.functional.gelu(self.first(images)))

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        features = nn.functional.gelu(hidden).mean((2, 3))
        return features if pre_logits else self.classifier(features)

    def get_classifier(self) -> nn.Module:
        return self.classifier


@pytest.fixture
def tiny_entry() -> ModelEntry:
    return ModelEntry(
        name="tiny", architecture="none", weights={"source": "random"}, input_size=SIZE
    )


@pytest.fixture
def wrap(tiny_entry: ModelEntry) -> Callable[[nn.Module], VisionModel]:
    def wrap(network: nn.Module) -> VisionModel:
        return VisionModel(freeze(network.double()), tiny_entry, dtype=torch.float64)

    return wrap


@pytest.fixture
def tiny_model(wrap: Callable[[nn.Module], VisionModel]) -> VisionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return wrap(TinyNetwork())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of every pass through a network from here on."""
    found: list[int] = []

    def counted(method: Callable[..., object]) -> Callable[..., object]:
        def count(model: VisionModel, raw: torch.Tensor, *arguments: object) -> object:
            found.append(len(raw))
            return method(model, raw, *arguments)

        return count

    for name in ("outputs", "features_alone"):
        monkeypatch.setattr(VisionModel, name, counted(getattr(VisionModel, name)))
    return found


def make_batch(n_images: int, seed: int, prefix: str, size: int = SIZE) -> ImageBatch:
    random = np.random.default_rng(seed)
    raw = torch.from_numpy(random.uniform(size=(n_images, 3, size, size)))
    names = tuple(f"{prefix}{index}" for index in range(n_images))
    captions = tuple(f"a photo of thing {index % 5}" for index in range(n_images))
    return ImageBatch(names, raw, torch.full((n_images,), -1), captions)


@pytest.fixture
def batch() -> ImageBatch:
    return make_batch(6, 1, "stimulus")


@pytest.fixture
def bank(tiny_model: VisionModel) -> CalibrationBank:
    images = make_batch(10, 2, "calibration")

    def batches() -> Iterator[ImageBatch]:
        yield images.part(slice(0, 7))
        yield images.part(slice(7, None))

    return CalibrationBank(tiny_model, batches)


def backprop(objective: str, role: str = "learning", **options: object) -> SignalEntry:
    """Signal sent back from an objective; two views are enough where none is asked for."""
    if objective in ("dino", "view_consistency", "contrastive"):
        options = {"views": {"n_views": 2}, **options}
    return SignalEntry(
        name=f"gradient_{objective}",
        role=role,
        rule="backprop",
        objective=objective,
        options=options,
    )


ACTIVATION = SignalEntry(name="activation", role="activation", rule="activation")


def make_signal_set(*signals: SignalEntry, **settings: object) -> SignalSet:
    return SignalSet(name="test", signals=(ACTIVATION, *signals), **settings)


def write_stimuli(folder: Path, name: str, n_images: int, seed: int) -> Path:
    """Write PNG images and their stimulus table."""
    random, rows = np.random.default_rng(seed), []
    (folder / "images").mkdir(exist_ok=True)
    for index in range(n_images):
        coarse = random.integers(0, 255, (4, 5, 3), dtype=np.uint8)
        path = folder / "images" / f"{name}_{index}.png"
        Image.fromarray(coarse).resize((40, 32), Image.Resampling.BICUBIC).save(path)
        pixels = np.asarray(Image.open(path))
        rows.append(
            {
                "image_id": f"{name}_{index}",
                "group": f"{name}_{index}",
                "label": pd.NA,
                "loader": "file",
                "locator": json.dumps({"path": str(path)}),
                "content_sha256": content_sha256(pixels),
            }
        )
    table = pd.DataFrame(rows).astype({"label": "Int64"})
    write_table(folder / f"{name}.parquet", table, kind="stimuli")
    return folder / f"{name}.parquet"


@pytest.fixture
def tools() -> dict[str, Callable[..., object]]:
    """Constructors that tests share."""
    return {
        "backprop": backprop,
        "signal_set": make_signal_set,
        "batch": make_batch,
        "stimuli": write_stimuli,
    }
