"""The science end to end: images to verdicts, in a brain without gradients and in two with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradbrain.store import read_table

ROOT = Path(__file__).resolve().parents[2]

SUPPORTED, DESCRIPTIVE = {"supported"}, {"descriptive"}
# What an undetermined or contradicted verdict has in common.
NOT_SUPPORTED = {"contradicted", "undetermined"}
UNDETERMINED = {"undetermined"}
CONTRADICTED = {"contradicted"}
# A raw gradient shares little with the activations that were planted, no more than images that all
# subjects saw predict by chance.
NOT_CONTRADICTED = {"supported", "undetermined"}
WORLDS = ("feedforward", "backprop", "paper")
# (prediction, variant) -> verdicts allowed in each of the worlds.
EXPECTED = {
    ("A1", "raw"): (SUPPORTED, SUPPORTED, SUPPORTED),
    ("P1", "raw"): (NOT_CONTRADICTED, SUPPORTED, SUPPORTED),
    ("P3", "raw"): (DESCRIPTIVE, DESCRIPTIVE, DESCRIPTIVE),
    ("P4", "raw"): (DESCRIPTIVE, DESCRIPTIVE, DESCRIPTIVE),
    ("P5", "raw"): (DESCRIPTIVE, DESCRIPTIVE, DESCRIPTIVE),
    ("C1", "unique"): (NOT_SUPPORTED, SUPPORTED, SUPPORTED),
    ("C2", "unique"): (NOT_SUPPORTED, SUPPORTED, SUPPORTED),
    ("P3", "unique"): (UNDETERMINED, SUPPORTED, SUPPORTED),
    ("P4", "unique"): (UNDETERMINED, SUPPORTED, CONTRADICTED),
    ("P5", "unique"): (UNDETERMINED, SUPPORTED, CONTRADICTED),
}
MODALITIES = {"P3": 1, "P4": 1, "P5": 1}
# Of four layers whose scores rise and fall together no order in time can be told from that of an
# arbitrary map (the smallest p is .06): such rows have estimates, and no verdict.
ORDER_IN_TIME = ("A1", "P4")


STUDY = "tests/workflow/worlds/study.yaml"


@pytest.fixture(scope="module")
def folder(fresh_checkout):
    checkout = fresh_checkout("worlds")
    checkout.snakemake("claims", "--configfile", STUDY)
    return checkout.folder


@pytest.fixture(scope="module")
def claims(folder):
    return read_table(folder / "results" / "worlds_small" / "claims.csv")


@pytest.mark.parametrize(("prediction", "variant"), EXPECTED)
def test_the_verdicts_are_those_of_the_world_that_was_planted(claims, prediction, variant):
    rows = claims[(claims["prediction"] == prediction) & (claims["variant"] == variant)]
    for world, allowed in zip(WORLDS, EXPECTED[prediction, variant], strict=True):
        found = rows[rows["dataset"].str.endswith(world)]
        # One row per modality that the prediction speaks of.
        assert len(found) == MODALITIES.get(prediction, 2)
        judged = allowed != DESCRIPTIVE
        few = (found["axis"] == "time") & (prediction in ORDER_IN_TIME) & judged
        assert set(found["verdict"][few]) <= UNDETERMINED
        assert set(found["reason"][few]) <= {"few_places", "no_latency"}
        assert set(found["verdict"][~few]) <= allowed, found[["dataset", "estimate", "verdict"]]
        assert set(found["n"]) == {6} or world == "feedforward"
        assert set(found["inference"]) == {"population"} or world == "feedforward"


def test_order_and_place_of_gradients_are_those_of_their_world_whatever_the_verdict(claims):
    unique = claims[claims["variant"] == "unique"].set_index(["prediction", "dataset"])["estimate"]
    assert unique["P4", "world_meg_backprop"] < -0.9
    assert unique["P4", "world_meg_paper"] > 0.9
    assert unique["P5", "world_fmri_backprop"] > 0.9
    assert unique["P5", "world_fmri_paper"] < -0.5
    for world in ("backprop", "paper"):
        assert unique["P3", f"world_meg_{world}"] > 100


def test_the_unique_part_separates_the_worlds_by_far_more_than_the_margin(claims):
    unique = claims[claims["prediction"] == "C1"].set_index("dataset")["estimate"]
    for modality in ("fmri", "meg"):
        assert unique[f"world_{modality}_feedforward"] < 0.005
        for world in ("backprop", "paper"):
            assert unique[f"world_{modality}_{world}"] > 0.05


@pytest.fixture(scope="module")
def seen():
    """What brains of all worlds share, since they saw the same images."""
    return {}


@pytest.mark.parametrize("world", ["feedforward", "backprop", "paper_pattern"])
def test_the_benchmark_judges_the_seed_of_the_study_as_the_pipeline_does(
    claims, folder, monkeypatch, seen, world
):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from calibrate_claims import Brains, Design

    brains = Brains(Design(STUDY), world, folder, model="world_network", seen=seen)
    found = brains.claims(seed=0)
    expected = claims[claims["dataset"].isin(found["dataset"])].reset_index(drop=True)
    assert len(found) == len(expected) == 20
    expected["reason"] = expected["reason"].fillna("")
    for name in ("prediction", "dataset", "variant", "statistic", "verdict", "reason", "n"):
        assert found[name].tolist() == expected[name].tolist(), name
    for name in ("estimate", "p", "p_min", "q", "lower_share", "upper_share", "ci_low", "ci_high"):
        np.testing.assert_allclose(
            found[name].to_numpy(dtype=float),
            expected[name].to_numpy(dtype=float),
            rtol=1e-5,
            atol=1e-7,
            err_msg=name,
        )
    assert len(seen) == 1
    for entry in brains.entries:
        own, other = (brains.responses(entry, entry.subjects[0], seed)[1].values for seed in (0, 1))
        # Read-outs and noise are others.
        assert abs(np.corrcoef(own.ravel(), other.ravel())[0, 1]) < 0.5
    # And claims are made of the seed that they were asked for.
    asked = []

    def draw(entry, subject, seed):
        asked.append(seed)
        raise InterruptedError

    monkeypatch.setattr(brains, "responses", draw)
    with pytest.raises(InterruptedError):
        brains.claims(seed=1)
    assert asked == [1]
