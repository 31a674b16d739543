"""Gradients: exact, each image's own, and the same however many layers share a pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import ModelEntry, Pooling
from gradbrain.models.build import build_model
from gradbrain.models.errors import LayerError, ModelError
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.needs import plugins_of, uses_of
from gradbrain.signals.tape import TapeRecorder

FAMILIES = {
    "test_vit": ["blocks.0", "blocks.3", "blocks.4"],
    "test_vit3": ["blocks.1", "blocks.8"],  # attention-pooled head
    "test_resnet": ["layer1.0", "layer2.0", "layer4.0"],
    "test_convnext": ["stages.0.blocks.0", "stages.3.blocks.0"],
    "test_efficientnet": ["blocks.0", "blocks.2", "blocks.4"],
}
# A sibling of the DINOv3 family: rotary positions, class token and four registers.
EVA = {"depth": 2, "embed_dim": 64, "num_heads": 2}
SIZE = 64


def sibling(architecture: str):
    kwargs = {"img_size": SIZE} if "vit" in architecture else {}
    if architecture == "vit_small_patch16_dinov3":
        kwargs |= EVA
    entry = ModelEntry(
        name=architecture,
        architecture=architecture,
        kwargs=kwargs,
        weights={"source": "random", "seed": 1},
        input_size=SIZE,
    )
    return build_model(entry)


def bank_of(model, tools):
    images = tools["batch"](4, 8, "calibration", SIZE)
    images = images.with_raw(images.raw.float())
    return CalibrationBank(model, lambda: iter([images]))


def images_for(tools, n_images: int = 3) -> ImageBatch:
    batch = tools["batch"](n_images, 7, "stimulus", SIZE)
    return batch.with_raw(batch.raw.float())


def gradients_of(model, layer, signal, batch, bank, tools):
    """Signal of one layer without pooling or scaling: the grid is as fine as the layer."""
    chosen = tools["signal_set"](signal, pooling=Pooling(kind="grid", size=1000), normalise="none")
    return SignalExtractor(model, [layer], chosen, bank).take(batch)[layer].features[signal.name]


def test_the_gradient_equals_that_of_torch_func_per_image(tiny_model, batch, bank, tools):
    network = tiny_model.module
    hidden = network.first(tiny_model.normalise(batch.raw))

    def objective(one):
        return 0.5 * network.rest_after_first(one[None]).square().sum()

    expected = torch.func.vmap(torch.func.grad(objective))(hidden).flatten(1)
    signal = tools["backprop"]("feature_norm")
    found = gradients_of(tiny_model, "first", signal, batch, bank, tools)
    # The store holds float32; the gradient itself is taken in float64.
    np.testing.assert_allclose(found, expected.numpy().astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("name", ["dino", "cross_entropy", "contrastive", "fixed_cotangent"])
def test_the_gradient_equals_finite_differences(name, tiny_model, batch, bank, tools):
    signal, one, step = tools["backprop"](name), batch.part(slice(0, 1)), 1e-6
    extractor = SignalExtractor(tiny_model, ["second"], tools["signal_set"](signal), bank)
    objective = extractor.sources[1].objective
    shape = extractor.recorder.shapes["second"]
    delta = torch.zeros(shape, dtype=torch.float64)
    handle = tiny_model.module.second.register_forward_hook(lambda _, __, out: out + delta)

    def value() -> float:
        # The teacher looks at the unchanged network: it is no part of the derivative.
        with torch.no_grad():
            output = tiny_model.outputs(one.raw, (objective.output,))[objective.output]
            kept, delta[...] = delta.clone(), 0
            loss = float(objective.loss(output, one))
            delta[...] = kept
        return loss

    expected = torch.zeros(shape, dtype=torch.float64)
    for index in np.ndindex(*shape[1:]):
        at = (0, *index)
        delta[at] = step
        above = value()
        delta[at] = -step
        expected[at] = (above - value()) / (2 * step)
        delta[at] = 0
    handle.remove()
    found = gradients_of(tiny_model, "second", signal, one, bank, tools)
    # Central differences are exact to the square of the step, rounding to 1e-16 / step.
    np.testing.assert_allclose(found[0], expected.flatten(), rtol=1e-5, atol=1e-8)


def test_no_image_changes_the_signal_of_another(tiny_model, batch, bank, tools):
    signals = [tools["backprop"](name) for name in ("dino", "cross_entropy", "fixed_cotangent")]
    chosen = tools["signal_set"](*signals)
    extractor = SignalExtractor(tiny_model, ["first", "second"], chosen, bank)
    together = extractor.take(batch)

    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.permutations(range(len(batch))), st.integers(1, len(batch)))
    def same_in_any_company(order, count):
        rows = order[:count]
        part = ImageBatch(
            tuple(batch.image_ids[row] for row in rows),
            batch.raw[rows],
            batch.labels[rows],
            tuple(batch.captions[row] for row in rows),
        )
        for layer, found in extractor.take(part).items():
            for name, values in found.rows().items():
                # Computed in float64, stored in float32: at most one unit in the last place.
                np.testing.assert_allclose(
                    values, together[layer].rows()[name][rows], rtol=2e-7, atol=1e-12
                )

    same_in_any_company()


@pytest.mark.parametrize("architecture", [*FAMILIES, "vit_small_patch16_dinov3"])
def test_one_pass_for_all_layers_equals_a_pass_per_layer_bit_by_bit(architecture, tools):
    layers = FAMILIES.get(architecture, ["blocks.0", "blocks.1"])
    model, batch = sibling(architecture), images_for(tools)
    bank = bank_of(model, tools)
    signals = [tools["backprop"]("dino"), tools["backprop"]("feature_norm")]
    chosen = tools["signal_set"](*signals)
    fused = SignalExtractor(model, layers, chosen, bank).take(batch)
    for layer in layers:
        alone = SignalExtractor(model, [layer], chosen, bank).take(batch)[layer]
        for name, values in fused[layer].rows().items():
            np.testing.assert_array_equal(values, alone.rows()[name], err_msg=f"{layer} {name}")
        for name in ("gradient_dino", "gradient_feature_norm"):
            assert (fused[layer].magnitude[:, 1:] > 0).all()
            length = np.linalg.norm(fused[layer].features[name], axis=1)
            np.testing.assert_allclose(length, 1, rtol=1e-5)


def test_nothing_before_the_first_named_layer_is_differentiated(tiny_model, batch):
    tape = TapeRecorder(tiny_model, ["second"]).record(batch, ("features",), graph=True)
    assert tape.layers["second"].is_leaf
    both = TapeRecorder(tiny_model, ["first", "second"]).record(batch, ("features",), graph=True)
    assert both.layers["first"].is_leaf
    assert not both.layers["second"].is_leaf


class Overwriting(nn.Module):
    """A residual block that adds in place, as timm's ResNet does."""

    num_classes, num_features = 0, 4

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3, stride=4), nn.Conv2d(4, 4, 1)

    def forward_features(self, images):
        stem = self.stem(images)
        hidden = self.block(stem)
        hidden += stem
        return hidden

    def forward_head(self, hidden, pre_logits=False):
        return hidden.square().mean((2, 3))


