"""The universes of a study are those that its section asks for, and share what they can."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradbrain.config import GradbrainError
from gradbrain.config.study import load_study
from gradbrain.config.universes import universes_of
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
POOLING = {
    "name": "pooling",
    "levels": [
        {"name": "mean"},
        {"name": "grid2", "signal_set": {"pooling": {"kind": "grid", "size": 2}}},
        {"name": "grid4", "signal_set": {"pooling": {"kind": "grid", "size": 4}}},
    ],
}
SEED = {"name": "seed", "levels": [{"name": "seed0"}, {"name": "seed1", "signal_set": {"seed": 1}}]}
SELECTION = {
    "name": "selection",
    "levels": [{"name": "auto"}, {"name": "loo", "encoding": {"selection": "loo"}}],
}
BEST = {
    "name": "best_layer",
    "levels": [
        {"name": "argmax"},
        {"name": "mass", "statistics": {"best_layer": "centre_of_mass"}},
    ],
}
FACTORS = [POOLING, SEED, SELECTION, BEST]


def study_with(factors, n_combinations=0, seed=0, **keys):
    config = {
        "study": "varied",
        "datasets": [{"name": "simulated_fmri_feedforward"}],
        "models": [{"name": "mobilenetv2_050_untrained", "layers": ["blocks.1", "blocks.5"]}],
        "features": {"signal_set": "demo", "unit": "model"},
        "sensitivity": {"factors": factors, "n_combinations": n_combinations, "seed": seed},
        **keys,
    }
    return load_study(config, root=ROOT, where="varied.yaml")


def test_a_study_without_the_section_has_no_universe():
    study = load_study(
        {
            "study": "plain",
            "datasets": [{"name": "simulated_fmri_feedforward"}],
            "models": [{"name": "mobilenetv2_050_untrained"}],
            "features": {"signal_set": "demo"},
        },
        root=ROOT,
        where="plain.yaml",
    )
    assert universes_of(study) == []
    assert Plan(study, Path()).multiverse.results == []


def test_the_study_comes_first_then_each_level_alone_in_the_order_of_the_config():
    found = universes_of(study_with(FACTORS))
    names = [list(universe.levels.values()) for universe in found]
    assert names == [
        ["mean", "seed0", "auto", "argmax"],
        ["grid2", "seed0", "auto", "argmax"],
        ["grid4", "seed0", "auto", "argmax"],
        ["mean", "seed1", "auto", "argmax"],
        ["mean", "seed0", "loo", "argmax"],
        ["mean", "seed0", "auto", "mass"],
    ]
    assert [universe.kind for universe in found] == ["base", *["one_at_a_time"] * 5]


def test_levels_change_what_they_say_and_nothing_else():
    study = study_with(FACTORS)
    base, grid, _, seed, loo, mass = universes_of(study)
    assert base.signal_set == study.signal_set and base.encoding == study.settings.encoding
    assert (grid.signal_set.pooling.kind, grid.signal_set.pooling.size) == ("grid", 2)
    assert grid.signal_set.signals == study.signal_set.signals
    assert grid.signal_set.seed == study.signal_set.seed
    assert seed.signal_set.seed == 1 and seed.signal_set.pooling == study.signal_set.pooling
    assert loo.encoding == study.settings.encoding.model_copy(update={"selection": "loo"})
    assert mass.statistics.best_layer == "centre_of_mass" and mass.encoding == base.encoding


def test_combinations_are_drawn_once_each_and_differ_in_two_factors_or_more():
    found = universes_of(study_with(FACTORS, n_combinations=10))
    drawn = [universe for universe in found if universe.kind == "combination"]
    base = found[0].levels
    assert len(drawn) == 10
    assert len({tuple(universe.levels.values()) for universe in found}) == len(found)
    assert len({universe.name for universe in found}) == len(found)
    for universe in drawn:
        assert sum(universe.levels[name] != base[name] for name in base) >= 2


def test_the_seed_decides_the_combinations():
    def drawn(seed):
        return [u.name for u in universes_of(study_with(FACTORS, n_combinations=8, seed=seed))]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_no_more_combinations_are_drawn_than_there_are():
    # 3 × 2 × 2 × 2 = 24, less the study itself and 5 single levels.
    found = universes_of(study_with(FACTORS, n_combinations=1000))
    assert len(found) == 24


def test_universes_that_differ_in_statistics_share_their_fits_with_the_study():
    plan = Plan(study_with(FACTORS), Path())
    base, *_, mass = plan.universes
    assert mass.fit == base.fit
    assert base.fit not in plan.multiverse.fits
    assert len(plan.multiverse.fits) == 4
    tables = plan.multiverse.statistics_of(mass.name, draws=False)
    assert tables == plan.per_model("hierarchy")


def test_a_device_or_a_label_is_no_reason_for_another_fit():
    base = universes_of(study_with(FACTORS))[0]
    other = universes_of(study_with(FACTORS, encoding={"device": "cpu"}))[0]
    assert base.fit == other.fit
    assert base.fit != universes_of(study_with(FACTORS, encoding={"n_draws": 7}))[0].fit


def test_sets_that_pool_the_same_signals_otherwise_are_read_from_the_same_passes():
    plan = Plan(study_with([POOLING, SEED], n_combinations=2), Path())
    assert sorted(plan.universe_sets) == sorted(
        {"demo.grid2", "demo.grid4", "demo.seed1", "demo.grid2.seed1", "demo.grid4.seed1"}
    )
    assert sorted(plan.multiverse.passes) == [
        ["demo.grid2", "demo.grid4"],
        ["demo.grid2.seed1", "demo.grid4.seed1", "demo.seed1"],
    ]
    # What the study has anyway stays a job of its own, which other studies share.
    assert [names for _, names, _ in plan.fused_extractions() if names == "demo"] == ["demo"]


def test_options_of_a_signal_are_changed_and_its_definition_with_them():
    code = {
        "name": "code",
        "levels": [
            {"name": "standardised"},
            {"name": "raw", "signals": {"gradient_dino": {"options": {"code": "raw"}}}},
        ],
    }
    raw = universes_of(study_with([code]))[1].signal_set
    options = {signal.name: signal.options for signal in raw.signals}
    assert raw.name == "demo.raw"
    assert options["gradient_dino"] == {"code": "raw"}
    assert options["gradient_feature_norm"] == {}


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ({"signal_set": {"poling": {}}}, "no key of signal_set that a level may change 'poling'"),
        ({"signal_set": {"pooling": {"kind": "max"}}}, "signal_set: pooling.kind: expected"),
        ({"signal_set": {"name": "x"}}, "no key of signal_set that a level may change 'name'"),
        ({"encoding": {"selection": "best"}}, "encoding: selection: expected"),
        ({"statistics": {"distance": "km"}}, "statistics: distance: expected"),
        ({"signals": {"gradient_dina": {"options": {}}}}, "Did you mean 'gradient_dino'?"),
        (
            {"signals": {"gradient_dino": {"role": "control"}}},
            "no key of a signal that a level may change 'role'",
        ),
    ],
)
def test_a_level_that_changes_what_it_cannot_is_told_with_file_factor_and_key(level, told):
    factor = {"name": "factor", "levels": [{"name": "first"}, {"name": "second", **level}]}
    with pytest.raises(GradbrainError) as error:
        universes_of(study_with([factor]))
    assert "varied.yaml: sensitivity: factor: second" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ([{"name": "a", "levels": [{"name": "x"}]}], "at least 2 entries"),
        ([{"name": "a", "levels": [{"name": "x"}, {"name": "y"}]}], "y changes nothing"),
        ([POOLING, POOLING], "pooling is there twice"),
        (
            [{"name": "a", "levels": [POOLING["levels"][1], {"name": "y"}]}],
            "stands for the study as it is",
        ),
        (
            [{"name": "a", "levels": [{"name": "x"}, POOLING["levels"][1], POOLING["levels"][1]]}],
            "grid2 is there twice",
        ),
    ],
)
def test_a_section_that_does_not_hold_together_is_refused(factors, told):
    with pytest.raises(GradbrainError, match="sensitivity") as error:
        study_with(factors)
    assert told in str(error.value)


def test_a_level_may_not_lead_to_the_name_of_a_registered_set(tmp_path):
    (tmp_path / "signals.yaml").write_text(
        "signal_sets:\n  demo.grid2: {signals: [activation], pooling: {kind: mean}}\n"
    )
    with pytest.raises(GradbrainError, match=r"signal set 'demo\.grid2'.*give the level"):
        universes_of(study_with([POOLING], registries=[str(tmp_path)]))
