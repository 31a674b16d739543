"""Learning rules: closed forms on linear networks, limits, and what each of them promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from trees.learning_rules import (
    TinyTransformer,
    TwoLinearLayers,
    extractor_of,
    rule_signals,
    signal_of,
    taken,
)

from gradbrain.config.schema import ModelEntry, Pooling
from gradbrain.models.build import build_model
from gradbrain.models.layers import list_layers
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.gauss_newton_target import conjugate_gradients
from gradbrain.signals.inverse_models import fit_bytes, fold_blocks, unfold_blocks
from gradbrain.signals.target_propagation import changes_below

SIZE = 16
#: Rule -> its options and objective where tests take it.
RULES = {
    "backprop": {},
    "backprop_error": {},
    "feedback_alignment": {},
    "direct_feedback_alignment": {},
    "sign_symmetry": {},
    "gauss_newton_target": {"iterations": 3},
    "predictive_coding_generative": {"objective": None, "hidden": 5},
    "difference_target_propagation": {"hidden": 5},
    "target_activity": {"hidden": 5},
    "predictive_coding_inference": {"steps": 6},
    "node_perturbation": {"n_draws": 5},
    "scalar_feedback": {},
    "hebbian": {"objective": None},
    "three_factor": {},
    "objective_value": {},
    "gradient_norm": {},
}


def cosines(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return functional.cosine_similarity(first.flatten(1), second.flatten(1))


@pytest.fixture
def linear(wrap):
    """Two linear layers, their weights, calibration images, and a batch with its x, h and y."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = wrap(TwoLinearLayers(3 * SIZE**2))
    return model


@pytest.fixture
def forward(linear, batch):
    """Hidden values, and the error at the output, which is the output itself."""
    hidden = linear.module.first(linear.normalise(batch.raw).flatten(1))
    return hidden, linear.module.second(hidden), linear.module.second.weight


@pytest.fixture
def linear_bank(linear, tools):
    images = tools["batch"](40, 2, "calibration")
    return CalibrationBank(
        linear, lambda: iter([images.part(slice(0, 23)), images.part(slice(23, None))])
    )


@pytest.fixture
def transformer(wrap):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return wrap(TinyTransformer())


def pretrained_like(architecture: str, size: int = 32):
    entry = ModelEntry(
        name=architecture,
        architecture=architecture,
        kwargs={"img_size": size} if "vit" in architecture else {},
        weights={"source": "random", "seed": 1},
        input_size=size,
    )
    return build_model(entry), list_layers(architecture)["layer"].tolist()


def images_of(model, tools, n_images=3):
    batch = tools["batch"](n_images, 7, "stimulus", model.entry.input_size)
    return batch.with_raw(batch.raw.float())


def bank_of(model, tools, n_images=6):
    images = tools["batch"](n_images, 8, "calibration", model.entry.input_size)
    images = images.with_raw(images.raw.float())
    return CalibrationBank(model, lambda: iter([images]))


# --- closed forms on two linear layers, derived by hand -----------------------------------------
# y = W2 h, h = W1 x, L = |y|^2 / 2, so that e = y and dL/dh = W2' y.


def test_feedback_alignment_multiplies_the_error_by_its_own_matrix(
    linear, linear_bank, batch, forward
):
    _, error, weight = forward
    extractor = extractor_of(linear, ["first"], linear_bank, signal_of("feedback_alignment"))
    found = taken(extractor, batch, "feedback_alignment").layers["first"]
    feedback = extractor.sources[1].rule._weights["second.weight"]
    assert feedback.shape == weight.shape
    torch.testing.assert_close(found, error @ feedback)
    # Drawn, as large as the weights, and not these.
    assert float(feedback.square().mean() / weight.square().mean()) == pytest.approx(1, abs=0.6)
    assert (
        abs(float(functional.cosine_similarity(feedback.flatten(), weight.flatten(), dim=0))) < 0.6
    )


