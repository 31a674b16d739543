"""The science end to end: images to verdicts, in a brain with gradients and in one without."""

from __future__ import annotations

import pytest

from gradbrain.store import read_table

SUPPORTED, DESCRIPTIVE = {"supported"}, {"descriptive"}
# What an undetermined or contradicted verdict has in common.
NOT_SUPPORTED = {"contradicted", "undetermined"}
UNDETERMINED = {"undetermined"}
# This network's raw gradient shares little with the activations that were planted (r = .02 to .03),
# no more than images that all subjects saw predict by chance.
NOT_CONTRADICTED = {"supported", "undetermined"}
# (prediction, variant) -> verdicts allowed in the feedforward brain, and in the backprop brain.
EXPECTED = {
    # The network is untrained here: a control for what is said of pretrained ones.
    ("A1", "raw"): (DESCRIPTIVE, DESCRIPTIVE),
    ("P1", "raw"): (NOT_CONTRADICTED, SUPPORTED),
    ("P3", "raw"): (DESCRIPTIVE, DESCRIPTIVE),
    ("P4", "raw"): (DESCRIPTIVE, DESCRIPTIVE),
    ("P5", "raw"): (DESCRIPTIVE, DESCRIPTIVE),
    ("C1", "unique"): (NOT_SUPPORTED, SUPPORTED),
    ("C2", "unique"): (NOT_SUPPORTED, SUPPORTED),
    ("P3", "unique"): (UNDETERMINED, SUPPORTED),
    ("P4", "unique"): (UNDETERMINED, SUPPORTED),
    ("P5", "unique"): (UNDETERMINED, SUPPORTED),
}
MODALITIES = {"P3": 1, "P4": 1, "P5": 1}


@pytest.fixture(scope="module")
def claims(fresh_checkout):
    checkout = fresh_checkout("worlds")
    checkout.snakemake("claims", "--configfile", "tests/workflow/worlds/study.yaml")
    return read_table(checkout.folder / "results" / "worlds" / "claims.csv")


@pytest.mark.parametrize(("prediction", "variant"), EXPECTED)
def test_the_verdicts_are_those_of_the_world_that_was_planted(claims, prediction, variant):
    rows = claims[(claims["prediction"] == prediction) & (claims["variant"] == variant)]
    for world, allowed in zip(
        ("feedforward", "backprop"), EXPECTED[prediction, variant], strict=True
    ):
        found = rows[rows["dataset"].str.endswith(world)]
        # One row per modality that the prediction speaks of.
        assert len(found) == MODALITIES.get(prediction, 2)
        assert set(found["verdict"]) <= allowed, found[["dataset", "estimate", "q", "verdict"]]
        assert set(found["n"]) == {6} or world == "feedforward"
        assert set(found["inference"]) == {"population"} or world == "feedforward"


def test_activations_are_in_the_order_that_was_planted(claims):
    order = claims[claims["prediction"] == "A1"]
    assert (order["reason"] == "untrained").all()
    assert (order["p"] <= 0.05).all()


def test_the_unique_part_separates_the_worlds_by_far_more_than_the_margin(claims):
    unique = claims[claims["prediction"] == "C1"].set_index("dataset")["estimate"]
    for modality in ("fmri", "meg"):
        assert unique[f"world_{modality}_feedforward"] < 0.005
        assert unique[f"world_{modality}_backprop"] > 0.05
