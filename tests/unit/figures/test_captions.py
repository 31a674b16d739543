"""Captions are plain text: the numbers that they tell are those that figures and claims use."""

import re
from pathlib import Path

import pytest

from gradbrain.figures import (
    claims_by_model,
    claims_overview,
    cortical_map,
    encoding_over_time,
    rule_pairs,
    training_angles,
)
from gradbrain.hierarchy import spatial, temporal
from gradbrain.hierarchy.unique_share import POWER
from gradbrain.vocabulary.intervals import CONFIDENCE, FEW_GROUPS, NULL_PERCENTILE
from gradbrain.vocabulary.measures import SAME_AS_GRADIENT

CAPTIONS = Path(__file__).resolve().parents[3] / "workflow" / "report"
WORDS = {"three": 3, "forty": 40}
# What a caption says, the number in brackets -> the number that is used, and in how many captions
# at the least.
TOLD = {
    r"(\d+) % (?:interval|bound)": (100 * CONFIDENCE, 10),
    r"fewer than (\d+) groups of images": (FEW_GROUPS, 3),
    r"above (0\.\d+) at every layer": (SAME_AS_GRADIENT, 2),
    r"(\d+)th percentile of (?:the scores of )?permuted": (NULL_PERCENTILE, 3),
    r"(\d+)th percentile of scores of either sign": (cortical_map.HIGHEST_PERCENTILE, 1),
    r"with a probability of (\d+) %": (100 * POWER, 2),
    r"p ≤ (\.\d+) over all times": (encoding_over_time.LEVEL, 1),
    r"dotted line \((\d+)°\)": (training_angles.RIGHT, 1),
    r"more than (\w+) models no name": (claims_by_model.MOST_NAMED, 1),
    r"more than (\w+) rows each cell": (claims_overview.MOST_ROWS, 1),
    r"more than (\d+) signals percents are whole": (rule_pairs.MOST_DECIMAL, 1),
    r"of more than (\d+) the colour bar": (rule_pairs.MOST_NUMBERS, 1),
    r"fewer than (\w+) layers have no": (temporal.FEWEST_LAYERS, 1),
}


@pytest.mark.parametrize("text", TOLD)
def test_a_number_in_captions_is_the_one_that_is_used(text):
    used, least = TOLD[text]
    told = {
        caption.name: [WORDS.get(number) or float(number) for number in found]
        for caption in sorted(CAPTIONS.rglob("*.rst"))
        if (found := re.findall(text, caption.read_text(encoding="utf-8")))
    }
    assert len(told) >= least
    assert {number for numbers in told.values() for number in numbers} == {used}, told


def test_both_tests_against_permuted_images_have_one_level():
    assert spatial.LEVEL == temporal.LEVEL
