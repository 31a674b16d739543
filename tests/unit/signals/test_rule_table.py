"""The table of rules and families in the docs is what small networks show."""

from __future__ import annotations

import numpy as np
import pytest
import write_rule_table

from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import SignalEntry

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
