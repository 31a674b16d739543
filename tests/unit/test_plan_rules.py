"""Rules that cannot be had for a network, or say nothing as scaled, are refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.registries import Registries
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
TRAINED, UNTRAINED = "efficientnet_lite0_128px", "efficientnet_lite0_untrained"
MIXED = """architecture,layer,layer_index,depth,layout,weights
autoencoder,a,0,0.5,map,plain
autoencoder,b,1,1,map,plain
mixed,a,0,0.5,map,plain
mixed,b,1,1,vector,plain
standardised,a,0,0.5,map,computed
standardised,b,1,1,map,computed
"""


@pytest.fixture
def plan_of(tmp_path):
    """Plan of a model under a set of activations and one signal, told as in signals.yaml."""

    def plan_of(
        model: str, *, precision: str = "fp32", normalise: str = "unit", testbed=None, **signal
    ):
        testbed = testbed or {}
        entry = {"role": "learning", "objective": "cross_entropy", **signal}
        learns = {"role": "learning", "rule": "backprop", "objective": "cross_entropy"}
        if entry["role"] == "control":
            entry["control_of"] = ["learns"]
        models = {
            name: {"architecture": name, "weights": {"source": "random"}}
            for name in ("mixed", "standardised")
        }
        models["autoencoder"] = {
            "architecture": "autoencoder",
            "source": "autoencoder",
            "weights": {"source": "testbed", "learning_rule": "kolen_pollack", **testbed},
        }
        contents = {
            "signals.yaml": {
                "signals": {"mine": entry, "learns": learns},
                "signal_sets": {
                    "mine": {"signals": ["activation", "learns", "mine"], "normalise": normalise}
                },
            },
            "models.yaml": {"models": models},
        }
        for name, content in contents.items():
            (tmp_path / name).write_text(yaml.safe_dump(content))
        (tmp_path / "layers.csv").write_text(MIXED)
        config = {
            "study": "mine",
            "registries": [str(tmp_path)],
            "datasets": [{"name": "objects92"}],
            "models": [{"name": model}],
            "features": {"signal_set": "mine", "precision": precision},
        }
        return Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)

    return plan_of


def refusal(plan: Plan) -> str:
    with pytest.raises(GradbrainError) as refused:
        plan.check_signals()
    return str(refused.value)


LENGTHS = ["node_perturbation", "scalar_feedback", "objective_value", "gradient_norm"]


@pytest.mark.parametrize("rule", [*LENGTHS, "three_factor"])
@pytest.mark.parametrize("normalise", ["unit", "unit_and_magnitude"])
def test_rules_whose_length_says_what_they_say_are_refused_at_unit_length(rule, normalise, plan_of):
    message = refusal(plan_of(UNTRAINED, rule=rule, normalise=normalise))
    assert f"signal 'mine': model {UNTRAINED!r}: rule {rule!r} cannot be had:" in message
    assert f"`normalise: {normalise}`" in message and "`normalise: none`" in message
    plan_of(UNTRAINED, rule=rule, normalise="none").check_signals()


def test_a_signal_says_its_own_scaling(plan_of, tmp_path):
    plan = plan_of(UNTRAINED, rule="scalar_feedback")
    text = (tmp_path / "signals.yaml").read_text()
    own = text.replace("rule: scalar_feedback", "rule: scalar_feedback\n    normalise: none")
    (tmp_path / "signals.yaml").write_text(own)
    settings = plan.study.settings.model_dump(mode="json", exclude_unset=True)
    Plan(load_study(settings, root=ROOT, where="study.yaml"), ROOT).check_signals()


def test_a_top_down_gate_has_a_direction(plan_of):
    plan_of(UNTRAINED, rule="three_factor", rule_options={"gate": "top_down"}).check_signals()


@pytest.mark.parametrize("rule", ["feedback_alignment", "direct_feedback_alignment"])
def test_random_feedback_is_a_control_of_a_network_that_backprop_trained(rule, plan_of):
    message = refusal(plan_of(TRAINED, rule=rule))
    assert f"model {TRAINED!r}: rule {rule!r}" in message and "never aligned" in message
    assert "`role: control`" in message
    plan_of(TRAINED, rule=rule, role="control").check_signals()
    plan_of(UNTRAINED, rule=rule).check_signals()


def test_the_sham_mode_is_no_random_feedback(plan_of):
    options = {"feedback": "transpose"}
    plan_of(TRAINED, rule="feedback_alignment", rule_options=options).check_signals()


@pytest.mark.parametrize(
    "rule",
    [
        *("feedback_alignment", "sign_symmetry", "gauss_newton_target"),
        "predictive_coding_inference",
        "difference_target_propagation",
        "target_activity",
    ],
)
def test_rules_that_need_every_digit_are_refused_in_half_precision(rule, plan_of):
    plan_of(UNTRAINED, rule=rule, precision="fp32_views_bf16").check_signals()
    message = refusal(plan_of(UNTRAINED, rule=rule, precision="bf16"))
    assert f"rule {rule!r}" in message and "set features.precision to fp32" in message


@pytest.mark.parametrize("rule", ["feedback_alignment", "sign_symmetry"])
def test_networks_that_compute_their_weights_have_none_to_be_replaced(rule, plan_of):
    message = refusal(plan_of("standardised", rule=rule))
    assert f"model 'standardised': rule {rule!r} cannot be had" in message
    assert "weight standardisation" in message
    plan_of("standardised", rule="direct_feedback_alignment").check_signals()


def test_generative_models_want_layers_of_one_kind(plan_of):
    signal = {"rule": "predictive_coding_generative", "objective": None}
    message = refusal(plan_of("mixed", **signal))
    assert "model 'mixed': rule 'predictive_coding_generative' cannot be had" in message
    assert "(map, vector)" in message
    plan_of(UNTRAINED, **signal).check_signals()


@pytest.mark.parametrize("rule", ["difference_target_propagation", "target_activity"])
def test_inverses_are_fitted_where_layers_have_positions_in_common_or_are_the_networks_own(
    rule, plan_of
):
    message = refusal(plan_of("mixed", rule=rule))
    assert f"model 'mixed': rule {rule!r} cannot be had" in message and "(map, vector)" in message
    own = {"inverse": "own"}
    message = refusal(plan_of(UNTRAINED, rule=rule, rule_options=own))
    assert f"rule {rule!r} cannot be had: `inverse: own` needs a network with a decoder" in message
    message = refusal(plan_of("autoencoder", rule=rule))
    assert "finer again" in message and "`rule_options: {inverse: own}`" in message
    for model, options in ((UNTRAINED, {}), ("autoencoder", own)):
        plan = plan_of(model, rule=rule, rule_options=options)
        plan.check_signals()
        # Own inverses need no job that fits them.
        fitted = [signal.rule for signal in plan.fitted_signals("mine")]
        assert fitted == ([] if options else [rule])


def test_the_signal_that_taught_is_refused_where_nothing_is_known_of_it(plan_of):
    for model in (TRAINED, UNTRAINED):
        message = refusal(plan_of(model, rule="teaching_signal"))
        assert f"model {model!r}: rule 'teaching_signal' cannot be had" in message
        assert "{source: testbed, learning_rule: …}" in message
    plan_of("autoencoder", rule="teaching_signal").check_signals()


def test_random_feedback_other_than_that_of_training_is_a_control(plan_of):
    message = refusal(plan_of("autoencoder", rule="feedback_alignment"))
    assert "(kolen_pollack)" in message and "`teaching_signal`" in message


def test_what_is_compared_with_the_image_needs_a_decoder(plan_of):
    message = refusal(plan_of(UNTRAINED, rule="backprop", objective="reconstruction"))
    assert "signal 'mine': needs a network that gives images back" in message
    assert f"model {UNTRAINED!r}" in message and "source: autoencoder" in message
    plan_of("autoencoder", rule="backprop", objective="reconstruction").check_signals()


def test_a_network_is_trained_on_images_that_the_registry_has(plan_of):
    message = refusal(
        plan_of("autoencoder", testbed={"images": "testbed_photograph"}, rule="teaching_signal")
    )
    assert "model 'autoencoder': weights: images: " in message
    assert "you mean 'testbed_photographs'?" in message


def test_only_autoencoders_are_trained(plan_of, tmp_path):
    plan = plan_of("mixed", rule="backprop")
    path = tmp_path / "models.yaml"
    models = yaml.safe_load(path.read_text())
    models["models"]["mixed"]["weights"] = {"source": "testbed", "learning_rule": "backprop"}
    path.write_text(yaml.safe_dump(models))
    settings = plan.study.settings.model_dump(mode="json", exclude_unset=True)
    message = refusal(Plan(load_study(settings, root=ROOT, where="study.yaml"), ROOT))
    assert "model 'mixed': weights: source: 'testbed' trains autoencoders" in message


def test_the_testbed_trains_each_network_once_and_reads_it_everywhere():
    path = ROOT / "config" / "testbed.yaml"
    plan = Plan(load_study(yaml.safe_load(path.read_text()), root=ROOT, where=str(path)), ROOT)
    plan.check_signals()
    assert len(plan.trained_here) == 4
    learned = {plan.weights_options(model).learned_by for model in plan.trained_here}
    assert learned == {
        *("backprop", "feedback_alignment", "kolen_pollack", "difference_target_propagation")
    }
    model = plan.trained_here[0]
    assert plan.weight_inputs(model) == [
        f"results/trained/{model}.zarr",
        f"results/trained/{model}.parquet",
    ]
    # They come from a job, and need not be there.
    assert plan.weights(model) == []
    assert plan.training_images(model) == "results/stimuli/testbed_photographs.parquet"
    assert "training_angles" in plan.figures
    # No word about a model trains it again.
    assert "label" not in plan.training_entry(model)


def test_studies_that_train_nothing_have_no_figure_of_it(plan_of):
    plan = plan_of(UNTRAINED, rule="backprop")
    assert plan.trained_here == [] and "training_angles" not in plan.figures
    settings = plan.study.settings.model_dump(mode="json", exclude_unset=True)
    settings["figures"] = {"names": ["training_angles"]}
    asking = Plan(load_study(settings, root=ROOT, where="study.yaml"), ROOT)
    with pytest.raises(GradbrainError, match=r"'training_angles' shows how networks learnt"):
        _ = asking.figures


@pytest.mark.parametrize(
    ("config", "trains"), [("learning_rules.yaml", False), ("testbed_seeds.yaml", True)]
)
def test_the_ranking_reads_trainings_where_there_are_any(config, trains):
    content = yaml.safe_load((ROOT / "config" / config).read_text())
    plan = Plan(load_study(content, root=ROOT, where=config), ROOT)
    plan.check_signals()
    assert len(plan.trained_here) == (12 if trains else 0)
    assert ("--training results/trained/" in plan.figures.options("rule_ranking")) == trains
    assert ("--training" in plan.figures.options("rule_ranking")) == trains


def test_three_networks_of_each_learning_rule_differ_in_nothing_but_their_seed():
    content = yaml.safe_load((ROOT / "config" / "testbed_seeds.yaml").read_text())
    plan = Plan(load_study(content, root=ROOT, where="testbed_seeds.yaml"), ROOT)
    found: dict[str, list] = {}
    for model in plan.trained_here:
        entry = plan.model_entry(model).model_dump(exclude={"name", "label", "weights"})
        options = plan.weights_options(model).model_dump()
        found.setdefault(options.pop("learning_rule"), []).append(
            (options.pop("seed"), options, entry)
        )
    assert len(found) == 4
    for networks in found.values():
        seeds, options, entries = zip(*networks, strict=True)
        assert seeds == (0, 1, 2)
        assert all(one == options[0] for one in options)
        assert all(one == entries[0] for one in entries)


def test_the_study_of_learning_rules_plans(tmp_path):
    config = yaml.safe_load((ROOT / "config" / "learning_rules.yaml").read_text())
    plan = Plan(load_study(config, root=ROOT, where="config/learning_rules.yaml"), ROOT)
    plan.check_signals()
    signals = plan.study.signal_set.signals
    # The signal that taught a network is one of those that a study trains (config/testbed.yaml).
    rules = set(plan.plugins.names("rules")) - {"teaching_signal"}
    assert {signal.rule for signal in signals} == rules
    # Random feedback: five draws, controls all.
    random = [signal for signal in signals if signal.rule == "feedback_alignment"]
    assert {signal.rule_options["seed"] for signal in random} == set(range(5))
    assert {signal.role for signal in random} == {"control"}
    # One pass of the whole model, after the models of five rules were fitted.
    assert plan.is_fused("learning_rules")
    fitted = [signal.rule for signal in plan.fitted_signals("learning_rules")]
    targets = ["difference_target_propagation", "target_activity"]
    assert fitted == [
        "predictive_coding_generative",
        *targets,
        "scalar_feedback",
        "three_factor",
        *targets,
    ]


@pytest.mark.parametrize("name", ["learning_rules", "learning_rules_quick", "testbed"])
def test_every_learning_rule_has_a_control_without_what_it_adds(name):
    signal_set = Registries([ROOT / "config"]).signal_set(name, where="test")
    kept = {signal.name for signal in signal_set.signals}
    numbers = {"objective_cross_entropy", "gradient_norm_cross_entropy"}
    # Content without an error: one set for the gradient and for all rules that send an error down.
    shared = {"reconstruction_feature_norm", "reconstruction_fixed_cotangent"}
    if name != "testbed":
        shared = {"gradient_feature_norm", "gradient_fixed_cotangent"}
    holds_activity = ("predictive_coding_generative", "target_activity", "three_factor")
    for signal in signal_set.signals:
        if signal.role != "learning":
            continue
        controls = set(signal_set.controls_of(signal.name))
        if signal.rule == "hebbian":
            # It is the activity at unit length: a control would be the signal itself.
            assert not controls and signal.objective is None
            continue
        if signal.rule != "scalar_feedback":
            assert shared <= controls, signal.name
        assert numbers & kept <= controls, signal.name
        assert ("activity_unit_length" in controls) == (signal.rule in holds_activity), signal.name
        if signal.rule == "target_activity":
            assert any(control.endswith("target_shuffled") for control in controls) or (
                "target_activity_shuffled" in controls
            )


def test_planning_rules_imports_no_torch():
    code = """
