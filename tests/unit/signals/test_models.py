"""Models: weights are those asked for, layers exist, and nothing is loaded loosely."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from gradbrain.config.plugins import weights_use
from gradbrain.config.registries import Registries, read_yaml
from gradbrain.config.schema import ModelEntry
from gradbrain.models.build import build_model
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.layers import layer_table, list_layers
from gradbrain.models.network import create_network
from gradbrain.models.preprocess import to_input
from gradbrain.models.weights import file_sha256, state_digest

ROOT = Path(__file__).resolve().parents[3]
ENTRIES = read_yaml(ROOT / "config" / "models.yaml")["models"]
REGISTRIES = Registries([ROOT / "config"])


def untrained(**changes: object) -> ModelEntry:
    settings = {
        "name": "small",
        "architecture": "test_resnet",
        "weights": {"source": "random"},
        "input_size": 64,
        **changes,
    }
    return ModelEntry.model_validate(settings)


def seeded(seed: int) -> ModelEntry:
    return untrained(weights={"source": "random", "seed": seed})


def of_file(path: str, **options: object) -> ModelEntry:
    return untrained(weights={"source": "file", "path": path, **options})


def of_hub(tag: str, **options: object) -> ModelEntry:
    return untrained(weights={"source": "hub", "tag": tag, **options})


def test_untrained_weights_follow_from_their_seed_alone():
    torch.manual_seed(1)
    first = build_model(seeded(5))
    torch.manual_seed(2)
    second = build_model(seeded(5))
    other = build_model(seeded(6))
    assert first.weights_digest == second.weights_digest != other.weights_digest


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    build_model(untrained())
    assert torch.equal(torch.rand(3), expected)


def test_a_built_model_is_frozen_and_pure():
    module = build_model(untrained()).module
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(getattr(child, "inplace", False) for child in module.modules())


def test_an_unknown_architecture_is_named():
    with pytest.raises(ModelError, match=r"'small'.*no architecture 'resnet_of_mine'"):
        build_model(untrained(architecture="resnet_of_mine"))


def test_kwargs_that_the_architecture_refuses_are_named():
    with pytest.raises(ModelError, match=r"kwargs .*colour"):
        build_model(untrained(kwargs={"colour": "red"}))


@pytest.fixture
def checkpoint(tmp_path):
    module = build_model(seeded(7)).module
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "small.safetensors"
    save_file(module.state_dict(), path)
    return path, module


def test_a_checkpoint_gives_its_own_weights(checkpoint, tmp_path):
    path, module = checkpoint
    entry = of_file("weights/small.safetensors", sha256=file_sha256(path))
    assert build_model(entry, data=tmp_path).weights_digest == state_digest(module)


def test_a_checkpoint_that_does_not_fit_lists_what_differs(checkpoint, tmp_path):
    path, module = checkpoint
    state = module.state_dict()
    state["surplus"] = state.pop("bn1.weight")
    state["fc.weight"] = state["fc.weight"][:3].clone()
    save_file(state, path)
    with pytest.raises(WeightsError) as caught:
        build_model(of_file("weights/small.safetensors"), data=tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "missing: bn1.weight" in message
    assert "unexpected: surplus" in message
    assert "of another shape: fc.weight (3, " in message


def test_a_checkpoint_with_another_checksum_is_refused(checkpoint, tmp_path):
    entry = of_file("weights/small.safetensors", sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"has SHA-256 .* the entry pins 0000"):
        build_model(entry, data=tmp_path)


def test_a_missing_checkpoint_says_where_to_place_it(tmp_path):
    with pytest.raises(WeightsError, match=r"weights/none.safetensors does not exist; place"):
        build_model(of_file("weights/none.safetensors"), data=tmp_path)


def test_a_pickle_with_code_is_refused(tmp_path):
    (tmp_path / "weights").mkdir()
    torch.save({"weight": Path("code")}, tmp_path / "weights" / "bad.pth")
    with pytest.raises(WeightsError, match="weights_only=True"):
        build_model(of_file("weights/bad.pth"), data=tmp_path)


def test_a_pickle_of_tensors_is_read(checkpoint, tmp_path):
    _, module = checkpoint
    torch.save(module.state_dict(), tmp_path / "weights" / "good.pth")
    built = build_model(of_file("weights/good.pth"), data=tmp_path)
    assert built.weights_digest == state_digest(module)


def test_a_file_in_place_of_the_hub_is_used(tmp_path):
    module = build_model(seeded(7)).module
    (tmp_path / "weights").mkdir()
    save_file(module.state_dict(), tmp_path / "weights" / "test_resnet.r160_in1k.safetensors")
    built = build_model(of_hub("r160_in1k"), data=tmp_path)
    assert built.weights_digest == state_digest(module)


@pytest.fixture
def hub(monkeypatch):
    """The files that the hub is asked for; without any it is out of reach."""
    asked, files = [], {}

    def download(repository, name, *, revision):
        asked.append((repository, name, revision))
        if (repository, name) not in files:
            raise OSError("no route to host")
        return str(files[repository, name])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return asked, files


def test_without_network_the_error_says_which_file_goes_where(tmp_path, hub):
    with pytest.raises(WeightsError) as caught:
        build_model(of_hub("r160_in1k", revision="abc"), data=tmp_path)
    message = str(caught.value)
    assert "https://huggingface.co/timm/test_resnet.r160_in1k at revision abc" in message
    assert str(tmp_path / "weights" / "test_resnet.r160_in1k.safetensors") in message


def test_weights_are_fetched_at_the_pinned_revision_and_checked(checkpoint, tmp_path, hub):
    path, module = checkpoint
    asked, files = hub
    files["timm/test_resnet.r160_in1k", "model.safetensors"] = path
    entry = of_hub("r160_in1k", revision="abc", sha256=file_sha256(path))
    built = build_model(entry, data=tmp_path)
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors", "abc")]
    assert built.weights_digest == state_digest(module)
    assert built.weights_origin == "timm/test_resnet.r160_in1k@abc"
    with pytest.raises(WeightsError, match="the entry pins 0000"):
        build_model(of_hub("r160_in1k", revision="abc", sha256="0" * 64), data=tmp_path)


def test_a_repository_with_a_pickle_only_is_read_as_tensors_alone(checkpoint, tmp_path, hub):
    _, module = checkpoint
    asked, files = hub
    pickled = tmp_path / "pytorch_model.bin"
    torch.save(module.state_dict(), pickled)
    files["timm/test_resnet.r160_in1k", "pytorch_model.bin"] = pickled
    entry = of_hub("r160_in1k", revision="abc", sha256=file_sha256(pickled))
    assert build_model(entry, data=tmp_path).weights_digest == state_digest(module)
    assert [name for _, name, _ in asked] == ["model.safetensors", "pytorch_model.bin"]
    with pytest.raises(WeightsError, match="the entry pins 0000"):
        build_model(of_hub("r160_in1k", revision="abc", sha256="0" * 64), data=tmp_path)
    torch.save({"weight": Path("code")}, pickled)
    with pytest.raises(WeightsError, match="weights_only=True"):
        build_model(of_hub("r160_in1k", revision="abc"), data=tmp_path)


def test_weights_without_a_pinned_revision_are_warned_about(checkpoint, tmp_path, hub, caplog):
    hub[1]["timm/test_resnet.r160_in1k", "model.safetensors"] = checkpoint[0]
    built = build_model(of_hub("r160_in1k"), data=tmp_path)
    assert built.weights_origin == "timm/test_resnet.r160_in1k@unpinned"
    assert "no revision is pinned" in caplog.text


def test_a_file_of_other_weights_in_place_of_the_hub_is_refused(checkpoint, tmp_path):
    path, _ = checkpoint
    save_file({"other": torch.ones(1)}, path.with_name("test_resnet.r160_in1k.safetensors"))
    with pytest.raises(WeightsError, match=r"could not be loaded as the weights test_resnet.r160"):
        build_model(of_hub("r160_in1k"), data=tmp_path)


def test_an_unknown_tag_lists_those_there_are(tmp_path):
    with pytest.raises(ModelError, match=r"no weights 'test_resnet.mine'; .*r160_in1k"):
        build_model(of_hub("mine"), data=tmp_path)


def test_logits_of_a_network_without_a_classifier_are_refused():
    model = build_model(untrained(kwargs={"num_classes": 0}))
    with pytest.raises(ModelError, match="has no classifier"):
        model.outputs(torch.zeros(1, 3, 64, 64), ("logits",))


def test_one_pass_gives_both_features_and_the_networks_own_logits():
    model = build_model(untrained())
    model.check_classifier()
    raw = torch.rand(2, 3, 64, 64)
    outputs = model.outputs(raw, ("features", "logits"))
    expected = model.module(model.normalise(raw))
    torch.testing.assert_close(outputs["logits"], expected)
    assert outputs["features"].shape == (2, model.module.num_features)


def test_preprocessing_equals_timms_evaluation_transform():
    picture = np.random.default_rng(0).integers(0, 255, (75, 110, 3), dtype=np.uint8)
    entry = untrained(crop_pct=0.9)
    transform = timm.data.create_transform(
        (3, 64, 64), interpolation="bicubic", crop_pct=0.9, mean=entry.mean, std=entry.std
    )
    ours = build_model(entry).normalise(to_input(picture, entry)[None])[0]
    expected = transform(Image.fromarray(picture))
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_an_image_of_another_type_is_refused():
    with pytest.raises(ModelError, match=r"shape \(4, 4\) and type float64"):
        to_input(np.zeros((4, 4)), untrained())


def test_the_table_of_layers_is_that_of_the_registered_architectures():
    architectures = {entry["architecture"] for entry in ENTRIES.values()}
    expected = layer_table(architectures)
    found = pd.read_csv(ROOT / "config" / "layers.csv")
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("mobilenetv2_050", [f"blocks.{i}" for i in range(7)]),
        ("resnet18", [f"layer{s}.{b}" for s in (1, 2, 3, 4) for b in (0, 1)]),
        ("vit_tiny_patch16_224", [f"blocks.{i}" for i in range(12)]),
        ("test_convnext", None),
    ],
)
def test_layers_run_from_input_to_output(architecture, names):
    table = list_layers(architecture)
    if names is not None:
        assert table["layer"].tolist() == names
    n_layers = len(table)
    expected = (np.arange(n_layers) + 1) / n_layers
    np.testing.assert_allclose(table["depth"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "name", sorted(name for name in ENTRIES if REGISTRIES.model(name, where="test").is_network)
)
def test_every_entry_builds_and_its_layers_come_in_order(name):
    entry = REGISTRIES.model(name, where="test")
    layers = REGISTRIES.layers(entry.architecture, where="test")
    called: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"), torch.no_grad():
        tagged = weights_use(entry, REGISTRIES.plugins, where=name).options.network_name(entry)
        module = create_network(entry, tagged).eval()
        modules = dict(module.named_modules())
        for layer in layers:
            modules[layer.name].register_forward_hook(
                lambda _, __, output, name=layer.name: called.update({name: tuple(output.shape)})
            )
        hidden = module.forward_features(torch.zeros(1, 3, entry.input_size, entry.input_size))
        features = module.forward_head(hidden, pre_logits=True)
    assert list(called) == [layer.name for layer in layers]
    assert [layer.depth for layer in layers] == sorted(layer.depth for layer in layers)
    assert all(len(shape) in (3, 4) for shape in called.values())
    assert features.shape == (1, module.num_features)
    if tagged != entry.architecture:
        config = timm.get_pretrained_cfg(tagged)
        assert (config.mean, config.std) == (entry.mean, entry.std)
        assert config.input_size[1] == entry.input_size
        assert config.crop_pct == entry.crop_pct


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("test_nfnet", "computed"), ("resnetv2_50x1_bit", "computed"), ("test_resnet", "plain"),
     ("image_statistics", "plain")],
)  # fmt: skip
def test_the_table_says_which_networks_compute_their_weights(architecture, kind):
    assert set(list_layers(architecture)["weights"]) == {kind}


def test_the_command_that_lists_layers_says_what_it_wrote_and_where(tmp_path):
    output = tmp_path / "layers.csv"
    command = [sys.executable, str(ROOT / "scripts" / "list_layers.py")]
    done = subprocess.run(
        [*command, "resnet10t", "--output", str(output)], capture_output=True, text=True
    )
    n_layers = len(output.read_text().splitlines()) - 1
    assert n_layers > 1
    assert f"wrote {n_layers} layers of resnet10t to {output}" in done.stderr
    told = subprocess.run([*command, "--help"], capture_output=True, text=True).stdout
    assert "config/layers.csv" in "".join(told.split())


@pytest.mark.parametrize(
    ("asked", "near"),
    [("resnet5", "resnet50"), ("ResNet-50", "resnet50"), ("vit_base_patch16_dino3", "dinov3")],
)
def test_an_unknown_architecture_is_answered_with_near_ones(asked, near, tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "list_layers.py"), asked]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "layers.csv")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no architecture matches {asked!r}; did you mean ")
    assert near in done.stderr
    assert not (tmp_path / "layers.csv").exists()
