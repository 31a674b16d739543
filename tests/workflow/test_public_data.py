"""Small public data sets, in their published layouts and formats, through the whole workflow."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from trees.laion_fmri import write_laion_fmri
from trees.things import write_things_fmri, write_things_meg
from trees.things_eeg2 import write_preprocessed

from gradbrain.config.study import load_study
from gradbrain.config.yaml_files import read_yaml
from gradbrain.plan.job_counts import job_counts
from gradbrain.plan.jobs import Plan
from gradbrain.store import open_store, read_table

FOLDER = "tests/workflow/public_data"
CONCEPTS = [f"thing{number}" for number in range(1, 17)]


def write_volumes(root, n_images=12, shape=(3, 4, 3)):
    """Images of one colour each, and volumes of two people that follow the colours."""
    rng = np.random.default_rng(6)
    (root / "images").mkdir(parents=True)
    colours = rng.uniform(0, 255, (n_images, 3))
    for number, colour in enumerate(colours):
        pixels = np.clip(colour + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"image_{number}.png")
    mask = np.zeros(shape, dtype=np.uint8)
    mask.ravel()[:20] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), root / "mask.nii.gz")
    for person in ("s1", "s2"):
        values = np.einsum("nc,cxyz->xyzn", colours / 255, rng.standard_normal((3, *shape)))
        values += 0.1 * rng.standard_normal(values.shape)
        nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), root / f"{person}.nii.gz")


@pytest.fixture(scope="module")
def checkout(fresh_checkout, tmp_path_factory):
    """All studies, run once from trees that lie elsewhere."""
    root = tmp_path_factory.mktemp("downloads")
    # Two of the images that were repeated in MEG were not shown in the scanner.
    write_things_fmri(root / "fmri", concepts=CONCEPTS, exemplars=2, n_test=5, sessions=2)
    write_things_meg(root / "meg", concepts=CONCEPTS, exemplars=2, n_test=7, sessions=3, signal=3.0)
    write_laion_fmri(root / "laion", n_shared=20, n_unique=15)
    write_preprocessed(root / "eeg2")
    write_volumes(root / "volumes")
    for name in ("fmri", "meg", "laion", "eeg2", "volumes"):
        (root / name).rename(root / f"{name}_small")
    copy = fresh_checkout("public_data")
    roots = ", ".join(f"{path.name}: {path}" for path in sorted(root.iterdir()))
    for study in ("both", "folds", "out_of_distribution"):
        config = f"{FOLDER}/{study}.yaml"
        copy.snakemake("--configfile", config, "--config", f"roots={{{roots}}}", "--nocolor")
    return copy


@pytest.fixture(scope="module")
def both(checkout):
    return checkout.folder / "results" / "both"


@pytest.fixture(scope="module")
def folds(checkout):
    return checkout.folder / "results" / "folds"


def stimuli(checkout, name):
    path = checkout.folder / "results" / "stimuli" / f"{name}.parquet"
    return read_table(path, kind="stimuli")


def test_images_that_both_saw_are_taken_and_features_extracted_once(checkout, both):
    fmri, meg = (set(stimuli(checkout, f"{name}_small")["image_id"]) for name in ("fmri", "meg"))
    shared = stimuli(checkout, "both")
    assert set(shared["image_id"]) == fmri & meg
    assert len(shared) == len(fmri) == len(meg) - 2
    extracted = {path.name for path in (checkout.folder / "results/features/tiny_a").glob("*/*/*")}
    assert {name for name in extracted if name.endswith(".zarr")} >= {"both.zarr"}
    assert not {"fmri_small.zarr", "meg_small.zarr"} & extracted
    for path in (both / "responses").glob("*.zarr"):
        responses = open_store(path, kind="responses")
        assert list(responses["image_id"].values) == list(shared["image_id"])
        expected = 2 if responses.attrs["dataset"] == "meg_small" else 0
        assert responses.attrs["n_images_left_out"] == expected
    log = (checkout.folder / "logs" / "stimuli" / "both.log").read_text()
    assert f"{len(shared)} images in" in log and f"from {len(fmri)} of fmri_small" in log


def test_claims_of_space_and_time_are_of_the_same_images_and_signals(both):
    claims = read_table(both / "claims.csv", kind="claims")
    assert set(claims["axis"]) == {"roi", "time"}
    groups = claims.groupby("axis")["n_groups"].unique()
    assert list(groups["roi"]) == list(groups["time"])


def test_regions_and_times_are_fused_and_drawn(both):
    table = read_table(both / "fusion" / "tiny_a.parquet", kind="fusion")
    assert set(table["dataset"]) == {"fmri_small"} and set(table["time_dataset"]) == {"meg_small"}
    assert "concepts" in set(table["level"])
    concepts = table[table["level"] == "concepts"]
    assert set(concepts["n_items"]) == {len(CONCEPTS)}
    assert set(concepts["layer"]) == {"blocks.1", "blocks.5"}
    assert {"activation", "learning", "control"} == set(concepts["role"])
    # Both follow the colours of the images, which come at .1 to .2 s.
    once = concepts.drop_duplicates(["roi", "time"])
    assert once.groupby("time")["rho"].mean().idxmax() in (0.1, 0.2)
    assert (once["rho"].max() > 0.2) and once["ceiling"].between(0, 1).all()
    behind = pd.read_csv(both / "figures" / "fusion.csv")
    assert set(behind["roi"]) == set(table["roi"])
    assert "fusion" in (both / "report.html").read_text()


def test_splits_of_the_data_set_are_the_folds_of_the_fits(checkout, folds, tmp_path):
    table = read_table(folds / "folds" / "laion_small-sub-01.parquet", kind="folds")
    responses = open_store(folds / "responses" / "laion_small-sub-01.zarr", kind="responses")
    assert list(responses["image_id"].values) == list(table["image_id"])
    assert not any("OOD" in image for image in responses["image_id"].values)
    for fold in range(5):
        path = checkout.folder / "data/laion_small/splits/sub-01" / f"cluster_k5_{fold}.json"
        held_out = set(json.loads(path.read_text())["variants"][0]["test_ids"])
        assert set(responses["image_id"].values[responses["fold"].values == fold]) == held_out
    store = open_store(folds / "encoding/tiny_a/blocks.5/laion_small-sub-01.zarr", kind="encoding")
    assert store.attrs["settings"]["n_folds"] == 5
    own = open_store(folds / "encoding/tiny_a/blocks.5/eeg2_small-sub-01.zarr", kind="encoding")
    assert own.attrs["settings"]["n_folds"] == 3


def test_images_of_other_kinds_are_asked_about_and_never_trained_on(checkout):
    study = checkout.folder / "results" / "out_of_distribution"
    responses = open_store(study / "responses" / "laion_small-sub-01.zarr", kind="responses")
    odd = np.array(["OOD" in image for image in responses["image_id"].values])
    assert 0 < odd.sum() < len(odd)
    np.testing.assert_array_equal(responses["fold"].values, np.where(odd, 0, -1))
    fit = open_store(study / "encoding/tiny_a/blocks.5/laion_small-sub-01.zarr", kind="encoding")
    assert fit.attrs["settings"]["n_folds"] == 1
    scores = read_table(study / "scores" / "tiny_a.parquet", kind="scores")
    assert scores.loc[scores["measure"] == "r", "value"].notna().all()
    assert set(read_table(study / "claims.csv", kind="claims")["dataset"]) == {"laion_small"}
    assert (study / "report.html").exists()


def test_responses_that_follow_the_images_are_predicted_in_unseen_clusters(folds):
    scores = read_table(folds / "scores" / "tiny_a.parquet", kind="scores")
    rows = scores[(scores["dataset"] == "laion_small") & (scores["measure"] == "r")]
    assert rows[rows["signal"] == "activation"].groupby("roi")["value"].mean().min() > 0.3
    assert set(rows["roi"]) == {"V1", "hV4", "FFA"}


def test_eeg_reaches_topographies_and_claims(folds):
    drawn = pd.read_csv(folds / "figures" / "sensor_topography.csv")
    assert set(drawn["sensor"]) == {"Pz", "P3", "O1", "Oz", "O2"}
    claims = read_table(folds / "claims.csv", kind="claims")
    assert {"laion_small", "eeg2_small", "volumes_small"} == set(claims["dataset"])
    assert (folds / "report.html").stat().st_size > 10_000


def test_volumes_without_regions_are_one_and_what_needs_more_says_so(folds):
    scores = read_table(folds / "scores" / "tiny_a.parquet", kind="scores")
    assert set(scores.loc[scores["dataset"] == "volumes_small", "roi"]) == {"all"}
    claims = read_table(folds / "claims.csv", kind="claims")
    own = claims[(claims["dataset"] == "volumes_small") & claims["prediction"].isin(["A1", "P2"])]
    assert set(own["verdict"]) <= {"undetermined", "descriptive"} and (own["reason"] != "").all()


@pytest.mark.parametrize("study", ["both", "folds", "out_of_distribution"])
def test_the_estimate_counts_the_jobs_of_a_run(checkout, study, monkeypatch):
    monkeypatch.chdir(checkout.folder)
    where = f"{FOLDER}/{study}.yaml"
    plan = Plan(
        load_study(read_yaml(checkout.folder / where), root=checkout.folder, where=where),
        checkout.folder,
    )
    _, planned = checkout.dry_run(where, "--forceall")
    fused = {name for name in planned if name.startswith(("extract_features", "fit_encoding"))}
    counted = job_counts(plan)
    for name, number in planned.items():
        if name not in fused:
            assert counted[name] == number, name
    assert np.all([count > 0 for count in counted.values()])