def test_sign_symmetry_multiplies_by_the_signs_of_the_weights(linear, linear_bank, batch, forward):
    _, error, weight = forward
    found = rule_signals(linear, ["first"], linear_bank, batch, "sign_symmetry")["first"]
    torch.testing.assert_close(found, error @ (weight.sign() * weight.abs().mean()))
    extractor = extractor_of(
        linear, ["first"], linear_bank, signal_of("sign_symmetry", magnitudes="random")
    )
    found = taken(extractor, batch, "sign_symmetry").layers["first"]
    feedback = extractor.sources[1].rule._weights["second.weight"]
    assert torch.equal(feedback.sign(), weight.sign())
    assert feedback.abs().std() > 0
    torch.testing.assert_close(found, error @ feedback)


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_gauss_newton_is_the_damped_inverse(linear, linear_bank, batch, forward, damping):
    _, error, weight = forward
    gram = weight @ weight.T
    system = gram + damping * gram.trace() / len(gram) * torch.eye(len(gram)).double()
    expected = error @ torch.linalg.solve(system, weight)
    signal = signal_of("gauss_newton_target", iterations=4, damping=damping)
    found = taken(extractor_of(linear, ["first"], linear_bank, signal), batch, signal.name)
    torch.testing.assert_close(found.layers["first"], expected)
    if damping == 0:
        torch.testing.assert_close(expected, error @ torch.linalg.pinv(weight).T)
    assert float(found.residual["first"].max()) < 1e-12


def test_inference_settles_where_the_energy_has_no_slope(linear, linear_bank, batch, forward):
    # E = |z - h|^2 / 2s + b |W2 z|^2 / 2 has its minimum at (I / s + b W2'W2)(z - h) = -b W2'W2 h,
    # with b = nudge / mean square of y, since e = y.
    hidden, output, weight = forward
    size, curvature = hidden.square().mean(1), weight.T @ weight
    nudge = 0.7 / output.square().mean(1)
    system = torch.eye(7).double() / size[:, None, None] + nudge[:, None, None] * curvature
    moved = -torch.linalg.solve(system, nudge[:, None] * (hidden @ curvature))
    signal = signal_of("predictive_coding_inference", steps=300, nudge=0.7)
    found = taken(extractor_of(linear, ["first"], linear_bank, signal), batch, signal.name)
    torch.testing.assert_close(found.layers["first"], -moved / size[:, None], rtol=1e-5, atol=1e-8)
    assert float(found.residual["first"].max()) < 1e-5


def test_hebbian_is_the_change_of_the_response_to_the_image_itself(
    linear, linear_bank, batch, forward
):
    hidden, output, _ = forward
    before = linear.normalise(batch.raw).flatten(1)
    change = torch.einsum("bi,bj->bij", hidden, before)  # of the weights
    found = rule_signals(linear, ["first", "second"], linear_bank, batch, "hebbian", None)
    torch.testing.assert_close(
        found["first"], torch.einsum("bij,bj->bi", change, before) / before.shape[1]
    )
    torch.testing.assert_close(found["second"], output * hidden.square().mean(1, keepdim=True))


def test_scalar_rules_are_told_how_much_better_than_expected_an_image_went(
    linear, linear_bank, batch, forward
):
    hidden, output, _ = forward
    calibration = torch.cat(
        [linear.outputs(part.raw)["features"] for part in linear_bank.batches()]
    )
    expected = 0.5 * calibration.square().sum(1).mean() - 0.5 * output.square().sum(1)
    chain = ["first", "second"]
    scalar = rule_signals(linear, chain, linear_bank, batch, "scalar_feedback")
    torch.testing.assert_close(scalar["first"], expected[:, None].expand(hidden.shape))
    hebbian = rule_signals(linear, chain, linear_bank, batch, "hebbian", None)
    gated = rule_signals(linear, chain, linear_bank, batch, "three_factor")
    for layer in chain:
        torch.testing.assert_close(gated[layer], expected[:, None] * hebbian[layer])


def test_a_top_down_gate_selects_units(linear, linear_bank, batch, forward):
    chain = ["first", "second"]
    hebbian = rule_signals(linear, chain, linear_bank, batch, "hebbian", None)
    gated = rule_signals(linear, chain, linear_bank, batch, "three_factor", gate="top_down")
    gate = gated["first"] / hebbian["first"]
    # A fixed matrix times the error at the output.
    error = forward[1]
    matrix = torch.linalg.lstsq(error, gate).solution
    torch.testing.assert_close(error @ matrix, gate)
    assert gate.std(1).min() > 0


