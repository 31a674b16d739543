"""Models of a study that give fewer signals than the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
WHOLE = {
    "signals": [
        "activation",
        "gradient_dino",
        "gradient_cross_entropy",
        "gradient_feature_norm",
        "gradient_shuffled_dino",
    ],
    "pooling": {"kind": "mean"},
}
SETS = {
    "whole": WHOLE,
    "activations": WHOLE | {"signals": ["activation"]},
    "two": WHOLE | {"signals": ["activation", "gradient_cross_entropy"]},
    "finer": WHOLE | {"signals": ["activation"], "pooling": {"kind": "grid", "size": 2}},
    "later": WHOLE | {"signals": ["activation"], "seed": 1},
    "others": WHOLE | {"signals": ["activation", "gradient_view_consistency"]},
}
SEEDS = {
    "name": "seed",
    "levels": [{"name": "seed0"}, {"name": "seed1", "signal_set": {"seed": 1}}],
}
NETWORK = "efficientnet_lite0_96px"
TWIN = "efficientnet_lite0_untrained_96px"


def study_of(folder, *models, **changes):
    (folder / "signals.yaml").write_text(yaml.safe_dump({"signal_sets": SETS}))
    config = {
        "study": "parts",
        "registries": [str(folder)],
        "datasets": [{"name": "simulated_fmri_backprop"}],
        "models": list(models),
        "features": {"signal_set": "whole", "unit": "model"},
        **changes,
    }
    return load_study(config, root=ROOT, where="parts.yaml")


def plan_of(folder, *models, **changes):
    return Plan(study_of(folder, *models, **changes), ROOT)


def test_each_model_gives_its_own_signals(tmp_path):
    plan = plan_of(
        tmp_path,
        {"name": NETWORK, "layers": ["blocks.2"]},
        {"name": TWIN, "layers": ["blocks.2"], "signal_set": "activations"},
    )
    found = {(model, name) for model, name, *_ in plan.all_features()}
    assert {(NETWORK, "whole"), (TWIN, "activations")} <= found
    assert (TWIN, "whole") not in found
    assert all("/activations/" in path for path in plan.features_of_model(TWIN, "simulated"))
    assert [(model, name) for model, name, _ in plan.fused_extractions()][:2] == [
        (NETWORK, "whole"),
        (TWIN, "activations"),
    ]
    signals = [one["name"] for one in json.loads(plan.judged_signals(TWIN))["signals"]]
    assert signals == ["activation"]


def test_what_a_model_has_no_signals_for_is_not_measured(tmp_path):
    plan = plan_of(
        tmp_path,
        {"name": NETWORK, "layers": ["blocks.2"]},
        {"name": TWIN, "layers": ["blocks.2"], "signal_set": "activations"},
        {"name": f"{TWIN}_1", "layers": ["blocks.2"], "signal_set": "two"},
    )
    assert plan.reliability(NETWORK) and plan.unique(NETWORK)
    assert plan.reliability(TWIN) == [] and plan.unique(TWIN) == []
    # Cross-entropy has no dice.
    assert plan.reliability(f"{TWIN}_1") == [] and plan.unique(f"{TWIN}_1")


def test_rules_beside_one_another_are_those_of_models_that_have_them_all(tmp_path):
    plan = plan_of(
        tmp_path,
        {"name": NETWORK, "layers": ["blocks.2"]},
        {"name": TWIN, "layers": ["blocks.2"], "signal_set": "two"},
        encoding={"rule_pairs": ["gradient_dino", "gradient_cross_entropy"]},
    )
    assert plan.rule_pairs and all(f"/{NETWORK}/" in path for path in plan.rule_pairs)


def test_twins_and_models_of_a_pattern_take_the_signals_of_their_choice(tmp_path):
    by_pattern = {"pattern": f"{TWIN}*", "signal_set": "two", "layers": "all"}
    study = study_of(tmp_path, {"name": NETWORK}, by_pattern)
    sets = {model: found.name for model, found in study.signal_sets.items()}
    assert sets == {NETWORK: "whole", TWIN: "two", f"{TWIN}_1": "two", f"{TWIN}_2": "two"}
    twins = study_of(tmp_path, {"name": NETWORK, "untrained": 2, "signal_set": "two"})
    assert len(twins.models) == 3
    assert {found.name for found in twins.signal_sets.values()} == {"two"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("finer", "'finer' has another pooling than features.signal_set 'whole'"),
        ("later", "'later' has another seed than features.signal_set 'whole'"),
        ("others", "'others' has the signal 'gradient_view_consistency', which is none of"),
        ("activation", "there is no signal set 'activation'. Did you mean 'activations'"),
    ],
)
def test_signals_that_could_not_be_compared_are_refused(tmp_path, name, message):
    with pytest.raises(GradbrainError, match=message) as told:
        study_of(tmp_path, {"name": NETWORK}, {"name": TWIN, "signal_set": name})
    assert str(told.value).startswith(f"parts.yaml: models.{TWIN}.signal_set: ")


def test_a_multiverse_takes_the_same_signals_from_all_models(tmp_path):
    models = {"name": NETWORK}, {"name": TWIN, "signal_set": "activations"}
    with pytest.raises(GradbrainError, match="varies the signals of all its models"):
        study_of(tmp_path, *models, sensitivity={"factors": [SEEDS]})


def test_a_key_that_says_nothing_writes_no_other_config(tmp_path):
    plan = plan_of(tmp_path, {"name": NETWORK}, {"name": TWIN, "signal_set": "two"})
    first, second = json.loads(plan.resolved_config())["models"]
    assert set(first) == {"name", "layers"} and second["signal_set"] == "two"
