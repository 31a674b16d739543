"""Objectives: one scalar per image, exact derivatives, no look at the rest of the batch."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from trees.text_towers import write_clip

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS, PluginUse
from gradbrain.config.schema import TextTower
from gradbrain.models.autoencoder import Autoencoder
from gradbrain.models.build import VisionModel
from gradbrain.objectives import ObjectiveError, build_objective
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.objectives.dino import Options as DinoOptions
from gradbrain.objectives.softmax_cross_entropy import softmax_cross_entropy
from gradbrain.objectives.standardise import fit_standardisation
from gradbrain.objectives.views import augmented_view, drawn_parameters


@pytest.fixture(scope="module")
def text_data(tmp_path_factory):
    """Folder with a text tower as wide as the logits of the tiny network."""
    data = tmp_path_factory.mktemp("data")
    write_clip(data / "weights" / "tiny-clip", width=5)
    return data


@pytest.fixture
def tiny_model(request, tiny_model, wrap, text_data) -> VisionModel:
    """The tiny network, with captions; an autoencoder for the objective that needs a decoder."""
    if getattr(request.node, "callspec", None) and "reconstruction" in request.node.callspec.id:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return wrap(Autoencoder((4, 6), tiny_model.entry.input_size))
    tower = TextTower(repository="nobody/tiny-clip", kind="clip")
    entry = tiny_model.entry.model_copy(update={"text_tower": tower})
    return dataclasses.replace(tiny_model, entry=entry, data=text_data)


OPTIONS = {"shuffled_cotangent": {"objective": "dino"}}
NAMES = LIBRARY_PLUGINS.names("objectives")


def load(name, model, options, bank, seed=0):
    use = LIBRARY_PLUGINS.resolve(PluginUse("objectives", name, options), where="test")
    return build_objective(use, model, bank, seed=seed)


def build(name, model, bank, **options):
    chosen = {**OPTIONS.get(name, {}), **options}
    return load(name, model, chosen, bank, seed=4)


def output_of(model: VisionModel, objective, batch: ImageBatch) -> torch.Tensor:
    return model.outputs(batch.raw, (objective.output,))[objective.output]


def test_the_objectives_of_the_design_are_there():
    assert set(NAMES) == {
        "contrastive",
        "cross_entropy",
        "dino",
        "entropy",
        "feature_norm",
        "fixed_cotangent",
        "image_text",
        "masked_feature",
        "reconstruction",
        "shuffled_cotangent",
        "view_consistency",
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_equals_finite_differences(name, tiny_model, bank, batch):
    objective = build(name, tiny_model, bank)
    output = output_of(tiny_model, objective, batch).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: objective.loss(values, batch), (output,))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_one_finite_scalar_that_no_other_image_changes(name, tiny_model, bank, batch):
    objective = build(name, tiny_model, bank)
    together = objective.loss(output_of(tiny_model, objective, batch), batch)
    assert together.shape == (len(batch),)
    assert torch.isfinite(together).all()

    @settings(
        max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.permutations(range(len(batch))), st.integers(1, len(batch)))
    def same_in_any_company(order, count):
        chosen = torch.tensor(order[:count])
        names = tuple(batch.image_ids[index] for index in order[:count])
        captions = tuple(batch.captions[index] for index in order[:count])
        part = ImageBatch(names, batch.raw[chosen], batch.labels[chosen], captions)
        alone = objective.loss(output_of(tiny_model, objective, part), part)
        # float64: only the order of additions inside a matrix product may differ.
        torch.testing.assert_close(alone, together[chosen], rtol=1e-10, atol=1e-12)

    same_in_any_company()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_scalar(name, tiny_model, bank, batch):
    first = build(name, tiny_model, bank)
    bank.built.clear()
    torch.manual_seed(1234)
    second = build(name, tiny_model, bank)
    values = [o.loss(output_of(tiny_model, o, batch), batch) for o in (first, second)]
    assert torch.equal(*values)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_what_it_stands_for_and_what_not(name):
    module = __import__(f"gradbrain.objectives.{name}", fromlist=["Objective"])
    text = " ".join((module.__doc__ or "").split())
    assert "What it stands for:" in text
    assert "What it does not:" in text
    assert "Source" in text
    assert ".. math::" in text


def test_an_objective_is_fitted_once_per_calibration_bank(tiny_model, bank):
    shuffled = build("shuffled_cotangent", tiny_model, bank)
    assert build("dino", tiny_model, bank) is build("dino", tiny_model, bank)
    assert shuffled is build("shuffled_cotangent", tiny_model, bank)


def gradients_of(model, objective, batch):
    leaf = output_of(model, objective, batch).detach().requires_grad_()
    return torch.autograd.grad(objective.loss(leaf, batch).sum(), leaf)[0]


def test_a_shuffled_cotangent_is_a_mean_over_draws_of_the_views_of_donors(tiny_model, bank):
    views = {"views": {"n_views": 2}}
    chosen = {"objective": "dino", "options": views, "n_donors": 4}
    shuffled = load("shuffled_cotangent", tiny_model, chosen, bank, seed=4)
    inner = load("dino", tiny_model, views, bank, seed=4)
    # Of ten images in batches of seven and three, every third, at most four; so three draws.
    whole = list(bank.batches())
    donors = [whole[0].part(slice(place, place + 1)) for place in (0, 3, 6)]
    donors.append(whole[1].part(slice(2, 3)))
    expected = [
        torch.stack([gradients_of(tiny_model, inner.redrawn(k), donor) for k in range(3)]).mean(0)
        for donor in donors
    ]
    found = shuffled.state["gradients"]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-10, atol=1e-12)
    # Draws differ, and another replicate of the signal shares none of them.
    assert not torch.allclose(gradients_of(tiny_model, inner.redrawn(1), donors[0]), found[:1])
    use = LIBRARY_PLUGINS.resolve(PluginUse("objectives", "shuffled_cotangent", chosen), where="t")
    again = build_objective(
        use, tiny_model, CalibrationBank(tiny_model, bank.batches), seed=4, replicate=1
    )
    other = torch.stack(
        [gradients_of(tiny_model, again.inner[0].redrawn(k), donors[0]) for k in (3, 4, 5)]
    )
    torch.testing.assert_close(again.state["gradients"][:1], other.mean(0), rtol=1e-10, atol=1e-12)


def test_every_calibration_image_is_a_donor_where_nothing_is_drawn(tiny_model, bank):
    shuffled = load("shuffled_cotangent", tiny_model, {"objective": "entropy", "n_donors": 4}, bank)
    assert len(shuffled.state["gradients"]) == 10
    inner = load("entropy", tiny_model, {}, bank)
    expected = torch.cat([gradients_of(tiny_model, inner, images) for images in bank.batches()])
    torch.testing.assert_close(shuffled.state["gradients"], expected, rtol=1e-10, atol=1e-12)


def test_an_unknown_objective_lists_those_there_are(tiny_model, bank):
    with pytest.raises(GradbrainError, match=r"no objective 'dyno'. Did you mean 'dino'\? .*dino"):
        load("dyno", tiny_model, {}, bank)


def test_an_unknown_option_is_named(tiny_model, bank):
    with pytest.raises(GradbrainError) as caught:
        load("dino", tiny_model, {"temperture": 1}, bank)
    for part in ("objective 'dino'", "temperture", "student_temperature", "views", "head"):
        assert part in str(caught.value)


def test_calibration_images_are_asked_for(tiny_model):
    with pytest.raises(ObjectiveError, match="needs calibration images"):
        load("dino", tiny_model, {}, None)


def test_modules_inside_others_are_named():
    use = PluginUse("objectives", "shuffled_cotangent", {"objective": "dino"})
    found = LIBRARY_PLUGINS.resolve(use, where="test").plugins
    assert [plugin.module for plugin in found] == [
        "gradbrain.objectives.shuffled_cotangent",
        "gradbrain.objectives.dino",
    ]


def test_cross_entropy_takes_labels_it_knows_and_predictions_otherwise(tiny_model, bank, batch):
    labels = torch.tensor([0, 4, 5, -1, 2, 99])
    labelled = ImageBatch(batch.image_ids, batch.raw, labels, batch.captions)
    objective = build("cross_entropy", tiny_model, bank)
    logits = output_of(tiny_model, objective, labelled)
    targets = torch.where((labels >= 0) & (labels < 5), labels, logits.argmax(1))
    expected = -logits.log_softmax(1)[torch.arange(6), targets]
    torch.testing.assert_close(objective.loss(logits, labelled), expected)
    blind = build("cross_entropy", tiny_model, bank, target="prediction")
    assert (blind.loss(logits, labelled) <= math.log(5)).all()


def test_entropy_of_equal_logits_is_that_of_a_fair_die(tiny_model, bank, batch):
    objective = build("entropy", tiny_model, bank)
    values = objective.loss(torch.zeros(6, 5, dtype=torch.float64), batch)
    torch.testing.assert_close(values, torch.full((6,), math.log(5), dtype=torch.float64))


def test_the_cotangent_of_feature_norm_is_the_output_itself(tiny_model, bank, batch):
    objective = build("feature_norm", tiny_model, bank)
    output = output_of(tiny_model, objective, batch).requires_grad_()
    (gradient,) = torch.autograd.grad(objective.loss(output, batch).sum(), output)
    assert torch.equal(gradient, output.detach())


def test_a_fixed_cotangent_is_the_same_for_every_image(tiny_model, bank, batch):
    objective = build("fixed_cotangent", tiny_model, bank)
    output = output_of(tiny_model, objective, batch).requires_grad_()
    (gradient,) = torch.autograd.grad(objective.loss(output, batch).sum(), output)
    assert (gradient == gradient[0]).all()
    assert load("fixed_cotangent", tiny_model, {"output": "logits"}, bank).output == "logits"


def test_a_shuffled_cotangent_is_the_gradient_of_a_calibration_image(tiny_model, bank, batch):
    shuffled = build("shuffled_cotangent", tiny_model, bank)
    output = output_of(tiny_model, shuffled, batch).requires_grad_()
    (found,) = torch.autograd.grad(shuffled.loss(output, batch).sum(), output)
    dino, possible = build("dino", tiny_model, bank), []
    for images in bank.batches():
        leaf = output_of(tiny_model, dino, images).requires_grad_()
        possible.append(torch.autograd.grad(dino.loss(leaf, images).sum(), leaf)[0])
    distance = torch.cdist(found, torch.cat(possible)).min(dim=1).values
    assert (distance < 1e-12).all()


def test_shuffling_follows_the_objectives_own_output(tiny_model, bank):
    objective = build("shuffled_cotangent", tiny_model, bank, objective="cross_entropy")
    assert objective.output == "logits"
    with pytest.raises(GradbrainError, match="cannot shuffle itself"):
        build("shuffled_cotangent", tiny_model, bank, objective="shuffled_cotangent")


def test_view_consistency_vanishes_where_the_view_is_the_image(tiny_model, bank, batch):
    same = {
        "min_area": 1.0,
        "max_log_aspect": 0.0,
        "flip": 0.0,
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "greyscale": 0.0,
    }
    objective = build("view_consistency", tiny_model, bank, views=same)
    values = objective.loss(output_of(tiny_model, objective, batch), batch)
    torch.testing.assert_close(values, torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)


def test_dino_is_the_cross_entropy_of_student_and_teacher(tiny_model, bank, batch):
    objective = build("dino", tiny_model, bank)
    scale, options = fit_standardisation(bank), objective.options.views

    def codes(images):
        drawn = drawn_parameters(images, seed=4, options=options)
        views = [augmented_view(images.raw, drawn[:, v]) for v in range(options.n_views)]
        return torch.stack([scale.apply(tiny_model.outputs(v)["features"]) for v in views], 1)

    centre = torch.cat([codes(images) for images in bank.batches()]).mean((0, 1))
    teacher = ((codes(batch) - centre) / 0.4).softmax(-1).mean(1)
    features = tiny_model.outputs(batch.raw)["features"]
    expected = -(teacher * scale.apply(features).log_softmax(-1)).sum(-1)
    torch.testing.assert_close(objective.loss(features, batch), expected)


def test_a_saturated_teacher_is_reported_and_warned_about(tiny_model, bank, caplog):
    calm = build("dino", tiny_model, bank).report()
    assert 0.05 < calm["teacher_entropy_share"] < 0.98
    sharp = build("dino", tiny_model, bank, teacher_temperature=1e-4).report()
    assert sharp["teacher_entropy_share"] < 0.05
    assert "saturated" in caplog.text


class PublishedHead(torch.nn.Module):
    """``DINOHead`` of facebookresearch/dino, small; its state has the names of a checkpoint."""

    def __init__(self, width: int, hidden: int = 7, bottleneck: int = 4, prototypes: int = 9):
        super().__init__()
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(width, hidden),
            torch.nn.GELU(),
            torch.nn.Linear(hidden, hidden),
            torch.nn.GELU(),
            torch.nn.Linear(hidden, bottleneck),
        )
        self.last_layer = torch.nn.utils.weight_norm(
            torch.nn.Linear(bottleneck, prototypes, bias=False)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.last_layer(torch.nn.functional.normalize(self.mlp(features), dim=-1))


@pytest.fixture
def published_head(tmp_path, monkeypatch):
    """A head with random weights, in a file as `torch.save` of a teacher would name its tensors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with torch.random.fork_rng(devices=[]), pytest.warns(FutureWarning, match="weight_norm"):
        torch.manual_seed(0)
        head = PublishedHead(6).double()
    state = {f"module.head.{name}": tensor for name, tensor in head.state_dict().items()}
    assert sorted(state)[0] == "module.head.last_layer.weight_g"
    save_file({"module.backbone.norm.weight": torch.ones(6), **state}, "data/head.safetensors")
    return head