def test_one_dimensional_controls(linear, linear_bank, batch, forward):
    hidden, output, weight = forward
    value = rule_signals(linear, ["first"], linear_bank, batch, "objective_value")["first"]
    torch.testing.assert_close(
        value, (0.5 * output.square().sum(1, keepdim=True)).expand(hidden.shape)
    )
    norm = rule_signals(linear, ["first"], linear_bank, batch, "gradient_norm")["first"]
    torch.testing.assert_close(
        norm, (output @ weight).norm(dim=1, keepdim=True).expand(hidden.shape)
    )


def test_generative_errors_vanish_where_the_layer_above_says_all(wrap, linear, batch, tools):
    # As many units above as below: h is a linear function of y, which the model contains.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = wrap(TwoLinearLayers(3 * SIZE**2, hidden=4, n_outputs=4))
    images = tools["batch"](60, 2, "calibration")
    bank = CalibrationBank(model, lambda: iter([images]))
    signal = signal_of("predictive_coding_generative", None, penalty=1e-9, hidden=2)
    extractor = extractor_of(model, ["first", "second"], bank, signal)
    found = taken(extractor, batch, signal.name).layers
    hidden = model.module.first(model.normalise(batch.raw).flatten(1))
    assert float(found["first"].abs().max() / hidden.abs().max()) < 1e-3
    # The last layer is held against its mean.
    outputs = bank.outputs("features")
    output = model.outputs(batch.raw)["features"]
    torch.testing.assert_close(found["second"], output - outputs.mean(0), rtol=1e-5, atol=1e-6)
    fitted = extractor.sources[1].rule.fitted
    assert float(fitted["first"]["r2_held_out"]) > 0.999


def least_squares_inverse(linear, bank):
    """V of the fit h ~ y on calibration images that are not held out, and what it leaves."""
    parts = [linear.normalise(part.raw).flatten(1) for part in bank.batches()]
    inputs = torch.cat(parts)
    hidden = linear.module.first(inputs)
    kept = torch.arange(len(hidden)) % 5 != 4
    output = linear.module.second(hidden)
    # Centred: cov(h, y) cov(y)^-1, by the normal equations.
    h, y = (one[kept] - one[kept].mean(0) for one in (hidden, output))
    return torch.linalg.solve(y.T @ y, y.T @ h), hidden[kept].mean(0), output[kept].mean(0)


def test_targets_of_an_affine_inverse_are_a_fixed_matrix_times_the_error(
    linear, linear_bank, batch, forward
):
    # t_2 = y - s |y| y / |y|, since dL/dy = y; g(y) = m_h + V (y - m_y), so that
    # h - t_1 = g(y) - g(t_2) = s V y, whatever the image.
    hidden, output, _ = forward
    matrix, mean_hidden, mean_output = least_squares_inverse(linear, linear_bank)
    options = {"inverse": "affine", "penalty": 1e-12, "step": 0.3}
    chain = ["first", "second"]
    found = rule_signals(
        linear, chain, linear_bank, batch, "difference_target_propagation", **options
    )
    torch.testing.assert_close(found["second"], 0.3 * output)
    torch.testing.assert_close(found["first"], 0.3 * output @ matrix, rtol=1e-5, atol=1e-6)
    target = rule_signals(linear, chain, linear_bank, batch, "target_activity", **options)
    torch.testing.assert_close(target["first"], hidden - found["first"])
    # Without the correction what the inverse misses of h itself stays in the signal.
    plain = rule_signals(
        linear,
        chain,
        linear_bank,
        batch,
        "difference_target_propagation",
        correction=False,
        **options,
    )
    missed = hidden - mean_hidden - (output - mean_output) @ matrix
    torch.testing.assert_close(plain["first"], missed + 0.3 * output @ matrix, rtol=1e-5, atol=1e-6)


