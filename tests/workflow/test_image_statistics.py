"""A study with image statistics: a model without learning signals, and a nuisance band."""

from __future__ import annotations

import json

import estimate_study
import pandas as pd
import pytest

from gradbrain.store import open_features, open_store, read_table

STUDY = "tests/workflow/statistics/study.yaml"
MODEL = "image_statistics"
LEVELS = ["luminance", "colour", "gabor", "hog"]


@pytest.fixture(scope="module")
def study(fresh_checkout):
    """The study, run from nothing; its folder of results, and the jobs of its plan."""
    checkout = fresh_checkout("statistics")
    _, jobs = checkout.dry_run(STUDY)
    checkout.snakemake("--configfile", STUDY, "--nocolor")
    return checkout, jobs


@pytest.fixture
def results(study):
    return study[0].folder / "results" / "with_statistics"


def test_one_job_per_stimulus_set_takes_all_levels(study, capsys, monkeypatch):
    checkout, jobs = study
    assert jobs["image_statistics"] == 2
    # Two layers of the network, and two that brains are planted from, for two people's own images.
    assert jobs["extract_features"] == 2 * (2 + 2)
    assert jobs["fit_encoding"] == 2 * (2 + len(LEVELS))
    monkeypatch.chdir(checkout.folder)
    estimate_study.main([STUDY, "--json"])
    estimated = json.loads(capsys.readouterr().out)["rules"]
    assert {rule: row["jobs"] for rule, row in estimated.items()} == jobs
    _, again = checkout.dry_run(STUDY)
    assert not again


def test_only_the_activation_is_taken_from_what_is_no_network(study):
    folder = study[0].folder / "results" / "features" / MODEL
    assert sorted(path.name for path in folder.iterdir()) == sorted([*LEVELS, "all"])
    store = open_features(folder / "gabor" / "tiny" / "tiny_fmri-s1.zarr")
    assert [(signal.name, signal.role) for signal in store.signals] == [
        ("activation", "activation")
    ]
    assert store.attrs["pooling"] == "none"


def test_scores_hierarchy_and_claims_take_it_like_any_model(results):
    scores = read_table(results / "scores" / f"{MODEL}.parquet", kind="scores")
    assert list(scores.drop_duplicates("layer")["layer"]) == LEVELS
    assert set(scores["role"]) == {"activation", "baseline", "nuisance"}
    claims = read_table(results / "claims.csv", kind="claims")
    # What is no network has no learning signal: nothing is said of any, not even `undetermined`.
    assert set(claims.loc[claims["model"] == MODEL, "prediction"]) == {"A1"}
    assert {"A1", "P1", "C1", "C2"} <= set(claims.loc[claims["model"] == "tiny_a", "prediction"])


def test_the_nuisance_band_stands_beside_all_layers_of_every_model(results):
    store = open_store(results / "encoding/tiny_a/blocks.5/tiny_fmri-s1.zarr", kind="encoding")
    assert "low_level" in store["signal"].values[store["role"].values == "nuisance"]
    scores = read_table(results / "scores" / "tiny_a.parquet", kind="scores")
    alone = scores[(scores["role"] == "nuisance") & (scores["measure"] == "r")]
    assert set(alone["signal"]) == {"low_level"}
    # The band is the same for each layer of a subject, and so are its scores.
    spread = alone.groupby(["subject", "roi"])["value"].agg(["min", "max"])
    assert (spread["min"] == spread["max"]).all()


def test_every_figure_of_activations_shows_it_by_its_label(results):
    for name in ("encoding_by_region", "best_layer_by_distance", "rsa_summary"):
        data = pd.read_csv(results / "figures" / f"{name}.csv")
        assert MODEL in set(data["model"]), name
    controls = pd.read_csv(results / "figures" / "control_comparison.csv")
    assert set(controls["model"]) == {"tiny_a"}
    entries = read_table(results / "entries.csv", kind="entries").set_index("name")
    assert entries.loc[MODEL, ["kind", "label", "group"]].tolist() == [
        "model",
        "image statistics",
        "untrained",
    ]
    assert "image statistics" in (results / "report.html").read_text()


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ("{name: b, model: tiny_a}", "no layer of tiny_a 'all'"),
        ("{name: b, model: image_statistics, layer: gabr}", "Did you mean 'gabor'"),
        ("{name: b, model: image_statistics, signal: gradient_dino}", "no signal of tiny that"),
        ("{name: b, model: image_statistic}", "no model 'image_statistic'"),
    ],
)
def test_a_band_that_does_not_exist_is_refused_before_any_job(fresh_checkout, band, message):
    checkout = fresh_checkout("wrong_band")
    checkout.edit(STUDY, "{name: low_level, model: image_statistics}", band)
    done = checkout.snakemake("--configfile", STUDY, "--dry-run", check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
