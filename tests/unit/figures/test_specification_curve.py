"""Specification curves and the sentences on which choice moves which verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gradbrain.figures import specification_curve as curve
from gradbrain.figures.declarations import NothingToDraw
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Entry, Names
from gradbrain.figures.sensitivity import sentence, sentences, stabilities
from gradbrain.store import write_table
from gradbrain.vocabulary.artefacts import columns_of

FACTORS = {"pooling": ["mean", "grid2", "grid4"], "seed": ["zero", "one"]}
# Universe -> kind, place of its level of each factor.
CHOICES = {
    "base": ("base", 0, 0),
    "a": ("one_at_a_time", 1, 0),
    "b": ("one_at_a_time", 2, 0),
    "c": ("one_at_a_time", 0, 1),
    "d": ("combination", 2, 1),
}


def universes() -> pd.DataFrame:
    rows = []
    for universe, (kind, *places) in CHOICES.items():
        for order, (factor, place) in enumerate(zip(FACTORS, places, strict=True)):
            level = FACTORS[factor][place]
            rows.append(
                {
                    "universe": universe,
                    "kind": kind,
                    "factor": factor,
                    "factor_label": f"the {factor}",
                    "factor_order": order,
                    "level": level,
                    "level_label": level,
                    "level_order": place,
                    "fit": "f",
                    "signal_set": "s",
                }
            )
    return pd.DataFrame(rows)


def claims(verdicts: dict[str, str], prediction="C1", variant="unique", **columns) -> pd.DataFrame:
    """One claim in every universe; the estimate falls from universe to universe."""
    rows = []
    for place, (universe, verdict) in enumerate(verdicts.items()):
        row = dict.fromkeys(columns_of("specification_curve"), "")
        row |= {
            "universe": universe,
            "prediction": prediction,
            "variant": variant,
            "dataset": "brain",
            "modality": "fmri",
            "axis": "roi",
            "model": "net",
            "signal": "gradient",
            "role": "learning",
            "estimate": 0.1 - 0.01 * place,
            "unit": "R2",
            "ci_low": 0.0,
            "ci_high": 0.2,
            "reference": 0.01,
            "verdict": verdict,
            **dict.fromkeys(("p", "p_min", "q", "p_opposite", "q_opposite"), np.nan),
            "n": 6,
            **columns,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def same(verdict: str, **others: str) -> dict[str, str]:
    return {universe: others.get(universe, verdict) for universe in CHOICES}


def one(verdicts: dict[str, str]):
    (found,) = stabilities(claims(verdicts), universes())
    return found


def test_a_verdict_that_one_level_moves_is_laid_to_its_factor_alone():
    found = one(same("undetermined", b="supported", d="supported"))
    assert [(move.factor, move.level, move.verdict) for move in found.moves] == [
        ("the pooling", "grid4", "supported")
    ]
    assert (found.n_same, found.n_universes, found.n_combinations_moved) == (3, 5, 1)
    assert sentence(found) == (
        "The verdict on C1 (unique part), undetermined, changes with the pooling only: grid4 makes "
        "it supported. 3 of 5 universes agree with the study."
    )


def test_a_verdict_that_two_factors_move_names_both_in_the_order_of_the_config():
    found = one(same("supported", a="undetermined", c="contradicted"))
    assert sentence(found) == (
        "The verdict on C1 (unique part), supported, changes with the pooling and the seed: grid2 "
        "makes it undetermined; one makes it contradicted. 3 of 5 universes agree with the study."
    )


def test_a_verdict_that_only_a_combination_moves_is_not_laid_to_a_choice():
    assert sentence(one(same("supported", d="undetermined"))) == (
        "The verdict on C1 (unique part), supported, changes with no choice alone, but in 1 "
        "combination. 4 of 5 universes agree with the study."
    )


def test_verdicts_that_nothing_moves_share_a_sentence_after_those_that_move():
    table = pd.concat(
        [
            claims(same("supported"), "P1", "raw"),
            claims(same("undetermined", c="supported"), "C1"),
            claims(same("undetermined"), "P5"),
            claims(same("descriptive"), "P5", "raw"),
        ]
    )
    (found,) = sentences(table, universes(), Names())
    assert found["subject"].endswith("net: gradient")
    assert found["sentences"] == [
        "The verdict on C1 (unique part), undetermined, changes with the seed only: one makes it "
        "supported. 4 of 5 universes agree with the study.",
        "No choice and no combination moves the verdict on P1 (alone) (supported) and P5 (unique "
        "part) (undetermined) (5 universes).",
    ]


def written(folder, table: pd.DataFrame) -> FigureInputs:
    write_table(folder / "claims.csv", table, kind="specification_curve")
    write_table(folder / "universes.csv", universes(), kind="universes")
    return FigureInputs(
        study="any",
        universes=[folder / "universes.csv"],
        specification_curve=[folder / "claims.csv"],
    )


def test_estimates_are_sorted_and_the_matrix_below_has_a_mark_per_universe_and_factor(tmp_path):
    data = curve.select(written(tmp_path, claims(same("supported", b="contradicted"))))
    assert curve.in_order(data) == ["d", "c", "b", "a", "base"]
    assert len(data) == len(CHOICES) * len(FACTORS)
    levels = curve.levels_of(data)
    assert list(levels["level"]) == ["mean", "grid2", "grid4", "zero", "one"]
    drawn = curve.figure(data, Names())
    above, below = drawn.axes
    points = np.concatenate([item.get_offsets().data for item in above.collections[1:]])
    # Five universes, and the ring around the study.
    assert len(points) == len(CHOICES) + 1
    assert np.sort(points[:-1, 1]) == pytest.approx([0.06, 0.07, 0.08, 0.09, 0.1])
    np.testing.assert_allclose(points[-1], [4, 0.1])
    marks = below.collections[0].get_offsets().data
    assert sorted(map(tuple, marks.tolist())) == sorted(
        [(0, 2), (0, 4), (1, 0), (1, 4), (2, 2), (2, 3), (3, 1), (3, 3), (4, 0), (4, 3)]
    )


def test_a_claim_that_some_universes_lack_has_its_marks_beside_the_names_of_levels(tmp_path):
    few = claims({"base": "supported", "c": "supported"}, "A1", "raw")
    data = curve.select(written(tmp_path, pd.concat([few, claims(same("supported"))])))
    drawn = curve.figure(data, Names())
    first, second = drawn.axes[1::2]
    assert len(first.get_yticklabels()) == 5
    assert first.get_ylim() == second.get_ylim() == (4.5, -0.5)
    marks = first.collections[0].get_offsets().data
    assert sorted(map(tuple, marks.tolist())) == [(0, 0), (0, 4), (1, 0), (1, 3)]


def test_a_panel_per_claim_that_carries_a_verdict(tmp_path):
    table = pd.concat(
        [
            claims(same("supported"), "P1", "raw"),
            claims(same("descriptive"), "P5", "raw"),
            claims(same("undetermined"), "C1"),
            claims(same("undetermined"), "P3", estimate=np.nan),
        ]
    )
    data = curve.select(written(tmp_path, table))
    assert list(dict.fromkeys(data["prediction"])) == ["P1", "C1"]
    assert len(curve.figure(data, Names()).axes) == 4


def test_panels_stand_by_prediction_and_then_by_signal_in_the_order_of_the_entries(tmp_path):
    table = pd.concat(
        [
            claims(same("supported"), prediction, signal=signal)
            for signal in ("first", "second")
            for prediction in ("C1", "P1")
        ]
    )
    data = curve.select(written(tmp_path, table))

    def panels(*signals: str) -> list[tuple[str, str]]:
        entries = [
            Entry("signal", name, order, role="learning") for order, name in enumerate(signals)
        ]
        titles = [
            ax.get_title(loc)
            for ax in curve.figure(data, Names(tuple(entries))).axes[::2]
            for loc in ("left", "center")
            if ax.get_title(loc)
        ]
        return [(title[:2], title.splitlines()[-1]) for title in titles]

    assert panels("second", "first") == [
        ("P1", "second"),
        ("P1", "first"),
        ("C1", "second"),
        ("C1", "first"),
    ]
    assert panels("first", "second") == [
        ("P1", "first"),
        ("P1", "second"),
        ("C1", "first"),
        ("C1", "second"),
    ]


def test_claims_without_a_verdict_leave_nothing_to_draw(tmp_path):
    with pytest.raises(NothingToDraw, match="claims with a verdict"):
        curve.select(written(tmp_path, claims(same("descriptive"))))