def test_an_inverse_of_white_inputs_gives_the_gauss_newton_target(wrap, batch, tools):
    # h = W1 x with orthonormal rows of W1 and white x is white: V = W2' (W2 W2')^-1, the
    # pseudo-inverse that Gauss-Newton without damping applies (Meulemans et al. 2020).
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = wrap(TwoLinearLayers(3 * SIZE**2))
    rows = torch.linalg.qr(torch.randn(3 * SIZE**2, 7, dtype=torch.float64))[0].T
    model.module.first.weight.data.copy_(rows)
    images = tools["batch"](3000, 2, "calibration")
    bank = CalibrationBank(model, lambda: iter([images]))
    chain = ["first", "second"]
    options = {"inverse": "affine", "penalty": 1e-12}
    found = rule_signals(model, chain, bank, batch, "difference_target_propagation", **options)
    exact = rule_signals(
        model, ["first"], bank, batch, "gauss_newton_target", iterations=4, damping=0.0
    )
    # White but for the chance of 2,400 images: a correlation of 1 / sqrt(2400) at most matters.
    assert cosines(found["first"], exact["first"]).min() > 0.99


@pytest.mark.parametrize(("inverse", "fixed"), [("affine", True), ("fitted", False)])
def test_only_nonlinear_inverses_depend_on_the_image(inverse, fixed, tiny_model, bank, batch):
    # The change of the second layer of one image, carried down at the activities of another.
    signal = signal_of("difference_target_propagation", inverse=inverse, hidden=20)
    extractor = extractor_of(tiny_model, ["first", "second"], bank, signal)
    rule = extractor.sources[1].rule
    tape = extractor.recorder.record(batch, ("features",), graph=False)
    inverses = rule.targets.inverses(tape)
    values = list(tape.layers.values())
    change = 0.5 * values[1].roll(1, 0)
    here, there = (
        changes_below(given, inverses, change, corrected=True)[0]
        for given in (values, [one.roll(1, 0) for one in values])
    )
    assert torch.allclose(here, there) == fixed
    assert float(here.abs().max()) > 0


def test_targets_move_the_last_layer_by_the_step_and_downhill(tiny_model, bank, batch):
    chain = ["first", "second"]
    gradient = rule_signals(tiny_model, chain, bank, batch, "backprop")["second"]
    found = rule_signals(tiny_model, chain, bank, batch, "difference_target_propagation", step=0.2)[
        "second"
    ]
    extractor = extractor_of(tiny_model, chain, bank)
    activity = taken(extractor, batch, "activation").layers["second"]
    torch.testing.assert_close(found.flatten(1).norm(dim=1), 0.2 * activity.flatten(1).norm(dim=1))
    torch.testing.assert_close(cosines(found, gradient), torch.ones(len(batch)).double())


# --- backpropagation by another way -------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"]
)
def test_feedback_through_the_weights_themselves_is_backprop_bit_for_bit(architecture, tools):
    model, layers = pretrained_like(architecture)
    batch, bank = images_of(model, tools), bank_of(model, tools)
    sham = signal_of("feedback_alignment", name="sham", feedback="transpose")
    random = signal_of("feedback_alignment", name="random")
    extractor = extractor_of(model, layers, bank, signal_of("backprop"), random, sham)
    found = {name: taken(extractor, batch, name).layers for name in ("backprop", "sham", "random")}
    alone = taken(
        extractor_of(model, layers, bank, signal_of("backprop")), batch, "backprop"
    ).layers
    for layer in layers:
        assert torch.equal(found["sham"][layer], found["backprop"][layer]), layer
        # The other weights leave no trace in backpropagation.
        assert torch.equal(alone[layer], found["backprop"][layer]), layer
    # Every matrix and kernel that the error passes is replaced.
    assert not torch.equal(found["random"][layers[0]], alone[layers[0]])
    replaced = extractor.sources[2].rule._weights
    own = dict(model.module.named_parameters())
    assert all(not torch.equal(replaced[name], own[name]) for name in replaced)
    assert {name.rpartition(".")[0] for name in replaced} >= {
        name
        for name, module in model.module.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and name.startswith(layers[1])
    }


def test_a_convolution_is_sent_back_through_its_random_kernel(tiny_model, bank, batch):
    extractor = extractor_of(tiny_model, ["first", "second"], bank, signal_of("feedback_alignment"))
    found = taken(extractor, batch, "feedback_alignment").layers
    kernel = extractor.sources[1].rule._weights["second.weight"]
    first = tiny_model.module.first(tiny_model.normalise(batch.raw)).requires_grad_()
    (slope,) = torch.autograd.grad(functional.gelu(first).sum(), first)
    arrived = functional.conv_transpose2d(
        found["second"], kernel, stride=2, padding=1, output_padding=1
    )
    torch.testing.assert_close(found["first"], arrived * slope)