import sys
from gradbrain.config.plugins import LIBRARY_PLUGINS, RuleCase
case = RuleCase(role="learning", normalise="unit", layouts=("map",) * 3)
for name in LIBRARY_PLUGINS.names("rules"):
    options = LIBRARY_PLUGINS.find("rules", name, where="test").options_class()
    assert isinstance(options.refusal(case), str) and isinstance(options.approximation(case), str)
assert not {"torch", "timm"} & set(sys.modules)
"""
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def plan_of_pairs(*pairs: str) -> Plan:
    config = {
        "study": "mine",
        "datasets": [{"name": "objects92"}],
        "models": [{"name": TRAINED}],
        "features": {"signal_set": "learning_rules"},
        "encoding": {"rule_pairs": list(pairs)},
    }
    return Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)


def test_pairs_of_rules_are_held_against_each_other_where_a_study_names_them():
    plain, paired = plan_of_pairs(), plan_of_pairs("gradient_cross_entropy", "hebbian")
    assert not plain.rule_pairs and "rule_pairs" not in plain.figures
    assert len(paired.rule_pairs) == 15 and "rule_pairs" in paired.figures
    assert set(paired.rule_pairs) <= set(paired.targets())
    # Fits and the unique part beside activations do not follow from it.
    for job in ("fit_encoding", "measure_unique"):
        assert paired.settings_of(job) == plain.settings_of(job)
    assert paired.settings_of("measure_rule_pairs") != plain.settings_of("measure_rule_pairs")


def test_pairs_of_what_has_no_unique_part_are_refused_by_name():
    for name in ("activation", "gradient_cross_entropi"):
        with pytest.raises(GradbrainError, match=rf"encoding\.rule_pairs.*{name}"):
            _ = plan_of_pairs("hebbian", name).rule_pairs