def test_a_layer_that_is_overwritten_later_keeps_its_own_values(wrap, batch, bank, tools):
    model = wrap(Overwriting())
    tape = TapeRecorder(model, ["block"]).record(batch, ("features",), graph=True)
    stem = model.module.stem(model.normalise(batch.raw))
    torch.testing.assert_close(tape.layers["block"], model.module.block(stem))
    (found,) = torch.autograd.grad(tape.outputs["features"].sum(), tape.layers["block"])
    n_positions = found[0, 0].numel()
    expected = 2 * (model.module.block(stem) + stem) / n_positions
    torch.testing.assert_close(found, expected)


class Shared(Overwriting):
    def forward_features(self, images):
        return self.block(self.block(self.stem(images)))


class Several(Overwriting):
    class Pair(nn.Module):
        def forward(self, hidden):
            return hidden, hidden * 2

    class Single(nn.Module):
        def forward(self, hidden):
            return hidden * 1, None

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.single, self.unused = self.Pair(), self.Single(), nn.Identity()

    def forward_features(self, images):
        return self.single(self.pair(self.stem(images))[0])[0]


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        (Shared, "block", "'block' is called 2 times"),
        (Several, "unused", "'unused' is called 0 times"),
        (Several, "pair", "'pair' gives tuple with several tensors"),
        (Several, "absent", "no layer.s. absent; it has stem, block"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_name(network, layer, message, wrap):
    with pytest.raises(LayerError, match=message):
        TapeRecorder(wrap(network()), [layer])


def test_a_tuple_with_one_tensor_is_taken(wrap, batch):
    tape = TapeRecorder(wrap(Several()), ["single"]).record(batch, ("features",), graph=True)
    (gradient,) = torch.autograd.grad(tape.outputs["features"].sum(), tape.layers["single"])
    assert gradient.abs().sum() > 0


def test_a_layer_named_twice_is_refused(tiny_model):
    with pytest.raises(LayerError, match="named twice"):
        TapeRecorder(tiny_model, ["first", "first"])


def test_a_wrong_image_size_is_said_in_words():
    model = build_model(
        ModelEntry(
            name="v",
            architecture="vit_tiny_patch16_224",
            weights={"source": "random"},
            input_size=64,
        )
    )
    with pytest.raises(ModelError, match=r"does not accept images of 64 px .*img_size in kwargs"):
        TapeRecorder(model, ["blocks.0"])


def test_registered_rules_are_found_by_name(tools):
    assert {"activation", "backprop"} <= set(LIBRARY_PLUGINS.names("rules"))
    signal = tools["backprop"]("shuffled_cotangent").model_copy(
        update={"options": {"objective": "dino"}}
    )
    found = plugins_of(uses_of([signal], LIBRARY_PLUGINS))
    assert [plugin.module for plugin in found] == [
        "gradbrain.signals.backprop",
        "gradbrain.objectives.shuffled_cotangent",
        "gradbrain.objectives.dino",
    ]
    unknown = signal.model_copy(update={"rule": "dendrites"})
    with pytest.raises(
        GradbrainError,
        match=r"signals.yaml: signal 'gradient_shuffled_cotangent': rule: there is no rule "
        "'dendrites'. Allowed: activation, backprop",
    ):
        uses_of([unknown], LIBRARY_PLUGINS)


def test_a_rule_without_its_objective_is_refused(tiny_model, bank, tools):
    whole = tools["signal_set"](tools["backprop"]("dino"))
    activation, signal = whole.signals
    signal = signal.model_copy(update={"objective": None})
    signal_set = whole.model_copy(update={"signals": (activation, signal)})
    with pytest.raises(
        GradbrainError, match=r"'gradient_dino': objective: rule 'backprop' needs one"
    ):
        SignalExtractor(tiny_model, ["first"], signal_set, bank)


def test_running_out_of_memory_halves_the_batch_and_changes_nothing(
    tiny_model, batch, bank, tools, monkeypatch, caplog
):
    chosen = tools["signal_set"](tools["backprop"]("dino"))
    extractor = SignalExtractor(tiny_model, ["first"], chosen, bank)
    expected = extractor.take(batch)["first"].rows()
    record, sizes = extractor.recorder.record, []

    def tight(images, *arguments, **keywords):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return record(images, *arguments, **keywords)

    monkeypatch.setattr(extractor.recorder, "record", tight)
    for name, values in extractor.take(batch)["first"].rows().items():
        np.testing.assert_allclose(values, expected[name], rtol=2e-7, atol=1e-12)
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    assert "batches of 3 images" in caplog.text
    assert extractor.take(batch.part(slice(0, 2)))["first"].magnitude.shape == (2, 2)


def test_one_image_that_does_not_fit_is_an_error(tiny_model, batch, bank, tools, monkeypatch):
    chosen = tools["signal_set"](tools["backprop"]("dino"))
    extractor = SignalExtractor(tiny_model, ["first"], chosen, bank)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(extractor.recorder, "record", full)
    with pytest.raises(SignalError, match="one image does not fit into the memory"):
        extractor.take(batch)
