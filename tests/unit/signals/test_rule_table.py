"""The table of rules and families in the docs is what small networks show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import write_rule_table

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import SignalEntry
from gradbrain.store import write_table
from gradbrain.vocabulary.artefacts import columns_of

TABLE = write_rule_table.table()


def cells(rule: str) -> dict[str, str]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines()]
    (found,) = (row for row in rows if row[0] == rule)
    return dict(zip(rows[0], found, strict=True))


def test_the_docs_show_what_is_measured():
    assert TABLE in write_rule_table.PAGE.read_text(encoding="utf-8")


def test_every_rule_of_the_library_is_in_the_table():
    # What taught a network is told of those that the study trains, in a table of their own.
    for rule in set(LIBRARY_PLUGINS.names("rules")) - {"teaching_signal"}:
        assert f"| `{rule}`" in TABLE, rule


def test_what_is_known_beforehand():
    span = "in the span of activations"
    assert cells("`activation`")[span] == "yes"
    assert cells("`backprop`")[span] == "no"
    # A rectifier ends the blocks of a ResNet, a sum those of a transformer.
    assert cells("`backprop_error`")["ResNet"] == "exact"
    assert cells("`backprop_error`")["ViT"] == "degenerate (backprop)"
    assert cells("`feedback_alignment`")["NFNet"] == "refused"
    assert cells("`hebbian`")["ConvNeXt"] == "degenerate (activation)"
    assert cells("`objective_value`")["OWL-ViT"] == "degenerate (one number)"
    fixed = "a fixed matrix"
    assert cells("`difference_target_propagation` (inverse: affine)")[fixed] == "yes"
    assert cells("`difference_target_propagation`")[fixed] == "no"
    assert cells("`direct_feedback_alignment`")[fixed] == "yes"


@pytest.mark.parametrize(("noise", "expected"), [(0.0, True), (0.01, False)])
def test_a_linear_function_of_activations_is_in_their_span(noise, expected, monkeypatch):
    network = write_rule_table.small_network()
    signals = type(network).signals
    random = np.random.default_rng(0)

    def invented(self, entry):
        found = signals(self, SignalEntry(name="a", role="activation", rule="activation"))
        if entry.rule == "activation":
            return found
        mixed = {name: tensor.flip(1) * 2 - 1 for name, tensor in found.items()}
        return {
            name: t + noise * t.new_tensor(random.standard_normal(t.shape))
            for name, t in mixed.items()
        }

    monkeypatch.setattr(type(network), "signals", invented)
    signal = SignalEntry(name="b", role="learning", rule="backprop", objective="entropy")
    assert write_rule_table.in_span(signal) == expected


def test_a_ranking_is_written_with_controls_below_and_power_beside(tmp_path):
    rows = [
        # signal, role, criterion, estimate, low, high, detectable, same_as, rank
        ("b", "learning", "unique part", 0.10, 0.05, 0.15, 0.25, "", 2),
        ("a", "learning", "unique part", 0.30, 0.20, 0.40, 0.25, "", 1),
        ("same", "learning", "unique part", 0.29, 0.20, 0.40, 0.25, "a", 1),
        ("weak", "control", "unique part", -0.01, np.nan, np.nan, np.nan, "", np.nan),
        ("strong", "control", "unique part", 0.20, 0.10, 0.30, np.nan, "", np.nan),
        ("a", "learning", "predictivity", 0.123, 0.1, 0.15, np.nan, "", 1),
        ("activation", "activation", "predictivity", 0.5, 0.4, 0.6, np.nan, "", np.nan),
    ]
    names = ["signal", "role", "criterion", "estimate", "ci_low", "ci_high"]
    names += ["detectable_share", "same_as", "rank"]
    table = pd.DataFrame(rows, columns=names).assign(
        dataset="people", model="net", lower_share=0.0, upper_share=0.5, verdict="", reason=""
    )
    table.loc[1, ["verdict", "reason"]] = ["undetermined", "no_power"]
    table.to_csv(tmp_path / "rule_ranking.csv", index=False)
    lines = write_rule_table.ranking_table(tmp_path / "rule_ranking.csv").splitlines()
    assert lines[0] == "`people`, `net`:"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [(row[0], row[1]) for row in cells] == [
        ("1", "`a`"), ("=", "`same`"), ("2", "`b`"), ("control", "`strong`"), ("control", "`weak`"),
    ]  # fmt: skip
    assert cells[0][2:7] == [
        "0.123 [0.100, 0.150]", "30.0 [20.0, 40.0]", "0 to 50", "25", "undetermined (`no_power`)",
    ]  # fmt: skip
    assert cells[4][3] == "−1.0" and cells[4][5] == "–"


def test_networks_that_differ_in_one_factor_stand_side_by_side(tmp_path):
    # Rows of a region, of another method and of unique parts are not shown.
    other, first, second = [9.0] * 6, "trained - not", "birds - insects"
    rows = [
        # contrast, signal, role, region, method, variant, both means, difference, interval, q
        (first, "b", "learning", np.nan, "encoding", "raw", 0.1, 0.3, -0.2, -0.3, -0.1, 0.01),
        (first, "a", "activation", np.nan, "encoding", "raw", 0.2, 0.1, 0.1, -0.1, 0.3, 0.2),
        (first, "a", "activation", "V1", "encoding", "raw", *other),
        (first, "b", "learning", np.nan, "rsa", "raw", *other),
        (first, "b", "learning", np.nan, "encoding", "unique", *other),
        (second, "b", "learning", np.nan, "encoding", "raw", 0.1, 0.1, 0.0, *[np.nan] * 3),
    ]
    names = ["contrast", "signal", "role", "roi", "method", "variant", "mean_a", "mean_b"]
    names += ["estimate", "ci_low", "ci_high", "q"]
    table = pd.DataFrame(rows, columns=names)
    paths = [tmp_path / "one.csv", tmp_path / "other.csv"]
    table.iloc[:5].to_csv(paths[0], index=False)
    table.iloc[5:].to_csv(paths[1], index=False)
    assert write_rule_table.contrast_table(paths).splitlines() == [
        "| signal | trained - not | birds - insects |",
        "| --- | --- | --- |",
        "| `a` | 0.200, 0.100: 0.100 [−0.100, 0.300] | – |",
        "| `b` | 0.100, 0.300: **−0.200 [−0.300, −0.100]** | 0.100, 0.100: 0.000 |",
    ]


@pytest.mark.parametrize("option", ["--ranking", "--contrasts", "--pairing"])
def test_a_table_that_is_not_there_is_named(option, tmp_path):
    path = tmp_path / "results" / "nothing.csv"
    with pytest.raises(GradbrainError, match=r"nothing\.csv: cannot be read .* make it with the"):
        write_rule_table.main([option, str(path)])


def training_of(folder, model, rule, seed, angles):
    """Table of a training: angles of two layers at its end, and others before."""
    rows = [
        {"model": model, "learning_rule": rule, "seed": seed, "step": step, "layer": layer,
         "depth": depth, "correction": "", "angle": angle if step else 89.0, "turn": 0.0,
         "weight_angle": 0.0, "inverse_r2": np.nan if depth else 0.5 + 0.1 * seed, "loss": 1.0,
         "r2": 0.9}
        for step in (0, 7)
        for depth, (layer, angle) in enumerate(angles.items())
    ]  # fmt: skip
    path = folder / f"{model}.parquet"
    write_table(path, pd.DataFrame(rows)[list(columns_of("training"))], kind="training")
    return path


def test_angles_of_several_seeds_are_given_with_their_spread(tmp_path):
    tables = [
        training_of(tmp_path, f"net_{seed}", "kolen_pollack", seed, {"a": angle, "b": 4.0})
        for seed, angle in enumerate((8.0, 10.0, 15.0))
    ]
    tables.append(training_of(tmp_path, "other", "backprop", 0, {"a": 0.0, "b": 0.0}))
    lines = write_rule_table.training_table(tables).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["rule that trains", "R²", "a", "b", "inverses, R²"]
    assert cells[2] == ["`backprop`", "0.90", "0", "0", "0.50"]
    # The standard deviation of 8, 10 and 15 is the square root of 13.
    assert cells[3] == ["`kolen_pollack`", "0.90 ± 0.00", "11 ± 4", "4 ± 0", "0.60 ± 0.10"]


def test_networks_that_differ_in_more_than_their_seed_are_not_averaged(tmp_path):
    tables = [training_of(tmp_path, name, "backprop", 0, {"a": 0.0}) for name in ("short", "long")]
    with pytest.raises(GradbrainError, match="long, short: all trained by backprop with seed 0"):
        write_rule_table.training_table(tables)


def test_rules_are_paired_with_the_rule_that_trained_the_network(tmp_path):
    def row(model, trained_by, signal, rule, estimate):
        return {
            "dataset": "people", "model": model, "trained_by": trained_by, "signal": signal,
            "rule": rule, "role": "learning", "criterion": "unique part", "rank": 1.0,
            "estimate": estimate, "ci_low": estimate - 0.1, "ci_high": estimate + 0.1,
        }  # fmt: skip

    table = pd.DataFrame(
        [
            row("a", "kolen_pollack", "taught", "teaching_signal", 0.2),
            row("b", "backprop", "taught", "teaching_signal", 0.1),
            row("c", "backprop", "taught", "teaching_signal", 0.3),
            row("a", "kolen_pollack", "gradient", "backprop", -0.1),
            row("b", "backprop", "gradient", "backprop", 0.1),
            row("c", "backprop", "gradient", "backprop", 0.3),
            row("d", "", "gradient", "backprop", 0.9),
        ]
    )
    table.to_csv(tmp_path / "rule_ranking.csv", index=False)
    assert write_rule_table.pairing_table(tmp_path / "rule_ranking.csv").splitlines() == [
        "| `people`: rule | `backprop` | `kolen_pollack` |",
        "| --- | --- | --- |",
        "| `taught` | **20.0 ± 14.1** | **20.0 [10.0, 30.0]** |",
        "| `gradient` | **20.0 ± 14.1** | −10.0 [−20.0, 0.0] |",
    ]
    table[table["trained_by"] == ""].to_csv(tmp_path / "none.csv", index=False)
    assert write_rule_table.pairing_table(tmp_path / "none.csv") == ""
