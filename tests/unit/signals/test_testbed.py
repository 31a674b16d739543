"""The testbed: an autoencoder that each learning rule trains, and its signals afterwards."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from trees.learning_rules import extractor_of, signal_of, taken

from gradbrain.config.schema import ModelEntry, Weights
from gradbrain.models.autoencoder import ARCHITECTURES, Autoencoder
from gradbrain.models.build import build_model
from gradbrain.models.errors import ModelError, WeightsError
from gradbrain.models.sources.testbed import Options
from gradbrain.objectives.base import ImageBatch
from gradbrain.signals import SignalError
from gradbrain.signals.target_propagation import changes_below
from gradbrain.signals.testbed_job import TrainingJob, first_network, run_training, said
from gradbrain.signals.testbed_rules import kernels, learning_rule
from gradbrain.signals.testbed_training import TrainingImages, angle, measure, split_images, train
from gradbrain.store import open_tree, read_table, remove_store

RULES = ("backprop", "feedback_alignment", "kolen_pollack", "difference_target_propagation")
SIZE = 16
FEW = {"steps": 6, "measurements": 2, "batch_size": 4}


def smooth(n_images: int, seed: int, size: int = SIZE) -> torch.Tensor:
    coarse = torch.from_numpy(np.random.default_rng(seed).standard_normal((n_images, 3, 4, 4)))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").float()


def network_of(seed: int = 0, architecture: str = "test_autoencoder") -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(ARCHITECTURES[architecture], SIZE)


IMAGES = TrainingImages(smooth(12, 0), smooth(5, 1))


def trained(rule: str, **options) -> tuple:
    network = network_of()
    settings = Options(learning_rule=rule, **{**FEW, **options})
    return network, settings, *train(network, IMAGES, settings)


# --- how rules teach -----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_learns_to_give_images_back(rule):
    *_, rows = trained(rule, steps=150)
    first, last = rows["r2"].iloc[0], rows["r2"].iloc[-1]
    assert last > first + 0.1 and last > 0.1


def test_backprop_teaches_the_gradient_of_the_loss():
    network = network_of()
    rule = learning_rule(network, Options(learning_rule="backprop"))
    rule.teach(IMAGES.learnt, torch.Generator())
    found = {name: one.grad.clone() for name, one in network.named_parameters()}
    network.zero_grad()
    output = network.forward_features(IMAGES.learnt)
    (0.5 * (output - IMAGES.learnt).square().flatten(1).sum(1)).mean().backward()
    for name, one in network.named_parameters():
        assert torch.equal(found[name], one.grad), name
    angles = [row["angle"] for row in measure(network, rule, IMAGES.held_out)]
    assert max(angles) < 0.1


def test_feedback_alignment_sends_errors_through_its_own_kernels():
    network = network_of()
    rule = learning_rule(network, Options(learning_rule="feedback_alignment", seed=3))
    before = {name: weight.clone() for name, weight in rule.feedback.items()}
    values = network.activities(IMAGES.learnt)
    error = (values[-1] - IMAGES.learnt).detach()
    signals = rule.signals(IMAGES.learnt, error, "")
    # By hand: the decoder's last kernel goes up, so that its way back is a convolution.
    expected = torch.nn.functional.conv2d(
        error, rule.feedback["decoder.1.kernel.weight"], stride=2, padding=1
    )
    torch.testing.assert_close(signals[-2], expected)
    train(network, IMAGES, Options(learning_rule="feedback_alignment", **FEW))
    assert all(torch.equal(before[name], rule.feedback[name]) for name in before)


def test_weights_and_feedback_of_kolen_pollack_converge_by_their_decay_alone():
    # Both get the same change and the same decay: W - B shrinks by 1 - rate * decay in each step.
    options = Options(learning_rule="kolen_pollack", rate=0.01, decay=5.0, **{**FEW, "steps": 40})
    network = network_of()
    at_first = learning_rule(network, options).feedback
    start = {name: weight.detach() - at_first[name] for name, weight in kernels(network).items()}
    rule, rows = train(network, IMAGES, options)
    rates = [0.01 * (1 + math.cos(math.pi * step / 40)) / 2 for step in range(40)]
    left = math.prod(1 - 5.0 * rate for rate in rates)
    assert left < 0.4
    for name, weight in kernels(network).items():
        difference = weight.detach() - rule.feedback[name]
        torch.testing.assert_close(difference, left * start[name], rtol=1e-3, atol=1e-6)
    angles = rows.pivot_table(index="layer", columns="step", values="weight_angle")
    assert (angles[40] < angles[0] - 10).all()


def test_exact_inverses_carry_targets_back_with_or_without_correction():
    # a_2 = W a_1 and g = W^-1: the change of a_1 is W^-1 that of a_2, by either formula.
    random = np.random.default_rng(0)
    weights = [torch.from_numpy(random.standard_normal((4, 4))) for _ in range(2)]
    values = [torch.from_numpy(random.standard_normal((3, 4)))]
    for weight in weights:
        values.append(values[-1] @ weight.T)
    inverses = [lambda v, w=weight: v @ torch.linalg.inv(w).T for weight in weights]
    change = torch.from_numpy(random.standard_normal((3, 4)))
    expected = change @ torch.linalg.inv(weights[1]).T @ torch.linalg.inv(weights[0]).T
    for corrected in (True, False):
        found = changes_below(values, inverses, change, corrected=corrected)
        torch.testing.assert_close(found[0], expected)
        assert found[-1] is change


def test_targets_teach_each_layer_by_what_is_local_to_it():
    network = network_of()
    rule = learning_rule(network, Options(learning_rule="difference_target_propagation", noise=0.0))
    values = [IMAGES.learnt, *(one.detach() for one in network.activities(IMAGES.learnt))]
    changes = rule.signals(IMAGES.learnt, values[-1] - IMAGES.learnt, "corrected")
    rule.teach(IMAGES.learnt, torch.Generator())
    # The first layer leads back from the last one, to the one below that: it learns the gradient of
    # |f(x) - t|^2 / 2, and that of what its way back misses.
    first = network.encoder[0]
    found = first.kernel.weight.grad.clone()
    network.zero_grad()
    towards = 0.5 * (first(values[0]) - (values[1] - changes[0])).square().flatten(1).sum(1).mean()
    above = network.decoder[1](values[-2]).detach()
    undone = 0.5 * (first(above) - values[-2]).square().flatten(1).sum(1).mean()
    (towards + undone).backward()
    torch.testing.assert_close(found, first.kernel.weight.grad)


def test_the_correction_brings_targets_nearer_to_the_gradient():
    *_, rows = trained("difference_target_propagation", steps=200)
    end = rows[(rows["step"] == 200) & (rows["layer"] != "decoder.1")]
    angles = end.groupby("correction")["angle"].mean()
    assert angles["corrected"] < 80 < angles["uncorrected"]
    # Unlike the fixed matrix of affine inverses, these turn with the image.
    turns = end[end["correction"] == "corrected"]["turn"]
    assert (turns > 1).all()


# --- what is measured -----------------------------------------------------------------------------


def test_angles_are_means_over_images():
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    second = torch.tensor([[0.0, 2.0], [3.0, 0.0], [1.0, 1.0]])
    assert angle(first, second) == pytest.approx(45)
    assert math.isnan(angle(first[2:], second[2:]))


def test_whole_photographs_are_held_out():
    images = smooth(40, 2)
    groups = np.repeat([f"photograph{index}" for index in range(8)], 5)
    found = split_images(images, groups)
    assert len(found.learnt) == 35 and len(found.held_out) == 5
    held_out = {tuple(one.flatten()[:5].tolist()) for one in found.held_out}
    owners = {
        group
        for image, group in zip(images, groups, strict=True)
        if tuple(image.flatten()[:5].tolist()) in held_out
    }
    assert len(owners) == 1
    with pytest.raises(SignalError, match=r"1 group\(s\) \(a\), expected at least two"):
        split_images(images[:3], np.array(["a"] * 3))


# --- the job, and the network that it gives ------------------------------------------------------


@pytest.fixture
def job(tools, tmp_path):
    """Training of the smallest autoencoder on twelve photographs."""
    table = tools["stimuli"](tmp_path, "photographs", 12, 0)

    def job(rule="backprop", name="tiny", folder="results/trained", **options) -> TrainingJob:
        entry = ModelEntry(
            name=name,
            source="autoencoder",
            architecture="test_autoencoder",
            weights={"source": "testbed", "learning_rule": rule, **FEW, **options},
            input_size=SIZE,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        )
        home = tmp_path / folder
        return TrainingJob(entry, table, home / f"{name}.zarr", home / f"{name}.parquet", "c")

    return job


def test_training_is_repeated_exactly_and_not_without_need(job):
    one, other = job(), job(folder="again/results/trained")
    digest = run_training(one)
    assert run_training(other) == digest
    assert one.table.read_bytes() == other.table.read_bytes()
    assert run_training(one) is None
    # Half of what a job writes is not there: it is made again, the same.
    one.table.unlink()
    assert run_training(one) == digest
    remove_store(one.store)
    assert run_training(one) == digest
    assert run_training(dataclasses.replace(one, code_digest="d")) != digest
    assert run_training(job(name="other", seed=1)) != digest
    assert said(one.table).endswith("its signal 0° from the gradient (backprop)")
    rows = read_table(one.table, kind="training")
    assert set(rows["step"]) == {0, 6} and set(rows["learning_rule"]) == {"backprop"}
    assert list(dict.fromkeys(rows["layer"])) == [
        "encoder.0",
        "encoder.1",
        "decoder.0",
        "decoder.1",
    ]


def test_a_changed_entry_under_its_results_is_refused(job):
    run_training(job())
    with pytest.raises(SignalError, match=r"tiny\.zarr: was made from another definition.*weights"):
        run_training(job(rate=1e-4))


@pytest.mark.parametrize("rule", RULES)
def test_the_signal_that_taught_is_that_of_training(rule, job, tmp_path):
    training = job(rule)
    run_training(training)
    model = build_model(training.entry, data=tmp_path / "data")
    network = model.module
    tree = open_tree(training.store, kind="trained_network")
    assert network.learned_by == rule
    assert torch.equal(
        network.encoder[0].kernel.weight,
        torch.from_numpy(tree["weights"]["encoder.0.kernel.weight"].values),
    )
    raw = smooth(3, 4) * 0.1 + 0.5
    batch = ImageBatch(("a", "b", "c"), raw, torch.full((3,), -1), (None,) * 3)
    chain = list(network.layer_names)
    signal = signal_of("teaching_signal", "reconstruction")
    found = taken(extractor_of(model, chain, None, signal), batch, signal.name)
    # What the rule gave in training, set up again as it was there.
    own = first_network(training.entry, 0)
    options = Options(**training.entry.weights.options)
    again = learning_rule(own, options)
    own.load_state_dict({k: v for k, v in network.state_dict().items() if "feedback" not in k})
    for name, weight in network.feedback.items():
        again.feedback[name].copy_(weight)
    images = model.normalise(raw)
    output = own.forward_features(images).detach()
    expected = again.signals(images, output - images, again.variants[0])
    for name, wanted in zip(chain, expected, strict=True):
        torch.testing.assert_close(found.layers[name], wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        found.objective_value, 0.5 * (output - images).square().flatten(1).sum(1)
    )


def test_own_inverses_carry_targets_of_the_extracted_network(job, tmp_path):
    training = job("difference_target_propagation")
    run_training(training)
    model = build_model(training.entry, data=tmp_path / "data")
    raw = smooth(3, 4) * 0.1 + 0.5
    batch = ImageBatch(("a", "b", "c"), raw, torch.full((3,), -1), (None,) * 3)
    chain = list(model.module.layer_names)
    signals = (
        signal_of("difference_target_propagation", "reconstruction", inverse="own", name="change"),
        signal_of("target_activity", "reconstruction", inverse="own", name="target"),
        signal_of("teaching_signal", "reconstruction"),
    )
    extractor = extractor_of(model, chain, None, *signals)
    found = {name: taken(extractor, batch, name).layers for name in ("change", "target")}
    activity = taken(extractor, batch, "activation").layers
    for name in chain:
        torch.testing.assert_close(found["target"][name], activity[name] - found["change"][name])
    below = model.module.inverse_of("decoder.0")
    above = activity["decoder.0"]
    expected = below(above) - below(above - found["change"]["decoder.0"])
    torch.testing.assert_close(found["change"]["encoder.1"], expected)


def test_weights_of_another_rule_are_refused(job, tmp_path):
    training = job("backprop")
    run_training(training)
    weights = {"source": "testbed", "learning_rule": "kolen_pollack", **FEW}
    entry = training.entry.model_copy(update={"weights": Weights(**weights)})
    with pytest.raises(WeightsError, match="was trained by backprop, the entry says kolen_pollack"):
        build_model(entry, data=tmp_path / "data")


def test_a_network_that_is_not_trained_yet_names_the_command(job, tmp_path):
    with pytest.raises(Exception, match=r"results/trained/tiny\.zarr.*snakemake"):
        build_model(job().entry, data=tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"architecture": "resnet18"}, "architecture: of autoencoders there are autoencoder_3"),
        ({"input_size": 18}, "input_size: test_autoencoder halves its input 2 times"),
        ({"kwargs": {"depth": 3}}, "kwargs: autoencoders take none"),
    ],
)
def test_autoencoders_that_cannot_be_built_are_refused(change, expected, job):
    entry = job().entry.model_copy(update={**change, "weights": Weights(source="random")})
    with pytest.raises(ModelError, match=expected):
        build_model(entry)


def test_the_inverse_of_every_layer_leads_back_to_the_one_below():
    network = network_of(architecture="autoencoder_3")
    values = [smooth(2, 0, 32), *network.activities(smooth(2, 0, 32))]
    for place, name in enumerate(network.layer_names):
        assert network.inverse_of(name)(values[place + 1]).shape == values[place].shape
