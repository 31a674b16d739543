"""A small THINGS-MEG, in the published layout and formats, through the whole workflow."""

from __future__ import annotations

import pandas as pd
import pytest
from trees.things import write_things_meg

from gradbrain.store import open_store, read_table

STUDY = "tests/workflow/things_meg/study.yaml"
SUBJECTS = ("things_meg_small-P1", "things_meg_small-P2")


@pytest.fixture(scope="module")
def finished(fresh_checkout, tmp_path_factory):
    """The study, run once from a tree that lies elsewhere; its folder of results."""
    root = tmp_path_factory.mktemp("download")
    concepts = [f"thing{number}" for number in range(1, 17)]
    write_things_meg(root, concepts=concepts, exemplars=3, n_test=5, sessions=4, signal=3.0)
    checkout = fresh_checkout("things_meg")
    roots = f"roots={{things_meg_small: {root}}}"
    checkout.snakemake("--configfile", STUDY, "--config", roots)
    return checkout.folder / "results" / "things_meg_small"


def test_the_workflow_goes_from_the_download_to_claims_and_figures(finished):
    assert (finished / "report.html").stat().st_size > 10_000
    figures = {path.stem for path in (finished / "figures").glob("*.pdf")}
    assert {"encoding_over_time", "sensor_topography", "peak_time_by_depth"} <= figures
    claims = read_table(finished / "claims.csv")
    assert {"A1", "P1", "P3", "P4", "C1", "C2"} <= set(claims["prediction"])


def test_responses_that_follow_the_images_are_predicted_when_they_come(finished):
    scores = read_table(finished / "scores" / "tiny_a.parquet")
    rows = scores[(scores["signal"] == "activation") & (scores["measure"] == "r")]
    assert set(rows["subject"]) == set(SUBJECTS)
    by_time = rows.groupby("time")["value"].mean()
    assert 0.1 <= by_time.idxmax() <= 0.2
    assert by_time.max() > 0.2
    assert abs(by_time[by_time.index < 0].mean()) < 0.1


def test_test_images_are_scored_on_their_own(finished):
    for subject in SUBJECTS:
        responses = open_store(finished / "responses" / f"{subject}.zarr", kind="responses")
        assert int(responses["test_image"].sum()) == 5
        assert set(responses["n_repeats"].values[responses["test_image"].values]) == {4}
    scores = read_table(finished / "scores" / "tiny_a.parquet")
    assert scores["measure"].str.contains("test").any()


@pytest.mark.parametrize(
    "figure", ["encoding_over_time", "peak_time_by_depth", "sensor_topography", "rsa_summary"]
)
def test_figures_of_latencies_know_what_told_the_onset(finished, figure):
    behind = pd.read_csv(finished / "figures" / f"{figure}.csv")
    assert set(behind["onset_source"]) == {"events.tsv"}


def test_the_choice_of_onset_is_in_responses_and_provenance(finished):
    for subject in SUBJECTS:
        path = finished / "responses" / f"{subject}.zarr"
        assert open_store(path, kind="responses").attrs["onset_source"] == "events.tsv"
        provenance = path.with_name(f"{path.name}.provenance.json")
        assert '"onset_source": "events.tsv"' in provenance.read_text()
