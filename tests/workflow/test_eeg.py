"""EEG from arrays of one's own, from the tutorial's files to claims, topographies and report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from gradbrain.store import open_store, open_tree, read_table

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`([\w/.]+)`:\n\n^```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
STUDY = """
study: eeg
registries: [my_eeg]
roots: {eeg_data: brain_data}
datasets: [{name: eeg_data}]
models: [{name: mobilenetv2_050_untrained, layers: [blocks.1, blocks.4]}]
features: {signal_set: demo, unit: model, device: cpu, threads: 1}
encoding: {unit: model, n_draws: 50, n_folds: 3, selection: gcv}
rsa: {n_draws: 50}
"""


@pytest.fixture(scope="module")
def results(fresh_checkout):
    """The tutorial's person with a cap on, and another like her."""
    checkout = fresh_checkout("eeg")
    files = dict(FILES.findall(PAGE))
    first, second = files["make_brain_data.py"], files["make_eeg_data.py"]
    another = second.replace("carol", "dave").replace("default_rng(1)", "default_rng(2)")
    for text in (first, second, another):
        subprocess.run(
            [sys.executable, "-c", text], cwd=checkout.folder, check=True, env=os.environ
        )
    entry = files["my_eeg/datasets.yaml"].replace(
        "[eeg_data-carol]", "[eeg_data-carol, eeg_data-dave]"
    )
    (checkout.folder / "my_eeg").mkdir()
    (checkout.folder / "my_eeg" / "datasets.yaml").write_text(entry)
    (checkout.folder / "eeg.yaml").write_text(STUDY)
    checkout.snakemake("--configfile", "eeg.yaml", "--nocolor")
    return checkout.folder / "results" / "eeg"


def test_responses_say_what_they_are_and_where_the_electrodes_lie(results):
    store = open_store(results / "responses" / "eeg_data-carol.zarr", kind="responses")
    keys = ("modality", "axis", "units", "sensors", "space")
    assert [store.attrs[key] for key in keys] == ["eeg", "time", "µV", "electrodes", "sensors"]
    place = store[["sensor_x", "sensor_y"]].to_dataframe()
    # Oz lies at the back of all, in the middle, and Fp1 in front on the left.
    assert place["sensor_y"].idxmin() == "Oz" and abs(place.loc["Oz", "sensor_x"]) < 0.05
    assert place["sensor_y"].idxmax() in ("Fp1", "Fp2") and place.loc["Fp1", "sensor_x"] < 0
    assert place.loc["C3", "sensor_x"] < 0 < place.loc["C4", "sensor_x"]


def test_it_is_predicted_when_it_was_made_to_be(results):
    scores = read_table(results / "scores" / "mobilenetv2_050_untrained.parquet", kind="scores")
    assert set(scores["modality"]) == {"eeg"}
    activation = scores[(scores["role"] == "activation") & (scores["measure"] == "r")]
    best = activation.groupby("time")["value"].mean().idxmax()
    assert 0.08 <= best <= 0.16
    tree = open_tree(results / "maps" / "mobilenetv2_050_untrained.zarr", kind="maps")
    assert tree["eeg_data"]["score"].dims == ("layer", "signal", "measure", "time", "sensor")


def test_it_reaches_claims_topographies_and_report(results):
    claims = read_table(results / "claims.csv", kind="claims")
    assert set(claims["axis"]) == {"time"}
    drawn = pd.read_csv(results / "figures" / "sensor_topography.csv")
    assert set(drawn["sensor"]) >= {"Oz", "Fp1", "C3"}
    report = (results / "report.html").read_text()
    assert "EEG" in report and "MEG" not in report.replace("fMRI", "").partition("<main>")[0]
