"""The tables of the calibration of claims, on claims that are made up."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import calibrate_claims as benchmark

N_SEEDS = 40


def claims(**verdicts):
    """Feedforward brains whose rows (prediction -> verdicts that are not undetermined)."""
    rows = [
        {
            "world": "feedforward",
            "dataset": "brain",
            "axis": "roi",
            "prediction": name,
            "variant": "unique",
            "verdict": given[seed] if seed < len(given) else "undetermined",
            "reason": None,
            "p": 0.5,
            "seed": seed,
        }
        for name, given in verdicts.items()
        for seed in range(N_SEEDS)
    ]
    return pd.DataFrame(rows)


def test_holm_multiplies_by_the_rows_that_are_left():
    assert benchmark.holm([0.03, 0.01, 0.5]) == pytest.approx([0.06, 0.03, 0.5])
    assert benchmark.holm([0.04, 0.04]) == pytest.approx([0.08, 0.08])


def test_a_share_that_is_called_too_small_is_right_where_there_is_none():
    made = claims(C1=["contradicted", "supported"], P5=["contradicted", "supported"])
    wrong = benchmark.is_wrong(made)
    assert wrong[made["prediction"] == "C1"].sum() == 1
    assert wrong[made["prediction"] == "P5"].sum() == 2


def test_rates_above_the_level_are_told_from_chance_and_pooled():
    made = claims(C1=["supported"] * 10, P2=["supported"], P5=[])
    *rows, pooled = benchmark.null_table(made)
    cells = {row.split(" | ")[0].strip("| "): row.split(" | ") for row in rows[2:]}
    assert float(cells["C1"][4]) < 0.01
    assert float(cells["P2"][4]) == 1.0
    assert "11 of 120 (0.092)" in pooled
    assert "any wrong verdict: 0.25" in pooled


def test_a_planted_row_says_how_likely_so_few_would_be_at_the_aim():
    made = claims(A1=["supported"] * 30).assign(variant="raw")
    (row,) = list(benchmark.planted_table(made))[2:]
    cells = row.split(" | ")
    assert cells[6] == "0.9: **missed**"
    # Thirty or fewer of forty at .9: .005.
    assert float(cells[7]) == pytest.approx(0.005, abs=0.005)


def test_an_interval_is_held_against_the_mean_over_seeds():
    made = claims(C1=[])
    estimate = np.linspace(-1.0, 1.0, N_SEEDS)
    # The lower half of the seeds has intervals that end below the mean, which is 0.
    made = made.assign(
        estimate=estimate, ci_low=estimate - 2.0, ci_high=np.where(estimate < 0, estimate, 2.0)
    )
    (row,) = list(benchmark.coverage_table(made))[2:]
    assert row.startswith("| C1 | unique | fMRI | 40 | 0.50 [")


def test_promises_are_told_from_chance():
    many = claims(C1=["supported"] * 10, P2=["supported"])
    found = {name: claims(A1=["supported"] * hits).assign(variant="raw", axis=axis)
             for name, hits, axis in (("few", 20, "roi"), ("almost", 35, "time"))}  # fmt: skip
    lines = list(benchmark.statements(pd.concat([many, *found.values()])))
    assert "1 of 2 rows are" in lines[0]
    assert "0.138 (11 of 80)" in lines[1]
    assert "p > .05: A1 raw MEG feedforward 0.88; missed: A1 raw fMRI feedforward 0.50" in lines[2]


def test_the_answers_of_the_report_are_counted_per_brain():
    made = claims(C1=["contradicted"] * 3, C2=[]).assign(detectable_share=0.05)
    header, _, *rows = benchmark.answer_table(made)
    words = [word.strip() for word in header.strip("|").split("|")]
    cells = {row.split("|")[1].strip(): row.strip("|").split("|") for row in rows}
    counts = dict(zip(words, cells["feedforward"], strict=True))
    assert int(counts["No"]) == 3 and int(counts["Undecided"]) == N_SEEDS - 3
    assert {int(cell) for cell in cells["backprop"][1:]} == {0}


def test_every_world_of_the_study_has_a_plant():
    design = benchmark.Design()
    worlds = benchmark.worlds_of(design.plan(benchmark.ROOT))
    assert set(worlds) == set(benchmark.PLANTED)
    assert all(len(datasets) == 2 for datasets in worlds.values())


def test_blocks_of_other_settings_are_refused(tmp_path):
    plan = benchmark.Design().plan(benchmark.ROOT)
    benchmark.check_settings(tmp_path, benchmark.Design(), plan)
    benchmark.check_settings(tmp_path, benchmark.Design(), plan)
    other = benchmark.Design(explainable=(("time", 0.3),))
    with pytest.raises(SystemExit, match="other settings"):
        benchmark.check_settings(tmp_path, other, plan)


def test_a_setting_that_came_after_the_blocks_is_its_default_there(tmp_path):
    plan = benchmark.Design().plan(benchmark.ROOT)
    benchmark.check_settings(tmp_path, benchmark.Design(), plan)
    path = tmp_path / "settings.json"
    said = json.loads(path.read_text())
    del said["encoding"]["unique_images"]
    # Of fits beside activations, which draws do without.
    said["encoding"] |= {"n_band_weights": 6, "variance_partitioning": True}
    path.write_text(json.dumps(said))
    benchmark.check_settings(tmp_path, benchmark.Design(), plan)
    said["encoding"]["n_folds"] += 1
    path.write_text(json.dumps(said))
    with pytest.raises(SystemExit, match="they differ in encoding;"):
        benchmark.check_settings(tmp_path, benchmark.Design(), plan)


def write_block(folder, world, start, stop):
    rows = [
        dict.fromkeys(benchmark.KEPT, 0.5)
        | {"prediction": "C1", "axis": "roi", "variant": "unique", "dataset": world}
        | {"world": world, "seed": seed, "cpu_s": 1.0}
        for seed in range(start, stop)
    ]
    block = benchmark.Block(world, start, stop)
    pd.DataFrame(rows).to_csv(block.path(folder), index=False)
    return block


def test_kept_seeds_are_those_of_the_blocks_and_are_not_run_again(tmp_path):
    blocks = [write_block(tmp_path, "feedforward", 1, 3), write_block(tmp_path, "backprop", 1, 2)]
    before = benchmark.read_blocks(tmp_path)
    benchmark.keep(argparse.Namespace(out=tmp_path))
    assert not list(tmp_path.glob("*.csv"))
    after = benchmark.read_blocks(tmp_path)
    order = ["world", "seed"]
    pd.testing.assert_frame_equal(
        after.sort_values(order, ignore_index=True),
        before.sort_values(order, ignore_index=True),
        check_like=True,
    )
    done = benchmark.kept_seeds(tmp_path)
    assert all(block.seeds() <= done for block in blocks)
    assert not benchmark.Block("feedforward", 1, 4).seeds() <= done
    # A further block is added to what is kept.
    write_block(tmp_path, "feedforward", 3, 5)
    benchmark.keep(argparse.Namespace(out=tmp_path))
    assert benchmark.kept_seeds(tmp_path) == done | {("feedforward", 3), ("feedforward", 4)}


def test_features_are_the_same_but_for_rounding():
    one = {"store": {"activation": [0.12345, -0.5, 3.0]}}
    assert benchmark.same_features(one, {"store": {"activation": [0.12346, -0.5, 3.001]}})
    assert not benchmark.same_features(one, {"store": {"activation": [0.13, -0.5, 3.0]}})
    assert not benchmark.same_features(one, {"store": {"gradient": [0.12345, -0.5, 3.0]}})
    assert not benchmark.same_features(one, {})


def test_tables_of_folders_that_are_not_given_stay():
    text = "old\n\nOther designs:\n\n| a |\n\nPositive controls:\n\n| b |\n"
    heads = ("Other designs:", "Positive controls:")
    assert benchmark._after(text, heads).splitlines()[0] == "Other designs:"
    assert benchmark._after(text, heads).endswith("| b |")
    assert benchmark._after("old", heads) == ""
