"""Size and power of second opinions, on few simulated studies, and the table of many."""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import calibrate_second_opinions as benchmark


def row(claims, prediction, variant="raw", by="RDM"):
    (found,) = claims[
        (claims["prediction"] == prediction) & (claims["variant"] == variant) & (claims["by"] == by)
    ].to_dict("records")
    return found


def test_a_signal_that_the_brain_holds_passes_p1_and_activations_pass_a1():
    claims = benchmark.study("held", 6, 100, seed=1)
    for prediction, by in (("A1", "RDM"), ("P1", "RDM"), ("P1", "r")):
        found = row(claims, prediction, by=by)
        assert found["verdict"] == "supported" and found["p"] <= 0.05, found


def test_a_signal_that_the_brain_does_not_hold_passes_p1_as_often_as_it_should():
    n_studies, alpha = 20, 0.05
    p = [row(benchmark.study("noise", 2, 100, seed), "P1")["p"] for seed in range(n_studies)]
    assert np.isfinite(p).all()
    hits = int(np.sum(np.array(p) <= alpha))
    assert binomtest(hits, n_studies, alpha, alternative="greater").pvalue > 0.01, p


def test_a_mix_of_a_layer_has_a_unique_part_in_a_brain_of_activations_alone():
    """Why unique rows carry no test."""
    claims = benchmark.study("mix", 6, 100, seed=2)
    found = row(claims, "C1", "unique")
    assert found["p"] <= 0.05 and found["estimate"] > 0.1
    assert found["verdict"] == "descriptive"


def test_finished_studies_are_not_run_again(tmp_path, monkeypatch):
    claims, made = benchmark.study("noise", 2, 40, seed=0), []
    monkeypatch.setattr(benchmark, "study", lambda *key: made.append(key) or claims)
    file = tmp_path / "second_opinions.jsonl"
    benchmark.run(file, [("noise", 2, 40)], 2)
    benchmark.run(file, [("noise", 2, 40)], 3)
    assert made == [("noise", 2, 40, 0), ("noise", 2, 40, 1), ("noise", 2, 40, 2)]
    assert len(benchmark.lines_of(file)) == 3


def test_the_table_counts_what_passes_in_either_direction():
    def one(p, opposite):
        return [
            {"by": by, "prediction": name, "variant": variant, "p": p, "p_opposite": opposite}
            for by, name, variant in benchmark.ROWS
        ]

    studies = [one(0.01, 1.0), one(0.05, 1.0), one(0.9, 0.02), one(np.nan, np.nan)]
    rows = [
        {"kind": "noise", "people": 6, "images": 100, "seed": seed, "claims": claims}
        for seed, claims in enumerate(studies)
    ]
    *_, line = benchmark.table(rows)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == [benchmark.KINDS["noise"], "6", "100", "4"]
    assert cells[4].startswith("0.50 [") and cells[5].startswith("0.25 [")
    assert benchmark.share(2, 4) == cells[4]