def test_a_released_head_is_applied(tiny_model, bank, batch, published_head):
    objective = build("dino", tiny_model, bank, code="head", head="head.safetensors")
    features = tiny_model.outputs(batch.raw)["features"].requires_grad_()
    assert objective.report()["head"] == "head.safetensors"
    with torch.no_grad():
        torch.testing.assert_close(objective._code(features), published_head(features))
    assert objective._code(features).shape == (6, 9)
    assert torch.autograd.gradcheck(lambda values: objective.loss(values, batch), (features,))


def test_learnt_norms_of_prototypes_are_kept(tiny_model, bank, published_head):
    norms = torch.linspace(0.5, 2, 9, dtype=torch.float64)[:, None]
    with torch.no_grad():
        published_head.last_layer.weight_g.copy_(norms)
    save_file(
        {f"head.{name}": tensor for name, tensor in published_head.state_dict().items()},
        "data/head.safetensors",
    )
    objective = build("dino", tiny_model, bank, code="head", head="head.safetensors")
    found = torch.linalg.vector_norm(objective._head.prototypes, dim=1, keepdim=True)
    torch.testing.assert_close(found, norms)


@pytest.mark.parametrize("options", [{"code": "head"}, {"head": "x"}, {"code": "raw", "head": "x"}])
def test_a_head_and_its_code_are_named_together(tiny_model, bank, options):
    with pytest.raises(GradbrainError, match="`code: head` names the file of the head"):
        build("dino", tiny_model, bank, **options)