def test_seeds_of_feedback_are_other_weights(tiny_model, bank, batch):
    found = [
        rule_signals(tiny_model, ["first"], bank, batch, rule, seed=seed)["first"]
        for rule in ("feedback_alignment", "direct_feedback_alignment")
        for seed in (0, 0, 1)
    ]
    for same, again, other in (found[:3], found[3:]):
        assert torch.equal(same, again)
        assert cosines(same, other).abs().max() < 0.9


def test_a_network_that_computes_its_weights_is_refused_by_name(wrap, tools):
    from torch.nn.utils import parametrizations

    network = TwoLinearLayers(3 * SIZE**2)
    parametrizations.weight_norm(network.second)
    model = wrap(network)
    for rule in ("feedback_alignment", "sign_symmetry"):
        with pytest.raises(SignalError, match=rf"rule {rule!r} cannot be had for model .*second"):
            extractor_of(model, ["first"], None, signal_of(rule))


def test_the_error_of_a_neuron_is_its_gradient_times_its_slope(tools):
    model, layers = pretrained_like("test_resnet")
    batch = images_of(model, tools)
    found = rule_signals(model, layers, bank_of(model, tools), batch, "backprop_error")
    gradient = rule_signals(model, layers, bank_of(model, tools), batch, "backprop")
    extractor = extractor_of(model, layers, None)
    activation = taken(extractor, batch, "activation").layers
    for layer in layers:  # residual blocks end in a rectifier
        assert torch.equal(found[layer], gradient[layer] * (activation[layer] > 0)), layer
    assert not torch.equal(found[layers[0]], gradient[layers[0]])


def test_without_a_nonlinearity_the_error_is_the_gradient(tiny_model, bank, batch):
    found = rule_signals(tiny_model, ["first", "second"], bank, batch, "backprop_error")
    gradient = rule_signals(tiny_model, ["first", "second"], bank, batch, "backprop")
    for layer in found:
        assert torch.equal(found[layer], gradient[layer])


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_one_step_of_conjugate_gradients_is_backprops_direction(architecture, tools):
    model, layers = pretrained_like(architecture)
    batch, bank = images_of(model, tools), bank_of(model, tools)
    gradient = rule_signals(model, layers, bank, batch, "backprop")
    cosine = []
    for iterations in (1, 2, 6):
        signal = signal_of("gauss_newton_target", iterations=iterations)
        found = taken(extractor_of(model, layers[:2], bank, signal), batch, signal.name)
        cosine.append(cosines(found.layers[layers[0]], gradient[layers[0]]).mean())
    assert float(cosine[0]) > 1 - 1e-5
    assert cosine[0] > cosine[1] > cosine[2]


def test_gauss_newton_of_a_network_is_the_pseudo_inverse_of_its_jacobian(tiny_model, bank, batch):
    signal = signal_of("gauss_newton_target", iterations=12, damping=0.0)
    found = taken(extractor_of(tiny_model, ["first"], bank, signal), batch, signal.name)
    network = tiny_model.module
    for row in range(len(batch)):
        image = tiny_model.normalise(batch.raw[row : row + 1])
        hidden = network.first(image)
        jacobian = torch.autograd.functional.jacobian(network.rest_after_first, hidden)
        jacobian = jacobian.reshape(6, -1)
        error = network.rest_after_first(hidden)[0]
        expected = torch.linalg.pinv(jacobian, rtol=1e-12) @ error
        torch.testing.assert_close(
            found.layers["first"][row].flatten(), expected, rtol=1e-5, atol=1e-8
        )


def test_the_residual_is_that_of_the_system_and_falls(tiny_model, bank, batch):
    residuals = []
    for iterations in (1, 2, 4, 8):
        signal = signal_of("gauss_newton_target", iterations=iterations)
        found = taken(extractor_of(tiny_model, ["first"], bank, signal), batch, signal.name)
        residuals.append(float(found.residual["first"].max()))
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[0] > 1e-3 and residuals[-1] < 1e-6


