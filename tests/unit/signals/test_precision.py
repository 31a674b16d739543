"""Reduced precision: how far activations and gradients turn away from those in fp32."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from gradbrain.config.registries import Registries
from gradbrain.models.build import build_model
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.backprop import _half_precision
from gradbrain.signals.device import set_up
from gradbrain.signals.extraction import SignalExtractor

REGISTRIES = Registries([Path(__file__).resolve().parents[3] / "config"])
NETWORKS = ("dinov3_sibling", "vit_tiny_untrained", "convnext_sibling", "owlvit_sibling")
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
CROP = 200  # px
PRODUCTS = (
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
)


def rounded_to_tf32(tensor: torch.Tensor) -> torch.Tensor:
    """Round float32 numbers to the 10 bits of mantissa that TF32 keeps, halves away from zero."""
    bits = tensor.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


class Tf32(TorchDispatchMode):
    """Round the factors of every matrix product and convolution, as TF32 units do."""

    n_rounded = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function in PRODUCTS:
            self.n_rounded += 1
            arguments = tree_map(
                lambda item: (
                    rounded_to_tf32(item)
                    if isinstance(item, torch.Tensor) and item.dtype == torch.float32
                    else item
                ),
                arguments,
            )
        return function(*arguments, **(keywords or {}))


def crops(n_images: int, seed: int, prefix: str, size: int) -> ImageBatch:
    """Crops of the two photographs that scikit-learn carries."""
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    random, inputs = np.random.default_rng(seed), []
    for index in range(n_images):
        photograph = photographs[index % 2]
        top, left = (random.integers(0, edge - CROP) for edge in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + CROP, left : left + CROP])
        pixels = np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))
        inputs.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255)
    names = tuple(f"{prefix}{index}" for index in range(n_images))
    return ImageBatch(names, torch.stack(inputs), torch.full((n_images,), -1), (None,) * n_images)


def signals(name: str, tools, precision: str) -> dict[str, list[np.ndarray]]:
    """Signal -> (images, features) of each layer."""
    entry = REGISTRIES.model(name, where="test")
    layers = [layer.name for layer in REGISTRIES.layers(entry.architecture, where="test")]
    model = build_model(entry, autocast=AUTOCAST.get(precision))
    bank = CalibrationBank(model, lambda: iter([crops(8, 8, "calibration", entry.input_size)]))
    chosen = tools["signal_set"](tools["backprop"]("dino"), tools["backprop"]("feature_norm"))
    emulation = Tf32() if precision == "tf32" else nullcontext()
    # Fused attention multiplies out of sight; the plain one is made of products.
    with sdpa_kernel(SDPBackend.MATH), emulation:
        extractor = SignalExtractor(model, layers, chosen, bank)
        found = extractor.take(crops(4, 7, "stimulus", entry.input_size))
    if precision == "tf32":
        assert emulation.n_rounded > 0
    return {
        signal: [found[layer].features[signal] for layer in layers]
        for signal in ("activation", "gradient_dino", "gradient_feature_norm")
    }


def smallest_cosines(
    exact: dict[str, list[np.ndarray]], reduced: dict[str, list[np.ndarray]]
) -> dict[str, float]:
    """Signal -> smallest cosine over layers and images."""
    return {
        signal: min(
            float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
            for a, b in zip(exact[signal], reduced[signal], strict=True)
        )
        for signal in exact
    }


# Measured: tf32 (emulated) .99991 and fp16 .99992 at worst, bf16 .9990 (docs/method.md).
BOUNDS = {"tf32": 0.999, "fp16": 0.999, "bf16": 0.99}


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_with_smooth_nonlinearities_keep_the_direction_of_every_signal(network, tools):
    exact = signals(network, tools, "fp32")
    for precision, bound in BOUNDS.items():
        cosines = smallest_cosines(exact, signals(network, tools, precision))
        assert bound <= min(cosines.values()) < 1, (precision, cosines)


def test_gradients_that_overflow_in_fp16_are_taken_again_at_a_smaller_scale(tools):
    # Its features hardly differ between images, so standardising them makes gradients large.
    exact, reduced = (signals("resnet18_untrained", tools, kind) for kind in ("fp32", "fp16"))
    assert min(smallest_cosines(exact, reduced).values()) > 0.99


def test_the_scale_of_an_image_does_not_depend_on_its_batch():
    steep = torch.tensor([1e-8, 100.0])

    def gradients(rows):
        layer = torch.ones(len(rows), 3, dtype=torch.float16, requires_grad=True)
        values = (layer.float() * steep[rows, None]).sum(1)
        (found,) = _half_precision(values, [layer], torch.float32, keep_graph=False)
        return found

    together, alone = gradients([0, 1]), gradients([0])
    # In float16 the one vanishes unless it is scaled up, the other overflows if it is.
    assert torch.equal(together[:1], alone)
    torch.testing.assert_close(together, steep[:, None].expand(2, 3), rtol=2e-3, atol=0)


def test_a_signal_in_float32_is_that_in_float64_where_student_and_teacher_agree(tools):
    """Few calibration images leave features whose spread is small, and other images far outside.

    There both codes have all their mass on one feature. The difference of the two was lost to
    rounding in float32, and one of these images had a signal at a cosine of .05 to its own.
    """
    entry = REGISTRIES.model("resnet18_untrained", where="test")
    layers = [layer.name for layer in REGISTRIES.layers(entry.architecture, where="test")]
    views = {"n_views": 2, "shared": False, "sampling": "independent"}
    chosen = tools["signal_set"](tools["backprop"]("dino", views=views))
    found, lengths = {}, {}
    for precision in (torch.float32, torch.float64):
        model = dataclasses.replace(build_model(entry), dtype=precision, _constants={})
        model.module.to(precision)
        bank = CalibrationBank(model, lambda: iter([crops(8, 102, "c", entry.input_size)]))
        taken = SignalExtractor(model, layers, chosen, bank).take(
            crops(24, 202, "s", entry.input_size)
        )
        found[precision] = {"gradient": [taken[name].features["gradient_dino"] for name in layers]}
        lengths[precision] = taken[layers[-1]].magnitude[:, 1]
    # Without an image whose gradient all but vanishes, nothing would be shown.
    assert lengths[torch.float64].min() < 1e-9 < 1 < np.median(lengths[torch.float64])
    (cosine,) = smallest_cosines(found[torch.float64], found[torch.float32]).values()
    assert cosine > 0.9999


@pytest.mark.parametrize("name", ["vit_tiny_untrained", "resnet18_untrained"])
def test_augmented_views_alone_pass_in_bf16(name):
    entry = REGISTRIES.model(name, where="test")
    raw = crops(4, 102, "c", entry.input_size).raw
    exact = build_model(entry)
    reduced = dataclasses.replace(exact, view_autocast=torch.bfloat16, _folded=[])
    assert torch.equal(reduced.outputs(raw)["features"], exact.outputs(raw)["features"])
    views = exact.features_alone(raw)
    away = float((reduced.features_alone(raw) - views).norm() / views.norm())
    # bf16 keeps 8 bits: a product is off by up to .4 per cent, and errors add up over layers.
    assert 1e-4 < away < 0.1
    assert reduced.features_alone(raw).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "passes", "views"),
    [
        ("fp32", None, None),
        ("fp32_views_bf16", None, torch.bfloat16),
        ("tf32_views_bf16", None, torch.bfloat16),
        ("fp16", torch.float16, None),
    ],
)
def test_a_precision_says_in_what_passes_and_views_run(precision, passes, views):
    compute = set_up("cpu", precision, 1)
    assert (compute.autocast, compute.view_autocast) == (passes, views)
    assert torch.backends.cuda.matmul.allow_tf32 == precision.startswith("tf32")
    set_up("cpu", "fp32", 1)


def test_a_signal_of_views_in_bf16_is_that_of_views_in_fp32_but_for_less_than_chance(tools):
    entry = REGISTRIES.model("vit_tiny_untrained", where="test")
    layers = [layer.name for layer in REGISTRIES.layers(entry.architecture, where="test")]
    chosen = tools["signal_set"](tools["backprop"]("dino", views={"n_views": 4}))

    def taken(views, replicate=0):
        model = build_model(entry, view_autocast=views)
        bank = CalibrationBank(model, lambda: iter([crops(16, 102, "c", entry.input_size)]))
        extractor = SignalExtractor(model, layers, chosen, bank, replicate=replicate)
        found = extractor.take(crops(16, 202, "s", entry.input_size))
        return {
            kind: [found[name].features[kind] for name in layers]
            for kind in ("activation", "gradient_dino")
        }

    exact, reduced, other = taken(None), taken(torch.bfloat16), taken(None, replicate=1)
    for one, two in zip(exact["activation"], reduced["activation"], strict=True):
        np.testing.assert_array_equal(one, two)
    of_precision, of_chance = (
        smallest_cosines(found, exact)["gradient_dino"] for found in (reduced, other)
    )
    assert of_chance < of_precision < 1.0
    assert of_precision > 0.99
