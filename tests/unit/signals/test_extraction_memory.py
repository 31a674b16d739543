"""Claims about the memory of extractions: told before they start, by networks without weights."""

import re

import pytest
import timm
import torch

from gradbrain.config.memory_limit import GIB, Limit, TooLittleMemoryError
from gradbrain.config.schema import ModelEntry
from gradbrain.models.passes import forward_pass
from gradbrain.signals.device import Compute, precision_of, wider_than
from gradbrain.signals.extraction_memory import check_extraction_memory

CPU = Compute(torch.device("cpu"), "fp32")
LAYERS = {
    "vit_tiny_patch16_224": ("blocks.0", "blocks.11"),
    "mobilenetv2_050": ("blocks.0", "blocks.5"),
    "convnext_atto": ("stages.0", "stages.3"),
}


def entry_of(architecture, size):
    return ModelEntry(
        name="net", architecture=architecture, weights={"source": "random"}, input_size=size
    )


@pytest.mark.parametrize("architecture", LAYERS)
def test_what_a_pass_keeps_is_what_it_keeps_with_weights_on_a_cpu(architecture):
    size = 224 if "vit" in architecture else 96
    found = forward_pass(entry_of(architecture, size), LAYERS[architecture])
    network = timm.create_model(architecture).eval().requires_grad_(False)
    for child in network.modules():
        if getattr(child, "inplace", False):
            child.inplace = False
    modules = dict(network.named_modules())
    weights = {item.untyped_storage().data_ptr() for item in network.state_dict().values()}
    kept, outputs = {}, 0

    def begin(_, __, output):
        nonlocal outputs
        outputs += output.numel() * 4
        if not output.requires_grad:
            output.requires_grad_()

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    for layer in LAYERS[architecture]:
        modules[layer].register_forward_hook(begin)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.forward_features(torch.zeros(1, 3, size, size))
    n_bytes = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert found.saved_bytes == pytest.approx(n_bytes, rel=0.03)
    assert found.layer_bytes == outputs
    assert found.weight_bytes == sum(4 * item.numel() for item in network.parameters())


def test_an_extraction_that_cannot_fit_says_which_batch_would():
    entry, layers = entry_of("vit_tiny_patch16_224", 224), LAYERS["vit_tiny_patch16_224"]
    limit = Limit(GIB, "control group, x")
    with pytest.raises(TooLittleMemoryError) as refused:
        check_extraction_memory(entry, layers, batch_size=512, graph=True, compute=CPU, limit=limit)
    text = str(refused.value)
    assert "'net', 512 images at once, needs" in text
    assert "this job may take 1.0 GiB (control group, x): set features.batch_size: " in text
    advised = int(re.search(r"batch_size: (\d+)", text)[1])
    check_extraction_memory(entry, layers, batch_size=advised, graph=True, compute=CPU, limit=limit)
    # Without a backward pass no more is kept than the layers that are taken.
    check_extraction_memory(entry, layers, batch_size=512, graph=False, compute=CPU, limit=limit)
    with pytest.raises(TooLittleMemoryError, match=r"features\.unit: layer"):
        check_extraction_memory(
            entry, layers, batch_size=8, graph=True, compute=CPU, limit=Limit(2**28, "x")
        )


def test_the_hint_of_a_value_that_is_not_finite_names_the_precision_in_use():
    cpu = torch.device("cpu")
    for dtype, name, hint in (
        (None, "fp32", "no wider precision is at hand"),
        (torch.bfloat16, "bf16", "features.precision: fp32"),
        (torch.float16, "fp16", "features.precision: bf16 or fp32"),
    ):
        assert precision_of(dtype, cpu) == name
        assert hint in wider_than(name)
