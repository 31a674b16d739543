"""One person is enough: the further examples of the tutorial, with one subject each, to the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import write_report
import xarray as xr
import yaml

from gradbrain.store import read_table

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`([\w/.]+)`:\n\n^```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRIES = re.compile(r"^```yaml\n(datasets:\n.*?)^```", re.MULTILINE | re.DOTALL)
# Passes of images this small cost a fifth of those of 96 px.
MODEL = {
    "architecture": "mobilenetv2_050",
    "weights": {"source": "random", "seed": 0},
    "input_size": 48,
    "default_objective": "dino",
    "licence": "none (random initialisation)",
    "citation": "Sandler et al. 2018 (arXiv:1801.04381)",
}
STUDY = {
    "study": "alone",
    "registries": ["mine"],
    "roots": {"brain_data": "brain_data", "meg_data": "brain_data", "zarr_data": "brain_data"},
    "datasets": [
        {"name": "brain_data", "subjects": ["brain_data-alice"]},
        {"name": "meg_data"},
        {"name": "zarr_data"},
    ],
    "models": [{"name": "small_untrained", "layers": ["blocks.1", "blocks.4"]}],
    "features": {"signal_set": "demo", "unit": "model", "device": "cpu"},
    "encoding": {"unit": "model", "n_draws": 30, "n_folds": 3, "selection": "gcv"},
    "rsa": {"n_draws": 20, "encoding": True},
}


def write_recordings(folder: Path) -> None:
    """Give the examples their files: MEG that follows the images at 120 ms, a zarr of two regions.

    The MEG subject is called like that of the tutorial's fMRI, and her files as the page has it,
    in a folder of her own.
    """
    images = pd.read_csv(folder / "images.csv")
    random = np.random.default_rng(4)
    signal = np.load(folder / "alice.npy")[: len(images), :3]
    times = np.arange(-0.1, 0.3, 0.01)
    course = np.exp(-(((times - 0.12) / 0.04) ** 2))
    # The layout Vectorview-mag has 102 sensors.
    response = np.einsum("is,t,sm->itm", signal, course, random.standard_normal((3, 102)))
    both = np.concatenate([response, response]) + random.standard_normal((96, len(times), 102))
    np.save(folder / "meg_alice.npy", both.astype(np.float32))
    targets = pd.read_csv(folder / "targets.csv")
    kept = targets["roi"].isin(["V1", "LO"]).to_numpy()
    shown = pd.read_csv(folder / "alice_rows.csv")["image_id"].to_numpy(dtype=str)
    own = folder / "zarr_data-alice"
    own.mkdir()
    images.to_csv(own / "images.csv", index=False)
    xr.Dataset(
        {"response": (("presentation", "target"), np.load(folder / "alice.npy")[:, kept])},
        coords={
            "image_id": ("presentation", shown),
            "roi": ("target", targets["roi"][kept].to_numpy(dtype=str)),
        },
    ).to_netcdf(own / "responses.nc")


@pytest.fixture(scope="module")
def alone(fresh_checkout):
    """The study and what its run printed."""
    checkout = fresh_checkout("alone")
    files = dict(FILES.findall(PAGE))
    make = files["make_brain_data.py"]
    subprocess.run([sys.executable, "-c", make], cwd=checkout.folder, check=True, env=os.environ)
    write_recordings(checkout.folder / "brain_data")
    entries = yaml.safe_load(files["my_study/datasets.yaml"])["datasets"]
    for text in ENTRIES.findall(PAGE):
        entries |= yaml.safe_load(text)["datasets"]
    # Both share a folder here.
    entries["meg_data"]["options"]["responses"] = "meg_{id}.npy"
    entries["zarr_data"]["options"]["responses"] = "{subject}/responses.nc"
    (checkout.folder / "mine").mkdir()
    (checkout.folder / "mine" / "datasets.yaml").write_text(yaml.safe_dump({"datasets": entries}))
    models = {"models": {"small_untrained": MODEL}}
    (checkout.folder / "mine" / "models.yaml").write_text(yaml.safe_dump(models))
    (checkout.folder / "alone.yaml").write_text(yaml.safe_dump(STUDY))
    done = checkout.snakemake("--configfile", "alone.yaml", "--nocolor")
    return checkout.folder / "results" / "alone", done.stdout + done.stderr


def test_what_cannot_be_judged_is_told_before_any_job(alone):
    _, printed = alone
    before = printed.partition("Job stats:")[0]
    for name in ("brain_data", "meg_data", "zarr_data"):
        assert f"notice: data set '{name}' has one subject" in before


def test_one_subject_is_tested_within_itself_along_regions_and_along_time(alone):
    claims = read_table(alone[0] / "claims.csv", kind="claims")
    assert set(claims["dataset"]) == {"brain_data", "meg_data", "zarr_data"}
    assert set(claims["n_subjects"]) == {1} and set(claims["inference"]) == {"these_subjects"}
    asked = claims[claims["prediction"].isin(["P1", "C1", "C2"])]
    assert len(asked) == 3 * 5
    assert np.isfinite(asked[["estimate", "ci_low", "ci_high", "p"]]).all().all()
    assert asked["statistic"].str.endswith("_own_peak").all()
    # Regions without positions, and two of them: they are contrasted.
    contrasts = claims[(claims["prediction"] == "P2") & (claims["dataset"] == "zarr_data")]
    assert np.isfinite(contrasts["p"]).all() and (contrasts["estimate"] != 0).all()


def test_one_subject_has_a_second_opinion_by_its_own_dissimilarities(alone):
    results = alone[0]
    opinions = read_table(results / "second_opinions.csv", kind="second_opinions")
    claims = read_table(results / "claims.csv", kind="claims")
    assert opinions["first_verdict"].tolist() == claims["verdict"].tolist()
    raw = opinions[(opinions["prediction"] == "P1") & (opinions["variant"] == "raw")]
    assert len(raw) == 3 and np.isfinite(raw["p"]).all()
    assert raw["statistic"].str.endswith("_own_peak").all()
    unique = opinions[opinions["variant"] == "unique"]
    assert set(unique["verdict"]) == {"descriptive"} and unique["p"].isna().all()
    (path,) = (results / "prediction_rsa").glob("*.parquet")
    scores = read_table(path, kind="prediction_rsa")
    # Nobody else saw the images.
    assert scores["ceiling_low"].isna().all() and scores["value"].notna().all()
    assert not (results / "rdm_ceilings").exists()
    assert (results / "figures" / "rsa_of_predictions.png").exists()
    assert 'id="second"' in (results / "report.html").read_text()


def test_figures_and_report_are_made_in_any_case(alone):
    results, _ = alone
    drawn = {path.stem for path in (results / "figures").glob("*.png")}
    assert {"control_comparison", "encoding_by_region", "encoding_over_time"} <= drawn
    shown = pd.read_csv(results / "figures" / "control_comparison.csv")
    assert set(shown["quantity"]) == {"unique", "beyond_control"}
    assert set(shown["dataset"]) == {"brain_data", "meg_data", "zarr_data"}
    page = (results / "report.html").read_text()
    assert "chooses itself where each layer is scored" in page


def test_the_folder_of_results_alone_gives_the_same_page(alone, tmp_path):
    results, _ = alone
    again = tmp_path / "report.html"
    write_report.main(["--results", str(results), "--output", str(again)])
    assert again.read_bytes() == (results / "report.html").read_bytes()


def test_cells_badges_and_pages_count_the_same_verdicts(alone):
    results, _ = alone
    claims = read_table(results / "claims.csv", kind="claims")
    report, page = (results / "report.html").read_text(), (results / "claims.md").read_text()
    for verdict in ("supported", "contradicted", "undetermined", "descriptive"):
        count = int((claims["verdict"] == verdict).sum())
        assert re.search(rf"{verdict}</span> {count}\b", report)
        assert report.count(f'<a class="cell {verdict}"') == count
        assert page.count(f"**{verdict}**") == count