def test_conjugate_gradients_solve_each_image_by_its_own_system():
    random = np.random.default_rng(0)
    factors = torch.from_numpy(random.standard_normal((3, 5, 5)))
    systems = factors @ factors.mT + 0.1 * torch.eye(5)
    right = torch.from_numpy(random.standard_normal((3, 5)))
    right[1] = 0
    found, residual = conjugate_gradients(
        lambda x: torch.einsum("bij,bj->bi", systems, x), right, iterations=40
    )
    torch.testing.assert_close(found, torch.linalg.solve(systems, right))
    assert float(residual.max()) < 1e-12 and float(residual[1]) == 0


def test_a_small_nudge_settles_on_backprop(tiny_model, bank, batch):
    # To first order predictions are fixed at their feedforward values, and errors are gradients.
    chain = ["first", "second"]
    gradient = rule_signals(tiny_model, chain, bank, batch, "backprop")
    cosine = []
    for nudge in (30.0, 1e-4):
        found = rule_signals(
            tiny_model, chain, bank, batch, "predictive_coding_inference", steps=300, nudge=nudge
        )
        cosine.append(float(cosines(found["first"], gradient["first"]).min()))
    assert cosine[1] > 1 - 1e-6
    assert cosine[0] < 1 - 1e-4


def test_errors_start_where_predictions_are_fixed_and_settle_from_there(tiny_model, bank, batch):
    chain = ["first", "second"]
    gradient = rule_signals(tiny_model, chain, bank, batch, "backprop")
    left = []
    for steps in (1, 30, 300):
        signal = signal_of("predictive_coding_inference", steps=steps, rate=1e-2, nudge=5.0)
        found = taken(extractor_of(tiny_model, chain, bank, signal), batch, signal.name)
        left.append(float(found.residual["first"].max()))
        if steps == 1:
            for layer in chain:
                assert cosines(found.layers[layer], gradient[layer]).min() > 0.9
    assert left == sorted(left, reverse=True) and left[-1] < 0.3 * left[0]


def test_node_perturbation_converges_to_backprop_as_one_over_the_root_of_draws(
    tiny_model, bank, batch
):
    gradient = rule_signals(tiny_model, ["first"], bank, batch, "backprop")["first"].flatten(1)
    width = gradient.shape[1]
    for draws in (64, 1024, 16384):
        found = rule_signals(
            tiny_model, ["first"], bank, batch, "node_perturbation", n_draws=draws
        )["first"].flatten(1)
        error = ((found - gradient).norm(dim=1) / gradient.norm(dim=1)).square().mean().sqrt()
        # In expectation (n - 1) / K; six images leave a few per cent of chance.
        assert float(error) == pytest.approx(math.sqrt((width - 1) / draws), rel=0.15)


def test_directions_are_an_images_own_and_another_draw_is_independent(tiny_model, bank, batch):
    signal = signal_of("node_perturbation", n_draws=3)
    extractor = extractor_of(tiny_model, ["first"], bank, signal)
    rule = extractor.sources[1].rule
    gradient = torch.ones(3, 700, dtype=torch.float64)
    estimates = [rule._estimate(gradient, image, "first") for image in ("a", "a", "b")]
    assert torch.equal(estimates[0], estimates[1])
    assert not torch.equal(estimates[0], estimates[2])