def test_temperatures_follow_the_code_unless_they_are_given():
    def temperatures(**options):
        found = DinoOptions(**options)
        return found.student_temperature, found.teacher_temperature

    assert temperatures() == temperatures(code="raw") == (1, 0.4)
    assert temperatures(code="head", head="x") == (0.1, 0.04)
    assert temperatures(student_temperature=2) == (2, 0.4)


def test_raw_codes_are_the_features_in_units_of_their_spread(tiny_model, bank, batch):
    objective = build("dino", tiny_model, bank, code="raw")
    features = tiny_model.outputs(batch.raw)["features"]
    spread = bank.outputs("features").std(dim=0, correction=0).square().mean().sqrt()
    torch.testing.assert_close(objective._code(features), features / spread)
    teacher = objective.targets(batch)
    expected = -(teacher * (features / spread).log_softmax(-1)).sum(-1)
    torch.testing.assert_close(objective.loss(features, batch), expected)


def test_raw_codes_do_not_depend_on_the_scale_of_a_network_and_need_a_spread(tiny_model, bank):
    codes = build("dino", tiny_model, bank, code="raw")._code(bank.outputs("features"))
    bank.built.clear()
    bank._outputs["features"] = bank.outputs("features") * 50
    scaled = build("dino", tiny_model, bank, code="raw")
    torch.testing.assert_close(scaled._code(bank.outputs("features")), codes)
    bank.built.clear()
    bank._outputs["features"] = torch.ones(10, 6, dtype=torch.float64)
    with pytest.raises(ObjectiveError, match="do not differ between calibration images"):
        build("dino", tiny_model, bank, code="raw")


