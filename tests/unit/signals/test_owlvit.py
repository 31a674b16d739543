"""OWL-ViT from transformers: the detector's own image features, and clear words without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gradbrain.config.schema import ModelEntry
from gradbrain.models import owlvit
from gradbrain.models.build import build_model
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.layers import list_layers

OF_FILE = {"source": "file", "path": "weights/test_owlvit.safetensors"}
WORKFLOW = Path(__file__).resolve().parents[3] / "workflow"


def entry(**changes: object) -> ModelEntry:
    settings = {
        "name": "owl",
        "architecture": "test_owlvit",
        "source": "transformers",
        "input_size": 64,
        "weights": {"source": "random"},
        **changes,
    }
    return ModelEntry.model_validate(settings)


@pytest.fixture(scope="module")
def detector():
    """A small detector with random weights and shuffled norms."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    text = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = OwlViTConfig(
            vision_config=owlvit.ARCHITECTURES["test_owlvit"], text_config=text, projection_dim=16
        )
        network = OwlViTForObjectDetection(config).eval()
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return network


@pytest.fixture
def checkpoint(detector, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "test_owlvit.safetensors"
    save_file(state, path)
    return path, state


def test_features_are_the_mean_of_what_the_detection_heads_read(detector, checkpoint, tmp_path):
    model = build_model(
        entry(weights={"source": "hub", "tag": "google/owlvit-none"}), data=tmp_path
    )
    assert model.weights_origin == "file weights/test_owlvit.safetensors"
    raw = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = detector.image_embedder(model.normalise(raw))[0].flatten(1, 2).mean(1)
        found = model.outputs(raw)["features"]
    torch.testing.assert_close(found, expected)


def test_what_the_checkpoint_lacks_or_has_too_much_is_named(checkpoint, tmp_path):
    path, state = checkpoint
    state["owlvit.vision_model.surplus"] = state.pop("layer_norm.weight")
    save_file(state, path)
    with pytest.raises(WeightsError) as caught:
        build_model(entry(weights=OF_FILE), data=tmp_path)
    assert "missing: layer_norm.weight" in str(caught.value)
    assert "unexpected: vision_model.surplus" in str(caught.value)


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    # None in place of a module makes its import fail as if it were not installed.
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"'owl'.*optional package transformers.*pip install"):
        build_model(entry())


def test_layers_are_listed_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    table = list_layers("owlvit_large_patch14")
    assert len(table) == 24
    assert table["layer"].iloc[-1] == "vision_model.encoder.layers.23"


def test_transformers_is_not_imported_for_models_of_timm():
    code = (
        "import sys; from gradbrain.models.build import build_model;"
        "from gradbrain.config.schema import ModelEntry;"
        "weights = {'source': 'random'};"
        "build_model(ModelEntry(name='m', architecture='test_resnet', weights=weights));"
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(WORKFLOW)})


def test_an_unknown_architecture_of_transformers_is_named():
    with pytest.raises(ModelError, match=r"owlvit_base_patch32.*not 'owlvit_huge'"):
        build_model(entry(architecture="owlvit_huge"))


@pytest.mark.parametrize("kwargs", [{"num_attention_heads": 5}, {"img_size": 64}])
def test_kwargs_that_the_tower_refuses_are_named(kwargs):
    with pytest.raises(ModelError, match=rf"kwargs .*{next(iter(kwargs))}.*: "):
        build_model(entry(kwargs=kwargs))
