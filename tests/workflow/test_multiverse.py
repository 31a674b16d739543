"""A small multiverse under a real Snakemake: shared, resumed after a kill, and said in words."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from gradbrain.store import read_table

STUDY = "tests/workflow/multiverse/study.yaml"
PASSES = "extract_features_varied_network_varied_grid2"
# Read by every Python of the run; kills the first job that fits a universe.
KILL = """
import os, signal, sys
from pathlib import Path
armed = Path(__file__).with_name("armed")
if armed.exists() and any(word.endswith("fit_universe.py") for word in sys.orig_argv):
    armed.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def resumed(fresh_checkout, tmp_path_factory):
    """Results, jobs planned at first, jobs after the kill, and files before and after these."""
    checkout, folder = fresh_checkout("varied"), tmp_path_factory.mktemp("kill")
    (folder / "sitecustomize.py").write_text(KILL)
    (folder / "armed").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        status, planned = checkout.attempt(STUDY, "--keep-going")
        assert status != 0 and not (folder / "armed").exists()
        before = checkout.contents("**/*")
        status, again = checkout.attempt(STUDY)
    assert status == 0
    return checkout, planned, again, before, checkout.contents("**/*")


def test_four_universes_share_one_set_of_fits_and_one_pass_beside_the_study(resumed):
    _, planned, *_ = resumed
    assert planned["test_universe"] == 4
    # One data set and one model; the study's own fits serve the other two universes.
    assert planned["fit_universe"] == 1
    assert planned[PASSES] == 1


def test_a_killed_run_goes_on_without_making_anything_again(resumed):
    _, planned, again, before, after = resumed
    assert before.items() <= after.items()
    # Of the killed fits follow two universes, their table, the figure and the report.
    assert again == {
        "fit_universe": 1,
        "test_universe": 2,
        "collect_universes": 1,
        "plot_figure": 1,
        "write_report": 1,
    }
    assert planned.keys() >= again.keys()


def test_the_report_says_which_choice_moves_which_verdict(resumed):
    folder = resumed[0].folder / "results" / "varied"
    claims = read_table(folder / "multiverse" / "claims.csv", kind="specification_curve")
    choices = read_table(folder / "multiverse" / "universes.csv", kind="universes")
    level = choices[choices["factor"] == "level"].set_index("universe")["level"]
    tested = claims[claims["verdict"].isin(["supported", "contradicted"])]
    # At a level of one in a million nothing is decided; at the usual one the planted P1 is.
    assert set(tested["universe"].map(level)) == {"usual"}
    base = tested[tested["universe"] == "base"].set_index(["prediction", "variant"])["verdict"]
    assert base["P1", "raw"] == "supported"
    page = (folder / "report.html").read_text()
    assert re.search(
        r"The verdict on P1 \(alone\), supported, changes with level of significance only: "
        r"one in a million makes it undetermined\. 2 of 4 universes agree with the study\.",
        page,
    )
    assert page.count("one in a million makes it undetermined") == len(base)


def test_the_curve_holds_every_tested_claim_in_every_universe_with_its_choices(resumed):
    figures = resumed[0].folder / "results" / "varied" / "figures"
    assert (figures / "specification_curve.png").read_bytes().startswith(b"\x89PNG")
    drawn = pd.read_csv(figures / "specification_curve.csv")
    p1 = drawn[(drawn["prediction"] == "P1") & (drawn["variant"] == "raw")]
    assert len(p1) == 4 * 2
    # The level moves verdicts and no estimate; the pooling moves the estimate.
    estimate = p1.pivot_table("estimate", "universe", "factor", aggfunc="first")["pooling"]
    by_pooling = p1[p1["factor"] == "pooling"].groupby("level")["estimate"].nunique()
    assert by_pooling.to_dict() == {"mean": 1, "grid2": 1}
    assert estimate.nunique() == 2