def test_a_missing_or_foreign_head_is_named(tiny_model, bank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ObjectiveError, match=r"data/none.safetensors does not exist"):
        build("dino", tiny_model, bank, code="head", head="none.safetensors")
    (tmp_path / "data").mkdir()
    save_file({"other": torch.ones(1)}, tmp_path / "data" / "head.safetensors")
    with pytest.raises(ObjectiveError, match=r"holds other; expected mlp.0.weight"):
        build("dino", tiny_model, bank, code="head", head="head.safetensors")


def test_a_silent_feature_does_not_enter(tiny_model, bank):
    features = bank.outputs("features").clone()
    features[:, 2] = 0.5
    bank._outputs["features"] = features
    scale = fit_standardisation(bank)
    assert scale.n_silent == 1
    assert (scale.apply(features + 3)[:, 2] == 0).all()
    # Mean 0 and spread 1 elsewhere, by definition.
    rest = scale.apply(features)[:, [0, 1, 3, 4, 5]]
    torch.testing.assert_close(rest.std(0, correction=0), torch.ones(5, dtype=torch.float64))


def test_objectives_that_look_at_the_same_views_pass_them_through_the_network_once(
    tiny_model, bank, batch, passes
):
    names = ("dino", "view_consistency", "contrastive")
    built = [build(name, tiny_model, bank, views={"n_views": 4}) for name in names]
    alone = [objective.targets(batch.part(slice(None))) for objective in built]
    shared = batch.part(slice(None))
    passes.clear()
    together = [objective.targets(shared) for objective in built]
    assert len(passes) == 4
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_views_drawn_of_a_batch_are_not_those_of_a_part_of_it(tiny_model, bank, batch):
    objective = build("dino", tiny_model, bank)
    part = objective.targets(batch.part(slice(1, 2)))
    whole = objective.targets(batch)
    assert torch.allclose(part, whole[1:2], rtol=1e-9, atol=0)


