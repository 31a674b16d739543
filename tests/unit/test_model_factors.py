"""Which models of a study differ in one factor alone."""

from dataclasses import replace

import pytest

from gradbrain.config.errors import GradbrainError
from gradbrain.config.model_factors import (
    ModelFacts,
    Pair,
    comparisons,
    facts_of,
    facts_of_records,
)
from gradbrain.config.schema import ContrastSettings, ModelEntry

RESNET = ModelFacts(
    "resnet_sup",
    "resnet50",
    family="resnet",
    objective="supervised",
    diet="in1k",
    parameters=25.6,
)
DINO = replace(RESNET, model="resnet_dino", objective="dino")


def untrained(of, seed):
    return ModelFacts(
        f"{of.architecture}_untrained_{seed}",
        of.architecture,
        family=of.family,
        trained=False,
        parameters=of.parameters,
        input_size=of.input_size,
    )


def found(*models, **settings):
    return comparisons(models, ContrastSettings(**settings))


def pairs(result):
    return {one.name: one.pairs for one in result.contrasts}


def test_models_that_differ_in_one_factor_are_a_pair():
    assert pairs(found(RESNET, DINO)) == {
        "objective: dino - supervised": (Pair(("resnet_dino",), ("resnet_sup",)),)
    }


def test_a_pair_that_differs_in_two_factors_is_left_out_and_counted():
    result = found(RESNET, replace(DINO, diet="in21k"))
    assert result.contrasts == ()
    assert (result.one_factor, result.confounded, result.unknown) == (0, 1, 0)
    assert result.alone == ("resnet_sup", "resnet_dino")


def test_what_is_not_known_is_not_compared():
    result = found(RESNET, replace(DINO, diet=""))
    assert result.contrasts == () and result.unknown == 1


def test_initialisations_of_a_network_are_averaged_and_count_once():
    twins = [untrained(RESNET, seed) for seed in range(3)]
    result = found(RESNET, DINO, *twins)
    names = tuple(twin.model for twin in twins)
    assert pairs(result)["training: trained - untrained"] == (
        Pair(("resnet_sup", "resnet_dino"), names),
    )
    # Three units: two trainings and one untrained network.
    assert (result.one_factor, result.confounded) == (3, 0)


def test_an_untrained_network_of_another_input_size_is_no_twin():
    twin = replace(untrained(RESNET, 0), input_size=64)
    assert found(RESNET, twin).contrasts == ()


def test_several_pairs_share_a_contrast_and_no_model_is_in_two():
    wide = [
        replace(one, model=f"wide_{one.model}", architecture="wide", parameters=68.9)
        for one in (RESNET, DINO)
    ]
    result = pairs(found(RESNET, DINO, *wide))
    assert result["objective: dino - supervised"] == (
        Pair(("resnet_dino",), ("resnet_sup",)),
        Pair(("wide_resnet_dino",), ("wide_resnet_sup",)),
    )
    for own in result.values():
        names = [name for pair in own for name in (*pair.a, *pair.b)]
        assert len(names) == len(set(names))


def test_architectures_of_a_family_are_compared_by_size_and_families_by_their_means():
    small = replace(RESNET, model="small", architecture="resnet18", parameters=11.7)
    middle = replace(RESNET, model="middle", architecture="resnet34", parameters=21.8)
    vit = replace(RESNET, model="vit", architecture="vit", family="vision_transformer")
    result = pairs(found(RESNET, small, middle, vit))
    assert result == {
        "family: resnet - vision_transformer": (Pair(("resnet_sup", "small", "middle"), ("vit",)),),
        "parameters: larger - smaller": (Pair(("resnet_sup",), ("small",)),),
    }


def test_steps_of_a_training_are_compared_late_with_early():
    steps = [replace(RESNET, model=f"step_{step}", step=step) for step in (0, 10, 100, 1000)]
    assert pairs(found(*steps)) == {
        "step: later - earlier": (Pair(("step_100", "step_1000"), ("step_0", "step_10")),)
    }


def test_a_recipe_is_held_but_where_objectives_differ():
    tuned = replace(RESNET, model="a1", recipe="a1")
    assert set(pairs(found(RESNET, tuned))) == {"recipe: a1 - none"}
    assert set(pairs(found(tuned, DINO))) == {"objective: dino - supervised"}
    other = replace(tuned, model="a1_in21k", diet="in21k")
    assert set(pairs(found(tuned, other))) == {"diet: in1k - in21k"}
    assert found(RESNET, other).contrasts == ()


def test_a_study_chooses_factors_and_leaves_contrasts_out():
    models = (RESNET, DINO, untrained(RESNET, 0))
    assert set(pairs(found(*models, factors=("training",)))) == {"training: trained - untrained"}
    left = found(*models, leave_out=("training: *",))
    assert set(pairs(left)) == {"objective: dino - supervised"}
    assert left.alone == ("resnet50_untrained_0",)
    with pytest.raises(GradbrainError, match=r"leave_out: no contrast matches 'diet: \*'"):
        found(*models, leave_out=("diet: *",))


def test_a_study_names_comparisons_of_its_own():
    named = {"name": "mine", "a": "dino", "b": "the rest", "pairs": [["resnet_dino", "*_sup"]]}
    (contrast,) = found(RESNET, DINO, factors=(), named=(named,)).contrasts
    assert (contrast.factor, contrast.a, contrast.b) == ("named", "dino", "the rest")
    assert contrast.pairs == (Pair(("resnet_dino",), ("resnet_sup",)),)
    twice = named | {"pairs": [["resnet_dino", "resnet_*"]]}
    with pytest.raises(GradbrainError, match="resnet_dino stands there twice"):
        found(RESNET, DINO, named=(twice,))
    near = named | {"pairs": [["resnet_dimo", "resnet_sup"]]}
    with pytest.raises(GradbrainError, match="resnet_dino"):
        found(RESNET, DINO, named=(near,))


def test_facts_come_from_the_entry_and_travel_as_records():
    entry = ModelEntry(
        name="mine",
        architecture="vit_tiny",
        kwargs={"img_size": 64, "global_pool": "avg", "num_classes": 10},
        weights={"source": "random", "seed": 1},
        input_size=64,
        factors={"family": "vision_transformer", "objective": "dino", "parameters": 5.7},
    )
    facts = facts_of(entry, trained=False)
    assert facts.variant == '{"global_pool": "avg"}'
    assert facts.objective == "" and facts.family == "vision_transformer"
    assert facts_of_records([facts.as_record()]) == [facts]
    with pytest.raises(GradbrainError, match="colour"):
        facts_of_records([{"model": "a", "architecture": "b", "colour": "red"}])
