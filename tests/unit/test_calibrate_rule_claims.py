"""The tables of claims about learning rules, on claims that are made up."""

import argparse
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import calibrate_rule_claims as benchmark

from gradbrain.config.registries import read_yaml
from gradbrain.config.study import load_study

N_SEEDS = 10
RULES = ("gradient_cross_entropy", "target_activity")


def claims(**supported):
    """C1 and C2 of two rules in some brains (brain -> (rule, prediction, how often supported))."""
    rows = []
    for brain, told in supported.items():
        for rule in RULES:
            for prediction in ("C1", "C2"):
                hits = told.get((rule, prediction), 0)
                rows += [
                    {
                        "dataset": brain,
                        "seed": seed + 1,
                        "signal": rule,
                        "prediction": prediction,
                        "variant": "unique",
                        "verdict": "supported" if seed < hits else "undetermined",
                        "reason": None if seed < hits else "no_power",
                        "control": "activity_unit_length" if prediction == "C2" else None,
                        "lower_share": 0.01 * seed,
                        "cpu_s": 3.0,
                    }
                    for seed in range(N_SEEDS)
                ]
    unique = pd.DataFrame(rows)
    # Beside each stands a row of held-out scores, which has no verdict.
    raw = unique.assign(variant="raw", verdict="descriptive", reason=None, lower_share=None)
    # And one of the activations, which are no rule.
    other = raw.iloc[:1].assign(signal="activation", prediction="A1", verdict="supported")
    return pd.concat([unique, raw, other], ignore_index=True)


@pytest.fixture(scope="module")
def study():
    root = Path(benchmark.ROOT)
    return load_study(read_yaml(root / benchmark.CONFIG), root=root, where=benchmark.CONFIG)


def test_every_brain_of_the_study_is_in_the_tables_and_holds_what_they_say(study):
    brains = (benchmark.NOTHING, *benchmark.WITHOUT_LEARNING, *benchmark.RULES)
    assert list(study.datasets) == list(brains)
    held = {name: entry.options.get("learning_signal") for name, entry in study.datasets.items()}
    assert held[benchmark.NOTHING] is None
    looked_for = {signal.name: signal for signal in study.signal_set.signals}
    for brain, rule in benchmark.RULES.items():
        assert held[brain] == rule
        assert looked_for[rule].role == "learning"
    for brain in benchmark.WITHOUT_LEARNING:
        assert held[brain] not in benchmark.RULES.values()


def test_cells_are_shares_of_seeds_and_the_rule_that_is_there_is_bold():
    found = claims(
        holds_nothing={("target_activity", "C2"): 1},
        holds_target_activity={("target_activity", "C2"): 8, ("gradient_cross_entropy", "C2"): 2},
    )
    table = list(benchmark.verdict_table(found, "C2", RULES))
    assert table[0] == "| brain | `gradient_cross_entropy` | `target_activity` |"
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table[2:]}
    assert rows["nothing"].endswith("| 0.00 [0.00, 0.31] | 0.10 [0.00, 0.45] |")
    assert rows["target activity"].endswith("| 0.20 [0.03, 0.56] | **0.80 [0.44, 0.97]** |")
    # Brains that were not run say so.
    assert rows["three factor"].endswith("| – | – |")


def test_a_seed_is_wrong_once_however_many_rules_are_supported_in_it():
    found = claims(
        holds_nothing={("target_activity", "C2"): 2, ("gradient_cross_entropy", "C2"): 3}
    )
    assert benchmark.wrong_seeds(found, "holds_nothing") == (3, N_SEEDS)


def test_what_keeps_c2_from_the_rule_that_is_there_is_named():
    found = claims(
        holds_target_activity={("target_activity", "C2"): 8, ("target_activity", "C1"): 10}
    )
    (line,) = list(benchmark.held_table(found))[2:]
    assert line == (
        "| target activity | 1.00 [0.69, 1.00] | 0.80 [0.44, 0.97] | 0.045 "
        "| `activity_unit_length` 10 | `no_power` 2 |"
    )


def test_the_tables_stand_between_their_marks(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    start, stop = benchmark.MARKS
    page.write_text(f"before\n{start}\nearlier table\n{stop}\nafter\n")
    monkeypatch.setattr(benchmark, "DOCS", page)
    found = claims(holds_nothing={}, holds_gradient={("gradient_cross_entropy", "C2"): 9})
    for brain, own in found.groupby("dataset"):
        own.to_csv(tmp_path / f"{brain}-0001.csv", index=False)
    benchmark.table(argparse.Namespace(out=tmp_path))
    text = page.read_text()
    assert text.startswith(f"before\n{start}\n") and text.endswith(f"{stop}\nafter\n")
    assert "earlier table" not in text
    assert "10 to 10 seeds of each brain" in text
    assert "activation" not in text
    assert "**0.90 [0.55, 1.00]**" in text
    assert "nothing 0.00 [0.00, 0.31]." in text
    with pytest.raises(SystemExit, match="holds no seed yet"):
        benchmark.read_seeds(tmp_path / "empty")


def test_kept_seeds_are_those_of_the_files_and_are_not_run_again(tmp_path):
    found = claims(holds_nothing={}, holds_gradient={("gradient_cross_entropy", "C2"): 9})
    for (brain, seed), own in found.groupby(["dataset", "seed"]):
        own.to_csv(benchmark.file_of(tmp_path, brain, seed), index=False)
    before = benchmark.read_seeds(tmp_path)
    benchmark.keep(argparse.Namespace(out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [benchmark.KEPT_FILE]
    order = ["dataset", "seed", "signal", "prediction", "variant"]
    pd.testing.assert_frame_equal(
        benchmark.read_seeds(tmp_path), before.sort_values(order, ignore_index=True)
    )
    brains = ("holds_nothing", "holds_gradient")
    expected = {(brain, seed) for brain in brains for seed in range(1, N_SEEDS + 1)}
    assert benchmark.kept_seeds(tmp_path, "dataset") == expected