def test_a_part_of_a_batch_knows_the_views_that_the_batch_was_seen_under(
    tiny_model, bank, batch, passes
):
    objective = build("dino", tiny_model, bank)
    whole = objective.targets(batch)
    passes.clear()
    assert torch.equal(objective.targets(batch.part(slice(None, None, 2))), whole[::2])
    assert passes == []


def test_cross_entropy_of_scores_and_its_derivative_are_those_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 7, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randn(5, 7, dtype=torch.float64, generator=generator).softmax(-1)
    found = softmax_cross_entropy(scores, targets)
    torch.testing.assert_close(found, -(targets * scores.log_softmax(-1)).sum(-1))
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    torch.testing.assert_close(gradient, scores.softmax(-1) - targets)
    left_out = torch.cat([scores, torch.full((5, 1), -torch.inf, dtype=torch.float64)], dim=1)
    none = torch.cat([targets, torch.zeros(5, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(softmax_cross_entropy(left_out, none), found)
    (gradient,) = torch.autograd.grad(softmax_cross_entropy(left_out, none).sum(), scores)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("gap", [10.0, 20.0, 40.0, 80.0])
def test_where_student_and_target_agree_the_gradient_keeps_its_direction(gap):
    """In float32, q - p is 0 at the top from a gap of 17 on, and 1e-7 of rounding before."""
    below, aims = [-0.3, 0.5, 1.0], [0.7, -0.2, 0.1]
    scores = torch.tensor([[gap, *below]], requires_grad=True)
    targets = torch.tensor([[gap, *aims]], dtype=torch.float64).softmax(-1)
    loss = softmax_cross_entropy(scores, targets.float())
    (found,) = torch.autograd.grad(loss.sum(), scores)
    exact = [math.exp(q - gap) - math.exp(p - gap) for q, p in zip(below, aims, strict=True)]
    expected = torch.tensor([[-math.fsum(exact), *exact]], dtype=torch.float64)
    # Divided by its length first: its square is too small for a float.
    length = expected.norm()
    found, expected = found.double() / length, expected / length
    assert torch.nn.functional.cosine_similarity(found, expected) > 1 - 1e-6
