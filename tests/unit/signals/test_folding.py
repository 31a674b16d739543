"""Folding batch normalisation into convolutions changes what a pass costs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gradbrain.models.build import FEATURES, VisionModel
from gradbrain.models.folding import folded

NETWORKS = ("tf_efficientnet_lite0", "mobilenetv2_050", "resnet18", "densenet121", "regnetx_002")


def normalisations(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def unlike_one_another(module: nn.Module) -> nn.Module:
    """Give normalisations what training would: statistics and scales of their own."""
    random = torch.Generator().manual_seed(0)
    for part in normalisations(module):
        for values in (part.running_var, part.weight):
            values.data = torch.rand(values.shape, generator=random, dtype=values.dtype) + 0.5
        for values in (part.running_mean, part.bias):
            values.data = torch.randn(values.shape, generator=random, dtype=values.dtype)
    return module


def timm_network(name: str) -> nn.Module:
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return unlike_one_another(timm.create_model(name, pretrained=False))


@pytest.mark.parametrize("name", NETWORKS)
def test_features_without_a_graph_are_those_of_the_network(
    name: str, wrap: Callable[[nn.Module], VisionModel]
) -> None:
    model = wrap(timm_network(name))
    raw = torch.rand(3, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = model.outputs(raw, FEATURES)["features"]
    torch.testing.assert_close(model.features_alone(raw), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "regnetx_002"])
def test_all_normalisations_behind_convolutions_are_folded(name: str) -> None:
    module = timm_network(name).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        twin = folded(module, lambda network: network.forward_features(images))
    assert normalisations(module) and not normalisations(twin)


def test_a_network_is_left_as_it_was_and_shares_its_other_weights() -> None:
    module = timm_network("resnet18").eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    images = torch.rand(1, 3, 64, 64)
    seen: list[str] = []
    module.get_submodule("layer1").register_forward_hook(lambda *_: seen.append("layer1"))
    with torch.no_grad():
        twin = folded(module, lambda network: network.forward_features(images))
        recorded = len(seen)
        twin.forward_features(images)
    assert len(seen) == recorded, "who records the layers of the network records none of its copy"
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert twin.get_submodule("fc").weight is module.get_submodule("fc").weight
    assert not any(part._forward_pre_hooks for part in module.modules()), "nothing is left behind"


class Twice(nn.Module):
    """One convolution whose output goes two ways, or which is passed twice."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.convolution(images)
        if self.way == "past the normalisation":
            return hidden + self.normalisation(hidden)
        return self.normalisation(self.convolution(hidden))


@pytest.mark.parametrize("way", ["past the normalisation", "through the convolution twice"])
def test_a_convolution_that_is_used_otherwise_too_is_not_folded(way: str) -> None:
    module = unlike_one_another(Twice(way)).eval()
    images = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert folded(module, lambda network: network(images)) is module


def test_without_batch_normalisation_there_is_no_copy() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()).eval()
    with torch.no_grad():
        assert folded(module, lambda network: network(torch.rand(1, 3, 8, 8))) is module