# --- the fitted models ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "block"), [(8, 8, (2, 2)), (7, 5, (2, 3)), (4, 4, (1, 1))]
)
def test_blocks_of_positions_are_gathered_and_spread_again(rows, columns, block):
    below = torch.from_numpy(np.random.default_rng(0).standard_normal((2, rows, columns, 3)))
    above = (-(-rows // block[0]), -(-columns // block[1]))
    folded = fold_blocks(below, block, *above)
    assert folded.shape == (2, *above, block[0] * block[1] * 3)
    torch.testing.assert_close(folded[0, 0, 0, :3], below[0, 0, 0])
    assert torch.equal(unfold_blocks(folded, block, rows, columns), below)


def test_a_generative_model_predicts_images_that_it_has_not_seen(tiny_model, tools, batch):
    images = tools["batch"](40, 2, "calibration")
    bank = CalibrationBank(
        tiny_model, lambda: iter([images.part(slice(0, 13)), images.part(slice(13, None))])
    )
    signal = signal_of("predictive_coding_generative", None)
    extractor = extractor_of(tiny_model, ["first", "second"], bank, signal)
    errors = taken(extractor, batch, signal.name).layers["first"]
    layer = tiny_model.module.first(tiny_model.normalise(batch.raw))
    centred = layer - layer.mean((0, 2, 3), keepdim=True)
    share = float(1 - errors.square().sum() / centred.square().sum())
    stated = float(extractor.sources[1].rule.fitted["first"]["r2_held_out"])
    assert share > 0.05
    assert share == pytest.approx(stated, abs=0.05)


def test_the_fit_of_a_vit_l_holds_less_than_half_a_gigabyte():
    # 24 layers of 1,024 channels, all models at once.
    assert 23 * fit_bytes(1024, 1024, 1, 64) < 512 * 2**20


# --- what all rules keep to ----------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", ["tiny_model", "transformer"])
def test_the_signal_of_an_image_depends_on_no_other(rule, network, tools, batch, request):
    model = request.getfixturevalue(network)
    layers = ["first", "second"] if network == "tiny_model" else ["blocks.0", "blocks.1"]
    images = tools["batch"](12, 2, "calibration")
    bank = CalibrationBank(model, lambda: iter([images]))
    options = dict(RULES[rule])
    signal = signal_of(rule, options.pop("objective", "feature_norm"), **options)
    extractor = extractor_of(model, layers, bank, signal)
    together = taken(extractor, batch, rule).layers
    for layer in layers:
        assert torch.isfinite(together[layer]).all()
        assert float(together[layer].abs().max()) > 0
    for row in (0, 4):
        alone = taken(extractor, batch.part(slice(row, row + 1)), rule).layers
        for layer in layers:
            torch.testing.assert_close(alone[layer][0], together[layer][row], rtol=1e-6, atol=1e-12)


def test_the_cosine_with_backprop_and_the_residual_stand_beside_signals(tiny_model, bank, batch):
    signals = (
        signal_of("feedback_alignment", "feature_norm", normalise=None),
        signal_of("gauss_newton_target", "entropy", iterations=2, normalise=None),
        signal_of("backprop", "feature_norm", normalise=None),
        signal_of("hebbian", None, normalise=None),
    )
    extractor = extractor_of(
        tiny_model, ["first", "second"], bank, *signals, pooling=Pooling(kind="grid", size=2)
    )
    assert extractor.diagnostics == ("cosine_with_backprop", "residual")
    for found in extractor.take(batch).values():
        cosine = found.diagnostics["cosine_with_backprop"]
        # Unit vectors: their product is the cosine; the first draw of rounding is float32.
        for place, name in ((1, "feedback_alignment"), (4, "hebbian")):
            product = (found.features[name] * found.features["backprop"]).sum(1)
            np.testing.assert_allclose(cosine[:, place], product, atol=1e-6)
        # None for backprop itself, activations, and an objective whose gradient is not in the set.
        assert np.isnan(cosine[:, [0, 2, 3]]).all()
        residual = found.diagnostics["residual"]
        assert np.isfinite(residual[:, 2]).all() and np.isnan(residual[:, [0, 1, 3, 4]]).all()


def test_sets_of_backpropagation_alone_have_nothing_beside_signals(tiny_model, bank, batch):
    extractor = extractor_of(tiny_model, ["first"], bank, signal_of("backprop"))
    assert extractor.diagnostics == ()
    assert extractor.take(batch)["first"].diagnostics == {}


def test_a_signal_may_be_scaled_otherwise_than_its_set(tiny_model, bank, batch):
    own = signal_of("backprop", name="own")
    as_set = signal_of("backprop", name="as_set", normalise=None)
    found = extractor_of(tiny_model, ["first"], bank, own, as_set).take(batch)["first"]
    lengths = {name: np.linalg.norm(found.features[name], axis=1) for name in ("own", "as_set")}
    np.testing.assert_allclose(lengths["own"], found.magnitude[:, 1], rtol=1e-5)
    np.testing.assert_allclose(lengths["as_set"], 1, rtol=1e-5)
