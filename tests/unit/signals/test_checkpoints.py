"""Claims about checkpoints: what does not fit is said before any job, with what to do about it."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gradbrain.config.plugins import LIBRARY_PLUGINS, weights_use
from gradbrain.config.schema import ModelEntry
from gradbrain.models.build import build_model
from gradbrain.models.checkpoints import check_file
from gradbrain.models.errors import WeightsError
from gradbrain.models.network import create_network
from gradbrain.plan.checkpoints import wrong_checkpoints

ROOT = Path(__file__).resolve().parents[3]


def entry_of(path="weights/mine.safetensors", **changes):
    content = {
        "name": "mine",
        "architecture": "mobilenetv2_050",
        "weights": {"source": "file", "path": path},
        "kwargs": {"num_classes": 7},
        "input_size": 48,
    }
    return ModelEntry(**(content | changes))


@pytest.fixture
def state():
    return create_network(entry_of()).state_dict()


@pytest.fixture
def data(tmp_path):
    (tmp_path / "weights").mkdir()
    return tmp_path


def check(entry, data):
    """Look at a checkpoint as planning does, and read it as a job does; both must say the same."""
    path = data / entry.weights.options["path"]
    try:
        check_file(entry, path)
    except WeightsError:
        with pytest.raises(WeightsError):
            build_model(entry, data=data)
        raise
    build_model(entry, data=data)


def test_a_checkpoint_that_fits_is_let_pass_and_no_weight_is_read(data, state, monkeypatch):
    save_file(state, data / "weights/mine.safetensors")
    torch.save(state, data / "weights/mine.pth")
    for path in ("weights/mine.safetensors", "weights/mine.pth"):
        check(entry_of(path), data)
    monkeypatch.setattr("safetensors.torch.load_file", None)
    check_file(entry_of(), data / "weights/mine.safetensors")


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        (lambda s: {f"module.{k}": v for k, v in s.items()}, {}, r"begin with 'module\.'.*take it"),
        (lambda s: {f"net.body.{k}": v for k, v in s.items()}, {}, r"begin with 'net\.body\.'"),
        (lambda s: s, {"num_classes": 9}, r"has 7 classes, the network 9: .*num_classes: 7\}"),
        (
            lambda s: {k: v for k, v in s.items() if not k.startswith("classifier")},
            {"num_classes": 7},
            r"missing: classifier\.bias, .*has no classifier: write kwargs: \{num_classes: 0\}",
        ),
        (lambda s: {k: v for k, v in s.items() if "blocks.3" not in k}, {}, r"missing: blocks\.3"),
        (lambda s: s | {"other": torch.zeros(3)}, {}, "unexpected: other$"),
        (
            lambda s: s | {"conv_stem.weight": torch.zeros(16, 4, 3, 3)},
            {},
            "of another shape: conv",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_the_fix(data, state, change, kwargs, message):
    entry = entry_of(kwargs={"num_classes": 7} | kwargs)
    save_file(change(state), data / "weights/mine.safetensors")
    with pytest.raises(WeightsError, match=message):
        check(entry, data)


@pytest.mark.parametrize("key", ["state_dict", "model", "teacher"])
def test_a_training_checkpoint_is_told_with_a_command_that_mends_it(data, state, key):
    path = data / "weights/mine.pth"
    torch.save({key: {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    with pytest.raises(WeightsError, match=f"stand under '{key}'") as refused:
        check(entry_of("weights/mine.pth"), data)
    run_fix(str(refused.value))
    entry = entry_of("weights/mine-weights.safetensors")
    with pytest.raises(WeightsError, match=r"begin with 'module\.'") as refused:
        check(entry, data)
    run_fix(str(refused.value))
    check(entry_of("weights/mine-weights-weights.safetensors"), data)


def run_fix(message):
    """Run the command that an error prints, as a user would."""
    code = message.partition('python -c "')[2].partition('", and name')[0]
    subprocess.run([sys.executable, "-c", code], check=True)


def cut(content):
    return content[:-1000]


def longer(content):
    return content + b"more"


def header_of(text):
    return lambda _: struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        longer,
        lambda _: b"",
        lambda _: b"x" * 100,
        lambda _: struct.pack("<Q", 2**62) + b"{}",
        header_of(b"[1, 2]"),
        header_of(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}'),
        header_of(b'{"a": {"dtype": "F32"}}'),
        header_of(b"{" * 5000),
        header_of(b"[" * 100_000),
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        lambda _: b"<!doctype html><html></html>",
    ],
)
def test_a_file_that_was_cut_or_is_something_else_is_named(data, state, damage):
    path = data / "weights/mine.safetensors"
    save_file(state, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(WeightsError, match=r"mine\.safetensors.* (get it again|git lfs|web page)"):
        check_file(entry_of(), path)


def test_weights_of_timm_are_held_against_the_network_through_its_own_renaming(data):
    entry = entry_of(
        architecture="vit_tiny_patch16_224",
        weights={"source": "hub", "tag": "augreg_in21k_ft_in1k"},
        kwargs={},
        input_size=224,
    )
    use = weights_use(entry, LIBRARY_PLUGINS, where="test")
    look = use.plugin.load().check
    (file,) = use.options.optional_files(entry)
    look(entry, use.options, data)
    state = create_network(entry_of(architecture=entry.architecture, kwargs={})).state_dict()
    save_file(state, data / file)
    look(entry, use.options, data)
    save_file({k: v for k, v in state.items() if "blocks.3" not in k}, data / file)
    with pytest.raises(WeightsError, match=r"Missing key.*blocks\.3"):
        look(entry, use.options, data)


def test_what_was_right_is_not_looked_at_again(data, state, tmp_path, monkeypatch):
    path = data / "weights/mine.safetensors"
    save_file(state, path)
    entry = entry_of()
    memory = tmp_path / "memory.json"
    arguments = {
        "files": {"mine": [str(path)]},
        "script": str(ROOT / "scripts/check_checkpoints.py"),
        "data": str(data),
        "plugins": [],
        "memory": memory,
    }
    assert wrong_checkpoints({"mine": entry.model_dump_json()}, **arguments) == []
    assert len(json.loads(memory.read_text())) == 1
    monkeypatch.setattr(subprocess, "run", None)
    assert wrong_checkpoints({"mine": entry.model_dump_json()}, **arguments) == []
    monkeypatch.undo()
    other = entry_of(kwargs={"num_classes": 9}).model_dump_json()
    (problem,) = wrong_checkpoints({"mine": other}, **arguments)
    assert "has 7 classes, the network 9" in problem
    path.write_bytes(cut(path.read_bytes()))
    (problem,) = wrong_checkpoints({"mine": entry.model_dump_json()}, **arguments)
    assert "it was cut" in problem
